"""Another try is for what may pass; nothing that a person must mend is tried again."""

from __future__ import annotations

import pytest

from mlops import errors
from mlops.pipeline.retry_policy import is_worth_retrying

MAY_PASS = [
    errors.DownloadError("timed out"), errors.TrackingDownError("no answer"), errors.BusyError("another run"),
    ConnectionError("reset"), TimeoutError("slow"), OSError(28, "No space left on device"),
]  # fmt: skip
STAYS = [
    errors.ConfigError("month: got 'March'"), errors.MonthNotPublishedError("not yet"),
    errors.DataQualityError("few"),
    errors.TripSchemaError("no column"), errors.TooLargeError("4 GB"), errors.EmptyTrainingSetError("none"),
    errors.TuningError("all failed"), errors.TrackingError("refused"), errors.UntrustedError("unsigned"),
    errors.PromotionError("worse"), errors.ExportError("read-only"), ValueError("a bug"), KeyboardInterrupt(),
]  # fmt: skip


@pytest.mark.parametrize("error", MAY_PASS, ids=lambda error: type(error).__name__)
def test_what_may_pass_is_tried_again(error: BaseException) -> None:
    assert is_worth_retrying(error)


@pytest.mark.parametrize("error", STAYS, ids=lambda error: type(error).__name__)
def test_what_a_person_must_mend_is_not(error: BaseException) -> None:
    assert not is_worth_retrying(error)


def test_every_error_of_this_package_is_decided() -> None:
    own = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.MlopsError)
    }
    abstract = {errors.MlopsError, errors.SourceError}
    assert own - abstract == {type(error) for error in MAY_PASS + STAYS} & own
