"""The report of a compared month: one HTML file for a manager and for the person who looks closer.

The text is in `templates/`; this module computes what the template shows. The file needs no other file, runs no
script and makes no request. All texts are escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from mlops.errors import plain
from mlops.monitoring import drawings, measures, message
from mlops.monitoring.changes import Change
from mlops.monitoring.drawings import Error
from mlops.monitoring.sums import BASELINE, CHAMPION, PREDECESSOR
from mlops.registry import monitoring_page, svg
from mlops.registry import monitoring_words as words
from mlops.registry.monitoring_record import Record
from mlops.registry.svg import Line, Plot, Point

MOST_SLICES, MOST_MONTHS = 8, 24  # that are drawn
STYLE = f"""{monitoring_page.STYLE}
dl{{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1.2rem;margin:1rem 0}}
dt{{color:var(--soft);font-weight:600}}
dd{{margin:0}}
.pair{{display:grid;gap:0 2.5rem;grid-template-columns:repeat(auto-fit,minmax(min(22rem,100%),1fr))}}
@media (max-width:36rem){{dl{{grid-template-columns:1fr}}dd{{margin-bottom:.5rem}}}}
"""
_COLUMNS = {
    "champion_rmse": "RMSE", "champion_rmse_low": "from", "champion_rmse_high": "to", "champion_bias": "bias",
    "predecessor_rmse": "predecessor", "baseline_rmse": "pair median", "champion_coverage_80": "in 80 %",
}  # fmt: skip
_SHARES = ("share", "coverage", "missing")  # begin or end the names of columns that are shares


@dataclass(frozen=True, eq=False)
class ReportData:
    """What a report shows.

    Parameters
    ----------
    name : str
        The registered model.
    record : Record
        Of the month, with its action.
    errors : sequence of Error
        RMSE of champion, its promise, predecessor and pair median, each with its interval.
    change : Change or None
        The champion's RMSE against its test month; None if the source no longer has that month.
    by_slice : DataFrame
        From `measures.by_slice`; may be empty.
    drift : DataFrame
        From `drift.table`, the largest first; may be empty.
    earlier : sequence of Record
        Months that were compared before, oldest first.
    track_record : str
        How good earlier estimates were, as a sentence; empty without an estimate.
    """

    name: str
    record: Record
    errors: Sequence[Error]
    change: Change | None = None
    by_slice: pd.DataFrame = field(default_factory=pd.DataFrame)
    drift: pd.DataFrame = field(default_factory=pd.DataFrame)
    earlier: Sequence[Record] = ()
    track_record: str = ""


def errors_of(record: Record, now: pd.DataFrame, promised: pd.DataFrame | None) -> tuple[Error, ...]:
    """RMSE of each contender with its interval, from the sums of the month and of the champion's test month.

    Parameters
    ----------
    record : Record
    now : DataFrame
        From `sums.sum_up`.
    promised : DataFrame or None
        The same of the champion's test month.
    """
    month = record.month
    found = [_error(f"champion, {month}", "champion", now, CHAMPION)]
    if promised is not None:
        found.append(_error(f"promised on {record.promised_month}", "promised", promised, CHAMPION))
    found.append(_error(f"predecessor, {month}", "predecessor", now, PREDECESSOR))
    found.append(_error(f"pair median, {month}", "baseline", now, BASELINE))
    return tuple(each for each in found if math.isfinite(each.rmse))


def _error(name: str, kind: str, sums: pd.DataFrame, contender: str) -> Error:
    rmse = measures.measure(sums, contender).get(measures.RMSE, math.nan)
    return Error(name, kind, rmse, *measures.interval(sums, contender))


def page(data: ReportData) -> str:
    """The report as one HTML file.

    Parameters
    ----------
    data : ReportData
    """
    record = data.record
    shown = {
        "name": data.name,
        "record": record,
        "style": Markup(STYLE),
        "headline": words.headline(record),
        "summary": list(_summary(record)),
        "errors": Markup(drawings.errors("RMSE in minutes, with 95 % intervals", data.errors)),
        "split": Markup(_split(record)),
        "where": Markup(_where(record)),
        "by_day": Markup(_by_day(data.change)),
        "slices": _slices(data.by_slice),
        "drift": _rows(data.drift),
        "over_months": Markup(_over_months(data)),
        "estimate": _estimate(data),
        "estimated": Markup(_estimated(data)),
        "notes": list(_notes(record)),
    }
    return _TEMPLATES.get_template("report.html.jinja").render(shown)


def _summary(record: Record) -> Iterator[tuple[str, str]]:
    """What a manager wants to know first: a word and a sentence each."""
    yield "What changed", message.sentence(message.how_much(record))
    why = " ".join(message.sentence(each.text) for each in record.findings[: message.FINDINGS])
    yield "Why", why or message.sentence(words.causes(record) or "nothing unusual was found in the data")
    if record.slices:
        yield "Where", message.sentence(message.where(record))
    yield "What was done", message.sentence(words.done(record))
    yield "What to do", message.sentence(message.to_do(record))


def _split(record: Record) -> str:
    value = record.value
    interval = words.between(value("change_within_low"), value("change_within_high"))
    names = (
        f"promised on {record.promised_month}", "another mix of rides", "error on the same rides",
        f"measured in {record.month}",
    )  # fmt: skip
    title = (
        f"Why RMSE changed, minutes; 95 % interval of the error on the same rides:{interval or ' unknown'}"
    )
    promised, mix, within = (value(name) for name in ("rmse_promised", "change_mix", "change_within"))
    return drawings.parts_of_change(title, promised, mix, within, names)


def _where(record: Record) -> str:
    rows = [
        (name, minutes, f"{words.signed(minutes)}, {words.percent(share)}")
        for name, minutes, share in record.slices[:MOST_SLICES]
    ]
    return drawings.bars("Change of RMSE within groups of rides, minutes; their share of the trips", rows)


def _by_day(change: Change | None) -> str:
    title = "Which days changed RMSE on the same rides: contribution in minutes, by day of the month"
    return drawings.days(title, change.days if change else ())


def _slices(by_slice: pd.DataFrame) -> list[list[str]]:
    """A header and rows of the errors by slice; empty without any."""
    if by_slice.empty:
        return []
    named = by_slice["slice"].astype(str).str.replace("_", " ") + " " + by_slice["value"].astype(str)
    there = {name: label for name, label in _COLUMNS.items() if name in by_slice}
    chosen = by_slice[["trips", "share", *there]].rename(columns=there)
    chosen.insert(0, "slice", named.str.strip())
    return _rows(chosen)


def _rows(table: pd.DataFrame) -> list[list[str]]:
    """A header, then the rows as texts; empty if there is no row."""
    if table.empty:
        return []
    columns = [str(name) for name in table.columns]
    body = [
        [_cell(value, name) for value, name in zip(row, columns, strict=True)]
        for row in table.itertuples(index=False)
    ]
    return [[name.replace("_", " ") for name in columns], *body]


def _cell(value: Any, column: str) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        return _number(float(value), column)
    return "–" if value is None else plain(str(value))


def _number(value: float, column: str) -> str:
    if not math.isfinite(value):
        return "–"
    if column.startswith(_SHARES) or column.endswith("%"):
        return words.percent(value)
    return f"{value:.3g}" if abs(value) < 1 else f"{value:,.2f}"


def _until_now(data: ReportData) -> list[Record]:
    """The months before this one, and this one, oldest first."""
    earlier = [each for each in data.earlier if each.month < data.record.month]
    return [*earlier, data.record][-MOST_MONTHS:]


def _over_months(data: ReportData) -> str:
    """RMSE by month, of this month and those before; empty without any before."""
    records = _until_now(data)
    if len(records) < 2:
        return ""
    months = monitoring_page.axis(records)
    by_month = {each.month: each for each in records}
    names = {"rmse": ("champion", "champion"), "rmse_predecessor": ("predecessor", "predecessor"),
             "rmse_baseline": ("pair median", "baseline"), "rmse_promised": ("promised", "promised")}  # fmt: skip
    lines = [Line(name, kind, _points(by_month, months, value)) for value, (name, kind) in names.items()]
    return svg.plot(Plot("RMSE in minutes, by month; a ring is an alarm", months, lines))


def _points(by_month: dict[str, Record], months: Sequence[str], value: str) -> list[Point]:
    found = (by_month.get(month) for month in months)
    is_champion = value == "rmse"
    return [
        Point(each.value(value), title=words.headline(each), is_alarm=each.alarm and is_champion)
        if each
        else Point(math.nan)
        for each in found
    ]


def _estimate(data: ReportData) -> str:
    """The estimate, the truth and the track record as sentences; empty without an estimate."""
    estimated, rmse = data.record.value("rmse_estimated"), data.record.value("rmse")
    if not math.isfinite(estimated):
        return ""
    off = words.signed(estimated - rmse)
    known = f" {message.sentence(data.track_record)}" if data.track_record else ""
    return (
        f"From the rides alone, {estimated:.2f} minutes were to be expected; {rmse:.2f} were measured "
        f"({off}).{known}"
    )


def _estimated(data: ReportData) -> str:
    """Estimates and errors by month; empty with fewer than two months."""
    records = _until_now(data)
    known = [each for each in records if math.isfinite(each.value("rmse_estimated"))]
    if len(known) < 2:
        return ""
    months, by_month = monitoring_page.axis(known), {each.month: each for each in known}
    lines = (
        Line("measured", "champion", _points(by_month, months, "rmse")),
        Line("estimated", "predecessor", _points(by_month, months, "rmse_estimated")),
    )
    return svg.plot(Plot("Estimated and measured RMSE, minutes, by month", months, lines, height=220))


def _notes(record: Record) -> Iterator[str]:
    yield from map(message.sentence, record.notes)
    predecessor = f"version {record.predecessor}" if record.predecessor else "there is none"
    yield f"Champion: version {record.champion}. Predecessor: {predecessor}."
    yield f"Compared at {record.at or 'an unknown time'} (UTC)."
    yield (
        "Another mix of rides: how RMSE had changed if every group of rides (hour, weekday or weekend, distance, "
        "airport) had kept its error. The error on the same rides is the rest; both add up to the change."
    )


_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    undefined=jinja2.StrictUndefined,
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    finalize=lambda value: (
        plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value
    ),
)
_TEMPLATES.filters |= {"cause": words.cause, "percent": words.percent}
