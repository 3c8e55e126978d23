"""Overhead of Mage: the pipeline's time compared with the same functions called directly."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.cells import PROJECT, Cell, Job, Results
from benchmarks.plan import Bench
from benchmarks.sections import Row, Section, Table, not_measured, values_of

MOST_OVERHEAD = 0.10
PIPELINE = "trip_duration_training"
KINDS = {"mage": "Mage pipeline", "direct": "command line", "start": "Mage, a pipeline that does nothing"}
CODE = (
    "mlops/**/*.py",
    "data_*/*.py",
    "transformers/*.py",
    "pipelines/*/*.yaml",
    "*.yaml",
    "requirements.txt",
)
OWN_VARIABLES = ("MLOPS_STATE", "MLFLOW_", "MAGE_")


def run_cell(kind: str, number: int) -> str:
    """Name of the cell with one run."""
    return f"orchestration/{kind} {number}"


def cells(bench: Bench) -> list[Cell]:
    """Alternating runs of each kind, on the sample with default settings."""
    return [
        Cell(
            run_cell(kind, number), f"benchmarks.orchestration:run_{kind}", {"number": number}, CODE,
            threads=2, expected_seconds=10 if kind == "start" else 45,
        )
        for number in range(1, bench.profile.runs + 1)
        for kind in KINDS
    ]  # fmt: skip


def run_mage(job: Job, number: int) -> dict[str, Any]:
    """The pipeline with `mage run`, with an empty state folder."""
    return _timed(job, _mage(), "run", str(PROJECT), PIPELINE)


def run_direct(job: Job, number: int) -> dict[str, Any]:
    """`python -m mlops train`, with an empty state folder."""
    return _timed(job, sys.executable, "-m", "mlops", "train")


def run_start(job: Job, number: int) -> dict[str, Any]:
    """A Mage project with one block that does nothing: the time that Mage needs to start."""
    project = job.folder / "nothing"
    block = {
        "uuid": "nothing", "name": "nothing", "type": "data_loader", "language": "python",
        "upstream_blocks": [], "downstream_blocks": [], "executor_type": "local_python", "configuration": {},
    }  # fmt: skip
    pipeline = {
        "name": "nothing", "uuid": "nothing", "type": "python", "run_pipeline_in_one_process": True,
        "blocks": [block], "callbacks": [], "conditionals": [], "widgets": [],
    }  # fmt: skip
    files = {
        "metadata.yaml": (PROJECT / "metadata.yaml").read_text(encoding="utf-8"),
        "io_config.yaml": (PROJECT / "io_config.yaml").read_text(encoding="utf-8"),
        "pipelines/nothing/metadata.yaml": json.dumps(pipeline),  # JSON is also valid YAML
        "data_loaders/nothing.py": "@data_loader\ndef nothing(*args, **kwargs):\n    return {'nothing': 1}\n",
    }
    for name, text in files.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return _timed(job, _mage(), "run", str(project), "nothing")


def _mage() -> str:
    return str(Path(sys.executable).parent / "mage")


def _timed(job: Job, *command: str) -> dict[str, Any]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OWN_VARIABLES)}
    own = {
        "HOME": str(job.folder / "home"),
        "MLOPS_STATE_DIR": str(job.folder / "state"),
        "MAGE_DATA_DIR": str(job.folder / "mage"),
    }
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ended = subprocess.run(
        command,
        cwd=job.folder,
        env=inherited | own,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode:
        output = (ended.stdout + ended.stderr).strip()
        raise RuntimeError(f"{command[0]} ended with status {ended.returncode}: {output[-300:]}")
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"run_seconds": seconds, "run_cpu_seconds": cpu_seconds}


def section(bench: Bench, results: Results) -> Section:
    """The pipeline's time without Mage's start, divided by the command line's time."""
    what, goal = (
        "Mage: time of the pipeline without Mage's start, divided by the command line's",
        f"at most {1 + MOST_OVERHEAD:.2f}",
    )
    numbers = range(1, bench.profile.runs + 1)
    found = {
        kind: [v for number in numbers if (v := values_of(results, run_cell(kind, number))) is not None]
        for kind in KINDS
    }
    if not all(found.values()):
        names = [run_cell(kind, number) for kind in KINDS for number in numbers]
        return Section((not_measured(what, goal, results, *names),))
    wall = {kind: median(v["run_seconds"] for v in runs) for kind, runs in found.items()}
    cpu = {kind: median(v["run_cpu_seconds"] for v in runs) for kind, runs in found.items()}
    ratio, in_cpu = ((side["mage"] - side["start"]) / side["direct"] for side in (wall, cpu))
    row = Row(what, goal, f"{ratio:.2f} ({in_cpu:.2f} in CPU time)", ratio <= 1 + MOST_OVERHEAD)
    table = tuple(
        (KINDS[kind], f"{wall[kind]:.1f}", f"{cpu[kind]:.1f}", str(len(found[kind]))) for kind in KINDS
    )
    note = "The sample with default settings and an empty state folder; medians."
    return Section((row,), (Table("Mage", ("run", "s", "CPU s", "runs"), table, note),))
