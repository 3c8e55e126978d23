"""Which files are scored, and what is said where there is nothing to score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.builders import make_requests, trip, write_month
from support.results import deliver
from support.rights import ordinary_user

from mlops.errors import ConfigError, MonthNotPublishedError, TripSchemaError
from mlops.files import sha256_of
from mlops.scoring.exports import open_export
from mlops.scoring.inputs import Input, find_inputs
from mlops.scoring.settings import ScoringSettings

LINES = "pickup_at,pickup_zone,dropoff_zone\n2023-07-03,1,2\n"


def find(path: object, **more: Any) -> list[Input]:
    return find_inputs(ScoringSettings.parse({"input": str(path), **more}))


def parquet(path: Path) -> Path:
    pq.write_table(pa.Table.from_pandas(make_requests(3)), path)
    return path


@pytest.mark.parametrize(("name", "stem", "is_csv"), [("a.b.PARQUET", "a.b", False), ("c.csv.gz", "c", True)])
def test_a_file_is_an_input(tmp_path: Path, name: str, stem: str, is_csv: bool) -> None:
    path = tmp_path / name
    path.write_text(LINES) if is_csv else parquet(path)
    for written in (path, f"file://{path}", f"file:{path}"):
        (found,) = find(written)
        assert found == Input(path, str(path), sha256_of(path))
    assert (found.stem, found.is_csv) == (stem, is_csv)


def test_a_parquet_file_may_have_any_name(tmp_path: Path) -> None:
    (found,) = find(parquet(tmp_path / "my trips"))
    assert (found.stem, found.is_csv) == ("my trips", False)


def test_a_folder_is_all_its_files_but_results(tmp_path: Path) -> None:
    for name in ("b.parquet", "a.parquet"):
        parquet(tmp_path / name)
    (tmp_path / "c.csv").write_text(LINES)
    (tmp_path / ".hidden.csv").write_text(LINES)
    (tmp_path / "notes.txt").write_text("no input")
    (tmp_path / "d.parquet").mkdir()
    deliver(open_export(str(tmp_path)), rejected=2)
    assert [found.path.name for found in find(tmp_path)] == ["a.parquet", "b.parquet", "c.csv"]


def test_a_month_is_fetched_as_in_training(tmp_path: Path) -> None:
    write_month(tmp_path / "yellow_tripdata_2023-05.parquet", "yellow", trip())
    months = {"service": "yellow", "month": "2023-05", "source": str(tmp_path)}
    (found,) = find("", **months)
    assert (found.month, found.sample, found.stem) == ("2023-05", False, "yellow_tripdata_2023-05")
    assert found.path != tmp_path / found.path.name
    assert sha256_of(found.path) == found.sha256
    with pytest.raises(MonthNotPublishedError, match=r"yellow 2023-06: not published at .*Choose an earlier"):
        find("", **{**months, "month": "2023-06"})


def test_generated_trips_are_known_as_such(tmp_path: Path) -> None:
    table = pa.Table.from_pandas(make_requests(3)).replace_schema_metadata({"mlops.sample": "1"})
    pq.write_table(table, tmp_path / "a.parquet")
    (found,) = find(tmp_path / "a.parquet")
    assert found.sample


def test_two_files_with_one_result_are_refused(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text(LINES)
    with pytest.raises(ConfigError) as refused:
        find(tmp_path)
    assert str(refused.value) == (
        f"input: a.csv and a.parquet in {tmp_path}: expected different names before the ending, because their "
        "results would have the same name. Rename one of them."
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.csv", "expected a Parquet or CSV file, a folder of such files, or a URL of one; got nothing of "
         "this name. Correct --input."),
        ("", "expected Parquet or CSV files (names ending in .parquet, .csv, .csv.gz); got none, without results "
         "of scoring. Write the folder that has them."),
    ],
)  # fmt: skip
def test_nothing_to_score_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        find(tmp_path / name)
    assert str(refused.value) == f"input: {tmp_path / name}: {message}"


def test_something_else_than_a_file_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^input: /dev/null: expected .*; got something else\. Correct"):
        find("/dev/null")


def test_a_file_that_is_neither_parquet_nor_csv_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trips.xlsx").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(TripSchemaError) as refused:
        find(tmp_path / "trips.xlsx")
    assert str(refused.value).startswith(
        f"{tmp_path}/trips.xlsx: not a Parquet file; expected b'PAR1' at its start"
    )
    assert str(refused.value).endswith("The name of a CSV file must end in .csv or .csv.gz.")


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet")
    path.chmod(0)
    with (
        ordinary_user(),
        pytest.raises(ConfigError, match=r"cannot be read \(Permission denied\)\. Give this"),
    ):
        find(path)
