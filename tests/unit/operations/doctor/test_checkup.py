"""The check-up: what it closes, what it only reports, and what needs a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mlops import config, locks
from mlops.errors import command
from mlops.operations.doctor import checkup
from mlops.operations.doctor.checkup import Finding
from mlops.operations.doctor.finding import exit_status, not_checked
from mlops.pipeline import checkpoint
from mlops.pipeline.checkpoint import Checkpoint
from mlops.registry import alias_log, experiments, run_lifecycle, runs, versions
from mlops.registry.client import mlflow

NAME = "trip-duration-sample"


ABOUT_SURROUNDINGS = ("package mlops:", "time zone:", "Mage", "tracking store", "memory:", "disk:")


@pytest.fixture(autouse=True)
def no_mage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAGE_DATA_DIR", str(tmp_path / "mage"))
    monkeypatch.delenv("MAGE_DATABASE_CONNECTION_URL", raising=False)


def findings(*, resume: bool = False) -> list[Finding]:
    """Those about models; the machine around is sound."""
    found = list(checkup.check_up(resume=resume))
    around = [finding for finding in found if finding.text.startswith(ABOUT_SURROUNDINGS)]
    assert any(finding.text.endswith("mlflow.db: it answers") for finding in around)
    assert [finding for finding in around if finding.is_open] == []
    return [finding for finding in found if finding not in around]


def open_ends(*, resume: bool = False) -> list[str]:
    return [finding.text for finding in findings(resume=resume) if finding.is_open]


def start(place: str = NAME, **tags: str) -> Any:
    """A run, RUNNING."""
    return mlflow.MlflowClient().create_run(run_lifecycle.make_experiment(place), tags=tags)


def register(**tags: str) -> None:
    """A version as a run leaves it that has these tags on it."""
    client = mlflow.MlflowClient()
    if NAME not in versions.model_names():
        client.create_registered_model(NAME)
    run = start()
    client.log_text(run.info.run_id, "month,sha256\n", "months.csv")
    client.set_terminated(run.info.run_id)
    tags = {runs.RUN_KEY: "89ab", "test_month": "2023-06", **tags}
    client.create_model_version(NAME, run.info.artifact_uri, run.info.run_id, tags=tags)


def wait(key: str, month: str) -> Checkpoint:
    """A folder of an attempt whose model is fitted, with a pending result."""
    kept = Checkpoint.of(NAME, key)
    kept.note(checkpoint.PENDING, {"name": NAME, "month": month, "settings": {"month": month}})
    return kept


def test_a_new_store(store: Path) -> None:
    assert findings() == [Finding("no model is registered yet")]


def test_nothing_is_open(store: Path) -> None:
    register(outcome="champion")
    assert findings() == [Finding(f"{NAME}: no run is left open")]


def test_a_run_whose_process_is_gone_is_ended(store: Path) -> None:
    register(outcome="champion")
    run = start(**{run_lifecycle.LOCK_TAG: run_lifecycle.lock_place()})
    assert findings() == [Finding(f"{NAME}: runs and trials whose process is gone: 1, now closed as KILLED")]
    assert mlflow.get_run(run.info.run_id).info.status == "KILLED"
    assert findings() == [Finding(f"{NAME}: no run is left open")]


def test_a_run_of_another_host_is_left_alone(store: Path) -> None:
    register(outcome="champion")
    run = start(**{run_lifecycle.LOCK_TAG: "elsewhere:/state"})
    (found,) = findings()
    assert found.label == "not checked"
    assert found.text == (
        f"{NAME}: runs with status RUNNING under the locks of elsewhere:/state (1): "
        "run the doctor there; without a heartbeat for 15 minutes, they are closed here"
    )
    assert mlflow.get_run(run.info.run_id).info.status == "RUNNING"


def test_an_alias_moved_by_hand_is_written_down(store: Path) -> None:
    register(outcome="champion")
    mlflow.MlflowClient().set_registered_model_alias(NAME, "champion", "1")
    reported = Finding(f"{NAME}: champion was moved by hand from version none to 1; recorded in the journal")
    assert reported in findings()
    assert reported not in findings()
    assert [entry.verdict for entry in alias_log.read(NAME)] == [alias_log.BY_HAND]


def test_an_interrupted_attempt_can_be_continued(store: Path) -> None:
    kept = Checkpoint.of(NAME, "0123")
    kept.append("trials", {"number": 1})
    kept.append("trials", {"number": 2})
    assert findings()[1:] == [
        Finding(
            f"{NAME}: a run was interrupted after 2 trials ({kept.folder}); "
            "run it with the same settings to continue, or delete the folder to discard it"
        )
    ]


def test_a_version_whose_run_did_not_end_is_open(store: Path) -> None:
    register(run_key="0123")
    assert open_ends() == [f"models:/{NAME}/1: it was registered, but its run did not finish; run it again"]


def test_a_version_that_an_attempt_can_still_finish_is_reported_once(store: Path) -> None:
    register(run_key="0123")
    Checkpoint.of(NAME, "0123")
    assert open_ends() == []
    assert "a run was interrupted after 0 trials" in findings()[-1].text


def test_a_model_that_waits_is_open_until_it_is_delivered(store: Path) -> None:
    wait("0123", "2023-04")
    assert open_ends() == [
        f"{NAME}: the pending result of a model tested on 2023-04 is not delivered; "
        f"run {command('doctor --resume')}"
    ]


def test_what_cannot_be_delivered_says_what_to_do_and_does_not_keep_others(store: Path) -> None:
    later, earlier = wait("0123", "2023-04"), wait("4567", "2023-03")
    reported = [text for text in open_ends(resume=True) if "cannot be delivered" in text]
    assert [text.partition(":")[0] for text in reported] == [
        f"pending result of {NAME}, tested on {month}, cannot be delivered"
        for month in ("2023-03", "2023-04")
    ]
    assert reported[0].endswith(f"Delete {earlier.folder} and train it again.")
    assert reported[1].endswith(f"Delete {later.folder} and train it again.")


def test_what_another_holds_is_not_looked_at(
    store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "GRACE_SECONDS", 0.1)
    wait("0123", "2023-04")
    with (
        caplog.at_level("INFO", logger="mlops"),
        run_lifecycle.work_lock(NAME, "refuse", "training green 2023-04"),
    ):
        (busy,) = findings(resume=True)
    assert busy.label == "not checked"
    assert busy.text.startswith(f"{NAME}: its runs, journal and pending results: held by ")
    assert "training green 2023-04" in busy.text
    assert busy.text.endswith(" UTC; run the doctor again when that has ended")
    assert "on_busy" not in busy.text  # which the doctor does not have
    assert not any("waiting for it" in message for message in caplog.messages)


def test_a_server_that_is_away_is_one_finding_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    found = list(checkup.check_up(resume=True))
    (away,) = [finding.text for finding in found if finding.is_open]
    assert away.startswith("tracking server http://127.0.0.1:1: no answer within 5 s")
    assert "Start it (`make mlflow`)" in away
    assert not_checked("registered models", "the tracking server cannot be used; correct that first") in found
    assert found[-1].text.startswith("disk: ")


def test_a_check_that_fails_does_not_keep_the_others(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    monkeypatch.setenv("MAGE_DATABASE_CONNECTION_URL", "no address at all")
    found = list(checkup.check_up(resume=False))
    assert ["Mage's database" in finding.text for finding in found if finding.is_open] == [True]
    assert Finding("no model is registered yet") in found


def test_the_exit_status_says_what_is_left_to_do() -> None:
    well, open_end, unchecked = Finding("well"), Finding("ill", is_open=True), not_checked("more", "because")
    assert exit_status([well]) == 0
    assert exit_status([well, unchecked]) == 3
    assert exit_status([unchecked, open_end, well]) == 1


def test_nothing_is_made_where_there_is_nothing(tmp_path: Path) -> None:
    found = list(checkup.check_up(resume=False))
    assert {finding.label for finding in found} == {"ok"}
    assert [finding.text for finding in found if "tracking store" in finding.text] == [
        f"tracking store {config.tracking_uri()}: it does not exist yet, so no model is in it; a run creates it"
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("resume", [False, True])
def test_a_store_that_does_not_exist_is_neither_made_nor_called_well(resume: bool) -> None:
    wait("0123", "2023-04")
    found = list(checkup.check_up(resume=resume))
    about_it = [finding for finding in found if finding.text.startswith(NAME)]
    assert about_it == [
        Finding(
            f"{NAME}: the pending result of a model tested on 2023-04 is not delivered; name the tracking "
            "server in use in MLFLOW_TRACKING_URI, or start a run of this model, which creates "
            f"{config.tracking_uri()} and delivers it",
            is_open=True,
        )
    ]
    assert not config.state().tracking_store.exists()


def test_a_registry_that_was_emptied_is_open(store: Path) -> None:
    register(outcome="champion", run_key="0123")
    (version,) = versions.list_all(NAME)
    client = mlflow.MlflowClient()
    client.set_tag(version.run_id, runs.RUN_KEY, "0123")
    assert open_ends() == []

    client.delete_registered_model(NAME)
    (lost,) = open_ends()
    assert lost.startswith(f"{NAME}: finished runs whose version is missing in the registry: 1 (run ")
    assert version.run_id in lost

    client.delete_run(version.run_id)  # as it says, if it was meant
    assert open_ends() == []


def test_a_version_deleted_with_its_unfinished_run_is_no_loss(store: Path) -> None:
    run = start(**{runs.RUN_KEY: "0123"})
    mlflow.MlflowClient().set_terminated(run.info.run_id, "FAILED")
    assert open_ends() == []


def test_an_experiment_needs_no_version(store: Path) -> None:
    run = start(experiments.place_of(NAME, "short trips"), **{runs.RUN_KEY: "0123"})
    mlflow.MlflowClient().set_terminated(run.info.run_id)
    assert findings() == [Finding("no model is registered yet")]


def test_an_experiment_that_was_cut_off_is_ended_and_reported(store: Path) -> None:
    place = experiments.place_of(NAME, "short trips")
    run = start(place, **{runs.RUN_KEY: "0123", runs.LOCK_TAG: runs.lock_place()})
    kept = Checkpoint.of(place, "0123")
    kept.append("trials", {"number": 1})
    assert findings() == [
        Finding("no model is registered yet"),
        Finding(f"{place}: runs and trials whose process is gone: 1, now closed as KILLED"),
        Finding(
            f"{place}: a run was interrupted after 1 trials ({kept.folder}); "
            "run it with the same settings to continue, or delete the folder to discard it"
        ),
    ]
    assert mlflow.get_run(run.info.run_id).info.status == "KILLED"


def test_memory_and_disk_are_those_for_the_newest_run_s_months(store: Path) -> None:
    register(outcome="champion")
    (version,) = versions.list_all(NAME)
    months = [("2023-01", "training", 4000), ("2023-02", "validation", 300), ("2023-03", "test", 20)]
    table = pd.DataFrame(
        [{"url": month, "sha256": "0" * 64, "month": month, "role": r, "rows": n} for month, r, n in months]
    )
    runs.Run(version.run_id, "").log_months(table)
    reported = [finding.text for finding in checkup.check_up(resume=False)]
    assert any(f"for the 4,300 trips of models:/{NAME}/1;" in text for text in reported)
