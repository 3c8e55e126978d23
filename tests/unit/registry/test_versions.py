"""Versions: once per run key, found again, answering as anyone asks them, and what earlier runs found."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.builders import make_requests
from support.tracked import AWAY, NAME, bare_version, fails_at, mlflow_client, runs_of, save_artefact

from mlops import config
from mlops.errors import MlopsError, PromotionError, TrackingDownError, TrackingError
from mlops.model.duration_model import DurationModel
from mlops.model.intervals import INTERVAL_COLUMNS
from mlops.registry import artifact, versions
from mlops.registry.client import MlflowException, mlflow
from mlops.registry.run_lifecycle import start_run
from mlops.registry.runs import RUN_KEY, Run
from mlops.registry.versions import OUTCOME, Version

KEY, OTHER_KEY = "ab" * 32, "cd" * 32


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model's folder."""
    return save_artefact(tmp_path_factory.mktemp("artefact"))


def registered(artefact: Path, key: str = KEY, **tags: str) -> Version:
    with start_run(NAME, "r", key) as run:
        uri = artifact.log_model(run.run_id, run.experiment_id, artefact, make_requests(3))
        return versions.register(NAME, uri, run.run_id, key, {"test_month": "2023-06", **tags}, "the first")


# --- Versions -----------------------------------------------------------------------------------------------


def test_a_new_version_says_what_it_is_and_moves_no_alias(store: Path, artefact: Path) -> None:
    made = registered(artefact, verdict="promote")
    (run,) = runs_of()
    there = mlflow_client().get_model_version(NAME, "1")

    assert made == Version(
        NAME, "1", run.info.run_id, {"test_month": "2023-06", "verdict": "promote", RUN_KEY: KEY}
    )
    assert made.uri == f"models:/{NAME}/1"
    assert (there.tags, there.run_id, there.description) == (made.tags, run.info.run_id, "the first")
    assert mlflow_client().get_registered_model(NAME).aliases == {}
    assert versions.get(NAME, "1") == versions.find(NAME, KEY) == made
    assert versions.list_all(NAME) == (made,)
    assert versions.champion(NAME) is None


def test_a_run_registers_once_and_a_forced_one_anew(store: Path, artefact: Path) -> None:
    with start_run(NAME, "r", KEY) as run:
        uri = artifact.log_model(run.run_id, run.experiment_id, artefact, make_requests(3))
        first = versions.register(NAME, uri, run.run_id, KEY, {})
        assert versions.register(NAME, uri, run.run_id, KEY, {}) == first
    versions.tag(first, {OUTCOME: "champion"})
    second = registered(artefact)

    assert [version.number for version in versions.list_all(NAME)] == ["1", "2"]
    assert versions.find(NAME, KEY) == second


