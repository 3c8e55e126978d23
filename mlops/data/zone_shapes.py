"""Shapes of zones, for a map: the synthetic city's."""

from __future__ import annotations

import functools

from mlops.data import zone_map
from mlops.data.synthetic import districts
from mlops.data.zone_map import ZoneMap


@functools.cache
def of_city() -> ZoneMap:
    """Map of the synthetic city's zones."""
    return zone_map.draw(districts.districts())
