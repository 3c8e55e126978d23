"""Runs that always end, versions whole or not at all, aliases with a journal, and a server that must answer."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from builders import make_batch, make_features, make_requests

from mlops import registry, tracking
from mlops.errors import TrackingError
from mlops.intervals import INTERVAL_COLUMNS, Intervals
from mlops.model import DurationModel, build_matrix, train
from mlops.tracking import HOST_TAG, PROCESS_TAG, Run, close_orphans, mlflow, probe, start_run

NAME = "trip-duration-sample"
QUICK = {"learning_rate": 0.3, "max_depth": 4}
MlflowException = mlflow.exceptions.MlflowException


def client() -> Any:
    return mlflow.MlflowClient()


def runs_of(experiment: str = NAME) -> list[Any]:
    """Every run of the experiment, oldest first."""
    found = client().get_experiment_by_name(experiment)
    return client().search_runs([found.experiment_id], order_by=["attributes.start_time"]) if found else []


def status(run: Run) -> str:
    return str(client().get_run(run.run_id).info.status)


def error_tag(run: Run) -> str | None:
    return client().get_run(run.run_id).data.tags.get("error")


# --- Runs end -----------------------------------------------------------------------------------------------


def test_a_run_that_goes_well_is_finished(store: Path) -> None:
    with start_run(NAME, "green 2023-06", store) as run:
        assert status(run) == "RUNNING"
        assert mlflow.active_run().info.run_id == run.run_id
        run.log_parameters({"seed": 1, "source": "sample"})
        run.log_metrics({"test_rmse": 4.5, "test_r2": float("nan")})
    logged = client().get_run(run.run_id)

    assert status(run) == "FINISHED"
    assert error_tag(run) is None
    assert mlflow.active_run() is None
    assert logged.info.run_name == "green 2023-06"
    assert logged.data.params == {"seed": "1", "source": "sample"}
    assert logged.data.metrics == {"test_rmse": 4.5}
    assert tracking.run_metrics(run.run_id) == {"test_rmse": 4.5}
    assert logged.info.artifact_uri.startswith((store / "artifacts").as_uri())


def test_a_run_that_fails_says_why(store: Path) -> None:
    with pytest.raises(ValueError, match="no trips"), start_run(NAME, "r", store) as run:
        raise ValueError("no trips")

    assert (status(run), error_tag(run)) == ("FAILED", "ValueError: no trips")
    assert mlflow.active_run() is None


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_run_is_killed(interrupt: type[BaseException], store: Path) -> None:
    with pytest.raises(interrupt), start_run(NAME, "r", store) as run:
        raise interrupt

    assert (status(run), error_tag(run)) == ("KILLED", f"{interrupt.__name__}: ")
    assert mlflow.active_run() is None


def test_an_error_of_mlflow_is_one_of_tracking(store: Path) -> None:
    with (
        pytest.raises(TrackingError, match=f"^experiment {NAME}: MLflow failed: .*") as refused,
        start_run(NAME, "r", store) as run,
    ):
        client().get_run("none")

    assert isinstance(refused.value.__cause__, MlflowException)
    assert status(run) == "FAILED"


def test_the_next_run_is_another(store: Path) -> None:
    with start_run(NAME, "one", store) as first:
        pass
    with start_run(NAME, "two", store) as second:
        pass

    assert first.run_id != second.run_id
    assert first.experiment_id == second.experiment_id
    assert [run.info.status for run in runs_of()] == ["FINISHED"] * 2


def test_trials_are_nested_and_ended(store: Path) -> None:
    with start_run(NAME, "parent", store) as run:
        run.log_trial("trial 1", {"max_depth": 8}, {"validation_rmse": 4.5, "seconds": 2.0}, "")
        run.log_trial("trial 2", {"max_depth": 5}, {"validation_rmse": float("nan")}, "RuntimeError: boom")
    trials = {r.info.run_name: r for r in runs_of() if r.info.run_id != run.run_id}
    good, bad = trials["trial 1"], trials["trial 2"]

    assert {r.data.tags["mlflow.parentRunId"] for r in (good, bad)} == {run.run_id}
    assert (good.info.status, bad.info.status) == ("FINISHED", "FAILED")
    assert good.data.params == {"max_depth": "8"}
    assert good.data.metrics == {"validation_rmse": 4.5, "seconds": 2.0}
    assert good.info.end_time - good.info.start_time == 2000
    assert bad.data.metrics == {}
    assert bad.data.tags["error"] == "RuntimeError: boom"


def test_a_trial_is_ended_even_when_logging_it_fails(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise MlflowException("disk full")

    with pytest.raises(TrackingError, match="disk full"), start_run(NAME, "parent", store) as run:
        monkeypatch.setattr(run.client, "log_batch", refuses)
        run.log_trial("trial 1", {}, {}, "")

    assert sorted(r.info.status for r in runs_of()) == ["FAILED", "FINISHED"]


def test_long_texts_are_kept_or_cut_but_never_end_a_run(store: Path) -> None:
    with start_run(NAME, "r", store) as run:
        run.log_trial("trial 1", {"max_depth": 8}, {}, "RuntimeError: " + "x" * 20_000)
        run.log_card("# Card\n" + "x" * 20_000)
        run.log_parameters({"source": "https://" + "x" * 10_000})
    with pytest.raises(ValueError, match="xxx"), start_run(NAME, "r", store) as failed:
        raise ValueError("x" * 20_000)

    assert status(run) == "FINISHED"
    assert error_tag(failed).startswith("ValueError: xxx")
    card = mlflow.artifacts.load_text(f"runs:/{run.run_id}/model_card.md")
    assert len(card) == 20_007


def test_tables_files_and_months_are_logged(store: Path, tmp_path: Path) -> None:
    (tmp_path / "plot.png").write_bytes(b"png")
    months = pd.DataFrame(
        {
            "url": ["/data/green_tripdata_2023-06.parquet", "/data/green_tripdata_2023-05.parquet"],
            "sha256": ["ab" * 32, "cd" * 32],
            "role": ["test", "validation"],
            "month": ["2023-06", "2023-05"],
            "rows": [10, 20],
        }
    )
    with start_run(NAME, "r", store) as run:
        run.log_table("months.csv", months)
        run.log_files([tmp_path / "plot.png"], "plots")
        run.log_months(months)
    inputs = {i.dataset.name: i for i in client().get_run(run.run_id).inputs.dataset_inputs}
    test = inputs["green_tripdata_2023-06.parquet"]

    assert mlflow.artifacts.load_text(f"runs:/{run.run_id}/months.csv") == months.to_csv(index=False)
    assert [f.path for f in client().list_artifacts(run.run_id, "plots")] == ["plots/plot.png"]
    assert len(inputs) == 2
    assert ("ab" * 32).startswith(test.dataset.digest)
    assert json.loads(test.dataset.source) == {"url": "/data/green_tripdata_2023-06.parquet"}
    assert json.loads(test.dataset.profile) == {"num_rows": 10}
    assert {tag.key: tag.value for tag in test.tags} == {"mlflow.data.context": "test"}


# --- Runs whose process is gone -----------------------------------------------------------------------------


def left_running(process: str, host: str | None = None) -> Run:
    """A run in the state in which a process that was killed leaves it."""
    found = client().get_experiment_by_name(NAME)
    experiment_id = found.experiment_id if found else client().create_experiment(NAME)
    tags = {HOST_TAG: host or socket.gethostname(), PROCESS_TAG: process}
    return Run(client().create_run(experiment_id, tags=tags).info.run_id, experiment_id, Path())


def this_process(offset: float = 0) -> str:
    return f"{os.getpid()}:{psutil.Process().create_time() + offset:.0f}"


def dead_process() -> str:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    started = psutil.Process(gone.pid).create_time()
    gone.wait()
    return f"{gone.pid}:{started:.0f}"


def test_a_run_of_a_dead_process_is_closed_and_one_of_a_live_process_left(store: Path) -> None:
    dead, live = left_running(dead_process()), left_running(this_process())

    assert close_orphans(dead.experiment_id) == 1
    assert (status(dead), error_tag(dead)) == ("KILLED", "its process is gone; ended by a later run")
    assert (status(live), error_tag(live)) == ("RUNNING", None)
    assert close_orphans(dead.experiment_id) == 0


def test_a_process_number_that_was_given_out_again_is_another_process(store: Path) -> None:
    earlier = left_running(this_process(offset=-3600))

    assert close_orphans(earlier.experiment_id) == 1
    assert status(earlier) == "KILLED"


@pytest.mark.parametrize("offset", [-1, 1])
def test_a_clock_that_was_set_right_does_not_make_a_process_dead(offset: int, store: Path) -> None:
    live = left_running(
        this_process(offset)
    )  # Linux derives start times from a boot time that moves with the clock

    assert close_orphans(live.experiment_id) == 0


def test_a_run_of_another_host_is_left(store: Path) -> None:
    elsewhere = left_running(dead_process(), host="elsewhere")

    assert close_orphans(elsewhere.experiment_id) == 0
    assert status(elsewhere) == "RUNNING"


def test_a_new_run_closes_what_an_earlier_one_left(store: Path) -> None:
    with start_run(NAME, "first", store):
        dead = left_running(dead_process())
    with start_run(NAME, "second", store) as run:
        assert status(dead) == "KILLED"

    assert status(run) == "FINISHED"


def test_killing_a_run_kills_its_trials_and_no_ended_one(store: Path) -> None:
    with start_run(NAME, "other", store) as other:
        other.log_trial("trial 1", {}, {}, "")
    parent = left_running(dead_process())
    tags = {"mlflow.parentRunId": parent.run_id}
    trial = client().create_run(parent.experiment_id, tags=tags).info.run_id
    ended = client().create_run(parent.experiment_id, tags=tags).info.run_id
    client().set_terminated(ended, "FINISHED")
    registry.settle(parent.run_id)

    assert (status(parent), error_tag(parent)) == ("KILLED", "its process ended without a word")
    assert client().get_run(trial).info.status == "KILLED"
    assert client().get_run(ended).info.status == "FINISHED"
    assert status(other) == "FINISHED"


IN_A_RUN = """
import sys, time
from pathlib import Path
from mlops import registry, tracking

