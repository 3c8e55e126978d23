"""The command line: `python -m mlops`."""

from __future__ import annotations

import argparse
import difflib
import logging
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, get_args

from mlops.config import OPERATIONAL, SCHEDULE, SERVICES, Settings
from mlops.errors import ConfigError, MlopsError
from mlops.month import Month


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status of a command: 0 done, 1 failed with a message, 2 not understood, 130 or 143 interrupted."""
    options = parse(arguments)
    _configure_logging(options.verbose)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return int(options.act(options))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except MlopsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; its run is closed", file=sys.stderr)
        return 130


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of a command line; a misspelt one ends the process with status 2, naming the nearest."""
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        known = [f"--{name.replace('_', '-')}" for name in Settings.model_fields]
        near = difflib.get_close_matches(unknown[0].partition("=")[0], known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return options


def _train(options: argparse.Namespace) -> int:
    settings = Settings.parse({name: getattr(options, name) for name in Settings.model_fields})
    # Late, so that `--help` and a misspelt option need not wait for xgboost and mlflow.
    from mlops.data import ingest
    from mlops.pipeline import leaderboard, steps

    if options.dry_run:
        print(ingest.describe_plan(settings))
        return 0
    print(leaderboard.as_text(steps.train(settings)))
    return 0


def _backfill(options: argparse.Namespace) -> int:
    given = {name: getattr(options, name) for name in Settings.model_fields if hasattr(options, name)}
    first, last = (Month.parse(month) for month in (options.first, options.last))
    if last < first:
        raise ConfigError(f"--to: expected {first} or a later month; got {last}")
    from mlops.operations import backfill
    from mlops.pipeline import leaderboard

    done = 0
    for result in backfill.backfill(Settings.parse(given), first, last):
        print(leaderboard.as_text(result, trials=0), end="\n\n", flush=True)
        done += 1
    print(f"{options.service} {first} to {last}: all judged, {done} of {len(Month.range(first, last))} now")
    return 0


def _replay(options: argparse.Namespace) -> int:
    given = {name: getattr(options, name) for name in Settings.model_fields if hasattr(options, name)}
    settings = Settings.parse(given)
    from mlops.operations import policies

    played = policies.parse(options.cadences, options.windows, options.gates)
    from mlops.operations import backtest

    print(backtest.replay(settings, options.first, options.last, played, options.output))
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

    open_ends = 0
    for finding in checkup.check_up(resume=options.resume):
        print(f"{'OPEN' if finding.is_open else 'ok'}\t{finding.text}", flush=True)
        open_ends += finding.is_open
    return 1 if open_ends else 0


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
    """The registered model that a command is about, and the tracking server connected to."""
    from mlops import config
    from mlops.registry import client, operator

    client.connect(config.tracking_uri(), config.state_dir(), Settings().connect_timeout)
    return operator.registered_model(options.model) if options.model else operator.only_model()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mlops",
        description="Keep a model of New York taxi trips' duration fresh: train, test and register it.",
        epilog="Environment: MLOPS_STATE_DIR (where everything is kept, default .state), "
        "MLFLOW_TRACKING_URI (default a SQLite file in it), MLOPS_THREADS (default all cores), "
        "LOCK_URL (a PostgreSQL, for runs on several hosts).",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_backfill(commands)
    _add_replay(commands)
    show = commands.add_parser("show", help="print a model's champion, its metrics and its baseline")
    show.add_argument("name", help="registered model, for example trip-duration-green")
    show.set_defaults(act=_show)
    _add_registry(commands)
    reproduce = commands.add_parser("reproduce", help="make a version again and compare its predictions")
    reproduce.add_argument("version", help="its number")
    reproduce.add_argument("--source", help="where its months are now (default: where they were)")
    _add_model(reproduce, _reproduce)
    doctor = commands.add_parser(
        "doctor", help="look for what runs left open, and close it where that is safe"
    )
    doctor.add_argument(
        "--resume",
        action="store_true",
        help="deliver models that were fitted while the tracking server was away",
    )
    doctor.set_defaults(act=_doctor)
    _add_tidy(commands)
    for command in commands.choices.values():
        command.allow_abbrev = False
        command.add_argument(
            "-v", "--verbose", action="store_true", help="log everything, libraries included"
        )
    return parser


def _add_registry(commands: Any) -> None:
    registry = commands.add_parser("registry", help="list versions: months, RMSE, verdict, aliases, moves")
    registry.add_argument(
        "--as-of",
        metavar="DATE",
        help="instead: which version answered on this day (2026-10-03), and its data",
    )
    _add_model(registry, _registry)
    promote = commands.add_parser("promote", help="make a version champion by hand, proven first")
    promote.add_argument("version", help="its number")
    _add_model(promote, _promote)
    rollback = commands.add_parser(
        "rollback", help="make the champion before this one champion again, proven first"
    )
    rollback.add_argument(
        "--to", metavar="VERSION", help="an earlier champion's number (default: the last one)"
    )
    _add_model(rollback, _rollback)
    for command in (promote, rollback):
        command.add_argument("--reason", required=True, help="why, for whoever reads the journal")


def _add_tidy(commands: Any) -> None:
    tidy = commands.add_parser(
        "tidy", help="delete what nobody used for long and can be made again; never a champion's evidence"
    )
    tidy.add_argument("--keep-days", type=int, default=90, metavar="N", help="days unused (default: 90)")
    tidy.add_argument("--dry-run", action="store_true", help="list what would go; delete nothing")
    tidy.set_defaults(act=_tidy)


def _add_model(command: argparse.ArgumentParser, act: Callable[[argparse.Namespace], int]) -> None:
    command.add_argument("--model", metavar="NAME", help="registered model (default: the only one there is)")
    command.set_defaults(act=act)


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="tune, fit, test and register a model about one month",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""\
Train a model on the months before the validation month (the one before --month), tune it on the
validation month, fit it again on both, test it on --month and register that very fit. It becomes
champion when there is none yet, or when it beats the champion on the same trips.""",
        epilog="""\
examples:
  python -m mlops train                                             the synthetic city, no network
  python -m mlops train --service green --month 2023-10 --source tlc
  python -m mlops train --service green --month next --start-month 2023-10 --source tlc
  python -m mlops train --service green --month 2023-10 --source ~/trip-data --dry-run""",
    )
    _add_settings(train)
    train.add_argument(
        "--dry-run", action="store_true", help="print months, sources, sizes and a rough cost; do nothing"
    )
    train.set_defaults(act=_train)


def _add_backfill(commands: Any) -> None:
    backfill = commands.add_parser(
        "backfill",
        help="train the months of a range in their order, skipping what is judged",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""\
Train, test and judge each month of a range in its order; a month that is judged already is skipped.
Stopped and started again, it goes on where it was.""",
        epilog="""\
example:
  python -m mlops backfill --service green --from 2023-04 --to 2023-10 --source tlc""",
    )
    for option, dest in (("--from", "first"), ("--to", "last")):
        backfill.add_argument(
            option, dest=dest, metavar="YYYY-MM", required=True, help="its months, both included"
        )
    _add_settings(backfill, but=("month", *SCHEDULE, "publication_wait"))
    backfill.set_defaults(act=_backfill)


