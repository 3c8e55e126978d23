"""Months so small that a whole run takes seconds, and machines that use them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.doors import PROJECT, Ended, Machine, with_store, write_months


@pytest.fixture(scope="session")
def months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the green months 2023-01 to 2023-04 of the synthetic city."""
    return write_months(tmp_path_factory.mktemp("months"))


@pytest.fixture
def machine(tmp_path: Path, months: Path) -> Machine:
    return Machine(tmp_path / "machine", months)


@pytest.fixture
def ready(machine: Machine, migrated_store: Path) -> Machine:
    """The same machine with an empty tracking store."""
    return with_store(machine, migrated_store)


@pytest.fixture(scope="session")
def mage_runs(tmp_path_factory: pytest.TempPathFactory, months: Path) -> tuple[Machine, list[Ended]]:
    """A new machine on which `mage run` ran twice: as in the README, then with `--test` from another folder."""
    machine = Machine(tmp_path_factory.mktemp("mage"), months)
    first = machine.run(*machine.mage_command(project="."), cwd=PROJECT)
    return machine, [first, machine.mage_run("--test")]


@pytest.fixture(scope="session")
def train_runs(
    tmp_path_factory: pytest.TempPathFactory, months: Path, migrated_store: Path
) -> tuple[Machine, list[Ended]]:
    """A machine on which `python -m mlops train` ran: twice the same, then forced, then for the next month."""
    machine = with_store(Machine(tmp_path_factory.mktemp("train"), months), migrated_store)
    return machine, [
        machine.train(),
        machine.train(),
        machine.train("--force"),
        machine.train(month="2023-04"),
    ]
