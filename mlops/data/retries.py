"""Retries of failing requests to a source: a few attempts within seconds, or for as long as a setting says.

Both functions return a `tenacity.Retrying`: call it with a function and its arguments, or loop over its attempts.
Other errors, and interrupts, are raised at once. After the last attempt its error is raised unchanged.
Answers of a busy web server (HTTP 429 and 5xx) are retried by urllib3 instead: see `sources`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential,
)

from mlops.errors import DownloadError

logger = logging.getLogger(__name__)

ATTEMPTS = 4  # for failed connections, busy servers and broken downloads
BACKOFF_SECONDS = 0.5  # before the second attempt; doubles each time
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 300.0  # between two attempts of `for_seconds`


def few_attempts(
    errors: type[Exception] | tuple[type[Exception], ...], why: Callable[[Any], str]
) -> Retrying:
    """Retries of short failures: `ATTEMPTS` attempts in total, with waits of 0.5, 1 and 2 s.

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

    return Retrying(
        retry=retry_if_exception_type(errors),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(BACKOFF_SECONDS),
        before_sleep=log,
        reraise=True,
    )


def for_seconds(seconds: float) -> Retrying:
    """Retries of a source that does not answer (`DownloadError`) for this many seconds; 0 means one attempt.

    The waits are 5, 10, 20 s and so on, at most 300 s; each is logged. The last wait is shorter, so that the last
    attempt starts when the time is over.
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
        wait=lambda state: min(longer(state), left(state)),
        before_sleep=log,
        reraise=True,
    )


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
