"""What an attempt leaves is complete or absent, and the next attempt finds it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlops import config
from mlops.pipeline import checkpoint
from mlops.pipeline.checkpoint import PENDING, Checkpoint

NAME, KEY = "trip-duration-green", "ab" * 32


@pytest.fixture
def kept() -> Checkpoint:
    return Checkpoint.of(NAME, KEY)


def test_a_folder_is_named_after_model_and_run_key(kept: Checkpoint) -> None:
    assert kept.folder == config.state_dir() / "work" / NAME / KEY
    assert kept.key == KEY
    assert list(kept.scratch.iterdir()) == []


def test_the_next_attempt_finds_all_but_the_scratch_folder(kept: Checkpoint) -> None:
    kept.note("origin", {"forced": "false"})
    kept.append("trials", {"number": 1})
    (kept.scratch / "half a plot").write_text("")
    again = Checkpoint.of(NAME, KEY)

    assert again.noted("origin") == {"forced": "false"}
    assert again.entries("trials") == [{"number": 1}]
    assert list(again.scratch.iterdir()) == []


def test_a_note_never_written_is_none_or_empty(kept: Checkpoint) -> None:
    assert kept.noted("origin") is None
    assert kept.entries("trials") == []
    assert kept.kept("model") is None


def test_a_note_replaces_the_one_before(kept: Checkpoint) -> None:
    kept.note("origin", {"seed": 1})
    kept.note("origin", {"seed": 2})

    assert kept.noted("origin") == {"seed": 2}
    assert sorted(path.name for path in kept.folder.iterdir()) == ["origin.json", "scratch"]


def test_a_note_that_cannot_be_written_leaves_the_one_before(kept: Checkpoint) -> None:
    kept.note("origin", {"seed": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        kept.note("origin", {"seed": object()})

    assert kept.noted("origin") == {"seed": 1}


def test_entries_keep_their_order_and_every_digit(kept: Checkpoint) -> None:
    reported = [{"number": number, "rmse": 4.1 + number / 3, "error": "a\nb"} for number in range(3)]
    for entry in reported:
        kept.append("trials", entry)

    assert kept.entries("trials") == reported


@pytest.mark.parametrize("torn", ['{"number": 2', '{"number": 2}'])
def test_half_a_line_is_taken_out_so_that_the_next_entry_is_whole(torn: str, kept: Checkpoint) -> None:
    kept.append("trials", {"number": 1})
    journal = kept.folder / "trials.jsonl"
    journal.write_text(journal.read_text() + torn)

    assert kept.entries("trials") == [{"number": 1}]
    kept.append("trials", {"number": 2})
    assert [json.loads(line) for line in journal.read_text().splitlines()] == [{"number": 1}, {"number": 2}]


def test_a_folder_is_kept_when_it_is_whole(kept: Checkpoint) -> None:
    made = kept.scratch / "model"
    made.mkdir()
    (made / "model.json").write_text("{}")
    assert kept.kept("model") is None
    place = kept.keep(made)

    assert place == kept.kept("model") == kept.folder / "model"
    assert (place / "model.json").read_text() == "{}"
    assert not made.exists()
    assert Checkpoint.of(NAME, KEY).kept("model") == place


def test_a_file_of_that_name_is_no_kept_folder(kept: Checkpoint) -> None:
    (kept.folder / "model").write_text("")

    assert kept.kept("model") is None


def test_what_is_removed_is_forgotten_and_may_be_removed_again(kept: Checkpoint) -> None:
    kept.note(PENDING, {"month": "2023-06"})
    kept.remove()
    kept.remove()

    assert not kept.folder.exists()
    assert checkpoint.unfinished() == checkpoint.pending() == []


def test_unfinished_work_is_found_by_model_or_all_of_it(kept: Checkpoint) -> None:
    other = Checkpoint.of("trip-duration-yellow", "cd" * 32)
    (config.state_dir() / "work" / NAME / "a file").write_text("")

    assert checkpoint.unfinished(NAME) == [kept]
    assert checkpoint.unfinished() == [kept, other]
    assert checkpoint.unfinished("trip-duration-fhvhv") == []


def test_without_a_state_folder_nothing_is_unfinished(tmp_path: Path) -> None:
    assert checkpoint.unfinished() == checkpoint.pending() == []
    assert not (tmp_path / "state").exists()


def test_pending_results_are_ordered_by_month_not_by_key() -> None:
    for key, month in (("aa", "2023-07"), ("bb", "2023-05"), ("cc", "2023-06")):
        Checkpoint.of(NAME, key).note(PENDING, {"month": month})
    Checkpoint.of(NAME, "dd").note("origin", {"month": "2023-04"})  # killed before it had a result
    Checkpoint.of("trip-duration-yellow", "ee").note(PENDING, {"month": "2023-01"})

    assert [waiting.key for waiting in checkpoint.pending(NAME)] == ["bb", "cc", "aa"]
    assert [waiting.key for waiting in checkpoint.pending()] == ["ee", "bb", "cc", "aa"]
