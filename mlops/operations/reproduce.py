"""Train a version again from its recorded files and settings, and compare the predictions."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops import config
from mlops.config import Settings
from mlops.data import schemas
from mlops.data.trips import RULES, Rule
from mlops.errors import ConfigError, DataQualityError
from mlops.pipeline import fit_stage, judge_stage, months_table, rule_texts, run_key, steps
from mlops.pipeline.rule_texts import RuleText
from mlops.registry import operator, run_history, runs, verification, versions
from mlops.registry.versions import Version
from mlops.training.coverage_aim import Aim
from mlops.training.fit import Fitting

TESTED = ("tested.npy", "sample.parquet")  # minutes of all test trips; all answers for a sample of them
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
        Minutes; of a prediction, or of a bound of the ranges in the run's sample.
    differs : tuple of str
        What has changed since the version was trained: files of the code, packages, cleaning rules.
    rules : str
        The cleaning rules of its own; empty if its run had the usual rules.
    """

    version: Version
    rows: int
    largest_difference: float
    differs: tuple[str, ...]
    rules: str = ""

    @property
    def is_same(self) -> bool:
        """Whether every prediction is the same to the last digit."""
        return self.largest_difference == 0.0

    def __str__(self) -> str:
        made = f"{self.version.uri} reproduced: the predictions for all {self.rows:,} test trips are"
        apart = f"NOT the same: they differ by up to {self.largest_difference:.6g} minutes"
        found = "the same" if self.is_same else apart
        own = (f"with its own cleaning rules: {self.rules}",) if self.rules else ()
        return "\n".join([f"{made} {found}", *(f"  {text}" for text in (*own, *self.differs))])


def reproduce(
    name: str, number: str, source: str | None = None, rules: Sequence[Rule] | None = None
) -> Reproduction:
    """Train the version again with its recorded settings, and compare; nothing is registered.

    What has changed in code, environment and cleaning rules since then is logged before anything is trained.

    Parameters
    ----------
    source : str, optional
        Where the months are now, by default the source of the original run.
    rules : sequence of Rule, optional
        Where the cleaning rules of its own are looked up by name, by default `rule_texts.in_checkout`. Their
        stored source is only compared, never executed.

    Raises
    ------
    DataQualityError
        When the source's files differ from those that the version was trained on (the message names the months),
        or its run had cleaning rules of its own and did not record them.
    ConfigError
        When the version is not a number, or there is no rule with the name of one that its run had.
    PromotionError
        When there is no such version.
    TrackingError
        When its run, or a file of the run, was deleted; the message says what to do.
    """
    operator.require_number(number)
    version = versions.get(name, number)
    with tempfile.TemporaryDirectory(dir=config.state_dir()) as folder:
        return _reproduce(version, source, rules, Path(folder))


def _reproduce(
    version: Version, source: str | None, rules: Sequence[Rule] | None, folder: Path
) -> Reproduction:
    recorded = pd.read_csv(run_history.fetch(version, run_history.MONTHS, folder), keep_default_na=False)
    texts = _rule_texts(version, recorded, folder)
    used = _rules_of(version, texts, rule_texts.in_checkout() if texts and rules is None else rules or ())
    tested, sample = (run_history.fetch(version, f"proof/{name}", folder) for name in TESTED)
    tags = runs.tags_of(version.run_id)
    unused = _unused_rules() if not texts and rules is None else []
    changed = [*_rules_changed(texts, used), *unused, *_inputs_changed(version, tags, folder)]
    for text in changed:
        logger.warning("%s: %s", version.uri, text)
    settings = _recorded_settings(version, source or tags.get("setting.source", ""))
    aim = Aim.parse(runs.parameters_of(version.run_id))
    months = steps.load_trips(settings)
    _require_same_files(version, months, recorded)
    prepared = steps.build_features(steps.clean_trips(months, settings, used), settings)
    described = months_table.read(prepared).sort_values("month")
    paths = {role: [Path(path) for path in part["features"]] for role, part in described.groupby("role")}
    fitting = Fitting.of(settings, int(tags.get("threads", config.threads())))
    starts = _starts(version, tags, folder)
    tuned = fitting.tune(paths["training"], paths["validation"][0], starts=starts, aim=aim)
    model = fitting.fit([*paths["training"], *paths["validation"]], tuned)
    requests = schemas.read_requests(Path(described.loc[described["role"] == "test", "path"].iloc[0]))
    answers = model.predict(requests)
    again = verification.write_sample(folder / "again.parquet", requests, answers)
    minutes = np.load(tested)
    if len(answers) != len(minutes):
        raise DataQualityError(
            f"{version.uri}: expected {len(minutes):,} test trips, as in the original run; got "
            f"{len(answers):,}. Use the cleaning rules of that run."
        )
    gap = max(_largest(judge_stage.minutes_of(answers) - minutes), _gap_of_samples(sample, again))
    if tags.get("tuning_hit_ceiling") == "true":
        changed.append("the search had reached its limit tuning_seconds, so it cannot be repeated exactly")
    return Reproduction(version, len(minutes), gap, tuple(changed), version.tags.get("own_rules", ""))


