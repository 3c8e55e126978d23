"""Answers of a version to a month's trips: those of the model, kept on disk, complete or absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from support.tracked import NAME
from support.watched_months import prepared

from mlops import config
from mlops.data import schemas
from mlops.errors import MlopsError, UntrustedError
from mlops.model.intervals import INTERVAL_COLUMNS
from mlops.monitoring import answers
from mlops.monitoring.months import Prepared
from mlops.registry import loading, signature, versions
from mlops.registry.local_copy import Loaded
from mlops.registry.signed_version import Version

EXPECTED = "expected finite numbers in a column duration_minutes for each of 350 trips; got"


@pytest.fixture
def month(tmp_path: Path) -> Prepared:
    return prepared(tmp_path, 350, distance_miles=np.where(np.arange(350) % 9, 2.5, np.nan))


class Model:
    """A model that answers with these columns."""

    def __init__(self, **columns: Any) -> None:
        self.columns = columns

    def predict(self, requests: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({name: make(requests) for name, make in self.columns.items()})


def loads(patch: pytest.MonkeyPatch, model: Any) -> Version:
    """A version whose model, when it is loaded, is this one."""
    version = Version(NAME, "7", "", {"run_key": "ab" * 32})
    patch.setattr(loading, "load", lambda version, store: Loaded(version, model, Path("nowhere")))
    return version


def miles(requests: pd.DataFrame) -> pd.Series:
    return requests["distance_miles"].fillna(1.0) * 3


def test_answers_are_those_of_the_model(
    sound: Path, month: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "BATCH_ROWS", 100)
    version = versions.get(NAME, "3")
    path = answers.answer(version, month, threads=1)
    found = pd.read_parquet(path)
    model = loading.load(version, config.state().versions).model
    expected = model.predict(schemas.read_requests(month.clean))[[*answers.COLUMNS]].astype(np.float32)
    pd.testing.assert_frame_equal(found, expected)
    assert [len(batch["duration_minutes"]) for batch in answers.read(path)] == [100, 100, 100, 50]


def test_answers_are_computed_once(month: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    version = loads(monkeypatch, Model(duration_minutes=miles))
    path = answers.answer(version, month, 1)
    loads(monkeypatch, None)
    assert answers.answer(version, month, 1) == path
    other = Version(NAME, "7", "", {"run_key": "cd" * 32})  # of another registry
    with pytest.raises(MlopsError, match="it cannot answer"):
        answers.answer(other, month, 1)


def test_the_model_may_use_so_many_threads(month: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Any, int]] = []
    monkeypatch.setattr(answers, "limit_threads", lambda *arguments: given.append(arguments))
    model = Model(duration_minutes=miles)
    answers.answer(loads(monkeypatch, model), month, 3)
    assert given == [(model, 3)]


def test_answers_to_other_trips_are_replaced(month: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    version = loads(monkeypatch, Model(duration_minutes=miles))
    path = answers.answer(version, month, 1)
    pq.write_table(pq.read_table(path).slice(1), path)
    answers.answer(version, month, 1)
    assert pq.read_metadata(path).num_rows == 350


@pytest.mark.parametrize("content", [b"", b"PAR1"])
def test_a_damaged_file_is_replaced(content: bytes, month: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    version = loads(monkeypatch, Model(duration_minutes=miles))
    path = answers.answer(version, month, 1)
    path.write_bytes(content)
    answers.answer(version, month, 1)
    assert pq.read_metadata(path).num_rows == 350


def test_an_older_version_answers_less(month: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    version = loads(monkeypatch, Model(duration_minutes=miles, low_80_minutes=miles, note=lambda r: "x"))
    schema = pq.read_schema(answers.answer(version, month, 1))
    assert {field.name: str(field.type) for field in schema} == {
        "duration_minutes": "float",
        "low_80_minutes": "float",
    }
    assert set(schema.names) <= {"duration_minutes", *INTERVAL_COLUMNS}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Model(minutes=miles), rf"{EXPECTED} the columns \['minutes'\]"),
        (Model(duration_minutes=lambda r: r["distance_miles"]), f"{EXPECTED} others"),
        (Model(duration_minutes=lambda r: r["fare"]), r"it cannot answer \('fare'\)"),
        (Model(duration_minutes=lambda r: "long"), "it cannot answer"),
    ],
)
def test_a_version_that_cannot_answer(
    model: Model, said: str, month: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = loads(monkeypatch, model)
    with pytest.raises(MlopsError, match=f"models:/{NAME}/7: {said}") as raised:
        answers.answer(version, month, 1)
    assert "Make another version champion, or train it again with --force." in str(raised.value)
    assert not [*(config.state().monitoring / "answers").iterdir()]


def test_a_version_without_signature_is_not_loaded(sound: Path, month: Prepared) -> None:
    version = versions.tag(versions.get(NAME, "3"), {signature.TAG: "{}"})
    with pytest.raises(UntrustedError, match="nothing of it is loaded"):
        answers.answer(version, month, 1)
