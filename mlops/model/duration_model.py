"""`DurationModel`: encoder, boosted trees, intervals and learned range in one artefact.

An artefact is a folder: ``encoder.npz``, ``model.json``, ``booster.ubj`` and ``scale.ubj`` (the booster of the
intervals), and for requests without a distance ``booster_without_distance.ubj`` and
``scale_without_distance.ubj``. It contains no pickle. MLflow loads it with `_load_pyfunc`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost as xgb

from ..errors import MlopsError
from .encoder import ENCODED, Encoder
from .estimator import Estimator, possible
from .features import BATCH_ROWS, CATEGORICAL, feature_names, features_of
from .interval_tables import IntervalTables
from .intervals import INTERVAL_COLUMNS
from .learned_range import OUT_OF_RANGE, LearnedRange
from .request_columns import as_columns, read_requests

# By default OpenMP's threads spin while they wait for each other. Measured: on a busy machine this made training
# five times slower, and on an idle machine it doubled the CPU time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


Array = npt.NDArray[Any]
FORMAT = 3
FORMAT_BEFORE = 2  # is read, too
MEAN_MINUTES = "mean_minutes"  # beside the features in `DurationModel.contributions`
WITHOUT_DISTANCE = "_without_distance"  # ends the names of the files for requests without a distance

# Replaces NaN: XGBoost stores a matrix without NaN in a quarter of the memory. No feature is negative.
MISSING = -1.0


class DurationModel:
    """Predicts the minutes of a requested ride, with prediction intervals.

    Parameters
    ----------
    encoder : Encoder
    estimator : Estimator
        For requests with a distance, also 0 (the meter did not run).
    features : tuple of str
        Columns of the feature matrix, in order; both estimators read the same matrix.
    learned : LearnedRange, optional
        Without it the answers have no ``out_of_range``.
    without_distance : Estimator, optional
        For requests without a distance; its trees use no feature that needs one. Without it `estimator` answers
        these too.
    tables : IntervalTables, optional
        Intervals of an artefact of format 2, whose estimator has none.
    """

    def __init__(
        self,
        encoder: Encoder,
        estimator: Estimator,
        features: tuple[str, ...] = feature_names(),
        learned: LearnedRange | None = None,
        without_distance: Estimator | None = None,
        tables: IntervalTables | None = None,
    ) -> None:
        self.encoder = encoder
        self.estimator = estimator
        self.features = features
        self.learned = learned
        self.without_distance = without_distance
        self.tables = tables

    def predict(self, requests: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Duration of each requested ride.

        Parameters
        ----------
        requests : DataFrame of n rows
            ``pickup_at`` (naive: New York's wall clock; with a time zone or offset: converted to it),
            ``pickup_zone``, ``dropoff_zone``, ``distance_miles`` and ``passenger_count``. All but ``pickup_at``
            may be null, and the column ``passenger_count`` may be missing. Other columns are ignored.
            `request_columns.read_requests` says which types each may have.
        params : dict, optional
            Not used; MLflow passes it.

        Returns
        -------
        DataFrame of shape (n, 6), with the index of `requests`
            ``duration_minutes``, ``low_80_minutes``, ``high_80_minutes``, ``low_95_minutes`` and
            ``high_95_minutes``: float64, finite, 1 to 60. ``out_of_range``: bool, true where no training trip was
            like the request (see `LearnedRange.outside`), so that the minutes are a guess.

        Raises
        ------
        MlopsError
            When a request column is missing or has values of a wrong type.
        """
        asked = read_requests(requests)
        answers = self._answers(features_of(asked))
        columns = dict(zip(self._columns, answers.T, strict=True))
        outside = {OUT_OF_RANGE: self.learned.outside(asked)} if self.learned else {}
        return pd.DataFrame({**columns, **outside}, index=requests.index)

    def predict_one(self, request: Mapping[str, Any]) -> dict[str, float | bool]:
        """Prediction for one requested ride, for servers: equal to `predict`, but faster without a table.

        Parameters
        ----------
        request : mapping
            The request columns of `predict`, one value each. The first call takes seconds to prepare the trees.

        Raises
        ------
        MlopsError
            As `predict`.
        """
        asked = read_requests(as_columns(request))
        columns = features_of(asked)
        answer = self._estimator_for(columns).predict_one(self._table(columns)[0])
        if self.tables:
            answer += possible(self.tables.bounds(columns, np.array(answer)))[0].tolist()
        return {
            **dict(zip(self._columns, answer, strict=True)),
            **({OUT_OF_RANGE: bool(self.learned.outside(asked)[0])} if self.learned else {}),
        }

    def contributions(self, request: Mapping[str, Any]) -> dict[str, float]:
        """Minutes that each feature adds to the prediction for one requested ride.

        Parameters
        ----------
        request : mapping
            As in `predict_one`.

        Returns
        -------
        dict of str to float
            The features in order, and last `MEAN_MINUTES`, the mean prediction. All add up to the prediction
            before it is limited to 1 to 60 minutes.
        """
        columns = features_of(read_requests(as_columns(request)))
        minutes = self._estimator_for(columns).contributions(self._table(columns))[0]
        return dict(zip((*self.features, MEAN_MINUTES), minutes.tolist(), strict=True))

    def matrix(self, requests: pd.DataFrame) -> Array:
        """What the trees read: float32 of shape (n, features), `MISSING` for a value that is not known."""
        return self._table(features_of(read_requests(requests)))

    def get_raw_model(self) -> DurationModel:
        """The model itself; MLflow's wrapper calls this, so that callers reach `predict_one`."""
        return self

    def minutes(self, columns: Mapping[str, Array]) -> Array:
        """Minutes for features from `request_features`, float64 of shape (n,), 1 to 60."""
        return self._answers(columns)[:, 0]

    @property
    def _columns(self) -> tuple[str, ...]:
        """Names of the minutes and their bounds."""
        return (*self.estimator.columns, *(INTERVAL_COLUMNS if self.tables else ()))

    def _answers(self, columns: Mapping[str, Array]) -> Array:
        """Minutes and bounds, float64 of shape (n, columns)."""
        count = len(columns["pickup_zone"])
        answers = np.empty((count, len(self.estimator.columns)))
        for start in range(0, count, BATCH_ROWS):
            part = {name: values[start : start + BATCH_ROWS] for name, values in columns.items()}
            table, answered = self._table(part), answers[start : start + BATCH_ROWS]
            missing = np.isnan(part["distance_miles"])
            if self.without_distance is None or not missing.any():
                answered[:] = self.estimator.predict(table)
                continue
            answered[missing] = self.without_distance.predict(table[missing])
            if not missing.all():
                answered[~missing] = self.estimator.predict(table[~missing])
        if self.tables:
            return np.hstack([answers, possible(self.tables.bounds(columns, answers[:, 0]))])
        return answers

    def _estimator_for(self, columns: Mapping[str, Array]) -> Estimator:
        """The estimator that answers one request."""
        if self.without_distance and np.isnan(columns["distance_miles"][0]):
            return self.without_distance
        return self.estimator

    def _table(self, columns: Mapping[str, Array]) -> Array:
        return feature_matrix(
            self.features, columns, self.encoder.transform(columns), self.encoder.zone_codes
        )

    def importance(self) -> dict[str, float]:
        """Share of the total gain by feature, largest first; 0 for features that no tree uses."""
        gain = self.estimator.booster.get_score(importance_type="total_gain")
        shares = {name: float(np.sum(gain.get(f"f{i}", 0.0))) for i, name in enumerate(self.features)}
        total = sum(shares.values()) or 1.0
        shares = {name: share / total for name, share in shares.items()}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    def save(self, folder: Path) -> Path:
        """Write the artefact to a new folder; its path.

        Raises
        ------
        MlopsError
            When the model comes from an artefact of format 2.
        """
        if self.tables:
            raise MlopsError(
                f"{folder}: a model of format {FORMAT_BEFORE} is not written again; copy its folder"
            )
        folder.mkdir(parents=True)
        np.savez_compressed(folder / "encoder.npz", **self.encoder.tables)
        quantiles = {"": self.estimator.save(folder)}
        if self.without_distance:
            quantiles[WITHOUT_DISTANCE] = self.without_distance.save(folder, WITHOUT_DISTANCE)
        about: dict[str, Any] = {"format": FORMAT, "features": self.features, "xgboost": xgb.__version__}
        about |= {"quantiles": quantiles}
        about |= {"learned": self.learned.as_dict()} if self.learned else {}
        (folder / "model.json").write_text(json.dumps(about), encoding="utf-8")
        return folder

    @classmethod
    def load(cls, folder: Path) -> DurationModel:
        """Model that `save` wrote, now or in format 2.

        Raises
        ------
        MlopsError
            When the artefact has another format.
        """
        about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if about["format"] not in (FORMAT, FORMAT_BEFORE):
            raise MlopsError(
                f"{folder}: expected model format {FORMAT_BEFORE} or {FORMAT}; got {about['format']}"
            )
        features = tuple(about["features"])
        with np.load(folder / "encoder.npz") as tables:
            encoder = Encoder(dict(tables), [name for name in features if name in ENCODED])
        learned = about.get("learned")
        estimators = {
            ending: Estimator.load(folder, ending, quantiles)
            for ending, quantiles in about.get("quantiles", {"": None}).items()
        }
        return cls(
            encoder,
            estimators[""],
            features,
            learned and LearnedRange.from_dict(learned),
            estimators.get(WITHOUT_DISTANCE),
            IntervalTables.load(folder),
        )


def feature_matrix(
    features: Sequence[str], columns: Mapping[str, Array], encoded: Mapping[str, Array], zone_codes: Array
) -> Array:
    """Float32 matrix of shape (n, number of features), `MISSING` instead of NaN."""
    table = np.empty((len(columns["pickup_zone"]), len(features)), np.float32)
    for position, name in enumerate(features):
        values = columns[name] if name in columns else encoded[name]
        table[:, position] = zone_codes[values] if name in CATEGORICAL else values
    table[np.isnan(table)] = MISSING
    return table
