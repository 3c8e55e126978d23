"""Which month is compared, which versions served, and which months came before: fetched and cleaned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlops.data.trips import Quality
from mlops.month import Month
from mlops.registry.signed_version import Version


@dataclass(frozen=True)
class Prepared:
    """A published month on this machine, cleaned with the usual rules.

    Parameters
    ----------
    month : Month
    raw, clean : Path
        The file as published, and its clean trips (`data.trips.TRIP_SCHEMA`).
    sha256 : str
        Of the published file.
    label : str
        Its address for messages, without credentials.
    quality : Quality
        Trips kept and rejected.
    """

    month: Month
    raw: Path
    clean: Path
    sha256: str
    label: str
    quality: Quality


@dataclass(frozen=True)
class Watched:
    """What is compared with what.

    Parameters
    ----------
    name : str
        Registered model, as ``trip-duration-green``.
    service : str
    now : Prepared
        The month that is compared.
    before : tuple of Prepared
        Months before it, oldest first, for drift; perhaps none. Months whose data had a fault are left out.
    promised : Prepared or None
        The champion's test month, on which it was judged; None if the source no longer has it.
    champion : Version
        The version that served when `now` was published: its test month is before `now`.
    predecessor : Version or None
        The champion before it, if it still exists and was not itself rolled back.
    no_predecessor : str
        Why there is none, as a sentence; empty if there is one.
    """

    name: str
    service: str
    now: Prepared
    before: tuple[Prepared, ...]
    promised: Prepared | None
    champion: Version
    predecessor: Version | None
    no_predecessor: str = ""

    @property
    def month(self) -> Month:
        """The month that is compared."""
        return self.now.month
