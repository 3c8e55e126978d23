"""Names of zones: TLC's table is read, anything else is refused, and names are found as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops.data import zones
from mlops.data.sources import open_source
from mlops.data.synthetic.city import ZONES, city
from mlops.data.zones import ZoneNames
from mlops.errors import DownloadError, TripSchemaError

HEAD = "LocationID,Borough,Zone,service_zone\n"
NAMES = {
    1: "Newark Airport",
    56: "Corona",
    57: "Corona",
    132: "JFK Airport",
    103: "Governor's Island/Ellis Island",
}
NAMES |= {230: "Times Sq/Theatre District", 265: "Outside of NYC", 173: "North Corona"}


def table(names: dict[int, str] | None = None) -> str:
    named = {number: f"Zone {number}" for number in range(1, 266)} | NAMES if names is None else names
    return HEAD + "".join(f'{number},Queens,"{name}",Boro Zone\n' for number, name in named.items())


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Folder of months, beside TLC's table."""
    (tmp_path / "trip-data").mkdir()
    (tmp_path / "misc").mkdir()
    (tmp_path / "misc" / zones.FILE).write_text(table(), encoding="utf-8")
    return tmp_path / "trip-data"


@pytest.fixture
def known(site: Path, tmp_path: Path) -> ZoneNames:
    return zones.fetch(open_source(str(site)), tmp_path / "kept" / zones.FILE)


def test_the_table_is_fetched_and_kept(known: ZoneNames, tmp_path: Path) -> None:
    assert len(known.ids) == 264, "two zones share a name"
    assert known.problem == ""
    assert zones.read(tmp_path / "kept" / zones.FILE) == known


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("JFK Airport", 132),
        ("  jfk   AIRPORT ", 132),
        ("Corona", 56),
        ("Times Sq / Theatre District", 230),
        ("Governor\u2019s Island/Ellis Island", 103),
        ("\uff2a\uff26\uff2b Airport", 132),
        ("JFK", None),
        ("132", None),
        ("", None),
        ("!?", None),
    ],
)
def test_a_name_as_people_write_it(known: ZoneNames, name: str, number: int | None) -> None:
    assert known.id_of(name) == number


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("JFK", ("JFK Airport",)),
        ("Newark Airprot", ("Newark Airport", "JFK Airport")),
        ("corona park", ("Corona", "North Corona")),
        ("Gotham", ()),
        ("", ()),
    ],
)
def test_names_that_may_be_meant(known: ZoneNames, name: str, near: tuple[str, ...]) -> None:
    assert known.near(name, most=2) == near


@pytest.mark.parametrize(
    ("content", "reported"),
    [
        ("", "got b'' (0 zones with ids from 0 to 0). Put TLC's table there."),
        ("<html><body>moved</body></html>", "got b'<html><body>moved</body></html>' (0 zones"),
        (HEAD + "one,Queens,Harlem,Boro\n", "invalid literal for int() with base 10: 'one'"),
        (HEAD + "1\n", "NoneType"),
        (table({1: "Newark Airport"}), "(1 zones with ids from 1 to 1)"),
        (table({number: f"Zone {number}" for number in range(300)}), "(300 zones with ids from 0 to 299)"),
    ],
)
def test_what_is_no_table_is_refused(site: Path, tmp_path: Path, content: str, reported: str) -> None:
    (site.parent / "misc" / zones.FILE).write_text(content)
    with pytest.raises(TripSchemaError) as refused:
        zones.fetch(open_source(str(site)), tmp_path / zones.FILE)
    assert str(refused.value).startswith(f"{site}/../misc/taxi_zone_lookup.csv: expected ")
    assert reported in str(refused.value)
    assert not (tmp_path / zones.FILE).exists()


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / zones.FILE).write_bytes(b"PAR1\xff\xfe")
    with pytest.raises(TripSchemaError, match="got b'PAR1"):
        zones.read(tmp_path / zones.FILE)


def test_a_table_that_does_not_end_is_refused(site: Path, tmp_path: Path) -> None:
    with (site.parent / "misc" / zones.FILE).open("a") as file:
        file.writelines(["1,Queens,Newark Airport,EWR\n"] * 60_000)
    with pytest.raises(DownloadError, match="expected at most 1,000,000 bytes; got "):
        zones.fetch(open_source(str(site)), tmp_path / zones.FILE)


def test_the_synthetic_city_has_a_name_for_each_zone() -> None:
    names = zones.of_city()
    assert sorted(names.ids.values()) == list(range(1, ZONES + 1))
    assert [name for name in names.ids if name.endswith("Airport")] == [
        "South-East Airport",
        "North-East Airport",
    ]
    assert (names.id_of("south-east airport"), names.id_of("North-East Airport")) == (132, 138)
    central = {names.id_of(name) for name in names.ids if name.startswith("Centre ")}
    assert central == {number for number, is_central in enumerate(city().central, 1) if is_central}


def test_real_table(tlc_months: Path) -> None:
    known = zones.read(tlc_months.parent / "misc" / zones.FILE)
    assert (known.id_of("JFK Airport"), known.id_of("Outside of NYC")) == (132, 265)
