"""What each feature, each month of history and the weighing of old months is worth.

`python -m benchmarks ablate`. One fit a variant and month, with the parameters of the search's first trial, scored
on the validation month: features are chosen by it, so that the test month stays unseen.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

from benchmarks import data, ours
from benchmarks.cells import Cell, Job, Results
from benchmarks.plan import OURS, Bench
from benchmarks.sections import Section, Table, estimate, values_of

HISTORIES = (1, 3, 6)  # months, beside all that there are
HALF_LIVES = (3, 6, 12)  # months
REFERENCE = "all features, all earlier months"
MINUTES = ("pair_minutes", "pair_time_minutes", "pickup_hour_minutes", "dropoff_hour_minutes")
PACES = ("pair_pace", "pair_time_pace", "pace_minutes")
BANDS = ("pair_band_minutes", "band_pickup_minutes", "band_dropoff_minutes")
PAIRS = ("pair_spread", "pair_trips")
GROUPS = {
    "time of day and week": ("minute_of_day", "weekday"),
    "month": ("month",),
    "holidays": ("is_holiday",),
    "school days": ("is_school_day",),
    "passengers": ("passenger_count",),
    "mean minutes": MINUTES,
    "mean paces": PACES,
    "distance bands": BANDS,
    "spread and count of the pair": PAIRS,
    "distance over the usual": ("distance_ratio",),
    "all that past trips say": (*MINUTES, *PACES, *BANDS, *PAIRS, "distance_ratio"),
}
"""Features that are left out together."""
STEPS = (
    ("zones and distance", ("pickup_zone", "dropoff_zone", "distance_miles")),
    ("+ time of day and weekday", ("minute_of_day", "weekday")),
    ("+ passengers", ("passenger_count",)),
    ("+ month, holidays, school days", ("month", "is_holiday", "is_school_day")),
    ("+ mean minutes", MINUTES),
    ("+ mean paces", PACES),
    ("+ distance over the usual", ("distance_ratio",)),
    ("+ distance bands", BANDS),
    ("+ spread and count of the pair", PAIRS),
)
"""The model built up: each step adds to the ones before."""


def variants() -> dict[str, dict[str, Any]]:
    """Each variant's features left out, settings and history."""
    everything = ours.feature_list()
    found: dict[str, dict[str, Any]] = {REFERENCE: {}}
    kept: tuple[str, ...] = ()
    for name, added in STEPS:
        kept += added
        left_out = [feature for feature in everything if feature not in kept]
        if left_out:
            found[f"step: {name}"] = {"without": left_out}
    found |= {f"without {name}": {"without": list(left_out)} for name, left_out in GROUPS.items()}
    found |= {f"history of {months} months": {"history": months} for months in HISTORIES}
    found |= {
        f"half life of {months} months": {"changed": {"half_life_months": months}} for months in HALF_LIVES
    }
    return found


def variant_cell(variant: str, test: str) -> str:
    """Name of the cell with a variant's fit for a month."""
    return f"ablations/{variant}, {test}"


def cells(bench: Bench) -> list[Cell]:
    """Each variant for each test month."""
    found = []
    for name, variant in variants().items():
        for test in bench.test_months:
            history = bench.history(test)[-variant.get("history", len(bench.months)) :]
            months = (*history, bench.validation(test))
            parameters = {
                "months": list(months),
                "without": variant.get("without", []),
                "changed": variant.get("changed", {}),
            }
            found.append(
                Cell(
                    variant_cell(name, test), "benchmarks.ablations:run_variant", parameters, OURS,
                    after=tuple(map(data.month_cell, months)), threads=2, expected_seconds=25,
                )
            )  # fmt: skip
    return found


def run_variant(job: Job, months: list[str], without: list[str], changed: dict[str, Any]) -> dict[str, Any]:
    """Validation RMSE of one fit with the parameters of the first trial: nothing else differs."""
    cleaned = [data.clean_path(job, month) for month in months]
    chosen = ours.settings(**changed)
    return {"validation_rmse": ours.one_fit(cleaned, job.folder, job.threads, chosen, without)}


def section(bench: Bench, results: Results) -> Section:
    """Mean RMSE of each variant and what it loses against the whole."""
    whole = _found(bench, results, REFERENCE)
    rows = []
    for name in variants():
        found = _found(bench, results, name)
        shared = [test for test in found if test in whole]
        if not shared:
            continue
        change = estimate(
            [100 * (found[test]["validation_rmse"] / whole[test]["validation_rmse"] - 1) for test in shared]
        )
        rows.append(
            (
                name, f"{mean(v['validation_rmse'] for v in found.values()):.3f}", f"{change.mean:+.2f}",
                "" if change.count < 2 else f"± {change.half_width:.2f}", str(change.count),
            )
        )  # fmt: skip
    header = ("variant", "validation RMSE", "% against the whole", "95 %", "months")
    scored = ", ".join(bench.validation(test) for test in bench.test_months)
    note = (
        f"Scored on {scored}, each by one fit on all earlier months with the search's first guess, at the middle "
        "rung's learning rate and rounds; mean over months."
    )
    return Section((), (Table("Ablations", header, tuple(rows), note),))


def _found(bench: Bench, results: Results, variant: str) -> dict[str, dict[str, Any]]:
    cells_of: Sequence[tuple[str, Any]] = [
        (test, values_of(results, variant_cell(variant, test))) for test in bench.test_months
    ]
    return {test: values for test, values in cells_of if values is not None}
