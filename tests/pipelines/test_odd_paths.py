"""A checkout and a state folder with an odd name: every make target works, or refuses in one sentence."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import requests
from support.doors import PIPELINE, PROJECT, Machine, end_group, wait_until

from mlops.registry.client import mlflow

ODD = """it's "Zürich" #1 & co; (北京) $HOME `id` -x \\ ~@+|"""
OF_A_CHECKOUT = (
    "mlops", "stack", "docker", "pipelines", "data_loaders", "transformers", "data_exporters", "callbacks",
    "charts", "interactions", "Makefile", "metadata.yaml", "io_config.yaml", "docker-compose.yml", ".env.example",
    "requirements*.txt",
)  # fmt: skip
RUN_BY_US = ("demo", "train", "editor", "mlflow")
SMALL = "--month 2023-03 --max-trials 2 --min-test-rows 500"
TARGETS = {
    "demo": (), "train": (), "editor": (), "mlflow": (), "stack": (), "stack-status": (), "stack-stop": (),
    "backup": ("TO=backup.tar.gz",), "restore": ("FROM=backup.tar.gz",),
}  # fmt: skip


def check_out(target: Path) -> Path:
    """A copy of the checkout that shares its environments."""
    target.mkdir(parents=True)
    for source in (path for name in OF_A_CHECKOUT for path in PROJECT.glob(name)):
        if source.is_dir():
            shutil.copytree(source, target / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)  # with its time, which make compares
    for name in (".venv", ".venv-mlflow", ".venv-serving"):
        if not (PROJECT / name / "installed").exists():
            pytest.skip(f"{name} is not there: `make install` builds it")
        (target / name).symlink_to(PROJECT / name)
    return target


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return check_out(tmp_path_factory.mktemp("odd") / ODD)


@pytest.fixture
def machine(tmp_path: Path, months: Path) -> Machine:
    """A machine that knows nothing of the checkout, nor of a state folder."""
    return Machine(tmp_path / "machine", months, cold=True)


def make(
    machine: Machine, checkout: Path, *words: str, state: str = "", seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *words],
        cwd=checkout, env=environment(machine, state), capture_output=True, text=True, timeout=seconds,
    )  # fmt: skip


def environment(machine: Machine, state: str = "") -> dict[str, str]:
    inherited = {
        n: v for n, v in machine.environment.items() if n not in ("MLOPS_STATE_DIR", "MAGE_DATA_DIR")
    }
    return inherited | ({"MLOPS_STATE_DIR": state} if state else {})


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_run_of_each_door_works_in_an_odd_checkout(machine: Machine, checkout: Path, months: Path) -> None:
    source, state = checkout / "my months", checkout / "100%"
    shutil.copytree(months, source)
    before = files(checkout.parent)

    trained = make(
        machine, checkout, "train", f"SOURCE={str(source).replace('$', '$$')}", f"ARGS={SMALL}", state="100%"
    )
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "models:/trip-duration-sample/1 is champion" in trained.stderr
    block = checkout / "transformers" / "clean_trips.py"
    own_rule = 'lambda trips, month: trips["distance_miles"] > 3'
    text = block.read_text()
    block.write_text(
        text.replace("Rule, ...] = (\n", f'Rule, ...] = (\n    Rule("over_3_miles", {own_rule}),\n')
    )
    variables = '{"month": "2023-04", "max_trials": 2, "min_test_rows": 500, "source": "my months"}'
    command = ["-m", "stack.mage", "run", ".", PIPELINE, "--test", "--runtime-vars", variables]
    own = environment(machine, str(state)) | {"MAGE_DATA_DIR": str(state / "mage")}
    mage = subprocess.run(
        [".venv/bin/python", *command], cwd=checkout, env=own, capture_output=True, text=True, timeout=200
    )
    assert mage.returncode == 0, mage.stdout + mage.stderr
    assert "models:/trip-duration-sample/2" in mage.stdout
    assert "cleaning rules of its own: over_3_miles (training only)" in mage.stdout
    # Only the second run has the file; Mage executes a block's text without a file name.
    (rules,) = state.rglob("rules.json")
    assert json.loads(rules.read_text())[-1]["source"] == own_rule
    new = files(checkout.parent) - before
    assert {path.relative_to(checkout).parts[0] for path in new} <= {"100%", ".ssh_tunnel"}

    own |= {"PYTHONPATH": str(checkout)}
    doctor, again = (
        subprocess.run(
            [".venv/bin/python", "-m", "mlops", *command],
            cwd=checkout, env=own, capture_output=True, text=True, timeout=100,
        )
        for command in (["doctor"], ["reproduce", "2"])
    )  # fmt: skip
    assert "OPEN" not in doctor.stdout, doctor.stdout
    assert again.returncode == 0, again.stdout + again.stderr
    assert "are the same\n  with its own cleaning rules: over_3_miles (training only)\n" in again.stdout