state = Path(sys.argv[1])
tracking.connect(f"sqlite:///{state / 'mlflow.db'}", state, 5.0)
with tracking.start_run("trip-duration-sample", "r", state) as run:
    print(run.run_id, flush=True)
    time.sleep(60)
"""


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)
    return condition()


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_ends_without_a_word_leaves_no_run_running(sent: signal.Signals, store: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", IN_A_RUN, str(store)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        run_id = process.stdout.readline().strip()
        assert client().get_run(run_id).info.status == "RUNNING"
        os.killpg(process.pid, sent)  # the whole group, as a terminal or a service manager does
        assert process.wait() == -sent

    assert wait_until(lambda: client().get_run(run_id).info.status == "KILLED")
    assert client().get_run(run_id).data.tags["error"] == "its process ended without a word"


def test_the_guard_ends_with_the_run(store: Path) -> None:
    with start_run(NAME, "r", store):
        assert len(psutil.Process().children()) == 1

    assert psutil.Process().children() == []


# --- Versions and aliases -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model's folder."""
    matrix = build_matrix([make_batch(300)], seed=1, threads=1)
    fit = train(matrix, QUICK, seed=1, threads=1, rounds=5)
    known, took = make_features(300, seed=1)
    predicted = DurationModel(matrix.encoder, fit.booster).minutes(known)
    model = DurationModel(matrix.encoder, fit.booster, intervals=Intervals.fit(known, predicted, took))
    return model.save(tmp_path_factory.mktemp("artefact") / "model")


