"""`status` on a screen: at 80 and 200 columns, with and without a terminal, as JSON, and its exit status."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.sound_versions import crown
from support.statuses import NOW, approval, champion, check, disk, failure, model, monitoring, service, store
from support.tracked import NAME
from support.warm import run_warm

from mlops.command_line import status_screen
from mlops.command_line.parser import parse
from mlops.errors import DownloadError
from mlops.registry import attention, run_lifecycle
from mlops.registry.status_records import Status

WORST = model(
    name="trip-duration-yellow", service="yellow", approval=approval(), champion=champion(is_signed=False),
    last_failure=failure(error=f"DownloadError: https://example.org/{'x' * 200}"), last_check=check(100),
    monitoring=monitoring(is_alarm=True, text=f"Alarm for 2023-07: {'so much ' * 20}"), problems=("one",),
)  # fmt: skip


def shown(made: Status, width: int, **options: Any) -> list[str]:
    """Lines of the screen."""
    out = io.StringIO()
    status_screen.show(
        made, Console(file=out, width=width, highlight=False, emoji=False, markup=False, **options)
    )
    return out.getvalue().splitlines()


def status(*models: Any, disk_bytes: int = 120_000_000_000) -> Status:
    return attention.status(models, [store(), service(state="down")], disk(disk_bytes), NOW, NOW)


def test_one_model_fits_a_screen_of_24_lines() -> None:
    made = attention.status([model()], [store(), service()], disk(), NOW, NOW)
    lines = shown(made, 80)
    assert lines[0].rstrip() == "All is well.  2023-10-20 08:30 UTC"
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_it_fits_the_screen(width: int) -> None:
    lines = shown(status(model(), WORST, disk_bytes=0), width)
    assert max(map(len, lines)) <= width
    text = re.sub(r"\s+", " ", " ".join(lines))
    for each in status(model(), WORST, disk_bytes=0).attention:
        assert each.about in text and each.text.split()[0] in text
    assert "DownloadError" in text and "OVERDUE" not in text


@pytest.mark.parametrize(("width", "is_side_by_side"), [(120, False), (200, True)])
def test_models_stand_side_by_side_where_there_is_room(width: int, is_side_by_side: bool) -> None:
    heads = [
        line for line in shown(status(model(), WORST), width) if line.strip().startswith("trip-duration-")
    ]
    assert any("green" in line and "yellow" in line for line in heads) is is_side_by_side


def test_a_command_that_is_wrapped_can_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    made = status(WORST)
    lines = shown(made, 60)
    commands = " ".join(line.strip() for line in lines if line.startswith("    ") and line.strip())
    for each in made.attention:
        assert each.act in commands.replace(" \\ ", " ")
    assert any(line.endswith(" \\") for line in lines)


def test_colours_are_for_terminals() -> None:
    assert "\x1b" not in "".join(shown(status(WORST), 80))
    coloured = "\n".join(shown(status(WORST), 80, force_terminal=True, color_system="standard"))
    assert "\x1b[1;31m" in coloured  # the headline is bold and red


@pytest.mark.parametrize("text", ["0", "601", "soon", "nan"])
def test_a_time_limit_that_is_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["status", "--seconds", text])
    assert f"argument --seconds: expected 0.1 to 600; got '{text}'" in capsys.readouterr().err


def run(*options: str, **variables: str) -> Any:
    """The command as a process, without a terminal."""
    own = {**os.environ, "SERVE_PORT": "1", **variables}
    command = [sys.executable, "-m", "mlops", "status", "--seconds", "60", *options]
    return run_warm(command, env=own)


def test_the_command_at_80_columns_without_a_terminal(sound: Path) -> None:
    crown("3")
    ended = run(COLUMNS="80")
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("All is well.  20") and lines[0].rstrip().endswith(" UTC")
    assert max(map(len, lines)) <= 80 and "\x1b" not in ended.stdout
    assert any(re.fullmatch(r"champion +version 3 for .+", line.rstrip()) for line in lines)


def test_the_command_as_json_with_a_failure(sound: Path) -> None:
    crown("3")
    run_lifecycle.log_failure(NAME, "green 2023-08", DownloadError("no answer"))
    ended = run("--json")
    assert (ended.returncode, ended.stderr) == (1, "")
    found = Status.model_validate(json.loads(ended.stdout))
    assert [(each.kind, each.about) for each in found.attention] == [("failed", NAME)]
    assert found.models[0].last_failure and found.models[0].last_failure.error == "DownloadError: no answer"
