"""Compared months as monitoring keeps them, made up."""

from __future__ import annotations

import math
from typing import Any

from mlops.month import Month
from mlops.registry.monitoring_record import PROMOTED, RETURNED, TRAINED, Event, Finding, History, Record

NAME = "trip-duration-green"
FINDING = Finding("unit_of_distance", "34 % of the distances look like kilometres", 0.34, True, 8.1)


def measured(rmse: float = 4.24, promised: float = 4.1, **others: float) -> dict[str, float]:
    """Measured values of a month without a predecessor's advantage; `others` replace some."""
    change = rmse - promised
    found = {
        "rmse": rmse, "rmse_low": rmse - 0.11, "rmse_high": rmse + 0.12, "mae": 2.7, "bias": -0.1,
        "coverage_80": 0.801, "coverage_95": 0.949, "interval_score_80": 12.1, "interval_score_95": 21.4,
        "rmse_predecessor": rmse + 0.08, "rmse_baseline": rmse + 1.1, "rmse_promised": promised,
        "change": change, "change_mix": 0.25 * change, "change_within": 0.75 * change,
        "change_within_low": 0.75 * change - 0.1, "change_within_high": 0.75 * change + 0.1,
        "gain_predecessor": -0.08, "gain_predecessor_low": -0.12, "gain_predecessor_high": -0.04,
        "rmse_estimated": rmse - 0.15, "drift_largest": 0.7,
    }  # fmt: skip
    return {**found, **others}


def record(month: str = "2023-09", **changes: Any) -> Record:
    """A month without an alarm, compared with version 7 of the month before; `changes` replace fields."""
    fields: dict[str, Any] = {
        "champion": "7", "predecessor": "6", "promised_month": str(Month.parse(month) - 1), "trips": 61_234,
        "measured": measured(), "alarm": False, "causes": ("mix",), "findings": (),
        "slices": (("evening, working day, 3 to 6 miles", 0.08, 0.12), ("night, weekend, to JFK", -0.2, 0.01)),
        "at": "2026-11-27T20:00:00+00:00", "run_id": "ab" * 16, "notes": (),
    }  # fmt: skip
    return Record(month=month, **{**fields, **changes})


def alarm(month: str = "2023-10", **changes: Any) -> Record:
    """A month whose distances are in kilometres, after which the predecessor is champion again."""
    fields: dict[str, Any] = {
        "measured": measured(5.31, 4.24, rmse_predecessor=4.6, gain_predecessor=0.71, gain_predecessor_low=0.6,
                             gain_predecessor_high=0.8, drift_largest=6.2, coverage_80=0.71, coverage_95=0.88),
        "alarm": True, "causes": ("unit_of_distance", "worse_than_predecessor"), "findings": (FINDING,),
        "slices": (("airport, night", 0.8, 0.03), ("morning, working day, 1 to 3 miles", 0.41, 0.21)),
        "action": "rollback", "done": "Version 6 is champion again; version 7 was champion before.",
    }  # fmt: skip
    return record(month, **{**fields, **changes})


def history(count: int = 6, name: str = NAME) -> History:
    """So many months up to 2023-10, the last with an alarm, with trainings and a rollback."""
    months = [*Month(2023, 10).before(count - 1), Month(2023, 10)]
    errors = [4.1 + 0.12 * math.sin(place) + 0.02 * place for place in range(count)]
    found = [
        record(
            str(month), champion=str(place + 1), predecessor=str(place) if place else "",
            measured=measured(
                errors[place], errors[place - 1] if place else errors[0] - 0.05,
                drift_largest=0.5 + 0.1 * (place % 3),
                coverage_80=0.80 + 0.01 * math.cos(place), coverage_95=0.95 - 0.008 * math.cos(place),
                **({} if place else {"rmse_predecessor": math.nan}),
            ),
        )
        for place, month in enumerate(months[:-1])
    ]  # fmt: skip
    events = [
        Event(kind, str(month - 1), str(place + 1), f"2026-11-{place % 28 + 1:02}T08:00:0{order}+00:00", why)
        for place, month in enumerate(months)
        for order, (kind, why) in enumerate(
            ((TRAINED, "verdict: promote"), (PROMOTED, "promote, by run 1: RMSE"))
        )
        if kind == TRAINED or place % 2
    ]
    why = "rollback, by monitoring of 2023-10: version 6 is better on this month"
    returned = Event(RETURNED, "2023-10", str(count - 1), "2026-11-30T09:30:00+00:00", why)
    last = alarm(champion=str(count), predecessor=str(count - 1))
    mlflow = "http://127.0.0.1:5000/#"
    return History(
        name, (*found, last), (*events, returned), f"{mlflow}/experiments/7/runs/{'ab' * 16}",
        f"{mlflow}/models/{name}",
    )  # fmt: skip
