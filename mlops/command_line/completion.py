"""The command `completion`: what a shell needs to complete commands, options and values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

from mlops.command_line.arguments import add_command
from mlops.command_line.command_parser import CommandParser, commands_of
from mlops.config import SERVICES, Settings
from mlops.errors import ENTRY_POINT
from mlops.monitoring.settings import MonitoringSettings
from mlops.scoring.settings import ScoringSettings

SHELLS = ("bash", "zsh", "tcsh")
FILES = ("report", "input")
"""Options whose value may be a file, by their names in the parsed options."""
FOLDERS = ("source", "output")
"""Options whose value may be a folder."""


def add(parsers: Any, act: Callable[[argparse.Namespace], int]) -> None:
    """Add this command to the parser, with what it does: that needs the parser of all commands."""
    command = add_command(
        parsers,
        "completion",
        "Print what a shell needs to complete commands, options and values.",
        f"""\
It is for the command {ENTRY_POINT}. In bash, the first example works in this shell; put it into ~/.bashrc for all
shells. For zsh, the folder must be in fpath. For tcsh, source the file in ~/.tcshrc.""",
        f"""\
  eval "$({ENTRY_POINT} completion bash)"
  {ENTRY_POINT} completion zsh > ~/.zfunc/_{ENTRY_POINT}
  {ENTRY_POINT} completion tcsh > ~/.{ENTRY_POINT}.tcsh""",
    )
    command.add_argument("shell", choices=SHELLS, help="The shell.")
    command.set_defaults(act=act, dry_run=True)  # dry: it needs no state folder


def script(made: CommandParser, shell: str) -> str:
    """The completion script of a shell, one of `SHELLS`, for a parser that is used for nothing else."""
    import shtab

    for command in commands_of(made).values():
        command.description = (command.description or "").partition("\n")[0]  # zsh shows it in one line
        for action in command._actions:
            _describe(action)
    return str(shtab.complete(made, shell))


def _describe(action: argparse.Action) -> None:
    """Give an argument the values that the shell offers."""
    import shtab

    values = values_of(action.dest)
    if values and action.nargs != 0:
        action.choices = values
    elif action.dest in FILES:
        action.complete = shtab.FILE  # type: ignore[attr-defined]
    elif action.dest in FOLDERS:
        action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]


def values_of(name: str) -> tuple[str, ...]:
    """The values of a setting that has few, else none.

    Examples
    --------
    >>> values_of("service"), values_of("seed")
    (('green', 'yellow', 'fhvhv'), ())
    """
    for kind in (Settings, ScoringSettings, MonitoringSettings):
        field = kind.model_fields.get(name)
        if field and get_origin(field.annotation) is Literal:
            return get_args(field.annotation)
    return SERVICES if name == "service" else ()
