"""The footer says how columns are stored; Arrow, which also reads it, is the oracle."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.data.parquet_footer import StoredColumn, _Reader, has_encrypted_footer, stored_columns
from mlops.data.synthetic import source
from mlops.month import Month


def by_arrow(path: Path) -> list[StoredColumn]:
    metadata = pq.read_metadata(path)
    columns = [
        metadata.row_group(group).column(number)
        for group in range(metadata.num_row_groups)
        for number in range(metadata.num_columns)
    ]
    return [StoredColumn(column.path_in_schema, column.compression.lower(), False) for column in columns]


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "brotli", "lz4", "zstd"])
def test_every_column_of_every_row_group_is_found(codec: str, tmp_path: Path) -> None:
    path = source.write_month(tmp_path / "month.parquet", "yellow", Month(2023, 5), rows=500)
    route = pa.array([[{"stop": 1}]] * len(pq.read_table(path)))
    table = pq.read_table(path).append_column("route", route)
    pq.write_table(table, path, compression=codec, row_group_size=100, write_page_index=True)

    assert list(stored_columns(path)) == by_arrow(path)
    assert not has_encrypted_footer(path)


def test_the_footers_of_real_months_are_read(tlc_months: Path) -> None:
    for path in sorted(tlc_months.glob("*.parquet")):
        assert list(stored_columns(path)) == by_arrow(path)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_struct_or_a_value_error(content: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(_Reader(content).struct(), dict)


@pytest.mark.parametrize(
    "content",
    [b"", b"PAR1", bytes(12), b"\x1c" * 5000, b"\x19" + b"\x99" * 5000, b"\x19\xfc" + b"\xff" * 100],
)
def test_what_is_no_footer_is_a_value_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content + len(content).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(ValueError, match=r"footer|type"):
        list(stored_columns(path))


def test_a_damaged_footer_is_read_or_is_a_value_error(tmp_path: Path) -> None:
    path = source.write_month(tmp_path / "month.parquet", "green", Month(2023, 5), rows=50)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    for _ in range(300):
        damaged = bytearray(content)
        damaged[rng.integers(start, len(content) - 8)] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        with contextlib.suppress(ValueError):
            assert all(isinstance(column, StoredColumn) for column in stored_columns(path))
