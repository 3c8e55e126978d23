"""Parquet and CSV files as batches, bad lines, and files that cannot be read."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.builders import make_requests, month_table, trip

from mlops.errors import TripSchemaError
from mlops.scoring import reading
from mlops.scoring.columns import COLUMNS
from mlops.scoring.inputs import Input
from mlops.scoring.reading import OpenFile, open_file

HEADER = "pickup_at,pickup_zone,dropoff_zone"


def tables(path: Path) -> list[pa.Table]:
    with open_file(Input(path, path.name, "aa")) as file:
        return list(file.batches)


def csv(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return path


@pytest.mark.parametrize("in_groups", [1, 7, 1000])
def test_batches_have_the_same_rows_however_the_file_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_groups: int
) -> None:
    monkeypatch.setattr(reading, "BATCH_ROWS", 40)
    rows = pa.Table.from_pandas(make_requests(100))
    pq.write_table(rows, tmp_path / "a.parquet", row_group_size=in_groups)
    found = tables(tmp_path / "a.parquet")
    assert [table.num_rows for table in found] == [40, 40, 20]
    assert pa.concat_tables(found).equals(rows.select(COLUMNS[:5]).replace_schema_metadata(None))


def test_memory_does_not_grow_with_the_number_of_row_groups(tmp_path: Path) -> None:
    """Arrow's reader keeps the bytes of each row group that it has read."""
    rng, groups = np.random.default_rng(0), 30
    columns = {name: rng.random(20_000) for name in COLUMNS[1:5]}
    rows = pa.table({"pickup_at": ["2023-07-03"] * 20_000, **columns})
    with pq.ParquetWriter(tmp_path / "a.parquet", rows.schema, compression="none") as writer:
        for _ in range(groups):
            writer.write_table(rows)
    before, most, count = pa.total_allocated_bytes(), 0, 0
    with open_file(Input(tmp_path / "a.parquet", "a.parquet", "aa")) as file:
        for table in file.batches:
            count += table.num_rows
            most = max(most, pa.total_allocated_bytes() - before)
    assert count == groups * 20_000
    assert most < (tmp_path / "a.parquet").stat().st_size / 2


def test_a_month_is_labelled_and_missing_columns_are_null(tmp_path: Path) -> None:
    pq.write_table(month_table("fhvhv", trip(), trip()), tmp_path / "a.parquet")
    (table,) = tables(tmp_path / "a.parquet")
    assert table.column_names == [*COLUMNS]
    assert table["passenger_count"].to_pylist() == [None, None]
    assert table["dropoff_at"][0].as_py().minute == 40


def test_a_csv_file_may_have_a_mark_quotes_line_ends_and_be_packed(tmp_path: Path) -> None:
    text = f'\ufeff{HEADER},note\r\n2023-07-03,"74",75,"two\nlines"\r\n\r\n,NULL,,\r\n'
    (tmp_path / "a.csv").write_bytes(text.encode())
    (tmp_path / "b.CSV.GZ").write_bytes(gzip.compress(text.encode()))
    for name in ("a.csv", "b.CSV.GZ"):
        (table,) = tables(tmp_path / name)
        nothing = {"distance_miles": None, "passenger_count": None}
        assert table.to_pylist() == [
            {"pickup_at": "2023-07-03", "pickup_zone": "74", "dropoff_zone": "75", **nothing},
            {"pickup_at": None, "pickup_zone": None, "dropoff_zone": None, **nothing},
        ]


def test_lines_with_another_number_of_fields_are_left_out_and_counted(tmp_path: Path) -> None:
    path = csv(tmp_path / "a.csv", "2023-07-01,1,2,3", "2023-07-02,1,2", "1", "2023-07-04,1,2", "x,y")
    with open_file(Input(path, "a.csv", "aa")) as file:
        (table,) = file.batches
    assert table["pickup_at"].to_pylist() == ["2023-07-02", "2023-07-04"]
    assert file.bad_lines == [1, 3, 5]
    assert file.row_numbers(np.array([0, 1])).tolist() == [2, 4]


def test_a_file_without_rows_has_no_batch(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pandas(make_requests(3)).slice(0, 0), tmp_path / "a.parquet")
    assert tables(tmp_path / "a.parquet") == tables(csv(tmp_path / "a.csv")) == []


def test_too_many_bad_lines_are_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_BAD_LINES", 2)
    path = csv(tmp_path / "a.csv", *["x,y"] * 3)
    with pytest.raises(
        TripSchemaError, match=r"a\.csv: expected .*CSV parse error: .*Expected 3 columns, got 2"
    ):
        tables(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.csv: expected a CSV file in UTF-8 with a header, separated by commas; got one that cannot be "
         "read (Empty CSV file). Write it again so."),
        (f"{HEADER}\n2023-07-03,1,\xe9\n".encode("latin1"), "a.csv: expected a CSV file in UTF-8 with a header"),
        (b"pickup_at;pickup_zone;dropoff_zone\n", "a.csv: columns 'pickup_at', 'pickup_zone', 'dropoff_zone'"),
        (f"{HEADER},pickup_zone\n".encode(), "a.csv: column 'pickup_zone' expected once; got 2"),
        (f'{HEADER},note\n2023-07-03,1,2,"open\n2023-07-03,1,2,x\n'.encode(), "a.csv: expected a CSV file in "
         'which each quote (") is closed; got 1 of them, an odd number. Correct the quotes: lines after'),
    ],
)  # fmt: skip
def test_a_csv_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(TripSchemaError) as refused:
        tables(tmp_path / "a.csv")
    assert str(refused.value).startswith(message)


def test_views_of_text_are_read_as_text(tmp_path: Path) -> None:
    rows = pa.table({name: pa.array(["2023-07-03"]).cast(pa.string_view()) for name in HEADER.split(",")})
    pq.write_table(rows, tmp_path / "a.parquet")
    (table,) = tables(tmp_path / "a.parquet")
    assert table.take([0])["pickup_at"].to_pylist() == ["2023-07-03"]


def test_damaged_pages_are_refused_while_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pandas(make_requests(5000)), path, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[4:400] = b"\xff" * 396
    path.write_bytes(content)
    with pytest.raises(
        TripSchemaError, match=r"a\.parquet: expected readable rows; got damaged ones \(.*\)\. Put"
    ):
        tables(path)


def test_row_numbers_count_bad_lines_before_a_row() -> None:
    file = OpenFile(None, None, iter(()), [2, 3, 6])  # type: ignore[arg-type]
    assert file.row_numbers(np.arange(5)).tolist() == [1, 4, 5, 7, 8]
