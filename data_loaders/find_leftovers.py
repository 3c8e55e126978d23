"""What nobody has used for long and can be made again; champions and their evidence are not among it."""

if "data_loader" not in globals():
    from mage_ai.data_preparation.decorators import data_loader, test

from mlops.operations.retention import cleanup


@data_loader
def find_leftovers(*args, **variables):
    """One row per leftover: its kind, place, age in days and size, the largest first."""
    limits = cleanup.from_mage(variables)
    return cleanup.find_leftovers(limits)


@test
def leftovers_are_old(leftovers, *args):
    cleanup.check_leftovers(leftovers)
