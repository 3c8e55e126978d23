"""A registered version answers as anyone asks it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.builders import make_requests
from support.tracked import AWAY, NAME, bare_signed, fails_at, registered
from support.verified import sign_again
from support.warm import run_warm

from mlops import config
from mlops.errors import MlopsError, TrackingDownError
from mlops.model.duration_model import DurationModel
from mlops.registry import version_files, versions
from mlops.registry.client import MlflowException, mlflow


def asked(n: int) -> pd.DataFrame:
    """Requests as MLflow's schema takes them, an unknown zone and a missing distance among them."""
    requests = make_requests(n).astype({"pickup_zone": np.int64, "dropoff_zone": np.int64})
    requests.loc[0, "pickup_zone"] = 999
    requests.loc[1, "distance_miles"] = np.nan
    return requests


def test_a_loaded_version_hands_out_the_model_that_answers_one_by_one(store: Path, artefact: Path) -> None:
    loaded = mlflow.pyfunc.load_model(registered(artefact).uri)
    requests = asked(5)
    one_by_one = [loaded.get_raw_model().predict_one(row) for row in requests.to_dict("records")]

    pd.testing.assert_frame_equal(pd.DataFrame(one_by_one), loaded.predict(requests), check_exact=True)


def test_a_version_is_asked_with_its_own_code_not_with_todays(
    store: Path, artefact: Path, tmp_path: Path
) -> None:
    version, requests = registered(artefact), asked(20)
    answered = versions.predict(version, requests, tmp_path / "one")
    expected = DurationModel.load(artefact).predict(requests)
    (code,) = (store / "artifacts").rglob("code/*/model/duration_model.py")
    code.write_text(
        f"{code.read_text()}\nDurationModel.predict = lambda *_: pd.DataFrame({{'then': [7.0]}})\n"
    )
    version = sign_again(version, code.parents[3])
    earlier = versions.predict(version, requests, tmp_path / "two")

    pd.testing.assert_frame_equal(answered, expected, check_exact=True)
    assert earlier.to_dict("list") == {"then": [7.0]}
    fetched = version_files.fetch(version, tmp_path / "three")
    assert fetched.is_relative_to(tmp_path / "three")
    assert (fetched / "MLmodel").is_file()


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("import os; os._exit(9)", "its process ended with 9"),
    ],
)
def test_a_version_that_does_not_answer_says_why(
    end: str, said: str, store: Path, artefact: Path, tmp_path: Path
) -> None:
    version = registered(artefact)
    (code,) = (store / "artifacts").rglob("code/*/model/duration_model.py")
    code.write_text(end)
    version = sign_again(version, code.parents[3])
    with pytest.raises(MlopsError) as refused:
        versions.predict(version, asked(3), tmp_path / "scratch")

    assert type(refused.value) is MlopsError
    assert str(refused.value) == f"{version.uri} gives no predictions: {said}"


def test_a_registry_that_is_away_says_nothing_about_the_version(store: Path, tmp_path: Path) -> None:
    version = bare_signed(store)
    with (
        pytest.raises(TrackingDownError, match=f"^fetching models:/{NAME}/1: MLflow failed: "),
        fails_at("get_model_version_download_uri", AWAY),
    ):
        versions.predict(version, asked(3), tmp_path / "scratch")


def test_a_version_that_the_registry_has_lost_does_not_answer(store: Path, tmp_path: Path) -> None:
    version = bare_signed(store)
    with (
        pytest.raises(MlopsError, match=f"^fetching models:/{NAME}/1: MLflow failed: no such file"),
        fails_at("get_model_version_download_uri", MlflowException("no such file")),
    ):
        versions.predict(version, asked(3), tmp_path / "scratch")


def test_a_process_that_was_killed_says_nothing_about_the_version(
    store: Path, artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registered(artefact)
    monkeypatch.setattr(version_files, "_SCORE", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(
        ChildProcessError,
        match=f"^models:/{NAME}/1: .* was ended by SIGKILL. Check that there is enough memory",
    ):
        versions.predict(version, asked(3), tmp_path / "scratch")


ELSEWHERE = """
import json, sys
import numpy as np
import pandas as pd
from mlops.registry.client import mlflow  # imported there, with a warning of pydantic's kept quiet

for module in [name for name in sys.modules if name.split(".")[0] == "mlops"]:
    del sys.modules[module]  # from here on only what the artefact brings along
sys.path_importer_cache.clear()
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
sys.path[:] = [folder for folder in sys.path if folder != sys.argv[4]]

mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
requests = pd.read_parquet(sys.argv[3])
passengers = {
    "Int64": requests["passenger_count"].astype("Int64"),
    "float64": requests["passenger_count"].astype("Int64").to_numpy("float64", na_value=np.nan),
    "object": np.array([None if pd.isna(p) else int(p) for p in requests["passenger_count"]], object),
}
answers = {
    kind: model.predict(requests.assign(passenger_count=values))["duration_minutes"].tolist()
    for kind, values in passengers.items()
}
one = requests.assign(passenger_count=np.ones(len(requests), "int64"))
answers["int64"] = model.predict(one)["duration_minutes"].tolist()
answers["left out"] = model.predict(one.drop(columns="passenger_count"))["duration_minutes"].tolist()
answers["code"] = sys.modules[type(model.get_raw_model()).__module__].__file__
print(json.dumps(answers))
"""


def test_the_model_answers_the_same_in_another_process_elsewhere(
    store: Path, artefact: Path, tmp_path: Path
) -> None:
    version, requests = registered(artefact), asked(50)
    requests.to_parquet(tmp_path / "requests.parquet")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    project = config.PROJECT
    ended = run_warm(
        [
            sys.executable, "-c", ELSEWHERE, f"sqlite:///{store / 'mlflow.db'}", version.uri,
            str(tmp_path / "requests.parquet"), str(project),
        ],
        cwd=elsewhere,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    answers = json.loads(ended.stdout)
    model = DurationModel.load(artefact)
    expected = model.predict(requests)["duration_minutes"].tolist()

    assert answers["Int64"] == answers["float64"] == answers["object"] == expected
    for kind, passengers in (("int64", 1), ("left out", np.nan)):
        reported = model.predict(requests.assign(passenger_count=passengers))["duration_minutes"].tolist()
        assert answers[kind] == reported
    assert Path(answers["code"]).is_relative_to(store / "artifacts")
    assert list(elsewhere.iterdir()) == []
