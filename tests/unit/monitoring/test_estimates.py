"""The error to expect before labels: by widths, by cells, and its track record."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlops.monitoring.estimates import estimate, requests_as_sums, track_record
from mlops.registry.monitoring_record import Record

SHORT = {"hour_band": "6-10 h", "week": "weekend", "distance": "1-2 mi", "airport": ""}
LONG = SHORT | {"distance": "10 mi and more", "airport": "from JFK"}


def sums(*rows: tuple[dict[str, str], int, float, float]) -> pd.DataFrame:
    """Cell, trips, error of each trip and width of each range, in minutes."""
    return pd.DataFrame(
        [
            {
                "day": f"2023-06-{1 + n:02d}",
                **cell,
                "trips": trips,
                "champion_squared": trips * error**2,
                "champion_width_80_squared": trips * width**2,
            }
            for n, (cell, trips, error, width) in enumerate(rows)
        ]
    )


BEFORE = sums((SHORT, 60, 2.0, 5.0), (SHORT, 20, 2.0, 5.0), (LONG, 20, 8.0, 20.0))
RMSE = math.sqrt(0.8 * 4 + 0.2 * 64)


def test_the_same_rides_have_the_same_error() -> None:
    found = estimate(BEFORE, BEFORE)
    assert [found.rmse, found.from_widths, found.from_cells] == pytest.approx([RMSE] * 3)


def test_more_of_the_difficult_rides_is_a_larger_error() -> None:
    now = sums((SHORT, 500, math.nan, 5.0), (LONG, 500, math.nan, 20.0)).drop(columns="champion_squared")
    found = estimate(BEFORE, now)
    assert found.from_cells == pytest.approx(math.sqrt(0.5 * 4 + 0.5 * 64))
    assert found.from_widths == pytest.approx(RMSE * math.sqrt((25 + 400) / 2 / (0.8 * 25 + 0.2 * 400)))
    assert found.rmse == pytest.approx((found.from_cells + found.from_widths) / 2)


def test_wider_ranges_are_a_larger_error_although_the_mix_is_the_same() -> None:
    now = BEFORE.assign(champion_width_80_squared=BEFORE["champion_width_80_squared"] * 1.21)
    found = estimate(BEFORE, now)
    assert (found.from_widths, found.from_cells) == (pytest.approx(1.1 * RMSE), pytest.approx(RMSE))


def test_a_version_without_ranges_is_estimated_by_its_cells() -> None:
    without = BEFORE.drop(columns="champion_width_80_squared")
    for before, now in ((without, BEFORE), (BEFORE, without)):
        found = estimate(before, now)
        assert math.isnan(found.from_widths)
        assert found.rmse == found.from_cells == pytest.approx(RMSE)


def test_a_cell_that_was_not_there_has_the_error_of_all() -> None:
    unknown = SHORT | {"distance": "not known"}
    now = sums((unknown, 50, math.nan, 5.0), (SHORT, 50, math.nan, 5.0))
    assert estimate(BEFORE, now).from_cells == pytest.approx(math.sqrt((RMSE**2 + 4) / 2))


def test_without_requests_nothing_is_expected() -> None:
    found = estimate(BEFORE, BEFORE.head(0))
    assert all(map(math.isnan, (found.rmse, found.from_widths, found.from_cells)))


# --- From the request log -------------------------------------------------------------------------------------


def asked(**changed: Any) -> pd.DataFrame:
    """Rows of the request log, as `request_log_files.read` types them."""
    columns = {
        "share": [1.0, 0.5, 0.25],
        "pickup_at": pd.to_datetime(["2023-07-01 08:00", "2023-07-01 08:30", "2023-07-02 09:00"]),
        "pickup_zone": pd.array([74, None, 132], "Int64"), "dropoff_zone": pd.array([75, 75, 75], "Int64"),
        "distance_miles": [1.5, 1.5, np.nan], "low_80_minutes": [5.0, 5.0, 20.0],
        "high_80_minutes": [9.0, 10.0, 40.0],
    }  # fmt: skip
    return pd.DataFrame(columns | changed)


def test_logged_requests_count_for_those_that_were_not_logged() -> None:
    found = requests_as_sums(asked()).set_index(["distance", "airport"])
    assert found["trips"].to_dict() == {("1-2 mi", ""): 3.0, ("not known", "from JFK"): 4.0}
    widths = found["champion_width_80_squared"].to_dict()
    assert widths == {("1-2 mi", ""): 16.0 + 2 * 25.0, ("not known", "from JFK"): 4 * 400.0}
    assert found["hour_band"].unique().tolist() == ["6-10 h"]
    assert found["week"].unique().tolist() == ["weekend"]


def test_answers_without_ranges_have_no_widths() -> None:
    assert "champion_width_80_squared" not in requests_as_sums(asked(low_80_minutes=[5.0, np.nan, 20.0]))


def test_no_request_is_no_row() -> None:
    assert requests_as_sums(asked().head(0)).empty


# --- The track record -----------------------------------------------------------------------------------------


def compared(month: str, promised: str = "2023-01", **measured: float) -> Record:
    return Record(month, "2", "1", promised, 9, measured, False, ())


def test_estimates_are_compared_with_the_truth_and_with_the_month_before() -> None:
    found = track_record(
        [
            compared("2023-09", rmse=5.0, rmse_estimated=4.4),  # off by 0.6, August by 0.8
            compared("2023-08", rmse=4.2, rmse_estimated=4.3),  # off by 0.1, July by 0.3
            compared("2023-07", rmse=4.5, rmse_estimated=4.0),  # no month before
        ]
    )
    assert (found.months, found.difference, found.naive) == (2, pytest.approx(0.35), pytest.approx(0.55))
    assert str(found) == (
        "in 2 earlier months the estimate was off by 0.35 minutes on average, "
        '"the same as in the month before" by 0.55'
    )


def test_the_month_before_is_the_one_that_the_champion_promised() -> None:
    """Another version may have been champion in the record of the month before."""
    july = compared("2023-07", rmse=9.0)
    august = compared("2023-08", promised="2023-07", rmse=4.0, rmse_estimated=4.0, rmse_promised=4.5)
    assert track_record([july, august]).naive == pytest.approx(0.5)


@pytest.mark.parametrize("measured", [{}, {"rmse": 4.0}, {"rmse": math.nan, "rmse_estimated": 4.0}])
def test_without_an_estimate_and_its_truth_there_is_no_track_record(measured: dict[str, float]) -> None:
    found = track_record([compared("2023-07", rmse=4.0), compared("2023-08", **measured)])
    assert found.months == 0
    assert math.isnan(found.difference)
    assert str(found).startswith("no earlier month has an estimate and its durations")
