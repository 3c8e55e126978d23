"""Mage changes only what was changed in `metadata.yaml` and `triggers.yaml`. See also `test_editor.py`."""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from support.doors import PIPELINE, PROJECT

# Runs in a process of its own, because importing Mage opens its database.
CHANGES = f"""
import asyncio
from mage_ai.settings.repo import set_repo_path
set_repo_path(".")
from mage_ai.data_preparation.models import pipeline, triggers
from stack import mage_files
mage_files.mend()
name = "{PIPELINE}"
first = triggers.get_triggers_by_pipeline(name)[0]
first.status = triggers.ScheduleStatus.INACTIVE
triggers.add_or_update_trigger_for_pipeline_and_persist(first, name, update_only_if_exists=True)
ours = pipeline.Pipeline(name, repo_path=".")
list(ours.blocks_by_uuid.values())[0].update_status("executed")
asyncio.run(ours.save_async())
print([block.status for block in pipeline.Pipeline(name, repo_path=".").blocks_by_uuid.values()])
"""


def test_mage_changes_only_what_was_changed(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(PROJECT / "pipelines", project / "pipelines")
    shutil.copy(PROJECT / "metadata.yaml", project)
    before = {path: path.read_text() for path in project.rglob("*.yaml")}
    own = {"MAGE_DATA_DIR": str(tmp_path / "data"), "MLOPS_STATE_DIR": str(tmp_path / "state")}
    done = subprocess.run(
        [sys.executable, "-c", CHANGES],
        cwd=project, env=os.environ | own, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['executed', None, None, None]"
    assert {path.name for path in project.iterdir()} == {"metadata.yaml", "pipelines"}
    after = {path: path.read_text() for path in project.rglob("*.yaml")}
    (path,) = (path for path in after if after[path] != before[path])
    lines = difflib.unified_diff(before[path].splitlines(), after[path].splitlines(), n=0, lineterm="")
    assert path.name == "triggers.yaml"
    assert [line for line in lines if line[:2] in ("- ", "+ ")] == [
        "-  status: active",
        "+  status: inactive",
    ]
