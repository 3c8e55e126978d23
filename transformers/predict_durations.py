"""Predict the duration of each requested ride. What the same version has scored before is skipped."""

if "transformer" not in globals():
    from mage_ai.data_preparation.decorators import test, transformer

from mlops.scoring import steps


@transformer
def predict_durations(requests, *args, **variables):
    """One row per file: rows answered and rejected, mean duration, and RMSE where the real durations are known."""
    settings = steps.from_mage(variables)
    return steps.predict_durations(requests, settings)


@test
def every_row_is_accounted_for(summary, *args):
    steps.check_rows(summary)
