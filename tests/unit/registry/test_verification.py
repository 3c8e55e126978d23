"""A sound version is proven by a fresh process; whatever is wrong with it, or with that process, is the reason."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.builders import make_batch, make_features, make_requests

from mlops.data import schemas, trips
from mlops.data.synthetic import source
from mlops.errors import ConfigError, TrackingDownError
from mlops.model.duration_model import DurationModel
from mlops.model.features import REQUEST_COLUMNS
from mlops.model.intervals import Intervals
from mlops.month import Month
from mlops.registry import artifact, client, run_lifecycle
from mlops.registry.client import mlflow
from mlops.registry.verification import Expected, digest, verify, write_sample
from mlops.training.boosting import build_matrix, train

NAME, URI = "trip-duration-sample", "models:/trip-duration-sample/1"
JUNE = Month(2023, 6)


def fitted(seed: int) -> DurationModel:
    """A small model."""
    matrix = build_matrix([make_batch(300, seed)], seed=seed, threads=1)
    fit = train(matrix, {"learning_rate": 0.3, "max_depth": 4}, seed=seed, threads=1, rounds=5)
    known, took = make_features(300, seed + 1)
    predicted = DurationModel(matrix.encoder, fit.booster).minutes(known)
    return DurationModel(matrix.encoder, fit.booster, intervals=Intervals.fit(known, predicted, took))


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """What version 1 answered when it was tested, on a raw month."""
    folder = tmp_path_factory.mktemp("tested")
    model = fitted(seed=0)
    raw = source.write_month(folder / "green_tripdata_2023-06.parquet", "green", JUNE, rows=1500)
    trips.clean_file(raw, "green", JUNE, folder / "clean.parquet")
    requests = schemas.read_requests(folder / "clean.parquet")
    predictions = model.predict(requests)
    np.save(folder / "predictions.npy", predictions["duration_minutes"].to_numpy(np.float32))
    return Expected(
        digest(model.save(folder / "model")),
        write_sample(folder / "sample.parquet", requests, predictions),
        folder / "predictions.npy",
        raw,
        "green",
        "2023-06",
    )


@pytest.fixture(scope="module")
def registered(
    migrated_store: Path, tested: Expected, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A tracking store with version 1, and the folder that the store keeps the version in."""
    state = tmp_path_factory.mktemp("state")
    shutil.copy(migrated_store, state / "mlflow.db")
    uri = f"sqlite:///{state / 'mlflow.db'}"
    client.connect(uri, state, 5.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_STATE_DIR", str(state))
        with run_lifecycle.start_run(NAME, "r", "key") as run:
            logged = artifact.log_model(
                run.run_id, run.experiment_id, tested.sample.parent / "model", make_requests(3)
            )
    mlflow.MlflowClient().create_registered_model(NAME)
    mlflow.MlflowClient().create_model_version(NAME, logged, run.run_id)
    (kept,) = (state / "artifacts").rglob("MLmodel")
    return uri, kept.parent


@pytest.fixture
def version(registered: tuple[str, Path], tmp_path: Path) -> Iterator[Path]:
    """The folder that the store keeps version 1 in, for a test to damage; connected to."""
    uri, kept = registered
    client.connect(uri, tmp_path, 5.0)
    shutil.copytree(kept, tmp_path / "whole")
    yield kept
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(tmp_path / "whole", kept)


@pytest.fixture
def sample_only(tested: Expected) -> Expected:
    """What is known of an old version whose raw month is gone."""
    return Expected(tested.artefact_sha256, tested.sample)


def refused(expected: Expected, folder: Path, **options: float) -> str:
    """Why the proof failed, without the version's name."""
    proof = verify(URI, expected, folder / "scratch", **options)
    assert not proof.passed
    assert proof.measured["seconds"] > 0
    assert proof.reason.startswith(f"{URI}: ")
    return proof.reason.removeprefix(f"{URI}: ")


# --- What is expected ---------------------------------------------------------------------------------------


def test_a_sample_is_evenly_spaced_each_request_beside_its_answer(tmp_path: Path) -> None:
    requests = make_requests(11).assign(unknown_to_the_model=1).set_axis(range(50, 61))
    predictions = pd.DataFrame({"duration_minutes": np.arange(11.0)}, index=requests.index)
    stored = pd.read_parquet(write_sample(tmp_path / "sample.parquet", requests, predictions, rows=3))

    assert stored["duration_minutes"].tolist() == [0, 5, 10]
    expected = requests[list(REQUEST_COLUMNS)].iloc[[0, 5, 10]].reset_index(drop=True)
    pd.testing.assert_frame_equal(stored[list(REQUEST_COLUMNS)], expected)
    assert list(stored.columns) == [*REQUEST_COLUMNS, "duration_minutes"]


def test_a_sample_of_fewer_trips_is_all_of_them(tmp_path: Path) -> None:
    requests = make_requests(5)
    write_sample(tmp_path / "sample.parquet", requests, pd.DataFrame({"duration_minutes": np.ones(5)}))

    assert len(pd.read_parquet(tmp_path / "sample.parquet")) == 5


def test_a_digest_is_about_names_and_bytes_and_not_about_where(tmp_path: Path) -> None:
    def folder(name: str, files: dict[str, str]) -> str:
        for file, text in files.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(text)
        return digest(tmp_path / name)

    whole = folder("one", {"a": "1", "b": "2"})
    assert folder("two", {"b": "2", "a": "1"}) == whole
    others = [
        {"a": "1"},
        {"a": "12", "b": ""},
        {"a": "1", "c": "2"},
        {"a": "2", "b": "1"},
        {"a": "1", "f/b": "2"},
    ]
    assert len({whole, *(folder(f"other {i}", files) for i, files in enumerate(others))}) == 6


def test_a_months_file_goes_with_its_predictions(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^raw: expected predictions, service and month beside .* got pred"
    ):
        Expected("", tmp_path, None, Path("raw"), "green", "2023-06")


# --- A sound version ----------------------------------------------------------------------------------------


def test_a_sound_version_is_proven_on_the_raw_month_and_one_by_one(
    version: Path, tested: Expected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = pd.read_parquet(tested.sample)
    proof = verify(URI, tested, tmp_path / "scratch")
    rows = len(np.load(tested.predictions))

    assert proof.passed, proof.reason
    assert 1300 < rows < 1500
    assert proof.reason == (
        f"{URI}: answers as it was tested (300 requests in batch and one by one, and {rows:,} trips of "
        "green 2023-06; within 0 minutes)"
    )
    seconds = proof.measured.pop("seconds")
    assert 0 < seconds < 60
    assert proof.measured == {"largest_difference": 0, "sample_rows": 300, "one_by_one": 300, "rows": rows}
    assert json.loads(json.dumps(proof.as_dict()))["passed"] is True
    pd.testing.assert_frame_equal(pd.read_parquet(tested.sample), before)
    assert sorted(p.name for p in (tmp_path / "scratch").iterdir()) == ["month.parquet", "version"]


def test_an_old_version_is_proven_by_its_sample_alone(
    version: Path, sample_only: Expected, tmp_path: Path
) -> None:
    proof = verify(URI, sample_only, tmp_path / "scratch")

    assert proof.passed, proof.reason
    assert "300 requests in batch and one by one; within 0 minutes" in proof.reason
    assert "rows" not in proof.measured


# --- A version that is not what was tested ------------------------------------------------------------------


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "name", "said"),
    [
        (flip_a_byte, "data/model/booster.ubj", "expected files with digest "),
        (truncate, "data/model/encoder.npz", "encoder.npz cannot be read (File is not a zip file)"),
        (Path.unlink, "data/model/booster.ubj", "booster.ubj is missing"),
        (truncate, "data/model/model.json", "model.json cannot be read (Unterminated string"),
        (Path.unlink, "MLmodel", "MLmodel cannot be read ("),
        (shutil.rmtree, ".", "MLmodel cannot be read (No such artifact: 'MLmodel')"),
    ],
)
def test_a_damaged_artefact_is_refused_by_name(
    damage: Callable[[Path], None],
    name: str,
    said: str,
    version: Path,
    sample_only: Expected,
    tmp_path: Path,
) -> None:
    damage(version / name)

    assert refused(sample_only, tmp_path).startswith(f"the artefact is damaged: {said}")


