"""The same settings give the same model, to the last digit, whichever way the run starts."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from support.doors import PIPELINE, PROJECT, SAMPLE_MODEL, Ended, Machine

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]  # the first test may wait for six runs

# Mage inside a script, as in a test of a user's own pipeline.
IN_PROCESS = """
import json, sys
project, name, variables = sys.argv[1:]
from mage_ai.settings.repo import set_repo_path
set_repo_path(project)
from mage_ai.data_preparation.models.pipeline import Pipeline
from mage_ai.data_preparation.variable_manager import get_global_variables
pipeline = Pipeline.get(name, repo_path=project)
given = {**get_global_variables(name), **json.loads(variables)}
pipeline.execute_sync(global_vars=given, run_tests=True, update_status=False)
"""


def measured(machine: Machine) -> dict[str, dict[str, float]]:
    """Every number that the machine's first run and its trials logged, except durations."""
    run = machine.parents()[0]
    return {
        r.info.run_name: {name: value for name, value in r.data.metrics.items() if "seconds" not in name}
        for r in (run, *machine.trials(run))
    }


def made_from(machine: Machine) -> dict[str, Any]:
    """Parameters of the machine's first run, and its run key, a hash of files, code and packages."""
    run = machine.parents()[0].data
    return {**run.params, "run_key": run.tags["run_key"]}


@pytest.fixture(scope="module")
def in_process(train_runs: tuple[Machine, list[Ended]], tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine on which Mage ran the pipeline inside a script."""
    machine = Machine(tmp_path_factory.mktemp("script"), train_runs[0].source)
    variables = json.dumps(machine.settings())
    ended = machine.run(sys.executable, "-c", IN_PROCESS, str(PROJECT), PIPELINE, variables)
    assert ended.status == 0, ended.output
    assert ended.stdout.count("1/1 tests passed.") == 4
    return machine


def test_mage_run_and_the_command_line(
    mage_runs: tuple[Machine, list[Ended]], train_runs: tuple[Machine, list[Ended]]
) -> None:
    through_mage, through_command_line = measured(mage_runs[0]), measured(train_runs[0])
    first, *trials = through_mage
    assert first == f"2023-03 promoted: green v1, RMSE {through_mage[first]['test/rmse']:.2f}"
    assert trials == ["trial 1", "trial 2"]
    assert through_mage == through_command_line
    assert made_from(mage_runs[0]) == made_from(train_runs[0])


def test_what_one_door_registered_another_finds(mage_runs: tuple[Machine, list[Ended]]) -> None:
    machine, _ = mage_runs
    ended = machine.train()
    assert ended.status == 0, ended.output
    assert f"models:/{SAMPLE_MODEL}/1 is already registered with this run key" in ended.stderr
    assert machine.numbers() == ["1"]


def test_a_script_and_the_command_line(in_process: Machine, train_runs: tuple[Machine, list[Ended]]) -> None:
    assert measured(in_process) == measured(train_runs[0])
    assert made_from(in_process) == made_from(train_runs[0])
    assert in_process.alias("champion") == "1"


def test_the_same_models(
    mage_runs: tuple[Machine, list[Ended]], train_runs: tuple[Machine, list[Ended]], in_process: Machine
) -> None:
    """The booster and the encoder are equal to the byte, not only the metrics."""
    boosters, encoders = (
        {
            next(iter(sorted(machine.state.rglob(name), key=lambda path: path.stat().st_mtime))).read_bytes()
            for machine in (mage_runs[0], train_runs[0], in_process)
        }
        for name in ("booster.ubj", "encoder.npz")
    )
    assert len(boosters) == len(encoders) == 1
