"""The synthetic city has patterns that a model can learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
from support.sample_months import MAY, green, honest


def test_durations_are_like_those_of_real_months(may: pd.DataFrame) -> None:
    assert 13 <= honest(may).minutes.mean() <= 16.5
    assert 8.5 <= honest(may).minutes.std() <= 10.5


def test_rush_hours_are_slow_on_weekdays_only(may: pd.DataFrame) -> None:
    trips = honest(may).query("0.3 < trip_distance < 50")
    pace = trips.minutes / trips.trip_distance
    weekend, hour = trips.pickup_at.dt.dayofweek >= 5, trips.pickup_at.dt.hour
    evening = hour.isin([16, 17])
    assert pace[~weekend & evening].median() > 1.4 * pace[~weekend & (hour < 6)].median()
    assert pace[~weekend & evening].median() > 1.2 * pace[weekend & evening].median()


def test_who_knows_the_hour_beats_the_pair_median_on_the_next_month() -> None:
    history, future = honest(green(*MAY.before(3))), honest(green(MAY))
    median = history.groupby(["start", "end"]).minutes.median().rename("usual")

    def usual(trips: pd.DataFrame) -> pd.Series:
        return trips.join(median, on=["start", "end"]).usual.fillna(history.minutes.median())

    def hour_of_week(trips: pd.DataFrame) -> pd.Series:
        return trips.pickup_at.dt.hour + 24 * (trips.pickup_at.dt.dayofweek >= 5)

    def rmse(predicted: pd.Series) -> float:
        return float(np.sqrt(((predicted - future.minutes) ** 2).mean()))

    slowness = (history.minutes / usual(history)).groupby(hour_of_week(history)).median()
    by_pair = rmse(usual(future))
    by_pair_and_hour = rmse(usual(future) * hour_of_week(future).map(slowness))
    by_nothing = rmse(pd.Series(history.minutes.mean(), index=future.index))
    assert 5.5 < by_pair < 7.2
    assert by_pair_and_hour < 0.92 * by_pair
    assert by_pair < 0.75 * by_nothing
