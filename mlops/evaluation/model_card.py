"""The model card: what a version predicts, its training data, its test results, and how to reproduce it.

`markdown` returns the card as Markdown. `page` returns the same text with the
plots as one HTML file that needs no other file. Text and style are in
`templates/`; this module computes the values that the templates show.
"""

from __future__ import annotations

import base64
from pathlib import Path

from markupsafe import Markup

from mlops.evaluation import card_summary, card_tables
from mlops.evaluation.card import Card as Card
from mlops.evaluation.card_format import HTML_TEMPLATES, MARKDOWN_TEMPLATES, Markdown, escaped, html
from mlops.evaluation.metrics import LEAST_ROWS
from mlops.evaluation.plots import PLOTS
from mlops.evaluation.promotion import Limits

RIDES = {"green": "a green taxi", "yellow": "a yellow taxi", "fhvhv": "an Uber or Lyft car"}
OUTCOMES = {
    "promote": Markdown("**Promote.** This model is fit to be the champion. Reasons:"),
    "keep": Markdown("**Keep the champion.** This model is fit for use, but the champion stays. Reasons:"),
    "refuse": Markdown("**Refuse.** This model is not fit for use, or cannot be compared fairly. Reasons:"),
}
FIGURES = (
    "The page `model_card.html` among the run's artefacts has them, and its folder `plots` each as a picture."
)


def markdown(card: Card) -> str:
    """The card as Markdown with tables."""
    summary, results, background = _sections(card)
    figures = [f"## Figures\n\n{FIGURES}\n"] if card.plots else []
    return "\n".join((summary, *figures, results, background))


def page(card: Card) -> str:
    """The card as one HTML file that contains its style and plots, has no script and makes no request."""
    summary, results, background = map(html, _sections(card))
    template = HTML_TEMPLATES.get_template("model_card.html.jinja")
    figures = [_figure(path) for path in card.plots]
    return template.render(
        card=card, summary=summary, results=results, figures=figures, background=background
    )


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
    quotation = f"> **Note:** {escaped(note)}\n"
    return f"{title}\n\n{quotation}{text}", page.replace("</h1>\n", f"</h1>\n{html(quotation)}", 1)


def _sections(card: Card) -> list[str]:
    """Markdown above the figures, Markdown of the results, and Markdown of the background."""
    settings, operational = card_tables.settings(card.settings)
    shown = {
        "card": card,
        "ride": RIDES[card.settings["service"]],
        "outcome": OUTCOMES[card.outcome],
        "in_short": card_summary.in_short(card),
        "settings": settings,
        "operational": operational,
        "importance": card_tables.importance(card.importance),
        "contenders": card_tables.contenders(card.contenders),
        "metrics": card_tables.metrics(card),
        "ranges": card_tables.ranges(card.ranges),
        "worst_covered": card_tables.worst_covered(card),
        "missed": card_tables.missed(card.measured),
        "least_rows": LEAST_ROWS,
        "least_compared": Limits().min_slice_rows,
        "most_slices": card_tables.WORST,
        "only_for_training": card_tables.only_for_training(card.months),
        "worst_slices": card_tables.worst_slices(card.by_slice),
        "months": card_tables.months(card.months),
        "rejected": card_tables.rejected(card.months),
        "unusual": card_tables.unusual(card.months),
        "origin": {name.replace("_", " "): value for name, value in card.origin.items()},
    }
    names = ("summary", "results", "background")
    return [MARKDOWN_TEMPLATES.get_template(f"{name}.md.jinja").render(shown) for name in names]


def _figure(path: Path) -> tuple[str, Markup]:
    """How to read a figure, and the figure itself: an SVG as it is, a PNG in base64."""
    caption = PLOTS.get(path.stem, path.stem.replace("_", " "))
    if path.suffix == ".svg":
        return caption, Markup(path.read_text(encoding="utf-8"))  # `plot_style.save` wrote it
    png = base64.b64encode(path.read_bytes()).decode()
    return caption, Markup('<img alt="{}" src="data:image/png;base64,{}">').format(caption, png)
