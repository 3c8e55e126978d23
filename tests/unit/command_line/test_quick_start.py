"""Simple commands do not import what only training and predictions need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlops.command_line.quick_start import NOT_NEEDED
from mlops.config import PROJECT

SLOW = {"xgboost", "sklearn", "scipy.stats", "hyperopt", "matplotlib", *NOT_NEEDED}
RUN = """
import contextlib, io, json, sys
from mlops.__main__ import main
with contextlib.redirect_stdout(io.StringIO()):
    status = main(sys.argv[1:])
print(json.dumps([status, sorted(name for name, module in sys.modules.items() if module is not None)]))
"""


def modules(state: Path, *words: str) -> tuple[int, set[str]]:
    """Status of a command in a fresh process, and the modules that it imported."""
    environment = {**os.environ, "MLOPS_STATE_DIR": str(state)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words], cwd=PROJECT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    status, names = json.loads(done.stdout.splitlines()[-1])
    return status, set(names)


def test_a_listing_imports_nothing_that_only_models_need(tmp_path: Path) -> None:
    status, names = modules(tmp_path, "show")
    assert (status, names & SLOW) == (2, set())  # there is no model yet
    assert "mlops.registry.listings" in names


@pytest.mark.parametrize(
    ("words", "ends_with"), [(["train", "--dry-run"], 0), (["completion", "bash"], 0), (["notify"], 2)]
)
def test_what_asks_no_registry_does_not_import_mlflow(
    words: list[str], ends_with: int, tmp_path: Path
) -> None:
    status, names = modules(tmp_path, *words)
    assert (status, names & {"mlflow", *SLOW}) == (ends_with, set())
