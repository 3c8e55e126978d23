"""The backtest (command `replay`): compare training policies over past months, without a registry.

The months are prepared once, as in a run. For each month and training window,
one model is fitted for all policies, and its predictions are kept in the output
folder: a backtest that was stopped, or is extended, continues from there.
`policies` then simulates each policy.

Two things differ from a run. Searches and ranges do not depend on earlier runs,
because these differ between policies. And no model is refused for the duration of a
request, because that duration is different at each measurement.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops import config
from mlops.config import Settings
from mlops.data import ingest, quality, retries, schemas, sources
from mlops.data import split as months_split
from mlops.data.trips import RULES, Quality, count_by_day
from mlops.errors import ConfigError
from mlops.evaluation import metrics, promotion
from mlops.evaluation.baseline import PairMedian
from mlops.evaluation.comparison import WITHOUT_DISTANCE, Incumbent, gather
from mlops.evaluation.promotion import Limits, Verdict
from mlops.files import atomic_write
from mlops.model.duration_model import DurationModel
from mlops.model.intervals import INTERVAL_COLUMNS
from mlops.month import Month
from mlops.operations import policies
from mlops.operations.policies import Outcomes, Policy
from mlops.pipeline import months_table, run_key, steps
from mlops.pipeline.judge_stage import limits_of, minutes_of
from mlops.training import feature_files
from mlops.training.fit import Fitting

Array = npt.NDArray[np.float64]
Described = Mapping[Month, Mapping[Any, Any]]
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Candidate:
    """The model of a run about one month, fitted once and then kept.

    Parameters
    ----------
    settings : Settings
        Settings of that run.
    split : Split
    months : mapping
        For each month, its row in the table from `steps.build_features`.
    folder : Path
        Where it is kept; the name is the run key.
    """

    settings: Settings
    split: months_split.Split
    months: Described
    folder: Path

    @functools.cached_property
    def model(self) -> DurationModel:
        """The saved model."""
        return DurationModel.load(self.folder / "model")

    @property
    def is_fitted(self) -> bool:
        """Whether it is already fitted."""
        return self.folder.is_dir()

    @property
    def seconds(self) -> float:
        """CPU seconds of its tuning and final fit."""
        return float(json.loads((self.folder / "fitted.json").read_text(encoding="utf-8"))["cpu_seconds"])

    def fit(self) -> None:
        """Tune and fit it as a run does."""
        started = time.process_time()
        fitting = Fitting.of(self.settings, config.threads())
        tuned = fitting.tune(self._features(self.split.training), *self._features([self.split.validation]))
        model = fitting.fit(self._learnt(), tuned)
        about = {"cpu_seconds": time.process_time() - started, "settings": self.settings.describe()}
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=self.folder.parent) as passing:
            made = Path(passing) / "candidate"
            model.save(made / "model")
            (made / "fitted.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
            if not self.is_fitted:  # another backtest may have fitted it in the meantime
                made.replace(self.folder)

    def predictions(self, month: Month, asked: str = "") -> pd.DataFrame:
        """Minutes and ranges that it predicts for each trip of a month; `asked` may be `WITHOUT_DISTANCE`."""
        clean = self.months[month]
        kept = self.folder / f"{month}_{clean['clean_sha256'][:12]}{asked}.parquet"
        if not kept.is_file():
            requests, _ = _trips(Path(clean["path"]))
            requests = requests.assign(distance_miles=np.nan) if asked else requests
            predicted = self.model.predict(requests)[["duration_minutes", *INTERVAL_COLUMNS]]
            with atomic_write(kept) as passing:  # float32 is exact for the minutes, since trees answer in it
                predicted.astype(np.float32).to_parquet(passing, index=False)
        return pd.read_parquet(kept)

    def rmse(self, month: Month) -> float:
        """Its RMSE on a month's trips, minutes."""
        _, actual = _trips(Path(self.months[month]["path"]))
        return metrics.error_metrics(actual, minutes_of(self.predictions(month)))["rmse"]

    def judged(self, champion: Candidate | None, limits: Limits) -> Verdict:
        """The verdict on it as challenger of an earlier model, the champion."""
        requests, actual = _trips(Path(self.months[self.split.test]["path"]))
        baseline = PairMedian(*feature_files.pairs_and_minutes(self._learnt(), for_training=True))
        answered = {"challenger": self.predictions(self.split.test)}
        minutes = {
            "challenger": minutes_of(answered["challenger"]),
            "pair_median": baseline.predict(requests),
        }
        if self.settings.use_distance:
            answered[WITHOUT_DISTANCE] = self.predictions(self.split.test, WITHOUT_DISTANCE)
        incumbent = None
        if champion:
            answered["champion"] = champion.predictions(self.split.test)
            minutes["champion"] = minutes_of(answered["champion"])
            tested, learnt = str(champion.split.test), str(champion.split.validation)
            incumbent = Incumbent(f"of {tested}", tested, learnt)
        size = sum(path.stat().st_size for path in (self.folder / "model").iterdir())
        evidence = gather(
            requests,
            actual,
            minutes,
            test_month=self.settings.month,
            champion=incumbent,
            artefact_bytes=size,
            intervals=answered,
        )
        return promotion.decide(evidence, limits)

    def _learnt(self) -> list[Path]:
        return self._features([*self.split.training, self.split.validation])

    def _features(self, months: Iterable[Month]) -> list[Path]:
        return [Path(self.months[month]["features"]) for month in months]


