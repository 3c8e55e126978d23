"""`DurationModel`: encoder, boosted trees and intervals as one artefact. The only importer of xgboost.

An artefact is a folder of four files and no pickle: ``booster.ubj``,
``encoder.npz``, ``intervals.npz`` and ``model.json``. MLflow loads it through
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
from .features import BATCH_ROWS, CATEGORICAL, as_columns, feature_names, request_features
from .intervals import Intervals
from .row_predictor import Forest

# Before the import, which reads it. By default OpenMP's threads spin while they wait for each other; on a machine
# with something else to do that made training five times slower (measured), and twice as dear on a quiet one.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


Array = npt.NDArray[Any]
FORMAT = 2
SHORTEST_MINUTES, LONGEST_MINUTES = 1.0, 60.0  # the range of what is learnt, and so of what is answered


MISSING = (
    -1.0
)  # in a matrix without gaps, which XGBoost packs four times closer; no quantity here is negative


class DurationModel:
    """Minutes that a requested ride will take, and the range that they will most likely lie in.

    Parameters
    ----------
    encoder : Encoder
    booster : xgboost.Booster
    features : tuple of str
        Columns of its matrix, in their order.
    intervals : Intervals, optional
        Without them, as while a model is tuned, only the minutes are predicted.
    """

    def __init__(
        self,
        encoder: Encoder,
        booster: xgb.Booster,
        features: tuple[str, ...] = feature_names(),
        intervals: Intervals | None = None,
    ) -> None:
        self.encoder = encoder
        self.booster = booster
        self.features = features
        self.intervals = intervals

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
        DataFrame of shape (n, 5)
            ``duration_minutes``, ``low_80_minutes``, ``high_80_minutes``, ``low_95_minutes`` and
            ``high_95_minutes``: float64, finite, 1 to 60, with the index of `requests`.

        Raises
        ------
        MlopsError
            When a request column is missing or does not hold what it should.
        """
        columns = request_features(requests)
        minutes = self.minutes(columns)
        bounds = self.intervals.bounds(columns, minutes) if self.intervals else {}
        bounds = {name: np.clip(ends, SHORTEST_MINUTES, LONGEST_MINUTES) for name, ends in bounds.items()}
        return pd.DataFrame({"duration_minutes": minutes, **bounds}, index=requests.index)

    def predict_one(self, request: Mapping[str, Any]) -> dict[str, float]:
        """Duration of one requested ride, as `predict` gives it, without a table's cost: for a server.

        Parameters
        ----------
        request : mapping
            The request columns of `predict`, one value each. The first call takes seconds to lay the trees out.

        Raises
        ------
        MlopsError
            As `predict`.
        """
        columns = request_features(as_columns(request))
        row = self._table(columns)[0]
        minutes = _possible(self._forest.predict_one(row))
        bounds = self.intervals.bounds(columns, np.array([minutes])) if self.intervals else {}
        return {
            "duration_minutes": minutes,
            **{name: _possible(float(end[0])) for name, end in bounds.items()},
        }

    def get_raw_model(self) -> DurationModel:
        """Itself: what MLflow's wrapper of the same method hands out, for `predict_one`."""
        return self

    @functools.cached_property
    def _forest(self) -> Forest:
        return Forest.from_booster(bytes(self.booster.save_raw("json")))

    def minutes(self, columns: Mapping[str, Array]) -> Array:
        """Minutes for request features as from `request_features`, float64 of shape (n,), 1 to 60."""
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
        """Share of the total gain by feature, most first; 0 for features that no tree uses."""
        gain = self.booster.get_score(importance_type="total_gain")
        shares = {name: float(np.sum(gain.get(f"f{i}", 0.0))) for i, name in enumerate(self.features)}
        total = sum(shares.values()) or 1.0
        shares = {name: share / total for name, share in shares.items()}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    def save(self, folder: Path) -> Path:
        """The artefact's folder, written anew."""
        folder.mkdir(parents=True)
        self.booster.save_model(folder / "booster.ubj")
        np.savez_compressed(folder / "encoder.npz", **self.encoder.tables)
        if self.intervals:
            np.savez_compressed(folder / "intervals.npz", **self.intervals.tables)
        about = {"format": FORMAT, "features": self.features, "xgboost": xgb.__version__}
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
        features = tuple(about["features"])
        encoder = Encoder(_arrays(folder / "encoder.npz"), [name for name in features if name in ENCODED])
        calibrated = (folder / "intervals.npz").is_file()
        intervals = Intervals(_arrays(folder / "intervals.npz")) if calibrated else None
        booster = xgb.Booster(model_file=folder / "booster.ubj")
        return cls(encoder, booster, features, intervals)


def _possible(minutes: float) -> float:
    """Minutes kept to what a duration can be."""
    return min(max(minutes, SHORTEST_MINUTES), LONGEST_MINUTES)


def _arrays(path: Path) -> dict[str, Array]:
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def feature_matrix(
    features: Sequence[str], columns: Mapping[str, Array], encoded: Mapping[str, Array], zone_codes: Array
) -> Array:
    """Float32 matrix of shape (n, number of features) without gaps."""
    table = np.empty((len(columns["pickup_zone"]), len(features)), np.float32)
    for position, name in enumerate(features):
        values = columns[name] if name in columns else encoded[name]
        table[:, position] = zone_codes[values] if name in CATEGORICAL else values
    table[np.isnan(table)] = MISSING
    return table
