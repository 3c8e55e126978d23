"""The model card as a page: it says what the Markdown says, and no text becomes markup."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cards import CARD, IMPORTANCE, drawn, rows

from mlops.config import PROJECT
from mlops.errors import one_line
from mlops.evaluation.model_card import Card, markdown, page
from mlops.evaluation.plots import PLOTS, drawn_in, plots

TEMPLATES = PROJECT / "mlops/evaluation/templates"


VOID = ("meta", "link", "img", "br", "hr")


HOSTILE = (
    "<script>alert(1)</script>",
    "a | b | c\n\n# not a heading",
    '"><img src=https://evil.example/x onerror=alert(1)>',
    "[press](https://evil.example) ![look](https://evil.example/x.png) <https://evil.example>",
    "```\nno end of code",
    "*bold* _too_ __init__ snake_case &lt; \\| ~gone~",
    "[a]: https://evil.example",
    "- a list",
    "+ another",
    "# a heading",
    "> a quotation",
    "{{ 7 * 7 }} {% raw %} {# no comment #}",
)


class Reader(HTMLParser):
    """Tags, addresses, paragraphs and cells of a page; every tag that opens is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.handlers: list[str] = []
        self.addresses: list[str] = []
        self.alts: list[str] = []
        self.paragraphs = ""
        self.figures: list[str] = []
        self.found: dict[str, list[str]] = {
            name: [] for name in ("title", "style", "h1", "h2", "li", "td", "code", "figcaption")
        }
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.addresses += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")
        ]
        self.alts += [value or "" for name, value in attrs if name == "alt"]
        self.figures += [value or "" for name, value in attrs if name == "aria-label"]
        if tag in self.found:
            self.found[tag].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "p" in self.open:
            self.paragraphs += data
        for tag in set(self.open) & set(self.found):
            self.found[tag][-1] += data


# --- Texts from outside ----------------------------------------------------------------------------------------


def with_text(text: str) -> Card:
    """A card with this text wherever a text from outside can stand."""
    return replace(
        CARD,
        reasons=(text, "the next"),
        verification={"passed": False, "reason": text},
        settings={**CARD.settings, "source": text},
        origin={"run_key": text},
        contenders=CARD.contenders.assign(contender=[text, *CARD.contenders["contender"][1:]]),
        importance=IMPORTANCE.head(1).assign(feature=text),
        months=CARD.months.assign(unusual=[text, "", "", ""]),
    )


@pytest.mark.parametrize("text", [*HOSTILE, "clear \x1b[2J, turn \u202e, end \x00, hide \u200b"])
def test_a_hostile_text_is_shown_as_it_is_and_does_nothing(text: str) -> None:
    hostile, harmless = with_text(text), with_text("harmless")
    shown = Reader(page(hostile))
    plain = one_line(text)

    assert shown.tags == Reader(page(harmless)).tags
    assert shown.found["li"][4:7] == [plain, "the next", f"2023-06: {plain}"]
    assert f"failed, so its run did not make this version champion: {plain}" in shown.paragraphs
    assert f"Source: {plain}. Trained on" in shown.paragraphs
    # A contender, a feature's name and its words, a setting and an origin; words have no underscores.
    assert shown.found["td"].count(plain) == (5 if "_" not in plain else 4)
    assert shown.addresses == ["data:,"]
    assert shown.handlers == []
    assert "script" not in shown.tags


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_is_shown_as_it_is_and_does_nothing(text: str) -> None:
    shown = Reader(page(replace(CARD, name=text)))
    plain = " ".join(text.split())

    assert shown.tags == Reader(page(CARD)).tags
    assert [" ".join(shown.found[tag][0].split()) for tag in ("title", "h1")] == [
        f"{plain}, version 7, tested on 2023-06"
    ] * 2
    assert shown.found["code"] == [
        ".venv/bin/python -m mlops registry",
        f".venv/bin/python -m mlops reproduce 7 --model {plain}\n",
        f'mlflow.pyfunc.load_model("models:/{plain}/7")\n',
    ]
    assert shown.addresses == ["data:,"]
    assert shown.handlers == []


