"""TLC's zip of zones becomes a map, and any other zip a clear error, soon."""

from __future__ import annotations

import re
import struct
import time
from pathlib import Path

import pytest
from support.zone_zips import SHAPES, SIDE, Ring, members, square, zipped, zone_zip

from mlops.data import zone_shapefile
from mlops.errors import TripSchemaError

SHP, DBF = "taxi_zones.shp", "taxi_zones.dbf"


def test_each_zone_gets_a_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    found = zone_shapefile.parse("here", zone_zip())
    assert set(found.shapes) == set(SHAPES)
    assert (found.width, found.problem) == (4_000, "")
    assert zone_shapefile.from_json(zone_shapefile.as_json(found)) == found
    assert found == zone_shapefile.attempt(zone_zip()), "the same in a process of its own"


def test_shapes_of_one_zone_are_one() -> None:
    """Zone 56 has two shapes side by side, which become one, and zone 103 has islands."""
    right = [(x + SIDE, y) for x, y in square(56)]
    far = [(x + 90 * SIDE, y) for x, y in square(103)]
    near = zone_shapefile.attempt(
        zone_zip({**SHAPES, 56: [[square(56)], [right]], 103: [[square(103)], [far]]})
    )
    assert near.shapes[56].path.count("M") == 1
    assert near.shapes[103].path.count("M") == 2


def test_an_island_that_cannot_be_seen_is_left_out_but_never_a_zone() -> None:
    tiny = [(x + 40 * SIDE, y) for x, y in square(7, side=20.0)]
    only = [(x + 45 * SIDE, y) for x, y in square(8, side=20.0)]
    found = zone_shapefile.attempt(zone_zip({**SHAPES, 7: [[square(7)], [tiny]], 8: [[only]]}))
    assert found.shapes[7].path.count("M") == 1
    assert found.shapes[8].path.startswith("M")
    assert found.shapes[8].path.endswith("z")


def test_a_hole_is_not_filled() -> None:
    """It runs the other way round, so that a page does not fill it."""
    x, y = square(9)[0]
    hole: Ring = [
        (x + a, y + b) for a, b in ((1000, 1000), (3000, 1000), (3000, 3000), (1000, 3000), (1000, 1000))
    ]
    path = zone_shapefile.attempt(zone_zip({**SHAPES, 9: [[square(9), hole]]})).shapes[9].path
    outer, inner = (_area(each) for each in re.findall(r"M[^M]+z", path))
    assert outer * inner < 0
    assert abs(inner) < abs(outer)


def test_corners_that_cannot_be_seen_are_cut_and_neighbours_still_fit() -> None:
    """Both zones have the same 500 steps of 20 feet on their common side."""
    (left, low), *_ = square(20)
    common = [(left + SIDE + 20 * (step % 2), low + SIDE * step / 500) for step in range(501)]
    west: Ring = [(left, low), (left, low + SIDE), *reversed(common), (left, low)]
    east: Ring = [*common, (left + 2 * SIDE, low + SIDE), (left + 2 * SIDE, low), common[0]]
    found = zone_shapefile.attempt(zone_zip({**SHAPES, 20: [[west]], 21: [[east]]}))
    assert max(len(found.shapes[each].path) for each in (20, 21)) < 100
    assert _points(found.shapes[20].path) & _points(found.shapes[21].path)


def _points(path: str) -> set[tuple[int, int]]:
    return set(_drawn(path))


def _area(path: str) -> float:
    points = _drawn(path)
    pairs = zip(points, [*points[1:], points[0]], strict=True)
    return sum(x * b - a * y for (x, y), (a, b) in pairs) / 2


def _drawn(path: str) -> list[tuple[int, int]]:
    """Points of a path, as a browser reads it."""
    x = y = 0
    found = []
    for letter, text in re.findall(r"([Mlhv])([^Mlhvz]*)", path):
        numbers = [int(each) for each in re.findall(r"-?\d+", text)]
        steps = {
            "h": [(each, 0) for each in numbers], "v": [(0, each) for each in numbers],
        }.get(letter, list(zip(numbers[::2], numbers[1::2], strict=False)))  # fmt: skip
        for right, down in steps:
            x, y = (right, down) if letter == "M" else (x + right, y + down)
            found.append((x, y))
    return found


def changed(at: int, value: bytes) -> bytes:
    """A zip whose .shp has other bytes somewhere."""
    files = members()
    shp = bytearray(files[SHP])
    shp[at : at + len(value)] = value
    return zipped({**files, SHP: bytes(shp)})


def bad(number: int, ring: Ring) -> bytes:
    return zone_zip({**SHAPES, number: [[ring]]})


