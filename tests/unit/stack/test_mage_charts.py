"""Charts run after their block, and a page that is opened again shows what they drew."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest
import yaml
from support.doors import PIPELINE, PROJECT

# Runs in a process of its own, because importing Mage opens its database.
STORY = f"""
import asyncio, json, os, time
import pandas
from mage_ai.settings.repo import set_repo_path
set_repo_path(".")
from mage_ai.data_preparation.models.pipeline import Pipeline
from mlops.pipeline import months_table
from stack import mage_charts, mage_files
mage_charts.mend()
mage_files.load_ipython_extension(None)
pipeline = Pipeline("{PIPELINE}", repo_path=".")
seen = {{}}

def shown(name):
    chart = pipeline.widgets_by_uuid[name]
    (output,) = asyncio.run(chart.to_dict_async(include_outputs=True))["outputs"]
    (printed,) = output["text_data"]
    return [output["type"], printed[0] + printed[-1], json.loads(printed[1:-1])]

asked = {{"api_key": "k", "token": "t", "pipeline_uuid": "{PIPELINE}", "uuid": "clean_trips", "code": "1"}}
seen["messages"] = list(mage_charts.messages_for_charts(asked))
seen["of a chart"] = list(mage_charts.messages_for_charts({{**asked, "type": "chart"}}))
seen["of nothing"] = [
    list(mage_charts.messages_for_charts({{**asked, key: ""}})) for key in ("code", "uuid", "pipeline_uuid")
]
seen["never run"] = [shown(name) for name in ("durations", "sampled_trips", "rejections_by_month")]
block, chart = pipeline.blocks_by_uuid["clean_trips"], pipeline.widgets_by_uuid["durations"]
block.store_variables({{"output_0": months_table.nothing_to_do("green 2023-05 is not published", "2023-05")}})
time.sleep(0.05)
chart.execute_sync(from_notebook=True, custom_code=chart.content, update_status=False)
seen["run"] = shown("durations")
time.sleep(0.05)
block.store_variables({{"output_0": months_table.nothing_to_do("later", "2023-05")}})
seen["block run again"] = shown("durations")
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("charts")
    project = home / "project"
    for name in ("pipelines", "charts", "transformers", "data_loaders", "data_exporters", "callbacks"):
        shutil.copytree(PROJECT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "metadata.yaml", project)
    before = {path: path.read_bytes() for path in project.rglob("*.*")}
    own = {
        "MAGE_DATA_DIR": str(home / "data"),
        "MLOPS_STATE_DIR": str(home / "state"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", STORY],
        cwd=project, env=os.environ | own, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in project.rglob("*.*")} == before
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_after_a_block_its_charts_run_with_its_output(seen: dict[str, Any]) -> None:
    said = yaml.safe_load((PROJECT / "pipelines" / PIPELINE / "metadata.yaml").read_text())["widgets"]
    names = [widget["uuid"] for widget in said if widget["upstream_blocks"] == ["clean_trips"]]
    assert len(names) > 3
    assert seen["messages"] == [
        {
            "api_key": "k", "token": "t", "pipeline_uuid": PIPELINE, "type": "chart", "uuid": name,
            "code": (PROJECT / "charts" / f"{name}.py").read_text(), "upstream_blocks": ["clean_trips"],
        }
        for name in names
    ]  # fmt: skip


def test_other_messages_run_no_charts(seen: dict[str, Any]) -> None:
    assert seen["of a chart"] == []
    assert seen["of nothing"] == [[], [], []]


def test_a_chart_that_never_ran_says_which_block_to_run(seen: dict[str, Any]) -> None:
    bars, table, lines = seen["never run"]
    assert bars == ["text/plain", "''", {"x": ["run clean_trips"], "y": [[0]]}]
    assert table == ["text/plain", "''", {"x": ["not drawn yet"], "y": [["run clean_trips"]]}]
    assert lines == ["text/plain", "''", {"x": [0, 1], "y": [[0, 0]]}]


def test_a_page_that_is_opened_again_shows_the_last_picture(seen: dict[str, Any]) -> None:
    assert seen["run"] == ["text/plain", "''", {"x": ["green 2023-05 is not published"], "y": [[0]]}]


def test_numbers_of_an_older_run_of_the_block_are_not_shown(seen: dict[str, Any]) -> None:
    assert seen["block run again"] == seen["never run"][0]
