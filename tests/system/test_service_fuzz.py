"""Requests that the service's description allows or forbids, made by schemathesis: no answer is unknown to it.

`make fuzz` sends 5,000 of them, `make test-long` a few.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.doors import PROJECT
from support.service_process import Service, running_service
from support.tracked import NAME, registered, save_artefact

from mlops.registry import client
from mlops.registry.alias_log import CHAMPION

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]
PROGRAM = PROJECT / ".venv-schemathesis" / "bin" / "schemathesis"
CASES = int(os.environ.get("FUZZ_CASES", "300"))


@pytest.fixture
def service(store: Path, tmp_path: Path) -> Iterator[Service]:
    """A service of a small model, without limits on how fast it is asked."""
    if not PROGRAM.exists():
        pytest.skip(
            f"{PROGRAM} is not there: `make .venv-schemathesis/installed` builds it, with Python 3.11"
        )
    version = registered(save_artefact(tmp_path))
    client.mlflow_client().set_registered_model_alias(NAME, CHAMPION, version.number)
    with running_service(tmp_path, MLOPS_STATE_DIR=str(store)) as running:
        yield running


def test_every_answer_is_documented_and_none_is_a_server_error(service: Service, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = f"--max-examples {CASES} --seed 1 --checks all --generation-database none --no-color"
    done = subprocess.run(
        [
            PROGRAM, "run", f"{service.url}/openapi.json", *options.split(), "--continue-on-failure",
            "--report", "json", "--report-json-path", report,
        ],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5000:]
    assert _cases(json.loads(report.read_text())) >= CASES


def _cases(report: dict[str, Any]) -> int:
    return int(report["summary"]["total"])
