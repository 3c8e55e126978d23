"""Which months a source has."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mlops.data import retries
from mlops.data.sources.source import RefusedError, Source, file_name
from mlops.month import Month

logger = logging.getLogger(__name__)


def months_available(source: Source, service: str, months: Sequence[Month]) -> tuple[Month, ...]:
    """Those of `months` that the source has, in the given order.

    TLC's site answers HTTP 403 for a month that is not published, and also for clients that it throttles. So a 403
    counts as "not published" only if the source delivers another file right after it, and only outside the range
    of available months. Otherwise the request is retried, and then reported as an outage.

    Raises
    ------
    DownloadError
        When the source does not answer; `RefusedError` when a refused month may exist.
    TripSchemaError
        When something else than a file has a month's name.
    """
    answers = {month: _holds(source, file_name(service, month)) for month in months}
    for attempt in retries.few_attempts(RefusedError, lambda error: error.reason):
        with attempt:
            held = [month for month, answer in answers.items() if answer]
            refused = [month for month, answer in answers.items() if answer is None]
            control = file_name(service, max(held)) if held else source.control
            is_open = bool(refused) and control is not None and _holds(source, control)
            answers |= {month: _holds(source, file_name(service, month)) for month in refused}
            still = [month for month in refused if answers[month] is None]
            doubtful = [month for month in still if not is_open or (held and min(held) < month < max(held))]
            if doubtful:
                url = f"{source.url}/{file_name(service, doubtful[0])}"
                why = _why_doubtful(url, len(still), held, is_open)
                raise RefusedError(f"{why}. Try again later, or check the address and the credentials.", why)
    if months and not any(answers.values()):
        logger.warning(
            "%s has no %s month from %s to %s; is it the right address?",
            source.url, service, min(months), max(months),
        )  # fmt: skip
    return tuple(month for month, answer in answers.items() if answer)


def _holds(source: Source, name: str) -> bool | None:
    """Whether the source has the file; None when it answers HTTP 403."""
    try:
        return source.version(name) is not None
    except RefusedError:
        return None


def _why_doubtful(url: str, refused: int, held: Sequence[Month], is_open: bool | None) -> str:
    """Why a refusal does not prove that a month is not published."""
    if is_open:
        return f"{url}: HTTP 403, although {min(held)} and {max(held)} are available"
    others = f", also for {refused - 1} other months" if refused > 1 else ""
    return f"{url}: HTTP 403{others}, and no file that should exist is available either"
