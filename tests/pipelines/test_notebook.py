"""The notebook: its pair is one, git has no outputs, and notebook, script and command line have one version."""

from __future__ import annotations

import copy
import json
import re
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.doors import BIN, PROJECT, SAMPLE_MODEL, Ended, Machine, wait_until, with_store

from stack.notebook import FOLDER, NAME, clean

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of modules that Jupyter still imports
    import jupytext

PAIR = FOLDER / f"{NAME}.ipynb", FOLDER / f"{NAME}.py"
SMALL = ("--month=2023-03", "--max-trials=2")
FOUND = f"models:/{SAMPLE_MODEL}/1 is already registered with this run key"
EXPLORATION = "matplotlib", "xgboost", "mlflow"  # what only the cells that explore import


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, months: Path, migrated_store: Path) -> Machine:
    quiet = {"MLFLOW_LOGGING_LEVEL": "ERROR"}  # as `make notebook`
    return with_store(Machine(tmp_path_factory.mktemp("notebook") / "machine", months, quiet), migrated_store)


@pytest.fixture(scope="module")
def executed(machine: Machine) -> dict[str, Any]:
    """The notebook after all its cells ran, for the smallest run."""
    notebook = json.loads(PAIR[0].read_text())
    options = [*SMALL, f"--source={machine.source}"]
    given = "given = []"
    (cell,) = [cell for cell in notebook["cells"] if given in "".join(cell["source"])]
    cell["source"] = "".join(cell["source"]).replace(given, f"given = {options}")
    machine.folder.mkdir(exist_ok=True)
    (machine.folder / "small.ipynb").write_text(json.dumps(notebook))
    command = ("nbconvert", "--to=notebook", "--execute", "--output=executed.ipynb", "small.ipynb")
    ended = machine.run(str(BIN / "jupyter"), *command)
    assert ended.status == 0, ended.output
    ran: dict[str, Any] = json.loads((machine.folder / "executed.ipynb").read_text())
    return ran


@pytest.fixture(scope="module")
def script(machine: Machine) -> Path:
    """The script that `make script` writes."""
    ended = machine.run(sys.executable, "-m", "stack.notebook", "script", cwd=PROJECT)
    assert ended.status == 0, ended.output
    path = machine.state / "notebook" / f"{NAME}.py"
    assert ended.stdout == f"{sys.executable} {path} --service green --month 2023-06 --source sample\n"
    return path


@pytest.fixture(scope="module")
def ran_script(machine: Machine, executed: Any, script: Path) -> Ended:
    """The script with the settings of the executed notebook."""
    return machine.run(sys.executable, str(script), *SMALL, f"--source={machine.source}")


