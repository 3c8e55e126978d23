"""Usage, help and suggestions: each wrong word of a command line ends with status 2 and the nearest word."""

from __future__ import annotations

import argparse
import shlex
import sys
from importlib import metadata

import pytest

from mlops import __version__, errors
from mlops.command_line.command_parser import CommandParser, commands_of
from mlops.command_line.parser import parse, parser
from mlops.config import ConfigError, Settings

COMMANDS = commands_of(parser())


def refusal(words: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Lines of the standard error of a command line that is refused with status 2."""
    with pytest.raises(SystemExit) as ended:
        parse(shlex.split(words))
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err.splitlines()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trian", "unknown command 'trian'; did you mean train?"),
        ("xyz", f"unknown command 'xyz'; expected {', '.join([*COMMANDS][:-1])} or {[*COMMANDS][-1]}"),
        ("", "the following arguments are required: COMMAND"),
        ("-v train", "unknown option -v; options come after the command"),
        ("--versoin", "unknown option --versoin; did you mean --version?"),
        ("train --max-trails=3", "unknown option --max-trails; did you mean --max-trials?"),
        ("train -x", "unknown option -x"),
        ("train --max-trials many", "argument --max-trials: invalid int value: 'many'"),
        ("train --serv green", "unknown option --serv; did you mean --service?"),
        ("doctor --dry-run", "unknown option --dry-run; it is an option of train and tidy"),
        ("tidy --keep-days", "argument --keep-days: expected one argument"),
        ("tidy now", "unexpected: now"),
        ("registry trip-duration", "unexpected: trip-duration; a model is named with --model"),
        ("promote 3 --reson better", "unknown option --reson; did you mean --reason?"),
        ("promote 3", "the following arguments are required: --reason"),
        ("backfill --form 2023-04", "unknown option --form; did you mean --from?"),
        ("completion bsh", "unknown shell 'bsh'; did you mean bash?"),
        ("completion csh", "unknown shell 'csh'; did you mean tcsh?"),
        ("completion powershell", "unknown shell 'powershell'; expected bash, zsh or tcsh"),
    ],
)
def test_a_wrong_word(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = words.split()[0] if words.split()[:1] and words.split()[0] in COMMANDS else ""
    called = f"python -m mlops {name}".rstrip()
    usage, more, error = refusal(words, capsys)
    assert usage.startswith(f"usage: {called} ") and usage.endswith(" [OPTIONS]")
    assert more == f"{called} --help shows more"
    assert error == f"{called}: error: {message}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_names_the_option_that_was_meant(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    *_, error = refusal(f"{name} --verbsoe", capsys)
    assert error == f"python -m mlops {name}: error: unknown option --verbsoe; did you mean --verbose?"
    *_, error = refusal(f"{name[:-1]}{name[-1] * 3}", capsys)
    assert error.endswith(f"; did you mean {name}?")


@pytest.mark.parametrize(
    "words", [["promote", "3", "--reason", "-- or so"], ["promote", "3", "--reason=--x"]]
)
def test_a_value_may_look_like_an_option(words: list[str]) -> None:
    assert parse(words).reason == words[-1].removeprefix("--reason=")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"on_busy": "wiat"}, "on_busy: expected one of wait, refuse; got 'wiat'; did you mean 'wait'?"),
        ({"require_approval": "x"}, "require_approval: expected one of never, borderline, always; got 'x'"),
        (
            {"service": "gren"},
            "service: expected one of green, yellow, fhvhv; got 'gren'; did you mean 'green'?",
        ),
    ],
)
def test_a_wrong_value_of_a_choice(values: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Settings.parse(values)
    assert str(refused.value) == message


# --- help -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_eighty_columns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = (COMMANDS[name] if name else parser()).format_help()
    assert [line for line in shown.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_examples_that_are_understood(name: str) -> None:
    heading, *lines = (COMMANDS[name].epilog or "").replace("\\\n", "").splitlines()
    assert heading == "examples:"
    examples = [line for line in lines if f"mlops {name}" in line]
    assert examples or name == "completion"
    for line in examples:
        _, found, words = line.partition(" -m mlops ")
        assert found and callable(parse(shlex.split(words, comments=True)).act), line


def test_the_list_of_commands_has_one_line_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = parser().format_help().partition("\ncommands:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in shown.splitlines()] == [*COMMANDS]


# --- names and versions -----------------------------------------------------------------------------------------


def test_help_and_advice_show_the_name_that_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/trip-duration", "show"])
    assert parser().prog == "trip-duration"
    assert commands_of(parser())["tidy"].prog == "trip-duration tidy"
    assert "\n  trip-duration tidy --dry-run\n" in commands_of(parser())["tidy"].format_help()
    assert errors.command("registry").endswith("trip-duration registry")
    monkeypatch.setattr(sys, "argv", ["mage"])
    assert errors.command("registry").endswith("python -m mlops registry")


def test_the_version_is_that_of_the_project_and_its_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--version"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"trip-duration {__version__} (Python {sys.version.split()[0]}, ")
    assert f"xgboost {metadata.version('xgboost')}, mlflow {metadata.version('mlflow-skinny')})\n" in shown
    assert __version__ == metadata.version("mlops")


def test_usage_has_what_is_required() -> None:
    made = CommandParser(prog="p")
    made.add_argument("name", nargs="?")
    made.add_argument("--to", required=True, metavar="PLACE")
    made.shorten_usage()
    assert made.format_usage() == "usage: p [NAME] --to PLACE [OPTIONS]\n"
    assert isinstance(made, argparse.ArgumentParser)
