"""Find and delete old files that can be created again; champions and their evidence stay.

A file is recent, and stays, if it was written or read recently, or if a recent
run used it: runs log the sha256 of each of their months.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlops import config, mage
from mlops.config import Settings
from mlops.errors import BusyError, ConfigError, MlopsError, TrackingDownError, TrackingError
from mlops.operations.doctor import mage_database
from mlops.operations.retention import files, runs
from mlops.operations.retention.policy import ARTEFACTS, PASSING_DAYS, TRIALS, TRIED, Candidate, Wanted, old
from mlops.pipeline import checkpoint
from mlops.registry import client, experiments, run_lifecycle, versions

logger = logging.getLogger(__name__)

COLUMNS = {"kind": "object", "place": "object", "days": "float64", "megabytes": "float64"}


class Retention(BaseModel):
    """Settings of a cleanup."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep_days: int = Field(90, ge=1, description="days without use after which something is deleted")
    dry_run: bool = Field(False, description="only list what would be deleted")

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Retention:
        """Settings from names and values.

        Raises
        ------
        ConfigError
            For an unknown name or a bad value.

        Examples
        --------
        >>> Retention.parse({"keep_days": 0})
        Traceback (most recent call last):
            ...
        mlops.errors.ConfigError: keep_days: input should be greater than or equal to 1; got 0. \
Known settings: keep_days, dry_run
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            text = f"{first['loc'][0]}: {first['msg'][0].lower()}{first['msg'][1:]}; got {first['input']!r}"
            raise ConfigError(f"{text}. Known settings: {', '.join(cls.model_fields)}") from error


def from_mage(variables: Mapping[str, Any]) -> Retention:
    """Settings from the keyword arguments that Mage gives to a block, like `mage.from_mage` for a run."""
    return Retention.parse(mage.own_variables(variables))


def find_leftovers(retention: Retention) -> pd.DataFrame:
    """Everything that may be deleted, largest first.

    Returns
    -------
    DataFrame
        ``kind``, ``place`` (a path, or a run's id), ``days`` since its last use, ``megabytes``.
    """
    _connect()
    now = time.time()
    rows = [(c.kind, c.place, round(c.days(now), 1), c.bytes / 1e6) for c in _old(retention, now)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def delete_leftovers(found: pd.DataFrame, retention: Retention) -> pd.DataFrame:
    """Delete the leftovers, and count them by kind.

    They are looked up again under the models' locks. A leftover that was used in the meantime stays, and so does
    one of a model that another process works on.

    Returns
    -------
    DataFrame
        ``kind``, ``found``, ``deleted``, ``megabytes`` (deleted), ``oldest_days``.
    """
    gone: set[tuple[str, str]] = set()
    if not retention.dry_run:
        _connect()
        asked = set(zip(found["kind"], found["place"], strict=True))
        with contextlib.ExitStack() as held:
            busy = _busy(held)
            still = [c for c in _old(retention, time.time()) if (c.kind, c.place) in asked]
            gone = {(c.kind, c.place) for c in still if not _is_used(c, busy) and _delete(c)}
    table = found.assign(gone=[pair in gone for pair in zip(found["kind"], found["place"], strict=True)])
    rows = [
        (kind, len(part), int(part["gone"].sum()), part.loc[part["gone"], "megabytes"].sum(), part["days"].max())
        for kind, part in table.groupby("kind", sort=True)
    ]  # fmt: skip
    summary = pd.DataFrame(rows, columns=["kind", "found", "deleted", "megabytes", "oldest_days"])
    return summary.astype({"kind": "object", "megabytes": "float64", "oldest_days": "float64"})


def with_mage_s_own(
    summary: pd.DataFrame, retention: Retention, steps: Sequence[Callable[[], object]]
) -> pd.DataFrame:
    """The summary with a row for the folders that Mage's `steps` delete in its data folder; each row is logged.

    Mage decides by a run's scheduled time, and deletes outputs of scheduled runs only; other runs overwrite
    their last output.
    """
    before = _outputs()
    if not retention.dry_run:
        for step in steps:
            step()
    after = _outputs()
    freed = sum(before.values()) - sum(after.values())
    row = {
        "kind": "outputs and logs of scheduled runs",
        "found": len(before),
        "deleted": len(before.keys() - after.keys()),
        "megabytes": max(0, freed) / 1e6,
        "oldest_days": 0.0,
    }
    rows = [*summary.to_dict("records"), row]
    for each in rows:
        logger.info("%(kind)s: %(deleted)d of %(found)d deleted, %(megabytes).1f MB", each)
    return pd.DataFrame(rows)


def check_leftovers(leftovers: pd.DataFrame) -> None:
    """Raise unless all leftovers are distinct and unused for a day or more.

    Raises
    ------
    MlopsError
    """
    young = leftovers.loc[leftovers["days"] < PASSING_DAYS, "place"].tolist()
    twice = leftovers.loc[leftovers.duplicated(["kind", "place"]), "place"].tolist()
    if young or twice:
        raise MlopsError(
            "find_leftovers: expected distinct leftovers, each at least a day old; "
            f"got younger {young}, duplicate {twice}"
        )


def check_summary(summary: pd.DataFrame) -> None:
    """Raise if more was deleted than was found.

    Raises
    ------
    MlopsError
    """
    wrong = summary.loc[(summary["deleted"] > summary["found"]) | (summary["megabytes"] < 0), "kind"].tolist()
    if wrong:
        raise MlopsError(f"delete_leftovers: expected at most as many deleted as found; got more for {wrong}")


def _outputs() -> dict[str, int]:
    """Bytes that Mage keeps for each scheduled run, by folder."""
    kept = {}
    for kind in (".variables", ".logs"):
        for folder in mage_database.data_folder().glob(f"pipelines/*/{kind}/*/*T*"):
            kept[str(folder)] = _bytes(folder)
    return kept


def _bytes(folder: Path) -> int:
    """Bytes of all files in a folder, without those that another process deletes meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += Path(place, name).stat().st_size
    return total


def _connect() -> None:
    usual = Settings()
    client.connect(config.tracking_uri(), config.state_dir(), usual.connect_timeout, usual.tracking_patience)


def _names() -> list[str]:
    """All model names of this project, with or without a registered version, and names of experiments."""
    known = {versions.model_name(service, sample=False) for service in config.SERVICES}
    known |= {versions.model_name("", sample=True), *versions.model_names(), *experiments.places()}
    return sorted(known | {kept.folder.parent.name for kept in checkpoint.unfinished()})


def _busy(held: contextlib.ExitStack) -> list[str]:
    """Take the locks of all models, held by `held`; returns the models that another process works on."""
    busy = []
    for name in _names():
        try:
            held.enter_context(run_lifecycle.work_lock(name, "refuse", "cleanup"))
        except BusyError as error:
            logger.warning("%s: nothing of it is deleted, nor any file that models share: %s", name, error)
            busy.append(name)
    return busy


def _is_used(candidate: Candidate, busy: Collection[str]) -> bool:
    return candidate.model in busy if candidate.model else bool(busy)


def _delete(candidate: Candidate) -> bool:
    """Delete a candidate; returns whether it was deleted. A failure is logged, and the cleanup continues."""
    try:
        if candidate.kind in (TRIALS, ARTEFACTS, TRIED):
            return runs.delete(candidate)
        return files.delete(candidate)
    except TrackingDownError:
        raise
    except (OSError, TrackingError) as error:
        logger.warning("%s %s could not be deleted: %s", candidate.kind, candidate.place, error)
        return False


def _old(retention: Retention, now: float) -> list[Candidate]:
    names = _names()
    candidates = files.candidates() + [c for name in names for c in runs.candidates(name)]
    wanted = reduce(_both, (runs.wanted(name, now, retention.keep_days) for name in names), Wanted())
    wanted = _both(wanted, Wanted(places=files.needed_by_attempts() | files.served_last()))
    return old(candidates, wanted, now, retention.keep_days)


def _both(one: Wanted, other: Wanted) -> Wanted:
    return Wanted(
        frozenset([*one.recent, *other.recent]),
        frozenset([*one.evidence, *other.evidence]),
        frozenset([*one.places, *other.places]),
        one.all_replaced or other.all_replaced,
    )
