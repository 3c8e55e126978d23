"""Delete old block outputs and logs of scheduled runs with Mage's functions; metadata.yaml sets the age."""

if "data_exporter" not in globals():
    from mage_ai.data_preparation.decorators import data_exporter, test

from mlops.operations.retention import cleanup


@data_exporter
def delete_old_outputs(summary, *args, **variables):
    """The summary with one more row for Mage's own outputs and logs."""
    # Imported here, because the import opens Mage's database.
    from mage_ai.data_preparation.logging.logger_manager import LoggerManager
    from mage_ai.data_preparation.variable_manager import clean_variables

    limits = cleanup.from_mage(variables)
    return cleanup.with_mage_s_own(summary, limits, [clean_variables, LoggerManager().delete_old_logs])


@test
def no_more_than_found_is_deleted(summary, *args):
    cleanup.check_summary(summary)
