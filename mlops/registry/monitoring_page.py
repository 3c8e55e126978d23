"""The compared months of all models as one HTML page: no script, no other file. Jinja is not needed to make it.

The service shows this page, and its environment has neither Jinja nor matplotlib.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final

from mlops.errors import command
from mlops.month import Month
from mlops.registry import monitoring_words as words
from mlops.registry import svg
from mlops.registry.monitoring_record import PROMOTED, RETURNED, TRAINED, Event, History, Record
from mlops.registry.svg import Line, Mark, Plot, Point

MOST_MONTHS: Final = 120  # in a chart; the table has all
LED_IN: Final = 3  # months that a chart may have before the first one that was compared
COLOURS: Final = """
:root{color-scheme:light dark;--ink:#1d2733;--soft:#5b6875;--line:#dde3e9;--paper:#fff;--shade:#f4f6f8;
--champion:#0062a8;--predecessor:#b35900;--alarm:#b3261e;--good:#1a7f4b}
@media (prefers-color-scheme:dark){:root{--ink:#e3e8ed;--soft:#9aa7b4;--line:#36414c;--paper:#151b21;
--shade:#1f272f;--champion:#6db8f2;--predecessor:#f0a860;--alarm:#ff8a80;--good:#5fd39a}}
""".strip()
TEXTS: Final = """
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.6 system-ui,-apple-system,"Segoe UI",Roboto,
"Liberation Sans",sans-serif}
main{max-width:70rem;margin:0 auto;padding:2rem 1.25rem 4rem;overflow-wrap:anywhere}
h1{font-size:1.7rem;line-height:1.25;margin:0 0 .5rem}
h2{font-size:1.3rem;margin:2.5rem 0 .75rem;padding-bottom:.3rem;border-bottom:1px solid var(--line)}
h3{font-size:1.05rem;margin:2rem 0 .5rem}
a{color:var(--champion)}
.lead{font-size:1.1rem;color:var(--soft);margin-top:0}
.state{padding:.6rem 1rem;border-left:5px solid var(--good);background:var(--shade);margin:1rem 0}
.state.alarm{border-color:var(--alarm)}
.state.none{border-color:var(--soft)}
.wide{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;min-width:50%;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem 1.4rem .3rem 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top;
overflow-wrap:normal}
th{color:var(--soft);font-weight:600;white-space:nowrap}
td.number,th.number{text-align:right;white-space:nowrap}
td.short{white-space:nowrap}
td.text{min-width:16rem}
tr.alarm td:first-child{box-shadow:inset 4px 0 var(--alarm)}
td:first-child,th:first-child{padding-left:.7rem}
code{font:.88em ui-monospace,SFMono-Regular,Menlo,"Liberation Mono",monospace}
.legend{color:var(--soft);font-size:.92rem}
summary{cursor:pointer;color:var(--soft)}
""".strip()
STYLE: Final = f"{COLOURS}\n{TEXTS}\n{svg.STYLE}"

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_LEGEND = (
    '<p class="legend">Each point of the champion links to the report of the month in MLflow. A ring is an alarm. '
    "Below the months: an empty triangle is a training, a full one a new champion, an arrow a champion that came "
    "back.</p>"
)
_SIGN = {TRAINED: "trained", PROMOTED: "promoted", RETURNED: "returned"}
_DONE = {TRAINED: "trained", PROMOTED: "became champion", RETURNED: "became champion again"}


def page(histories: Iterable[History], notes: Sequence[str] = ()) -> str:
    """HTML of the compared months of these models.

    Parameters
    ----------
    histories : iterable of History
    notes : sequence of str
        What a reader must know of the whole page, as that the registry is away.
    """
    found = sorted(histories, key=lambda each: (each.newest is None, each.name))
    sections = "".join(map(_section, found)) if found else _empty()
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        "<title>Compared months</title>"
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head><body><main>'
        "<h1>Compared months</h1>"
        '<p class="lead">Each month, when its trips are published, shows how good the predictions were: the error '
        "of the champion on all trips, beside what it had promised.</p>"
        f"{''.join(_state(note, 'none') for note in notes)}{sections}</main></body></html>\n"
    )


def _empty() -> str:
    act = command("monitor --service green --month next --source tlc")
    return (
        '<p class="state none">No model is registered, so no month was compared yet. When a model has a champion, '
        f"compare a month: <code>{escape(act)}</code></p>"
    )


def _section(history: History) -> str:
    newest = history.newest
    problems = "".join(_state(text, "none") for text in history.problems)
    head = f"<h2>{_link(history.name, history.model_page)}</h2>{problems}"
    if newest is None:
        return head + ("" if problems else _state(_first(), "none", is_html=True))
    state = _state(words.headline(newest), "alarm" if newest.alarm else "")
    charts = "".join(_charts(history))
    return f"{head}{state}{charts}{_LEGEND}{_months(history)}{_events(history)}"


def _first() -> str:
    act = command("monitor --help")
    return (
        "No month of this model was compared yet. The pipeline <code>trip_duration_monitoring</code> compares "
        f"each month when it is published; to compare one now: <code>{escape(act)}</code>"
    )


def _state(text: str, kind: str, *, is_html: bool = False) -> str:
    return f'<p class="state {kind}">{text if is_html else svg.escaped(text)}</p>'


def _charts(history: History) -> Iterator[str]:
    """Error, coverage and drift by month."""
    months = [*_led_in(history), *axis(history.records)][-MOST_MONTHS:]
    by_month = {record.month: record for record in history.records}
    shown = [by_month.get(month) for month in months]

    def line(name: str, kind: str, value: str) -> Line:
        return Line(name, kind, [Point(r.value(value) if r else math.nan) for r in shown])

    errors = (
        Line("champion", "champion", [_point(history, record) for record in shown]),
        line("predecessor", "predecessor", "rmse_predecessor"),
        line("pair median", "baseline", "rmse_baseline"),
        line("promised", "promised", "rmse_promised"),
    )
    marks = tuple(_marks(history.events, months))
    yield svg.plot(
        Plot("RMSE in minutes, by month of the trips; band: 95 % interval", months, errors, marks, height=330)
    )
    covered = (
        line("95 % range", "champion", "coverage_95"),
        line("80 % range", "predecessor", "coverage_80"),
    )
    title = "Trips inside the champion's ranges; dotted: as they should be"
    yield svg.plot(Plot(title, months, covered, levels=(0.8, 0.95), is_share=True, height=220))
    drift = (line("largest", "champion", "drift_largest"),)
    yield svg.plot(Plot("Largest drift of an input (PSI)", months, drift, has_zero=True, height=190))


def _led_in(history: History) -> list[str]:
    """Up to `LED_IN` months before the first record, if a version was trained or became champion then."""
    first = Month.parse(history.records[0].month)
    before = [str(first - count) for count in range(LED_IN, 0, -1)]
    known = [place for place, month in enumerate(before) if any(e.month == month for e in history.events)]
    return before[known[0] :] if known else []


def axis(records: Sequence[Record]) -> list[str]:
    """Every month from the first record to the last one, at most `MOST_MONTHS`."""
    months = Month.range(Month.parse(records[0].month), Month.parse(records[-1].month))
    return list(map(str, months[-MOST_MONTHS:]))


def _point(history: History, record: Record | None) -> Point:
    if record is None:
        return Point(math.nan)
    value, low, high = (record.value(name) for name in ("rmse", "rmse_low", "rmse_high"))
    title = f"Version {record.champion}. {words.headline(record)}"
    return Point(value, low, high, title, history.report_page(record.month), record.alarm)


def _marks(events: Sequence[Event], months: Sequence[str]) -> Iterator[Mark]:
    """One sign for each month with events: of a return, else of a new champion, else of a training."""
    order = list(_SIGN)
    for place, month in enumerate(months):
        here = [event for event in events if event.month == month]
        if here:
            shown = max(here, key=lambda event: order.index(event.kind))
            title = "; ".join(f"version {each.version} {_DONE[each.kind]}" for each in here)
            yield Mark(place, _SIGN[shown.kind], f"v{shown.version}", f"{month}: {title}")


def _months(history: History) -> str:
    rows = "".join(_month(history, record) for record in reversed(history.records))
    heads = (
        "month",
        "champion",
        "RMSE (95 %)",
        "promised",
        "predecessor",
        "pair median",
        "what changed, what was done",
    )
    columns = "".join(f'<th{_kind(place)} scope="col">{head}</th>' for place, head in enumerate(heads))
    return f'<h3>Months</h3><div class="wide" tabindex="0"><table><tr>{columns}</tr>{rows}</table></div>'


def _kind(place: int) -> str:
    return ' class="number"' if 2 <= place <= 5 else ""


def _month(history: History, record: Record) -> str:
    value = record.value
    numbers = (
        f"{_two(value('rmse'))}{words.between(value('rmse_low'), value('rmse_high'))}",
        *(_two(value(f"rmse_{name}")) for name in ("promised", "predecessor", "baseline")),
    )
    what = f"{'Alarm: ' if record.alarm else ''}{words.causes(record) or 'as promised'}"
    done = "" if record.action == "none" else f"; {words.done(record)}"
    cells = [
        f'<td class="short">{_link(record.month, history.report_page(record.month))}</td>',
        f'<td class="short">{_link(f"version {record.champion}", history.version_page(record.champion))}</td>',
        *(f'<td class="number">{svg.escaped(number)}</td>' for number in numbers),
        f'<td class="text">{svg.escaped(what + done)}</td>',
    ]
    return f"<tr{' class=alarm' if record.alarm else ''}>{''.join(cells)}</tr>"


def _two(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "–"


def _events(history: History) -> str:
    """Trainings and alias moves, newest first."""
    if not history.events:
        return ""
    rows = "".join(
        f'<tr><td class="short">{svg.escaped(each.at[:16].replace("T", " "))}</td><td class="short">'
        f"{_link(f'version {each.version}', history.version_page(each.version))} {_DONE[each.kind]}</td>"
        f'<td class="short">{svg.escaped(each.month)}</td><td class="text">{svg.escaped(each.text)}</td></tr>'
        for each in reversed(history.events)
    )
    heads = "".join(f'<th scope="col">{each}</th>' for each in ("time (UTC)", "what", "month", "why"))
    return (
        f"<details><summary>All {len(history.events)} trainings and moves of the champion</summary>"
        f'<div class="wide" tabindex="0"><table><tr>{heads}</tr>{rows}</table></div></details>'
    )


def _link(text: str, address: str) -> str:
    shown = svg.escaped(text)
    return f'<a href="{escape(address)}">{shown}</a>' if address else shown