@dataclass(frozen=True)
class Replayed:
    """The results of a backtest.

    Parameters
    ----------
    service : str
    months : tuple of Month
    outcomes : mapping of Policy to sequence of Served
    folder : Path
        Where ``replay.csv``, ``policies.csv`` and ``replay.png`` are.
    """

    service: str
    months: tuple[Month, ...]
    outcomes: Outcomes
    folder: Path

    def __str__(self) -> str:
        table = policies.compared(self.outcomes)
        shown = pd.DataFrame(
            {
                "cadence": table["cadence"].astype(str).where(table["gate"] != "once", "-"),
                "window": table["window"],
                "gate": table["gate"],
                "mean RMSE": table["mean_rmse"].map("{:.4f}".format),
                "worst month": table["worst_rmse"].map("{:.4f}".format) + " " + table["worst_month"],
                "promotions": table["promotions"],
                "trainings": table["trainings"],
                "CPU minutes": table["cpu_minutes"].map("{:.1f}".format),
            }
        )
        if table["unserved"].any():
            shown.insert(5, "unserved", table["unserved"])
        return (
            f"{self.service}, first test month {self.months[0]}, served from {self.months[1]} to "
            f"{self.months[-1]}; RMSE in minutes:\n\n{shown.to_string(index=False)}\n\n"
            f"tables by month and a plot are in {self.folder}"
        )


def replay(
    settings: Settings, first: str, last: str, played: Sequence[Policy], output: Path | None = None
) -> Replayed:
    """Simulate each policy from `first`, the month that every policy trains on, to `last`.

    Parameters
    ----------
    settings : Settings
        Settings of all runs; the backtest replaces month, training months and warm start.
    first, last : str
        YYYY-MM.
    played : sequence of Policy
    output : Path, optional
        Folder for tables, plot and fitted models, by default in the state folder.

    Raises
    ------
    ConfigError
        When `last` is not after `first`.
    MlopsError
        As the steps of a run; then only fitted models are written.
    """
    months = Month.range(Month.parse(first), Month.parse(last))
    if len(months) < 2:
        raise ConfigError(
            f"from {first} to {last}: expected a last month after the first, because the model that is tested on "
            "the first month serves from the next month on"
        )
    config.threads()
    folder = output or config.state().backtests / f"{settings.service}_{months[0]}_{months[-1]}"
    candidates = _candidates(settings, months, played, folder / "models")
    _fit(candidates)
    limits = limits_of(settings)
    outcomes = {policy: _played(policy, months, candidates, limits) for policy in played}
    found = Replayed(settings.service, months, outcomes, folder.resolve())
    _write(found)
    return found


def _played(
    policy: Policy, months: Sequence[Month], candidates: Mapping[tuple[int, Month], Candidate], limits: Limits
) -> tuple[policies.Served, ...]:
    """Simulate one policy; returns its months."""

    def model(month: Month) -> Candidate:
        return candidates[policy.window, month]

    return policies.simulate(
        policy,
        months,
        rmse=lambda champion, month: model(champion).rmse(month),
        judge=lambda new, old: model(new).judged(model(old) if old else None, limits),
        seconds=lambda month: model(month).seconds,
    )