def said(notebook: dict[str, Any]) -> str:
    """All that the cells printed."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return "".join("".join(output.get("text", "")) for output in outputs)


def test_the_pair_is_one() -> None:
    notebook, text = (jupytext.read(path) for path in PAIR)
    cells = [
        [(cell.cell_type, cell.source, cell.metadata) for cell in half.cells] for half in (notebook, text)
    ]
    assert cells[0] == cells[1], "run: .venv/bin/jupytext --sync notebooks/trip_duration.ipynb"
    assert text.metadata.kernelspec == notebook.metadata.kernelspec


def test_git_has_no_outputs_and_no_versions_of_programs() -> None:
    notebook = json.loads(PAIR[0].read_text())
    before = copy.deepcopy(notebook)
    clean(notebook)
    assert notebook == before
    header = PAIR[1].read_text().partition("# %%")[0]
    assert re.search(r"version: ", header) is None


@pytest.mark.long
def test_every_cell_runs_and_shows_something(executed: dict[str, Any]) -> None:
    cells = [cell for cell in executed["cells"] if cell["cell_type"] == "code"]
    kinds = [output["output_type"] for cell in cells for output in cell["outputs"]]
    figures = [
        output for cell in cells for output in cell["outputs"] if "image/png" in output.get("data", {})
    ]
    assert "error" not in kinds
    assert len(figures) == 4
    assert [cell["source"][:1] for cell in cells[2:] if not cell["outputs"]] == []
    assert not [output for cell in cells for output in cell["outputs"] if output.get("name") == "stderr"]


@pytest.mark.long
def test_notebook_script_and_command_line_have_one_version(
    machine: Machine, executed: dict[str, Any], ran_script: Ended
) -> None:
    typed = machine.train(min_test_rows=5000)
    assert FOUND not in said(executed)
    assert f"models:/{SAMPLE_MODEL}/1: challenger: " in said(executed)
    assert (ran_script.status, typed.status) == (0, 0), ran_script.output + typed.output
    assert FOUND in ran_script.stdout
    assert FOUND in typed.stderr
    assert machine.numbers() == ["1"]
    assert machine.statuses() == ["FINISHED"]


@pytest.mark.long
def test_the_script_has_options_and_no_exploration(machine: Machine, script: Path) -> None:
    text = script.read_text()
    assert [name for name in EXPLORATION if re.search(rf"^import {name}", text, re.MULTILINE)] == []
    assert re.findall(r"= steps\.(\w+)", text) == [
        "load_trips", "clean_trips", "build_features", "train_and_register",
    ]  # fmt: skip
    ended = machine.run(sys.executable, str(script), "--help")
    assert ended.status == 0
    for option in ("--service", "--month", "--source", "--max-trials"):
        assert option in ended.stdout


@pytest.mark.long
@pytest.mark.parametrize(
    ("word", "status", "sentence"),
    [
        ("--mnth=2023-03", 2, "error: unrecognized arguments: --mnth=2023-03"),
        ("--service=blue", 1, "error: service: expected one of green, yellow, fhvhv; got 'blue'"),
        ("--source=/nowhere", 1, "error: source '/nowhere': there is no folder /nowhere"),
    ],
)
def test_the_script_explains_what_is_wrong(
    word: str, status: int, sentence: str, machine: Machine, script: Path
) -> None:
    ended = machine.run(sys.executable, str(script), word)
    assert (ended.status, ended.stdout) == (status, "")
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr


# --- make notebook --------------------------------------------------------------------------------------------


def files_of(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.fixture
def lab(machine: Machine, tmp_path: Path) -> Iterator[tuple[Path, str, dict[str, str]]]:
    """A copy of the notebook's folder in JupyterLab; the address of its files, and what lets a program in."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for path in FOLDER.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    before = files_of(machine.folder / "home")
    command = (sys.executable, "-m", "stack.notebook", "lab", "", str(folder))
    with machine.start(*command, cwd=PROJECT) as process:
        wait_until(lambda: "token=" in process.output, 60, lambda: process.output)
        found = re.search(r"(http://127\.0\.0\.1:\d+)/lab/tree/\S+token=(\w+)", process.output)
        assert found, process.output
        yield folder, f"{found[1]}/api/contents", {"Authorization": f"token {found[2]}"}
        assert files_of(machine.folder / "home") == before


@pytest.mark.long
def test_saving_in_jupyterlab_writes_both_halves_without_outputs(
    lab: tuple[Path, str, dict[str, str]], machine: Machine
) -> None:
    folder, address, key = lab
    assert requests.get(address, timeout=10).status_code == 403
    page = requests.get(address.replace("api/contents", "lab"), headers=key, timeout=10).text
    assert '"disabledExtensions": ["@jupyterlab/apputils-extension:announcements"]' in page
    file = f"{address}/{NAME}.ipynb"
    model = requests.get(file, headers=key, timeout=10).json()
    for cell in model["content"]["cells"]:
        if cell["cell_type"] == "code":
            cell |= {
                "outputs": [{"output_type": "stream", "name": "stdout", "text": "x"}],
                "execution_count": 1,
            }
    model["content"]["metadata"]["language_info"]["version"] = "3.11.2"
    added = {"cell_type": "markdown", "metadata": {}, "source": "A thought of mine", "id": "abcd1234"}
    model["content"]["cells"].append(added)
    body = {"type": "notebook", "content": model["content"]}
    assert requests.put(file, headers=key, json=body, timeout=10).status_code == 200
    before = [path.read_text() for path in PAIR]
    after = [(folder / path.name).read_text() for path in PAIR]
    assert after[1] == f"{before[1]}\n# %% [markdown]\n# A thought of mine\n"
    notebook = json.loads(after[0])
    assert notebook["cells"].pop() == {**added, "source": ["A thought of mine"]}
    assert notebook == json.loads(before[0])
    assert requests.post(f"{file}/checkpoints", headers=key, timeout=10).status_code == 201
    assert {path.name for path in folder.iterdir()} == {
        path.name for path in FOLDER.iterdir() if path.is_file()
    }


@pytest.mark.long
def test_a_port_that_is_taken_is_named(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for port in ("no-port", str(taken.getsockname()[1])):
            ended = machine.run(sys.executable, "-m", "stack.notebook", "lab", port, cwd=PROJECT)
            said = (
                f"error: port {port} is taken, or is no port; choose another: make notebook JUPYTER_PORT=8889"
            )
            assert (ended.status, ended.stderr) == (1, f"{said}\n")
