"""Retries of a source: how many, with which waits, and what is logged before each."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import pytest

from mlops.data import retries
from mlops.errors import ConfigError, DownloadError


class Clock:
    """Time that passes only in waits and in calls that take some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.waits = 1000.0, list[float]()
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def failing(*errors: BaseException) -> Callable[[], str]:
    """A call that raises these errors, one after the other, and then returns."""
    left = list(errors)

    def call() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return call


def outages(count: int) -> list[DownloadError]:
    return [DownloadError(f"outage {number}.") for number in range(1, count + 1)]


# --- A few attempts -----------------------------------------------------------------------------------------


def test_a_few_attempts_with_waits_that_double(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    retry = retries.few_attempts(DownloadError, lambda error: f"because of {error}")

    assert retry(failing(*outages(3))) == "answer"
    assert clock.waits == [0.5, 1.0, 2.0]
    assert caplog.messages == [
        "because of outage 1.; attempt 1 of 4, the next in 0.5 s",
        "because of outage 2.; attempt 2 of 4, the next in 1.0 s",
        "because of outage 3.; attempt 3 of 4, the next in 2.0 s",
    ]


def test_the_error_of_the_last_attempt_is_raised(clock: Clock) -> None:
    errors = outages(5)
    with pytest.raises(DownloadError) as caught:
        retries.few_attempts(DownloadError, str)(failing(*errors))

    assert caught.value is errors[3]
    assert clock.waits == [0.5, 1.0, 2.0]


# --- For some seconds ---------------------------------------------------------------------------------------


def test_waits_grow_up_to_five_minutes_and_the_last_attempt_is_at_the_end(clock: Clock) -> None:
    errors = outages(20)
    with pytest.raises(DownloadError) as caught:
        retries.for_seconds(1000)(failing(*errors))

    assert clock.waits == [5, 10, 20, 40, 80, 160, 300, 300, 85]
    assert caught.value is errors[9]


def test_each_wait_is_logged_first_with_what_is_left(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    assert retries.for_seconds(30)(failing(*outages(3))) == "answer"

    assert clock.waits == [5, 10, 15]
    assert caplog.messages == [
        "outage 1. Next attempt in 5 s; retries end in 30 s.",
        "outage 2. Next attempt in 10 s; retries end in 25 s.",
        "outage 3. Next attempt in 15 s; retries end in 15 s.",
    ]


def test_seconds_of_the_attempts_count_too(clock: Clock) -> None:
    def takes_20_seconds() -> None:
        clock.now += 20
        raise DownloadError("silent.")

    with pytest.raises(DownloadError):
        retries.for_seconds(30)(takes_20_seconds)

    assert clock.waits == [5]  # at 25 s; that attempt ends at 45 s


def test_every_call_has_all_the_seconds(clock: Clock) -> None:
    retry = retries.for_seconds(30)  # one for all months of a run

    assert [retry(failing(*outages(2))) for _ in range(3)] == ["answer"] * 3
    assert clock.waits == [5, 10] * 3


def test_zero_seconds_are_one_attempt(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DownloadError, match=r"outage 1\."):
        retries.for_seconds(0)(failing(*outages(2)))

    assert (clock.waits, caplog.messages) == ([], [])


# --- A source that asks for a wait --------------------------------------------------------------------------


def unavailable(seconds: float) -> retries.UnavailableError:
    return retries.UnavailableError("busy.", reason="HTTP 429", wait_seconds=seconds)


def test_a_short_wait_that_a_source_asks_for(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    retry = retries.few_attempts(retries.UnavailableError, lambda error: error.reason)

    assert retry(failing(unavailable(4), unavailable(0.1), unavailable(5))) == "answer"
    assert clock.waits == [4, 1, 5]
    assert caplog.messages[0] == "HTTP 429; attempt 1 of 4, the next in 4.0 s"


def test_a_long_wait_is_left_to_the_longer_retries(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    few = retries.few_attempts(retries.UnavailableError, lambda error: error.reason)
    call = failing(unavailable(600), unavailable(0))

    assert retries.for_seconds(1000)(few, call) == "answer"
    assert clock.waits == [600, 0.5]
    assert caplog.messages[0] == "busy. Next attempt in 600 s; retries end in 1000 s."


def test_no_wait_is_longer_than_the_time_that_is_left(clock: Clock) -> None:
    with pytest.raises(retries.UnavailableError):
        retries.for_seconds(1000)(failing(*[unavailable(3600)] * 3))

    assert clock.waits == [1000]


# --- Both ---------------------------------------------------------------------------------------------------

BOTH = [retries.few_attempts(DownloadError, str), retries.for_seconds(30)]


@pytest.mark.parametrize("retry", BOTH, ids=["few attempts", "for seconds"])
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(1), ConfigError("no such source")], ids=repr
)
def test_any_other_error_is_raised_at_once(
    retry: Callable[[Callable[[], str]], str],
    error: BaseException,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(type(error)) as caught:
        retry(failing(error, error))

    assert caught.value is error
    assert (clock.waits, caplog.messages) == ([], [])


@pytest.mark.parametrize("retry", BOTH, ids=["few attempts", "for seconds"])
def test_an_interrupt_ends_a_wait(
    retry: Callable[[Callable[[], str]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    call = failing(*outages(1))
    with pytest.raises(KeyboardInterrupt):
        retry(call)
    assert call() == "answer"  # it was asked once
