"""The synthetic city's zones as shapes: districts around the places that `city` knows.

No trip is made from them. Distances between districts are those of the trips.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from mlops.data.synthetic.city import city


@cache
def districts() -> dict[int, Any]:
    """Shape of each zone by its id, as shapely polygons; miles east and north of the centre."""
    import shapely  # here: it takes a tenth of a second

    places = np.column_stack([city().places.real, city().places.imag])
    points = shapely.points(places)
    land = shapely.union_all(shapely.buffer(points, 1.3)).buffer(1.0).buffer(-1.2)
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(points), ordered=True))
    return dict(enumerate((shapely.intersection(each, land) for each in cells), 1))
