"""The model card: what a version predicts, from what, how well, where it fails and how to make it again.

`markdown` writes it; `page` shows the same text with the plots, as one HTML
file that asks nobody for anything.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from markdown_it import MarkdownIt

Array = npt.NDArray[Any]

LEAST_ROWS, WORST = 100, 8
RIDES = {"green": "a green taxi", "yellow": "a yellow taxi", "fhvhv": "an Uber or Lyft car"}
OUTCOMES = {
    "promote": "**Promote.** It passes every check and may become champion:",
    "keep": "**Keep the champion.** It is fit for use, but not better enough:",
    "refuse": "**Refuse.** It is unfit, or cannot be judged fairly:",
}
METRICS = {
    "test_mae": "mean absolute error (minutes)",
    "test_p90": "90th percentile of the absolute error (minutes)",
    "test_bias": "bias (minutes; positive predicts too long)",
    "test_r2": "R²",
    "test_coverage_80": "share of trips inside their 80 % interval",
    "test_coverage_80_worst_slice": "the same in the slice furthest from 0.8",
    "test_coverage_95": "share of trips inside their 95 % interval",
    "test_coverage_95_worst_slice": "the same in the slice furthest from 0.95",
}
SLICES = {
    "slice": "slice", "value": "value", "rows": "trips", "rmse": "RMSE", "champion_rmse": "champion's RMSE",
    "mae": "MAE", "bias": "bias", "coverage_80": "in 80 %", "coverage_95": "in 95 %",
}  # fmt: skip
PLOTS = {
    "residuals": "Histogram of predicted minus actual minutes on the test month",
    "predicted_vs_actual": "Predicted against actual minutes, with the line on which they are equal",
    "error_by_hour": "Bars of the RMSE in minutes, one for each hour of pickup",
    "importance": "Bars of each feature's share of the trees' total gain",
}
"""Pictures that `plots` draws, and what they show to someone who cannot see them."""

# Nothing may be fetched, and a script that came in with a text would not run: the page says so itself.
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<main class="{outcome}">
{body}
</main>
</body>
</html>
"""
STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --soft: #5b6875; --line: #dde3e9; --paper: #fff;
  --shade: #f4f6f8; --promote: #1a7f4b; --keep: #8a6100; --refuse: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e8ed; --soft: #9aa7b4; --line: #36414c;
  --paper: #151b21; --shade: #1f272f; --promote: #5fd39a; --keep: #e3b341; --refuse: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; }
h1 + p { font-size: 1.1rem; color: var(--soft); margin-top: 0; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
main.promote { --outcome: var(--promote); }
main.keep { --outcome: var(--keep); }
main.refuse { --outcome: var(--refuse); }
h2 + p > strong { color: var(--outcome); }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; min-width: 50%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1.4rem .3rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: normal; }
th { color: var(--soft); font-weight: 600; }
tr:has(:nth-child(5)) > * { white-space: nowrap; }
figure { margin: 1rem 0; }
figure img { display: block; width: 100%; height: auto; background: #fff; border: 1px solid var(--line);
  border-radius: 6px; }
