"""Versions: once per run key, found again, and the runs that they came from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.builders import make_requests
from support.losses import leave_alias, remove_run
from support.tracked import (
    AWAY,
    KEY,
    NAME,
    OTHER_KEY,
    bare_signed,
    bare_version,
    fails_at,
    mlflow_client,
    registered,
    runs_of,
)

from mlops.errors import MlopsError, PromotionError, TrackingDownError, TrackingError
from mlops.registry import alias_log, artifact, client, version_files, versions
from mlops.registry.artifact import Logged
from mlops.registry.client import MlflowException
from mlops.registry.run_lifecycle import start_run
from mlops.registry.runs import RUN_KEY
from mlops.registry.versions import OUTCOME, Version

# --- Versions -----------------------------------------------------------------------------------------------


def test_a_new_version_says_what_it_is_and_moves_no_alias(store: Path, artefact: Path) -> None:
    made = registered(artefact, verdict="promote")
    (run,) = runs_of()
    there = mlflow_client().get_model_version(NAME, "1")

    own = {name: tag for name, tag in made.tags.items() if name != "signature"}
    assert own == {"test_month": "2023-06", "verdict": "promote", RUN_KEY: KEY}
    assert made == Version(NAME, "1", run.info.run_id, made.tags)
    assert made.uri == f"models:/{NAME}/1"
    assert (there.tags, there.run_id, there.description) == (made.tags, run.info.run_id, "the first")
    assert mlflow_client().get_registered_model(NAME).aliases == {}
    assert versions.get(NAME, "1") == versions.find(NAME, KEY) == made
    assert versions.list_all(NAME) == (made,)
    assert versions.champion(NAME) is None


def test_a_run_registers_once_and_a_forced_one_again(store: Path, artefact: Path) -> None:
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
        versions.register(NAME, Logged("models:/m-0123456789abcdef", {}), "none", KEY, {})

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

    assert str(none.value) == f"{NAME}: there is no version 1; existing versions: none"
    assert refusals == [
        f"{NAME}: there is no version {number}; existing versions: 1, 2" for number in ("3", "two")
    ]


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
    assert settled.tags == {**version.tags, "proof": "passed", OUTCOME: "champion"}
    assert versions.get(NAME, "1") == settled


def test_of_tags_that_are_cut_off_the_last_is_missing(store: Path) -> None:
    bare_version(store)
    version = versions.get(NAME, "1")
    with (
        pytest.raises(TrackingDownError, match=f"^tagging models:/{NAME}/1: MLflow failed: "),
        fails_at("set_model_version_tag", AWAY, once=True, after=True),
    ):
        versions.tag(version, {"proof": "passed", OUTCOME: "champion"})

    assert versions.get(NAME, "1").tags == {**version.tags, "proof": "passed"}


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
    page = f"/#/models/{NAME}/versions/3?workflowType=machine_learning"
    monkeypatch.delenv("MLFLOW_PORT", raising=False)
    assert versions.link(version) == f"`make mlflow` shows it at http://127.0.0.1:5000{page}"
    monkeypatch.setenv("MLFLOW_PORT", "5092")  # make takes it from the environment
    assert versions.link(version) == f"`make mlflow` shows it at http://127.0.0.1:5092{page}"
    monkeypatch.setattr(client._Connection, "uri", "https://me:secret@mlflow.example/")

    assert versions.link(version) == f"https://mlflow.example{page}"


def test_half_a_version_of_a_lost_attempt_gives_way_to_a_whole_one(store: Path, artefact: Path) -> None:
    half = registered(artefact)
    whole = registered(artefact)
    versions.remove_unfinished(whole)
    assert versions.list_all(NAME) == (whole,)

    mlflow_client().set_registered_model_alias(NAME, "champion", whole.number)
    third = registered(artefact)
    versions.remove_unfinished(third)
    assert versions.list_all(NAME) == (whole, third)
    assert half.number not in (whole.number, third.number)


def test_what_the_server_handled_late_gives_way_to_the_version_that_was_sent_again(store: Path) -> None:
    run_id = mlflow_client().create_run("0").info.run_id
    bare_version(store, run_id=run_id, run_key=KEY)
    again = versions.get(NAME, bare_version(store, run_id=run_id, run_key=KEY))
    versions.remove_unfinished(again)
    assert versions.list_all(NAME) == (again,)


# --- Versions and their runs --------------------------------------------------------------------------------


def test_a_finished_run_without_its_version_is_lost(store: Path) -> None:
    assert versions.lost_runs(NAME) == {}  # no experiment
    with start_run(NAME, "kept", KEY) as kept:
        bare_version(store, run_id=kept.run_id)
    with start_run(NAME, "lost", OTHER_KEY) as lost:
        number = bare_version(store, run_id=lost.run_id)
    assert versions.lost_runs(NAME) == {}

    mlflow_client().delete_model_version(NAME, number)
    assert versions.lost_runs(NAME) == {lost.run_id: False}
    mlflow_client().delete_run(lost.run_id)
    assert versions.lost_runs(NAME) == {}


def test_a_version_that_the_journal_knows_was_deleted_by_somebody(store: Path) -> None:
    """A registry restored from an older backup has neither the version nor the entry about it."""
    with start_run(NAME, "deleted", KEY) as run:
        number = bare_version(store, run_id=run.run_id)
    by = f"run {run.run_id} by me@here"
    alias_log.move(NAME, "challenger", number, by=by, verdict="keep", reason="newly registered")
    mlflow_client().delete_model_version(NAME, number)

    assert versions.lost_runs(NAME) == {run.run_id: True}


def test_a_run_that_failed_or_has_no_run_key_lost_no_version(store: Path) -> None:
    with contextlib.suppress(ValueError), start_run(NAME, "failed", KEY):
        raise ValueError("no trips")
    experiment = mlflow_client().get_experiment_by_name(NAME).experiment_id
    somebody_s = mlflow_client().create_run(experiment)
    mlflow_client().set_terminated(somebody_s.info.run_id)
    assert versions.lost_runs(NAME) == {}


def test_training_trips_are_those_of_training_and_validation_months(store: Path) -> None:
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


# --- Versions that people made, or deleted things of ------------------------------------------------------------


def test_a_version_of_another_program_has_no_run(store: Path) -> None:
    bare_version(store)
    bare_version(store, **{RUN_KEY: KEY})
    foreign, ours = versions.list_all(NAME)
    assert (foreign.run_id, foreign.is_ours, ours.is_ours) == ("", False, True)
    assert versions.trips_learnt_from(foreign) is None


def test_the_trips_of_a_version_whose_run_is_gone_are_unknown(store: Path) -> None:
    with start_run(NAME, "r", KEY) as run:
        bare_version(store, run_id=run.run_id)
    remove_run(run.run_id)
    (version,) = versions.list_all(NAME)
    assert versions.trips_learnt_from(version) is None


def test_an_alias_of_a_deleted_version_is_no_champion(store: Path) -> None:
    """MLflow's servers before mlflow/mlflow#24825 left the alias behind."""
    bare_version(store)
    leave_alias("champion", 7)
    assert versions.champion(NAME) is None