def test_a_version_that_the_registry_does_not_know_is_refused(
    version: Path, sample_only: Expected, tmp_path: Path
) -> None:
    proof = verify("models:/trip-duration-sample/7", sample_only, tmp_path / "scratch")

    assert not proof.passed
    assert "models:/trip-duration-sample/7 cannot be fetched: MLflow failed: Model Version " in proof.reason


def test_another_model_under_the_same_version_answers_otherwise(
    version: Path, sample_only: Expected, tmp_path: Path
) -> None:
    shutil.rmtree(version / "data" / "model")
    other = digest(fitted(seed=5).save(version / "data" / "model"))

    said = refused(replace(sample_only, artefact_sha256=other), tmp_path)
    assert said.startswith(
        "the sample in batch: 300 of 300 answers are not those that were tested; in row 0 "
    )
    assert "expected duration_minutes " in said


# What the version's own code answers; the first three change one way of asking each.
TAMPERED = {
    "sample in tables of one row: 36 of 36 answers are not": """
whole = DurationModel.predict
DurationModel.predict = lambda self, requests, params=None: whole(self, requests) + 2e-6 * (len(requests) == 1)
""",
    "sample one by one: 300 of 300 answers are not": """
one = DurationModel.predict_one
DurationModel.predict_one = lambda self, request: {k: v + 2e-6 for k, v in one(self, request).items()}
""",
    "the test month green_tripdata_2023-06.parquet: 1 of ": """
whole = DurationModel.predict
def last_of_many(self, requests, params=None):
    answers = whole(self, requests)
    answers.iloc[-1] += 2e-6 * (len(answers) > 300)
    return answers
DurationModel.predict = last_of_many
""",
    "a request with {'dropoff_zone': 999}: expected duration_minutes from 1 to 60; got nan": """
one = DurationModel.predict_one
def no_answer(self, request):
    answers = one(self, request)
    return answers | ({"duration_minutes": float("nan")} if request["dropoff_zone"] == 999 else {})
DurationModel.predict_one = no_answer
""",
    "unknown zones and nulls are not answered (no distance)": """
whole = DurationModel.predict
def refuses(self, requests, params=None):
    if requests["distance_miles"].isna().any():
        raise ValueError("no distance")
    return whole(self, requests)
DurationModel.predict = refuses
""",
    "the version cannot be loaded (no module named spam)": "raise ImportError('no module named spam')",
}


