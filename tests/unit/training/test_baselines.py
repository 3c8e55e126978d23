"""The course's recipe is the course's: it gives the figures that the course prints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.builders import make_requests, make_trips

from mlops.data import trips
from mlops.month import Month
from mlops.training.baselines import CourseRecipe, read_trips, records


def clean_trips(n: int, seed: int) -> pd.DataFrame:
    return pd.DataFrame(make_trips(n, seed))


@pytest.fixture(scope="module")
def recipe() -> CourseRecipe:
    return CourseRecipe.fit(clean_trips(600, 1), clean_trips(200, 2), threads=1, rounds=20)


@pytest.mark.long
@pytest.mark.parametrize(
    ("learnt", "scored", "printed"), [("2023-01", "2023-02", 5.199), ("2023-02", "2023-03", 5.37)]
)
def test_it_gives_the_courses_figures(
    learnt: str, scored: str, printed: float, tlc_months: Path, tmp_path: Path
) -> None:
    """On clean files, whose rules beside 1 to 60 minutes reject a few trips of other months."""
    for month in (learnt, scored):
        raw = tlc_months / f"green_tripdata_{month}.parquet"
        trips.clean_file(raw, "green", Month.parse(month), tmp_path / month)
    training, validation = read_trips(tmp_path / learnt), read_trips(tmp_path / scored)

    found = CourseRecipe.fit(training, validation, threads=1)

    error = found.predict(validation) - validation["duration_minutes"]
    assert np.sqrt((error**2).mean()) == pytest.approx(printed, abs=0.02)


def test_it_learns_something(recipe: CourseRecipe) -> None:
    trips = clean_trips(300, 3)
    error = recipe.predict(trips) - trips["duration_minutes"]

    assert np.sqrt((error**2).mean()) < trips["duration_minutes"].std()


def test_it_answers_requests_that_it_has_not_seen_the_like_of(recipe: CourseRecipe) -> None:
    requests = make_requests(4).assign(pickup_zone=[1, 200, 0, 999], distance_miles=[1.0, 2.0, None, 0.0])

    minutes = recipe.predict(requests)

    assert minutes.shape == (4,)
    assert minutes.dtype == np.float64
    assert np.isfinite(minutes).all()


def test_a_zone_is_part_of_a_name_and_no_quantity() -> None:
    trips = clean_trips(2, 1).assign(pickup_zone=[7, 43], dropoff_zone=[4, 7])

    assert [record["PU_DO"] for record in records(trips)] == ["7_4", "43_7"]


def test_only_three_columns_matter(recipe: CourseRecipe) -> None:
    requests = make_requests(5)
    other = requests.assign(pickup_at=pd.Timestamp("2001-01-01"), passenger_count=9)

    assert recipe.predict(requests).tolist() == recipe.predict(other).tolist()
