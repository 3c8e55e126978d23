"""Find the month to compare, fetch it, and find the versions that served and what they had promised."""

if "data_loader" not in globals():
    from mage_ai.data_preparation.decorators import data_loader, test

from mlops.monitoring import blocks, steps
from mlops.pipeline import block_tables


@data_loader
def load_month(*args, **variables):
    """One row per month: its role in the comparison, its trips, and the versions compared."""
    settings = blocks.from_mage(variables)
    return block_tables.of_columns(steps.load_month(settings), blocks.TITLES_OF_MONTHS)


@test
def the_month_is_there(shown, *args):
    blocks.check_months(block_tables.full_table(shown))
