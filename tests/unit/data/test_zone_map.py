"""A map has whole numbers, small paths, and markers inside the shapes."""

from __future__ import annotations

import shapely

from mlops.data.zone_map import ZoneShape, draw


def test_north_is_up_and_the_longer_side_has_4000_units() -> None:
    found = draw({1: shapely.box(0, 0, 10, 30), 2: shapely.box(0, 30, 10, 40)})
    assert (found.width, found.height) == (1060, 4000)
    assert found.shapes[2].y < found.shapes[1].y
    assert found.shapes[2] == ZoneShape("M1020 1020h-980v-980h980z", 530, 530)


def test_a_marker_is_inside_the_largest_part() -> None:
    ring = shapely.box(0, 0, 60, 60) - shapely.box(10, 10, 60, 50)
    found = draw({1: ring | shapely.box(70, 0, 71, 1), 2: shapely.box(0, 60, 100, 100)})
    shape = found.shapes[1]
    x, y = (shape.x - 40) / 39.2, 100 - (shape.y - 40) / 39.2
    assert ring.contains(shapely.Point(x, y))
    assert ring.exterior.distance(shapely.Point(x, y)) > 4


def test_points_that_round_to_the_same_are_one() -> None:
    line = [(0, 0), (50, 0.001), (50.001, 0.002), (100, 0), (100, 100), (0, 100)]
    path = draw({1: shapely.Polygon(line)}).shapes[1].path
    assert path.count("l") + path.count("h") + path.count("v") + path.count(" ") < 6


def test_a_zone_that_is_a_point_of_the_map_still_has_a_path() -> None:
    found = draw({1: shapely.box(0, 0, 1_000_000, 1_000_000), 2: shapely.box(5, 5, 6, 6)})
    assert found.shapes[2] == ZoneShape("M40 3960z", 40, 3960)