def _gap_of_samples(then: Path, now: Path) -> float:
    """Largest difference, in minutes, of a prediction or a bound in two samples of the same trips."""
    old, new = pd.read_parquet(then), pd.read_parquet(now)
    names = [name for name in map(str, old) if name.endswith("_minutes") and name in new]
    return _largest(old[names].to_numpy() - new[names].to_numpy())


def _largest(differences: npt.NDArray[np.float64]) -> float:
    return float(np.max(np.abs(differences), initial=0.0))


def _rule_texts(version: Version, recorded: pd.DataFrame, folder: Path) -> tuple[RuleText, ...]:
    """The recorded cleaning rules; none for the usual rules."""
    if "False" not in set(recorded.get("usual_rules", pd.Series(dtype=object)).astype(str)):
        return ()
    if not run_history.has_file(version.run_id, fit_stage.RULE_TEXTS):
        raise DataQualityError(
            f"{version.uri}: expected the project's cleaning rules; its run had others, which are not recorded, "
            "as in all runs before 2026-12. Run the pipeline that has them again, with force."
        )
    path = run_history.fetch(version, fit_stage.RULE_TEXTS, folder)
    return rule_texts.from_json(path.read_text(encoding="utf-8"))


def _rules_of(version: Version, texts: Sequence[RuleText], rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules of the recorded names, in the recorded order."""
    if not texts:
        return RULES
    found = rule_texts.find(texts, rules)
    absent = [text for text, rule in zip(texts, found, strict=True) if rule is None]
    if absent:
        named = ", ".join(f"{text}: `{rule_texts.shown(text.source)}`" for text in absent)
        raise ConfigError(
            f"{version.uri}: its run had cleaning rules that are not defined here: {named}. Read their source in "
            f"{fit_stage.RULE_TEXTS} of its run, and define rules of these names in {rule_texts.HOME}"
        )
    return tuple(rule for rule in found if rule is not None)


def _rules_changed(texts: Sequence[RuleText], rules: Sequence[Rule]) -> Iterator[str]:
    for text, rule in zip(
        texts, rules, strict=False
    ):  # no texts of the usual rules: they are part of the code
        if different := rule_texts.difference(text, rule):
            yield different


def _unused_rules() -> list[str]:
    """That the checkout's own rules take no part, if it has some: its block is listed as changed code."""
    try:
        found = rule_texts.in_checkout()
    except ConfigError:  # a block that cannot be executed is not needed either
        return []
    unused = f"the version has no cleaning rules of its own; {rule_texts.HOME} is not used"
    return [unused] if len(found) > len(RULES) else []


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


def _inputs_changed(version: Version, tags: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Files of the code and packages of the environment that differ from those of the run."""
    hashes, now, then = run_key.made_by(), run_key.inputs(), {}
    if run_history.has_file(version.run_id, fit_stage.INPUTS):
        path = run_history.fetch(version, fit_stage.INPUTS, folder)
        then = json.loads(path.read_text(encoding="utf-8"))
    for part, parts in now.items():
        if tags.get(f"{part}_sha256") == hashes[f"{part}_sha256"]:
            continue
        commit = f" (commit {tags.get('git_commit') or 'unknown'})" if part == "code" else ""
        what = run_key.changes(then[part], parts) if then else f"its run did not record its {part} in detail"
        yield f"the {part} has changed since this version was trained{commit}: {what}"
