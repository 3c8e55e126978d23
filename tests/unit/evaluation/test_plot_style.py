"""The style of figures: texts from outside, names that would overlap, and what an SVG keeps."""

from __future__ import annotations

from pathlib import Path

from mlops.evaluation import plot_style
from mlops.evaluation.plot_style import CHAMPION, INK, OWN


def test_a_title_from_outside_is_no_markup(tmp_path: Path) -> None:
    with plot_style.styled():
        axes = plot_style.draw('"><script>alert(1)</script> --> a \x1b[2J', "minutes")
        picture = plot_style.save(axes, tmp_path / "odd")
    svg = picture.with_suffix(".svg").read_text(encoding="utf-8")

    assert svg.startswith('<svg class="plot" viewBox="')
    assert 'aria-label="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt; --&gt; a \\x1b[2J"' in svg
    assert "<script" not in svg
    assert "\x1b" not in svg


def test_a_drawing_keeps_no_style_colour_or_address_of_its_own() -> None:
    svg = (
        f'<?xml version="1.0"?>\n<svg width="1pt" viewBox="0 0 2 3" xmlns="http://www.w3.org/2000/svg">\n'
        f"<metadata>\n<a/></metadata><style>*{{x}}</style><!-- text -->\n"
        f'  <path style="fill: {INK}; stroke: {OWN}"/>\n</svg>\n'
    )

    assert plot_style.for_page(svg, "what") == (
        '<svg class="plot" viewBox="0 0 2 3" role="img" aria-label="what">'
        '<path style="fill: var(--ink); stroke: var(--own)"/>\n</svg>\n'
    )


def test_names_of_lines_are_moved_apart() -> None:
    axes = plot_style.draw("what", "x", "y")
    plot_style.label_lines(
        axes, [(1, 5.0, "own", OWN), (1, 4.9, "champion", CHAMPION), (1, 9.0, "far", INK)], 1.0
    )

    assert [(text.get_text(), text.xy[1]) for text in axes.texts] == [
        ("champion", 4.9), ("own", 5.9), ("far", 9.0),
    ]  # fmt: skip


def test_bars_have_their_values_and_long_names_two_lines() -> None:
    axes = plot_style.draw("what", "minutes")
    plot_style.bars(axes, {"usual minutes between the zones, this time": 1.234, "weekday": 0.5}, "{:.2f}")

    assert [text.get_text() for text in axes.texts] == ["1.23", "0.50"]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "usual minutes between the\nzones, this time", "weekday",
    ]  # fmt: skip
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first on top
