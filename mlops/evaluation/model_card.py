"""The model card: what a version predicts, its training data, its test results, and how to reproduce it.

`markdown` returns the card as Markdown. `page` returns the same text with the
plots as one HTML file that needs no other file. Text and style are in
`templates/`; this module computes the values that the templates show.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markdown_it import MarkdownIt
from markupsafe import Markup

from mlops.errors import plain
from mlops.evaluation.metrics import LEAST_ROWS, NOMINAL, worst_covered
from mlops.evaluation.plots import PLOTS
from mlops.evaluation.plots import plots as plots
from mlops.evaluation.promotion import Limits

WORST = 8
TOLERANCE = 0.02  # a month's coverage further from nominal is pointed out


class Markdown(str):
    """Text that is already Markdown. Templates escape the markup in any other text."""


RIDES = {"green": "a green taxi", "yellow": "a yellow taxi", "fhvhv": "an Uber or Lyft car"}
OUTCOMES = {
    "promote": Markdown("**Promote.** This version is fit to be the champion. Reasons:"),
    "keep": Markdown("**Keep the champion.** This version is fit for use, but the champion stays. Reasons:"),
    "refuse": Markdown("**Refuse.** This version is not fit for use, or cannot be compared fairly. Reasons:"),
}
METRICS = {
    "test_mae": "mean absolute error (minutes)",
    "test_p90": "90th percentile of the absolute error (minutes)",
    "test_bias": "bias (minutes; positive: predictions are too long)",
    "test_r2": "R²",
}
SLICES = {
    "slice": "slice", "value": "value", "rows": "trips", "rmse": "RMSE", "champion_rmse": "champion's RMSE",
    "mae": "MAE", "bias": "bias", "coverage_80": "in 80 %", "coverage_95": "in 95 %",
}  # fmt: skip


@dataclass(frozen=True)
class Card:
    """The content of a card.

    Parameters
    ----------
    name : str
        The registered model.
    version : str or None
        Number of the version; None before it is registered.
    settings, origin : mapping of str to str
        The settings as `Settings.describe` returns them, and what identifies the run (``run_key``, ``run_id``,
        ``git_commit``, ``code_sha256``, ...).
    measured : mapping of str to float
        ``test_rows``, those of `METRICS` that were measured, and ``test_without_distance_rmse`` and ``..._mae`` if
        the model uses the distance.
    outcome, reasons : str, sequence of str
        A key of `OUTCOMES`, and every reason for it.
    contenders : DataFrame
        ``contender`` (a name), and ``rmse``, ``low``, ``high``: RMSE and its 95 % interval in minutes.
    gain : tuple of three floats or None
        The champion's RMSE minus the challenger's, and the ends of its 95 % interval, all in minutes.
    by_slice : DataFrame
        As `metrics.slices` returns it.
    ranges : DataFrame
        ``level`` (80 or 95), ``contender`` (a name), ``interval_score``, ``coverage``, ``width``.
    without_distance : DataFrame or None
        As `by_slice`, for requests without a distance; None if the model uses no distance.
    importance : mapping of str to float
        Share of the total gain by feature, largest first.
    months : DataFrame
        The months table (`pipeline.months_table`).
    verification : mapping or None
        ``passed``, ``reason``, ``rows``, ``one_by_one``, ``largest_difference`` (minutes); None before it is done.
    plots : sequence of Path
        PNG files, for the page.
    rules : mapping of str to str
        All cleaning rules of the run in order, in words, each with its source if it is not one of the project's;
        empty if the run had the project's rules.
    waits : str
        Why the version waits for a person's approval; empty if it does not.
    experiment, experiment_note : str
        Name of an experiment, which is never registered, and what it tries; empty for a version.
    difference : sequence of str
        What an experiment does differently from the champion's run, one line for each difference.
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
    ranges: pd.DataFrame
    without_distance: pd.DataFrame | None
    importance: Mapping[str, float]
    months: pd.DataFrame
    verification: Mapping[str, Any] | None = None
    plots: Sequence[Path] = ()
    rules: Mapping[str, str] = field(default_factory=dict)
    waits: str = ""
    experiment: str = ""
    experiment_note: str = ""
    difference: Sequence[str] = ()

    @property
    def title(self) -> str:
        """Model name, version or experiment, test month, and whether its trips are synthetic."""
        version = f", version {self.version}" if self.version else ""
        version = f", experiment {self.experiment}" if self.experiment else version
        trips = "synthetic trips of " if self.is_synthetic else ""
        return f"{self.name}{version}, tested on {trips}{self.settings['month']}"

    @property
    def is_synthetic(self) -> bool:
        """Whether a month is of the synthetic city; its file says so, whatever the source is."""
        return bool(self.months["sample"].any())


def markdown(card: Card) -> str:
    """The card as Markdown with tables."""
    return "\n".join(_sections(card))


