"""`DurationModel`: encoder, boosted trees, intervals and learned range in one artefact.

An artefact is a folder of four files: ``booster.ubj``, ``encoder.npz``,
``intervals.npz`` and ``model.json``. It contains no pickle. MLflow loads it with
`_load_pyfunc`.
"""

from __future__ import annotations

import functools
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
from .features import BATCH_ROWS, CATEGORICAL, feature_names, features_of
from .intervals import Intervals
from .learned_range import OUT_OF_RANGE, LearnedRange
from .request_columns import as_columns, read_requests
from .row_predictor import Forest

# By default OpenMP's threads spin while they wait for each other. Measured: on a busy machine this made training
# five times slower, and on an idle machine it doubled the CPU time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


Array = npt.NDArray[Any]
FORMAT = 2
SHORTEST_MINUTES, LONGEST_MINUTES = 1.0, 60.0  # range of the training durations, so also of the predictions


# Replaces NaN: XGBoost stores a matrix without NaN in a quarter of the memory. No feature is negative.
MISSING = -1.0


class DurationModel:
    """Predicts the minutes of a requested ride, with prediction intervals.

    Parameters
    ----------
    encoder : Encoder
    booster : xgboost.Booster
    features : tuple of str
        Columns of the feature matrix, in order.
    intervals : Intervals, optional
        Without intervals, as during tuning, only the minutes are predicted.
    learned : LearnedRange, optional
        Without it, as in artefacts from before 2026-12, the answers have no ``out_of_range``.
    """

    def __init__(
        self,
        encoder: Encoder,
        booster: xgb.Booster,
        features: tuple[str, ...] = feature_names(),
        intervals: Intervals | None = None,
        learned: LearnedRange | None = None,
    ) -> None:
        self.encoder = encoder
        self.booster = booster
        self.features = features
        self.intervals = intervals
        self.learned = learned

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
        columns = features_of(asked)
        minutes = self.minutes(columns)
        bounds = self.intervals.bounds(columns, minutes) if self.intervals else {}
        bounds = {name: np.clip(ends, SHORTEST_MINUTES, LONGEST_MINUTES) for name, ends in bounds.items()}
        outside = {OUT_OF_RANGE: self.learned.outside(asked)} if self.learned else {}
        return pd.DataFrame({"duration_minutes": minutes, **bounds, **outside}, index=requests.index)

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
        row = self._table(columns)[0]
        minutes = _possible(self._forest.predict_one(row))
        bounds = self.intervals.bounds(columns, np.array([minutes])) if self.intervals else {}
        return {
            "duration_minutes": minutes,
            **{name: _possible(float(end[0])) for name, end in bounds.items()},
            **({OUT_OF_RANGE: bool(self.learned.outside(asked)[0])} if self.learned else {}),
        }

    def get_raw_model(self) -> DurationModel:
        """The model itself; MLflow's wrapper calls this, so that callers reach `predict_one`."""
        return self

    @functools.cached_property
    def _forest(self) -> Forest:
        return Forest.from_booster(bytes(self.booster.save_raw("json")))

    def minutes(self, columns: Mapping[str, Array]) -> Array:
        """Minutes for features from `request_features`, float64 of shape (n,), 1 to 60."""
        count = len(columns["pickup_zone"])
        minutes = np.empty(count, np.float64)
        for start in range(0, count, BATCH_ROWS):
            part = {name: values[start : start + BATCH_ROWS] for name, values in columns.items()}
            minutes[start : start + BATCH_ROWS] = self.booster.inplace_predict(self._table(part))
        return np.clip(minutes, SHORTEST_MINUTES, LONGEST_MINUTES)

    def _table(self, columns: Mapping[str, Array]) -> Array:
        return feature_matrix(
            self.features, columns, self.encoder.transform(columns), self.encoder.zone_codes
        )

    def importance(self) -> dict[str, float]:
        """Share of the total gain by feature, largest first; 0 for features that no tree uses."""
        gain = self.booster.get_score(importance_type="total_gain")
        shares = {name: float(np.sum(gain.get(f"f{i}", 0.0))) for i, name in enumerate(self.features)}
        total = sum(shares.values()) or 1.0
        shares = {name: share / total for name, share in shares.items()}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    def save(self, folder: Path) -> Path:
        """Write the artefact to a new folder; its path."""
        folder.mkdir(parents=True)
        self.booster.save_model(folder / "booster.ubj")
        np.savez_compressed(folder / "encoder.npz", **self.encoder.tables)
        if self.intervals:
            np.savez_compressed(folder / "intervals.npz", **self.intervals.tables)
        about = {"format": FORMAT, "features": self.features, "xgboost": xgb.__version__}
        about |= {"learned": self.learned.as_dict()} if self.learned else {}
        (folder / "model.json").write_text(json.dumps(about), encoding="utf-8")
        return folder

    @classmethod
    def load(cls, folder: Path) -> DurationModel:
        """Model that `save` wrote.

        Raises
        ------
        MlopsError
            When the artefact has another format.
        """
        about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise MlopsError(f"{folder}: expected model format {FORMAT}; got {about['format']}")
        features = tuple(about["features"])
        encoder = Encoder(_arrays(folder / "encoder.npz"), [name for name in features if name in ENCODED])
        calibrated = (folder / "intervals.npz").is_file()
        intervals = Intervals(_arrays(folder / "intervals.npz")) if calibrated else None
        booster = xgb.Booster(model_file=folder / "booster.ubj")
        learned = about.get("learned")  # absent in artefacts of before
        return cls(encoder, booster, features, intervals, learned and LearnedRange.from_dict(learned))


def _possible(minutes: float) -> float:
    """Minutes, limited to the range of durations."""
    return min(max(minutes, SHORTEST_MINUTES), LONGEST_MINUTES)


def _arrays(path: Path) -> dict[str, Array]:
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


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
