"""The command line of scoring, in processes of its own: what it prints, how it ends, and that it can be killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.builders import make_requests
from support.tracked import NAME
from support.warm import run_warm, warm_python

from mlops.scoring.drafts import read_summary


@pytest.fixture
def command(registry: Path) -> list[str]:
    """Start of a command line that uses the registry, which is that of the state folder."""
    return [sys.executable, "-m", "mlops", "score"]


def write(path: Path, times: int = 1) -> Path:
    """A file with 1,000 requests, so many times."""
    table = pa.Table.from_pandas(make_requests(1000), preserve_index=False)
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(times):
            writer.write_table(table)
    return path


def test_a_file_is_scored(command: list[str], tmp_path: Path) -> None:
    path, to = write(tmp_path / "a.parquet"), tmp_path / "to"
    ended = run_warm([*command, "--input", str(path), "--to", str(to)])
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == str(to / f"a.{NAME}-v1.parquet")
    assert f"{path}: scored: 1,000 rows" in ended.stderr


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (
            ["--input", "none.csv"],
            2,
            "none.csv: expected a Parquet or CSV file, a folder of such files, or a URL",
        ),
        (
            ["--version", "latest"],
            2,
            "error: version: expected champion, challenger or a number; got 'latest'",
        ),
        (["--verson", "3"], 2, "error: unknown option --verson; did you mean --version?"),
        (
            ["--month", "2031-01"],
            1,
            "error: green 2031-01: not published at sample/green_tripdata_2031-01",
        ),
    ],
)
def test_what_cannot_be_scored_ends_with_a_message(
    command: list[str], options: list[str], status: int, message: str
) -> None:
    ended = run_warm([*command, *options])
    assert (ended.returncode, ended.stdout) == (status, "")
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_killed_command_is_finished_by_starting_it_again(command: list[str], tmp_path: Path) -> None:
    path, to, streams = write(tmp_path / "a.parquet", times=1000), tmp_path / "to", tmp_path / "streams"
    streams.mkdir()
    words = [*command[1:], "--input", str(path), "--to", str(to)]
    process = warm_python().start(words, Path.cwd(), dict(os.environ), streams)
    drafts, output = f".a.{NAME}-v1.????????.parquet.tmp", to / f"a.{NAME}-v1.parquet"
    while not any(draft.stat().st_size > 100_000 for draft in to.glob(drafts)):
        assert process.poll() is None, (streams / "stderr").read_text()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    assert [file.name for file in to.glob("[!.]*")] == []
    assert len([*to.glob(drafts)]) == 1
    assert run_warm([command[0], *words]).returncode == 0
    assert [file.name for file in to.iterdir()] == [output.name]
    assert (read_summary(output) or {})["answered"] == pq.read_metadata(output).num_rows == 1_000_000
