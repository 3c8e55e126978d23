"""Tidying a state folder and a tracking store, as runs leave them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import FileLock
from support.losses import delete_run, remove_run
from support.tracked import bare_version

from mlops import locks
from mlops.errors import ConfigError, MlopsError
from mlops.operations.retention import cleanup, files
from mlops.operations.retention.cleanup import Retention
from mlops.operations.retention.policy import (
    ARTEFACTS,
    COPY,
    INPUT,
    LOCK,
    MONITORED,
    MONTH,
    PASSING,
    PREPARED,
    REPLACED,
    TRIALS,
    TRIED,
    WORK,
)
from mlops.pipeline import checkpoint
from mlops.pipeline.checkpoint import Checkpoint
from mlops.registry import alias_log, experiments, run_lifecycle, runs
from mlops.registry.client import mlflow

NAME = "trip-duration-sample"
OLD_DAYS = 100.0
SHA = {letter: letter * 64 for letter in "abcdef"}


def age(path: Path, days: float = OLD_DAYS) -> Path:
    then = time.time() - days * 86_400
    os.utime(path, (then, then))
    return path


def write(path: Path, text: str = "x" * 1000, days: float = OLD_DAYS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return age(path, days)


def month(state: Path, number: int, letter: str, **aged: float) -> Path:
    path = write(state / "months" / "site" / f"green_tripdata_2023-{number:02}.parquet", **aged)
    write(path.with_name(f"{path.name}.json"), json.dumps({"sha256": SHA[letter]}))
    return path


def prepared(state: Path, number: int, letter: str, **aged: float) -> Path:
    name = f"green_2023-{number:02}_{letter * 12}_012345.parquet"
    return write(state / "prepared" / "site" / "trips" / name, **aged)


def replaced(state: Path, letter: str) -> Path:
    return write(
        state / "months" / "site" / "replaced" / f"green_tripdata_2023-01_{SHA[letter][:12]}.parquet"
    )


def run(
    *letters: str,
    days: float = OLD_DAYS,
    status: str = "FINISHED",
    trials: int = 0,
    place: str = NAME,
    **tags: str,
) -> str:
    """Id of a run that used the months with these letters, so many days ago."""
    client, ended = mlflow.MlflowClient(), int((time.time() - days * 86_400) * 1000)
    experiment = run_lifecycle.make_experiment(place)
    made = client.create_run(
        experiment, start_time=ended - 1000, tags={runs.RUN_KEY: "".join(letters), **tags}
    )
    run_id = str(made.info.run_id)
    client.log_param(run_id, "month", "2023-06")
    months = [{"url": letter, "sha256": SHA[letter], "role": "training", "rows": 1} for letter in letters]
    runs.Run(run_id, experiment).log_months(pd.DataFrame(months))
    for _ in range(trials):
        trial = client.create_run(experiment, tags={runs.MLFLOW_PARENT_RUN_ID: run_id})
        client.set_terminated(trial.info.run_id)
    client.log_text(run_id, "kept", "verdict.json")
    client.set_terminated(run_id, status, end_time=ended)
    return run_id


def reign(run_id: str, folder: Path) -> None:
    number = bare_version(folder, NAME, run_id, outcome="champion")
    alias_log.move(NAME, alias_log.CHAMPION, number, by="me", verdict="promote", reason="the best")


def trials_of(run_id: str) -> list[Any]:
    client = mlflow.MlflowClient()
    experiment = client.get_run(run_id).info.experiment_id
    return list(client.search_runs([experiment], f"tags.`{runs.MLFLOW_PARENT_RUN_ID}` = '{run_id}'"))


def tidy(**changed: Any) -> dict[str, int]:
    """How many of each kind were deleted."""
    limits = Retention(**changed)
    summary = cleanup.delete_leftovers(cleanup.find_leftovers(limits), limits)
    cleanup.check_summary(summary)
    return {
        kind: int(count) for kind, count in zip(summary["kind"], summary["deleted"], strict=True) if count
    }


# --- Files --------------------------------------------------------------------------------------------------


def test_an_empty_state_has_no_leftovers(store: Path) -> None:
    found = cleanup.find_leftovers(Retention())
    assert found.empty
    assert list(found.columns) == ["kind", "place", "days", "megabytes"]
    assert cleanup.delete_leftovers(found, Retention()).empty


def test_months_that_no_run_of_late_used_go_with_what_was_made_of_them(store: Path) -> None:
    run("a", days=OLD_DAYS)
    run("b", days=5)
    gone = [month(store, 1, "a"), prepared(store, 1, "a")]
    kept = [month(store, 2, "b"), prepared(store, 2, "b"), month(store, 3, "c", days=5)]
    manifest = gone[0].with_name(f"{gone[0].name}.json")
    assert tidy() == {MONTH: 1, PREPARED: 1}
    assert not any(path.exists() for path in (*gone, manifest))
    assert all(path.exists() for path in kept)


def test_reading_a_file_is_using_it(store: Path) -> None:
    path = month(store, 1, "a")
    os.utime(path, (time.time(), path.stat().st_mtime))  # read now, written long ago
    assert tidy() == {}


def test_replaced_months_stay_although_the_runs_of_champions_were_deleted(
    store: Path, tmp_path: Path
) -> None:
    runs_of_champions = [run("a", trials=1), run("b")]
    for run_id in runs_of_champions:
        reign(run_id, tmp_path)
    kept = [replaced(store, letter) for letter in "ab"]
    for run_id in runs_of_champions:
        delete_run(run_id)
    nobody_s = replaced(store, "c")
    assert tidy() == {REPLACED: 1}
    assert not nobody_s.exists()

    nobody_s = replaced(store, "c")
    mlflow.MlflowClient().restore_run(runs_of_champions[0])
    remove_run(runs_of_champions[0])  # now nobody knows which months it used
    assert tidy() == {}
    assert all(path.exists() for path in (*kept, nobody_s))


def test_replaced_months_stay_while_a_champion_was_trained_on_them(store: Path, tmp_path: Path) -> None:
    reign(run("a"), tmp_path)
    reign(run("b"), tmp_path)
    first, second, nobody_s = (replaced(store, letter) for letter in "abc")
    note = write(nobody_s.with_name(f"{nobody_s.stem}_to_dddddddddddd.txt"))
    assert tidy() == {REPLACED: 1}
    assert first.exists(), "its champion has been replaced, and a rollback may want it"
    assert second.exists()
    assert not nobody_s.exists()
    assert not note.exists()


def test_abandoned_attempts_are_deleted_unless_they_have_a_pending_result(store: Path) -> None:
    reported, pending, young = (
        Checkpoint.of(NAME, "0123"),
        Checkpoint.of(NAME, "4567"),
        Checkpoint.of(NAME, "89ab"),
    )
    needed = prepared(store, 1, "a")
    pending.note(checkpoint.PENDING, {"name": NAME, "month": "2023-04"})
    pd.DataFrame([{"raw": "gone", "path": str(needed), "features": "gone"}]).to_csv(
        pending.folder / "months.csv"
    )
    for attempt in (reported, pending):
        for path in (*attempt.folder.rglob("*"), attempt.folder):
            age(path)
    assert tidy() == {WORK: 1}
    assert not reported.folder.exists()
    assert pending.folder.exists()
    assert young.folder.exists()
    assert needed.exists()


def test_passing_files_go_after_a_day(store: Path) -> None:
    part = write(store / "months" / "site" / ".green_tripdata_2023-01.parquet.7-ab.part", days=1.1)
    being_written = write(store / "prepared" / "site" / "trips" / ".x.parquet.tmp", days=0.9)
    assert tidy() == {PASSING: 1}
    assert not part.exists()
    assert being_written.exists()


def test_old_copies_of_versions_go_but_not_those_that_the_service_starts_with(store: Path) -> None:
    def copy(number: int, days: float = OLD_DAYS) -> Path:
        path = write(store / "versions" / NAME / str(number) / "data" / "model.ubj", days=OLD_DAYS)
        return age(path.parents[1], days)  # opened for use so many days ago

    gone, served, used, fetched = copy(1), copy(2), copy(3, days=5), copy(4)
    write(store / "serving" / "models" / f"{NAME}.json", json.dumps({"name": NAME, "number": "2"}))
    write(store / "serving" / "models" / "trip-duration-green.json", '["changed by hand"]')
    (store / "locks").mkdir()
    with FileLock(store / "locks" / f"{NAME}-4.lock"):
        assert tidy() == {COPY: 1}
    assert [path.exists() for path in (gone, served, used, fetched)] == [False, True, True, True]


def test_fetched_inputs_go_with_their_locks(store: Path) -> None:
    inputs = store / "months" / "site" / "inputs"
    old, used, fetched = (
        write(inputs / "rides.csv.gz"),
        write(inputs / "a.csv", days=5),
        write(inputs / "b.parquet"),
    )
    lock = write(store / "locks" / "rides.csv.gz.lock", "")
    with FileLock(store / "locks" / "b.parquet.lock"):
        assert tidy() == {INPUT: 1, LOCK: 1}
    assert [path.exists() for path in (old, lock, used, fetched)] == [False, False, True, True]


def test_old_tables_that_blocks_passed_on_go(store: Path) -> None:
    folder = store / "prepared"
    old = write(folder / "tables" / "0123456789ab.parquet"), write(folder / "site" / "green_2023-06_0123.csv")
    used = write(folder / "tables" / "0123456789ac.parquet", days=5)
    assert tidy() == {PREPARED: 2}
    assert [path.exists() for path in (*old, used)] == [False, False, True]


def test_old_files_of_monitoring_go(store: Path) -> None:
    folder = store / "monitoring" / "samples"
    old, deeper = write(folder / "0123-1.parquet"), write(folder / "green" / "4567.parquet")
    used, being_written = write(folder / "89ab-1.parquet", days=5), write(folder / ".cdef.tmp", days=0.9)
    assert tidy() == {MONITORED: 2}
    assert [path.exists() for path in (old, deeper, used, being_written)] == [False, False, True, True]


def test_scored_files_and_the_request_log_stay_and_their_temporary_files_go(store: Path) -> None:
    result = f"green_tripdata_2023-10.{NAME}-v3.parquet"
    kept = [
        write(store / "scored" / result),
        write(store / "serving" / "requests" / "2026-01-01T00-00-00-abcdabcd.parquet"),
        write(store / "serving" / "keys"),
        write(store / "scored" / f".{result}.tmp", days=0.9),
    ]
    passing = [
        write(store / "scored" / "october" / f".{result}.tmp", days=1.1),
        write(store / "serving" / "requests" / ".2026-01-01T00-00-00-abcdabcd.parquet.tmp", days=1.1),
        age(write(store / "versions" / NAME / ".4.tmp" / "download" / "MLmodel").parents[1], 1.1),
    ]
    lock = write(store / "locks" / f"scored-{result.removesuffix('.parquet')}.lock", "")
    assert tidy() == {PASSING: 3, LOCK: 1}
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in (*passing, lock))


def test_locks_of_what_is_gone_go_unless_they_are_held(store: Path) -> None:
    free, held = (write(store / "locks" / f"{name}.parquet.lock", "") for name in ("free", "held"))
    of_a_model = write(store / "locks" / f"{NAME}.work.lock", "")
    there = prepared(store, 1, "a", days=5)
    of_a_file = write(store / "locks" / f"{there.name}.lock", "")
    with FileLock(held):
        age(held)
        assert tidy() == {LOCK: 1}
    assert not free.exists()
    assert all(path.exists() for path in (held, of_a_model, of_a_file))


def test_a_file_that_somebody_makes_is_left(store: Path) -> None:
    path = prepared(store, 1, "a")
    (store / "locks").mkdir()
    with FileLock(store / "locks" / f"{path.name}.lock"):
        assert tidy() == {}
    assert path.exists()
    assert tidy()[PREPARED] == 1


def test_what_was_used_after_it_was_found_stays(store: Path) -> None:
    path = month(store, 1, "a")
    found = cleanup.find_leftovers(Retention())
    run("a", days=0)
    assert len(found) == 1
    summary = cleanup.delete_leftovers(found, Retention())
    assert summary["deleted"].tolist() == [0]
    assert path.exists()
    (candidate,) = [c for c in files.candidates() if c.kind == MONTH]
    age(path, 1)
    assert not files.delete(candidate)
    assert path.exists()


def test_nothing_is_touched_while_somebody_is_at_work(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "GRACE_SECONDS", 0.0)
    path, parent = month(store, 1, "a"), run("b", trials=1)
    run("c")  # the newest
    with run_lifecycle.work_lock(NAME, "refuse", "training"):
        assert tidy() == {}
    assert path.exists()
    assert trials_of(parent)


def test_a_dry_run_lists_and_deletes_nothing(store: Path) -> None:
    path = month(store, 1, "a")
    limits = Retention(dry_run=True)
    found = cleanup.find_leftovers(limits)
    assert found[["kind", "place", "days", "megabytes"]].to_numpy().tolist() == [
        [MONTH, str(path), 100.0, 0.001]
    ]
    summary = cleanup.delete_leftovers(found, limits)
    assert summary[["found", "deleted", "megabytes"]].to_numpy().tolist() == [[1, 0, 0.0]]
    assert path.exists()


def test_keep_days_are_heeded(store: Path) -> None:
    month(store, 1, "a")
    assert tidy(keep_days=101) == {}
    assert tidy(keep_days=99) == {MONTH: 1}


# --- Runs ---------------------------------------------------------------------------------------------------


def test_trials_of_old_runs_go_but_not_those_of_champions_or_of_the_newest(
    store: Path, tmp_path: Path
) -> None:
    loser, first, second = run("a", trials=2), run("b", trials=2), run("c", trials=2)
    reign(first, tmp_path)
    reign(second, tmp_path)
    newest, young = run("d", days=95, trials=2), run("e", days=5, trials=2, status="FAILED")
    assert tidy() == {TRIALS: 1}
    assert trials_of(loser) == []
    assert [len(trials_of(run_id)) for run_id in (first, second, newest, young)] == [2, 2, 2, 2]
    assert mlflow.get_run(loser).info.lifecycle_stage == "active"


def test_a_champion_that_was_set_by_hand_counts(store: Path, tmp_path: Path) -> None:
    chosen = run("a", trials=1)
    run("b", days=95)
    number = bare_version(tmp_path, NAME, chosen)
    mlflow.MlflowClient().set_registered_model_alias(NAME, "champion", number)
    assert tidy() == {}


def test_artefacts_of_runs_that_failed_go_and_those_of_versions_stay(store: Path, tmp_path: Path) -> None:
    failed, young = run("a", status="FAILED"), run("b", status="KILLED", days=5)
    registered, finished, unfinished = run("c", status="FAILED"), run("d"), run("e", status="KILLED")
    bare_version(tmp_path, NAME, registered)
    Checkpoint.of(NAME, "e")
    found = cleanup.find_leftovers(Retention())
    assert found[["kind", "place", "megabytes"]].to_numpy().tolist() == [[ARTEFACTS, failed, 4e-6]]
    assert tidy() == {ARTEFACTS: 1}
    there = [
        bool(mlflow.MlflowClient().list_artifacts(run_id))
        for run_id in (failed, young, registered, finished, unfinished)
    ]
    assert there == [False, True, True, True, True]
    assert tidy() == {}


def test_old_experiments_go_like_other_runs_without_a_version(store: Path) -> None:
    place = experiments.place_of(NAME, "short trips")
    old, failed = run("a", trials=2, place=place), run("c", status="FAILED", place=place)
    young = run("b", days=5, trials=2, place=place)
    kept, gone = prepared(store, 1, "b"), prepared(store, 2, "a")
    assert tidy() == {ARTEFACTS: 1, PREPARED: 1, TRIALS: 1, TRIED: 1}
    client = mlflow.MlflowClient()
    assert [len(client.list_artifacts(run_id)) for run_id in (old, failed, young)] == [0, 0, 1]
    assert [len(trials_of(run_id)) for run_id in (old, young)] == [0, 2]
    assert (kept.exists(), gone.exists()) == (True, False)
    assert client.get_run(old).data.params["month"] == "2023-06"  # `experiments` still lists it


def test_an_experiment_at_work_keeps_its_files(store: Path) -> None:
    place = experiments.place_of(NAME, "short trips")
    old = run("a", trials=1, place=place)
    with run_lifecycle.work_lock(place, "refuse", "an experiment"):
        assert tidy() == {}
    assert len(trials_of(old)) == 1


# --- Input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "reported"),
    [
        ({"keep_days": 0}, "keep_days: input should be greater than or equal to 1; got 0"),
        ({"keep_days": "many"}, "keep_days: .*; got 'many'"),
        ({"keep_day": 9}, "keep_day: .*Known settings: keep_days, dry_run"),
    ],
)
def test_wrong_input(given: dict[str, Any], reported: str) -> None:
    with pytest.raises(ConfigError, match=reported):
        Retention.parse(given)


def test_mage_s_own_variables_are_not_ours() -> None:
    variables = {"keep_days": 7, "dry_run": True, "execution_date": None, "pipeline_uuid": "maintenance"}
    assert cleanup.from_mage(variables) == Retention(keep_days=7, dry_run=True)


def test_checks_refuse_what_cannot_be() -> None:
    young = pd.DataFrame([{"kind": MONTH, "place": "a", "days": 0.5, "megabytes": 0.0}])
    with pytest.raises(MlopsError, match=r"got younger \['a'\], duplicate \[\]"):
        cleanup.check_leftovers(young)
    twice = pd.concat([young.assign(days=9.0)] * 2)
    with pytest.raises(
        MlopsError, match=r"expected distinct leftovers, .*; got younger \[\], duplicate \['a'\]"
    ):
        cleanup.check_leftovers(twice)
    more = pd.DataFrame([{"kind": MONTH, "found": 1, "deleted": 2, "megabytes": 0.0}])
    with pytest.raises(MlopsError, match=f"got more for \\['{MONTH}'\\]"):
        cleanup.check_summary(more)
