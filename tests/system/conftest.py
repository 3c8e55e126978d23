"""A stack for each test file that asks for one, and a model trained on it."""

from __future__ import annotations

import shutil

import pytest
from support.doors import write_months
from support.stack_process import REGISTRY_KEY, Client, place, require_programs, running_stack


@pytest.fixture(scope="module")
def stack():
    require_programs()
    with place() as folder, running_stack(folder / "stack") as running:
        yield running


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Settings of a small run on months in a folder."""
    source = write_months(tmp_path_factory.mktemp("months"))
    return {"month": "2023-03", "source": str(source), "max_trials": 2, "min_test_rows": 500}


@pytest.fixture(scope="module")
def trainer(stack, settings, tmp_path_factory):
    """The client that trained the model, and its output."""
    trainer = Client(tmp_path_factory.mktemp("clients") / "trainer", stack)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    printed = trainer.python("-m", "mlops", "train", *options)
    shutil.copy(trainer.state / REGISTRY_KEY, stack.state)  # machines that share a registry need one key
    return trainer, printed


@pytest.fixture(scope="module")
def trained(trainer, stack):
    """The stack with a champion."""
    return stack