def registered(artefact: Path, store: Path, **tags: str) -> registry.Version:
    with start_run(NAME, "r", store) as run:
        uri = run.log_model(artefact, make_requests(3))
        return registry.register(NAME, uri, run.run_id, {"test_month": "2023-06", **tags})


def alias(name: str) -> str | None:
    found = client().get_registered_model(NAME).aliases.get(name)
    return None if found is None else str(found)


def test_a_new_version_is_the_challenger(store: Path, artefact: Path) -> None:
    assert registry.champion(NAME) is None
    first = registered(artefact, store, verdict="promote")
    made = client().get_model_version(NAME, "1")

    assert (first.name, first.number, first.uri) == (NAME, "1", f"models:/{NAME}/1")
    assert made.run_id == first.run_id == runs_of()[0].info.run_id
    assert made.tags == first.tags == {"test_month": "2023-06", "verdict": "promote"}
    assert (alias("challenger"), alias("champion")) == ("1", None)
    assert registry.champion(NAME) is None
    assert registered(artefact, store).number == "2"
    assert alias("challenger") == "2"


def test_a_loaded_version_hands_out_the_model_that_answers_one_by_one(store: Path, artefact: Path) -> None:
    loaded = mlflow.pyfunc.load_model(registered(artefact, store).uri)
    requests = make_requests(5).astype({"pickup_zone": np.int64, "dropoff_zone": np.int64})
    one_by_one = [loaded.get_raw_model().predict_one(row) for row in requests.to_dict("records")]

    pd.testing.assert_frame_equal(pd.DataFrame(one_by_one), loaded.predict(requests), check_exact=True)


