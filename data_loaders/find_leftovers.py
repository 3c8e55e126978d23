"""Find old files and runs that can be made again; champions and their evidence are never included."""

if "data_loader" not in globals():
    from mage_ai.data_preparation.decorators import data_loader, test

from mlops.operations.retention import cleanup


@data_loader
def find_leftovers(*args, **variables):
    """One row per leftover: its kind, place, age in days and size in megabytes, largest first."""
    limits = cleanup.from_mage(variables)
    return cleanup.find_leftovers(limits)


@test
def leftovers_are_old(leftovers, *args):
    cleanup.check_leftovers(leftovers)
