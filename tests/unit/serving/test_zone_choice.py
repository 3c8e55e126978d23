"""A zone from what a person writes: id, name, or a part that only one name has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.failures import closed_port

from mlops import config
from mlops.data import zones
from mlops.data.zones import ZoneNames
from mlops.errors import ConfigError, MlopsError
from mlops.serving import zone_choice
from mlops.serving.zone_choice import Zone, choose, names_for

TIMES = "Times Sq/Theatre District"
NAMES = ZoneNames(
    {
        "Newark Airport": 1,
        "Central Park": 43,
        "Corona": 56,
        "East Village": 79,
        "JFK Airport": 132,
        "LaGuardia Airport": 138,
        TIMES: 230,
        "Greenwich Village North": 113,
        "Greenwich Village South": 114,
    }
)
UNKNOWN = ZoneNames({}, "the table is not there")


def refused(text: str, names: ZoneNames = NAMES, kind: type[Exception] = ConfigError) -> str:
    with pytest.raises(kind) as error:
        choose("--from", text, names)
    assert type(error.value) is kind
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("132", Zone(132, "JFK Airport")),
        (" 0132 ", Zone(132, "JFK Airport")),
        ("57", Zone(57, "")),
        ("jfk  AIRPORT", Zone(132, "JFK Airport")),
        ("East Village", Zone(79, "East Village")),
        ("times sq", Zone(230, TIMES, f"--from: 'times sq' is taken as {TIMES}")),
        ("district tim", Zone(230, TIMES, f"--from: 'district tim' is taken as {TIMES}")),
        ("jfk", Zone(132, "JFK Airport", "--from: 'jfk' is taken as JFK Airport")),
    ],
)  # fmt: skip
def test_an_id_a_name_and_a_part_that_only_one_name_has(text: str, zone: Zone) -> None:
    assert choose("--from", text, NAMES) == zone


def test_how_a_zone_is_shown() -> None:
    assert (str(Zone(132, "JFK Airport")), str(Zone(57, ""))) == ("JFK Airport (132)", "zone 57")


@pytest.mark.parametrize("text", ["0", "266", "99999999999999999999"])
def test_an_id_that_is_none_is_refused_with_the_ids_that_there_are(text: str) -> None:
    assert refused(text) == f"--from: expected a zone's id from 1 to 265, or its name; got {text}"


def test_a_part_of_several_names_is_refused_with_these_names() -> None:
    assert refused("airport") == (
        "--from: expected one zone; 'airport' is a part of 3 names: Newark Airport (1), JFK Airport (132), "
        "LaGuardia Airport (138)"
    )
    many = ZoneNames({f"Zone {number}": number for number in range(1, 10)})
    assert refused("zone", many).endswith("Zone 5 (5), Zone 6 (6) and 3 more")


def test_a_name_that_nothing_has_is_refused_with_the_nearest() -> None:
    assert refused("Cetral Prk") == (
        "--from: expected a zone's id or name; no zone is called 'Cetral Prk'; did you mean Central Park (43)?"
    )
    assert refused("xyzzy").endswith("no zone is called 'xyzzy'; give its id or its name")
    assert refused(" ") == "--from: expected a zone's id or name; got nothing"
    assert refused("-5").startswith("--from: expected a zone's id or name; no zone is called '-5'")


def test_without_names_an_id_still_works_and_a_name_says_what_to_do() -> None:
    assert choose("--from", "132", UNKNOWN) == Zone(132, "")
    assert refused("JFK", UNKNOWN, MlopsError) == (
        "--from: names of zones are not known here (the table is not there). Give the zone's id, or put TLC's "
        f"table there: {config.state().serving / zones.FILE}"
    )


# --- Where names come from ----------------------------------------------------------------------------------


def table(path: Path) -> Path:
    """TLC's table with made-up names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f'{number},"Queens","Zone {number}","Boro Zone"' for number in range(1, 266)]
    path.write_text("\n".join(['"LocationID","Borough","Zone","service_zone"', *rows]))
    return path


def test_names_come_from_the_copy_and_are_fetched_once_when_a_name_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "trip-data"
    source.mkdir()
    fetched_from = table(tmp_path / "misc" / zones.FILE)
    monkeypatch.setattr(zone_choice, "SOURCE", str(source))
    kept = config.state().serving / zones.FILE
    assert names_for("green", is_needed=False).problem == f"{kept} is not there"
    assert not kept.exists()
    assert names_for("green", is_needed=True).ids["Zone 7"] == 7
    assert kept.read_bytes() == fetched_from.read_bytes()
    shutil.rmtree(fetched_from.parent)
    assert names_for("green", is_needed=True).ids["Zone 7"] == 7
    assert names_for("green", is_needed=False).ids["Zone 7"] == 7


def test_a_source_that_is_away_is_a_reason_and_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_port() as port:
        monkeypatch.setattr(zone_choice, "SOURCE", f"http://127.0.0.1:{port}/trip-data")
        monkeypatch.setattr("mlops.data.retries.BACKOFF_SECONDS", 0.01)
        found = names_for("yellow", is_needed=True)
    assert found.ids == {}
    assert f"127.0.0.1:{port}" in found.problem
    assert not (config.state().serving / zones.FILE).exists()


def test_a_file_that_is_no_table_is_a_reason() -> None:
    path = config.state().serving / zones.FILE
    path.parent.mkdir(parents=True)
    path.write_text("<html>")
    for is_needed in (True, False):
        assert names_for("green", is_needed=is_needed).problem.startswith(
            f"{path}: expected TLC's table of zones"
        )


def test_the_synthetic_city_needs_no_table() -> None:
    assert names_for("sample", is_needed=True).ids["North 1"] == 12
