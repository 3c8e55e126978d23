"""A map of zones as shapes that a page can draw: SVG paths with whole numbers, a few kilobytes in all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

WIDTH: Final = 4_000  # units of the longer side: in New York one is 40 feet
_MARGIN: Final = 40  # units around the shapes, so that a border is not cut
_SMALLEST: Final = 60.0  # square units; islands and holes below it cannot be seen
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ZoneShape:
    """Where a zone is on its map.

    Parameters
    ----------
    path : str
        An SVG path.
    x, y : int
        A point inside, far from the border: for a marker or a label.
    """

    path: str
    x: int
    y: int


@dataclass(frozen=True)
class ZoneMap:
    """Shapes of a city's zones. The unit is the same in both directions; y grows downwards.

    Parameters
    ----------
    width, height : int
        Units; 0 if no shape is known.
    shapes : mapping of int to ZoneShape
        By the zone's id; a zone may have none.
    problem : str
        Why no shape is known; empty if shapes are.
    """

    width: int = 0
    height: int = 0
    shapes: Mapping[int, ZoneShape] = field(default_factory=dict)
    problem: str = ""


def draw(polygons: Mapping[int, Any]) -> ZoneMap:
    """A map of these zones.

    Neighbours that share points share them in the map, too: a point is rounded the same way in each.

    Parameters
    ----------
    polygons : mapping of int to shapely Polygon or MultiPolygon
        At least one; x grows to the east and y to the north, in the same unit.

    Examples
    --------
    >>> from shapely import box
    >>> found = draw({7: box(0, 0, 98, 49), 8: box(98, 0, 196, 49)})
    >>> found.width, found.height, found.shapes[8]
    (4000, 1060, ZoneShape(path='M3960 1020h-1960v-980h1960z', x=2980, y=530))
    """
    import shapely  # here: it takes a tenth of a second

    west, south, east, north = (float(each) for each in shapely.total_bounds(list(polygons.values())))
    scale = (WIDTH - 2 * _MARGIN) / max(east - west, north - south)

    def placed(points: Array) -> Array:
        """Points of shape (n, 2) in units of the map, rounded."""
        moved: Array = (points - (west, north)) * (scale, -scale) + _MARGIN
        return np.rint(moved).astype(np.int64)

    shapes = {}
    for zone, polygon in polygons.items():
        oriented = shapely.orient_polygons(polygon, exterior_cw=True)  # so that a hole is empty
        x, y = placed(_inner_point(oriented))[0].tolist()
        path = "".join(_ring(placed(ring)) for ring in _visible_rings(oriented, _SMALLEST / scale**2))
        shapes[zone] = ZoneShape(path, x, y)
    width, height = (round(side * scale) + 2 * _MARGIN for side in (east - west, north - south))
    return ZoneMap(width, height, shapes)


def _inner_point(polygon: Any) -> Array:
    """Centre of the largest circle in the largest part, float64 of shape (1, 2)."""
    import shapely

    part = max(shapely.get_parts(polygon), key=lambda each: float(each.area))
    circle = shapely.maximum_inscribed_circle(part)
    return shapely.get_coordinates(circle)[:1]  # type: ignore[no-any-return]


def _visible_rings(polygon: Any, smallest: float) -> Iterator[Array]:
    """Rings, float64 of shape (points, 2): the largest part's, and those that are not too small."""
    import shapely

    parts = sorted(shapely.get_parts(polygon), key=lambda each: -float(each.area))
    for position, part in enumerate(parts):
        if position == 0 or part.area >= smallest:
            yield shapely.get_coordinates(part.exterior)
            for hole in part.interiors:
                if shapely.Polygon(hole).area >= smallest:
                    yield shapely.get_coordinates(hole)


def _ring(points: Array) -> str:
    """A closed part of a path, from whole numbers of shape (points, 2); its last point is its first."""
    steps = np.diff(points, axis=0)
    steps = steps[(steps != 0).any(axis=1)][:-1]  # `z` draws the last one
    return f"M{points[0, 0]}{_signed(points[0, 1])}{''.join(_commands(steps.tolist()))}z"


def _commands(steps: list[list[int]]) -> Iterator[str]:
    last = ""
    for right, down in steps:
        if right == 0 or down == 0:
            letter, numbers = ("v", f"{down}") if right == 0 else ("h", f"{right}")
        else:
            letter, numbers = "l", f"{right}{_signed(down)}"
        yield (
            numbers
            if letter == last and numbers[0] == "-"
            else f"{' ' if letter == last else letter}{numbers}"
        )
        last = letter


def _signed(number: int) -> str:
    """A number after another: a minus separates them, else a space does."""
    return f"{number}" if number < 0 else f" {number}"
