"""Compared months as values, and the JSON of one. Monitoring writes it; the service reads it, too.

Nothing here imports MLflow, which takes seconds. The JSON of a month is a tag, so it is short (`LONGEST`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Final
from urllib.parse import quote

from mlops.errors import ConfigError, one_line
from mlops.month import Month

FIRST: Final = "2000-01"  # no taxi file is older
LONGEST: Final = 4_500  # characters of a month's JSON; a tag holds 5,000
ACTIONS: Final = ("none", "alert", "retrain", "rollback")
TRAINED, PROMOTED, RETURNED = "trained", "promoted", "returned"  # kinds of events
_CUTS = ((400, 12, 12, 8), (200, 8, 8, 4), (120, 5, 5, 2), (80, 3, 3, 1), (60, 1, 1, 0), (40, 0, 0, 0))


@dataclass(frozen=True)
class Finding:
    """One thing that is unusual about a month's trips.

    Parameters
    ----------
    cause : str
        ``unit_of_distance``, ``clock_shift``, ``duplicated_trips``, ``missing_trips``, ``new_zone``,
        ``swapped_zones``, ``slower_rides``, ``faster_rides``, ``mix``, ``season``, ``missing_values``, ...
    text : str
        One sentence: what, where, how much, as "34 % of the distances look like kilometres".
    share : float
        Share of the month's trips that it concerns, 0 to 1.
    is_fault : bool
        Whether the data are wrong (somebody must act), not only different.
    strength : float
        How far the measured value is above its threshold; 1 is at the threshold.
    """

    cause: str
    text: str
    share: float
    is_fault: bool
    strength: float


@dataclass(frozen=True)
class Record:
    """A compared month. Errors are in minutes; NaN where there is nothing.

    Parameters
    ----------
    month : str
        YYYY-MM.
    champion, predecessor : str
        Numbers of the versions; `predecessor` is empty if there is none.
    promised_month : str
        The champion's test month.
    trips : int
    measured : dict of str to float
        ``rmse``, ``rmse_low``, ``rmse_high``, ``mae``, ``bias``, ``coverage_80``, ``coverage_95``,
        ``interval_score_80``, ``interval_score_95`` of the champion; ``rmse_predecessor``, ``rmse_baseline``;
        ``rmse_promised`` (on its test month), ``change``, ``change_mix``, ``change_within`` (RMSE, minutes; the
        last two add up to the first), ``change_within_low``, ``change_within_high``; ``gain_predecessor``,
        ``gain_predecessor_low``, ``gain_predecessor_high`` (champion's RMSE minus predecessor's);
        ``rmse_estimated`` (before labels), ``drift_largest``, ...
    alarm : bool
    causes : tuple of str
        Most important first.
    findings : tuple of Finding
    slices : tuple of (str, float, float)
        Where the error at constant mix changed most: cell in words, minutes, share of trips.
    action : str
        ``none``, ``alert``, ``retrain``, ``rollback``.
    done : str
        What was done, as a sentence.
    at : str
        When it was compared, UTC, ISO 8601.
    run_id : str
        MLflow's run that has the report.
    notes : tuple of str
        What else a person must know, a sentence each.
    """

    month: str
    champion: str
    predecessor: str
    promised_month: str
    trips: int
    measured: dict[str, float]
    alarm: bool
    causes: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    slices: tuple[tuple[str, float, float], ...] = ()
    action: str = "none"
    done: str = ""
    at: str = ""
    run_id: str = ""
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def compared_at(self) -> datetime | None:
        """When it was compared, UTC; None if that is unknown."""
        return moment(self.at)

    @property
    def has_fault(self) -> bool:
        """Whether the month's data are wrong."""
        return any(finding.is_fault for finding in self.findings)

    def value(self, name: str) -> float:
        """A measured value, or NaN."""
        return self.measured.get(name, math.nan)


@dataclass(frozen=True)
class Event:
    """A version was trained, became champion, or became champion again.

    Parameters
    ----------
    kind : str
        `TRAINED`, `PROMOTED` or `RETURNED`.
    month : str
        YYYY-MM of the trips that it belongs to: the version's test month, or the month that was compared when
        somebody moved the alias. Empty if it is unknown.
    version : str
    at : str
        When it happened, UTC, ISO 8601; empty if it is unknown.
    text : str
        For people: who and why.
    """

    kind: str
    month: str
    version: str
    at: str
    text: str


@dataclass(frozen=True)
class History:
    """The compared months of a registered model.

    Parameters
    ----------
    name : str
    records : tuple of Record
        Oldest month first.
    events : tuple of Event
        Oldest first.
    run_page, model_page : str
        Addresses of MLflow's pages of the compared months and of the model; the first is empty without any.
    problems : tuple of str
        What could not be read, as sentences.
    """

    name: str
    records: tuple[Record, ...] = ()
    events: tuple[Event, ...] = ()
    run_page: str = ""
    model_page: str = ""
    problems: tuple[str, ...] = ()

    @property
    def newest(self) -> Record | None:
        """The newest compared month; None if there is none."""
        return self.records[-1] if self.records else None

    def report_page(self, month: str) -> str:
        """Address of MLflow's page with a month's report; empty if there is none."""
        return _below(self.run_page, f"artifacts/{month}/report.html") if self.run_page else ""

    def version_page(self, number: str) -> str:
        """Address of MLflow's page of a version; empty without a number."""
        return (
            _below(self.model_page, f"versions/{quote(number, safe='')}")
            if self.model_page and number
            else ""
        )


