"""The command line: `python -m mlops`."""

from __future__ import annotations

import argparse
import difflib
import io
import logging
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, get_args

from mlops import config
from mlops.config import OPERATIONAL, SCHEDULE, SERVICES, Settings
from mlops.errors import ConfigError, MlopsError
from mlops.month import Month


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status of a command: 0 success, 1 failure with a message, 2 wrong usage, 130 or 143 interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for a locale without UTF-8
    options = parse(arguments)
    _configure_logging(options.verbose)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        config.state_dir()  # refuses a path before slow imports
        config.tracking_uri()
        return int(options.act(options))
    except (MlopsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        print("interrupted; the run was closed", file=sys.stderr)
        return 130


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of a command line; an unknown one ends the process with status 2 and a suggestion."""
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        known = [f"--{name.replace('_', '-')}" for name in Settings.model_fields]
        near = difflib.get_close_matches(unknown[0].partition("=")[0], known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return options


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """Values of the settings for which the command has an option."""
    return {name: getattr(options, name) for name in Settings.model_fields if hasattr(options, name)}


def _train(options: argparse.Namespace) -> int:
    settings = Settings.parse(_given(options))
    # Imported here, so that `--help` and usage errors do not wait for xgboost and mlflow.
    from mlops.data import ingest
    from mlops.pipeline import leaderboard, steps

    if options.dry_run:
        print(ingest.describe_plan(settings))
        return 0
    print(leaderboard.as_text(steps.train(settings)))
    return 0


def _backfill(options: argparse.Namespace) -> int:
    first, last = (Month.parse(month) for month in (options.first, options.last))
    if last < first:
        raise ConfigError(f"--to: expected {first} or a later month; got {last}")
    from mlops.operations import backfill
    from mlops.pipeline import leaderboard

    done = 0
    for result in backfill.backfill(Settings.parse(_given(options)), first, last):
        print(leaderboard.as_text(result, trials=0), end="\n\n", flush=True)
        done += 1
    print(
        f"{options.service} {first} to {last}: all judged, {done} of {len(Month.range(first, last))} in this run"
    )
    return 0


def _replay(options: argparse.Namespace) -> int:
    settings = Settings.parse(_given(options))
    from mlops.operations import policies

    chosen = policies.parse(options.cadences, options.windows, options.gates)
    from mlops.operations import backtest

    print(backtest.replay(settings, options.first, options.last, chosen, options.output))
    return 0


def _show(options: argparse.Namespace) -> int:
    from mlops.registry import operator

    print(operator.describe_champion(options.name, Settings().connect_timeout))
    return 0


def _registry(options: argparse.Namespace) -> int:
    from mlops.registry import operator

    name = _model(options)
    print(operator.as_of(name, options.as_of) if options.as_of else operator.listing(name))
    return 0


def _promote(options: argparse.Namespace) -> int:
    from mlops.registry import operator

    print(operator.promote(_model(options), options.version, options.reason))
    return 0


def _rollback(options: argparse.Namespace) -> int:
    from mlops.registry import operator

    print(operator.rollback(_model(options), options.reason, options.to))
    return 0


def _reproduce(options: argparse.Namespace) -> int:
    from mlops.operations import reproduce

    found = reproduce.reproduce(_model(options), options.version, options.source)
    print(found)
    return 0 if found.is_same else 1


def _doctor(options: argparse.Namespace) -> int:
    from mlops.operations.doctor import checkup

    problems = 0
    for finding in checkup.check_up(resume=options.resume):
        print(f"{'OPEN' if finding.is_open else 'ok'}\t{finding.text}", flush=True)
        problems += finding.is_open
    return 1 if problems else 0


def _tidy(options: argparse.Namespace) -> int:
    from mlops.operations.retention import cleanup

    limits = cleanup.Retention.parse({"keep_days": options.keep_days, "dry_run": options.dry_run})
    found = cleanup.find_leftovers(limits)
    if limits.dry_run and len(found):
        print(found.to_string(index=False), end="\n\n")
    summary = cleanup.delete_leftovers(found, limits)
    print(summary.to_string(index=False) if len(found) else f"nothing is older than {limits.keep_days} days")
    return 0


def _model(options: argparse.Namespace) -> str:
    """Name of the registered model that a command works on, after connecting to the tracking server."""
    from mlops.registry import client, operator

    client.connect(config.tracking_uri(), config.state_dir(), Settings().connect_timeout)
    return operator.registered_model(options.model) if options.model else operator.only_model()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
  LOCK_URL             PostgreSQL for locks when runs share a model on several hosts (default: lock files)""",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_backfill(commands)
    _add_replay(commands)
    _add_registry(commands)
    _add_upkeep(commands)
    for command in commands.choices.values():
        command.allow_abbrev = False
        shown = "Also show log lines and warnings of libraries."
        command.add_argument("-v", "--verbose", action="store_true", help=shown)
    return parser


def _add_command(commands: Any, name: str, about: str, details: str = "", examples: str = "") -> Any:
    """A command whose help starts with the sentence that the list of commands shows, and ends with examples."""
    return commands.add_parser(
        name,
        help=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"{about}\n{details}".rstrip(),
        epilog=f"examples:\n{examples}" if examples else None,
    )


def _add_registry(commands: Any) -> None:
    show = _add_command(commands, "show", "Print a model's champion: its URI, its metrics and its baseline.")
    show.add_argument("name", help="Registered model, for example trip-duration-green.")
    show.set_defaults(act=_show)
    registry = _add_command(
        commands, "registry", "List a model's versions: months, RMSE, verdict, aliases and alias moves."
    )
    registry.add_argument(
        "--as-of",
        metavar="DATE",
        help="Show only the champion of this day, YYYY-MM-DD or ISO 8601 time in UTC, and its data.",
    )
    _add_model(registry, _registry)
    verified = "The version is verified first."
    promote = _add_command(commands, "promote", "Make a version the champion by hand.", verified)
    promote.add_argument("version", help="Number of the version.")
    _add_model(promote, _promote)
    rollback = _add_command(commands, "rollback", "Make an earlier champion the champion again.", verified)
    rollback.add_argument(
        "--to", metavar="VERSION", help="Number of an earlier champion. (default: the previous champion)"
    )
    _add_model(rollback, _rollback)
    for command in (promote, rollback):
        command.add_argument("--reason", required=True, help="Why; written to the journal of alias moves.")


def _add_upkeep(commands: Any) -> None:
    reproduce = _add_command(
        commands,
        "reproduce",
        "Train a version again and compare its predictions with the tested ones.",
        "Nothing is registered. The exit status is 0 when all predictions are equal to the last digit.",
    )
    reproduce.add_argument("version", help="Number of the version.")
    reproduce.add_argument("--source", help="Where its months are now. (default: the source of its run)")
    _add_model(reproduce, _reproduce)
    doctor = _add_command(
        commands,
        "doctor",
        "Check this machine, the servers and the registry, and print a fix for each problem.",
        "Runs whose process died are closed in MLflow. The exit status is 1 while a problem is open.",
    )
    doctor.add_argument(
        "--resume",
        action="store_true",
        help="Also deliver pending results: models fitted while the tracking server did not answer.",
    )
    doctor.set_defaults(act=_doctor)
    tidy = _add_command(
        commands,
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
    tidy.set_defaults(act=_tidy)


def _add_model(command: argparse.ArgumentParser, act: Callable[[argparse.Namespace], int]) -> None:
    command.add_argument("--model", metavar="NAME", help="Registered model. (default: the only one)")
    command.set_defaults(act=act)


def _add_train(commands: Any) -> None:
    train = _add_command(
        commands,
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
    train.set_defaults(act=_train)


def _add_backfill(commands: Any) -> None:
    backfill = _add_command(
        commands,
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
    _add_settings(backfill, but=("month", *SCHEDULE, "publication_wait"))
    backfill.set_defaults(act=_backfill)


def _add_replay(commands: Any) -> None:
    replay = _add_command(
        commands,
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
    replay.set_defaults(act=_replay)


def _add_settings(command: argparse.ArgumentParser, but: Sequence[str] = ()) -> None:
    """An option for each setting, except those in `but`."""
    group = command.add_argument_group("settings")
    for name, field in Settings.model_fields.items():
        if name in but:
            continue
        option = f"--{name.replace('_', '-')}"
        described = f"{field.description} (default: {_shown(field.default)})"
        if field.annotation is bool:
            action = argparse.BooleanOptionalAction
            group.add_argument(option, dest=name, action=action, default=field.default, help=described)
        else:
            kind = next(
                (t for t in (int, float) if t in (field.annotation, *get_args(field.annotation))), str
            )
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
}


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return "none" if default is None else str(default)


def _configure_logging(verbose: bool) -> None:
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    logging.getLogger("mlops").setLevel(logging.INFO)
    if verbose:
        logging.getLogger().setLevel(logging.INFO)
    else:
        warnings.simplefilter("ignore")  # warnings of libraries; --verbose shows them
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # each retry; this package logs the outcome


def _terminate(number: int, frame: FrameType | None) -> None:
    """Turn SIGTERM into an exception, so that the run is closed before the process ends."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
