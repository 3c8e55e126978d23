"""What the service's documents say is true: its OpenAPI description, and the page `docs/serving.md`.

schemathesis makes requests that the description allows or forbids: `make fuzz` 5,000, `make test-long` a few.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.documents import blocks
from support.doors import PROJECT
from support.service_process import PYTHON, Service, running_service
from support.tracked import NAME, registered, save_artefact

from mlops.registry import client
from mlops.registry.alias_log import CHAMPION

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]
PAGE = PROJECT / "docs" / "serving.md"
SCHEMATHESIS = PROJECT / ".venv-schemathesis" / "bin" / "schemathesis"
CASES = int(os.environ.get("FUZZ_CASES", "300"))
RIDE = '{"pickup_at": "2023-07-03T08:30", "pickup_zone": 74, "dropoff_zone": 41, "distance_miles": 2.5%s}'
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def service(migrated_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of a small model."""
    folder = tmp_path_factory.mktemp("documents")
    state = folder / "state"
    state.mkdir()
    shutil.copy(migrated_store, state / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_STATE_DIR", str(state))
        client.connect(f"sqlite:///{state / 'mlflow.db'}", state, 5.0)
        version = registered(save_artefact(folder), test_rmse="4.04")
        client.mlflow_client().set_registered_model_alias(NAME, CHAMPION, version.number)
        with running_service(folder, MLOPS_STATE_DIR=str(state)) as running:
            yield running


# The OpenAPI description


def test_every_answer_is_documented_and_none_is_a_server_error(service: Service, tmp_path: Path) -> None:
    if not SCHEMATHESIS.exists():
        pytest.skip(f"{SCHEMATHESIS} is not there: `make .venv-schemathesis/installed`, with Python 3.11")
    report = tmp_path / "report.json"
    # Not every text is the name of a zone or a day of the calendar, so requests that fit the types may be refused.
    checks = "--checks all --exclude-checks positive_data_acceptance"
    options = f"--max-examples {CASES} --seed 1 {checks} --generation-database none --no-color"
    done = subprocess.run(
        [
            SCHEMATHESIS, "run", f"{service.url}/openapi.json", *options.split(), "--continue-on-failure",
            "--report", "json", "--report-json-path", report,
        ],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5000:]
    assert json.loads(report.read_text())["test_cases"]["generated"] >= CASES


# The page


def examples() -> list[tuple[str, str]]:
    """The `curl` commands of the page that ask the service, and the output that it shows."""
    text = re.sub(r" *\\\n *", " ", "\n".join(blocks(PAGE, "console")))
    found = re.findall(r"^\$ (curl .+:8000/.+)\n((?:(?!\$ ).*\n?)*)", text, re.M)
    return [(command.removesuffix(" | python3 -m json.tool"), shown) for command, shown in found]


@pytest.mark.parametrize(("command", "shown"), examples(), ids=lambda text: text[-60:])
def test_a_command_of_the_page_prints_what_it_shows(command: str, shown: str, service: Service) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not there")
    asked = shlex.split(command.replace("http://127.0.0.1:8000", service.url))
    printed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    if command.endswith("/metrics"):
        names = re.findall(r"(?m)^trip_\w+", printed) + re.findall(r"(?m)^# TYPE (\w+)", printed)
        expected = set(re.findall(r"(?m)^trip_\w+", shown))
        assert len(expected) > 5
        assert expected - set(names) == set()
    else:
        expected, found = json.loads(shown), json.loads(printed)
        assert shape(found) == shape(expected)
        if "detail" in expected:
            assert (found["detail"], found["errors"]) == (expected["detail"], expected["errors"])


def shape(value: Any) -> Any:
    """A JSON value with the names of types in place of its values."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value).__name__


def rows(heading: str) -> list[tuple[str, str]]:
    """Rows of the page's table whose first column has this heading."""
    table = PAGE.read_text().partition(f"\n| {heading} | answer |\n")[2].partition("\n\n")[0]
    found = [line.strip("| ").split(" | ", 1) for line in table.splitlines()[1:]]
    assert len(found) > 5
    return [(first, answer) for first, answer in found]


@pytest.mark.parametrize(("change", "answer"), rows("request"))
def test_a_changed_request_gets_what_the_page_says(change: str, answer: str, service: Service) -> None:
    change = change.strip("`")
    own = {name for name in re.findall(r'"(\w+)": ', change) if name in RIDE}
    kept = [each for each in re.findall(r'"\w+": [^,}]+', RIDE % "") if each.split('"')[1] not in own]
    got = requests.post(
        f"{service.url}/predict", "{" + ", ".join([*kept, change]) + "}", headers=JSON, timeout=30
    )
    assert got.status_code == int(answer[:3]), got.text
    if "`out_of_range`" in answer:
        assert got.json()["out_of_range"]
    if got.status_code == 422:
        (error,) = got.json()["errors"]
        assert error["field"] == change.split('"')[1]


BODIES = {
    "`[]`": b"[]",
    "1,001 requests": f"[{','.join([RIDE % ''] * 1001)}]".encode(),
    "`[1]`": b"[1]",
    "`null`": b"null",
    "empty, or cut off": b"",
    "not UTF-8": b'{"pickup_at": "\xff"}',
    "2 MB": b" " * 2_000_000,
    "another content type, or compressed": b"pickup_zone=74",
}


@pytest.mark.parametrize(("body", "answer"), rows("body"))
def test_a_body_gets_what_the_page_says(body: str, answer: str, service: Service) -> None:
    if body == "half a body, then silence":
        pytest.skip("tests/unit/serving/test_limits.py has this, without waiting")
    kind = "application/x-www-form-urlencoded" if answer.startswith("415") else "application/json"
    got = requests.post(f"{service.url}/predict", BODIES[body], headers={"Content-Type": kind}, timeout=30)
    assert got.status_code == int(answer[:3]), got.text
    assert got.headers["Content-Type"] == "application/problem+json"


def test_the_command_for_a_key_prints_it_and_stores_its_sha256(tmp_path: Path) -> None:
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is not there: `make install` builds it")
    own = {**os.environ, "MLOPS_STATE_DIR": str(tmp_path)}
    command = [PYTHON, "-m", "mlops.serving", "key", "planner"]
    done = subprocess.run(command, cwd=PROJECT, env=own, capture_output=True, text=True, check=True)
    digest = hashlib.sha256(done.stdout.strip().encode()).hexdigest()
    assert f"planner {digest}\n" in (tmp_path / "serving" / "keys").read_text()
