"""The `.env` of a stack: what is required gets a secret, what is optional does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stack import secret_values
from stack.compose import StackError, read_env, required, variables
from stack.secret_values import NAMES, fill_in


def test_only_what_is_required_gets_a_secret(tmp_path: Path) -> None:
    values = fill_in(tmp_path / ".env", {})
    secrets = {values[name] for name in required() - NAMES.keys()}
    assert all(re.fullmatch("[0-9a-f]{64}", secret) for secret in secrets)
    assert len(secrets) == len(required() - NAMES.keys()) == 7
    others = {name: default for name, default in variables().items() if name not in required()}
    assert {name: values[name] for name in others} == others
    assert read_env(tmp_path / ".env") == fill_in(tmp_path / ".env", {}) == values


def test_an_optional_port_may_be_empty_and_the_stacks_own_may_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = variables()
    monkeypatch.setattr(secret_values, "variables", lambda: defaults)
    for empty in ("", "None"):
        defaults["SCORES_POSTGRES_PORT"] = empty
        assert fill_in(tmp_path / f"{empty}.env", {})["SCORES_POSTGRES_PORT"] == empty
    for name in ("SCORES_POSTGRES_PORT", "SERVING_PORT"):
        with pytest.raises(StackError, match=f"^{name}: expected a port, 1 to 65535; got '65536'"):
            fill_in(tmp_path / ".env", {name: "65536"})
    monkeypatch.setitem(defaults, "SERVING_PORT", "")
    with pytest.raises(StackError, match=r"^SERVING_PORT: expected a port, 1 to 65535; got ''"):
        fill_in(tmp_path / "other.env", {})
