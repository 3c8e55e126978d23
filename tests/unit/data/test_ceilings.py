"""A source cannot fill the memory or the disk: what it sends has ceilings, which are looked at first."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.clean_months import changed
from support.month_site import NAME, ZEROS, Answer, Server, fetch, folder_with, kept, parquet

from mlops.config import PROJECT
from mlops.data import ceilings
from mlops.data.raw_trips import TLC_COLUMNS
from mlops.errors import ConfigError, TooLargeError, TripSchemaError

pytestmark = pytest.mark.usefixtures("_quick_and_local")

SIZE = "MLOPS_MAX_MONTH_SIZE"


def refusal(path: Path) -> str:
    with pytest.raises(TooLargeError) as caught:
        ceilings.require(path, "the month")
    return str(caught.value)


# --- Attacks, in a process whose memory is measured ---------------------------------------------------------

READ = """
import re, sys
from pathlib import Path
from mlops.data import cache, raw_trips, revisions, sources
from mlops.errors import MlopsError
from mlops.month import Month

for source in sys.argv[2:]:
    try:
        file = cache.fetch(sources.open_source(source), "green", Month(2023, 10), Path(sys.argv[1]))
        rows = sum(len(trips["pickup_at"]) for trips in raw_trips.read_trips(file.path, "green"))
        print(rows, revisions.compare(file.path, file.path, "green"))
    except MlopsError as error:
        print(type(error).__name__, error)
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1))
"""


def read_in_process(cache: Path, *urls: str) -> tuple[list[str], float]:
    """What reading months says, one line each, and the most memory that it took, in MB."""
    command = [sys.executable, "-c", READ, str(cache), *urls]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    *lines, peak = ended.stdout.splitlines()
    return lines, int(peak) / 1000


def bomb(path: Path, rows: int, **columns: pa.Array) -> str:
    """A folder with a month of zeros, each column in one page: a small file."""
    times, zeros = pa.array(np.zeros(rows, "datetime64[us]")), pa.array(np.zeros(rows))
    names = TLC_COLUMNS["green"].values()
    table = pa.table({name: times if "datetime" in name else zeros for name in names} | columns)
    path.mkdir()
    one_page = {"data_page_size": 2**31 - 1, "max_rows_per_page": rows, "row_group_size": rows}
    pq.write_table(
        table, path / NAME, compression="zstd", use_dictionary=False, write_statistics=False, **one_page
    )
    return str(path)


def claims(path: Path) -> str:
    """A folder with a file whose footer claims a list of a million row groups, in 12 bytes."""
    footer = bytes.fromhex("1502 19 fc c0843d".replace(" ", ""))
    return folder_with(path, b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")


def test_no_month_fills_the_memory(tmp_path: Path) -> None:
    rows = bomb(tmp_path / "rows", 8_000_000)
    texts = bomb(tmp_path / "texts", 2, note=pa.array(["", "a" * 300_000_000]))
    digits = pa.array(np.zeros(1_000_000, np.int8)).cast(pa.decimal256(76, 0))
    numbers = bomb(tmp_path / "numbers", 1_000_000, trip_distance=digits)
    normal = bomb(tmp_path / "normal", 1)
    assert all((Path(folder) / NAME).stat().st_size < 100_000 for folder in (rows, texts, numbers))

    lines, peak = read_in_process(
        tmp_path / "cache", rows, texts, numbers, claims(tmp_path / "claims"), normal
    )
    expected = (
        r"expected at most 1,000,000 rows in a file of [\d,]+ bytes; got 8,000,000\. Look at",
        r"expected at most 16,000,000 bytes in a page of column 'note', unpacked; got 300,000,0\d\d\. Look at "
        r"what the source published; if it is right, set the variable MLOPS_MAX_MONTH_SIZE=38 \(now 2\)\.",
        r"expected at most 16,000,000 bytes in a page of column 'trip_distance', unpacked; got 32,000,\d\d\d\.",
        r"expected at most 500,000 parts in the footer; got 500,001\.",
        r"1 0 rows added, 0 removed, 0 changed",
    )
    assert all(re.search(text, line) for text, line in zip(expected, lines, strict=True)), lines
    assert [line.split()[0] for line in lines] == ["TooLargeError"] * 4 + ["1"]
    assert peak < 300  # without the ceilings more than 1,000


@pytest.fixture
def streams() -> Iterator[list[Server]]:
    """Servers that send as much as their reader takes: without a length, with one, and packed."""
    encoded = (("Content-Encoding", "gzip"),)
    bodies = (
        Answer(b"PAR1", length=None, more_bytes=2**28),
        Answer(b"PAR1", length=str(10**12), more_bytes=2**28),
        Answer(gzip.compress(b"PAR1" + ZEROS) * 250, headers=encoded),
    )
    running = [Server() for _ in bodies]
    for server, body in zip(running, bodies, strict=True):
        server.head, server.get = [Answer(b"PAR1")], [body]
    yield running
    for server in running:
        server.close()


def test_no_body_fills_the_disk(
    streams: list[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SIZE, "0.05")  # 30 MB
    lines, peak = read_in_process(tmp_path, *(server.url for server in streams))
    for server, line in zip(streams, lines, strict=True):
        assert line.startswith(
            f"TooLargeError {server.url}/{NAME}: expected at most 30,000,000 bytes in the file; got "
        )
        assert server.count("GET") == 1  # it is not tried again
    assert "got 1,000,000,000,000. Look at" in lines[1]
    assert streams[0].sent_bytes < 2**26
    assert streams[1].sent_bytes < 2**24
    assert kept(tmp_path) == set()
    assert peak < 300


# --- Ceilings -----------------------------------------------------------------------------------------------


def test_a_file_in_the_cache_is_looked_at_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.holds(parquet(1000))
    fetch(server.url, tmp_path)
    monkeypatch.setenv(SIZE, "0.000001")
    with pytest.raises(TooLargeError, match=r"expected at most 600 bytes in the file; got \d,"):
        fetch(server.url, tmp_path)
    monkeypatch.setenv(SIZE, "1")
    assert fetch(server.url, tmp_path).path.read_bytes() == parquet(1000)
    assert server.count("GET") == 1


@pytest.mark.parametrize(
    ("ceiling", "message"),
    [
        ("FILE_BYTES", r"expected at most 20 bytes in the file; got [\d,]+\."),
        ("FILE_ROWS", r"expected at most 20 rows in the file; got 100\."),
        ("GROUP_BYTES", r"expected at most 20 bytes in row group 1, unpacked; got \d+\."),
        ("PAGE_BYTES", r"expected at most 20 bytes in a page of column 'trip', unpacked; got \d+\."),
        ("FOOTER_BYTES", r"expected at most 10 bytes in the footer; got \d+\."),
        ("ARROW_SCHEMA_BYTES", r"expected at most 10 bytes in the footer's ARROW:schema; got \d+\."),
        ("PAGES", r"expected at most 10 pages; got 11\."),
    ],
)
def test_each_ceiling_has_its_message(
    ceiling: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table({"trip": range(100)})
    pq.write_table(table, tmp_path / NAME, data_page_size=8, write_batch_size=8, use_dictionary=False)
    ceilings.require(tmp_path / NAME, "the month")
    monkeypatch.setattr(ceilings, ceiling, 10)
    assert re.search(
        r"^the month: " + message + " Look at what the source published", refusal(tmp_path / NAME)
    )


@pytest.mark.parametrize("text", ["0", "-1", "many", "nan", "inf", "1e3", "2,5"])
def test_the_size_is_a_positive_number(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SIZE, text)
    with pytest.raises(ConfigError) as caught:
        ceilings.require_size(1, "the month")
    assert str(caught.value) == f"{SIZE}: expected a positive number such as 2; got {text!r}"


def test_twice_the_largest_month_fits() -> None:
    """March 2019 of high-volume for-hire trips has 23,864,302 rows; TLC's data pages have 1 MiB."""
    for part in (ceilings.FILE_ROWS / 23_864_302, ceilings.PAGE_BYTES / 2**20):
        assert part > 1


