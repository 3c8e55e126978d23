"""What nobody has used for long and can be made again; champions and their evidence are not among it."""

if "data_loader" not in globals():
    from mage_ai.data_preparation.decorators import data_loader, test

from mlops import retention


@data_loader
def find_leftovers(*args, **variables):
    """One row per leftover: its kind, place, age in days and size, the largest first."""
    limits = retention.from_mage(variables)
    return retention.find_leftovers(limits)


@test
def leftovers_are_old(leftovers, *args):
    retention.check_leftovers(leftovers)
