"""`DurationModel`: fitted encoder and boosted trees as one artefact. The only importer of xgboost.

An artefact is a folder of three files and no pickle: ``booster.ubj``,
``encoder.npz`` and ``model.json``. MLflow loads it through `_load_pyfunc`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

# Before the import, which reads it. By default OpenMP's threads spin while they wait for each other; on a machine
# with something else to do that made training five times slower (measured), and twice as dear on a quiet one.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import xgboost as xgb

from mlops.errors import EmptyTrainingSetError, MlopsError
from mlops.features import Encoder, feature_list, request_features

Array = npt.NDArray[Any]

FORMAT = 1
SHORTEST_MINUTES, LONGEST_MINUTES = 1.0, 60.0  # the range of what is learnt, and so of what is answered
MAX_ROUNDS = 400
EARLY_STOPPING_ROUNDS = 20


@dataclass(frozen=True)
class Matrix:
    """Encoded trips, ready for any number of trials.

    Parameters
    ----------
    training, validation : QuantileDMatrix
        Binned once; validation uses the cuts of training.
    encoder : Encoder
        Fitted on the training trips.
    use_distance : bool
        Whether the distance is among the features.
    """

    training: xgb.QuantileDMatrix
    validation: xgb.QuantileDMatrix | None
    encoder: Encoder
    use_distance: bool


@dataclass(frozen=True)
class Fit:
    """A booster and how it came about."""

    booster: xgb.Booster
    rounds: int
    validation_rmse: float


def build_matrix(
    training: Mapping[str, Array],
    minutes: Array,
    validation: Mapping[str, Array] | None = None,
    validation_minutes: Array | None = None,
    *,
    use_distance: bool = True,
    seed: int,
    threads: int,
) -> Matrix:
    """Encoder and binned matrices of one fit: training trips encoded out of fold, validation trips by the whole.

    Parameters
    ----------
    training, validation : mapping
        Features as from `request_features`.
    minutes, validation_minutes : array of shape (n,), (m,)
        Durations.

    Raises
    ------
    EmptyTrainingSetError
        When there is no training trip.
    """
    if len(minutes) == 0:
        raise EmptyTrainingSetError(
            "no trip is left to learn from after cleaning; look at the rejections of the training months, "
            "or choose another month or source"
        )
    encoder, encoded = Encoder.fit_transform(training, minutes, seed=seed)
    kwargs = {"feature_types": _types(use_distance), "nthread": threads}
    matrix = xgb.QuantileDMatrix(_stack(training, encoded, use_distance), label=minutes, **kwargs)
    held_out = None
    if validation is not None:
        table = _stack(validation, encoder.transform(validation), use_distance)
        held_out = xgb.QuantileDMatrix(table, label=validation_minutes, ref=matrix, **kwargs)
    return Matrix(matrix, held_out, encoder, use_distance)


def train(
    matrix: Matrix, parameters: Mapping[str, Any], *, seed: int, threads: int, rounds: int | None = None
) -> Fit:
    """Boosted trees on the matrix: `rounds` of them, or until the validation RMSE stops falling."""
    fixed = {
        "objective": "reg:squarederror",
        "tree_method": "hist",
        "eval_metric": "rmse",
        "seed": seed,
        "nthread": threads,
    }
    if rounds is not None or matrix.validation is None:
        count = rounds or MAX_ROUNDS
        booster = xgb.train({**fixed, **parameters}, matrix.training, count)
        return Fit(booster, count, float("nan"))
    booster = xgb.train(
        {**fixed, **parameters},
        matrix.training,
        MAX_ROUNDS,
        evals=[(matrix.validation, "validation")],
        early_stopping_rounds=EARLY_STOPPING_ROUNDS,
        verbose_eval=False,
    )
    best = int(booster.best_iteration) + 1
    return Fit(booster[:best], best, float(booster.best_score))


class DurationModel:
    """Minutes that a requested ride will take.

    Parameters
    ----------
    encoder : Encoder
    booster : xgboost.Booster
    use_distance : bool
        Whether ``distance_miles`` is looked at.
    """

    def __init__(self, encoder: Encoder, booster: xgb.Booster, *, use_distance: bool = True) -> None:
        self.encoder = encoder
        self.booster = booster
        self.use_distance = use_distance

    def predict(self, requests: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Duration of each requested ride.

        Parameters
        ----------
        requests : DataFrame of n rows
            ``pickup_at`` datetime (New York's wall clock), ``pickup_zone`` and ``dropoff_zone`` int (any
            unknown id is answered too), ``distance_miles`` float, ``passenger_count`` int; the last two may
            be null, and the last left out. Other columns are not looked at.
        params : dict, optional
            Not used; MLflow passes it.

        Returns
        -------
        DataFrame of shape (n, 1)
            ``duration_minutes``, float64, finite, 1 to 60, with the index of `requests`.

        Raises
        ------
        MlopsError
            When a request column is missing or does not hold what it should.
        """
        features = request_features(requests)
        table = _stack(features, self.encoder.transform(features), self.use_distance)
        matrix = xgb.DMatrix(table, feature_types=_types(self.use_distance))
        minutes = self.booster.predict(matrix) if len(table) else np.zeros(0)
        minutes = np.clip(minutes.astype(np.float64), SHORTEST_MINUTES, LONGEST_MINUTES)
        return pd.DataFrame({"duration_minutes": minutes}, index=requests.index)

    def importance(self) -> dict[str, float]:
        """Share of the total gain by feature, most first; 0 for features that no tree uses."""
        names = [feature.name for feature in feature_list(self.use_distance)]
        gain = self.booster.get_score(importance_type="total_gain")
        shares = {name: float(np.sum(gain.get(f"f{i}", 0.0))) for i, name in enumerate(names)}
        total = sum(shares.values()) or 1.0
        shares = {name: share / total for name, share in shares.items()}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    def save(self, folder: Path) -> Path:
        """The artefact's folder, written anew."""
        folder.mkdir(parents=True)
        self.booster.save_model(folder / "booster.ubj")
        np.savez_compressed(folder / "encoder.npz", **self.encoder.tables)
        about = {"format": FORMAT, "use_distance": self.use_distance, "xgboost": xgb.__version__}
        (folder / "model.json").write_text(json.dumps(about, indent=2))
        return folder

    @classmethod
    def load(cls, folder: Path) -> DurationModel:
        """Model as `save` wrote it.

        Raises
        ------
        MlopsError
            When the folder holds another format.
        """
        about = json.loads((folder / "model.json").read_text())
        if about["format"] != FORMAT:
            raise MlopsError(f"{folder}: expected model format {FORMAT}; got {about['format']}")
        with np.load(folder / "encoder.npz") as tables:
            encoder = Encoder({name: tables[name] for name in tables.files})
        booster = xgb.Booster(model_file=folder / "booster.ubj")
        return cls(encoder, booster, use_distance=about["use_distance"])


def _load_pyfunc(path: str) -> DurationModel:
    """What MLflow calls to load the artefact."""
    return DurationModel.load(Path(path))


def _types(use_distance: bool) -> list[str]:
    return ["c" if feature.categorical else "q" for feature in feature_list(use_distance)]


def _stack(features: Mapping[str, Array], encoded: Mapping[str, Array], use_distance: bool) -> Array:
    """Float32 matrix of shape (n, number of features), in the order of `feature_list`."""
    columns = {**features, **encoded}
    names = [feature.name for feature in feature_list(use_distance)]
    table = np.empty((len(columns["pickup_zone"]), len(names)), np.float32)
    for position, name in enumerate(names):
        table[:, position] = columns[name]
    return table
