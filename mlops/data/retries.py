"""Retries of failing requests to a source: a few attempts within seconds, or for as long as a setting says.

Both functions return a `tenacity.Retrying`: call it with a function and its arguments, or loop over its attempts.
Other errors, and interrupts, are raised at once. After the last attempt its error is raised unchanged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential,
)

from mlops.errors import DownloadError

logger = logging.getLogger(__name__)

ATTEMPTS = 4  # for failed connections, busy servers and broken downloads
BACKOFF_SECONDS = 0.5  # before the second attempt; doubles each time
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 300.0  # between two attempts of `for_seconds`


class UnavailableError(DownloadError):
    """The source answers that it cannot serve now.

    Parameters
    ----------
    reason : str
        The message without advice, for the log.
    wait_seconds : float
        Seconds that the source asks to wait; 0 when it does not say.
    """

    def __init__(self, message: str, *, reason: str, wait_seconds: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.wait_seconds = wait_seconds


def few_attempts(
    errors: type[Exception] | tuple[type[Exception], ...], why: Callable[[Any], str]
) -> Retrying:
    """Retries of short failures: `ATTEMPTS` attempts in total, with waits of 0.5, 1 and 2 s.

    A source that asks for a longer wait gets it, up to `FIRST_PAUSE_SECONDS`. If it asks for more, its error is
    raised at once: such a wait is left to `for_seconds`.

    Parameters
    ----------
    errors : exception type or tuple of them
        Errors that are retried.
    why : callable
        Maps the error to its reason, for the log line before each wait.
    """

    def log(state: RetryCallState) -> None:
        logger.warning(
            "%s; attempt %d of %d, the next in %.1f s",
            why(_error(state)), state.attempt_number, ATTEMPTS, state.upcoming_sleep,
        )  # fmt: skip

    longer = wait_exponential(BACKOFF_SECONDS)

    def is_over(state: RetryCallState) -> bool:
        return state.attempt_number >= ATTEMPTS or _asked_seconds(state) > FIRST_PAUSE_SECONDS

    return Retrying(
        retry=retry_if_exception_type(errors),
        stop=is_over,
        wait=lambda state: max(longer(state), _asked_seconds(state)),
        before_sleep=log,
        reraise=True,
    )


def for_seconds(seconds: float) -> Retrying:
    """Retries of a source that does not answer (`DownloadError`) for this many seconds; 0 means one attempt.

    The waits are 5, 10, 20 s and so on, at most 300 s, or as long as the source asks for; each is logged. The last
    wait is shorter, so that the last attempt starts when the time is over.
    """
    longer = wait_exponential(FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS)

    def left(state: RetryCallState) -> float:
        return seconds - (state.seconds_since_start or 0.0)

    def log(state: RetryCallState) -> None:
        logger.warning(
            "%s Next attempt in %.0f s; retries end in %.0f s.",
            _error(state), state.upcoming_sleep, left(state),
        )  # fmt: skip

    return Retrying(
        retry=retry_if_exception_type(DownloadError),
        stop=stop_after_delay(seconds),
        wait=lambda state: min(max(longer(state), _asked_seconds(state)), left(state)),
        before_sleep=log,
        reraise=True,
    )


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _asked_seconds(state: RetryCallState) -> float:
    """Seconds that the source asks to wait."""
    error = _error(state)
    return error.wait_seconds if isinstance(error, UnavailableError) else 0.0
