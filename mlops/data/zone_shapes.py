"""Shapes of zones, for a map: the synthetic city's, and TLC's.

TLC publishes its zones as a shapefile in a zip beside its months. It has 98,000 points, and most of them cannot be
seen on a map: so it is simplified once (`zone_shapefile`), and the map is kept as JSON.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlops.data import zone_map, zone_shapefile
from mlops.data.synthetic import districts
from mlops.data.zone_map import ZoneMap
from mlops.data.zone_shapefile import MOST_BYTES
from mlops.data.zones import delivered
from mlops.files import atomic_write

if TYPE_CHECKING:
    from mlops.data.sources import Source  # late at run time: it imports what asks other computers

FILE: Final = "taxi_zones.zip"
KEPT: Final = "taxi_zones.json"
AT_SOURCE: Final = f"../misc/{FILE}"  # beside the folder of months
FORMAT: Final = 1  # of the kept file; another number when other shapes are made of the same zip


@functools.cache
def of_city() -> ZoneMap:
    """Map of the synthetic city's zones."""
    return zone_map.draw(districts.districts())


def read(path: Path, kept: Path) -> ZoneMap:
    """Map from a copy of TLC's zip. It is made once, and then read from `kept` until the zip changes.

    Raises
    ------
    TripSchemaError
        When it is not such a zip.
    OSError
        When it cannot be read, or the map cannot be stored.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    found = _read_kept(kept, content)
    if found is None:
        found = zone_shapefile.parse(str(path), content)
        _keep(kept, content, found)
    return found


def fetch(source: Source, path: Path, kept: Path) -> ZoneMap:
    """Map from TLC's zip at a source, which is stored at `path`, and the map at `kept`.

    Raises
    ------
    DownloadError
        When the source does not deliver it.
    TripSchemaError
        When what it delivers is not such a zip.
    OSError
        When it cannot be stored.
    """
    url, content = delivered(source, AT_SOURCE, MOST_BYTES)
    found = zone_shapefile.parse(url, content)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    _keep(kept, content, found)
    return found


def _keep(kept: Path, content: bytes, found: ZoneMap) -> None:
    text = json.dumps({**_about(content), "map": zone_shapefile.as_json(found)})
    with atomic_write(kept) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _read_kept(kept: Path, content: bytes) -> ZoneMap | None:
    """The map that was made of this zip; None if there is none, or another."""
    try:
        found = json.loads(kept.read_text(encoding="utf-8"))
        is_of_this = {name: found.get(name) for name in _about(content)} == _about(content)
        return zone_shapefile.from_json(found["map"]) if is_of_this else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _about(content: bytes) -> dict[str, Any]:
    return {"format": FORMAT, "sha256_of_zip": hashlib.sha256(content).hexdigest()}
