"""Experiments in MLflow: found by run key and champion, listed, and in no search of the model's own runs."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from pathlib import Path

import pytest
from support import listed
from support.tracked import KEY, NAME, OTHER_KEY, mlflow_client

from mlops.errors import command
from mlops.registry import experiment_list, experiments, versions
from mlops.registry.run_lifecycle import start_run
from mlops.registry.versions import Version

PLACE = experiments.place_of(NAME, "short trips")
CHAMPION = Version(NAME, "3", "run of 3", {})
OTHER = Version(NAME, "4", "run of 4", {})


def tried(
    key: str = KEY,
    champion: Version | None = CHAMPION,
    place: str = PLACE,
    *,
    judged: bool = True,
    **tags: str,
) -> str:
    """Id of a run of an experiment."""
    error = None if judged else KeyboardInterrupt()
    with contextlib.suppress(KeyboardInterrupt), start_run(place, "green 2023-06", key) as run:
        run.log_parameters({"month": "2023-06"})
        run.log_metrics({"test_rmse": 4.5, "test_rmse_champion": 4.25} if champion else {"test_rmse": 4.5})
        run.set_tags({**experiments.named("short trips", "a <note>\n of two lines"), **tags})
        if error:
            raise error
        run.set_tags(experiments.tags_of(champion) | experiments.verdict_tags("keep", "why", "seed 1"))
    return str(run.run_id)


def test_a_result_is_found_by_its_key_and_champion(store: Path) -> None:
    assert experiments.find(PLACE, KEY, CHAMPION) is None
    first = tried()
    again = tried()
    tried(OTHER_KEY)
    tried(champion=OTHER)
    found = experiments.find(PLACE, KEY, CHAMPION)
    assert found is not None
    assert found.run_id == again != first  # the newest
    assert experiments.find(PLACE, KEY, None) is None
    other = experiments.find(PLACE, KEY, OTHER)
    assert other is not None
    assert other.run_id not in (first, again)
    assert experiments.find(experiments.place_of(NAME, "long trips"), KEY, CHAMPION) is None


def test_a_version_of_the_same_number_and_another_run_is_another_champion(store: Path) -> None:
    tried()
    assert experiments.find(PLACE, KEY, Version(NAME, "3", "another run", {})) is None


def test_a_run_that_was_stopped_is_no_result(store: Path) -> None:
    tried(judged=False)
    assert experiments.find(PLACE, KEY, CHAMPION) is None
    (only,) = experiments.list_all()
    assert (only.status, only.is_judged, only.verdict) == ("KILLED", False, "")


def test_a_verdict_is_the_last_of_its_tags_and_none_is_too_long() -> None:
    tags = experiments.verdict_tags("keep", "why " * 2000, "seed 1; " * 2000)
    assert list(tags)[-1] == experiments.VERDICT
    assert max(map(len, tags.values())) == 4900


def test_without_a_champion_the_result_is_found_as_well(store: Path) -> None:
    run_id = tried(champion=None)
    found = experiments.find(PLACE, KEY, None)
    assert found is not None
    assert (found.run_id, found.champion_rmse) == (run_id, None)


def test_they_are_no_runs_of_the_model(store: Path) -> None:
    tried()
    assert versions.lost_runs(NAME) == {}
    assert versions.earlier_runs(NAME, "2024-01") == ()
    assert versions.warm_starts(NAME, "2024-01", ("max_depth",)) == ()
    assert versions.list_all(NAME) == ()
    assert versions.model_names() == ()


def test_those_of_one_model_are_listed_newest_first(store: Path) -> None:
    first = tried()
    second = tried(place=experiments.place_of(NAME, "b"))
    tried(place=experiments.place_of("trip-duration-green", "b"))
    with start_run(NAME, "green 2023-06", KEY):
        pass
    found = experiments.list_all(NAME)
    assert [(one.run_id, one.name, one.model) for one in found] == [
        (second, "b", NAME),
        (first, "short trips", NAME),
    ]
    assert len(experiments.list_all()) == 3
    assert experiments.list_all("trip-duration") == ()


def test_a_deleted_experiment_is_not_listed(store: Path) -> None:
    tried()
    found = mlflow_client().get_experiment_by_name(PLACE)
    mlflow_client().delete_experiment(found.experiment_id)
    assert experiments.places() == ()
    assert experiments.list_all() == ()


def test_the_note_is_the_description_on_mlflows_page(store: Path) -> None:
    tried()
    found = mlflow_client().get_experiment_by_name(PLACE)
    experiments.describe(found.experiment_id, "What it tries")
    experiments.describe(found.experiment_id, "")  # keeps the last note
    assert mlflow_client().get_experiment(found.experiment_id).tags["mlflow.note.content"] == "What it tries"


# --- What a person and a program read ------------------------------------------------------------------------


def test_a_list_says_what_was_tried_and_what_came_of_it(store: Path) -> None:
    run_id = tried()
    header, row, *below, shows = listed.experiments().splitlines()
    assert header.split() == [
        "experiment", "tested", "on", "rmse", "champion's", "verdict", "when", "champion", "model",
    ]  # fmt: skip
    assert row.split()[:6] == ["short", "trips", "2023-06", "4.5000", "4.2500", "keep"]
    assert row.split()[8:] == ["UTC", "version", "3", NAME]
    assert [line.strip() for line in below[:3]] == [
        "differs: seed 1",
        "note: a <note> of two lines",
        "why: why",
    ]
    assert below[3].strip().startswith("http://127.0.0.1:")
    assert f"/runs/{run_id}" in below[3]
    assert shows == "`make mlflow` shows these pages"


def test_a_long_note_is_cut_at_the_terminals_edge_and_a_link_is_not(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = tried(experiment_note="very " * 100)
    assert f"note: {'very ' * 99}very\n" in listed.experiments()
    monkeypatch.setenv("COLUMNS", "80")
    *lines, link, _ = listed.experiments().splitlines()
    assert max(map(len, lines)) <= 80
    (note,) = [line for line in lines if "note: " in line]
    assert note.endswith("very...")
    assert len(note) > 75
    assert f"/runs/{run_id}" in link


def test_a_program_gets_numbers_and_nulls(store: Path) -> None:
    run_id = tried(champion=None)
    (only,) = experiment_list.list_all()
    assert only.model_dump(exclude={"at", "page"}) == {
        "model": NAME, "name": "short trips", "note": "a <note>\n of two lines", "test_month": "2023-06",
        "rmse_minutes": 4.5, "champion_rmse_minutes": None, "champion": None, "verdict": "keep", "reason": "why",
        "differs": "seed 1", "status": "FINISHED", "run_id": run_id,
    }  # fmt: skip
    assert only.at.utcoffset() == timedelta(0)
    assert f"/runs/{run_id}" in only.page.address
    assert only.page.command == "make mlflow"


def test_a_run_that_was_stopped_has_no_verdict_and_shows_its_status(store: Path) -> None:
    tried(judged=False)
    (only,) = experiment_list.list_all()
    assert (only.verdict, only.status) == (None, "KILLED")
    assert listed.experiments().splitlines()[1].split()[5] == "killed"


def test_an_empty_list_says_how_to_begin(store: Path) -> None:
    begin = f'make one: {command("train --experiment NAME")} --experiment-note "what it tries"'
    assert listed.experiments() == f"there is no experiment yet; {begin}"
    assert listed.experiments(NAME) == f"{NAME}: there is no experiment yet; {begin}"
