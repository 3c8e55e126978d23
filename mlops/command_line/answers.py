"""Commands that use the champion: `predict`, `score` and `monitor`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mlops.command_line import ride
from mlops.command_line.arguments import add_command, add_settings
from mlops.monitoring.settings import MonitoringSettings
from mlops.scoring.settings import ScoringSettings


def add(parsers: Any) -> None:
    """Add these commands to the parser."""
    ride.add(parsers)
    _add_score(parsers)
    _add_monitor(parsers)


def _add_score(parsers: Any) -> None:
    score = add_command(
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
  python -m mlops score  # generated trips, no network
  python -m mlops score --service green --month 2023-10 --source tlc
  python -m mlops score --input requests.csv --to ~/predictions
  python -m mlops score --input requests --model trip-duration-green --version 3""",
    )
    add_settings(score, of=ScoringSettings)
    score.set_defaults(act=run_score)


def run_score(options: argparse.Namespace) -> int:
    """Predict the durations of all requests in files, with a registered version."""
    from mlops.scoring.settings import ScoringSettings

    given = {name: getattr(options, name) for name in ScoringSettings.model_fields}
    settings = ScoringSettings.parse(given)
    from mlops.scoring import score

    print(score.as_text(score.score(settings)))
    return 0


def _add_monitor(parsers: Any) -> None:
    monitor = add_command(
        parsers,
        "monitor",
        "Compare a published month with what the champion had promised, say why it differs, and react.",
        """\
The champion that served when the month was published is compared with its own test month, with the champion
before it and with the pair median, on every trip. An alarm means that the data are wrong, or that the model got
worse on the same kind of rides; other rides than before are no alarm. The errors, a report and the causes are
kept in MLflow. The exit status is 0 when the month was compared, with or without an alarm.""",
        """\
  python -m mlops monitor  # generated trips, no network
  python -m mlops monitor --service green --month next --source tlc
  python -m mlops monitor --from 2023-07 --to 2023-10 --source ~/trip-data
  python -m mlops monitor --month 2023-11 --source tlc --before-labels
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
    add_settings(monitor, but=("month",), of=MonitoringSettings)
    monitor.set_defaults(act=run_monitor)


def run_monitor(options: argparse.Namespace) -> int:
    """Compare a month or each month of a range, estimate one without durations, or write the history page."""
    from mlops.monitoring.asked import Asked

    asked = Asked.parse(vars(options))
    from mlops.monitoring import by_command

    for text in by_command.answer(asked):
        print(text, flush=True)
    return 0
