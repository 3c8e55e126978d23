"""Mage sometimes runs the blocks of one run twice (mage-ai #5007, #5619): that changes nothing."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.doors import (
    BLOCKS,
    MAINTENANCE_BLOCKS,
    PIPELINE,
    PROJECT,
    SAMPLE_MODEL,
    Machine,
    wait_until,
    with_store,
    write_months,
)
from support.inbox import receiving
from support.warm import PYTHON

from mlops.registry import alias_log, client

# A process that loads one function of a block's file, waits for its twin, and calls the function.
TWIN = """
import importlib.util, json, sys, time
from pathlib import Path
import pandas
asked = json.loads(Path(sys.argv[1]).read_text())
spec = importlib.util.spec_from_file_location("block", asked["file"])
block = importlib.util.module_from_spec(spec)
if "callbacks" in asked["file"]:
    block.callback = lambda event: lambda function: function  # as Mage does; its own has no argument
spec.loader.exec_module(block)
tables = [pandas.read_parquet(asked["table"])] if asked["table"] else []
Path(asked["ready"]).touch()
while not Path(asked["go"]).exists():
    time.sleep(0.002)
made = getattr(block, asked["function"])(*tables, **asked["variables"])
if made is not None:
    made.to_parquet(asked["made"])
"""
NEXT = {"month": "next", "start_month": "2023-03"}
RUN = {"pipeline_uuid": PIPELINE, "pipeline_run_id": 7, "env": "prod", "context": {}}


@dataclass(frozen=True)
class Twins:
    """Two processes that run the same block with the same input, one after the other or at the same time."""

    machine: Machine
    together: bool

    def run(self, file: str, function: str, table: Path | None = None, **variables: Any) -> list[Path]:
        """Files of both outputs."""
        folder = self.machine.folder / f"{function}-{time.monotonic_ns()}"
        folder.mkdir(parents=True)
        go, made = folder / "go", [folder / "one.parquet", folder / "other.parquet"]
        with contextlib.ExitStack() as running:
            processes = []
            for path in made:
                asked = {"file": str(PROJECT / file), "function": function, "table": table and str(table)}
                asked |= {"ready": f"{path}.ready", "go": str(go), "made": str(path), "variables": variables}
                path.with_suffix(".json").write_text(json.dumps(asked))
                command = [PYTHON, "-c", TWIN, str(path.with_suffix(".json"))]
                process = running.enter_context(self.machine.start(*command, cwd=PROJECT))
                wait_until(Path(f"{path}.ready").exists, 60, lambda process=process: process.output)
                processes.append(process)
                if not self.together:
                    go.touch()
                    assert process.end().status == 0, process.output
            go.touch()
            for process in processes:
                assert process.end().status == 0, process.output
        return made


def same(one: Path, other: Path, machine: Machine) -> bool:
    """Whether two outputs and the full tables behind them are equal, but for the note of a repetition."""
    tables = [pd.read_parquet(path) for path in (one, other)]
    kept = machine.state / "prepared" / "tables"
    full = [pd.read_parquet(kept / f"{table['table'].iloc[0]}.parquet") for table in tables]
    for table in full:
        if "about" in table:
            table["about"] = table["about"].str.removeprefix("already registered as ")
    pd.testing.assert_frame_equal(*full)
    pd.testing.assert_frame_equal(*(table.drop(columns="table") for table in tables))
    return True


@pytest.fixture
def machine(tmp_path: Path, migrated_store: Path) -> Machine:
    return with_store(Machine(tmp_path / "machine", write_months(tmp_path / "source")), migrated_store)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("together", "changed"),
    [(True, NEXT), (False, {"force": True})],
    ids=["at the same time, next", "one after the other, forced"],
)
def test_a_run_whose_blocks_run_twice_has_one_version_and_one_message(
    together: bool, changed: dict[str, Any], machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    twins, table = Twins(machine, together), None
    variables = machine.settings(**changed) | RUN
    with receiving() as inbox:
        machine.variables["SLACK_WEBHOOK_URL"] = inbox.url
        for name, kind in BLOCKS.items():
            one, other = twins.run(f"{kind}/{name}.py", name, table, **variables)
            assert same(one, other, machine)
            assert machine.half_written() == []
            table = one
        twins.run("callbacks/notify.py", "notify_of_a_judged_month", table, **variables)
        assert [title.split(":")[0] for title in inbox.titles] == [f"{SAMPLE_MODEL} 2023-03"]
    assert [version.tags["test_month"] for version in machine.versions()] == ["2023-03"]
    assert machine.statuses() == ["FINISHED"]
    assert len(machine.trials(machine.parents()[0])) == 2
    assert machine.unfinished() == machine.processes() == []
    monkeypatch.setenv("MLOPS_STATE_DIR", str(machine.state))
    client.connect(f"sqlite:///{machine.state / 'mlflow.db'}", machine.state, 5.0)
    assert [(entry.alias, entry.after) for entry in alias_log.read(SAMPLE_MODEL)] == [
        ("challenger", "1"),
        ("champion", "1"),
    ]


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("together", [True, False], ids=["at the same time", "one after the other"])
def test_maintenance_whose_blocks_run_twice_deletes_once(together: bool, machine: Machine) -> None:
    twins, table, long_ago = Twins(machine, together), None, time.time() - 200 * 86_400
    old = [
        machine.state / "prepared" / "k" / "trips" / f"green_2023-01_{n:012}_abcdef.parquet"
        for n in range(40)
    ]
    outputs = machine.folder / "mage" / PROJECT.name / "pipelines" / PIPELINE / ".variables" / "7"
    old += [outputs / f"20250101T0000{n:02}" / "load_trips" / "data.json" for n in range(40)]
    for path in old:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x" * 100)
        os.utime(path, (long_ago, long_ago))
    deleted = {}
    for name, kind in MAINTENANCE_BLOCKS.items():
        made = twins.run(f"{kind}/{name}.py", name, table, keep_days=90, dry_run=False)
        summaries = [pd.read_parquet(path) for path in made]
        deleted[name] = [summary.get("deleted", pd.Series([0])).sum() for summary in summaries]
        table = made[0]
    assert len(summaries[0]) == 2
    assert sorted(deleted["delete_leftovers"]) == [0, 40]
    assert not any(path.exists() for path in old)
