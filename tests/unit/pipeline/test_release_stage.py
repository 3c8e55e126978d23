"""Registering a version again after an attempt whose work folder is lost."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.builders import make_requests
from support.tracked import KEY, NAME, bare_version, save_artefact

from mlops import locks
from mlops.pipeline import release_stage
from mlops.registry import alias_log, listings, versions
from mlops.registry.alias_log import CHALLENGER
from mlops.registry.run_lifecycle import start_run
from mlops.registry.runs import RUN_KEY


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
    shown = listings.listing(NAME)
    assert "challenger none -> 1" in shown
    assert "challenger 1 -> 2" in shown
