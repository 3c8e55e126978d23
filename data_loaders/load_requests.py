"""Find the files to score (a month, a file, a folder or a URL) and the version that will answer."""

if "data_loader" not in globals():
    from mage_ai.data_preparation.decorators import data_loader, test

from mlops.pipeline import block_tables
from mlops.scoring import steps


@data_loader
def load_requests(*args, **variables):
    """One row per file: its rows and size, and the version that will answer."""
    settings = steps.from_mage(variables)
    return block_tables.of_columns(steps.load_requests(settings), steps.TITLES_OF_REQUESTS)


@test
def files_are_there(shown, *args):
    steps.check_requests(block_tables.full_table(shown))
