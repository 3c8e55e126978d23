"""TLC's map is made once and kept; the city's is made of what it knows."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.zone_zips import SHAPES, publish, zone_zip

from mlops.data import zone_shapefile, zone_shapes
from mlops.data.sources import open_source
from mlops.data.synthetic.city import ZONES
from mlops.data.zone_map import ZoneMap
from mlops.errors import DownloadError, TripSchemaError


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the zips of which a map was made; in this process, since another one takes half a second."""
    sizes: list[int] = []

    def attempt(content: bytes) -> ZoneMap:
        sizes.append(len(content))
        return zone_shapefile.attempt(content)

    monkeypatch.setattr(zone_shapefile, "_ask", attempt)
    return sizes


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Folder of months, beside TLC's zip."""
    (tmp_path / "trip-data").mkdir()
    (tmp_path / "misc").mkdir()
    publish(tmp_path / "misc")
    return tmp_path / "trip-data"


def fetched(site: Path) -> ZoneMap:
    return zone_shapes.fetch(open_source(str(site)), *places(site))


def read(site: Path) -> ZoneMap:
    return zone_shapes.read(*places(site))


def places(site: Path) -> tuple[Path, Path]:
    """Where a copy of the zip is kept, and its map."""
    kept = site.parent / "kept"
    return kept / zone_shapes.FILE, kept / zone_shapes.KEPT


def test_the_map_is_made_once_and_kept(site: Path, made: list[int]) -> None:
    found = fetched(site)
    assert set(found.shapes) == set(SHAPES)
    assert read(site) == read(site) == found
    assert len(made) == 1


@pytest.mark.parametrize("damage", ["", "{}", "[]", '{"format": 1', '{"format": 0}', "\0"])
def test_a_kept_map_that_is_damaged_is_made_again(damage: str, site: Path, made: list[int]) -> None:
    found = fetched(site)
    _, kept = places(site)
    before = kept.read_text()
    kept.write_text(damage)
    assert read(site) == found
    assert kept.read_text() == before
    assert len(made) == 2


@pytest.mark.parametrize(
    "change", [{"format": zone_shapes.FORMAT + 1}, {"sha256_of_zip": "ab"}, {"map": {"shapes": 7}}]
)
def test_a_kept_map_of_another_zip_or_format_is_made_again(
    change: dict[str, object], site: Path, made: list[int]
) -> None:
    found = fetched(site)
    _, kept = places(site)
    kept.write_text(json.dumps({**json.loads(kept.read_text()), **change}))
    assert read(site) == found
    assert len(made) == 2


def test_another_zip_gets_another_map(site: Path) -> None:
    fetched(site)
    path, _ = places(site)
    path.write_bytes(zone_zip({number: parts for number, parts in SHAPES.items() if number < 250}))
    assert max(read(site).shapes) == 249


def test_what_is_no_zip_is_refused_and_not_kept(site: Path) -> None:
    publish(site.parent / "misc", b"<html>")
    with pytest.raises(TripSchemaError) as refused:
        fetched(site)
    assert str(refused.value).startswith(
        f"{site}/../misc/taxi_zones.zip: expected TLC's zones as a shapefile"
    )
    assert not any(each.exists() for each in places(site))


def test_a_zip_that_does_not_end_is_refused(site: Path, made: list[int]) -> None:
    os.truncate(site.parent / "misc" / zone_shapes.FILE, 10_000_001)
    with pytest.raises(DownloadError, match=r"taxi_zones\.zip: expected at most 10,000,000 bytes; got 10,"):
        fetched(site)
    assert not made


def test_a_copy_that_does_not_end_is_refused(site: Path, made: list[int]) -> None:
    path, _ = places(site)
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(TripSchemaError, match=r"\(more than 10,000,000 bytes\)"):
        read(site)
    assert not made


def test_the_synthetic_city_has_a_shape_for_each_zone() -> None:
    found = zone_shapes.of_city()
    assert list(found.shapes) == list(range(1, ZONES + 1))
    assert found.problem == ""
    assert sum(len(each.path) for each in found.shapes.values()) < 60_000
