"""The command `predict`: how long one ride will take."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mlops.command_line import waiting
from mlops.command_line.arguments import add_command
from mlops.command_line.printing import print_json

if TYPE_CHECKING:
    from mlops.serving.one_ride import RideEstimate  # late at run time: it imports numpy

LONGEST_MINUTES = 60  # of the rides that models learn from, so also of an answer


def add(parsers: Any) -> None:
    """Add the command to the parser."""
    predict = add_command(
        parsers,
        "predict",
        "Say how long one ride will take: minutes, and the range of 8 of 10 such rides.",
        """\
A zone is its id, its name, or a part that only one name has. The champion answers; it is loaded in this process,
so the service need not run. Names come from TLC's table, which is fetched once when a name is used.""",
        """\
  python -m mlops predict --from "JFK Airport" --to "Times Sq" \\
      --at "2026-11-27 08:30"
  python -m mlops predict --from 74 --to 75 --service green --distance 1.2
  python -m mlops predict --from 132 --to 230 --json""",
    )
    for option, dest, where in (("--from", "pickup", "begins"), ("--to", "dropoff", "ends")):
        predict.add_argument(
            option, dest=dest, metavar="ZONE", required=True, help=f"Where the ride {where}: id or name."
        )
    at = "When it begins: date and time of New York's wall clock, ISO 8601, or now. (default: now)"
    predict.add_argument("--at", metavar="TIME", default="now", help=at)
    distance = "Length of the ride. Without it the range is wider."
    predict.add_argument("--distance", type=float, metavar="MILES", help=distance)
    predict.add_argument("--passengers", type=int, metavar="N", help="Passengers.")
    service = "green, yellow, fhvhv or sample. (default: the only one with a champion)"
    predict.add_argument("--service", metavar="SERVICE", help=service)
    predict.add_argument("--json", action="store_true", help="Print one JSON object.")
    predict.set_defaults(act=run_predict)


def run_predict(options: argparse.Namespace) -> int:
    """Print how long one ride will take."""
    with waiting.note("asking the registry and loading the model"):
        from mlops.serving import one_ride

        ride = one_ride.Ride(
            options.pickup, options.dropoff, options.at, options.distance, options.passengers, options.service
        )
        found = one_ride.estimate(ride)
    if options.json:
        print_json(found)
    else:
        print("\n".join(_lines(found)))
    return 0


def _lines(found: RideEstimate) -> Iterator[str]:
    minutes, low, high = (
        round(each) for each in (found.duration_minutes, found.low_80_minutes, found.high_80_minutes)
    )
    more = " or more" if high >= LONGEST_MINUTES else ""
    yield f"about {minutes} minute{'s' if minutes != 1 else ''}, {low} to {high}{more} (8 of 10 such rides)"
    yield f"from   {_place(found.pickup_zone, found.pickup_zone_name)}"
    yield f"to     {_place(found.dropoff_zone, found.dropoff_zone_name)}"
    yield f"when   {found.pickup_at_new_york:%A %Y-%m-%d %H:%M}, New York"
    yield f"model  {', '.join(_about_version(found))}"
    if found.rides is not None:
        yield f"rides  {found.rides:,} between these zones in its training"
    yield from (f"NOTE: {text}" for text in found.notes)


def _place(number: int, name: str | None) -> str:
    return f"{name} ({number})" if name else f"zone {number}"


def _about_version(found: RideEstimate) -> Iterator[str]:
    yield f"{found.model} version {found.model_version}"
    if found.trained_on:
        yield f"trained on {found.trained_on}"
    if found.tested_on:
        error = "" if found.test_rmse_minutes is None else f" (RMSE {found.test_rmse_minutes:.2f} minutes)"
        yield f"tested on {found.tested_on}{error}"