NAN = [(0.0, 0.0), (0.0, float("nan")), (9.0, 9.0), (0.0, 0.0)]
BOW: Ring = [(0, 0), (SIDE, SIDE), (SIDE, 0), (0, SIDE), (0, 0)]
FAR: Ring = [(0, 0), (0, 1e308), (1e308, 1e308), (1e308, 0), (0, 0)]
FLAT: Ring = [(5, 5), (5, 5), (5, 5), (5, 5)]
HOSTILE = {
    "empty": (b"", "BadZipFile: File is not a zip file"),
    "web page": (b"<html><body>moved</body></html>", "BadZipFile: File is not a zip file"),
    "truncated": (zone_zip()[:-9], "BadZipFile: File is not a zip file"),
    "another zip": (zipped({"../../etc/passwd": b"root"}), "0 files that end with .shp"),
    "two shapefiles": (zipped({**members(), "a/../../b.SHP": b""}), "2 files that end with .shp"),
    "bomb": (zipped({**members(), SHP: bytes(20_000_001)}), "taxi_zones.shp unpacks to more than 20,000,000 b"),
    "no column": (zone_zip(column="Zone"), "LocationID"),
    "few zones": (zone_zip({1: SHAPES[1]}), "1 zones with ids from 1 to 1"),
    "other ids": (zone_zip({each + 9: SHAPES[each] for each in SHAPES}), "260 zones with ids from 10 to 272"),
    "NaN": (bad(1, NAN), "invalid value encountered"),
    "infinite": (bad(1, FAR), "coordinates that are no feet in New York: (0.0, 0.0, 1e+308, 1e+308)"),
    "crossing sides": (bad(1, BOW), "a shape that cannot be drawn: Self-intersection"),
    "no area": (bad(1, FLAT), "a shape that cannot be drawn"),
    "billions of points": (changed(100 + 8 + 40, struct.pack("<i", 2**31 - 1)), "unpack requires a buffer"),
    "negative count": (changed(100 + 8 + 36, struct.pack("<i", -5)), "bad char"),
    "no shapefile": (zipped({**members(), SHP: b"PAR1" * 300}), "not equal to actual file size: 1200"),
    "short dbf": (zipped({**members(), DBF: members()[DBF][:300]}), "unpack requires a buffer"),
    "too large": (bytes(10_000_001), "more than 10,000,000 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_anything_else_is_refused_soon(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content, reported = HOSTILE[name]
    monkeypatch.setattr(zone_shapefile, "_ask", zone_shapefile.attempt)  # a process takes half a second
    started = time.monotonic()
    with pytest.raises(TripSchemaError) as refused:
        zone_shapefile.parse("/misc/taxi_zones.zip", content)
    assert time.monotonic() - started < 5
    text = str(refused.value)
    assert text.startswith(
        "/misc/taxi_zones.zip: expected TLC's zones as a shapefile in a zip, with the column LocationID, and at "
        "least 200 ids from 1 to 265; got b'"
    )
    assert text.endswith("). Put TLC's there.")
    assert reported in text


def combs(teeth: int) -> bytes:
    """A zip with a zone of two shapes that cross each other a million times and more."""
    wide = [(SIDE * step / teeth, SIDE * (step % 2)) for step in range(teeth + 1)]
    ring = [*wide, (SIDE, -1.0), (0.0, -1.0), wide[0]]
    return zone_zip({**SHAPES, 1: [[ring], [[(y, x) for x, y in ring]]]})


def test_a_zip_that_needs_hours_is_refused_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone_shapefile, "MOST_SECONDS", 2.0)
    started = time.monotonic()
    with pytest.raises(TripSchemaError, match=re.escape("(it takes longer than 2 s)")):
        zone_shapefile.parse("here", combs(100_000))
    assert time.monotonic() - started < 4


def test_a_process_that_is_killed_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone_shapefile.sys, "executable", "/bin/false")
    with pytest.raises(TripSchemaError, match=re.escape("(the process that reads it ended with status 1)")):
        zone_shapefile.parse("here", zone_zip())


def test_real_zip(tlc_months: Path) -> None:
    content = (tlc_months.parent / "misc" / "taxi_zones.zip").read_bytes()
    found = zone_shapefile.attempt(content)
    assert found.problem == ""
    assert set(found.shapes) == set(range(1, 264)) - {57, 104, 105}
    assert 0.9 < found.height / found.width < 1.1
    assert 50_000 < sum(len(each.path) for each in found.shapes.values()) < 100_000
    jfk, times_square, newark = (found.shapes[zone] for zone in (132, 230, 1))
    assert newark.x < times_square.x < jfk.x, "from west to east"
    assert times_square.y < newark.y < jfk.y, "from north to south"
    miles = 4_000 / 31  # units of a mile; the zones lie within 31 miles
    away = ((jfk.x - times_square.x) ** 2 + (jfk.y - times_square.y) ** 2) ** 0.5 / miles
    assert 11 < away < 15
    assert found.shapes[103].path.count("M") == 3, "Governor's, Ellis and Liberty Island"
