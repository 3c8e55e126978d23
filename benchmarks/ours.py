"""Calls of the benchmark into `mlops`; if the library's interface changes, change this file and `columns`.

Imports are inside the functions, so that a measurement does not load modules that it does not use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

    from mlops.config import Settings
    from mlops.data.sources import Source
    from mlops.model.duration_model import DurationModel
    from mlops.training.feature_files import Batch
    from mlops.training.fit import Tuned

Array = npt.NDArray[Any]

MATCHING = {"learning_rate": 0.7, "max_depth": 6, "min_child_weight": 20.0, "reg_lambda": 3.0}
"""Parameters of the fit that only has to match the course's: few trees with a high learning rate."""
MATCHING_FEATURES = ("pickup_zone", "dropoff_zone", "distance_miles", "minute_of_day", "weekday")
"""Its features. The request's own features are enough here; statistics from past trips are not used."""


FAST, FAST_ROUNDS = {"learning_rate": 0.2, "max_depth": 8, "min_child_weight": 20.0, "reg_lambda": 3.0}, 40
"""Parameters and rounds of a single fast fit."""

ENDLESS_TRIALS = 10_000

# Months


def months_held(source: str, service: str, first: str = "2023-01", last: str = "2023-10") -> list[str]:
    """Months of a source, oldest first."""
    from mlops.data import sources
    from mlops.month import Month

    asked = Month.range(Month.parse(first), Month.parse(last))
    return [str(month) for month in sorted(sources.months_available(_open(source), service, asked))]


def fetch(source: str, service: str, month: str, folder: Path) -> tuple[Path, str]:
    """Raw file of a month, stored below `folder`, and its sha256."""
    from mlops.data import cache
    from mlops.month import Month

    file = cache.fetch(_open(source), service, Month.parse(month), folder)
    return file.path, file.sha256


def _open(source: str) -> Source:
    from mlops.data import sources
    from mlops.data.synthetic.source import SampleSource

    return SampleSource() if source == "sample" else sources.open_source(source)


def clean(raw: Path, service: str, month: str, target: Path) -> tuple[int, int]:
    """Write a month's clean trips to `target`; return the number of rows, and of those for training."""
    from mlops.data import trips
    from mlops.month import Month

    counts = trips.clean_file(raw, service, Month.parse(month), target)
    return counts.rows, counts.kept


def requests_and_minutes(clean_file: Path) -> tuple[pd.DataFrame, Array]:
    """Requests of every trip of a clean month, and the trips' durations in minutes."""
    from mlops.data import schemas

    return schemas.read_requests(clean_file), schemas.read_minutes(clean_file)


# Fitting


def settings(**changed: Any) -> Settings:
    """The default settings with the given changes."""
    from mlops.config import Settings

    return Settings.parse(changed)


@dataclass(frozen=True)
class Fitted:
    """A model tuned on a validation month and fitted again with it.

    Parameters
    ----------
    model : DurationModel
    tuned : Tuned
    search_seconds : float
        Wall time of the search alone, with its matrices.
    """

    model: DurationModel
    tuned: Tuned
    search_seconds: float

    @property
    def trials(self) -> int:
        """Number of trials of the search."""
        return len(self.tuned.search.trials)

    @property
    def losses(self) -> list[float]:
        """Validation RMSE of each trial."""
        return [float(trial.validation_rmse) for trial in self.tuned.search.trials]

    @property
    def validation_rmse(self) -> float:
        """Validation RMSE of the best trial, in minutes."""
        return float(self.tuned.search.best.validation_rmse)

    @property
    def validation_minutes(self) -> Array:
        """Minutes that the best trial predicted for the validation month, which it was not trained on."""
        return self.tuned.predicted


def fit(cleaned: Sequence[Path], folder: Path, threads: int, chosen: Settings) -> Fitted:
    """Model of clean months, fitted as in a training run; the last month is the validation month.

    Parameters
    ----------
    cleaned : sequence of Path
        Clean trips, oldest month first.
    folder : Path
        For feature files.
    """
    from mlops.training.fit import Fitting

    tables = feature_files(cleaned, folder)
    fitting = Fitting.of(chosen, threads)
    began = time.perf_counter()
    tuned = fitting.tune(tables[:-1], tables[-1])
    seconds = time.perf_counter() - began
    return Fitted(fitting.fit(tables, tuned), tuned, seconds)


