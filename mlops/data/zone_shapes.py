"""Shapes of zones, for a map: the synthetic city's, and TLC's.

TLC publishes its zones as a shapefile in a zip beside its months. It has 98,000 points, and most of them cannot be
seen on a map: so it is simplified once, and the result is kept as JSON. The zip is checked as what comes from
outside is: nothing of it is written under a name of its own, and its sizes have limits before it is unpacked.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlops.data import zone_map
from mlops.data.synthetic import districts
from mlops.data.zone_map import ZoneMap, ZoneShape
from mlops.data.zones import ZONES, delivered
from mlops.errors import TripSchemaError, one_line
from mlops.files import atomic_write

if TYPE_CHECKING:
    from mlops.data.sources import Source  # late at run time: it imports what asks other computers

FILE: Final = "taxi_zones.zip"
KEPT: Final = "taxi_zones.json"
AT_SOURCE: Final = f"../misc/{FILE}"  # beside the folder of months
FORMAT: Final = 1  # of the kept file; another number when other shapes are made of the same zip
MOST_BYTES: Final = 10_000_000  # TLC's zip has 1,000,000
_MOST_UNPACKED: Final = 20_000_000  # bytes of one file in it; TLC's largest has 1,600,000
_MOST_POINTS: Final = 400_000  # TLC's have 98,000
_FEWEST: Final = 200  # zones of a file that can be complete
_GRID_FEET: Final = 10.0  # neighbours get the same points, so that no gap is between them
_TOLERANCE_FEET: Final = 120.0  # corners below an area of its square are cut
_ID: Final = "LocationID"


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
        found = parse(str(path), content)
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
    found = parse(url, content)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    _keep(kept, content, found)
    return found


def parse(where: str, content: bytes) -> ZoneMap:
    """Map from the bytes of TLC's zip; `where` they come from stands in the error. It takes about a second.

    Raises
    ------
    TripSchemaError
    """
    try:
        if len(content) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES:,} bytes")
        return zone_map.draw(_simplified(_polygons(content)))
    except Exception as error:  # whatever the libraries raise for bytes that anybody may have made
        why = one_line(f"{type(error).__name__}: {error}", 150)
        raise TripSchemaError(
            f"{where}: expected TLC's zones as a shapefile in a zip, with the column {_ID}, and at least "
            f"{_FEWEST} ids from 1 to {ZONES}; got {content[:20]!r} ({why}). Put TLC's {FILE} there."
        ) from error


def _polygons(content: bytes) -> dict[int, list[Any]]:
    """Shapes of each zone, in feet; some zones have several."""
    import shapefile
    import shapely

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {kind: io.BytesIO(_unpacked(archive, kind)) for kind in ("shp", "dbf")}
    found = defaultdict(list)
    points = 0
    with shapefile.Reader(**files) as reader:
        for each in reader.iterShapeRecords(fields=[_ID]):
            points += len(each.shape.points)
            if points > _MOST_POINTS:
                raise ValueError(f"more than {_MOST_POINTS:,} points")
            polygon = shapely.geometry.shape(each.shape.__geo_interface__)
            found[int(each.record[_ID])].append(_checked(polygon))
    if len(found) < _FEWEST or not 1 <= min(found) <= max(found) <= ZONES:
        raise ValueError(
            f"{len(found)} zones with ids from {min(found, default=0)} to {max(found, default=0)}"
        )
    return found


def _unpacked(archive: zipfile.ZipFile, kind: str) -> bytes:
    """The only file of a kind in the zip."""
    names = [each for each in archive.infolist() if each.filename.lower().endswith(f".{kind}")]
    if len(names) != 1:
        raise ValueError(f"{len(names)} files that end with .{kind}")
    with archive.open(names[0]) as file:
        content = file.read(_MOST_UNPACKED + 1)
    if len(content) > _MOST_UNPACKED:
        raise ValueError(f"{names[0].filename[:60]} unpacks to more than {_MOST_UNPACKED:,} bytes")
    return content


def _checked(polygon: Any) -> Any:
    """A polygon that can be drawn."""
    import shapely

    if polygon.geom_type not in ("Polygon", "MultiPolygon") or polygon.is_empty:
        raise ValueError(f"a {polygon.geom_type} without an area")
    if not polygon.is_valid:
        raise ValueError(f"a shape that cannot be drawn: {shapely.is_valid_reason(polygon)}")
    return polygon


def _simplified(shapes: dict[int, list[Any]]) -> dict[int, Any]:
    """One shape for each zone, with fewer points; neighbours still fit."""
    import shapely

    ids = sorted(shapes)
    whole = shapely.set_precision([shapely.union_all(shapes[each]) for each in ids], _GRID_FEET)
    simple = shapely.coverage_simplify(whole, _TOLERANCE_FEET)
    return dict(zip(ids, simple, strict=True))


def _keep(kept: Path, content: bytes, found: ZoneMap) -> None:
    shapes = {zone: [each.path, each.x, each.y] for zone, each in found.shapes.items()}
    text = json.dumps({**_about(content), "width": found.width, "height": found.height, "shapes": shapes})
    with atomic_write(kept) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _read_kept(kept: Path, content: bytes) -> ZoneMap | None:
    """The map that was made of this zip; None if there is none, or another."""
    try:
        found = json.loads(kept.read_text(encoding="utf-8"))
        if {name: found[name] for name in _about(content)} != _about(content):
            return None
        shapes = {int(zone): ZoneShape(*each) for zone, each in found["shapes"].items()}
        return ZoneMap(found["width"], found["height"], shapes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _about(content: bytes) -> dict[str, Any]:
    return {"format": FORMAT, "sha256_of_zip": hashlib.sha256(content).hexdigest()}
