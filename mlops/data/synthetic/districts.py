"""The synthetic city's zones as shapes: districts around the places that `city` knows, on both banks of a river.

A district is what is nearest to its place on its bank. No trip is made from the shapes, but a district lies where
its trips begin and end, so distances on the map are plausible. Lengths are miles, east and north of the centre.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mlops.data.synthetic.city import city

Array = npt.NDArray[Any]
_RIVER: Final = [
    (-0.4, 14),
    (-0.8, 10),
    (-1.6, 8),
    (-1.0, 4.6),
    (-2.5, 1.2),
    (-2.1, -1.8),
    (0.4, -3.6),
    (1.6, -7),
    (3.4, -14),
]
"""Its course from north to south, roughly: it finds its way between the places."""
_HALF_WIDTH: Final = 0.2
_SHORE: Final = 0.9  # from a place to the water
_BAY: Final = 2.0  # narrower bays are filled
_BEND: Final = 0.8  # sharper bends of the river are rounded
_STEP: Final = 0.15  # between points of a border, before it is bent
_GRID: Final = 0.002  # neighbours get the same points
_CUT: Final = 0.02  # corners of a smaller area's square are cut
_WAVES: Final = (
    (6.0, 0.3),
    (2.6, 0.09),
    (1.1, 0.025),
)  # lengths and heights of the waves that bend straight borders
_WAVES_SEED: Final = 3


@cache
def districts() -> dict[int, Any]:
    """Shape of each zone by its id, as shapely polygons."""
    import shapely  # here: it takes a tenth of a second

    places = np.column_stack([city().places.real, city().places.imag])
    is_west = _is_west(places)
    land, west = _land(places), _west(places, is_west)
    banks = (land & west.buffer(-_HALF_WIDTH), land - west.buffer(_HALF_WIDTH))
    shapes = np.empty(len(places), dtype=object)
    for bank, is_here in zip(banks, (is_west, ~is_west), strict=True):
        shapes[is_here] = _cells(places[is_here], bank)
    bent = shapely.set_precision(shapely.transform(shapely.segmentize(shapes, _STEP), _bent), _GRID)
    return dict(enumerate(shapely.coverage_simplify(bent, _CUT), 1))


def _is_west(places: Array) -> Array:
    """Whether each place is west of the river, bool of shape (places,)."""
    x, y = np.array(_RIVER[::-1]).T  # from south to north, as `interp` needs it
    is_west: Array = places[:, 0] < np.interp(places[:, 1], y, x)
    return is_west


def _land(places: Array) -> Any:
    """What is near a place, without narrow bays."""
    import shapely

    near = shapely.union_all(shapely.points(places).tolist()).buffer(_SHORE + _BAY).buffer(-_BAY)
    return near.buffer(-_SHORE / 2).buffer(_SHORE / 2)


def _west(places: Array, is_west: Array) -> Any:
    """Everything that is nearer to a place in the west than to one in the east, with a smooth border."""
    import shapely

    cells = _cells(places, shapely.box(-20, -20, 20, 20))
    west = shapely.union_all(cells[is_west])
    return west.buffer(_BEND).buffer(-2 * _BEND).buffer(_BEND)


def _cells(places: Array, area: Any) -> Any:
    """What is nearest to each place within an area: an array of polygons of shape (places,)."""
    import shapely

    cells = shapely.get_parts(
        shapely.voronoi_polygons(shapely.multipoints(places), extend_to=area, ordered=True)
    )
    return shapely.intersection(cells, area)


def _bent(points: Array) -> Array:
    """Points of shape (n, 2), moved by waves that are so long that no borders cross."""
    rng = np.random.default_rng(_WAVES_SEED)
    moved = points.copy()
    for length, height in _WAVES:
        for angle, phase, turn in rng.uniform(0, 2 * np.pi, (3, 3)):
            along = points @ (np.cos(angle), np.sin(angle)) * (2 * np.pi / length)
            moved += height * np.sin(along + phase)[:, None] * (np.cos(turn), np.sin(turn))
    return moved
