"""From TLC's zip of zones to a map, in a process of its own: ``python -m mlops.data.zone_shapefile``.

The zip comes from outside. Its sizes are limited before it is unpacked, and no file of it is written. But a small
shapefile may still keep a geometry library busy for hours, or take all memory. So this process has a limit of time
and memory, and no secret in its environment. It reads the zip from stdin and writes JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections import defaultdict
from dataclasses import asdict
from typing import Any, Final

from mlops.data import zone_map
from mlops.data.zone_map import ZoneMap, ZoneShape
from mlops.data.zones import ZONES
from mlops.errors import TripSchemaError, one_line
from mlops.state_folder import PROJECT

MOST_BYTES: Final = 10_000_000  # of the zip; TLC's has 1,000,000
MOST_SECONDS: Final = 20.0  # TLC's takes one
_MOST_MEMORY: Final = 2 * 2**30
_MOST_UNPACKED: Final = 20_000_000  # bytes of one file in it; TLC's largest has 1,600,000
_MOST_POINTS: Final = 400_000  # TLC's have 98,000
_MOST_RINGS: Final = 5_000  # TLC's have 354
_MOST_FEET: Final = 1e8  # of a coordinate; TLC's are below 1,100,000
_FEWEST: Final = 200  # zones of a file that can be complete
_GRID_FEET: Final = 10.0  # neighbours get the same points, so that no gap is between them
_TOLERANCE_FEET: Final = 120.0  # corners of a smaller area's square are cut
_ID: Final = "LocationID"


def parse(where: str, content: bytes) -> ZoneMap:
    """Map of the zones in the bytes of TLC's zip; `where` they come from stands in the error.

    Raises
    ------
    TripSchemaError
        When they are not such a zip, or take too long.
    """
    too_large = ZoneMap(problem=f"more than {MOST_BYTES:,} bytes")
    found = too_large if len(content) > MOST_BYTES else _ask(content)
    if found.problem:
        raise TripSchemaError(
            f"{where}: expected TLC's zones as a shapefile in a zip, with the column {_ID}, and at least "
            f"{_FEWEST} ids from 1 to {ZONES}; got {content[:20]!r} ({found.problem}). Put TLC's there."
        )
    return found


def as_json(found: ZoneMap) -> dict[str, Any]:
    """A map as JSON."""
    return asdict(found)


def from_json(value: dict[str, Any]) -> ZoneMap:
    """A map that `as_json` wrote.

    Raises
    ------
    KeyError, TypeError, ValueError, AttributeError
        When it is none.
    """
    shapes = {int(zone): ZoneShape(**shape) for zone, shape in value["shapes"].items()}
    return ZoneMap(value["width"], value["height"], shapes, value["problem"])


def _ask(content: bytes) -> ZoneMap:
    """The map that a process of its own makes of a zip, or why it makes none."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PATH") if name in os.environ}
    alone = {"PYTHONPATH": str(PROJECT), "OPENBLAS_NUM_THREADS": "1"}  # each thread would take memory
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "mlops.data.zone_shapefile"], input=content, capture_output=True, check=False,
            timeout=MOST_SECONDS, cwd=PROJECT, env={**kept, **alone}, start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return ZoneMap(problem=f"it takes longer than {MOST_SECONDS:g} s")
    try:
        return from_json(json.loads(ended.stdout))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ZoneMap(problem=f"the process that reads it ended with status {ended.returncode}")


def main() -> None:
    """Read a zip from stdin, and write its map to stdout as JSON."""
    _limit()
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for the result only
        found = attempt(sys.stdin.buffer.read())
    sys.stdout.write(json.dumps(as_json(found)))


def attempt(content: bytes) -> ZoneMap:
    """The map of a zip, made in this process, or why there is none."""
    try:
        return zone_map.draw(_simplified(_polygons(content)))
    except Exception as error:  # whatever libraries raise for bytes that anybody may have made
        return ZoneMap(problem=one_line(f"{type(error).__name__}: {error}", 150))


def _limit() -> None:
    """Limit memory and time of this process, also for when its parent is gone."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # not on every system
        import resource

        seconds = int(MOST_SECONDS) + 1
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        os.nice(5)  # whoever asks for a prediction comes first


def _polygons(content: bytes) -> dict[int, list[Any]]:
    """Shapes of each zone, in feet; some zones have several."""
    import shapefile
    import shapely

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {kind: io.BytesIO(_unpacked(archive, f".{kind}")) for kind in ("shp", "dbf")}
    found: dict[int, list[Any]] = defaultdict(list)
    points = rings = 0
    with shapefile.Reader(**files) as reader:
        for each in reader.iterShapeRecords(fields=[_ID]):
            points, rings = points + len(each.shape.points), rings + len(each.shape.parts)
            if points > _MOST_POINTS or rings > _MOST_RINGS:
                raise ValueError(f"more than {_MOST_POINTS:,} points or {_MOST_RINGS:,} rings")
            polygon = shapely.geometry.shape(each.shape.__geo_interface__)
            found[int(each.record[_ID])].append(_checked(polygon))
    if len(found) < _FEWEST or not 1 <= min(found) <= max(found) <= ZONES:
        raise ValueError(
            f"{len(found)} zones with ids from {min(found, default=0)} to {max(found, default=0)}"
        )
    return found


def _unpacked(archive: zipfile.ZipFile, ending: str) -> bytes:
    """The only file in the zip with a name that ends so."""
    names = [each for each in archive.infolist() if each.filename.lower().endswith(ending)]
    if len(names) != 1:
        raise ValueError(f"{len(names)} files that end with {ending}")
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
    if not max(map(abs, polygon.bounds)) < _MOST_FEET:
        raise ValueError(f"coordinates that are no feet in New York: {polygon.bounds}")
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


if __name__ == "__main__":
    main()