def page(card: Card) -> str:
    """The card as one HTML file that contains its style and plots, has no script and makes no request."""
    results, background = map(_html, _sections(card))
    template = HTML_TEMPLATES.get_template("model_card.html.jinja")
    figures = [_figure(path) for path in card.plots]
    return template.render(card=card, results=results, figures=figures, background=background)


def with_note(markdown: str, page: str, note: str) -> tuple[str, str]:
    r"""Both forms of a finished card with a note below the title, above earlier notes.

    Examples
    --------
    >>> markdown, page = with_note("# Title\n\nText", "<h1>Title</h1>\n<p>Text</p>", "a < b")
    >>> print(markdown)
    # Title
    <BLANKLINE>
    > **Note:** a \< b
    <BLANKLINE>
    Text
    >>> print(page)
    <h1>Title</h1>
    <blockquote>
    <p><strong>Note:</strong> a &lt; b</p>
    </blockquote>
    <p>Text</p>
    """
    title, _, text = markdown.partition("\n")
    quotation = f"> **Note:** {_escaped(note)}\n"
    return f"{title}\n\n{quotation}{text}", page.replace("</h1>\n", f"</h1>\n{_html(quotation)}", 1)


def _sections(card: Card) -> tuple[str, str]:
    """Markdown above the plots, and Markdown below them."""
    shown = {
        "card": card,
        "ride": RIDES[card.settings["service"]],
        "outcome": OUTCOMES[card.outcome],
        "contenders": _contenders(card.contenders),
        "metrics": _metrics(card),
        "ranges": _ranges(card.ranges),
        "worst_covered": _worst_covered(card),
        "missed": _missed(card.measured),
        "least_rows": LEAST_ROWS,
        "least_compared": Limits().min_slice_rows,
        "most_slices": WORST,
        "only_for_training": _only_for_training(card.months),
        "worst_slices": _worst_slices(card.by_slice),
        "months": _months(card.months),
        "rejected": _rejected(card.months),
        "unusual": _unusual(card.months),
        "origin": {name.replace("_", " "): value for name, value in card.origin.items()},
    }
    results, background = (
        MARKDOWN_TEMPLATES.get_template(name).render(shown)
        for name in ("results.md.jinja", "background.md.jinja")
    )
    return results, background


def _contenders(contenders: pd.DataFrame) -> pd.DataFrame:
    """RMSE of each contender with its 95 % interval."""
    ends = zip(contenders["low"], contenders["high"], strict=True)
    shown = contenders[["contender", "rmse"]].assign(interval=[_interval(low, high) for low, high in ends])
    return shown.rename(columns={"rmse": "RMSE (minutes)", "interval": "95 % interval"})


def _metrics(card: Card) -> dict[str, float]:
    """The metrics that were measured, by their description."""
    return {text: card.measured[name] for name, text in METRICS.items() if name in card.measured}


def _ranges(ranges: pd.DataFrame) -> pd.DataFrame:
    """Interval score, coverage and mean width of each contender, by level."""
    level = [f"{level} %" for level in ranges["level"]]
    return ranges.assign(level=level).rename(
        columns={"level": "range", "contender": "of", "coverage": "trips inside", "width": "mean width"}
    )


def _worst_covered(card: Card) -> pd.DataFrame:
    """The slices in which coverage is furthest from nominal, with and without a distance."""
    tables = {"given": card.by_slice, "not given": card.without_distance}
    rows = [
        (f"{name[-2:]} %", distance, f"{row['slice']} {row['value']}", row["rows"], row[name])
        for distance, table in tables.items()
        if table is not None
        for name, label in worst_covered(table).items()
        for row in [table.loc[label]]
    ]
    return pd.DataFrame(rows, columns=["range", "distance", "slice", "trips", "trips inside"])


def _missed(measured: Mapping[str, float]) -> list[str]:
    """A sentence for each kind of range whose coverage of the test month is not what its name says."""
    found = []
    for name, nominal in NOMINAL.items():
        share = measured.get(f"test_{name}", nominal)
        if abs(share - nominal) > TOLERANCE:
            found.append(
                f"The {100 * nominal:.0f} % ranges were too {'narrow' if share < nominal else 'wide'} for this "
                f"month: they contained {100 * share:.1f} % of its trips."
            )
    return found


def _worst_slices(by_slice: pd.DataFrame) -> pd.DataFrame:
    """The `WORST` slices with the largest RMSE, and those with the worst coverage, the largest RMSE first.

    Only slices of at least `LEAST_ROWS` trips count.
    """
    large = by_slice[by_slice["rows"] >= LEAST_ROWS].sort_values("rmse", ascending=False, kind="stable")
    is_worst = large.index.isin(worst_covered(by_slice).values())
    columns = [name for name in SLICES if name in large]
    return large.loc[is_worst | (np.arange(len(large)) < WORST), columns].rename(columns=SLICES)


def _only_for_training(months: pd.DataFrame) -> int:
    """Trips of the test month that only rules for training reject: the test counts them."""
    tested = months[months["role"] == "test"]
    return int((tested["test_rows"] - tested["kept"]).sum())