@pytest.mark.parametrize("said", TAMPERED)
def test_every_way_of_asking_is_compared(said: str, version: Path, tested: Expected, tmp_path: Path) -> None:
    with next(version.glob("code/*/model/duration_model.py")).open("a") as code:
        code.write(TAMPERED[said])

    assert said in refused(tested, tmp_path)


def test_a_version_without_its_code_is_refused(version: Path, sample_only: Expected, tmp_path: Path) -> None:
    shutil.rmtree(version / "code")
    (version / "code").mkdir()

    assert "expected it to bring its code along" in refused(sample_only, tmp_path)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (('"name": "pickup_zone"', '"name": "zone"'), "the sample is not answered in batch ("),
        (
            ('"long"', '"any"'),
            "a pickup_zone of text: expected the schema to refuse it; got requests: pickup_zone should hold ",
        ),
        (
            ("signature:", "unsigned:"),
            "a request without pickup_zone: expected the schema to refuse it; got ",
        ),
    ],
)
def test_a_version_with_another_schema_is_refused(
    lines: tuple[str, str], said: str, version: Path, sample_only: Expected, tmp_path: Path
) -> None:
    described = (version / "MLmodel").read_text()
    assert lines[0] in described
    (version / "MLmodel").write_text(described.replace(*lines))

    assert refused(sample_only, tmp_path).startswith(said)