def feature_files(cleaned: Sequence[Path], folder: Path) -> list[Path]:
    """Feature files of clean months, written below `folder`."""
    from mlops.training.feature_files import write_features

    tables = [folder / "features" / path.name for path in cleaned]
    for path, table in zip(cleaned, tables, strict=True):
        write_features(path, table)
    return tables


def one_fit(
    cleaned: Sequence[Path], folder: Path, threads: int, chosen: Settings, without: Sequence[str] = ()
) -> float:
    """Validation RMSE of one fit with the search's default first point; the last clean month is scored."""
    from mlops.training.boosting import build_matrix, train
    from mlops.training.feature_files import FeatureFiles
    from mlops.training.search import LADDER
    from mlops.training.search_space import first_guess

    tables = feature_files(cleaned, folder)
    names = tuple(name for name in feature_list() if name not in without)
    training = FeatureFiles(tuple(tables[:-1]), True, half_life_months=chosen.half_life_months)
    held_out = FeatureFiles(tuple(tables[-1:]), False)
    matrix = build_matrix(training, held_out, features=names, seed=chosen.seed, threads=threads)
    parameters = {**first_guess(), "learning_rate": LADDER[1].learning_rate}
    found = train(
        matrix, parameters, seed=chosen.seed, threads=threads, rounds=LADDER[1].rounds, stop_early=True
    )
    return found.validation_rmse


def feature_list() -> tuple[str, ...]:
    """Every feature of a default model."""
    from mlops.model.features import feature_names

    return feature_names()


def own_features() -> tuple[str, ...]:
    """Names of a person's own features."""
    from mlops.model.features import REQUEST_FEATURES, STANDARD_FEATURES

    return tuple(feature.name for feature in REQUEST_FEATURES if feature not in STANDARD_FEATURES)


def save(model: DurationModel, folder: Path) -> None:
    """Save a model."""
    model.save(folder)


def load(folder: Path) -> DurationModel:
    """Load a saved model."""
    from mlops.model.duration_model import DurationModel

    return DurationModel.load(folder)


def minutes_of(predictions: pd.DataFrame) -> Array:
    """Predicted minutes, shape (n,)."""
    return predictions["duration_minutes"].to_numpy(np.float64)


