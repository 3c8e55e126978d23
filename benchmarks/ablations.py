"""How much each feature, each month of history and the weights of old months change the error.

`python -m benchmarks ablate` runs one fit per variant and month, with the parameters of the search's first trial.
Scores are on the validation month: it decides on features, so that the test month stays unseen.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

from benchmarks import data, ours
from benchmarks.cells import Cell, Job, Results
from benchmarks.plan import OURS, Bench
from benchmarks.sections import Section, Table, estimate, values_of

HISTORIES = (1, 3, 6)  # months, in addition to all available months
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
    "distance ratio": ("distance_ratio",),
    "all statistics from past trips": (*MINUTES, *PACES, *BANDS, *PAIRS, "distance_ratio"),
}
"""Groups of features; a variant removes one group."""
STEPS = (
    ("zones and distance", ("pickup_zone", "dropoff_zone", "distance_miles")),
    ("+ time of day and weekday", ("minute_of_day", "weekday")),
    ("+ passengers", ("passenger_count",)),
    ("+ month, holidays, school days", ("month", "is_holiday", "is_school_day")),
    ("+ mean minutes", MINUTES),
    ("+ mean paces", PACES),
    ("+ distance ratio", ("distance_ratio",)),
    ("+ distance bands", BANDS),
    ("+ spread and count of the pair", PAIRS),
)
"""Features added step by step: each step keeps those of the steps before. A person's own come last."""


def variants() -> dict[str, dict[str, Any]]:
    """Each variant's removed features, settings and history."""
    everything = ours.feature_list()
    found: dict[str, dict[str, Any]] = {REFERENCE: {}}
    own = ours.own_features()
    kept: tuple[str, ...] = ()
    for name, added in STEPS:
        kept += added
        removed = [feature for feature in everything if feature not in kept]
        if removed:
            found[f"step: {name}"] = {"without": removed}
    groups = GROUPS | {name: (name,) for name in own}
    found |= {f"without {name}": {"without": list(removed)} for name, removed in groups.items()}
    found |= {f"history of {months} months": {"history": months} for months in HISTORIES}
    found |= {
        f"half life of {months} months": {"changed": {"half_life_months": months}} for months in HALF_LIVES
    }
    return found


def variant_cell(variant: str, test: str) -> str:
    """Name of the cell that fits a variant for a month."""
    return f"ablations/{variant}, {test}"


def cells(bench: Bench) -> list[Cell]:
    """One cell per variant and test month."""
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
    """Validation RMSE of one fit with the parameters of the first trial; only the variant differs."""
    cleaned = [data.clean_path(job, month) for month in months]
    chosen = ours.settings(**changed)
    return {"validation_rmse": ours.one_fit(cleaned, job.folder, job.threads, chosen, without)}


def section(bench: Bench, results: Results) -> Section:
    """Mean RMSE of each variant and its change from the reference."""
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
    header = ("variant", "validation RMSE", "change, %", "95 %", "months")
    scored = ", ".join(bench.validation(test) for test in bench.test_months)
    note = (
        f"Scored on {scored}, with one fit each on all earlier months. The fit uses the parameters of the "
        "search's first trial, with the learning rate and rounds of the middle rung. Mean over months. The change "
        "is against the first line."
    )
    return Section((), (Table("Ablations", header, tuple(rows), note),))


def _found(bench: Bench, results: Results, variant: str) -> dict[str, dict[str, Any]]:
    cells_of: Sequence[tuple[str, Any]] = [
        (test, values_of(results, variant_cell(variant, test))) for test in bench.test_months
    ]
    return {test: values for test, values in cells_of if values is not None}
