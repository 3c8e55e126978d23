"""Fetch the months of the run from the source, and check that each file is complete."""

if "data_loader" not in globals():
    from mage_ai.data_preparation.decorators import data_loader, test

from mlops.mage import from_mage
from mlops.pipeline import block_tables, months_table, steps


@data_loader
def load_trips(*args, **variables):
    """One row per month: its role in the run, its trips and size, and what has changed."""
    settings = from_mage(variables)
    return block_tables.of_months(steps.load_trips(settings))


@test
def months_make_a_run(shown, *args):
    months_table.check_months(block_tables.months_of(shown))
