"""The course's web service, written from its description: a Flask app with a vectorizer and a booster.

``gunicorn course_service:app`` serves it, in the peers' environment. ``COURSE_MODEL`` is the folder with the
model: ``booster.json`` and ``columns.json``. The course serves single rides. A list is answered in the same way:
all rides through the vectorizer at once, then through the trees.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import xgboost as xgb
from flask import Flask, jsonify, request
from sklearn.feature_extraction import DictVectorizer

FOLDER = Path(os.environ["COURSE_MODEL"])


def read_vectorizer(columns: list[str]) -> DictVectorizer:
    """Vectorizer with these columns."""
    vectorizer = DictVectorizer()
    vectorizer.feature_names_ = columns
    vectorizer.vocabulary_ = {name: place for place, name in enumerate(columns)}
    return vectorizer


vectorizer = read_vectorizer(json.loads((FOLDER / "columns.json").read_text(encoding="utf-8")))
booster = xgb.Booster({"nthread": 1})
booster.load_model(FOLDER / "booster.json")
app = Flask("duration-prediction")


def prepare_features(ride: dict) -> dict:
    """Zone pair and distance of a ride, as the vectorizer takes them."""
    pair = f"{ride['PULocationID']}_{ride['DOLocationID']}"
    return {"PU_DO": pair, "trip_distance": ride["trip_distance"]}


@app.route("/predict", methods=["POST"])
def predict():
    """The duration of a ride, or of each ride of a list, in minutes."""
    asked = request.get_json()
    rides = asked if isinstance(asked, list) else [asked]
    matrix = xgb.DMatrix(vectorizer.transform([prepare_features(ride) for ride in rides]))
    answers = [{"duration": float(minutes)} for minutes in booster.predict(matrix)]
    return jsonify(answers if isinstance(asked, list) else answers[0])
