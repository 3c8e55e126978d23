"""Zips of zones like TLC's, with squares as zones."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import shapefile

SIDE = 5_000.0  # feet
ROW = 17  # zones
Ring = Sequence[tuple[float, float]]

SHAPES: dict[int, list[list[Ring]]]
"""Rings of each shape of a zone, by its id."""


def square(number: int, side: float = SIDE) -> Ring:
    """The square of a zone, clockwise as in a shapefile; it shares its sides with its neighbours."""
    x, y = SIDE * (number % ROW), SIDE * (number // ROW)
    return [(x, y), (x, y + side), (x + side, y + side), (x + side, y), (x, y)]


SHAPES = {number: [[square(number)]] for number in range(1, 264) if number not in (57, 104, 105)}


def members(
    shapes: Mapping[int, Sequence[Sequence[Ring]]] = SHAPES, column: str = "LocationID"
) -> dict[str, bytes]:
    """Files of a shapefile, by their names as TLC gives them."""
    files = {kind: io.BytesIO() for kind in ("shp", "shx", "dbf")}
    with shapefile.Writer(**files, shapeType=shapefile.POLYGON) as writer:
        writer.field(column, "N", 9)
        for number, parts in shapes.items():
            for rings in parts:
                writer.poly([list(ring) for ring in rings])
                writer.record(number)
        writer.close()
    return {f"taxi_zones.{kind}": file.getvalue() for kind, file in files.items()}


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip of these files."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def zone_zip(shapes: Mapping[int, Sequence[Sequence[Ring]]] = SHAPES, column: str = "LocationID") -> bytes:
    """A zip as TLC publishes it."""
    return zipped(members(shapes, column))


def publish(misc: Path, content: bytes | None = None) -> bytes:
    """Put a zip where a source has it; its bytes."""
    content = zone_zip() if content is None else content
    (misc / "taxi_zones.zip").write_bytes(content)
    return content
