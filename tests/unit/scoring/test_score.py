"""Whole runs: a registry's version, files, results, what is skipped and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.builders import make_requests, make_trips, write_month
from support.tracked import KEY, NAME

from mlops.errors import ConfigError, ExportError, PromotionError, TripSchemaError, UntrustedError
from mlops.registry.loading import Loaded
from mlops.scoring import reading, results, score
from mlops.scoring.drafts import Drafts, as_metadata, drafts_in, read_summary
from mlops.scoring.inputs import Input
from mlops.scoring.settings import ScoringSettings


def run(path: Path, to: Path, **more: Any) -> pd.DataFrame:
    return score.score(ScoringSettings.parse({"input": str(path), "to": str(to), **more}))


def rides(path: Path, n: int = 100, seed: int = 0, bad: int = 0) -> Path:
    """A file of requests, of which the first ones have no pickup time."""
    requests = make_requests(n, seed)
    requests.loc[requests.index < bad, "pickup_at"] = pd.NaT
    pq.write_table(pa.Table.from_pandas(requests, preserve_index=False), path)
    return path


def test_a_file_is_scored_once_by_the_champion(registry: Path, tmp_path: Path, loaded: Loaded) -> None:
    path, to = rides(tmp_path / "a.parquet", bad=3), tmp_path / "to"
    (row,) = run(path, to).to_dict("records")
    assert (row["rows"], row["answered"], row["rejected"], row["outcome"]) == (100, 97, 3, "scored")
    assert (row["model"], row["version"], row["run_key"]) == (NAME, "1", KEY)
    assert row["reasons"] == "pickup_at is missing: 3"
    assert row["output"] == str(to / f"a.{NAME}-v1.parquet")
    answers = pq.read_table(row["output"]).to_pandas()
    expected = loaded.model.predict(make_requests(100).iloc[3:])
    assert answers["duration_minutes"].tolist() == expected["duration_minutes"].tolist()
    assert pq.read_table(to / f"a.{NAME}-v1.rejected.parquet")["row"].to_pylist() == [1, 2, 3]
    written = {file.name: file.stat().st_mtime_ns for file in to.iterdir()}
    (again,) = run(path, to, version="1").to_dict("records")
    assert again == row | {"outcome": "skipped"}
    assert {file.name: file.stat().st_mtime_ns for file in to.iterdir()} == written


def test_a_changed_file_is_scored_again_and_its_old_result_goes(registry: Path, tmp_path: Path) -> None:
    path, to = rides(tmp_path / "a.parquet", bad=3), tmp_path / "to"
    run(path, to)
    (row,) = run(rides(path, seed=1), to).to_dict("records")
    assert (row["outcome"], row["rejected"]) == ("scored", 0)
    assert [file.name for file in to.iterdir()] == [f"a.{NAME}-v1.parquet"]


def test_what_a_killed_run_left_is_replaced(registry: Path, tmp_path: Path) -> None:
    path, to = rides(tmp_path / "a.parquet"), tmp_path / "to"
    with drafts_in(to, f"a.{NAME}-v1") as left:
        pass
    for draft in (left.output, left.rejected):
        draft.write_bytes(b"PAR1 and no more")
    (row,) = run(path, to).to_dict("records")
    assert row["outcome"] == "scored"
    assert [file.name for file in to.iterdir()] == [f"a.{NAME}-v1.parquet"]


def test_an_equal_name_and_version_of_another_registry_is_scored_again(
    registry: Path, tmp_path: Path
) -> None:
    path, to = rides(tmp_path / "a.parquet"), tmp_path / "to"
    run(path, to)
    result = to / f"a.{NAME}-v1.parquet"
    table, about = pq.read_table(result), read_summary(result) or {}
    pq.write_table(table.replace_schema_metadata(as_metadata(about | {"run_key": "f" * 64})), result)
    assert run(path, to)["outcome"].tolist() == ["scored"]
    assert (read_summary(result), run(path, to)["outcome"].tolist()) == (about, ["skipped"])


def test_a_file_that_changes_meanwhile_has_no_result(registry: Path, tmp_path: Path) -> None:
    path, to = rides(tmp_path / "a.parquet"), tmp_path / "to"
    settings = ScoringSettings.parse({"input": str(path), "to": str(to)})
    requests = score.load_requests(settings)
    rides(path, seed=1)
    with pytest.raises(TripSchemaError) as changed:
        score.predict_durations(requests, settings)
    assert str(changed.value).startswith(
        f"{path}: expected the file with sha256 {requests['sha256'][0][:12]}; got "
    )
    assert str(changed.value).endswith("Start again when nobody writes to it.")
    assert [*to.iterdir()] == []


def test_a_month_has_its_model_and_says_how_good_it_was(registry: Path, tmp_path: Path) -> None:
    trips = make_trips(300)
    columns = {"lpep_pickup_datetime": trips["pickup_at"], "lpep_dropoff_datetime": trips["dropoff_at"]}
    columns |= {"PULocationID": trips["pickup_zone"], "DOLocationID": trips["dropoff_zone"]}
    table = pa.table({**columns, "trip_distance": trips["distance_miles"]})
    name = "green_tripdata_2023-05.parquet"
    pq.write_table(table.replace_schema_metadata({"mlops.sample": "1"}), tmp_path / name)
    settings = ScoringSettings.parse({"month": "2023-05", "source": str(tmp_path)})
    (row,) = score.score(settings).to_dict("records")
    answers = pq.read_table(row["output"]).to_pandas()
    errors = answers["duration_minutes"] - answers["actual_minutes"]
    assert row["rmse_minutes"] == pytest.approx((errors**2).mean() ** 0.5)
    assert answers["actual_minutes"].tolist() == trips["duration_minutes"].tolist()
    assert Path(row["output"]).parent == registry / "scored"


def test_a_file_that_cannot_be_read_to_its_end_leaves_nothing(registry: Path, tmp_path: Path) -> None:
    path, to = rides(tmp_path / "a.parquet", n=5000), tmp_path / "to"
    content = bytearray(path.read_bytes())
    content[-3000:-2000] = b"\xff" * 1000
    path.write_bytes(content)
    with pytest.raises(TripSchemaError, match=f"{path}: expected "):
        run(path, to)
    assert [*to.iterdir()] == []


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"version": "7"}, PromotionError, f"{NAME}: there is no version 7; existing versions: 1"),
        (
            {"version": "challenger"},
            PromotionError,
            f"{NAME}: there is no challenger. `registry` lists its",
        ),
        ({"model": "trip-duration-green"}, ConfigError, "model: expected the name of a registered model"),
    ],
)
def test_an_unknown_version_is_refused(
    registry: Path, tmp_path: Path, more: dict[str, str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as refused:
        run(rides(tmp_path / "a.parquet"), tmp_path / "to", **more)
    assert str(refused.value).startswith(message)


def test_a_version_that_is_not_signed_with_our_key_is_refused(registry: Path, tmp_path: Path) -> None:
    (registry / "registry.key").unlink()
    with pytest.raises(
        UntrustedError, match=f"models:/{NAME}/1: its signature is none of this machine's key"
    ):
        run(rides(tmp_path / "a.parquet"), tmp_path / "to")


def test_a_disk_that_is_full_is_said(tmp_path: Path, loaded: Loaded) -> None:
    path = rides(tmp_path / "a.parquet")
    drafts = Drafts("a", Path("/dev/full"), tmp_path / "rejected")
    with pytest.raises(
        ExportError, match=r"^/dev: a result cannot be written there \(.*No space left on device"
    ):
        results.write_result(Input(path, "a", "aa"), loaded, drafts)


def test_the_same_file_gives_the_same_bytes_with_its_summary_in_both_files(
    tmp_path: Path, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BATCH_ROWS", 30)
    path = rides(tmp_path / "a.parquet", bad=2)
    written = []
    for number in (1, 2):
        drafts = Drafts("a", tmp_path / f"output{number}", tmp_path / f"rejected{number}")
        about = results.write_result(Input(path, "a", "aa"), loaded, drafts)
        assert read_summary(drafts.output) == read_summary(drafts.rejected) == about
        written.append(drafts.output.read_bytes() + drafts.rejected.read_bytes())
    assert written[0] == written[1]
    assert pq.read_metadata(drafts.output).num_row_groups == 4


def test_bad_lines_of_a_csv_file_are_rejected_rows(tmp_path: Path, loaded: Loaded) -> None:
    path = tmp_path / "a.csv"
    path.write_text("pickup_at,pickup_zone,dropoff_zone\n1\n2023-07-03,1,2\nnoon,1,2\n1,2,3,4\n")
    drafts = Drafts("a", tmp_path / "output", tmp_path / "rejected")
    about = results.write_result(Input(path, "a", "aa"), loaded, drafts)
    assert (about["rows"], about["answered"], about["rejected"]) == (4, 1, 3)
    assert pq.read_table(drafts.rejected)["row"].to_pylist() == [3, 1, 4]


def test_trips_of_another_service_than_the_model_s_are_warned_of(
    tmp_path: Path, loaded: Loaded, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "PROGRESS_SECONDS", 0.0)
    from support.builders import trip

    path = write_month(tmp_path / "a.parquet", "yellow", trip())
    drafts = Drafts("a", tmp_path / "output", tmp_path / "rejected")
    with caplog.at_level(logging.INFO):
        results.write_result(Input(path, "a.parquet", "aa"), loaded, drafts)
    assert "a.parquet: 1 of 1 rows" in caplog.text
    assert "trips, but" not in caplog.text
    green = Loaded(type(loaded.version)("trip-duration-green", "1", "", {}), loaded.model, loaded.folder)
    results.write_result(Input(path, "a.parquet", "aa"), green, drafts)
    assert "a.parquet: these are yellow trips, but trip-duration-green answers" in caplog.text


def test_the_summary_is_text_for_people(registry: Path, tmp_path: Path) -> None:
    path, to = rides(tmp_path / "a.parquet", bad=3), tmp_path / "to"
    first, second, *others = score.as_text(run(path, to)).splitlines()
    assert first.split()[-2:] == ["RMSE", "outcome"]
    assert second.split()[:4] == [str(path), "100", "97", "3"]
    assert others == [
        f"answered by {NAME} version 1, run key {KEY[:12]}",
        f"rejected of {path}: pickup_at is missing: 3",
        str(to / f"a.{NAME}-v1.parquet"),
    ]
