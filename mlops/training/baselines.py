"""The course's recipe: the notebook of a well-known MLOps course, and the usual baseline for this task.

`DictVectorizer` makes one column for each zone pair of the training trips.
XGBoost learns from these columns and the distance, with the fixed parameters
that the course publishes. Written from that description; it contains no code
of the course.

Source: MLOps Zoomcamp, https://github.com/DataTalksClub/mlops-zoomcamp, which
prints an RMSE of 5.199 minutes (trained on green 2023-01, scored on 2023-02)
and of 5.37 minutes (2023-02, 2023-03).
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
    "tree_method": "exact",  # the meaning of "auto" when the course printed its figures
}
ROUNDS, EARLY_STOPPING_ROUNDS = 100, 20


class CourseRecipe:
    """Model that predicts the minutes of a trip by the course's recipe.

    Parameters
    ----------
    vectorizer : DictVectorizer
        Turns `records` into a sparse matrix. A zone pair that is not in the training trips sets no pair column.
    booster : xgboost.Booster
        Trained on that matrix and cut at its best round.
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
        """The recipe, trained on one table of trips, with early stopping on another.

        Parameters
        ----------
        training, validation : DataFrame
            `COLUMNS` and ``duration_minutes``, one row per trip, as `read_trips` returns them. The course's only
            rule is 1 to 60 minutes, so include the trips that our training rules reject.
        threads : int
            Threads that XGBoost uses.
        parameters, rounds, early_stopping_rounds
            The published values. A benchmark that tunes the recipe passes others.
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
        """Minutes of each request, float64 of shape (n,). Uses only `COLUMNS`."""
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
    """Booster of at most `rounds` rounds, cut at the round with the lowest validation RMSE."""
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
    """One dict per trip, as the vectorizer takes them.

    Examples
    --------
    >>> records(pd.DataFrame({"pickup_zone": [74], "dropoff_zone": [42], "distance_miles": [2.1]}))
    [{'PU_DO': '74_42', 'trip_distance': 2.1}]
    """
    pair = trips["pickup_zone"].astype(str) + "_" + trips["dropoff_zone"].astype(str)
    table = pd.DataFrame({"PU_DO": pair, "trip_distance": trips["distance_miles"]})
    return table.to_dict(orient="records")  # type: ignore[return-value]


def read_trips(clean: Path) -> pd.DataFrame:
    """All trips in a file of clean trips, with the columns that `CourseRecipe.fit` takes."""
    return pd.DataFrame(pq.read_table(clean, columns=[*COLUMNS, "duration_minutes"]).to_pandas())