def test_registering_whose_answer_was_lost_leaves_one_version(
    store: Path, artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlops.registry.client._Patience.seconds", 5.0)
    monkeypatch.setattr("mlops.registry.client.FIRST_PAUSE", 0.01)
    with fails_at("create_model_version", AWAY, once=True, after=True):
        assert registered(artefact).number == "1"

    assert len(versions.list_all(NAME)) == 1


def test_registering_what_was_not_logged_is_refused(store: Path) -> None:
    with pytest.raises(TrackingError, match=f"^registering {NAME}: MLflow failed: "):
        versions.register(NAME, "models:/m-0123456789abcdef", "none", KEY, {})

    assert versions.list_all(NAME) == ()


def test_a_version_is_found_by_its_key_the_newest_if_there_are_several(store: Path) -> None:
    for key in (KEY, OTHER_KEY, KEY, OTHER_KEY[:-1] + "0"):
        bare_version(store, **{RUN_KEY: key})

    assert [getattr(versions.find(NAME, key), "number", None) for key in (KEY, OTHER_KEY, "ef" * 32)] == [
        "3", "2", None,
    ]  # fmt: skip
    assert versions.find("trip-duration-green", KEY) is None


def test_versions_come_in_the_order_of_their_numbers(store: Path) -> None:
    for _ in range(11):
        bare_version(store)

    assert [version.number for version in versions.list_all(NAME)] == [str(n) for n in range(1, 12)]
    assert versions.list_all("trip-duration-green") == ()


def test_a_version_that_is_not_there_names_those_that_are(store: Path) -> None:
    with pytest.raises(PromotionError) as none:
        versions.get(NAME, "1")
    bare_version(store)
    bare_version(store)
    refusals = []
    for number in ("3", "two"):
        with pytest.raises(PromotionError) as refused:
            versions.get(NAME, number)
        refusals.append(str(refused.value))

    assert str(none.value) == f"{NAME}: there is no version 1; there are: none"
    assert refusals == [f"{NAME}: there is no version {number}; there are: 1, 2" for number in ("3", "two")]


def test_a_version_that_cannot_be_looked_up_is_not_missing(store: Path) -> None:
    bare_version(store)
    with pytest.raises(TrackingDownError), fails_at("get_model_version", AWAY):
        versions.get(NAME, "1")


def test_a_version_is_settled_by_its_last_tag(store: Path) -> None:
    bare_version(store, verdict="promote")
    version = versions.get(NAME, "1")
    proven = versions.tag(version, {"proof": "passed"})
    settled = versions.tag(proven, {OUTCOME: "champion"})

    assert [found.is_complete for found in (version, proven, settled)] == [False, False, True]
    assert settled.tags == {"verdict": "promote", "proof": "passed", OUTCOME: "champion"}
    assert versions.get(NAME, "1") == settled


def test_of_tags_that_are_cut_off_the_last_is_missing(store: Path) -> None:
    bare_version(store)
    version = versions.get(NAME, "1")
    with (
        pytest.raises(TrackingDownError, match=f"^tagging models:/{NAME}/1: MLflow failed: "),
        fails_at("set_model_version_tag", AWAY, once=True, after=True),
    ):
        versions.tag(version, {"proof": "passed", OUTCOME: "champion"})

    assert versions.get(NAME, "1").tags == {"proof": "passed"}


def test_a_long_tag_is_cut_and_a_description_replaced(store: Path) -> None:
    bare_version(store)
    version = versions.tag(versions.get(NAME, "1"), {"proof": "failed: " + "x" * 10_000})
    versions.describe(version, "test RMSE 4.4")

    assert len(versions.get(NAME, "1").tags["proof"]) == 4900
    assert mlflow_client().get_model_version(NAME, "1").description == "test RMSE 4.4"


def test_models_are_listed_by_name(store: Path) -> None:
    assert versions.model_names() == ()
    for name in ("trip-duration-yellow", "trip-duration-green"):
        bare_version(store, name)

    mlflow_client().create_registered_model("somebody-elses")

    assert sorted(versions.model_names()) == ["trip-duration-green", "trip-duration-yellow"]


def test_more_models_than_a_page_holds_are_listed(store: Path) -> None:
    for number in range(101):
        mlflow_client().create_registered_model(f"trip-duration-{number}")

    assert len(versions.model_names()) == 101


def test_the_champion_is_who_the_alias_points_at(store: Path) -> None:
    assert versions.champion(NAME) is None  # no model
    number = bare_version(store, test_month="2023-06")
    assert versions.champion(NAME) is None  # no alias
    mlflow_client().set_registered_model_alias(NAME, "champion", number)

    assert versions.champion(NAME) == versions.get(NAME, number)


def test_a_champion_that_cannot_be_looked_up_is_not_missing(store: Path) -> None:
    with (
        pytest.raises(TrackingError) as refused,
        fails_at("get_model_version_by_alias", MlflowException("permission denied")),
    ):
        versions.champion(NAME)

    assert str(refused.value) == f"{NAME}: looking up the champion: MLflow failed: permission denied"


def test_the_link_is_a_page_of_the_server(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    version = Version(NAME, "3", "run", {})
    page = f"/#/models/{NAME}/versions/3"
    assert versions.link(version) == f"`make mlflow` shows it at http://127.0.0.1:5000{page}"
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: "https://me:secret@mlflow.example/")

    assert versions.link(version) == f"https://mlflow.example{page}"


# --- Versions and their runs --------------------------------------------------------------------------------


def test_a_finished_run_without_its_version_is_lost(store: Path) -> None:
    assert versions.lost_runs(NAME) == ()  # no experiment
    with start_run(NAME, "kept", KEY) as kept:
        bare_version(store, run_id=kept.run_id)
    with start_run(NAME, "lost", OTHER_KEY) as lost:
        number = bare_version(store, run_id=lost.run_id)
    assert versions.lost_runs(NAME) == ()

    mlflow_client().delete_model_version(NAME, number)
    assert versions.lost_runs(NAME) == (lost.run_id,)
    mlflow_client().delete_run(lost.run_id)
    assert versions.lost_runs(NAME) == ()


def test_a_run_that_failed_or_has_no_run_key_lost_no_version(store: Path) -> None:
    with contextlib.suppress(ValueError), start_run(NAME, "failed", KEY):
        raise ValueError("no trips")
    experiment = mlflow_client().get_experiment_by_name(NAME).experiment_id
    somebody_s = mlflow_client().create_run(experiment)
    mlflow_client().set_terminated(somebody_s.info.run_id)
    assert versions.lost_runs(NAME) == ()


def test_trips_learnt_from_are_those_of_training_and_validation(store: Path) -> None:
    months = [("2023-01", "training", 4000), ("2023-02", "validation", 300), ("2023-03", "test", 20)]
    table = pd.DataFrame([{"url": m, "sha256": "0" * 64, "role": r, "rows": n} for m, r, n in months])
    with start_run(NAME, "r", KEY) as run:
        number = bare_version(store, run_id=run.run_id)
        assert versions.trips_learnt_from(versions.get(NAME, number)) is None
        run.log_months(table)
    assert versions.trips_learnt_from(versions.get(NAME, number)) == 4300


@pytest.mark.parametrize(
    ("ask", "method", "doing"),
    [
        (
            lambda version: versions.lost_runs(version.name),
            "get_experiment_by_name",
            f"{NAME}: looking for lost versions",
        ),
        (versions.trips_learnt_from, "get_run", f"looking up the months of models:/{NAME}/1"),
    ],
)
def test_what_cannot_be_looked_up_about_runs_is_not_missing(
    ask: Any, method: str, doing: str, store: Path
) -> None:
    with pytest.raises(TrackingError) as refused, fails_at(method, MlflowException("permission denied")):
        ask(Version(NAME, "1", "run", {}))
    assert str(refused.value) == f"{doing}: MLflow failed: permission denied"


# --- What earlier runs found --------------------------------------------------------------------------------

SEARCHED = ("max_depth", "subsample")


def trained(
    month: str, *trials: tuple[int, float, int], best: int = 1, error: type[Exception] | None = None
) -> Run:
    """A run about a month, with trials of so deep trees: rung, validation RMSE (NaN: failed) and depth of each."""
    key = f"{len(runs_of()):064x}"
    with contextlib.suppress(ValueError), start_run(NAME, f"green {month}", key) as run:
        run.log_parameters({"month": month, "seed": 42})
        for number, (rung, rmse, depth) in enumerate(trials, 1):
            parameters = {"max_depth": depth, "subsample": depth / 10, "learning_rate": 0.1}
            measured = {"validation_rmse": rmse, "rung": rung}
            run.log_trial(f"trial {number}", parameters, measured, "boom" if rmse != rmse else "")
        chosen = trials[best - 1][2]
        run.log_parameters({"max_depth": chosen, "subsample": chosen / 10, "best_trial": best})
        if error:
            raise error("no trips")
    return run


def crown(run: Run, store: Path) -> None:
    """Make a version of the run the champion, without a model behind it."""
    mlflow_client().set_registered_model_alias(NAME, "champion", bare_version(store, run_id=run.run_id))


def depths(before: str) -> list[int]:
    return [int(start.parameters["max_depth"]) for start in versions.warm_starts(NAME, before, SEARCHED)]


def test_without_earlier_runs_there_is_nothing_to_begin_with(store: Path) -> None:
    assert versions.warm_starts(NAME, "2023-06", SEARCHED) == ()
    trained("2023-06", (1, 4.5, 6))
    assert versions.warm_starts(NAME, "2023-06", SEARCHED) == ()
    assert versions.warm_starts("trip-duration-yellow", "2024-01", SEARCHED) == ()


def test_a_start_says_what_and_where_it_is_from(store: Path) -> None:
    run = trained("2023-05", (1, 4.5, 6))
    (start,) = versions.warm_starts(NAME, "2023-06", (*SEARCHED, "reg_gamma"))  # one of which it knew nothing
    (trial,) = (found for found in runs_of() if found.info.run_id != run.run_id)

    assert start == versions.Start(
        {"max_depth": 6.0, "subsample": 0.6}, trial.info.run_id, "2023-05", "trial 1"
    )


def test_only_runs_about_earlier_months_tell_anything(store: Path) -> None:
    for depth, month in ((5, "2022-12"), (7, "2023-02"), (9, "2023-03"), (8, "2023-01")):
        trained(month, (1, 4.5, depth))

    assert depths("2022-12") == []
    assert depths("2023-01") == [5]
    assert depths("2023-03") == [7]  # of the newest month, though 2023-01 was run later
    assert depths("2024-01") == [9]


def test_of_two_runs_about_one_month_the_later_is_newest(store: Path) -> None:
    trained("2023-05", (1, 4.0, 6))
    time.sleep(0.01)
    trained("2023-05", (1, 4.9, 7))

    assert depths("2023-06") == [7]


def test_the_best_trials_of_the_highest_rung_come_first(store: Path) -> None:
    trials = ((1, 4.0, 3), (1, 4.1, 4), (1, 4.2, 5), (2, 4.9, 6), (2, 4.7, 7), (3, 5.0, 8))
    trained("2023-05", *trials, best=6)

    assert depths("2023-06") == [8, 7, 6]
    assert versions.WARM_TRIALS == 3


def test_the_champions_parameters_come_before_those_of_the_newest_run(store: Path) -> None:
    crown(trained("2023-03", (1, 4.5, 6), (2, 4.4, 7), best=2), store)
    newest = trained("2023-05", (1, 4.5, 8), (2, 4.4, 9), best=2)
    starts = versions.warm_starts(NAME, "2023-06", SEARCHED)

    assert [(s.whose, s.month, s.parameters["max_depth"]) for s in starts] == [
        ("champion", "2023-03", 7.0),
        ("trial 2", "2023-05", 9.0),
        ("trial 1", "2023-05", 8.0),
    ]
    assert newest.run_id not in {start.run_id for start in starts}  # its trials' own runs are named


def test_what_was_found_twice_is_tried_once(store: Path) -> None:
    crown(trained("2023-05", (1, 4.5, 7), (1, 4.6, 8), (2, 4.4, 7), best=3), store)
    starts = versions.warm_starts(NAME, "2023-06", SEARCHED)

    assert [(start.whose, start.parameters["max_depth"]) for start in starts] == [
        ("champion", 7.0),
        ("trial 2", 8.0),
    ]


@pytest.mark.parametrize("month", ["2023-06", "2023-07"])
def test_a_champion_about_the_same_or_a_later_month_tells_nothing(month: str, store: Path) -> None:
    trained("2023-05", (1, 4.5, 6))
    crown(trained(month, (1, 4.0, 9)), store)

    assert depths("2023-06") == [6]


def test_a_run_that_failed_tells_nothing_and_nor_does_a_trial_that_did(store: Path) -> None:
    trained("2023-04", (1, 4.5, 6), (2, float("nan"), 7), best=1)
    trained("2023-05", (1, 4.0, 9), error=ValueError)

    assert depths("2023-06") == [6]


def test_earlier_runs_that_cannot_be_looked_up_are_not_missing(store: Path) -> None:
    with (
        pytest.raises(TrackingError) as refused,
        fails_at("get_experiment_by_name", MlflowException("permission denied")),
    ):
        versions.warm_starts(NAME, "2023-06", SEARCHED)

    assert str(refused.value) == f"{NAME}: looking up earlier runs: MLflow failed: permission denied"


# --- The model as anyone loads it ---------------------------------------------------------------------------


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
    earlier = versions.predict(version, requests, tmp_path / "two")

    pd.testing.assert_frame_equal(answered, expected, check_exact=True)
    assert earlier.to_dict("list") == {"then": [7.0]}
    fetched = versions.fetch(version, tmp_path / "three")
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
    with pytest.raises(MlopsError) as refused:
        versions.predict(version, asked(3), tmp_path / "scratch")

    assert type(refused.value) is MlopsError
    assert str(refused.value) == f"{version.uri} does not answer: {said}"


def test_a_registry_that_is_away_says_nothing_about_the_version(store: Path, tmp_path: Path) -> None:
    bare_version(store)
    with (
        pytest.raises(TrackingDownError, match=f"^fetching models:/{NAME}/1: MLflow failed: "),
        fails_at("get_model_version_download_uri", AWAY),
    ):
        versions.predict(versions.get(NAME, "1"), asked(3), tmp_path / "scratch")


def test_a_version_that_the_registry_has_lost_does_not_answer(store: Path, tmp_path: Path) -> None:
    bare_version(store)
    with (
        pytest.raises(MlopsError, match=f"^fetching models:/{NAME}/1: MLflow failed: no such file"),
        fails_at("get_model_version_download_uri", MlflowException("no such file")),
    ):
        versions.predict(versions.get(NAME, "1"), asked(3), tmp_path / "scratch")


def test_a_process_that_was_killed_says_nothing_about_the_version(
    store: Path, artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registered(artefact)
    monkeypatch.setattr(versions, "_SCORE", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(
        ChildProcessError, match=f"^models:/{NAME}/1: .* was ended by SIGKILL. Is there memory"
    ):
        versions.predict(version, asked(3), tmp_path / "scratch")


def test_half_a_version_of_a_lost_attempt_gives_way_to_a_whole_one(store: Path, artefact: Path) -> None:
    half = registered(artefact)
    whole = registered(artefact)
    assert versions.list_all(NAME) == (whole,)

    mlflow_client().set_registered_model_alias(NAME, "champion", whole.number)
    third = registered(artefact)
    assert versions.list_all(NAME) == (whole, third)
    assert half.number not in (whole.number, third.number)


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
    ended = subprocess.run(
        [
            sys.executable, "-c", ELSEWHERE, f"sqlite:///{store / 'mlflow.db'}", version.uri,
            str(tmp_path / "requests.parquet"), str(project),
        ],
        cwd=elsewhere, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    answers = json.loads(ended.stdout)
    model = DurationModel.load(artefact)
    expected = model.predict(requests)["duration_minutes"].tolist()

    assert answers["Int64"] == answers["float64"] == answers["object"] == expected
    for kind, passengers in (("int64", 1), ("left out", np.nan)):
        told = model.predict(requests.assign(passenger_count=passengers))["duration_minutes"].tolist()
        assert answers[kind] == told
    assert Path(answers["code"]).is_relative_to(store / "artifacts")
    assert list(elsewhere.iterdir()) == []


def test_the_logged_model_says_what_it_takes_and_needs(store: Path, artefact: Path) -> None:
    version = registered(artefact)
    about = mlflow.models.get_model_info(version.uri)
    inputs = {column.name: column for column in about.signature.inputs}

    assert list(inputs) == ["pickup_at", "pickup_zone", "dropoff_zone", "distance_miles", "passenger_count"]
    assert [name for name, column in inputs.items() if not column.required] == ["passenger_count"]
    assert about.signature.outputs.input_names() == ["duration_minutes", *INTERVAL_COLUMNS]
    assert about.saved_input_example_info is not None
    folder = Path(mlflow.artifacts.download_artifacts(version.uri))
    needed = (folder / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in needed} >= {
        "xgboost", "pandas", "numpy", "holidays", "python-dateutil",
    }  # fmt: skip
    assert all("==" in line for line in needed)
