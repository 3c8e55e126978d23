"""The command line: `python -m mlops`."""

from __future__ import annotations

import argparse
import difflib
import logging
import signal
import sys
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import Any, get_args

from mlops.config import SERVICES, Settings
from mlops.errors import ConfigError, MlopsError


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
    from mlops import pipeline, report

    if options.dry_run:
        print(pipeline.describe_plan(settings))
        return 0
    leaderboard = pipeline.train(settings)
    print(report.as_text(leaderboard))
    return 0


def _show(options: argparse.Namespace) -> int:
    from mlops import pipeline

    print(pipeline.describe_champion(options.name, Settings().connect_timeout))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mlops",
        description="Keep a model of New York taxi trips' duration fresh: train, test and register it.",
        epilog="Environment: MLOPS_STATE_DIR (where everything is kept, default .state), "
        "MLFLOW_TRACKING_URI (default a SQLite file in it), MLOPS_THREADS (default all cores).",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_train(commands)
    show = commands.add_parser("show", help="print a model's champion, its metrics and its baseline")
    show.add_argument("name", help="registered model, for example trip-duration-green")
    show.set_defaults(act=_show)
    for command in commands.choices.values():
        command.add_argument(
            "-v", "--verbose", action="store_true", help="log everything, libraries included"
        )
    return parser


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="tune, fit, test and register a model about one month",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""\
Train a model on the months before the validation month (the one before --month), tune it on the
validation month, fit it again on both, test it on --month and register that very fit. It becomes
champion when there is none yet, or when it beats the champion on the same trips.""",
        epilog="""\
examples:
  python -m mlops train                                             the synthetic city, no network
  python -m mlops train --service green --month 2023-10 --source tlc
  python -m mlops train --service green --month 2023-10 --source ~/trip-data --dry-run""",
    )
    for name, field in Settings.model_fields.items():
        option = f"--{name.replace('_', '-')}"
        described = f"{field.description} (default: {_shown(field.default)})"
        if field.annotation is bool:
            action = argparse.BooleanOptionalAction
            train.add_argument(option, dest=name, action=action, default=field.default, help=described)
        else:
            kind = next(
                (t for t in (int, float) if t in (field.annotation, *get_args(field.annotation))), str
            )
            metavar = "|".join(SERVICES) if name == "service" else _METAVARS.get(name, kind.__name__.upper())
            train.add_argument(
                option, dest=name, type=kind, default=field.default, metavar=metavar, help=described
            )
    train.add_argument(
        "--dry-run", action="store_true", help="print months, sources, sizes and a rough cost; do nothing"
    )
    train.set_defaults(act=_train)


_METAVARS = {"month": "YYYY-MM", "source": "SOURCE"}


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


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM as an exception, so that the run is closed on the way out."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