def _candidates(
    settings: Settings, months: Sequence[Month], played: Sequence[Policy], folder: Path
) -> dict[tuple[int, Month], Candidate]:
    """The models that the policies need, by window and test month; windows with equal months share a model."""
    asked = sorted(
        {
            (policy.window, month)
            for policy in played
            for position, month in enumerate(months)
            if policy.trains(position, months[0] if position else None)
        }
    )
    splits = _splits(settings, asked)
    described = _prepared(settings, Month.range(min(s.months[0] for s in splits.values()), months[-1]))
    found: dict[str, Candidate] = {}
    by_window = {}
    for (window, month), split in splits.items():
        own = _settings_of_run(settings, split)
        quality.check_months({each: _quality(each, described[each]) for each in split.months}, split, own)
        files = {str(each): described[each]["sha256"] for each in split.months}
        key = run_key.compute(own, files, run_key.rules_sha256(RULES))
        by_window[window, month] = found.setdefault(key, Candidate(own, split, described, folder / key))
    return by_window


def _splits(
    settings: Settings, asked: Sequence[tuple[int, Month]]
) -> dict[tuple[int, Month], months_split.Split]:
    """The months of each run, as far back as the source goes."""
    source = ingest.open_source(settings)
    earliest = min(month - 2 - window for window, month in asked)
    wanted = Month.range(earliest, max(month for _, month in asked))
    retry = retries.for_seconds(settings.source_patience)
    held = retry(sources.months_available, source, settings.service, wanted)
    splits = {}
    for window, month in asked:
        before = sum(month - 1 - window <= each < month - 1 for each in held)
        run = settings.model_copy(update={"month": str(month), "train_months": max(before, 1)})
        splits[window, month] = months_split.plan_split(run, held, source.url)
    for window in sorted({window for window, _ in asked}):
        fewer = [s for (w, _), s in splits.items() if w == window and len(s.training) < window]
        if fewer:
            logger.warning(
                "window %d: %s starts with %s, so %d of the models learn from fewer months than the window",
                window, source.url, held[0], len(fewer),
            )  # fmt: skip
    return splits


def _settings_of_run(settings: Settings, split: months_split.Split) -> Settings:
    """Settings of the run about a split, with default limits: limits do not change the fitted model."""
    usual = {name: Settings.model_fields[name].default for name in (*_LIMITS, "compare_course")}
    own = {"month": str(split.test), "train_months": len(split.training), "warm_start": False}
    return settings.model_copy(update={**usual, **own})


def _prepared(settings: Settings, months: Sequence[Month]) -> Described:
    """Fetch and clean all months and build their features; returns each month's row."""
    span = settings.model_copy(update={"month": str(months[-1]), "train_months": len(months) - 2})
    summary = steps.build_features(steps.clean_trips(ingest.load(span), span), span)
    table = months_table.read(summary)
    return {Month.parse(row["month"]): row for row in table.to_dict("records")}


def _fit(candidates: Mapping[tuple[int, Month], Candidate]) -> None:
    """Fit the candidates that are not fitted yet, in order of their months."""
    different = sorted(set(candidates.values()), key=lambda each: (each.split.test, len(each.split.training)))
    for number, candidate in enumerate(different, 1):
        split = candidate.split
        about = (
            f"model {number} of {len(different)}, training months: {len(split.training)}, "
            f"test month: {split.test}"
        )
        if candidate.is_fitted:
            logger.info("%s, fitted earlier", about)
            continue
        logger.info("%s", about)
        candidate.fit()
        logger.info(
            "RMSE %.4f on %s, %.0f s of CPU", candidate.rmse(split.test), split.test, candidate.seconds
        )


@functools.lru_cache(maxsize=2)
def _trips(clean: Path) -> tuple[pd.DataFrame, Array]:
    """Requests of a month, and the duration of each in minutes."""
    return schemas.read_requests(clean), schemas.read_minutes(clean)


_LIMITS = tuple(field.name for field in dataclasses.fields(Limits) if field.name in Settings.model_fields)


def _quality(month: Month, row: Mapping[Any, Any]) -> Quality:
    """A month's counts, read from its row and its clean trips."""
    rejected = {rule.name: int(row[f"rejected_{rule.name}"]) for rule in RULES}
    by_day = count_by_day(Path(row["path"]), month)
    return Quality(int(row["rows"]), int(row["kept"]), int(row["test_rows"]), rejected, by_day)


def _write(found: Replayed) -> None:
    """Write both tables and the plot, all or none."""
    names = ("replay.csv", "policies.csv", "replay.png")
    with contextlib.ExitStack() as passing:
        by_month, compared, plot = (
            passing.enter_context(atomic_write(found.folder / name)) for name in names
        )
        policies.by_month(found.outcomes).to_csv(by_month, index=False)
        policies.compared(found.outcomes).to_csv(compared, index=False)
        policies.draw(found.outcomes, plot, f"{found.service}: backtest of training policies")