@pytest.mark.long
@pytest.mark.timeout(200)
def test_mlflow_s_server_starts_in_an_odd_checkout_and_knows_its_user_only(
    machine: Machine, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name for path in checkout.iterdir()}
    with socket.socket() as any_one:
        any_one.bind(("127.0.0.1", 0))
        port = any_one.getsockname()[1]
    log = machine.folder / "server.log"
    log.parent.mkdir()
    with log.open("wb") as output:
        server = subprocess.Popen(
            ["make", "mlflow", f"MLFLOW_PORT={port}"],
            cwd=checkout, env=environment(machine), stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip

    def answers() -> bool:
        assert server.poll() is None, log.read_text()
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"http://127.0.0.1:{port}/health", timeout=1).status_code == 200
        return False

    login = checkout / ".state" / "mlflow" / ".env"
    search = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=1"
    try:
        wait_until(answers, 120)
        assert login.stat().st_mode & 0o777 == 0o600
        known = dict(line.split("=", 1) for line in login.read_text().splitlines())
        assert "user owner, password in " in log.read_text()
        assert known["MLFLOW_TRACKING_PASSWORD"] not in log.read_text()
        for user in (None, ("owner", "password1234"), ("admin", "password1234")):
            assert requests.get(search, auth=user, timeout=30).status_code == 401
        for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
            monkeypatch.setenv(name, known[name])
        experiment = mlflow.MlflowClient(f"http://127.0.0.1:{port}").create_experiment("some")
        place = mlflow.MlflowClient(f"http://127.0.0.1:{port}").get_experiment(experiment).artifact_location
    finally:
        end_group(server)
    assert place == f"{(checkout / '.state' / 'artifacts').as_uri()}/{experiment}"
    assert (checkout / ".state" / "mlflow.db").exists()
    assert {path.name for path in checkout.iterdir()} - before <= {".state"}


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_refuses_a_state_folder_that_mlflow_would_not_find(
    target: str, machine: Machine, tmp_path: Path
) -> None:
    state = tmp_path / "job_feature%2Fnew-model" / "state"
    built = re.findall(r"\.venv[\w-]*/[\w-]*installed", (PROJECT / "Makefile").read_text())
    done = make(
        machine,
        PROJECT,
        *(f"--old-file={name}" for name in built),
        target,
        *TARGETS[target],
        state=str(state),
    )
    assert done.returncode != 0
    sentences = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    program = "error" if target in RUN_BY_US else "stack"
    assert sentences == [
        f"{program}: the state folder {str(state)!r} cannot be used, because its path contains '%2F' "
        "(MLflow decodes it, so it would not find the champion); set MLOPS_STATE_DIR to a folder without it"
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["train", "show", "registry", "doctor", "tidy", "replay"])
def test_every_command_refuses_it_too(command: str, machine: Machine, tmp_path: Path) -> None:
    state = tmp_path / "what?" / "state"
    warm = Machine(tmp_path / "machine", tmp_path, {"MLOPS_STATE_DIR": str(state)})
    more = {"show": ["some"], "replay": ["--from", "2023-03", "--to", "2023-04"]}
    done = warm.mlops(command, *more.get(command, []))
    assert done.status in (1, 2)
    assert (
        done.output.count("cannot be used, because its path contains '?' (an SQLite address ends there)") == 1
    )
    assert len(done.output.splitlines()) == 1
    assert not state.parent.exists()
