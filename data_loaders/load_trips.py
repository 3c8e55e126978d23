"""Fetch the months of the run from the source, and check that each file is complete."""

if "data_loader" not in globals():
    from mage_ai.data_preparation.decorators import data_loader, test

from mlops.mage import from_mage
from mlops.pipeline import months_table, steps


@data_loader
def load_trips(*args, **variables):
    """One row per month: its role in the run, rows, size, schema drift, hash and path."""
    settings = from_mage(variables)
    return steps.load_trips(settings)


@test
def months_make_a_run(months, *args):
    months_table.check_months(months)
