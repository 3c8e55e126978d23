"""Names and shapes of zones are there when TLC is, and the service answers without them."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from support import zone_zips
from support.champions import clock

from mlops import config
from mlops.data import zone_shapefile, zone_shapes, zones
from mlops.data.sources import Source
from mlops.data.zone_map import ZoneMap
from mlops.serving import places
from mlops.serving.places import Places

TABLE = "LocationID,Borough,Zone,service_zone\n" + "".join(
    f"{n},Queens,Zone {n},Boro\n" for n in range(1, 266)
)


@pytest.fixture
def misc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of TLC's table at the source."""
    for name in ("misc", "trip-data"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(places, "SOURCE", str(tmp_path / "trip-data"))
    return tmp_path / "misc"


def publish(misc: Path, text: str = TABLE) -> None:
    (misc / zones.FILE).write_text(text)


def kept(known: Places, *services: str) -> None:
    """Keep names and shapes, and wait until they are fetched."""
    known.keep(services)
    for each in (known._names, known._map):
        if each.thread:
            each.thread.join()


def test_names_are_fetched_once_and_kept(misc: Path) -> None:
    publish(misc)
    known = Places()
    assert known.names("green").problem == "taxi_zone_lookup.csv is not read yet"
    kept(known, "green", "sample")
    assert known.names("green").id_of("zone 74") == known.names("yellow").id_of("Zone 74") == 74
    publish(misc, "")
    again = Places()
    kept(again, "green")
    assert again.names("green").id_of("Zone 74") == 74


def test_only_a_service_of_tlc_needs_its_table(misc: Path) -> None:
    publish(misc)
    known = Places()
    kept(known, "sample")
    assert known._names.thread is known._map.thread is None
    assert known.names("sample").id_of("South-East Airport") == 132


def test_a_source_that_fails_is_asked_again_later(misc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock(monkeypatch, places)
    known, tries = Places(), []
    for minute in range(16):
        before = known._names.thread
        kept(known, "green")
        tries += [minute] if known._names.thread is not before else []
        now[0] += 60.0
    assert tries == [0, 1, 3, 7, 15]
    problem = known.names("green").problem
    assert problem.startswith(f"{misc.parent}/trip-data/../misc/taxi_zone_lookup.csv: no such file")
    publish(misc)
    now[0] += places.LONGEST_PAUSE
    kept(known, "green")
    assert known.names("green").problem == ""


@pytest.mark.parametrize("content", ["", "<html>", "LocationID,Zone\n1,Newark Airport\n"])
def test_a_copy_that_is_damaged_is_fetched_again(misc: Path, content: str) -> None:
    publish(misc)
    copy = config.state().serving / zones.FILE
    copy.parent.mkdir(parents=True)
    copy.write_text(content)
    known = Places()
    kept(known, "green")
    assert known.names("green").id_of("Zone 74") == 74
    assert copy.read_text() == TABLE


def test_an_old_copy_is_used_until_the_new_one_is_there(misc: Path, caplog: pytest.LogCaptureFixture) -> None:
    copy = config.state().serving / zones.FILE
    copy.parent.mkdir(parents=True)
    copy.write_text(TABLE)
    past = time.time() - places.FRESH_SECONDS - 60
    os.utime(copy, (past, past))
    known = Places()
    kept(known, "green")
    assert known.names("green").id_of("Zone 74") == 74
    assert known.names("green").problem == ""
    (line,) = (each for each in caplog.messages if each.startswith("names of zones: "))
    assert "no such file" in line
    publish(misc, TABLE.replace("Zone 74", "Harlem"))
    again = Places()
    kept(again, "green")
    assert again.names("green").id_of("Harlem") == 74


# Shapes


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read zips here: a process takes half a second, and tests/unit/data/test_zone_shapefile.py has it."""
    monkeypatch.setattr(zone_shapefile, "_ask", zone_shapefile.attempt)


def test_shapes_are_fetched_and_kept_beside_the_names(misc: Path) -> None:
    zone_zips.publish(misc)
    known = Places()
    assert known.map("green").problem == "taxi_zones.zip is not read yet"
    kept(known, "green")
    assert set(known.map("yellow").shapes) == set(zone_zips.SHAPES)
    assert known.names("green").problem, "names are missing, and shapes are not"
    (misc / zone_shapes.FILE).unlink()
    again = Places()
    kept(again, "green")
    assert again.map("green") == known.map("green")
    assert again.map("green").problem == ""


def test_the_city_needs_nothing_of_tlc(misc: Path) -> None:
    known = Places()
    assert known.map("sample").problem == "the map is not made yet"
    kept(known, "sample")
    assert len(known.map("sample").shapes) == 263
    assert known._names.thread is known._map.thread is None


def test_a_copy_that_somebody_puts_there_is_read_without_a_restart(
    misc: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = Places()
    kept(known, "green")
    assert known.map("green").problem.startswith(
        f"{misc.parent}/trip-data/../misc/taxi_zones.zip: no such file"
    )
    place = config.state().serving
    place.mkdir(parents=True, exist_ok=True)
    zone_zips.publish(place, b"<html>")
    kept(known, "green")
    assert known.map("green").problem.startswith(
        f"{place}/taxi_zones.zip: expected TLC's zones as a shapefile"
    )
    kept(known, "green")
    assert sum(each.startswith("shapes of zones: ") for each in caplog.messages) == 2, "it is read once"
    zone_zips.publish(place)
    kept(known, "green")
    assert known.map("green").problem == ""
    assert (place / zone_shapes.KEPT).exists()


def test_shapes_that_are_known_stay_while_the_source_is_away(misc: Path) -> None:
    zone_zips.publish(misc)
    kept(Places(), "green")
    (misc / zone_shapes.FILE).unlink()
    copy = config.state().serving / zone_shapes.FILE
    past = time.time() - places.FRESH_SECONDS - 60
    os.utime(copy, (past, past))
    known = Places()
    kept(known, "green")
    assert set(known.map("green").shapes) == set(zone_zips.SHAPES)


def test_nobody_waits_for_a_source_that_does_not_answer(misc: Path) -> None:
    answered = threading.Event()

    def fetch(source: Source, path: Path) -> ZoneMap:
        assert answered.wait(60)
        return ZoneMap(1, 1)

    slow = places._File("slow.zip", "shapes", places._no_map, places._read_map, fetch)
    started = time.monotonic()
    slow.keep()
    slow.keep()
    assert time.monotonic() - started < 5
    assert slow.found.problem == "slow.zip is not read yet"
    answered.set()
    assert slow.thread
    slow.thread.join(60)
    assert slow.found == ZoneMap(1, 1)