def test_every_move_of_an_alias_is_in_the_journal(store: Path, artefact: Path) -> None:
    first, second = registered(artefact, store), registered(artefact, store)
    registry.promote(first, "there is no champion yet")
    assert registry.champion(NAME) == first
    registry.promote(second, "test RMSE 4.4 beats 4.5")

    assert registry.champion(NAME) == second
    assert (alias("challenger"), alias("champion")) == ("2", "2")
    entries = [dict(entry) for entry in registry.journal(NAME)]
    times = [entry.pop("at") for entry in entries]
    assert entries == [
        {"alias": "challenger", "from": None, "to": "1", "reason": "newly registered"},
        {"alias": "challenger", "from": "1", "to": "2", "reason": "newly registered"},
        {"alias": "champion", "from": None, "to": "1", "reason": "there is no champion yet"},
        {"alias": "champion", "from": "1", "to": "2", "reason": "test RMSE 4.4 beats 4.5"},
    ]
    assert times == sorted(times)
    assert all(pd.Timestamp(at).tzinfo is not None for at in times)


def test_registering_that_fails_at_the_alias_leaves_no_version(
    store: Path, artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise MlflowException("registry is read-only")

    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", refuses)
    with pytest.raises(TrackingError) as refused:
        registered(artefact, store)

    # The run's own guard for MLflow's errors does not say it a second time.
    assert str(refused.value) == f"registering {NAME}: MLflow failed: registry is read-only"
    assert client().search_model_versions(f"name='{NAME}'") == []
    assert [run.info.status for run in runs_of()] == ["FAILED"]


def test_a_promotion_that_fails_leaves_version_and_aliases_as_they_were(
    store: Path, artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = registered(artefact, store)
    registry.promote(first, "there is no champion yet")
    move = mlflow.MlflowClient.set_registered_model_alias

    def refuses_a_new_champion(self: Any, name: str, alias: str, version: str) -> None:
        if alias == "champion" and str(version) == "2":
            raise MlflowException("registry is read-only")
        move(self, name, alias, version)

    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", refuses_a_new_champion)
    with start_run(NAME, "r", store) as run:
        uri = run.log_model(artefact, make_requests(3))
        with pytest.raises(TrackingError, match="registry is read-only"):
            registry.register(NAME, uri, run.run_id, {}, promotion="better")

    assert [str(found.version) for found in client().search_model_versions(f"name='{NAME}'")] == ["1"]
    assert (alias("challenger"), alias("champion")) == ("1", "1")
    replayed = {entry["alias"]: (entry["to"], entry["reason"]) for entry in registry.journal(NAME)}
    assert replayed == dict.fromkeys(("challenger", "champion"), ("1", "version 2 was withdrawn"))


@pytest.mark.parametrize(
    ("verdict", "promoted", "status_after", "versions"),
    [("promote", True, "FINISHED", 1), ("keep", False, "FINISHED", 1), ("promote", False, "KILLED", 0)],
)
def test_a_dead_run_is_finished_with_a_whole_version_and_loses_half_a_one(
    verdict: str, promoted: bool, status_after: str, versions: int, store: Path, artefact: Path
) -> None:
    with start_run(NAME, "r", store) as run:
        uri = run.log_model(artefact, make_requests(3))
    client().update_run(run.run_id, status="RUNNING")
    promotion = "better" if promoted else None
    registry.register(NAME, uri, run.run_id, {"verdict": verdict}, promotion=promotion)
    registry.settle(run.run_id)

    assert status(run) == status_after
    assert len(client().search_model_versions(f"name='{NAME}'")) == versions


def test_registering_what_was_not_logged_leaves_no_version(store: Path) -> None:
    with pytest.raises(TrackingError, match=f"^registering {NAME}: MLflow failed: "):
        registry.register(NAME, "models:/m-0123456789abcdef", "none", {})

    assert client().search_model_versions(f"name='{NAME}'") == []


def test_the_link_is_a_page_of_the_server(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    version = registry.Version(NAME, "3", "run", {})
    assert "/#/models/trip-duration-sample/versions/3" in registry.link(version)
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: "https://me:secret@mlflow.example/")

    assert registry.link(version) == "https://mlflow.example/#/models/trip-duration-sample/versions/3"


# --- What earlier runs found --------------------------------------------------------------------------------

SEARCHED = ("max_depth", "subsample")


def trained(
    store: Path,
    month: str,
    *trials: tuple[int, float, int],
    best: int = 1,
    error: type[Exception] | None = None,
) -> Run:
    """A run about a month, with trials of so deep trees: rung, validation RMSE (NaN: failed) and depth of each."""
    with contextlib.suppress(ValueError), start_run(NAME, f"green {month}", store) as run:
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


def crown(run: Run) -> None:
    """Make a version of the run the champion, without a model behind it."""
    with contextlib.suppress(MlflowException):
        client().create_registered_model(NAME)
    made = client().create_model_version(NAME, f"file://{run.scratch}", run_id=run.run_id)
    client().set_registered_model_alias(NAME, "champion", made.version)


def depths(before: str) -> list[int]:
    return [int(start.parameters["max_depth"]) for start in registry.warm_starts(NAME, before, SEARCHED)]


def test_without_earlier_runs_there_is_nothing_to_begin_with(store: Path) -> None:
    assert registry.warm_starts(NAME, "2023-06", SEARCHED) == ()
    trained(store, "2023-06", (1, 4.5, 6))
    assert registry.warm_starts(NAME, "2023-06", SEARCHED) == ()
    assert registry.warm_starts("trip-duration-yellow", "2024-01", SEARCHED) == ()


def test_a_start_says_what_and_where_it_is_from(store: Path) -> None:
    run = trained(store, "2023-05", (1, 4.5, 6))
    (start,) = registry.warm_starts(NAME, "2023-06", SEARCHED)
    (trial,) = (found for found in runs_of() if found.info.run_id != run.run_id)

    assert start == registry.Start(
        {"max_depth": 6.0, "subsample": 0.6}, trial.info.run_id, "2023-05", "trial 1"
    )


def test_only_runs_about_earlier_months_tell_anything(store: Path) -> None:
    for depth, month in ((5, "2022-12"), (7, "2023-02"), (9, "2023-03"), (8, "2023-01")):
        trained(store, month, (1, 4.5, depth))

    assert depths("2022-12") == []
    assert depths("2023-01") == [5]
    assert depths("2023-03") == [7]  # of the newest month, though 2023-01 was run later
    assert depths("2024-01") == [9]


def test_of_two_runs_about_one_month_the_later_is_newest(store: Path) -> None:
    trained(store, "2023-05", (1, 4.0, 6))
    time.sleep(0.01)
    trained(store, "2023-05", (1, 4.9, 7))

    assert depths("2023-06") == [7]


def test_the_best_trials_of_the_highest_rung_come_first(store: Path) -> None:
    trials = ((1, 4.0, 3), (1, 4.1, 4), (1, 4.2, 5), (2, 4.9, 6), (2, 4.7, 7), (3, 5.0, 8))
    trained(store, "2023-05", *trials, best=6)

    assert depths("2023-06") == [8, 7, 6]
    assert registry.WARM_TRIALS == 3


def test_the_champions_parameters_come_before_those_of_the_newest_run(store: Path) -> None:
    crown(trained(store, "2023-03", (1, 4.5, 6), (2, 4.4, 7), best=2))
    newest = trained(store, "2023-05", (1, 4.5, 8), (2, 4.4, 9), best=2)
    starts = registry.warm_starts(NAME, "2023-06", SEARCHED)

    assert [(s.whose, s.month, s.parameters["max_depth"]) for s in starts] == [
        ("champion", "2023-03", 7.0),
        ("trial 2", "2023-05", 9.0),
        ("trial 1", "2023-05", 8.0),
    ]
    assert newest.run_id not in {start.run_id for start in starts}  # its trials' own runs are named


def test_what_was_found_twice_is_tried_once(store: Path) -> None:
    crown(trained(store, "2023-05", (1, 4.5, 7), (1, 4.6, 8), (2, 4.4, 7), best=3))
    starts = registry.warm_starts(NAME, "2023-06", SEARCHED)

    assert [(start.whose, start.parameters["max_depth"]) for start in starts] == [
        ("champion", 7.0),
        ("trial 2", 8.0),
    ]


@pytest.mark.parametrize("month", ["2023-06", "2023-07"])
def test_a_champion_about_the_same_or_a_later_month_tells_nothing(month: str, store: Path) -> None:
    trained(store, "2023-05", (1, 4.5, 6))
    crown(trained(store, month, (1, 4.0, 9)))

    assert depths("2023-06") == [6]


def test_a_run_that_failed_tells_nothing_and_nor_does_a_trial_that_did(store: Path) -> None:
    trained(store, "2023-04", (1, 4.5, 6), (2, float("nan"), 7), best=1)
    failed = trained(store, "2023-05", (1, 4.0, 9), error=ValueError)

    assert status(failed) == "FAILED"
    assert depths("2023-06") == [6]


def test_of_a_run_without_some_of_the_parameters_the_others_are_told(store: Path) -> None:
    trained(store, "2023-05", (1, 4.5, 6))
    (start,) = registry.warm_starts(NAME, "2023-06", (*SEARCHED, "reg_gamma"))

    assert start.parameters == {"max_depth": 6.0, "subsample": 0.6}


def test_earlier_runs_that_cannot_be_looked_up_are_not_missing(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise MlflowException("server is gone")

    monkeypatch.setattr(mlflow.MlflowClient, "get_experiment_by_name", refuses)
    with pytest.raises(TrackingError) as refused:
        registry.warm_starts(NAME, "2023-06", SEARCHED)

    assert str(refused.value) == f"{NAME}: looking up earlier runs: MLflow failed: server is gone"


# --- The model as anyone loads it ---------------------------------------------------------------------------

ELSEWHERE = """
import json, sys
import numpy as np
import pandas as pd
from mlops.tracking import mlflow  # imported there, with a warning of pydantic's kept quiet

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
answers["code"] = sys.modules["mlops.model"].__file__
print(json.dumps(answers))
"""


def test_the_model_answers_the_same_in_another_process_elsewhere(
    store: Path, artefact: Path, tmp_path: Path
) -> None:
    version = registered(artefact, store)
    requests = make_requests(50).astype({"pickup_zone": np.int64, "dropoff_zone": np.int64})
    requests.loc[0, "pickup_zone"] = 999
    requests.loc[1, "distance_miles"] = np.nan
    requests.to_parquet(tmp_path / "requests.parquet")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    project = Path(tracking.__file__).parent.parent
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
        assert (
            answers[kind]
            == model.predict(requests.assign(passenger_count=passengers))["duration_minutes"].tolist()
        )
    assert Path(answers["code"]).is_relative_to(store / "artifacts")
    fetched = registry.predict(version, requests, store / "fetched")
    pd.testing.assert_frame_equal(fetched, model.predict(requests), check_exact=True)
    assert list(elsewhere.iterdir()) == []


def test_the_logged_model_says_what_it_takes_and_needs(store: Path, artefact: Path) -> None:
    version = registered(artefact, store)
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


# --- The server must answer ---------------------------------------------------------------------------------


class Server:
    """A loopback server that answers every request alike, or breaks the connection off (status 0)."""

    def __init__(self, status: int, api_status: int | None = None) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = status if self.path == "/health" or api_status is None else api_status
                if answer:
                    self.send_response(answer)
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"OK")
                else:
                    self.close_connection = True

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(status: int, api_status: int | None = None) -> Server:
        servers.append(Server(status, api_status))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port of this machine at which nobody listens, and nobody else can start to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def refusal(uri: str, timeout: float = 1.0) -> str:
    started = time.monotonic()
    with pytest.raises(TrackingError) as refused:
        probe(uri, timeout)
    assert time.monotonic() - started < timeout + 2
    return str(refused.value)


def test_a_dead_server_is_refused_at_once(dead_port: int) -> None:
    text = refusal(f"http://127.0.0.1:{dead_port}")

    assert text.startswith(f"tracking server http://127.0.0.1:{dead_port}: no answer within 1 s (")
    assert "Connection refused" in text
    assert text.endswith("). Start it (`make mlflow`), or set MLFLOW_TRACKING_URI to one that runs.")


def test_a_silent_server_is_refused_in_time(silent_port: int) -> None:
    text = refusal(f"http://127.0.0.1:{silent_port}", timeout=0.5)

    assert text.startswith(f"tracking server http://127.0.0.1:{silent_port}: no answer within 0.5 s (")


@pytest.mark.parametrize("status", [500, 404, 403])
def test_a_server_that_is_no_mlflow_is_refused(status: int, serve: Callable[..., Server]) -> None:
    base = f"http://127.0.0.1:{serve(status).port}"

    assert refusal(f"{base}/") == (
        f"tracking server {base}: /health answered {status}; expected 200. "
        "Is MLFLOW_TRACKING_URI the address of an MLflow server?"
    )


def test_a_server_that_answers_is_fine(serve: Callable[..., Server]) -> None:
    probe(f"http://127.0.0.1:{serve(200).port}", 1.0)


def test_a_local_store_is_fine_and_its_folder_made(tmp_path: Path) -> None:
    probe(f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}", 1.0)

    assert list((tmp_path / "new").iterdir()) == []


def test_a_dead_database_is_refused_at_once(dead_port: int) -> None:
    text = refusal(f"postgresql+psycopg2://me:secret@127.0.0.1:{dead_port}/mlflow")

    assert text.startswith(
        f"tracking server postgresql+psycopg2://127.0.0.1:{dead_port}/mlflow: no answer within 1 s ("
    )
    assert "secret" not in text


@pytest.mark.parametrize(
    "uri",
    [
        "http://me:secret@127.0.0.1:{port}",
        "http://me:se@secret@127.0.0.1:{port}",
        "http://me:secret@127.0.0.1:no-port",
        "http://me:secret@",
        "postgresql+psycopg2://me:secret@127.0.0.1:no-port/mlflow",
        "postgresql+nodriver://me:secret@127.0.0.1:{port}/mlflow",
    ],
)
def test_no_password_is_shown(uri: str, dead_port: int) -> None:
    assert "secret" not in refusal(uri.format(port=dead_port))


def test_no_password_is_shown_when_mlflow_itself_fails(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    port = serve(200, api_status=0).port
    try:
        with pytest.raises(TrackingError) as refused:
            tracking.connect(f"http://me:secret@127.0.0.1:{port}", tmp_path, 1.0)
    finally:
        mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")

    assert str(refused.value).startswith(f"tracking server http://127.0.0.1:{port}: MLflow failed: ")
    assert "secret" not in str(refused.value)


def test_a_champion_that_cannot_be_looked_up_is_not_missing(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise MlflowException("server is gone")

    monkeypatch.setattr(mlflow.MlflowClient, "get_model_version_by_alias", refuses)
    with pytest.raises(TrackingError) as refused:
        registry.champion(NAME)

    assert str(refused.value) == f"{NAME}: looking up the champion: MLflow failed: server is gone"
