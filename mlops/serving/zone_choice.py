"""A zone as a person writes it on the command line: its id, its name, or a part that only one name has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlops import config
from mlops.config import SERVICES
from mlops.data import zones
from mlops.data.zones import ZoneNames
from mlops.errors import ConfigError, MlopsError, one_line

SOURCE: Final = "tlc"
MOST_SHOWN: Final = 6  # names that an error lists


@dataclass(frozen=True)
class Zone:
    """A zone that a person chose.

    Parameters
    ----------
    id : int
    name : str
        Empty if names are not known here.
    note : str
        How the text was understood, if it is neither the id nor the whole name; else empty.
    """

    id: int
    name: str
    note: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.id})" if self.name else f"zone {self.id}"


def names_for(service: str, *, is_needed: bool) -> ZoneNames:
    """Names of a service's zones: from the copy in the state folder, which the service uses, too.

    Parameters
    ----------
    service : str
        ``sample`` has the zones of the synthetic city, which need no file.
    is_needed : bool
        Whether the table is fetched from TLC, and kept, where there is no copy; with ids alone nothing is fetched.

    Returns
    -------
    ZoneNames
        Without names, `problem` says why.
    """
    if service not in SERVICES:
        return zones.of_city()
    path = config.state().serving / zones.FILE
    try:
        if is_needed and not path.exists():
            return _fetch(path)
        return zones.read(path)
    except FileNotFoundError:
        return ZoneNames({}, f"{path} is not there")
    except (MlopsError, OSError) as error:
        return ZoneNames({}, one_line(error, 300))


def _fetch(path: Path) -> ZoneNames:
    from mlops.data.sources import open_source  # here: it imports what asks other computers

    return zones.fetch(open_source(SOURCE), path)


def is_id(text: str) -> bool:
    """Whether a text is the id of a zone, and no name."""
    return text.strip().isascii() and text.strip().isdecimal()


def choose(option: str, text: str, names: ZoneNames, largest: int = zones.ZONES) -> Zone:
    """The zone that a text means.

    Parameters
    ----------
    option : str
        Name of the option, for errors.
    text : str
    names : ZoneNames
    largest : int
        Largest id; others are no zones.

    Raises
    ------
    ConfigError
        When it is no zone, or a part of several names; the message says what is near.
    MlopsError
        When it is a name, and names are not known here.

    Examples
    --------
    >>> known = ZoneNames({"JFK Airport": 132, "LaGuardia Airport": 138, "Times Sq/Theatre District": 230})
    >>> choose("--from", "132", known)
    Zone(id=132, name='JFK Airport', note='')
    >>> choose("--to", "times sq", known).note
    "--to: 'times sq' is taken as Times Sq/Theatre District"
    """
    if is_id(text):
        return _of_id(option, text, names, largest)
    if not text.strip():
        raise ConfigError(f"{option}: expected a zone's id or name; got nothing")
    if names.problem:
        raise MlopsError(
            f"{option}: names of zones are not known here ({names.problem}). Give the zone's id, or put TLC's "
            f"table there: {config.state().serving / zones.FILE}"
        )
    known = names.id_of(text)
    if known is not None:
        return Zone(known, _name(known, names))
    found = names.holding(text)
    if len(found) == 1:
        return Zone(names.ids[found[0]], found[0], f"{option}: {text.strip()!r} is taken as {found[0]}")
    raise ConfigError(f"{option}: {_refusal(text, found, names)}")


def _of_id(option: str, text: str, names: ZoneNames, largest: int) -> Zone:
    number = int(text) if len(text) < 10 else 0
    if not 1 <= number <= largest:
        raise ConfigError(f"{option}: expected a zone's id from 1 to {largest}, or its name; got {text}")
    return Zone(number, _name(number, names))


def _name(number: int, names: ZoneNames) -> str:
    return next((name for name, known in names.ids.items() if known == number), "")


def _refusal(text: str, found: tuple[str, ...], names: ZoneNames) -> str:
    if found:
        shown = ", ".join(f"{name} ({names.ids[name]})" for name in found[:MOST_SHOWN])
        more = f" and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""
        return f"expected one zone; {text.strip()!r} is a part of {len(found)} names: {shown}{more}"
    near = " or ".join(f"{name} ({names.ids[name]})" for name in names.near(text))
    hint = f"did you mean {near}?" if near else "give its id or its name"
    return f"expected a zone's id or name; no zone is called {one_line(text, 60)!r}; {hint}"
