"""Roll back or train if a setting says so, and write the metrics, the report and the message."""

if "data_exporter" not in globals():
    from mage_ai.data_preparation.decorators import data_exporter, test

from mlops.monitoring import blocks, steps
from mlops.pipeline import block_tables


@data_exporter
def react_and_report(measured, *args, **variables):
    """The month's record as a table: errors, causes, what was done, and the run that has the report."""
    settings = blocks.from_mage(variables)
    compared = block_tables.full_table(measured)
    return block_tables.of_columns(steps.react_and_report(compared, settings), blocks.TITLES_OF_RECORD)


@test
def the_month_is_recorded(shown, *args):
    blocks.check_record(block_tables.full_table(shown))
