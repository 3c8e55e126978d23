"""Which month comes next: what the registry has judged says so, not the date.

So a month that is published late, a week of downtime or a storm of catch-up
runs skips nothing and trains nothing twice.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from mlops import registry, runs
from mlops.config import Settings
from mlops.errors import ConfigError
from mlops.month import Month
from mlops.registry import Version

REPUBLISHED = "republished"  # tag of a version whose months have been published anew since, with what changed


def waiting_for(judged: Collection[Month], start: Month | None, end: Month | None) -> Month | None:
    """The month to judge next; None when all up to `end` are judged.

    Parameters
    ----------
    judged : collection of Month
        Test months of the versions there are.
    start, end : Month or None
        Without an end it is the month after the newest judged one, and `start` where none is. With one it is the
        first of this range that is not judged.

    Raises
    ------
    ConfigError
        When there is nothing to begin with.

    Examples
    --------
    >>> waiting_for({Month(2023, 4), Month(2023, 6)}, Month(2023, 4), None)
    Month('2023-07')
    >>> waiting_for({Month(2023, 4), Month(2023, 6)}, Month(2023, 4), Month(2023, 7))
    Month('2023-05')
    """
    if start and end:
        return next((month for month in Month.range(start, end) if month not in judged), None)
    if judged:
        return max(judged) + 1
    if start is None:
        raise ConfigError(
            "start_month: no month is judged yet; expected the first test month, YYYY-MM, beside month=next; "
            "got nothing"
        )
    return start


def next_month(name: str, settings: Settings) -> Month | None:
    """The month that a registered model waits for under these settings.

    Raises
    ------
    ConfigError
        As `waiting_for`.
    """
    start, end = (month and Month.parse(month) for month in (settings.start_month, settings.end_month))
    return waiting_for(judged(name), start or None, end or None)


def judged(name: str) -> dict[Month, list[Version]]:
    """Versions of a registered model by the month that they were judged on, oldest first."""
    found: dict[Month, list[Version]] = {}
    for version in registry.versions(name):
        if version.is_settled and version.tags.get("test_month"):
            found.setdefault(Month.parse(version.tags["test_month"]), []).append(version)
    return found


def likely_model(settings: Settings) -> str:
    """The registered model that the settings' months train, as far as can be told before they are opened."""
    real, sample = (registry.model_name(settings.service, sample=kind) for kind in (False, True))
    if settings.source == "sample":
        return sample
    return sample if not registry.versions(real) and registry.versions(sample) else real


def is_current(versions: Collection[Version], files: Mapping[str, str]) -> bool:
    """Whether one of a month's versions was made from these bytes, as far as it used the same months.

    Parameters
    ----------
    files : mapping
        Month (YYYY-MM) to the sha256 of its file at the source now.
    """
    return any(not _changed(version, files) for version in versions)


def tag_republished(name: str, files: Mapping[str, str], differences: Mapping[str, str]) -> list[Version]:
    """Versions that used other bytes of a month than are published now, tagged with what changed.

    Parameters
    ----------
    differences : mapping
        Months that were published anew, and how, in words.
    """
    tagged = []
    for version in filter(lambda version: version.is_settled, registry.versions(name)):
        told = "; ".join(
            f"{month}: {differences[month]}" for month in _changed(version, files) if month in differences
        )
        if told and version.tags.get(REPUBLISHED) != told:
            tagged.append(registry.tag(version, {REPUBLISHED: told}))
    return tagged


def _changed(version: Version, files: Mapping[str, str]) -> list[str]:
    """Months of which the version's run had other bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = runs.fetch_artefact(version.run_id, "months.csv", Path(folder))
        used = pd.read_csv(path, dtype=str).set_index("month")["sha256"]
    return [str(month) for month, sha256 in used.items() if files.get(str(month), sha256) != sha256]
