"""The steps through Kubeflow's local runner: the same version as through any other door, after kill -9 too."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.doors import PROJECT, Ended, Machine, write_months
from support.flaky_source import FlakySource, flaky_source

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]
COMPILED = PROJECT / "flows" / "with_kubeflow.yaml"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlakySource]:
    with flaky_source(write_months(tmp_path_factory.mktemp("months")), failures=2) as site:
        yield site


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    if not (PROJECT / ".venv-kfp" / "installed").exists():
        pytest.skip("there is no Kubeflow Pipelines: make .venv-kfp/installed builds its environment")
    return Machine(tmp_path_factory.mktemp("kubeflow"), Path())


def command(machine: Machine, source: FlakySource, **changed: Any) -> list[str]:
    settings = machine.settings(**{"source": source.url, **changed})
    given = " ".join(f"{name}={value}" for name, value in settings.items())
    return ["make", "--no-print-directory", "-C", str(PROJECT), "kubeflow", f"SETTINGS={given}"]


@pytest.fixture(scope="module")
def killed(machine: Machine, source: FlakySource) -> list[str]:
    """Statuses of the runs after kill -9 in the search; the source had failed twice before."""
    with machine.start(*command(machine, source)) as process:
        process.wait_for("trial 1 of 2", 120)
        os.killpg(process.popen.pid, signal.SIGKILL)
    assert machine.numbers() == []
    return machine.statuses()


@pytest.fixture(scope="module")
def again(killed: list[str], machine: Machine, source: FlakySource) -> Ended:
    """The same run, started again."""
    return machine.run(*command(machine, source))


def test_the_compiled_pipeline_is_that_of_the_program(machine: Machine, tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, 'flows'); import with_kubeflow as it; from pathlib import Path; "
    )
    program += f"it.COMPILED = Path({str(tmp_path / COMPILED.name)!r}); it.main('compile')"
    python = PROJECT / ".venv-kfp" / "bin" / "python"
    environment = machine.environment | {"PYTHONPATH": str(PROJECT)}
    subprocess.run([str(python), "-c", program], cwd=PROJECT, env=environment, check=True)
    made, kept = ([*yaml.safe_load_all(path.read_text())] for path in (tmp_path / COMPILED.name, COMPILED))
    assert made == kept
    pipeline, platform = kept
    tasks = pipeline["root"]["dag"]["tasks"]
    assert [name for name, task in tasks.items() if "retryPolicy" not in task] == ["load-trips"]
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert len(executors) == len(tasks) == 4
    assert all(each["pvcMount"][0]["mountPath"] == "/state" for each in executors.values())


def test_a_source_that_fails_twice_is_asked_again(killed: list[str], source: FlakySource) -> None:
    assert source.failures == 0
    assert any(path.endswith("green_tripdata_2023-03.parquet") for path in source.asked)


def test_a_killed_run_is_continued_to_one_version(killed: list[str], again: Ended, machine: Machine) -> None:
    assert set(killed) == {"RUNNING"}
    assert again.status == 0, again.output
    assert machine.numbers() == ["1"]
    assert "RUNNING" not in machine.statuses()
    assert again.stdout.endswith("models:/trip-duration-sample/1 champion: there was no champion before\n")


def test_the_command_line_finds_the_version(again: Ended, machine: Machine, source: FlakySource) -> None:
    ended = machine.train(source=source.url)
    assert ended.status == 0, ended.output
    assert "is already registered with this run key" in ended.output
    assert machine.numbers() == ["1"]


def test_a_wrong_setting_fails_at_once_with_its_sentence(
    again: Ended, machine: Machine, source: FlakySource
) -> None:
    ended = machine.run(*command(machine, source, month="March"))
    assert ended.status != 0
    assert ended.output.count("ConfigError: month: expected YYYY-MM, for example 2023-10; got 'March'") == 1
    assert machine.numbers() == ["1"]
