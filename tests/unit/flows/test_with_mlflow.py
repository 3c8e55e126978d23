"""What `MLproject` calls: its words, its store, and what a run without a version shows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from flows import with_mlflow
from mlops.config import PROJECT
from mlops.errors import ConfigError
from mlops.pipeline.run_result import RunResult
from mlops.registry.versions import Version

BOARD = pd.DataFrame()


def test_words_are_settings() -> None:
    words = ["--service", "green", "--max-trials", "2", "--use_distance", "false", "--experiment_note", "--x"]
    assert dict(with_mlflow.pairs(words)) == {
        "service": "green", "max_trials": "2", "use_distance": "false", "experiment_note": "--x",
    }  # fmt: skip


def test_the_store_that_mlflow_run_makes_by_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{PROJECT / 'mlflow.db'}")
    with pytest.raises(ConfigError) as error:
        with_mlflow.require_own_store()
    assert str(error.value) == (
        "MLFLOW_TRACKING_URI is not set, so `mlflow run` made a store of its own, "
        f"{PROJECT / 'mlflow.db'}. Delete that file, then run `make mlflow-run`, or first give the shell what it "
        'needs: eval "$(.venv/bin/python -m flows.with_mlflow shell)"'
    )


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5000", "sqlite:////srv/state/mlflow.db"])
def test_any_other_store_is_used(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with_mlflow.require_own_store()


def test_a_shell_gets_the_store_unless_it_names_one(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    own = with_mlflow.variables()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", own["MLFLOW_TRACKING_URI"])
    named = with_mlflow.variables()  # it may hold a password
    assert own.pop("MLFLOW_TRACKING_URI").startswith("sqlite:///")
    assert named == own
    assert named["MLFLOW_EXPERIMENT_NAME"] == "mlflow run"
    assert named["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_result_in_words_and_as_tags() -> None:
    version = Version("trip-duration-green", "3", "", {"mlops.outcome": "champion"})
    repeated = RunResult("champion", version, True, "2023-06", "it is better", BOARD, "promote")
    assert with_mlflow.in_words(repeated) == "2023-06 champion, registered earlier: it is better"
    assert with_mlflow.tags_of(repeated) == {
        "outcome": "champion", "verdict": "promote", "month": "2023-06",
        "version": "models:/trip-duration-green/3",
    }  # fmt: skip
    nothing = RunResult("nothing to do", None, False, "2023-07", "it is not published", BOARD)
    assert with_mlflow.in_words(nothing) == "2023-07 nothing to do: it is not published"
    assert "version" not in with_mlflow.tags_of(nothing)