# --- Another month, another sample --------------------------------------------------------------------------


def test_another_months_file_is_not_what_was_tested(version: Path, tested: Expected, tmp_path: Path) -> None:
    swapped = source.write_month(tmp_path / "green_tripdata_2023-06.parquet", "green", JUNE + 1, rows=1500)

    said = refused(replace(tested, month_file=swapped), tmp_path)
    rows = len(np.load(tested.predictions))
    assert said.startswith(f"the test month green_tripdata_2023-06.parquet: expected {rows:,} answers; got ")


def test_a_month_that_cannot_be_read_is_the_reason(version: Path, tested: Expected, tmp_path: Path) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")

    said = refused(replace(tested, month_file=tmp_path / "torn.parquet"), tmp_path)
    assert said.startswith("the test month torn.parquet cannot be replayed (")
    assert "expected a whole Parquet file" in said


def test_an_empty_sample_proves_nothing(version: Path, sample_only: Expected, tmp_path: Path) -> None:
    write_sample(tmp_path / "empty.parquet", make_requests(0), pd.DataFrame())

    said = refused(replace(sample_only, sample=tmp_path / "empty.parquet"), tmp_path)
    assert said == f"the sample {tmp_path / 'empty.parquet'} cannot be read (expected requests; got none)"


# --- The proving process ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -9 $$",
         "the proving process died: SIGKILL; the system does that to a process when memory runs out"),
        ("kill -SEGV $$", "the proving process died: SIGSEGV"),
        (
            "echo Traceback >&2; echo 'Error: postgresql://me:secret@db refused' >&2; exit 3",
            "the proving process died: exit status 3; Error: postgresql://db refused",
        ),
        ("exit 1", "the proving process died: exit status 1; it said nothing"),
        ("echo passed", "the proving process should answer in JSON; got 'passed\\n'"),
        ("echo '[true]'", "the proving process should answer in JSON; got '[true]\\n'"),
        ("echo '{\"passed\": true}'", "the proving process should answer in JSON; got '{\"passed\": true}\\n'"),
        ("exec sleep 60", "the proof was not done within 0.5 s, and was ended"),
    ],
)  # fmt: skip
def test_a_process_that_does_not_answer_proves_nothing(
    script: str,
    said: str,
    version: Path,
    sample_only: Expected,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    assert refused(sample_only, tmp_path, timeout=0.5) == said


# --- The tracking server ------------------------------------------------------------------------------------


def test_a_server_that_is_away_says_nothing_about_a_version(
    version: Path, sample_only: Expected, tmp_path: Path
) -> None:
    with socket.socket() as bound:  # nobody listens here, and nobody else can start to
        bound.bind(("127.0.0.1", 0))
        mlflow.set_tracking_uri(f"http://me:secret@127.0.0.1:{bound.getsockname()[1]}")
        with pytest.raises(
            TrackingDownError, match=r"^tracking server http://127\.0\.0\.1.*: no answer"
        ) as away:
            verify(URI, sample_only, tmp_path / "scratch")

    assert "secret" not in str(away.value)


def test_a_server_that_goes_away_meanwhile_says_nothing_about_a_version(
    version: Path, sample_only: Expected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Healthy(BaseHTTPRequestHandler):
        """Breaks every other connection off."""

        def do_GET(self) -> None:
            if self.path == "/health":
                self.send_response(200)
                self.end_headers()
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        mlflow.set_tracking_uri(f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(
            TrackingDownError, match=f"^{URI} cannot be fetched: MLflow failed: no answer from "
        ):
            verify(URI, sample_only, tmp_path / "scratch")
        server.shutdown()
