"""The commands; which text `--help` shows, and what is wrong with a command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from mlops.command_line import answers, completion, training, upkeep, versions
from mlops.command_line.about import Version
from mlops.command_line.command_parser import CommandParser, commands_of, require_known_options
from mlops.errors import ENTRY_POINT, program

GROUPS = (training, versions, answers, upkeep)
"""Modules with commands, in the order of the list that `--help` shows."""


def parser(name: str = "") -> CommandParser:
    """The parser of all commands; each command sets `act`, which takes the parsed options.

    Parameters
    ----------
    name : str
        How usage and help call the program; by default as this process was called.
    """
    called = name or program()
    made = CommandParser(
        prog=called,
        usage="%(prog)s COMMAND [OPTIONS]",
        description=f"""\
Predict how long New York taxi trips take: train a model each month, test it, and register it in MLflow.

"{called} COMMAND --help" shows the options of a command, and examples.""",
        epilog="""\
environment variables:
  MLOPS_STATE_DIR       folder for everything that is written (default: .state)
  MLFLOW_TRACKING_URI   tracking server (default: a SQLite file in the state folder)
  MLOPS_THREADS         threads for training (default: all cores)
  MLOPS_MAX_MONTH_SIZE  largest month that is read, as a multiple of TLC's largest (default: 2)
  LOCK_URL              PostgreSQL for locks when runs share a model on several hosts (default: lock files)
  NO_COLOR              any value: no colours, also on a terminal""",
    )
    made.add_argument(
        "--version", action=Version, help="Show the versions of this project and its libraries."
    )
    parsers: Any = made.add_subparsers(title="commands", required=True, metavar="COMMAND", prog=called)
    for group in GROUPS:
        group.add(parsers)
    completion.add(parsers, print_completion)
    for command in parsers.choices.values():
        shown = "Also show log lines and warnings of libraries."
        command.add_argument("-v", "--verbose", action="store_true", help=shown)
        command.shorten_usage()
    return made


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of a command line; a wrong word ends the process with status 2 and a suggestion."""
    words = [*(sys.argv[1:] if arguments is None else arguments)]
    made = parser()
    commands = commands_of(made)
    place = next((place for place, word in enumerate(words) if not word.startswith("-")), len(words))
    command = commands.get("".join(words[place : place + 1]), made)
    require_known_options(made, words[:place], commands)
    require_known_options(command, words[place + 1 :], commands)
    given, extra = made.parse_known_args(words)
    if extra:
        hint = "; a model is named with --model" if "--model" in command.options else ""
        command.error(f"unexpected: {' '.join(extra)}{hint}")
    return given


def print_completion(options: argparse.Namespace) -> int:
    """Print the completion script of a shell."""
    print(completion.script(parser(ENTRY_POINT), options.shell))
    return 0
