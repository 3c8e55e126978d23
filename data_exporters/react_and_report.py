"""Roll back or train if a setting says so, and write the metrics, the report and the message."""

if "data_exporter" not in globals():
    from mage_ai.data_preparation.decorators import data_exporter, test

from mlops.monitoring import blocks, steps


@data_exporter
def react_and_report(compared, *args, **variables):
    """The month's record as a table: errors, causes, what was done, and the run that has the report."""
    settings = blocks.from_mage(variables)
    return steps.react_and_report(compared, settings)


@test
def the_month_is_recorded(recorded, *args):
    blocks.check_record(recorded)
