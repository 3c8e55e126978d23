"""`stack.upgrade`: which services of a running stack start again; tests/system has whole upgrades."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack import mage_project, upgrade
from stack.secret_values import fill_in
from stack.stack import Stack


def test_mlflow_goes_on_where_only_mages_copy_of_the_project_is_older(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "_is_outdated", lambda _: False)
    checkout, folder, block = (
        tmp_path / "checkout",
        tmp_path / "state" / "stack",
        "transformers/clean_trips.py",
    )
    folder.mkdir(parents=True)
    mage_project.copy_project(checkout)
    stack = Stack(folder, fill_in(folder / ".env", {}), checkout=checkout)
    mage_project.refresh(stack.served, f"sqlite:///{tmp_path}/mage.db", checkout=checkout)
    assert upgrade._to_stop(stack, []) == ((), "")
    (checkout / block).write_text("# newer\n")
    assert upgrade._to_stop(stack, []) == (("mage",), f"it does not use these files yet: {block}")
