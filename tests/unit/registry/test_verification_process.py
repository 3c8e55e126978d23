"""What the fresh process compares, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.builders import make_requests
from support.tracked import NAME, fitted
from support.verified import JUNE, URI, proof_of, refused, sign_again

from mlops.data.synthetic import source
from mlops.registry import versions
from mlops.registry.verification import Expected, verify, write_sample

# --- A sound version ----------------------------------------------------------------------------------------


def test_a_sound_version_is_proven_on_the_raw_month_and_one_by_one(
    version: Path, tested: Expected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = pd.read_parquet(tested.sample)
    proof = proof_of(tested, tmp_path)
    rows = len(np.load(tested.predictions))

    assert proof.passed, proof.reason
    assert 1300 < rows < 1500
    assert proof.reason == (
        f"{URI}: predicts the same as in its test (300 requests in batch and one by one, and {rows:,} trips of "
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
    proof = proof_of(sample_only, tmp_path)

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
        (flip_a_byte, "data/model/booster.ubj", "data/model/booster.ubj was changed"),
        (truncate, "data/model/encoder.npz", "data/model/encoder.npz was changed"),
        (Path.unlink, "data/model/booster.ubj", "data/model/booster.ubj was removed"),
        (flip_a_byte, "requirements.txt", "requirements.txt was changed"),
        (Path.unlink, "MLmodel", "MLmodel was removed"),
        (shutil.rmtree, ".", "MLmodel was removed"),
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

    assert refused(sample_only, tmp_path) == f"since it was signed, {said}; nothing of it was executed"


def test_a_version_that_the_registry_does_not_know_is_refused(
    version: Path, sample_only: Expected, tmp_path: Path
) -> None:
    version_1 = versions.get(NAME, "1")
    proof = verify(replace(version_1, number="7"), sample_only, tmp_path / "scratch")

    assert not proof.passed
    assert "fetching models:/trip-duration-sample/7: MLflow failed: " in proof.reason


def test_another_model_under_the_same_version_answers_otherwise(
    version: Path, sample_only: Expected, tmp_path: Path
) -> None:
    shutil.rmtree(version / "data" / "model")
    fitted(seed=5).save(version / "data" / "model")
    sign_again(versions.get(NAME, "1"), version)

    said = refused(sample_only, tmp_path)
    assert said.startswith("the sample in batch: 300 of 300 predictions differ from the test; in row 0 ")
    assert "expected duration_minutes " in said


# What the version's own code answers; the first three change one way of asking each.
TAMPERED = {
    "sample in tables of one row: 36 of 36 predictions differ from the test": """
whole = DurationModel.predict
DurationModel.predict = lambda self, requests, params=None: whole(self, requests) + 2e-6 * (len(requests) == 1)
""",
    "sample one by one: 300 of 300 predictions differ from the test": """
one = DurationModel.predict_one
DurationModel.predict_one = lambda self, request: {k: v + 2e-6 for k, v in one(self, request).items()}
""",
    "the test month green_tripdata_2023-06.parquet: 1 of ": """
whole = DurationModel.predict
def last_of_many(self, requests, params=None):
    answers = whole(self, requests)
    answers.loc[answers.index[-1], "duration_minutes"] += 2e-6 * (len(answers) > 300)
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
    "requests with unknown zones and nulls cannot be predicted (no distance)": """
whole = DurationModel.predict
def refuses(self, requests, params=None):
    if requests["distance_miles"].isna().any():
        raise ValueError("no distance")
    return whole(self, requests)
DurationModel.predict = refuses
""",
    "a pickup_zone of text: expected the model to refuse it by name; got the answer [{'duration_minutes': ": """
whole = DurationModel.predict
def anything(self, requests, params=None):
    return whole(self, requests.assign(pickup_zone=pd.to_numeric(requests["pickup_zone"], errors="coerce")))
DurationModel.predict = anything
""",
    "a pickup_zone of text: expected the model to refuse it by name; got could not convert": """
whole = DurationModel.predict
def unnamed(self, requests, params=None):
    if requests["pickup_zone"].dtype == object:
        raise ValueError("could not convert")
    return whole(self, requests)
DurationModel.predict = unnamed
""",
    "the sample in batch: 300 of 300 predictions differ from the test; in row 0 expected out_of_range ": """
whole = DurationModel.predict
def contrary(self, requests, params=None):
    return whole(self, requests).assign(out_of_range=lambda answers: ~answers["out_of_range"])
DurationModel.predict = contrary
""",
    "the version cannot be loaded (no module named spam)": "raise ImportError('no module named spam')",
}


@pytest.mark.parametrize("said", TAMPERED)
def test_every_way_of_asking_is_compared(said: str, version: Path, tested: Expected, tmp_path: Path) -> None:
    with next(version.glob("code/*/model/duration_model.py")).open("a") as code:
        code.write(TAMPERED[said])
    sign_again(versions.get(NAME, "1"), version)

    assert said in refused(tested, tmp_path)


def test_a_version_without_its_code_is_refused(version: Path, sample_only: Expected, tmp_path: Path) -> None:
    shutil.rmtree(version / "code")
    (version / "code").mkdir()
    sign_again(versions.get(NAME, "1"), version)

    said = refused(sample_only, tmp_path)
    assert said.startswith("the version cannot be loaded (No module named 'trip_duration_")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (('"name": "pickup_zone"', '"name": "zone"'), "the sample cannot be predicted in batch ("),
        (
            ("signature:", "unsigned:"),
            "a request without pickup_zone: expected the schema to refuse it by name; got requests: missing ",
        ),
    ],
)
def test_a_version_with_another_schema_is_refused(
    lines: tuple[str, str], said: str, version: Path, sample_only: Expected, tmp_path: Path
) -> None:
    described = (version / "MLmodel").read_text()
    assert lines[0] in described
    (version / "MLmodel").write_text(described.replace(*lines))
    sign_again(versions.get(NAME, "1"), version)

    assert refused(sample_only, tmp_path).startswith(said)


# --- Another month, another sample --------------------------------------------------------------------------


def test_another_months_file_is_not_what_was_tested(version: Path, tested: Expected, tmp_path: Path) -> None:
    swapped = source.write_month(tmp_path / "green_tripdata_2023-06.parquet", "green", JUNE + 1, rows=1500)

    said = refused(replace(tested, month_file=swapped), tmp_path)
    rows = len(np.load(tested.predictions))
    assert said.startswith(
        f"the test month green_tripdata_2023-06.parquet: expected {rows:,} predictions; got "
    )


def test_a_month_that_cannot_be_read_is_the_reason(version: Path, tested: Expected, tmp_path: Path) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")

    said = refused(replace(tested, month_file=tmp_path / "torn.parquet"), tmp_path)
    assert said.startswith("the test month torn.parquet cannot be predicted again (")
    assert "expected a complete Parquet file" in said


def test_an_empty_sample_proves_nothing(version: Path, sample_only: Expected, tmp_path: Path) -> None:
    write_sample(tmp_path / "empty.parquet", make_requests(0), pd.DataFrame())

    said = refused(replace(sample_only, sample=tmp_path / "empty.parquet"), tmp_path)
    assert said == f"the sample {tmp_path / 'empty.parquet'} cannot be read (expected requests; got none)"
