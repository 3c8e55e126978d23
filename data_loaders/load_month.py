"""Find the month to compare, fetch it, and find the versions that served and what they had promised."""

if "data_loader" not in globals():
    from mage_ai.data_preparation.decorators import data_loader, test

from mlops.monitoring import blocks, steps


@data_loader
def load_month(*args, **variables):
    """One row per month: its role in the comparison, its trips, its hash and path, and the versions compared."""
    settings = blocks.from_mage(variables)
    return steps.load_month(settings)


@test
def the_month_is_there(months, *args):
    blocks.check_months(months)
