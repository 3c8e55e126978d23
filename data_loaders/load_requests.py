"""Find the files to score (a month, a file, a folder or a URL) and the version that will answer."""

if "data_loader" not in globals():
    from mage_ai.data_preparation.decorators import data_loader, test

from mlops.scoring import steps


@data_loader
def load_requests(*args, **variables):
    """One row per file: its rows, size, hash and path, and the version that will answer."""
    settings = steps.from_mage(variables)
    return steps.load_requests(settings)


@test
def files_are_there(requests, *args):
    steps.check_requests(requests)
