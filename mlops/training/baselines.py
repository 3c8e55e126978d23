"""The recipe that everybody copies, as the baseline to beat: zones as one string, the distance, deep trees.

`DictVectorizer` makes one column of every pair of zones seen in training, and
XGBoost learns from these and the distance, with the parameters that the course
publishes. Written from that description; no code of the course is here.

Source: MLOps Zoomcamp, https://github.com/DataTalksClub/mlops-zoomcamp, which
prints 5.199 minutes (learnt from green 2023-01, scored on 2023-02) and 5.37
(2023-02, 2023-03).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
import xgboost as xgb
from sklearn.feature_extraction import DictVectorizer

Array = npt.NDArray[Any]

COLUMNS = ("pickup_zone", "dropoff_zone", "distance_miles")
PARAMETERS: Mapping[str, Any] = {
    "learning_rate": 0.09585355369315604,
    "max_depth": 30,
    "min_child_weight": 1.060597050922164,
    "reg_alpha": 0.018060244040060163,
    "reg_lambda": 0.011658731377413597,
    "objective": "reg:squarederror",
    "seed": 42,
    "tree_method": "exact",  # what "auto" meant when the figures were printed
}
ROUNDS, EARLY_STOPPING_ROUNDS = 100, 20


class CourseRecipe:
    """Minutes of a ride by the course's recipe.

    Parameters
    ----------
    vectorizer : DictVectorizer
        From `records` to a sparse matrix; a pair of zones that it has not seen is a row without a pair.
    booster : xgboost.Booster
        Learnt from that matrix, cut at its best round.
    """

    def __init__(self, vectorizer: DictVectorizer, booster: xgb.Booster) -> None:
        self.vectorizer = vectorizer
        self.booster = booster

    @classmethod
    def fit(
        cls,
        training: pd.DataFrame,
        validation: pd.DataFrame,
        *,
        threads: int,
        parameters: Mapping[str, Any] = PARAMETERS,
        rounds: int = ROUNDS,
        early_stopping_rounds: int = EARLY_STOPPING_ROUNDS,
    ) -> CourseRecipe:
        """The recipe, learnt from one table of trips and stopped by another.

        Parameters
        ----------
        training, validation : DataFrame
            `COLUMNS` and ``duration_minutes``, one row a trip, as from `read_trips`. The course has no other rule
            than 1 to 60 minutes, so trips that our training rules reject belong in it too.
        threads : int
            Of XGBoost.
        parameters, rounds, early_stopping_rounds
            The published ones; its tuning varies them.
        """
        vectorizer = DictVectorizer()
        matrix = xgb.DMatrix(
            vectorizer.fit_transform(records(training)), training["duration_minutes"], nthread=threads
        )
        held_out = xgb.DMatrix(
            vectorizer.transform(records(validation)), validation["duration_minutes"], nthread=threads
        )
        booster = train(matrix, held_out, parameters, rounds, early_stopping_rounds, threads)
        return cls(vectorizer, booster)

    def predict(self, requests: pd.DataFrame) -> Array:
        """Minutes of each request, float64 of shape (n,); of its columns only `COLUMNS` are looked at."""
        matrix = xgb.DMatrix(self.vectorizer.transform(records(requests)))
        return self.booster.predict(matrix).astype(np.float64)


def train(
    training: xgb.DMatrix,
    validation: xgb.DMatrix,
    parameters: Mapping[str, Any],
    rounds: int,
    early_stopping_rounds: int,
    threads: int,
    callbacks: Sequence[xgb.callback.TrainingCallback] = (),
) -> xgb.Booster:
    """Booster of at most `rounds` rounds, cut at the one with the least validation RMSE."""
    booster = xgb.train(
        {**parameters, "nthread": threads},
        training,
        rounds,
        evals=[(validation, "validation")],
        early_stopping_rounds=early_stopping_rounds,
        callbacks=list(callbacks),
        verbose_eval=False,
    )
    return booster[: booster.best_iteration + 1]


def records(trips: pd.DataFrame) -> list[dict[str, Any]]:
    """One dict a trip, as the vectorizer takes them.

    Examples
    --------
    >>> records(pd.DataFrame({"pickup_zone": [74], "dropoff_zone": [42], "distance_miles": [2.1]}))
    [{'PU_DO': '74_42', 'trip_distance': 2.1}]
    """
    pair = trips["pickup_zone"].astype(str) + "_" + trips["dropoff_zone"].astype(str)
    table = pd.DataFrame({"PU_DO": pair, "trip_distance": trips["distance_miles"]})
    return table.to_dict(orient="records")  # type: ignore[return-value]


def read_trips(clean: Path) -> pd.DataFrame:
    """The columns that `CourseRecipe.fit` takes, of all trips in a file of clean trips."""
    return pd.DataFrame(pq.read_table(clean, columns=[*COLUMNS, "duration_minutes"]).to_pandas())
