"""The course's batch scoring, written from its description: from a month's file to a file with predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_model(folder: Path, threads: int) -> tuple[Any, Any]:
    """Vectorizer and booster that `registered.fit_course` wrote."""
    import xgboost as xgb
    from sklearn.feature_extraction import DictVectorizer

    vectorizer = DictVectorizer()
    vectorizer.feature_names_ = json.loads((folder / "columns.json").read_text(encoding="utf-8"))
    vectorizer.vocabulary_ = {name: place for place, name in enumerate(vectorizer.feature_names_)}
    booster = xgb.Booster({"nthread": threads})
    booster.load_model(folder / "booster.ubj")
    return vectorizer, booster


def score_file(raw: Path, target: Path, vectorizer: Any, booster: Any) -> int:
    """Score a green month's file; returns the number of trips in `target`, those of 1 to 60 minutes.

    The course also gives each trip a random id. This is left out here: it costs time and predicts nothing.
    """
    import pandas as pd
    import xgboost as xgb

    trips = pd.read_parquet(raw)
    trips["duration"] = trips["lpep_dropoff_datetime"] - trips["lpep_pickup_datetime"]
    trips["duration"] = trips["duration"].dt.total_seconds() / 60
    trips = trips[(trips["duration"] >= 1) & (trips["duration"] <= 60)].copy()
    zones = ["PULocationID", "DOLocationID"]
    trips[zones] = trips[zones].astype(str)
    trips["PU_DO"] = trips["PULocationID"] + "_" + trips["DOLocationID"]
    records = trips[["PU_DO", "trip_distance"]].to_dict(orient="records")
    predicted = booster.predict(xgb.DMatrix(vectorizer.transform(records)))
    scored = trips[["lpep_pickup_datetime", *zones]].copy()
    scored["actual_duration"] = trips["duration"]
    scored["predicted_duration"] = predicted
    scored["diff"] = scored["actual_duration"] - scored["predicted_duration"]
    scored["model_version"] = "course"
    scored.to_parquet(target, index=False)
    return len(scored)
