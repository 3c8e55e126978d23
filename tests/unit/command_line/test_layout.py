"""Tables fit any width, say what they leave out, and never cut a link."""

from __future__ import annotations

import os
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from mlops.command_line.layout import FOLDED, INDENT, Layout, cleaned, shortened, table_lines, wrapped

WORDS = st.text(st.sampled_from("ab é日\x1b\u202e\t\n-"), max_size=90)
ROWS = st.lists(st.fixed_dictionaries({"name": WORDS, "rmse": WORDS, "why": WORDS}), min_size=1, max_size=4)
LINK = "https://tickets.example.org/" + "0" * 80


def lines(rows: list[dict[str, str]], width: int | None, **layout: tuple[str, ...]) -> list[str]:
    return [line.plain for line in table_lines(rows, width, Layout(**layout))]


@given(ROWS, st.integers(16, 120), st.sampled_from([(), ("why",)]), st.sampled_from([(), ("rmse",)]))
@example([{"name": "日" * 50, "rmse": "a" * 40, "why": ""}], 20, (), ())
def test_no_line_is_wider_than_the_terminal_or_ends_in_blanks(
    rows: list[dict[str, str]], width: int, below: tuple[str, ...], least: tuple[str, ...]
) -> None:
    for line in lines(rows, width, below=below, least=least):
        longest = max(map(cell_len, line.split()), default=0)  # a word in a text is whole, as a link is
        assert cell_len(line) <= width or longest > width - INDENT, line
        assert line == line.rstrip()
        assert line.isprintable()


@given(ROWS)
def test_without_a_width_each_row_is_one_whole_line(rows: list[dict[str, str]]) -> None:
    found = lines(rows, None, least=("rmse",))
    assert len(found) == len(rows) + 1
    for row, line in zip(rows, found[1:], strict=True):
        assert all(cleaned(cell).plain in line for cell in row.values())


@given(ROWS, st.integers(16, 120))
def test_nothing_is_lost_in_a_narrow_terminal(rows: list[dict[str, str]], width: int) -> None:
    text = "".join("".join(line.split()) for line in lines(rows, width))
    for row in rows:
        for cell in row.values():
            characters = "".join(cleaned(cell).plain.split())
            assert not characters or set(characters) <= set(text)


def test_a_narrow_terminal_folds_wide_cells_at_words() -> None:
    rows = [{"name": "a long name of an experiment that somebody made", "rmse": "4.0", "verdict": "keep"}]
    assert lines(rows, FOLDED + 15) == [
        "name                      rmse  verdict",
        "a long name of an         4.0   keep",
        "experiment that somebody",
        "made",
    ]


def test_what_matters_least_is_left_out_first_and_named() -> None:
    rows = [{"version": "3", "month": "2023-06", "trained": "2023-01 to 2023-05", "forced": "yes"}]
    least = ("trained", "forced")
    whole = ["version  month    trained             forced", "3        2023-06  2023-01 to 2023-05  yes"]
    assert lines(rows, 44, least=least) == whole
    assert lines(rows, 43, least=least) == [
        "version  month    forced",
        "3        2023-06  yes",
        "not shown in 43 columns: trained",
    ]
    assert lines(rows, 20, least=least) == [
        "version  month",
        "3        2023-06",
        "not shown in 20",
        "columns: trained,",
        "forced",
    ]


def test_columns_without_a_place_go_below_their_row_with_their_names() -> None:
    rows = [
        {"month": "2023-06", "role": "test", "rows": "20402", "url": LINK},
        {"month": "2023-07", "role": "", "rows": "", "url": ""},
    ]
    assert lines(rows, 30, right=("rows",)) == [
        "month    role   rows",
        "2023-06  test  20402",
        f"  url: {LINK}",
        "2023-07",
    ]  # fmt: skip


def test_texts_below_a_row_are_cut_at_a_word_and_whole_ones_are_not() -> None:
    rows = [
        {
            "version": "3",
            "reason": "better than the champion on all slices",
            "page": cleaned(LINK, whole=True),
        }
    ]
    assert [line.plain for line in table_lines(rows, 40, Layout(below=("reason", "page")))] == [
        "version",
        "3",
        " " * INDENT + "better than the champion on...",
        " " * INDENT + LINK,
    ]  # fmt: skip
    assert shortened(f"see {LINK}", 40).plain == "see..."
    assert shortened("x" * 50, 10).plain == "xxxxxxx..."


def test_a_text_that_wraps_is_not_cut() -> None:
    rows = [{"version": "3", "who": cleaned("made champion by somebody who said why", wraps=True)}]
    assert [line.plain for line in table_lines(rows, 30, Layout(below=("who",)))][2:] == [
        " " * INDENT + "made champion by",
        " " * INDENT + "somebody who said why",
    ]


def test_numbers_stand_below_each_other_in_cells_of_any_script() -> None:
    rows = [{"name": "日本", "rmse": "4.0"}, {"name": "naïve", "rmse": "14.0"}]
    assert lines(rows, 80, right=("rmse",)) == ["name   rmse", "日本    4.0", "naïve  14.0"]


def test_control_characters_and_secrets_are_no_part_of_a_cell() -> None:
    with patch.dict(os.environ, MLFLOW_TRACKING_PASSWORD="correct-horse-7"):
        (_, line) = lines([{"name": "\x1b[2Jred\n correct-horse-7"}], 80)
    assert line == r"\x1b[2Jred ****"


@pytest.mark.parametrize("width", [None, 80])
def test_no_row_is_no_table(width: int | None) -> None:
    assert lines([], width) == []


def test_a_paragraph_is_wrapped_at_words_and_its_links_are_whole() -> None:
    text = f"see {LINK} and tell the others"
    assert [line.plain for line in wrapped(text, 30, indent=2)] == [f"see {LINK}", "  and tell the others"]
    found = wrapped("it is https://a.org/12 now", 16)
    assert [line.plain for line in found] == ["it is", "https://a.org/12", "now"]
    assert [line.plain for line in wrapped(text, None)] == [text]