def _months(months: pd.DataFrame) -> pd.DataFrame:
    """Each month's role, its trips before and after cleaning, and the start of its file's sha256."""
    return months[["month", "role", "rows", "kept"]].assign(sha256=months["sha256"].astype(str).str[:12])


def _rejected(months: pd.DataFrame) -> pd.DataFrame:
    """Trips rejected by each rule in the months of each role, without rules that rejected none."""
    counts = months.filter(like="rejected_").groupby(months["role"], sort=False).sum().T
    named = counts.rename(lambda rule: rule.removeprefix("rejected_").replace("_", " "))
    return named[named.sum(axis=1) > 0].rename_axis("rule").reset_index()


def _unusual(months: pd.DataFrame) -> list[str]:
    """One line for each month that differs from the months before it, with the differences."""
    return [f"{m}: {note}" for m, note in zip(months["month"], months["unusual"], strict=True) if note]


def _html(text: str) -> Markup:
    """HTML of a Markdown text, with any HTML in the text escaped. A table wider than the page can be scrolled."""
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    rendered = renderer.render(text).replace("<table>", '<div class="wide" tabindex="0">\n<table>')
    return Markup(rendered.replace("</table>", "</table>\n</div>"))


def _figure(path: Path) -> tuple[str, str]:
    """Description of a PNG file (alt text), and its bytes in base64."""
    description = PLOTS.get(path.stem, path.stem.replace("_", " "))
    return description, base64.b64encode(path.read_bytes()).decode()


def _table(table: pd.DataFrame) -> Markdown:
    """Markdown of a table: numbers right-aligned, counts with thousands separators, others with four decimals.

    Four, as in the verdict's reasons, the leaderboard and the lists of the command line.

    Examples
    --------
    >>> print(_table(pd.DataFrame({"month": ["2023-06"], "rows": [65000], "rmse": [4.41239]})))
    | month | rows | rmse |
    | --- | ---: | ---: |
    | 2023-06 | 65,000 | 4.4124 |
    """
    lines = [
        [str(name).replace("_", " ") for name in table.columns],
        ["---:" if pd.api.types.is_numeric_dtype(kind) else "---" for kind in table.dtypes],
        *([_cell(value) for value in row] for row in table.itertuples(index=False)),
    ]
    return Markdown("\n".join("| " + " | ".join(line) + " |" for line in lines))


def _cell(value: object) -> str:
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4f}" if np.isfinite(value) else "–"
    return _escaped(value)


def _pairs(mapping: Mapping[str, Any], name: str, value: str) -> pd.DataFrame:
    """A mapping as a table with these two columns."""
    return pd.DataFrame(mapping.items(), columns=[name, value])


def _bullets(lines: Iterable[str]) -> Markdown:
    return Markdown("\n".join(f"- {_escaped(line)}" for line in lines))


def _interval(low: float, high: float) -> Markdown:
    """Both ends of an interval, or a dash if it is unknown."""
    return Markdown(f"{low:.4f} to {high:.4f}" if np.isfinite([low, high]).all() else "–")


def _thousands(number: float) -> Markdown:
    return Markdown(f"{float(number):,.0f}")  # float(): for a missing number, its error names the variable


def _block(text: str) -> Markdown:
    """Text of several lines as an indented code block, which no line of it can end."""
    return Markdown("\n".join(f"    {line}" for line in text.splitlines()))


def _decimals(number: float) -> Markdown:
    return Markdown(f"{number:.4f}")


def _code(text: str) -> Markdown:
    """Text for a fenced block, on one line so that it cannot end the block."""
    return Markdown(" ".join(text.split()))


def _escaped(value: object) -> str:
    r"""Any value as text on one line, with Markdown markup escaped.

    A `Markdown` value is returned unchanged.

    Examples
    --------
    >>> print(_escaped("a|b [c](d)\n<script> snake_case"))
    a\|b \[c\](d) \<script> snake_case
    >>> print(_escaped(Markdown("**bold**")))
    **bold**
    """
    if isinstance(value, Markdown):
        return value
    return re.sub(r"([\\`*<\[\]|&~]|_(?![^\W_])|^[-+>#])", r"\\\1", plain(" ".join(str(value).split())))


def _templates(**options: Any) -> jinja2.Environment:
    """Environment of the template folder. An undefined name is an error; a line with only a tag leaves no line."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )


HTML_TEMPLATES = _templates(autoescape=True)
MARKDOWN_TEMPLATES = _templates(finalize=_escaped)  # every value is escaped, unless it is `Markdown`
MARKDOWN_TEMPLATES.globals["interval"] = _interval
MARKDOWN_TEMPLATES.filters |= {
    "block": _block,
    "bullets": _bullets,
    "code": _code,
    "decimals": _decimals,
    "pairs": _pairs,
    "table": _table,
    "thousands": _thousands,
}
