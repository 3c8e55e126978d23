"""Delete what was found, unless somebody has used it since or is at work on its model."""

if "data_exporter" not in globals():
    from mage_ai.data_preparation.decorators import data_exporter, test

from mlops.operations.retention import cleanup


@data_exporter
def delete_leftovers(leftovers, *args, **variables):
    """One row per kind of leftover: how many were found and deleted, how much that was, and how old."""
    limits = cleanup.from_mage(variables)
    return cleanup.delete_leftovers(leftovers, limits)


@test
def no_more_than_found_is_deleted(summary, *args):
    cleanup.check_summary(summary)
