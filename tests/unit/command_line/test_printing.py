"""Output for terminals, pipes and programs: widths, colours, control characters and JSON."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta, timezone

import pytest
from pydantic import BaseModel
from rich.text import Text
from support.terminals import terminal, without_styles

from mlops import masking
from mlops.command_line import printing
from mlops.command_line.layout import cleaned

EVIL = "a\x1b[2J\x9b\u202e\nb"
LONG = "word " * 60


class Said(BaseModel):
    text: str
    minutes: float | None = None


def shown(columns: int, text: str) -> str:
    with terminal(columns) as out, masking.outputs(is_terminal=True):
        printing.print_text(text, "bold red")
    return out()


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_of_any_width_gets_lines_that_fit(columns: int) -> None:
    lines = without_styles(shown(columns, LONG)).splitlines()
    assert max(map(len, lines)) in range(columns - 5, columns + 1)
    assert " ".join(lines) == LONG.strip()


def test_without_a_terminal_lines_are_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    printing.print_text(LONG, "bold")
    printing.print_table([{"a": LONG, "b": LONG}], below=("b",))
    assert capsys.readouterr().out.splitlines()[0] == LONG.strip()
    assert printing.width() is None


@pytest.mark.parametrize(
    ("given", "width"), [("80", 80), ("0", None), ("", None), ("-3", None), ("wide", None)]
)
def test_columns_sets_the_width_of_a_pipe(
    given: str, width: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", given)
    assert printing.width() == width


def test_colours_are_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown(80, "hello") == "\x1b[1;31mhello\x1b[0m\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    printing.print_text("hello", "bold red")
    assert capsys.readouterr().out == "hello\n"


def test_no_color_is_obeyed() -> None:
    with terminal(80) as out, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_COLOR", "1")
        printing.print_text("hello", "bold red")
    assert out() == "hello\n"


def test_a_terminal_gets_no_control_characters_and_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "correct-horse-7")
    with terminal(80) as out, masking.outputs(is_terminal=True):
        printing.print_text(f"{EVIL} correct-horse-7", "red")
        printing.print_table([{EVIL: EVIL, "below": cleaned(EVIL, "green")}], below=("below",))
        printing.console().print(Text(EVIL, "bold"))
    text = without_styles(out())
    assert text.replace("\n", "").isprintable()
    assert text.count(r"a\x1b[2J\x9b\u202e") == 5
    assert "**** " not in text and text.splitlines()[0].endswith(" ****")


def test_times_are_in_utc_and_say_so() -> None:
    summer = timezone(timedelta(hours=-4))
    assert printing.utc(datetime(2026, 7, 1, 22, 5, 59, tzinfo=summer)) == "2026-07-02 02:05 UTC"


def test_json_is_the_same_value_and_no_terminal_obeys_it(capsys: pytest.CaptureFixture[str]) -> None:
    said = [Said(text=f'{EVIL} "naïve" 日本 \U000e0001', minutes=4.5), Said(text="")]
    printing.print_json(said)
    text = capsys.readouterr().out
    assert json.loads(text) == [each.model_dump() for each in said]
    assert text.replace("\n", "").isprintable()
    assert "naïve" in text
    printing.print_json(said[1])
    assert json.loads(capsys.readouterr().out) == {"text": "", "minutes": None}


def test_json_is_right_where_the_output_has_no_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    monkeypatch.setattr("sys.stdout", out)
    printing.print_json(Said(text="naïve 日本"))
    out.seek(0)
    assert json.loads(out.read()) == {"text": "naïve 日本", "minutes": None}


def test_a_number_that_is_none_is_no_json() -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        printing.print_json(Said(text="", minutes=float("inf")).model_copy(update={"minutes": float("inf")}))
