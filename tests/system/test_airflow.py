"""The steps through Airflow: the same version as through any other door, after errors and kill -9 too."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.doors import PROJECT, Ended, Machine, write_months
from support.flaky_source import FlakySource, flaky_source

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlakySource]:
    with flaky_source(write_months(tmp_path_factory.mktemp("months")), failures=2) as site:
        yield site


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, source: FlakySource) -> Machine:
    if not (PROJECT / ".venv-airflow" / "installed").exists():
        pytest.skip("there is no Airflow: make .venv-airflow/installed builds its environment")
    variables = {"AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1"}
    return Machine(tmp_path_factory.mktemp("airflow"), Path(), variables)


def command(machine: Machine, source: FlakySource, **changed: Any) -> list[str]:
    settings = machine.settings(**{"source": source.url, **changed})
    return ["make", "-C", str(PROJECT), "airflow-test", f"SETTINGS={json.dumps(settings)}"]


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


def test_a_source_that_fails_twice_is_asked_again(killed: list[str], source: FlakySource) -> None:
    assert source.failures == 0
    assert any(path.endswith("green_tripdata_2023-03.parquet") for path in source.asked)


def test_a_killed_run_is_continued_to_one_version(killed: list[str], again: Ended, machine: Machine) -> None:
    assert set(killed) == {"RUNNING"}
    assert again.status == 0, again.output
    assert machine.numbers() == ["1"]
    assert "RUNNING" not in machine.statuses()
    assert "models:/trip-duration-sample/1 champion: there was no champion before" in again.output


def test_the_command_line_finds_the_version(again: Ended, machine: Machine, source: FlakySource) -> None:
    ended = machine.train(source=source.url)
    assert ended.status == 0, ended.output
    assert "is already registered with this run key" in ended.output
    assert machine.numbers() == ["1"]


def test_it_finds_its_own_version(again: Ended, machine: Machine, source: FlakySource) -> None:
    ended = machine.run(*command(machine, source))
    assert ended.status == 0, ended.output
    assert "is already registered with this run key" in ended.output
    assert machine.numbers() == ["1"]


def test_a_wrong_setting_fails_at_once_with_its_sentence(
    again: Ended, machine: Machine, source: FlakySource
) -> None:
    ended = machine.run(*command(machine, source, month="March"))
    assert ended.status != 0
    sentence = "AirflowFailException: month: expected YYYY-MM, for example 2023-10; got 'March'"
    assert ended.output.count(sentence) == 1  # no other try
    assert machine.numbers() == ["1"]
