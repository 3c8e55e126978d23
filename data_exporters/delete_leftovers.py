"""Delete the leftovers, except those used in the meantime and those of a model with a running run."""

if "data_exporter" not in globals():
    from mage_ai.data_preparation.decorators import data_exporter, test

from mlops.operations.retention import cleanup


@data_exporter
def delete_leftovers(leftovers, *args, **variables):
    """One row per kind of leftover: how many were found and deleted, their size and their age."""
    limits = cleanup.from_mage(variables)
    return cleanup.delete_leftovers(leftovers, limits)


@test
def no_more_than_found_is_deleted(summary, *args):
    cleanup.check_summary(summary)
