"""Predict the duration of each requested ride. What the same version has scored before is skipped."""

if "transformer" not in globals():
    from mage_ai.data_preparation.decorators import test, transformer

from mlops.pipeline import block_tables
from mlops.scoring import steps


@transformer
def predict_durations(found, *args, **variables):
    """One row per file: rows answered and rejected, mean duration, and RMSE where the real durations are known."""
    settings = steps.from_mage(variables)
    requests = block_tables.full_table(found)
    return block_tables.of_columns(steps.predict_durations(requests, settings), steps.TITLES_OF_RESULTS)


@test
def every_row_is_accounted_for(shown, *args):
    steps.check_rows(block_tables.full_table(shown))