def _add_replay(commands: Any) -> None:
    replay = commands.add_parser(
        "replay",
        help="what other cadences, windows and gates would have led to over past months",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""\
Play policies through past months: how often a model is trained, on how many months, and which
one may serve. Each month counts the RMSE of the model that would have served it. No registry is
asked or changed. Models are kept in the output folder, so a replay can be stopped and started again.""",
        epilog="""\
example:
  python -m mlops replay --service green --source ~/trip-data --from 2023-04 --to 2023-10""",
    )
    for option, dest, told in (
        ("--from", "first", "first test month, about which all policies train"),
        ("--to", "last", "last month"),
    ):
        replay.add_argument(option, dest=dest, metavar="YYYY-MM", required=True, help=told)
    for option, default, told in (
        ("--cadences", "1,3", "train every so many months"),
        ("--windows", "3,12", "most months of training"),
        ("--gates", "verdict,always,once", "models that serve: those promoted by verdict, all, the first"),
    ):
        replay.add_argument(option, default=default, metavar="LIST", help=f"{told} (default: {default})")
    told = "folder for tables, plot and models (default: replay/SERVICE_FROM_TO in the state folder)"
    replay.add_argument("--output", type=Path, metavar="DIR", help=told)
    varied = ("month", "train_months", "warm_start", "compare_course")
    unused = (name for name in OPERATIONAL if not name.startswith("source"))
    _add_settings(replay, but=(*varied, *unused))
    replay.set_defaults(act=_replay)


def _add_settings(command: argparse.ArgumentParser, but: Sequence[str] = ()) -> None:
    """An option for each setting, but for some."""
    for name, field in Settings.model_fields.items():
        if name in but:
            continue
        option = f"--{name.replace('_', '-')}"
        described = f"{field.description} (default: {_shown(field.default)})"
        if field.annotation is bool:
            action = argparse.BooleanOptionalAction
            command.add_argument(option, dest=name, action=action, default=field.default, help=described)
        else:
            kind = next(
                (t for t in (int, float) if t in (field.annotation, *get_args(field.annotation))), str
            )
            metavar = _METAVARS.get(name, kind.__name__.upper())
            command.add_argument(
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
        warnings.simplefilter("ignore")  # of libraries, about each other; --verbose shows them
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # of each retry; what comes of them is told here


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM as an exception, so that the run is closed on the way out."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
