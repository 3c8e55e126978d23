"""Registering a version again after an attempt whose work folder is lost; what lists show of a finished run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import listed
from support.builders import make_requests
from support.tracked import AWAY, KEY, NAME, bare_version, fails_at, mlflow_client, save_artefact

from mlops import locks
from mlops.config import Settings
from mlops.pipeline import release_stage
from mlops.registry import alias_log, versions
from mlops.registry.alias_log import CHALLENGER
from mlops.registry.run_lifecycle import start_run
from mlops.registry.runs import RUN_KEY
from mlops.registry.versions import OUTCOME, Version


def test_a_version_that_an_unfinished_run_left_is_replaced_in_the_journal_and_in_the_log(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bare_version(store, **{RUN_KEY: KEY})
    alias_log.move(NAME, CHALLENGER, "1", by="run 1", verdict="promote", reason="newly registered")
    monkeypatch.setattr(release_stage, "_tags", lambda *_: {"test_month": "2023-06"})
    monkeypatch.setattr(release_stage, "_description", lambda *_: "")
    judged: Any = SimpleNamespace(
        tested=SimpleNamespace(requests=make_requests(3)), verdict=SimpleNamespace(outcome="promote")
    )
    fitted: Any = SimpleNamespace(artefact=save_artefact(tmp_path))
    with start_run(NAME, "again", KEY) as run, locks.hold("held") as lock:
        attempt: Any = SimpleNamespace(run=run, checkpoint=SimpleNamespace(key=KEY), name=NAME, rules=())
        made = release_stage.register(attempt, fitted, judged, lock)
        assert release_stage.register(attempt, fitted, judged, lock) == made

    assert [version.number for version in versions.list_all(NAME)] == ["2"]
    assert caplog.text.count(f"{NAME}: removing version 1, which an unfinished run left") == 1
    assert [(entry.before, entry.after) for entry in alias_log.read(NAME)] == [(None, "1"), ("1", "2")]
    assert alias_log.reconcile(NAME) == ()
    shown = listed.listing(NAME)
    assert "challenger none -> 1" in shown
    assert "challenger 1 -> 2" in shown


@pytest.mark.parametrize(
    ("outcome", "verdict", "passed", "name"),
    [
        ("champion", "promote", True, "2023-06 promoted: green v3, RMSE 4.41"),
        ("challenger", "keep", True, "2023-06 not promoted: green v3, RMSE 4.41"),
        ("challenger", "refuse", True, "2023-06 refused: green v3, RMSE 4.41"),
        ("challenger", "promote", False, "2023-06 not verified: green v3, RMSE 4.41"),
        ("waiting for approval", "promote", True, "2023-06 waits for approval: green v3, RMSE 4.41"),
    ],
)
def test_a_finished_run_is_named_after_what_came_of_it(
    outcome: str, verdict: str, passed: bool, name: str
) -> None:
    assert release_stage.run_name(*ended(outcome, verdict, passed)) == name


def test_a_result_is_complete_though_the_lists_cannot_show_it(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with start_run(NAME, "green 2023-06", KEY) as run:
        attempt, *others = ended("champion", "promote", True, run)
        with fails_at("update_run", AWAY):
            release_stage._show_in_lists(attempt, *others)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning == (
        f"MLflow's lists do not show the result of models:/{NAME}/3: naming the run: MLflow failed: "
        "the database is away"
    )
    assert mlflow_client().get_run(run.run_id).info.run_name == "green 2023-06, attempt 1"


def ended(outcome: str, verdict: str, passed: bool, run: Any = None) -> tuple[Any, Any, Version, Any]:
    """Attempt, judgement, version and verification of a run that ended so."""
    settings = Settings(service="green", month="2023-06")
    return (
        SimpleNamespace(settings=settings, name=NAME, run=run),
        SimpleNamespace(verdict=SimpleNamespace(outcome=verdict), metrics={"test_rmse": 4.412}),
        Version(NAME, "3", "", {OUTCOME: outcome}, None),
        SimpleNamespace(passed=passed),
    )
