"""The process that verifies a version; it shares no memory with the process that fitted the model.

It asks no server. The version lies in its folder, and its files are those that were signed.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlops.data import schemas, trips
from mlops.errors import MlopsError
from mlops.model.request_columns import REQUEST_COLUMNS
from mlops.month import Month
from mlops.registry.client import MlflowException, mlflow
from mlops.registry.verification import Expected, without_passwords

TOLERANCE = 1e-6  # minutes
SINGLE_FRAMES = 36  # requests of the sample that are also sent as tables of one row; each costs milliseconds
CHUNK_ROWS = 262_144  # trips of a month per call, so that memory does not grow with the month
WATCH_SECONDS = 0.5  # between two checks that the parent process is alive


ODD: tuple[dict[str, Any], ...] = (
    *({zone: code} for zone in ("pickup_zone", "dropoff_zone") for code in (999, 0, -1)),
    {"distance_miles": None},
    {"distance_miles": 1000.0},
    {"passenger_count": None},
    {"pickup_zone": 999, "dropoff_zone": 999, "distance_miles": None, "passenger_count": None},
)
"""Unusual values in a request that the model must answer."""


def main() -> None:
    """Read the task from stdin and write the result to stdout, both as JSON."""
    asked = json.load(sys.stdin)
    threading.Thread(target=_leave_with, args=(asked["asker"],), daemon=True).start()
    paths = {name: Path(path) for name, path in asked["expected"].items() if path and name in _PATHS}
    examination = _Examination(Expected(**{**asked["expected"], **paths}), Path(asked["folder"]))
    passed = False
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for the result only
            reason, passed = examination.run(), True
    except Exception as error:  # any error means that the version is not verified
        reason = without_passwords(error)
    sys.stdout.write(json.dumps({"passed": passed, "reason": reason, "measured": examination.measured}))


_PATHS = ("sample", "predictions", "month_file")


def _leave_with(asker: int) -> None:
    """End this process once its parent is gone: the next attempt works in the same folder."""
    while os.getppid() == asker:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


class _Examination:
    """All checks, one after the other; the first wrong answer raises `MlopsError`."""

    def __init__(self, expected: Expected, folder: Path) -> None:
        self.expected, self.folder = expected, folder
        self.measured: dict[str, float] = {"largest_difference": 0.0}

    def run(self) -> str:
        """Make all checks; returns what was verified, in words."""
        with _doing("the version cannot be loaded"):
            model = _load(self.folder / "version")
        with _doing(f"the sample {self.expected.sample} cannot be read"):
            requests, tested = _read_sample(self.expected.sample)
        self.replay_sample(model, requests, tested)
        _check_refusals(model, requests.iloc[[0]])
        _check_odd_requests(model, requests)
        verified = f"{len(requests):,} requests in batch and one by one"
        month_file, predictions = self.expected.month_file, self.expected.predictions
        if month_file and predictions:
            rows = self.replay_month(model, month_file, predictions)
            verified += f", and {rows:,} trips of {self.expected.service} {self.expected.month}"
        largest = self.measured["largest_difference"]
        return f"predicts the same as in its test ({verified}; within {largest:.1g} minutes)"

    def replay_sample(self, model: Any, requests: pd.DataFrame, tested: pd.DataFrame) -> None:
        """Compare predictions for the sample: in batch, as tables of one row, and without a table."""
        few = np.unique(np.linspace(0, len(requests) - 1, SINGLE_FRAMES).round().astype(np.int64))
        with _doing("the sample cannot be predicted in batch"):
            answered = model.predict(requests)
        self.compare("the sample in batch", answered, tested)
        with _doing("the sample cannot be predicted in tables of one row"):
            answered = pd.concat([model.predict(requests.iloc[[row]]) for row in few])
        self.compare("the sample in tables of one row", answered, tested.iloc[few])
        with _doing("the sample cannot be predicted one by one"):
            answered = pd.DataFrame(map(model.get_raw_model().predict_one, requests.to_dict("records")))
        self.compare("the sample one by one", answered, tested)
        self.measured |= {"sample_rows": len(requests), "one_by_one": len(answered)}

    def replay_month(self, model: Any, month_file: Path, predictions: Path) -> int:
        """Compare the minutes of every trip of the test month; returns the number of trips."""
        what = f"the test month {month_file.name}"
        with _doing(f"{what} cannot be predicted again"):
            clean = month_file if self.expected.is_clean else self.folder / "month.parquet"
            if not self.expected.is_clean:
                trips.clean_file(month_file, self.expected.service, Month.parse(self.expected.month), clean)
            requests, tested = schemas.read_requests(clean), np.load(predictions)
            chunks = [requests.iloc[i : i + CHUNK_ROWS] for i in range(0, len(requests), CHUNK_ROWS)]
            # MLflow's check of each value takes longer than the trees.
            predict = model.get_raw_model().predict
            minutes = [predict(chunk)["duration_minutes"].to_numpy() for chunk in chunks]
        answered = pd.DataFrame({"duration_minutes": np.concatenate(minutes) if minutes else []})
        self.compare(what, answered, pd.DataFrame({"duration_minutes": tested}))
        self.measured["rows"] = len(requests)
        return len(requests)

    def compare(self, what: str, answered: pd.DataFrame, tested: pd.DataFrame) -> None:
        """Raise unless the predictions are the same as in the test."""
        if len(answered) != len(tested):
            raise MlopsError(f"{what}: expected {len(tested):,} predictions; got {len(answered):,}")
        if list(answered.columns) != list(tested.columns):
            raise MlopsError(f"{what}: expected {list(tested.columns)}; got {list(answered.columns)}")
        expected, got = tested.to_numpy(np.float64), answered.to_numpy(np.float64)
        gaps = np.abs(got - expected)
        wrong = ~(gaps <= TOLERANCE)  # NaN is wrong too
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise MlopsError(
                f"{what}: {wrong.any(axis=1).sum():,} of {len(tested):,} predictions differ from the test; "
                f"in row {row} expected {tested.columns[column]} {expected[row, column]:.6f}, "
                f"got {got[row, column]:.6f}"
            )
        self.measured["largest_difference"] = max(
            self.measured["largest_difference"], float(gaps.max(initial=0.0))
        )


def _load(version: Path) -> Any:
    """Load the model with the code inside its version."""
    model = mlflow.pyfunc.load_model(str(version))
    module = sys.modules[type(model.get_raw_model()).__module__]
    code = Path(str(module.__file__)).resolve()
    if not code.is_relative_to(version.resolve()):
        raise MlopsError(f"expected the model to use the code inside its version, {version}; got {code}")
    return model


def _read_sample(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Requests, and their predictions in the test."""
    stored = pd.read_parquet(path)
    if stored.empty:
        raise MlopsError("expected requests; got none")
    return pd.DataFrame(schemas.REQUESTS.validate(stored)), stored.drop(columns=list(REQUEST_COLUMNS))