@given(st.text(st.characters(exclude_categories=["C"]), min_size=1).map(lambda text: f"said: {text}"))
def test_any_text_is_shown_as_it_is(text: str) -> None:
    page_of_it = Reader(page(replace(CARD, reasons=(text,), settings={**CARD.settings, "source": text})))
    plain = " ".join(text.split())

    assert page_of_it.found["li"][4] == plain
    assert plain in page_of_it.found["td"]


# --- The page -----------------------------------------------------------------------------------------------


def test_the_page_says_what_the_markdown_says() -> None:
    shown = Reader(page(CARD))

    assert shown.found["title"] == shown.found["h1"] == ["trip-duration-green, version 7, tested on 2023-06"]
    assert [f"## {title}" for title in shown.found["h2"]] == re.findall(
        "^## .*$", markdown(CARD), re.MULTILINE
    )
    assert shown.found["td"] == [cell.replace("\\", "") for row in rows(markdown(CARD)) for cell in row]
    assert '<html lang="en">' in page(CARD)


def test_the_figures_are_in_the_page_with_words_for_them(tmp_path: Path) -> None:
    pictures = plots(tmp_path, drawn())
    other = tmp_path / 'by_"weather"<.png'
    other.write_bytes(pictures[0].read_bytes())
    text = page(replace(CARD, plots=(*drawn_in(tmp_path), other)))
    shown = Reader(text)

    assert shown.alts == ['by "weather"<']
    assert shown.found["figcaption"] == [*PLOTS.values(), 'by "weather"<']
    assert len(shown.figures) == len(PLOTS)
    assert "Why 23 minutes? Tuesday 17:40, zone 74 to JFK, 8.2 miles. It took 21." in shown.figures
    assert base64.b64decode(shown.addresses[-1].removeprefix("data:image/png;base64,")) == other.read_bytes()
    assert text.index(">Verdict<") < text.index("<figure>") < text.index(">Test results<")
    assert "<figure>" not in page(CARD)


def test_the_markdown_says_where_the_figures_are(tmp_path: Path) -> None:
    plots(tmp_path, drawn())
    with_figures = replace(CARD, plots=drawn_in(tmp_path))

    assert "\n## Figures\n\nThe page `model_card.html` among the run's artefacts" in markdown(with_figures)
    assert "## Figures" not in markdown(CARD)
    assert Reader(page(with_figures)).found["h2"][:3] == ["In short", "Verdict", "Figures"]


def test_the_page_asks_nobody_for_anything(tmp_path: Path) -> None:
    plots(tmp_path, drawn())
    text = page(replace(CARD, plots=drawn_in(tmp_path)))

    assert all(address.startswith("data:") for address in Reader(text).addresses)
    assert (
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
    ) in text
    assert not re.search(r"@import|url\((?!#)|<script|https?://", text)


def test_the_style_is_in_the_page() -> None:
    (style,) = Reader(page(CARD)).found["style"]

    assert style.strip() == (TEMPLATES / "model_card.css").read_text(encoding="utf-8").strip()
    assert "color-scheme: light dark" in style


def test_the_templates_ship_with_the_package(tmp_path: Path) -> None:
    shutil.copytree(TEMPLATES.parent, tmp_path / "mlops/evaluation")
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    build = (
        sys.executable,
        "-c",
        "import setuptools; setuptools.setup()",
        "build_py",
        "--build-lib",
        "built",
    )
    subprocess.run(build, cwd=tmp_path, capture_output=True, check=True, timeout=60)

    shipped = {path.name for path in (tmp_path / "built/mlops/evaluation/templates").iterdir()}
    assert shipped == {path.name for path in TEMPLATES.iterdir()}
    assert "model_card.html.jinja" in shipped
