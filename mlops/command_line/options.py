"""The commands of `python -m mlops` and their options, with the text of each `--help`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mlops.command_line import commands
from mlops.command_line.setting_groups import GROUPS
from mlops.config import EXPERIMENT, OPERATIONAL, SCHEDULE, SERVICES, Settings
from mlops.monitoring.settings import MonitoringSettings
from mlops.scoring.settings import ScoringSettings


def parser() -> argparse.ArgumentParser:
    """The parser of `python -m mlops`; each command sets `act`, a function of `mlops.command_line.commands`."""
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
    _add_train(parsers)
    _add_backfill(parsers)
    _add_replay(parsers)
    _add_score(parsers)
    _add_monitor(parsers)
    _add_registry(parsers)
    _add_experiments(parsers)
    _add_trust(parsers)
    _add_upkeep(parsers)
    for command in parsers.choices.values():
        command.allow_abbrev = False
        shown = "Also show log lines and warnings of libraries."
        command.add_argument("-v", "--verbose", action="store_true", help=shown)
    return made


def _add_command(parsers: Any, name: str, about: str, details: str = "", examples: str = "") -> Any:
    """A command whose help starts with the sentence that the list of commands shows, and ends with examples."""
    return parsers.add_parser(
        name,
        help=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"{about}\n{details}".rstrip(),
        epilog=f"examples:\n{examples}" if examples else None,
    )


def _add_registry(parsers: Any) -> None:
    show = _add_command(parsers, "show", "Print a model's champion: its URI, its metrics and its baseline.")
    show.add_argument("model", nargs="?", metavar="MODEL", help="Registered model. (default: the only one)")
    show.set_defaults(act=commands.show)
    registry = _add_command(
        parsers, "registry", "List a model's versions: months, RMSE, verdict, aliases and alias moves."
    )
    registry.add_argument(
        "--as-of",
        metavar="DATE",
        help="Show only the champion of this day, YYYY-MM-DD or ISO 8601 time in UTC, and its data.",
    )
    _add_model(registry, commands.registry)
    verified = "The version is verified first."
    promote = _add_command(
        parsers,
        "promote",
        "Make a version the champion by hand.",
        f'{verified} If its verdict is not "promote", the verdict is shown and you are asked.',
    )
    promote.add_argument("version", help="Number of the version.")
    promote.add_argument("--yes", action="store_true", help="Override the verdict without being asked.")
    _add_model(promote, commands.promote)
    approve = _add_command(
        parsers,
        "approve",
        "Make the version champion that waits for approval.",
        f"Versions wait only with the setting require_approval; `registry` says which one waits. {verified}",
    )
    approve.add_argument("version", help="Number of the version.")
    _add_model(approve, commands.approve)
    rollback = _add_command(parsers, "rollback", "Make an earlier champion the champion again.", verified)
    rollback.add_argument(
        "--to", metavar="VERSION", help="Number of an earlier champion. (default: the previous champion)"
    )
    _add_model(rollback, commands.rollback)
    for command in (promote, approve, rollback):
        command.add_argument("--reason", required=True, help="Why; written to the journal of alias moves.")


def _add_experiments(parsers: Any) -> None:
    experiments = _add_command(
        parsers,
        "experiments",
        "List experiments: RMSE beside the champion's, verdict, and what differs from the champion's run.",
        "An experiment is a run with --experiment NAME. It is judged like any other, and never registered.",
        """\
  python -m mlops train --experiment "short trips" --experiment-note "fewer months" --train-months 3
  python -m mlops experiments""",
    )
    experiments.add_argument("--model", metavar="NAME", help="Only those of this model. (default: all)")
    experiments.add_argument("--json", action="store_true", help="Print a list of JSON objects.")
    experiments.set_defaults(act=commands.experiments)


def _add_trust(parsers: Any) -> None:
    trust = _add_command(
        parsers,
        "trust",
        "Sign versions that an older release or another machine registered.",
        """\
A version carries Python code, so only versions that are signed with the key of this machine (registry.key in the
state folder) are loaded. Each run signs its own version. The versions are shown, and you are asked.""",
    )
    trust.add_argument(
        "version", metavar="VERSION|all", help="Number of the version, or all that are not signed."
    )
    trust.add_argument("--yes", action="store_true", help="Sign them without being asked.")
    _add_model(trust, commands.trust)


def _add_upkeep(parsers: Any) -> None:
    reproduce = _add_command(
        parsers,
        "reproduce",
        "Train a version again and compare its predictions with the tested ones.",
        "Nothing is registered. The exit status is 0 when all predictions are equal to the last digit.",
    )
    reproduce.add_argument("version", help="Number of the version.")
    reproduce.add_argument("--source", help="Where its months are now. (default: the source of its run)")
    _add_model(reproduce, commands.reproduce)
    doctor = _add_command(
        parsers,
        "doctor",
        "Check this machine, the servers and the registry, and print a fix for each problem.",
        """\
