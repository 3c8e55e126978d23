"""Results in a folder, which results are complete, and which places there are."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.results import MONTH, deliver, write
from support.rights import ordinary_user

from mlops import config
from mlops.errors import ConfigError
from mlops.scoring.exports import open_export


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results"


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_results_go_to_the_state_folder_unless_a_place_is_named(tmp_path: Path) -> None:
    assert open_export().place == str(config.state().scored)
    assert open_export(str(tmp_path / "new" / "folder")).place == str(tmp_path / "new" / "folder")


def test_a_result_is_found_by_the_input_s_content(folder: Path) -> None:
    export = open_export(str(folder))
    assert export.find(MONTH, "aa") is None
    summary = deliver(export, rejected=2)
    assert files(folder) == [f"{MONTH}.parquet", f"{MONTH}.rejected.parquet"]
    assert export.find(MONTH, "aa") == summary
    assert export.find(MONTH, "bb") is None
    assert export.find(MONTH.replace("v3", "v4"), "aa") is None


def test_a_result_replaces_an_earlier_one_with_its_rejected_rows(folder: Path) -> None:
    export = open_export(str(folder))
    deliver(export, rejected=2)
    again = deliver(export, sha256="bb", rows=5)
    assert files(folder) == [f"{MONTH}.parquet"]
    assert pq.read_metadata(folder / f"{MONTH}.parquet").num_rows == 5
    assert (export.find(MONTH, "aa"), export.find(MONTH, "bb")) == (None, again)


@pytest.mark.parametrize("broken", ["output", "rejected"])
def test_a_result_with_a_damaged_or_missing_file_is_none(folder: Path, broken: str) -> None:
    export = open_export(str(folder))
    deliver(export, rejected=1)
    if broken == "output":
        (folder / f"{MONTH}.parquet").write_bytes(b"PAR1 and no more")
    else:
        (folder / f"{MONTH}.rejected.parquet").unlink()
    assert export.find(MONTH, "aa") is None


def test_a_parquet_file_of_somebody_else_is_no_result(folder: Path) -> None:
    export = open_export(str(folder))
    with export.drafts(MONTH) as drafts:
        write(drafts)
        table = pq.read_table(drafts.output)
    pq.write_table(table.replace_schema_metadata(None), folder / f"{MONTH}.parquet")
    assert export.find(MONTH, "aa") is None


def test_nothing_is_seen_of_a_result_before_it_is_delivered(folder: Path) -> None:
    export = open_export(str(folder))
    with pytest.raises(KeyboardInterrupt), export.drafts(MONTH) as drafts:
        write(drafts, rejected=1)
        assert [name for name in files(folder) if not name.startswith(".")] == []
        raise KeyboardInterrupt
    assert files(folder) == []


def test_what_a_killed_process_left_is_deleted(folder: Path) -> None:
    export = open_export(str(folder))
    with export.drafts(MONTH) as drafts:
        left = drafts.output, drafts.rejected
    for path in left:
        path.write_bytes(b"half")
    deliver(export)
    assert files(folder) == [f"{MONTH}.parquet"]


def test_files_of_two_results_are_never_there_together(folder: Path) -> None:
    export = open_export(str(folder))
    deliver(export, sha256="bb")
    with export.drafts(MONTH) as drafts:
        write(drafts, rejected=1)
        drafts.output.unlink()  # so that the delivery ends before its last step
        with pytest.raises(FileNotFoundError):
            export.put(drafts)
    assert files(folder) == [f"{MONTH}.rejected.parquet"]


def test_processes_with_other_state_folders_have_other_drafts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_export(str(folder)).drafts(MONTH) as ours:
        ours.output.write_bytes(b"half")
        monkeypatch.setenv("MLOPS_STATE_DIR", str(tmp_path / "other"))
        deliver(open_export(str(folder)), rows=2)
        assert ours.output.read_bytes() == b"half"
    assert pq.read_metadata(folder / f"{MONTH}.parquet").num_rows == 2


def test_two_that_write_the_same_result_wait_for_each_other(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mlops")
    export, found = open_export(str(folder)), []

    def second() -> None:
        with open_export(str(folder)).drafts(MONTH):
            found.append(export.find(MONTH, "aa"))

    with export.drafts(MONTH) as drafts:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(1.5)
        summary = write(drafts)
        export.put(drafts)
    thread.join(30)
    assert found == [summary]
    assert f"{MONTH}: another process is writing it; waiting for its end" in caplog.messages


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    expected = "to: {}: expected a folder in which this user may write; got {}. Choose another --to."
    (tmp_path / "file").write_text("")
    for folder, reason in {"file": "File exists", "file/x": "Not a directory"}.items():
        with pytest.raises(ConfigError) as refused:
            open_export(str(tmp_path / folder))
        assert str(refused.value) == expected.format(tmp_path / folder, reason)
    with ordinary_user(), pytest.raises(ConfigError) as refused:
        open_export("/etc")
    assert str(refused.value) == expected.format("/etc", "Permission denied")


@pytest.mark.parametrize(
    ("to", "shown"),
    [
        ("mysql://me:secret@host/db", "mysql://host/db"),
        ("https://example.org/x?key=abc", "https://example.org/x"),
    ],
)
def test_other_addresses_are_refused_without_their_secrets(to: str, shown: str) -> None:
    with pytest.raises(ConfigError) as refused:
        open_export(to)
    expected = "to: expected a folder, s3://bucket/folder or postgresql://user:password@host/database; got "
    assert str(refused.value) == expected + shown