@pytest.mark.parametrize(
    ("name", "damage", "problem"),
    [
        ("MLmodel", Path.unlink, "MLmodel was removed"),
        ("booster.ubj", Path.unlink, "data/model/booster.ubj was removed"),
        ("model.json", lambda path: path.write_text("{}"), "data/model/model.json was changed"),
    ],
)
def test_missing_and_changed_files_of_a_version_are_found(
    name: str, damage: Callable[[Path], object], problem: str, store: Path, artefact: Path, tmp_path: Path
) -> None:
    version = registered(artefact)
    assert version_files.find_damage(version, tmp_path / "whole") == ""
    (path,) = (store / "artifacts").rglob(name)
    damage(path)
    assert problem in version_files.find_damage(version, tmp_path / "damaged")


def test_a_version_in_a_store_that_is_unknown_here_is_damaged(store: Path, tmp_path: Path) -> None:
    mlflow_client().create_registered_model(NAME)
    tag = version_files.signature_of(NAME, "", {})
    mlflow_client().create_model_version(NAME, "odd://somewhere/model", tags={RUN_KEY: KEY, "signature": tag})
    (version,) = versions.list_all(NAME)
    assert "its files are gone or changed" in version_files.find_damage(version, tmp_path / "one")
    with pytest.raises(MlopsError, match=f"^fetching models:/{NAME}/1: MLflow failed: "):
        versions.predict(version, make_requests(3), tmp_path / "two")


def test_a_store_without_keys_says_nothing_about_a_version_of_ours(store: Path, tmp_path: Path) -> None:
    bare_version(store)
    foreign, ours = versions.get(NAME, "1"), bare_signed(store)
    with fails_at("get_model_version_download_uri", RuntimeError("no\nkeys")):
        with pytest.raises(TrackingDownError) as away:
            versions.predict(ours, make_requests(3), tmp_path / "one")
        with pytest.raises(MlopsError) as refused:
            versions.predict(foreign, make_requests(3), tmp_path / "two")

    reported = "RuntimeError: no keys"
    assert str(away.value) == (f"fetching {ours.uri}: {reported}. Check the access to its artefact store")
    assert type(refused.value) is MlopsError
    assert str(refused.value).startswith(f"{foreign.uri}: another program or a person registered it")


@pytest.mark.parametrize(
    "reported", ["503 Server Error: for url: http://x", "Max retries exceeded with url: /x"]
)
def test_a_store_that_is_away_for_one_file_says_nothing_about_the_version(
    reported: str, store: Path, tmp_path: Path
) -> None:
    version = bare_signed(store)
    error = MlflowException(f"The following failures occurred:\n##### File MLmodel #####\n{reported}")
    with pytest.raises(TrackingDownError), fails_at("get_model_version_download_uri", error):
        versions.predict(version, make_requests(3), tmp_path)