def _check_refusals(model: Any, request: pd.DataFrame) -> None:
    """Raise unless the schema refuses a missing column by name, and the schema or the model a wrong value."""
    wrong = {
        "a request without pickup_zone": (request.drop(columns="pickup_zone"), MlflowException),
        "a pickup_zone of text": (request.assign(pickup_zone="downtown"), Exception),
    }
    for what, (frame, refusal) in wrong.items():
        try:
            got = f"the answer {model.predict(frame).to_dict('records')}"
        except Exception as error:
            if isinstance(error, refusal) and "pickup_zone" in str(error):
                continue
            got = without_passwords(error)
        by = "the schema" if refusal is MlflowException else "the model"
        raise MlopsError(f"{what}: expected {by} to refuse it by name; got {got}")


def _check_odd_requests(model: Any, requests: pd.DataFrame) -> None:
    """Raise unless unknown zones and nulls get a plausible duration, in a table and without one."""
    ordinary = requests.iloc[0].to_dict()
    frame = pd.DataFrame([ordinary | odd for odd in ODD]).astype(requests.dtypes.to_dict())
    with _doing("requests with unknown zones and nulls cannot be predicted"):
        in_batch = model.predict(frame).to_dict("records")
        singly = [model.get_raw_model().predict_one(ordinary | odd) for odd in ODD]
    for odd, answers in zip((*ODD, *ODD), (*in_batch, *singly), strict=True):
        _check_possible(odd, answers)


def _check_possible(odd: Mapping[str, Any], answers: Mapping[str, float]) -> None:
    for name, minutes in answers.items():
        if not name.endswith("_minutes"):
            continue
        if not trips.SHORTEST_MINUTES <= minutes <= trips.LONGEST_MINUTES:  # NaN is not
            raise MlopsError(
                f"a request with {dict(odd)}: expected {name} from {trips.SHORTEST_MINUTES:g} to "
                f"{trips.LONGEST_MINUTES:g}; got {minutes}"
            )


@contextlib.contextmanager
def _doing(trouble: str) -> Iterator[None]:
    """Turn any error raised inside the block into an `MlopsError` that begins with `trouble`."""
    try:
        yield
    except Exception as error:
        raise MlopsError(f"{trouble} ({without_passwords(error)})") from error


if __name__ == "__main__":
    main()