# --- Files that are no attack -------------------------------------------------------------------------------

WRITTEN: dict[str, Callable[[pa.Table, Path], None]] = {
    **{codec: lambda table, path, codec=codec: pq.write_table(table, path, compression=codec) for codec in (
        "none", "snappy", "gzip", "brotli", "lz4", "zstd",
    )},
    "second version of pages": lambda table, path: pq.write_table(table, path, data_page_version="2.0"),
    "no dictionaries": lambda table, path: pq.write_table(table, path, use_dictionary=False),
    "no statistics": lambda table, path: pq.write_table(table, path, write_statistics=False),
    "many row groups": lambda table, path: pq.write_table(table, path, row_group_size=7, data_page_size=1),
    "indexes": lambda table, path: pq.write_table(table, path, write_page_index=True, write_page_checksum=True),
    "no rows": lambda table, path: pq.write_table(table.slice(0, 0), path),
    "old times": lambda table, path: pq.write_table(table, path, use_deprecated_int96_timestamps=True),
    "texts in a delta": lambda table, path: pq.write_table(
        table, path, use_dictionary=False, column_encoding={"store_and_fwd_flag": "DELTA_BYTE_ARRAY"}
    ),
}  # fmt: skip


@pytest.mark.parametrize("write", WRITTEN.values(), ids=WRITTEN)
def test_files_of_any_writer_are_read(write: Callable[[pa.Table, Path], None], tmp_path: Path) -> None:
    route = pa.array([[{"stop": 1, "note": "a"}]] * 20)
    write(changed().take(pa.array([0, 1] * 10)).append_column("route", route), tmp_path / NAME)
    ceilings.require(tmp_path / NAME, "the month")


def test_real_months_are_read(tlc_months: Path) -> None:
    for path in sorted(tlc_months.glob("*.parquet")):
        ceilings.require(path, path)


def test_numbers_of_any_length_are_refused(tmp_path: Path) -> None:
    """Arrow reads a batch of them before it looks at their length."""
    for name, kind in (("PULocationID", pa.binary(40)), ("Trip_Distance", pa.string())):
        pq.write_table(pa.table({name: pa.array(["1" * 40]).cast(pa.binary()).cast(kind)}), tmp_path / NAME)
        with pytest.raises(TripSchemaError) as caught:
            ceilings.require(tmp_path / NAME, "the month")
        assert str(caught.value) == (
            f"the month: column {name!r} is stored as bytes or text; expected numbers of at most 32 bytes or "
            "times. Is this a file of trips?"
        )
