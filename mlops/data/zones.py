"""Names and boroughs of zones, for people who do not know TLC's ids.

TLC publishes them as a table beside its months. The synthetic city has names and areas of its own.
"""

from __future__ import annotations

import csv
import difflib
import functools
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlops.data.synthetic.city import zone_areas, zone_names
from mlops.errors import DownloadError, TripSchemaError, one_line
from mlops.files import atomic_write

if TYPE_CHECKING:
    from mlops.data.sources import Source  # late at run time: it imports what asks other computers

FILE = "taxi_zone_lookup.csv"
AT_SOURCE = f"../misc/{FILE}"  # beside the folder of months
ZONES = 265  # TLC's largest id
MOST_BYTES = 1_000_000  # the table has 12,000
_ID, _NAME, _AREA = "LocationID", "Zone", "Borough"
_NO_AREA = {"N/A", "Unknown"}  # as TLC writes where a zone has no borough
_FEWEST = 200  # zones of a table that can be complete
_NEAR = 0.6  # similarity from which a name is shown as a near one


@dataclass(frozen=True)
class Zone:
    """A zone as people know it.

    Parameters
    ----------
    id : int
    name : str
    area : str
        Borough, or part of the synthetic city; empty for a zone outside of them.
    """

    id: int
    name: str
    area: str


@dataclass(frozen=True)
class ZoneNames:
    """The names of a city's zones.

    Parameters
    ----------
    ids : mapping of str to int
        Zone by name. Where zones share a name, as two called Corona do, it means the first: only that one is on
        TLC's map.
    problem : str
        Why no name is known; empty if names are.
    zones : tuple of Zone
        All zones in the order of their ids, also those that share a name.

    Examples
    --------
    >>> names = ZoneNames({"JFK Airport": 132, "Governor's Island/Ellis Island": 103})
    >>> names.id_of("jfk  airport"), names.id_of("Governor\u2019s Island / Ellis Island"), names.id_of("Gotham")
    (132, 103, None)
    >>> names.near("JFK")
    ('JFK Airport',)
    """

    ids: Mapping[str, int]
    problem: str = ""
    zones: tuple[Zone, ...] = ()
    _folded: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        folded: dict[str, str] = {}
        for name in self.ids:
            folded.setdefault(_fold(name), name)
        object.__setattr__(self, "_folded", folded)

    def id_of(self, name: str) -> int | None:
        """Id of the zone with this name, or None; case, spaces and punctuation do not count."""
        known = self._folded.get(_fold(name))
        return None if known is None else self.ids[known]

    def holding(self, part: str) -> tuple[str, ...]:
        """Names of which each word of `part` begins a word, in the order of their ids: "times sq" has one."""
        wanted = _fold(part)
        count = len(wanted.split())
        return tuple(name for each, name in self._folded.items() if _shared_words(wanted, each) == count > 0)

    def near(self, name: str, most: int = 3) -> tuple[str, ...]:
        """Names that may be meant by one that is not known, best first. It takes milliseconds."""
        wanted = _fold(name)
        shared = {each: _shared_words(wanted, each) for each in self._folded}
        most_words = max(shared.values(), default=0)
        holding = sorted(
            (each for each in shared if shared[each] == most_words > 0),
            key=lambda each: difflib.SequenceMatcher(None, wanted, each).ratio(), reverse=True,
        )  # fmt: skip
        alike = difflib.get_close_matches(wanted, self._folded, n=most, cutoff=_NEAR)
        return tuple(self._folded[each] for each in dict.fromkeys([*holding, *alike]))[:most]


@functools.cache
def of_city() -> ZoneNames:
    """Names of the synthetic city's zones."""
    found = zip(zone_names(), zone_areas(), strict=True)
    return _named([Zone(number, name, area) for number, (name, area) in enumerate(found, 1)])


def read(path: Path) -> ZoneNames:
    """Names from a copy of TLC's table.

    Raises
    ------
    TripSchemaError
        When it is not such a table.
    OSError
        When it cannot be read.
    """
    with path.open("rb") as file:
        return _parsed(str(path), file.read(MOST_BYTES + 1))


def fetch(source: Source, path: Path) -> ZoneNames:
    """Names from TLC's table at a source, which is stored at `path`.

    Raises
    ------
    DownloadError
        When the source does not deliver it.
    TripSchemaError
        When what it delivers is not such a table.
    OSError
        When it cannot be stored.
    """
    url, content = delivered(source, AT_SOURCE, MOST_BYTES)
    names = _parsed(url, content)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return names


def delivered(source: Source, name: str, most_bytes: int) -> tuple[str, bytes]:
    """Address and bytes of a small file at a source.

    Raises
    ------
    DownloadError
        When the source does not deliver it, or more than `most_bytes`.
    """
    url = f"{source.url}/{name}"

    def require_small(done: int, total: int | None) -> None:
        size = max(done, total or 0)
        if size > most_bytes:
            raise DownloadError(f"{url}: expected at most {most_bytes:,} bytes; got {size:,} or more")

    found = io.BytesIO()
    source.download(name, found, require_small)
    return url, found.getvalue()


def _parsed(where: str, content: bytes) -> ZoneNames:
    try:
        zones = _zones(csv.DictReader(io.StringIO(content.decode("utf-8-sig")), strict=True))
        first, last = (zones[0].id, zones[-1].id) if zones else (0, 0)
        why = f"{len(zones)} zones with ids from {first} to {last}"
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        zones, why = [], one_line(f"{type(error).__name__}: {error}", 80)
    names = _named(zones)
    if len(names.ids) < _FEWEST or not 1 <= zones[0].id <= zones[-1].id <= ZONES:
        raise TripSchemaError(
            f"{where}: expected TLC's table of zones, with the columns {_ID} and {_NAME}, and at least {_FEWEST} "
            f"ids from 1 to {ZONES}; got {content[:40]!r} ({why}). Put TLC's table there."
        )
    return names


def _named(zones: Iterable[Zone]) -> ZoneNames:
    """Names of these zones, which are in the order of their ids."""
    known = tuple(zones)
    ids: dict[str, int] = {}
    for zone in known:
        ids.setdefault(zone.name, zone.id)
    return ZoneNames(ids, zones=known)


def _zones(rows: Iterable[Mapping[str, str]]) -> list[Zone]:
    """Zones that have a name, in the order of their ids."""
    found = {int(row[_ID]): Zone(int(row[_ID]), row[_NAME].strip(), _area(row.get(_AREA))) for row in rows}
    return [found[number] for number in sorted(found) if found[number].name]


def _area(text: str | None) -> str:
    area = (text or "").strip()
    return "" if area in _NO_AREA else area


def _shared_words(wanted: str, known: str) -> int:
    """How many words of a name begin a word of a known one."""
    return sum(any(word.startswith(each) for word in known.split()) for each in wanted.split())


def _fold(name: str) -> str:
    """What counts of a name.

    Examples
    --------
    >>> _fold(" Governor\u2019s  Island/ELLIS Island ")
    'governors island ellis island'
    """
    plain = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(r"\W+", " ", re.sub("['\u2019`]", "", plain)).strip()
