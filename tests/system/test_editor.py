"""Mage's server over a copy of the project: its editor, its REST API and its scheduler, really running."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from doors import BIN, BLOCKS, PIPELINE, PROJECT, SAMPLE_MODEL, Machine, wait_until, write_months

from mlops import config

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
OF_MAGE = ("metadata.yaml", "io_config.yaml", "pipelines", *sorted(set(BLOCKS.values())))

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Editor:
    """A running server."""

    address: str
    project: Path
    machine: Machine

    def call(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """What the REST API answers; Mage reports most errors in the body of a 200."""
        response = requests.request(method, f"{self.address}/api/{path}", json=body or None, timeout=60)
        response.raise_for_status()
        answer = response.json()
        assert "error" not in answer, answer
        assert isinstance(answer, dict)
        return answer


def free_port() -> int:
    with socket.socket() as any_one:
        any_one.bind(("127.0.0.1", 0))
        return int(any_one.getsockname()[1])


def answers(address: str) -> bool:
    """Whether the server is up and its database, made on the first start, has its tables."""
    try:
        return "error" not in requests.get(f"{address}/api/pipeline_schedules", timeout=5).json()
    except requests.RequestException:
        return False


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    """The server on a port of its own; it and all that it started are gone afterwards."""
    folder = tmp_path_factory.mktemp("editor")
    project = folder / "project"
    project.mkdir()
    for name in OF_MAGE:
        whole = PROJECT / name
        (shutil.copytree if whole.is_dir() else shutil.copy)(whole, project / name)
    variables = {
        "REQUIRE_USER_AUTHENTICATION": "false",
        "DISABLE_AUTO_BROWSER_OPEN": "true",
        "SCHEDULER_TRIGGER_INTERVAL": "1",
    }
    machine = Machine(folder / "machine", write_months(folder / "months"), variables)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [str(BIN / "mage"), "start", str(project), "--host", "127.0.0.1", "--port", str(port)]
    with machine.start(*command) as server:

        def ready() -> bool:
            assert server.popen.poll() is None, server.output
            return answers(address)

        wait_until(ready, 120, lambda: server.output[-3000:])
        yield Editor(address, project, machine)
    wait_until(lambda: machine.processes() == [], 30, machine.processes)


@pytest.fixture(scope="module")
def scheduled(editor: Editor) -> dict[str, Any]:
    """A run of the pipeline by the scheduler, over, as the REST API tells it."""
    under = f"pipelines/{PIPELINE}/pipeline_schedules"
    trigger = editor.call("POST", under, pipeline_schedule={"name": "by a test", "schedule_type": "api"})
    number = trigger["pipeline_schedule"]["id"]
    active = {"id": number, "status": "active"}
    editor.call("PUT", f"pipeline_schedules/{number}", pipeline_schedule=active)
    wanted = {
        "pipeline_schedule_id": number,
        "pipeline_uuid": PIPELINE,
        "variables": editor.machine.settings(),
    }
    made = editor.call("POST", f"pipeline_schedules/{number}/pipeline_runs", pipeline_run=wanted)
    path = f"pipeline_runs/{made['pipeline_run']['id']}"

    def told() -> dict[str, Any]:
        run = editor.call("GET", path)["pipeline_run"]
        assert isinstance(run, dict)
        return run

    wait_until(lambda: told()["status"] in ("completed", "failed", "cancelled"), 180, told)
    return told()


def test_the_pipeline_is_there_as_written(editor: Editor) -> None:
    pipeline = editor.call("GET", f"pipelines/{PIPELINE}")["pipeline"]
    order = list(BLOCKS)
    assert [(b["uuid"], b["upstream_blocks"], b["downstream_blocks"]) for b in pipeline["blocks"]] == [
        (name, order[max(0, n - 1) : n], order[n + 1 : n + 2]) for n, name in enumerate(order)
    ]
    assert [block["content"] for block in pipeline["blocks"]] == [
        (PROJECT / kind / f"{name}.py").read_text() for name, kind in BLOCKS.items()
    ]
    assert pipeline["variables"] == config.defaults()


def test_only_this_machine_reaches_it(editor: Editor) -> None:
    port = int(editor.address.rpartition(":")[2])
    with socket.socket() as elsewhere:
        elsewhere.settimeout(5)
        assert elsewhere.connect_ex(("127.0.0.2", port)) != 0  # it would listen there on 0.0.0.0


def test_the_scheduler_runs_the_pipeline(scheduled: dict[str, Any], editor: Editor) -> None:
    assert scheduled["status"] == "completed", scheduled
    assert [(run["block_uuid"], run["status"]) for run in scheduled["block_runs"]] == [
        (name, "completed") for name in BLOCKS
    ]
    assert editor.machine.numbers() == ["1"]
    assert editor.machine.versions()[0].name == SAMPLE_MODEL
    assert editor.machine.alias("champion") == "1"
    assert editor.machine.statuses() == ["FINISHED"]
    assert editor.machine.parents()[0].data.params["month"] == "2023-03"


def test_the_block_s_log_tells_how_the_trials_go(scheduled: dict[str, Any], editor: Editor) -> None:
    path = f"pipelines/{PIPELINE}/logs?pipeline_run_id[]={scheduled['id']}"
    logs = editor.call("GET", path)["logs"][0]["block_run_logs"]
    told = {log["name"]: log["content"] for log in logs}
    for line in ("trial 1 of 2: validation RMSE", "trial 2 of 2: validation RMSE", "final fit on"):
        assert told["train_and_register.log"].count(line) == 1
    assert "green 2023-03: kept" in told["clean_trips.log"]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, to look at the page that a person sees")
def test_the_editor_shows_the_blocks(editor: Editor, tmp_path: Path) -> None:
    page = editor.machine.run(
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'chromium'}",
        "--virtual-time-budget=60000",
        "--dump-dom",
        f"{editor.address}/pipelines/{PIPELINE}/edit",
    )
    assert page.status == 0, page.stderr
    places = [page.stdout.find(f">{name}<") for name in BLOCKS]
    assert -1 not in places, page.stdout[-3000:]
    assert "DATA EXPORTER" in page.stdout.upper()


def test_looking_changes_no_file(scheduled: dict[str, Any], editor: Editor) -> None:
    for name in OF_MAGE:
        for path in [PROJECT / name, *(PROJECT / name).rglob("*")]:
            if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
                assert (editor.project / path.relative_to(PROJECT)).read_bytes() == path.read_bytes()
