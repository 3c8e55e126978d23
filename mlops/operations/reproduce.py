"""Train a version again from its recorded files and settings, and compare the predictions."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mlops import config
from mlops.config import Settings
from mlops.data import schemas
from mlops.errors import ConfigError, DataQualityError
from mlops.pipeline import fit_stage, judge_stage, months_table, run_key, steps
from mlops.registry import run_history, runs, versions
from mlops.registry.versions import Version
from mlops.training.fit import Fitting

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reproduction:
    """How far the predictions of the reproduced model are from those in the original test.

    Parameters
    ----------
    version : Version
    rows : int
        Trips of the test month.
    largest_difference : float
        Minutes.
    differs : tuple of str
        What has changed since the version was trained: code, environment.
    """

    version: Version
    rows: int
    largest_difference: float
    differs: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether every prediction is the same to the last digit."""
        return self.largest_difference == 0.0

    def __str__(self) -> str:
        made = f"{self.version.uri} reproduced: the predictions for all {self.rows:,} test trips are"
        apart = f"NOT the same: they differ by up to {self.largest_difference:.6g} minutes"
        found = "the same" if self.is_same else apart
        return "\n".join([f"{made} {found}", *(f"  {text}" for text in self.differs)])


def reproduce(name: str, number: str, source: str | None = None) -> Reproduction:
    """Train the version again with its recorded settings, and compare; nothing is registered.

    Parameters
    ----------
    source : str, optional
        Where the months are now, by default the source of the original run.

    Raises
    ------
    DataQualityError
        When the source's files differ from those that the version was trained on (the message names the months),
        or its run had cleaning rules of its own.
    PromotionError
        When there is no such version.
    TrackingError
        When its run, or a file of the run, was deleted; the message says what to do.
    """
    version = versions.get(name, number)
    with tempfile.TemporaryDirectory(dir=config.state_dir()) as folder:
        return _reproduce(version, source, Path(folder))


def _reproduce(version: Version, source: str | None, folder: Path) -> Reproduction:
    recorded = pd.read_csv(run_history.fetch(version, run_history.MONTHS, folder), keep_default_na=False)
    if "False" in set(recorded.get("usual_rules", pd.Series(dtype=object)).astype(str)):
        raise DataQualityError(
            f"{version.uri}: expected the project's cleaning rules; its run had others, which are not recorded. "
            "Run the pipeline that has them again, with force."
        )
    tested = np.load(run_history.fetch(version, "proof/tested.npy", folder))
    tags = runs.tags_of(version.run_id)
    settings = _recorded_settings(version, source or tags.get("setting.source", ""))
    months = steps.load_trips(settings)
    _require_same_files(version, months, recorded)
    prepared = steps.build_features(steps.clean_trips(months, settings), settings)
    described = months_table.read(prepared).sort_values("month")
    paths = {role: [Path(path) for path in part["features"]] for role, part in described.groupby("role")}
    fitting = Fitting.of(settings, int(tags.get("threads", config.threads())))
    tuned = fitting.tune(paths["training"], paths["validation"][0], starts=_starts(version, tags, folder))
    model = fitting.fit([*paths["training"], *paths["validation"]], tuned)
    clean = Path(described.loc[described["role"] == "test", "path"].iloc[0])
    predicted = judge_stage.minutes_of(model.predict(schemas.read_requests(clean)))
    if len(predicted) != len(tested):
        raise DataQualityError(
            f"{version.uri}: expected {len(tested):,} test trips, as in the original run; got "
            f"{len(predicted):,}. Use the cleaning rules of that run."
        )
    gap = float(np.max(np.abs(predicted - tested), initial=0.0))
    return Reproduction(version, len(tested), gap, _differs(tags))


def _recorded_settings(version: Version, source: str) -> Settings:
    recorded = runs.parameters_of(version.run_id)
    values = {name: recorded[name] for name in Settings.model_fields if name in recorded}
    chosen = {name: None if text == "None" else text for name, text in values.items()}
    if not source:
        raise ConfigError(
            f"{version.uri}: its run did not record the source of its months; name it with --source"
        )
    return Settings.parse({**chosen, "source": source})


def _require_same_files(version: Version, months: pd.DataFrame, recorded: pd.DataFrame) -> None:
    then = dict(zip(recorded["month"], recorded["sha256"], strict=True))
    now = dict(zip(months["month"], months["sha256"], strict=True))
    other = [
        f"{month}: expected {then.get(month, 'none')[:12]}, got {now.get(month, 'none')[:12]}"
        for month in sorted({*then, *now})
        if then.get(month) != now.get(month)
    ]
    if other:
        raise DataQualityError(
            f"{version.uri}: the source holds other months than those it was trained on "
            f"(sha256 of {'; '.join(other)}). "
            "TLC sometimes replaces files; name a --source that still has the old ones."
        )


def _starts(version: Version, tags: dict[str, str], folder: Path) -> list[dict[str, float]]:
    if tags.get("warm_start", "none") == "none":
        return []
    table = pd.read_csv(run_history.fetch(version, "warm_start.csv", folder))
    return [
        dict(start)
        for start in fit_stage.starts_of(
            [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
        )
    ]


def _differs(tags: dict[str, str]) -> tuple[str, ...]:
    now = run_key.made_by()
    found = [
        f"{what} has changed since this version was trained (commit {tags.get('git_commit') or 'unknown'})"
        for what, key in (("the code", "code_sha256"), ("the environment", "environment_sha256"))
        if tags.get(key) != now[key]
    ]
    if tags.get("tuning_hit_ceiling") == "true":
        found.append("the search had reached its limit tuning_seconds, so it cannot be repeated exactly")
    return tuple(found)
