"""Commands that train: `train`, `backfill`, `replay` and `reproduce`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mlops.command_line.arguments import AS_JSON, add_command, add_model, add_settings, given
from mlops.command_line.consent import model_of
from mlops.command_line.printing import print_json
from mlops.command_line.work_records import TrainedMonth
from mlops.config import EXPERIMENT, OPERATIONAL, SCHEDULE, Settings
from mlops.errors import ConfigError
from mlops.month import Month


def add(parsers: Any) -> None:
    """Add these commands to the parser."""
    _add_train(parsers)
    _add_backfill(parsers)
    _add_replay(parsers)
    _add_reproduce(parsers)


def _add_train(parsers: Any) -> None:
    train = add_command(
        parsers,
        "train",
        "Train, test and register a model for one month.",
        """\
The model is fitted on the months before the validation month (the month before --month), tuned on the
validation month, fitted again on both, and tested on --month. The tested model itself is registered.
It becomes champion if there is no champion yet, or if it beats the champion on the same trips.""",
        """\
  python -m mlops train  # generated trips, no network
  python -m mlops train --service green --month 2023-10 --source tlc
  python -m mlops train --month next --start-month 2023-10 --source tlc
  python -m mlops train --month 2023-10 --source ~/trip-data --dry-run""",
    )
    train.add_argument(
        "--dry-run", action="store_true", help="Print months, files, sizes and a rough cost; do nothing."
    )
    train.add_argument("--json", action="store_true", help=AS_JSON)
    add_settings(train)
    train.set_defaults(act=run_train)


def run_train(options: argparse.Namespace) -> int:
    """Train, test and register a model for one month, or print what a run would do."""
    settings = Settings.parse(given(options))
    if options.dry_run:
        return _show_plan(settings, options.json)
    from mlops.operations import checks
    from mlops.pipeline import leaderboard

    result = checks.train(settings)
    if options.json:
        print_json(TrainedMonth.of(result))
    else:
        print(leaderboard.as_text(result))
    return 0


def _show_plan(settings: Settings, as_json: bool) -> int:
    from mlops.data import run_plan

    planned = run_plan.plan(settings)
    print_json(planned) if as_json else print(run_plan.as_text(planned))
    return 0


def _add_backfill(parsers: Any) -> None:
    backfill = add_command(
        parsers,
        "backfill",
        "Train, test and judge each month of a range, oldest first.",
        "Months that are already judged are skipped, so a stopped backfill continues when started again.",
        "  python -m mlops backfill --from 2023-04 --to 2023-10 --source tlc",
    )
    for option, dest, meaning in (
        ("--from", "first", "First test month."),
        ("--to", "last", "Last test month."),
    ):
        backfill.add_argument(option, dest=dest, metavar="YYYY-MM", required=True, help=meaning)
    add_settings(backfill, but=("month", *SCHEDULE, "publication_wait", *EXPERIMENT))
    backfill.add_argument("--json", action="store_true", help=AS_JSON)
    backfill.set_defaults(act=run_backfill)


def run_backfill(options: argparse.Namespace) -> int:
    """Train, test and judge each month of a range."""
    first, last = (Month.parse(month) for month in (options.first, options.last))
    if last < first:
        raise ConfigError(f"--to: expected {first} or a later month; got {last}")
    from mlops.operations import backfill
    from mlops.pipeline import leaderboard

    done = []
    for result in backfill.backfill(Settings.parse(given(options)), first, last):
        if not options.json:
            print(leaderboard.as_text(result, trials=0), end="\n\n", flush=True)
        done.append(TrainedMonth.of(result))
    judged = f"{len(done)} of {len(Month.range(first, last))} in this run"
    print_json(done) if options.json else print(f"{options.service} {first} to {last}: all judged, {judged}")
    return 0


def _add_replay(parsers: Any) -> None:
    replay = add_command(
        parsers,
        "replay",
        "Backtest policies on past months, without the registry.",
        """\
A policy says how often a model is trained, on how many months, and which model serves. Each month counts
the RMSE of the model that would have served it. The registry is neither read nor changed. Models are kept
in the output folder, so a stopped replay continues when started again.""",
        "  python -m mlops replay --from 2023-04 --to 2023-10 --source ~/trip-data",
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
    add_settings(replay, but=(*varied, *unused))
    replay.set_defaults(act=run_replay)


def run_replay(options: argparse.Namespace) -> int:
    """Backtest policies on past months."""
    settings = Settings.parse(given(options))
    from mlops.operations import policies

    chosen = policies.parse(options.cadences, options.windows, options.gates)
    from mlops.operations import backtest

    print(backtest.replay(settings, options.first, options.last, chosen, options.output))
    return 0


def _add_reproduce(parsers: Any) -> None:
    reproduce = add_command(
        parsers,
        "reproduce",
        "Train a version again and compare its predictions with the tested ones.",
        "Nothing is registered. The exit status is 0 when all predictions are equal to the last digit.",
        "  python -m mlops reproduce 3 --model trip-duration-green",
    )
    reproduce.add_argument("version", help="Number of the version.")
    reproduce.add_argument("--source", help="Where its months are now. (default: the source of its run)")
    add_model(reproduce, run_reproduce)


def run_reproduce(options: argparse.Namespace) -> int:
    """Train a version again and compare its predictions."""
    from mlops.operations import reproduce

    found = reproduce.reproduce(model_of(options), options.version, options.source)
    print(found)
    return 0 if found.is_same else 1
