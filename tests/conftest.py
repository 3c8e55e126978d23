"""Fixtures for every test: its own state folder, no tracking server, one thread, and a restored log."""

from __future__ import annotations

import logging
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

PROJECT = Path(__file__).resolve().parent.parent
REAL_MONTHS = PROJECT.parent / "shared" / "tlc" / "trip-data"

# A slow or busy machine must not fail a test, and a failure must be repeatable on another machine.
settings.register_profile("mlops", deadline=None, derandomize=True, database=None)
settings.load_profile("mlops")


# No tests and no doctests in these.
collect_ignore_glob = ["*conftest.py", "support/*"]

LEFT_OUT = pytest.StashKey[dict[str, int]]()

LONGEST = [
    *("test_schedule_year.py", "test_stack.py", "test_chaos.py", "test_outage.py", "test_three_doors.py"),
    *("test_prefect.py", "test_mage_backfill.py", "test_operator_commands.py", "test_next.py"),
    *("test_command_line.py", "test_real_months.py", "test_stack_backup.py", "test_stack_access.py"),
    *("test_lost_history.py", "test_mage_run.py", "test_odd_paths.py", "test_service_parity.py"),
    *("test_mlflow_server.py", "test_benchmarks.py", "test_service_story.py", "test_monitoring_story.py"),
    *("test_blocks_twice.py", "test_interrupts.py", "test_champion.py"),
]
"""Files that take a minute or more, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files that take longest: one that starts last would keep one of two processes waiting."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEFT_OUT] = {}


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Count them by file, for `pytest_terminal_summary`."""
    config = items[0].config
    config.stash[LEFT_OUT] |= Counter(item.location[0] for item in items)
    if hasattr(config, "workeroutput"):  # this is one of several processes; the first one prints
        config.workeroutput["left_out"] = config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[LEFT_OUT] |= getattr(node, "workeroutput", {}).get("left_out", {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what `make test` left out."""
    left_out = config.stash[LEFT_OUT]
    if config.option.markexpr == "not long" and left_out:
        terminalreporter.section("left out")
        for path, count in sorted(left_out.items()):
            terminalreporter.line(f"{count:4} of {path}")
        terminalreporter.line(f"{sum(left_out.values())} tests of long stories; `make test-long` runs them.")


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("MLOPS_THREADS", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # set first, so that a value set by a test is undone too
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.delenv("LOCK_URL", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)  # the test runner sets it where several processes run tests
    monkeypatch.setattr(sys, "path", sys.path.copy())  # MLflow adds the code of each loaded model
    if "mlops.pipeline.code_checks" in sys.modules:  # somebody may edit the project while its tests run
        monkeypatch.setattr("mlops.pipeline.code_checks.LOADED", {})


@pytest.fixture(autouse=True)
def _log_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from mlops import masking

    monkeypatch.setattr(masking, "_REMEMBERED", set())
    make, package = logging.getLogRecordFactory(), logging.getLogger("mlops")
    before = (package.handlers[:], package.level, package.propagate)
    yield
    logging.setLogRecordFactory(make)
    package.handlers[:], package.level, package.propagate = before


@pytest.fixture
def tlc_months() -> Path:
    """Folder of real TLC months, which are not part of the repository."""
    if not REAL_MONTHS.is_dir():
        pytest.skip(
            f"needs real TLC months in ../shared/{REAL_MONTHS.relative_to(PROJECT.parent / 'shared')}"
        )
    return REAL_MONTHS


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite tracking store after MLflow's migrations, which take seconds."""
    from mlops.registry import client

    state = tmp_path_factory.mktemp("migrated")
    client.connect(f"sqlite:///{state / 'mlflow.db'}", state, 5.0)
    return state / "mlflow.db"


@pytest.fixture
def store(migrated_store: Path, tmp_path: Path) -> Path:
    """State folder of this test with an empty tracking store; this project and MLflow's own functions use it."""
    from mlops.registry import client

    state = tmp_path / "state"
    state.mkdir()
    shutil.copy(migrated_store, state / "mlflow.db")
    client.connect(f"sqlite:///{state / 'mlflow.db'}", state, 5.0)
    client.mlflow.set_tracking_uri(f"sqlite:///{state / 'mlflow.db'}")
    return state