If this state folder has a stack, the stack is checked. Runs whose process died are closed in MLflow.
The exit status is 1 while a problem is open, 3 if nothing is open but something was not checked, else 0.""",
    )
    doctor.add_argument(
        "--resume",
        action="store_true",
        help="Also deliver pending results: models fitted while the tracking server did not answer.",
    )
    doctor.set_defaults(act=commands.doctor)
    tidy = _add_command(
        parsers,
        "tidy",
        "Delete old files and runs that can be made again.",
        "Champions and the evidence for them are never deleted.",
    )
    tidy.add_argument(
        "--keep-days",
        type=int,
        default=90,
        metavar="N",
        help="Days without use before deletion. (default: 90)",
    )
    tidy.add_argument(
        "--dry-run", action="store_true", help="List what would be deleted, and delete nothing."
    )
    tidy.set_defaults(act=commands.tidy)


def _add_model(command: argparse.ArgumentParser, act: Callable[[argparse.Namespace], int]) -> None:
    command.add_argument("--model", metavar="NAME", help="Registered model. (default: the only one)")
    command.set_defaults(act=act)


def _add_train(parsers: Any) -> None:
    train = _add_command(
        parsers,
        "train",
        "Train, test and register a model for one month.",
        """\
The model is fitted on the months before the validation month (the month before --month), tuned on the
validation month, fitted again on both, and tested on --month. The tested model itself is registered.
It becomes champion if there is no champion yet, or if it beats the champion on the same trips.""",
        """\
  python -m mlops train                                             generated trips, no network
  python -m mlops train --service green --month 2023-10 --source tlc
  python -m mlops train --service green --month next --start-month 2023-10 --source tlc
  python -m mlops train --service green --month 2023-10 --source ~/trip-data --dry-run""",
    )
    train.add_argument(
        "--dry-run", action="store_true", help="Print months, files, sizes and a rough cost; do nothing."
    )
    _add_settings(train)
    train.set_defaults(act=commands.train)


def _add_backfill(parsers: Any) -> None:
    backfill = _add_command(
        parsers,
        "backfill",
        "Train, test and judge each month of a range, oldest first.",
        "Months that are already judged are skipped, so a stopped backfill continues when started again.",
        "  python -m mlops backfill --service green --from 2023-04 --to 2023-10 --source tlc",
    )
    for option, dest, meaning in (
        ("--from", "first", "First test month."),
        ("--to", "last", "Last test month."),
    ):
        backfill.add_argument(option, dest=dest, metavar="YYYY-MM", required=True, help=meaning)
    _add_settings(backfill, but=("month", *SCHEDULE, "publication_wait", *EXPERIMENT))
    backfill.set_defaults(act=commands.backfill)


def _add_replay(parsers: Any) -> None:
    replay = _add_command(
        parsers,
        "replay",
        "Backtest policies on past months, without the registry.",
        """\
A policy says how often a model is trained, on how many months, and which model serves. Each month counts
the RMSE of the model that would have served it. The registry is neither read nor changed. Models are kept
in the output folder, so a stopped replay continues when started again.""",
        "  python -m mlops replay --service green --source ~/trip-data --from 2023-04 --to 2023-10",
    )
    for option, dest, meaning in (
        ("--from", "first", "First test month; every policy trains for it."),
        ("--to", "last", "Last test month."),
    ):
        replay.add_argument(option, dest=dest, metavar="YYYY-MM", required=True, help=meaning)
    for option, default, meaning in (
        ("--cadences", "1,3", "Months between two trainings."),
        ("--windows", "3,12", "Maximum months in the training window."),
        ("--gates", "verdict,always,once", "Models that serve: verdict (promoted ones), always (each new one), "
         "once (the first one)."),
    ):  # fmt: skip
        replay.add_argument(option, default=default, metavar="LIST", help=f"{meaning} (default: {default})")
    output = "Folder for tables, plot and models. (default: replay/SERVICE_FROM_TO in the state folder)"
    replay.add_argument("--output", type=Path, metavar="DIR", help=output)
    varied = ("month", "train_months", "warm_start", "compare_course")
    unused = (name for name in OPERATIONAL if not name.startswith("source"))
    _add_settings(replay, but=(*varied, *unused))
    replay.set_defaults(act=commands.replay)


def _add_score(parsers: Any) -> None:
    score = _add_command(
        parsers,
        "score",
        "Predict the durations of a month, a file, a folder of files or a URL.",
        """\
