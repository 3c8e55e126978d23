"""The commands of `python -m mlops`; which text `--help` shows, and what is wrong with a command line."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence

from mlops.command_line import answers, training, upkeep, versions
from mlops.config import Settings
from mlops.monitoring.settings import MonitoringSettings
from mlops.scoring.settings import ScoringSettings


def parser() -> argparse.ArgumentParser:
    """The parser of `python -m mlops`; each command sets `act`, which takes the parsed options."""
    made = argparse.ArgumentParser(
        prog="python -m mlops",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""\
Predict how long New York taxi trips take: train a model each month, test it, and register it in MLflow.
"python -m mlops COMMAND --help" shows the options of a command.""",
        epilog="""\
environment variables:
  MLOPS_STATE_DIR      folder for everything that is written (default: .state)
  MLFLOW_TRACKING_URI  tracking server (default: a SQLite file in the state folder)
  MLOPS_THREADS        threads for training (default: all cores)
  MLOPS_MAX_MONTH_SIZE largest month that is read, as a multiple of TLC's largest (default: 2)
  LOCK_URL             PostgreSQL for locks when runs share a model on several hosts (default: lock files)""",
    )
    parsers = made.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for group in (training, versions, answers, upkeep):
        group.add(parsers)
    for command in parsers.choices.values():
        command.allow_abbrev = False
        shown = "Also show log lines and warnings of libraries."
        command.add_argument("-v", "--verbose", action="store_true", help=shown)
    return made


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of a command line; an unknown one ends the process with status 2 and a suggestion."""
    made = parser()
    given, unknown = made.parse_known_args(arguments)
    if unknown:
        names = {**Settings.model_fields, **ScoringSettings.model_fields, **MonitoringSettings.model_fields}
        known = [f"--{name.replace('_', '-')}" for name in names]
        option = unknown[0].partition("=")[0]
        near = difflib.get_close_matches(option, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        hint = "; it is an option of another command" if option in known else hint
        made.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return given