.plots { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); }
.plots figure { margin: 0; }
pre { background: var(--shade); padding: .8rem 1rem; border-radius: 6px; overflow-x: auto; }
code { font: .88em ui-monospace, SFMono-Regular, Menlo, "Liberation Mono", monospace; }
"""


@dataclass(frozen=True)
class Card:
    """What a card is made from.

    Parameters
    ----------
    name : str
        The registered model.
    version : str or None
        Its number, None before it is registered.
    settings, origin : mapping of str to str
        As `Settings.describe` gives them; where it comes from (``run_key``, ``run_id``, ``git_commit``,
        ``code_sha256``, ...).
    measured : mapping of str to float
        ``test_rows`` and those of `METRICS` that there are.
    outcome, reasons : str, sequence of str
        One of `OUTCOMES`, and all that speaks for it.
    contenders : DataFrame
        ``contender``, as a person reads it, and ``rmse``, ``low``, ``high``: minutes, with the 95 % interval.
    gain : tuple of three floats or None
        RMSE of the champion minus the challenger's, minutes, and the ends of its 95 % interval.
    by_slice : DataFrame
        As from `metrics.slices`; ``champion_rmse`` where there is a champion.
    importance : mapping of str to float
        Share of the gain by feature, most first.
    months : DataFrame
        As `steps.build_features` describes them.
    proof : mapping or None
        ``passed``, ``reason``, ``rows``, ``one_by_one``, ``largest_difference`` (minutes).
    plots : sequence of Path
        PNG files, for the page.
    """

    name: str
    version: str | None
    settings: Mapping[str, str]
    origin: Mapping[str, str]
    measured: Mapping[str, float]
    outcome: str
    reasons: Sequence[str]
    contenders: pd.DataFrame
    gain: tuple[float, float, float] | None
    by_slice: pd.DataFrame
    importance: Mapping[str, float]
    months: pd.DataFrame
    proof: Mapping[str, Any] | None = None
    plots: Sequence[Path] = ()

    @property
    def title(self) -> str:
        """Name, version once there is one, test month."""
        version = f", version {self.version}" if self.version else ""
        return f"{self.name}{version}, tested on {self.settings['month']}"


def markdown(card: Card) -> str:
    """The card as Markdown with tables."""
    return f"{_results(card)}\n\n{_background(card)}\n"


def page(card: Card) -> str:
    """The card as an HTML page that is whole by itself: style and plots inside, no script, no request."""
    body = [_html(_results(card)), _figures(card.plots), _html(_background(card))]
    return PAGE.format(
        title=html.escape(card.title), style=STYLE, outcome=card.outcome, body="\n".join(filter(None, body))
    )


def plots(
    folder: Path,
    actual: Array,
    predicted: Array,
    by_slice: pd.DataFrame,
    importance: Mapping[str, float],
) -> tuple[Path, ...]:
    """Pictures of the test month, written to `folder` as PNG: those of `PLOTS`."""
    from matplotlib.figure import Figure  # late: half a second that only a report needs

    folder.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Figure] = {}

    def axes(name: str, title: str, xlabel: str, ylabel: str) -> Any:
        figures[name] = Figure(figsize=(7, 4.5), layout="constrained")
        drawing = figures[name].subplots()
        drawing.set(title=title, xlabel=xlabel, ylabel=ylabel)
        return drawing

    drawing = axes("residuals", "Residuals on the test month", "predicted - actual (minutes)", "trips")
    drawing.hist(np.clip(predicted - actual, -30, 30), bins=120, color="#4878a8")
    drawing = axes(
        "predicted_vs_actual", "Predicted against actual", "actual (minutes)", "predicted (minutes)"
    )
    drawing.hexbin(actual, predicted, gridsize=60, bins="log", cmap="Blues")
    drawing.plot([0, 60], [0, 60], color="#c44e52", linewidth=1)
    hours = by_slice[by_slice["slice"] == "hour"]
    drawing = axes("error_by_hour", "Error by hour of pickup", "hour of the day", "RMSE (minutes)")
    drawing.bar(hours["value"].astype(int), hours["rmse"], color="#4878a8")
    drawing = axes("importance", "What the trees use", "share of the total gain", "")
    names = list(importance)[::-1]
    drawing.barh(names, [importance[name] for name in names], color="#4878a8")
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=110)
    return tuple(paths)


def _results(card: Card) -> str:
    """What stands above the plots."""
    sections = (_head, _verdict, _how_well, _where_worst, _learnt_from, _trees_use)
    return "\n\n".join(section(card) for section in sections)


def _background(card: Card) -> str:
    """What stands below the plots."""
    return "\n\n".join(section(card) for section in (_limits, _settings, _reproduce))


def _head(card: Card) -> str:
    ride = RIDES[card.settings["service"]]
    return (
        f"# {_plain(card.title)}\n\nPredicts, when a ride in {ride} in New York is asked for, how many "
        "minutes it will take: for whoever tells a passenger or plans a driver's day."
    )


def _verdict(card: Card) -> str:
    return f"## Verdict\n\n{OUTCOMES[card.outcome]}\n\n{_bullets(card.reasons)}\n\n{_proof(card.proof)}"


def _proof(proof: Mapping[str, Any] | None) -> str:
    if proof is None:
        return "Proof: none yet. The version has not been loaded from the registry and asked again."
    if not proof["passed"]:
        return f"Proof: **failed**, so it does not become champion: {_plain(proof['reason'])}"
    return (
        "Proof: **passed**. Loaded from the registry in a fresh process, it answered "
        f"{proof['rows']:,.0f} trips at once and {proof['one_by_one']:,.0f} one by one as it was tested; "
        f"the largest difference is {proof['largest_difference']:.1g} minutes."
    )


def _how_well(card: Card) -> str:
    rivals, measured = card.contenders, card.measured
    intervals = [_interval(low, high) for low, high in zip(rivals["low"], rivals["high"], strict=True)]
    compared = rivals[["contender", "rmse"]].assign(interval=intervals)
    compared.columns = pd.Index(["contender", "RMSE (minutes)", "95 % interval"])
    others = [(meaning, measured[name]) for name, meaning in METRICS.items() if name in measured]
    return (
        f"## How well\n\nOn all {measured['test_rows']:,.0f} trips of {card.settings['month']} that took 1 to 60 "
        f"minutes, which nothing had looked at before.\n\n{_table(compared)}\n\n{_gain(card.gain)}\n\n"
        f"{_table(pd.DataFrame(others, columns=['metric', 'value']))}"
    )


def _gain(gain: tuple[float, float, float] | None) -> str:
    if gain is None:
        return "No champion was compared with it."
    minutes, low, high = gain
    direction = "below" if minutes >= 0 else "above"
    return (
        f"Its RMSE is {abs(minutes):.3f} minutes {direction} the champion's; the gain's 95 % interval is "
        f"{_interval(low, high)}."
    )


def _where_worst(card: Card) -> str:
    worst = card.by_slice[card.by_slice["rows"] >= LEAST_ROWS].nlargest(WORST, "rmse")
    shown = worst[[name for name in SLICES if name in worst]].rename(columns=SLICES)
    return (
        f"## Where it does worst\n\nSlices of at least {LEAST_ROWS} trips; minutes, and the share of trips inside "
        f"their 80 % and 95 % interval. Weekdays count from 0, Monday.\n\n{_table(shown)}"
    )


def _learnt_from(card: Card) -> str:
    months = card.months
    shown = months[["month", "role", "rows", "kept"]].assign(sha256=months["sha256"].astype(str).str[:12])
    unusual = [f"{m}: {note}" for m, note in zip(months["month"], months["unusual"], strict=True) if note]
    return (
        f"## What it learnt from\n\nSource: {_plain(card.settings['source'])}. Trained on the training months, "
        "tuned on the validation month, fitted again on both, tested on the test month.\n\n"
        f"{_table(shown)}\n\nRejected, by the first rule that a trip broke:\n\n{_table(_rejections(months))}"
        + (f"\n\nUnlike the months before them:\n\n{_bullets(unusual)}" if unusual else "")
    )


def _rejections(months: pd.DataFrame) -> pd.DataFrame:
    """Trips rejected by each rule in the months of each role; rules that rejected none are left out."""
    counts = months.filter(like="rejected_").groupby(months["role"], sort=False).sum().T
    named = counts.rename(lambda rule: rule.removeprefix("rejected_").replace("_", " "))
    return named[named.sum(axis=1) > 0].rename_axis("rule").reset_index()


def _trees_use(card: Card) -> str:
    shares = pd.DataFrame(card.importance.items(), columns=["feature", "share of the gain"])
    return f"## What the trees use\n\n{_table(shares)}"


def _limits(card: Card) -> str:
    limits = [
        "For telling how long a ride will take. Not for fares, nor for judging a driver.",
        "Rides under one and over 60 minutes are not learnt, so none is predicted.",
        "Months unlike those above (a pandemic, a new toll) are not foreseen; train again when one is out.",
        "The distance is the meter's, known only at the end of a ride; before it, give the route's length."
        if card.settings["use_distance"] == "True"
        else "No distance is used.",
    ]
    if card.settings["source"] == "sample":
        limits.append("Learnt from an invented city: for trying things out, not for real rides.")
    return f"## Intended use and limits\n\n{_bullets(limits)}"


def _settings(card: Card) -> str:
    return f"## Settings\n\n{_table(pd.DataFrame(card.settings.items(), columns=['setting', 'value']))}"


def _reproduce(card: Card) -> str:
    origin = pd.DataFrame(card.origin.items(), columns=["made from", "value"])
    number = card.version or "NUMBER"
    return (
        f"## How to reproduce\n\n{_table(origin.replace({'made from': {'_': ' '}}, regex=True))}\n\n"
        f"```sh\npython -m mlops reproduce {number} --model {card.name}\n```\n\n"
        f'To use it:\n\n```python\nmlflow.pyfunc.load_model("models:/{card.name}/{number}")\n```'
    )


def _html(text: str) -> str:
    """Markdown rendered; HTML in it stays text. A table too wide for its place scrolls."""
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    wide = renderer.render(text).replace("<table>", '<div class="wide" tabindex="0">\n<table>')
    return str(wide.replace("</table>", "</table>\n</div>"))


def _figures(paths: Iterable[Path]) -> str:
    """Pictures as part of the page."""
    figures = []
    for path in paths:
        picture = base64.b64encode(path.read_bytes()).decode()
        shows = html.escape(PLOTS.get(path.stem, path.stem.replace("_", " ")))
        figures.append(f'<figure><img alt="{shows}" src="data:image/png;base64,{picture}"></figure>')
    return '<div class="plots">\n' + "\n".join(figures) + "\n</div>" if figures else ""


def _table(table: pd.DataFrame) -> str:
    """Markdown of a table: numbers to the right, counts with thousands, others to three places.

    Examples
    --------
    >>> print(_table(pd.DataFrame({"month": ["2023-06"], "rows": [65000], "rmse": [4.41239]})))
    | month | rows | rmse |
    | --- | ---: | ---: |
    | 2023-06 | 65,000 | 4.412 |
    """
    lines = [
        [str(name).replace("_", " ") for name in table.columns],
        ["---:" if pd.api.types.is_numeric_dtype(kind) else "---" for kind in table.dtypes],
        *([_cell(value) for value in row] for row in table.itertuples(index=False)),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.3f}" if np.isfinite(value) else "–"
    return _plain(str(value))


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_plain(line)}" for line in lines)


def _interval(low: float, high: float) -> str:
    """Both ends of an interval in words, or a dash where it is not known."""
    return f"{low:.3f} to {high:.3f}" if np.isfinite([low, high]).all() else "–"


def _plain(text: str) -> str:
    r"""Text from outside on one line, with all that Markdown would take for markup escaped.

    Examples
    --------
    >>> print(_plain("a|b [c](d)\n<script> snake_case"))
    a\|b \[c\](d) \<script> snake_case
    """
    return re.sub(r"([\\`*<\[\]|&~]|_(?![^\W_])|^[-+>#])", r"\\\1", " ".join(text.split()))
