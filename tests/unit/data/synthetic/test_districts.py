"""The city's districts are a map: no gaps, no overlaps, a river, and distances like those of the trips."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely

from mlops.data.synthetic.city import AIRPORTS, ZONES, city
from mlops.data.synthetic.districts import districts


@pytest.fixture(scope="module")
def shapes() -> Any:
    return np.array(list(districts().values()))


def test_each_zone_is_one_district_and_none_overlaps(shapes: Any) -> None:
    assert len(shapes) == ZONES
    assert {each.geom_type for each in shapes} == {"Polygon"}
    assert shapely.is_valid(shapes).all()
    assert shapely.coverage_is_valid(shapes)
    assert shapely.area(shapes).min() > 0.01, "square miles"


def test_a_district_is_where_its_trips_begin_and_end(shapes: Any) -> None:
    places = shapely.points(city().places.real, city().places.imag)
    assert shapely.distance(shapes, places).max() < 0.5
    centres = shapely.centroid(shapes)
    middle = shapely.get_x(centres) + 1j * shapely.get_y(centres)
    straight = np.abs(city().places[:, None] - city().places)[np.triu_indices(ZONES, 1)]
    on_map = np.abs(middle[:, None] - middle)[np.triu_indices(ZONES, 1)]
    assert np.corrcoef(straight, on_map)[0, 1] > 0.99
    assert np.abs(on_map - straight).max() < 2.5, "miles"


def test_a_river_parts_the_city(shapes: Any) -> None:
    land = shapely.get_parts(shapely.coverage_union_all(shapes))
    assert len(land) == 2
    assert 0.1 < shapely.distance(*land) < 0.5
    assert all(shapely.area(each) > 80 for each in land), "square miles"


def test_airports_lie_at_the_edge_or_outside_of_the_centre(shapes: Any) -> None:
    for airport in AIRPORTS:
        assert shapely.distance(shapes[airport - 1], shapely.Point(0, 0)) > 5


def test_the_districts_are_the_same_each_time(shapes: Any) -> None:
    again = districts.__wrapped__()
    assert [each.wkb for each in again.values()] == [each.wkb for each in shapes]