def _below(page: str, rest: str) -> str:
    """Address of a page below another one, which may end with a query."""
    start, mark, query = page.partition("?")
    return f"{start}/{rest}{mark}{query}"


def to_json(record: Record) -> str:
    """The record as JSON of at most `LONGEST` characters; its texts are shortened until it fits.

    A number that is not finite is ``null``. The weakest findings and slices go first, the measured values never.

    Raises
    ------
    ValueError
        When it is too long without any text, which means too many measured values.

    Examples
    --------
    >>> record = Record("2023-11", "7", "6", "2023-10", 60_000, {"rmse": 4.2}, False, ())
    >>> from_json(to_json(record)) == record
    True
    """
    for cut in (None, *_CUTS):
        text = _dumped(record if cut is None else _shortened(record, *cut))
        if len(text) <= LONGEST:
            return text
    raise ValueError(
        f"record of {record.month}: expected at most {LONGEST} characters of JSON; got {len(text)}, with "
        f"{len(record.measured)} measured values. Keep fewer"
    )


def moment(text: str) -> datetime | None:
    """A time as ISO 8601, which is UTC if it does not say; None for another text.

    Examples
    --------
    >>> moment("2026-11-27T20:00:00") == moment("2026-11-27T21:00:00+01:00")
    True
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def from_json(text: str) -> Record | None:
    """The record in a JSON text; None if it is no record, for example because somebody changed it.

    Examples
    --------
    >>> from_json('{"month": "2023-11"}') is None
    True
    """
    try:
        found = json.loads(text)
        return _record(found) if isinstance(found, dict) else None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, ConfigError):
        return None


def parsed(texts: Mapping[str, str]) -> tuple[tuple[Record, ...], tuple[str, ...]]:
    """Records, oldest month first, and the months whose text cannot be read as their record.

    Parameters
    ----------
    texts : mapping of str to str
        JSON by month, as `monitoring_log.months` returns it.
    """
    read = {month: from_json(texts[month]) for month in sorted(texts)}
    known = {month: record for month, record in read.items() if record and record.month == month}
    return tuple(known.values()), tuple(month for month in read if month not in known)


def finite(value: Any) -> Any:
    """The value with None for each number in it that is not finite: JSON has no word for such a number."""
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _dumped(record: Record) -> str:
    return json.dumps(finite(asdict(record)), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _shortened(record: Record, most: int, findings: int, slices: int, notes: int) -> Record:
    """The record with so many findings, slices and notes, and texts of at most so many characters."""
    kept = [replace(each, text=one_line(each.text, most)) for each in record.findings[:findings]]
    return replace(
        record,
        causes=record.causes[:12],
        findings=tuple(kept),
        slices=tuple(
            (one_line(name, most), minutes, share) for name, minutes, share in record.slices[:slices]
        ),
        done=one_line(record.done, 2 * most) if record.done else "",
        notes=tuple(one_line(each, most) for each in record.notes[:notes]),
    )


def _record(found: dict[str, Any]) -> Record:
    month = _text(found["month"])
    if str(Month.parse(month)) != month or month < FIRST:
        raise ValueError(f"month: expected YYYY-MM; got {month!r}")
    action = _text(found.get("action", "none"))
    if action not in ACTIONS:
        raise ValueError(f"action: expected one of {', '.join(ACTIONS)}; got {action!r}")
    return Record(
        month=month,
        champion=_text(found["champion"]),
        predecessor=_text(found["predecessor"]),
        promised_month=_text(found["promised_month"]),
        trips=_count(found["trips"]),
        measured={_text(name): _number(value) for name, value in found["measured"].items()},
        alarm=_flag(found["alarm"]),
        causes=tuple(map(_text, _list(found["causes"]))),
        findings=tuple(_findings(_list(found.get("findings", [])))),
        slices=tuple((_text(c), _number(m), _number(s)) for c, m, s in _list(found.get("slices", []))),
        action=action,
        done=_text(found.get("done", "")),
        at=_text(found.get("at", "")),
        run_id=_text(found.get("run_id", "")),
        notes=tuple(map(_text, _list(found.get("notes", [])))),
    )


def _findings(found: Iterable[dict[str, Any]]) -> Iterator[Finding]:
    for each in found:
        cause, text, is_fault = _text(each["cause"]), _text(each["text"]), _flag(each["is_fault"])
        yield Finding(cause, text, _number(each["share"]), is_fault, _number(each["strength"]))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text; got {value!r}")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false; got {value!r}")
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"expected a count; got {value!r}")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list; got {value!r}")
    return value


def _number(value: object) -> float:
    """A finite number, or NaN for null; Python's own words for numbers that are not finite are no JSON."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"expected a number; got {value!r}")
    return float(value)
