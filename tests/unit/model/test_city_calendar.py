"""Public holidays around any time."""

from __future__ import annotations

import numpy as np
import pytest

from mlops.errors import MlopsError
from mlops.model.city_calendar import public_holidays


@pytest.mark.parametrize("at", ["1900-01-01", "2023-01-01", "2023-12-31T23:59", "2099-12-31"])
def test_there_is_a_holiday_before_and_after_each_time(at: str) -> None:
    times = np.array([at], "datetime64[us]")
    found = public_holidays(times)

    assert (np.diff(found) > np.timedelta64(0, "D")).all()
    assert found[0] < times[0] < found[-1]
    assert np.datetime64(f"{at[:4]}-07-04") in found


def test_the_holidays_of_many_times_are_those_of_each() -> None:
    both = public_holidays(np.array(["2020-05-01", "2023-05-01"], "datetime64[us]"))
    one = public_holidays(np.array(["2020-05-01"], "datetime64[us]"))

    assert set(one) <= set(both)
    assert len(public_holidays(both[:0])) > 0  # of no times


def test_nobody_can_change_what_others_get() -> None:
    with pytest.raises(ValueError, match="read-only"):
        public_holidays(np.array(["2023-05-01"], "datetime64[us]"))[:] = np.datetime64("2023-05-01")


def test_a_year_outside_the_calendar_is_an_error() -> None:
    with pytest.raises(MlopsError, match="expected years 1 to 9999; got years 12000 to 12000"):
        public_holidays(np.array(["12000-01-01"], "datetime64[us]"))
