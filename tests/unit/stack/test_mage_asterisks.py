"""Mage's editor shows where a result is, and still shows no secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mage_ai.shared import security

from stack import mage_asterisks

PLACE = "look at http://mlflow:5000/#/models and /var/lib/mlops/prepared"


@pytest.fixture(autouse=True)
def _mage_s_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = set(security.WHITELISTED_ENV_VARS)
    monkeypatch.setenv("MLOPS_STATE_DIR", "/var/lib/mlops")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "correct-horse")
    yield
    security.WHITELISTED_ENV_VARS.clear()
    security.WHITELISTED_ENV_VARS.update(before)


def test_the_editor_shows_where_a_result_is() -> None:
    assert security.filter_out_env_var_values(PLACE) != PLACE
    mage_asterisks.mend()
    assert security.filter_out_env_var_values(PLACE) == PLACE


def test_a_secret_stays_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "http://me:correct-horse@mlflow:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    mage_asterisks.mend()
    assert security.filter_out_env_var_values(f"at {address}") == f"at {'*' * len(address)}"
    assert security.filter_out_env_var_values("correct-horse") == "*" * len("correct-horse")


def test_the_editor_shows_paths_also_where_a_variable_holds_a_part_of_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OLDPWD", str(tmp_path))
    monkeypatch.setenv("USER", "somebody-long")
    said = f"reading {tmp_path}/months and /home/somebody-long/trips"
    assert "***" in security.filter_out_env_var_values(said)
    mage_asterisks.mend()
    assert security.filter_out_env_var_values(said) == said