An input is Parquet or CSV. It has pickup_at, pickup_zone and dropoff_zone, and perhaps distance_miles and
passenger_count, under these names or TLC's. Each input gives one Parquet file: its rows with duration_minutes,
the bounds of the 80 and 95 percent intervals, out_of_range, and the version that answered; and actual_minutes if
the input says when trips ended. Rows that cannot be answered are in a second file, NAME.rejected.parquet, with
the reason. What the same version scored before is skipped, so a stopped command continues when started again.""",
        """\
  python -m mlops score                                             generated trips, no network
  python -m mlops score --service green --month 2023-10 --source tlc
  python -m mlops score --input requests.csv --to ~/predictions
  python -m mlops score --input ~/requests --model trip-duration-green --version 3""",
    )
    _add_settings(score, of=ScoringSettings)
    score.set_defaults(act=commands.score)


def _add_monitor(parsers: Any) -> None:
    monitor = _add_command(
        parsers,
        "monitor",
        "Compare a published month with what the champion had promised, say why it differs, and react.",
        """\
The champion that served when the month was published is compared with its own test month, with the champion
before it and with the pair median, on every trip. An alarm means that the data are wrong, or that the model got
worse on the same kind of rides; other rides than before are no alarm. The errors, a report and the causes are
kept in MLflow. The exit status is 0 when the month was compared, with or without an alarm.""",
        """\
  python -m mlops monitor                                           generated trips, no network
  python -m mlops monitor --service green --month next --source tlc
  python -m mlops monitor --service green --from 2023-07 --to 2023-10 --source ~/trip-data --json
  python -m mlops monitor --service green --month 2023-11 --source tlc --before-labels
  python -m mlops monitor --report history.html""",
    )
    month = MonitoringSettings.model_fields["month"]
    unset = f"(default: {month.default}; none beside --from or --report)"
    monitor.add_argument("--month", metavar="YYYY-MM|next", help=f"{month.description} {unset}")
    for option, dest, meaning in (
        ("--from", "first", "Compare each month of a range, oldest first: its first month."),
        ("--to", "last", "Last month of the range."),
    ):
        monitor.add_argument(option, dest=dest, metavar="YYYY-MM", help=meaning)
    for option, meaning in (
        ("--json", "Print one JSON object, or a list for a range, instead of a text."),
        ("--before-labels", "Only estimate the error of a month that is not published yet, from the service's "
         "request log. Nothing is kept in MLflow, and no reaction follows."),
    ):  # fmt: skip
        monitor.add_argument(option, action="store_true", help=meaning)
    page = "Write a page with the history of all models, from MLflow only; compares nothing without a month."
    monitor.add_argument("--report", type=Path, metavar="FILE", help=page)
    _add_settings(monitor, but=("month",), of=MonitoringSettings)
    monitor.set_defaults(act=commands.monitor)


def _add_settings(
    command: argparse.ArgumentParser, but: Sequence[str] = (), of: type[BaseModel] = Settings
) -> None:
    """An option for each setting, except those in `but`."""
    groups = GROUPS if of is Settings else {"settings": tuple(of.model_fields)}
    for title, names in groups.items():
        group = command.add_argument_group(title)
        for name in names:
            if name not in but:
                _add_setting(group, name, of.model_fields[name])


def _add_setting(group: Any, name: str, field: FieldInfo) -> None:
    option = f"--{name.replace('_', '-')}"
    described = f"{field.description} (default: {_shown(field.default)})"
    if field.annotation is bool:
        action = argparse.BooleanOptionalAction
        group.add_argument(option, dest=name, action=action, default=field.default, help=described)
    else:
        kind = next((t for t in (int, float) if t in (field.annotation, *get_args(field.annotation))), str)
        metavar = _METAVARS.get(name, kind.__name__.upper())
        group.add_argument(
            option, dest=name, type=kind, default=field.default, metavar=metavar, help=described
        )


_METAVARS = {
    "service": "|".join(SERVICES),
    "month": "YYYY-MM|next",
    **dict.fromkeys(SCHEDULE, "YYYY-MM"),
    "source": "SOURCE",
    "on_busy": "wait|refuse",
    "require_approval": "never|borderline|always",
    "experiment": "NAME",
    "experiment_note": "TEXT",
    "input": "PATH|URL",
    "model": "NAME",
    "version": "VERSION",
    "to": "PLACE",
    "table": "NAME",
}


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return "none" if default in (None, "") else str(default)
