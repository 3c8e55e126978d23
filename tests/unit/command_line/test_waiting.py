"""The note on a terminal while a command takes longer than a second."""

from __future__ import annotations

import io
import sys
import time

import pytest

from mlops.command_line import waiting


class Screen(io.StringIO):
    """Standard error, as a terminal or as a file."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.mark.parametrize(
    ("is_terminal", "seconds", "written"),
    [(True, 0.3, "loading ...\r\x1b[K"), (True, 0.0, ""), (False, 0.3, "")],
    ids=["a terminal", "a quick command", "a file"],
)
def test_a_note_comes_only_on_a_terminal_and_is_taken_away(
    is_terminal: bool, seconds: float, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen(is_terminal)
    monkeypatch.setattr(sys, "__stderr__", screen)
    monkeypatch.setattr(waiting, "SECONDS", 0.1)
    with waiting.note("loading"):
        time.sleep(seconds)
    assert screen.getvalue() == written


def test_the_note_is_taken_away_before_an_error_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(is_terminal=True)
    monkeypatch.setattr(sys, "__stderr__", screen)
    monkeypatch.setattr(waiting, "SECONDS", 0.05)
    with pytest.raises(OSError, match="away"), waiting.note("loading"):
        time.sleep(0.2)
        raise OSError("away")
    assert screen.getvalue().endswith("\x1b[K")


def test_without_standard_error_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stderr__", None)
    with waiting.note("loading"):
        pass