def pair_median_rmse(cleaned: Sequence[Path], requests: pd.DataFrame, actual: Array) -> float:
    """RMSE of the median of past trips between the two zones."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mlops.evaluation.baseline import PairMedian
    from mlops.evaluation.metrics import error_metrics

    names = ["pickup_zone", "dropoff_zone", "duration_minutes"]
    past = pa.concat_tables([pq.read_table(path, columns=names) for path in cleaned])
    zones = {name: past[name].to_numpy() for name in names[:2]}
    baseline = PairMedian(zones, past["duration_minutes"].to_numpy())
    return error_metrics(actual, baseline.predict(requests))["rmse"]


def metrics(actual: Array, predicted: Array) -> dict[str, float]:
    """RMSE, MAE and more, computed in the same way for every contender."""
    from mlops.evaluation import metrics

    return metrics.error_metrics(actual, predicted)


def range_measures(
    requests: pd.DataFrame, actual: Array, predictions: pd.DataFrame
) -> dict[str, dict[str, Any]]:
    """By nominal percent: ``score`` (interval score) and ``width``, both in minutes, and ``coverage``.

    Also ``worst``, the coverage of the slice of at least 1,000 trips where it is furthest from nominal, and the
    name of that ``slice``, if there is one.
    """
    from mlops.evaluation import metrics

    overall = metrics.interval_metrics(actual, predictions)
    by_slice = metrics.slices(requests, actual, predictions)
    worst = metrics.worst_covered(by_slice)
    found: dict[str, dict[str, Any]] = {}
    for level in metrics.LEVELS:
        name = f"coverage_{level}"
        found[level] = {
            "score": overall[f"interval_score_{level}"],
            "width": overall[f"width_{level}"],
            "coverage": overall[name],
        }
        if name in worst:
            row = by_slice.loc[worst[name]]
            found[level] |= {"worst": float(row[name]), "slice": f"{row['slice']} {row['value']}"}
    return found


def without_distance(requests: pd.DataFrame) -> pd.DataFrame:
    """The same requests with no distance."""
    return requests.assign(distance_miles=np.nan)


# Files to features, and to a matrix


def batches(raws: Sequence[tuple[Path, str]], service: str) -> Iterator[Batch]:
    """Features and minutes of raw months, batch by batch; writes no files."""
    from mlops.data import raw_trips, trips
    from mlops.model.features import request_features
    from mlops.month import Month
    from mlops.training.feature_files import Batch

    for raw, month in raws:
        for columns in raw_trips.read_trips(raw, service):
            kept, _ = trips.clean(columns, Month.parse(month))
            yield Batch(request_features(kept), kept["duration_minutes"])


class Batches:
    """The batches of `batches`, which can be read several times."""

    def __init__(self, raws: Sequence[tuple[Path, str]], service: str) -> None:
        self._raws, self._service = raws, service

    def __iter__(self) -> Iterator[Batch]:
        return batches(self._raws, self._service)


def first_use(raw: tuple[Path, str], service: str) -> None:
    """Do the imports and setup that the first batch of a process would include."""
    next(batches([raw], service))


def matrix_and_rounds(
    raws: Sequence[tuple[Path, str]], service: str, threads: int, rounds: int
) -> dict[str, float]:
    """Seconds from raw months to a training matrix and, for `rounds` above 0, of boosting on it."""
    from mlops.training.boosting import build_matrix, train

    began = time.perf_counter()
    matrix = build_matrix(Batches(raws, service), seed=42, threads=threads)
    matrix_seconds = time.perf_counter() - began
    if rounds:
        train(matrix, MATCHING, seed=42, threads=threads, rounds=rounds)
    return {
        "rows": matrix.training.num_row(),
        "matrix_seconds": matrix_seconds,
        "rounds_seconds": time.perf_counter() - began - matrix_seconds,
    }


# Matching the course


class OneMonth:
    """Trips of a clean month in memory, as raw columns: the start of the measurement."""

    def __init__(self, clean_file: Path) -> None:
        self.requests, self.minutes = requests_and_minutes(clean_file)

    def __iter__(self) -> Iterator[Batch]:
        from mlops.model.features import request_features
        from mlops.training.feature_files import Batch

        yield Batch(request_features(self.requests), self.minutes)


def rounds_to_match(training: OneMonth, validation: OneMonth, rmse: float, threads: int) -> int:
    """Fewest rounds with which the model's RMSE on the validation month is at most `rmse`."""
    for rounds in range(1, 101):
        predicted = minutes_of(quick_fit(training, rounds, threads).predict(validation.requests))
        if metrics(validation.minutes, predicted)["rmse"] <= rmse:
            return rounds
    raise ValueError(f"100 rounds do not reach an RMSE of {rmse:.4f}")


def quick_fit(training: OneMonth, rounds: int, threads: int) -> DurationModel:
    """Model of one month with the parameters `MATCHING`, from raw columns: features, matrix and trees."""
    return _model_of(training, MATCHING, rounds, threads, MATCHING_FEATURES)


def fast_fit(raws: Sequence[tuple[Path, str]], service: str, threads: int) -> DurationModel:
    """Model of raw months from a single fit with few rounds and no search."""
    return _model_of(Batches(raws, service), FAST, FAST_ROUNDS, threads)


def _model_of(
    batches: Iterable[Batch],
    parameters: dict[str, float],
    rounds: int,
    threads: int,
    features: tuple[str, ...] | None = None,
) -> DurationModel:
    from mlops.model.duration_model import DurationModel
    from mlops.model.estimator import Estimator
    from mlops.training.boosting import build_matrix, train

    chosen = features or feature_list()
    matrix = build_matrix(batches, features=chosen, seed=42, threads=threads)
    found = train(matrix, parameters, seed=42, threads=threads, rounds=rounds)
    return DurationModel(matrix.encoder, Estimator(found.booster), chosen)


# Single requests


def asker(model: DurationModel) -> Callable[[Any], Any]:
    """The fastest function of the library for one request."""
    return model.predict_one


def single_requests(requests: pd.DataFrame, count: int) -> list[Any]:
    """The first requests, each in the form that `asker` takes."""
    return list(requests.head(count).astype(object).to_dict(orient="records"))


# State


def state_dir() -> Path:
    """The state folder."""
    from mlops import config

    return config.state_dir()
