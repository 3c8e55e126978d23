"""Month `next` and backfills, in real processes: months in order, none twice, none skipped."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.doors import Machine, with_store
from support.publisher import publishing

from mlops.data import sources
from mlops.data.synthetic.source import write_month
from mlops.month import Month

MARCH, APRIL = Month(2023, 3), Month(2023, 4)
NEXT = {"month": "next", "start_month": "2023-03"}
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture
def machine(tmp_path: Path, months: Path, migrated_store: Path) -> Machine:
    """A machine whose source has the months up to March, with an empty tracking store."""
    source = shutil.copytree(months, tmp_path / "source")
    (source / sources.file_name("green", APRIL)).unlink()
    return with_store(Machine(tmp_path / "machine", source), migrated_store)


def publish(machine: Machine, month: Month, rows: int = 1500) -> None:
    write_month(machine.source / sources.file_name("green", month), "green", month, rows=rows)


def test_months_in_order_then_nothing_to_do_then_a_republished_one(machine: Machine) -> None:
    first = machine.train(**NEXT)
    assert first.status == 0, first.output
    nothing = machine.mage_run("--test", **NEXT)
    assert nothing.status == 0, nothing.output
    reported = machine.train(**NEXT)
    assert (reported.status, reported.stdout) == (
        0,
        f"nothing to do: green 2023-04 is not published yet at {machine.source}\n",
    )
    assert [version.tags["test_month"] for version in machine.versions()] == ["2023-03"]

    publish(machine, APRIL)
    through_mage = machine.mage_run("--test", **NEXT)
    assert through_mage.status == 0, through_mage.output
    publish(machine, MARCH, rows=1600)
    again = machine.train(**NEXT)
    assert again.status == 0, again.output
    assert "its months were republished" in again.stderr
    assert [version.tags["test_month"] for version in machine.versions()] == ["2023-03", "2023-04", "2023-04"]
    first, second, third = (version.tags.get("republished", "") for version in machine.versions())
    assert first == second
    assert first.startswith("2023-03: 1,")
    assert third == ""
    assert machine.train(**NEXT).stdout.startswith("nothing to do: green 2023-05 is not published yet")
    assert machine.statuses() == ["FINISHED"] * 3


def test_the_key_of_the_next_month_is_that_of_its_name(machine: Machine) -> None:
    assert machine.train(**NEXT).status == 0
    again = machine.train(month="2023-03")
    assert "is already registered with this run key" in again.output
    assert machine.numbers() == ["1"]


def test_two_at_once_take_a_month_each(machine: Machine) -> None:
    publish(machine, APRIL)
    command = machine.train_command(**NEXT)
    with machine.start(*command) as one, machine.start(*command) as other:
        ended = [process.end(300) for process in (one, other)]
    assert [each.status for each in ended] == [0, 0], ended
    assert [version.tags["test_month"] for version in machine.versions()] == ["2023-03", "2023-04"]
    assert machine.statuses() == ["FINISHED"] * 2


def test_a_backfill_goes_in_order_skips_judged_months_and_continues(machine: Machine) -> None:
    machine_wide = (
        "backfill",
        "--service=green",
        f"--source={machine.source}",
        "--max-trials=2",
        "--min-test-rows=500",
    )
    early = machine.mlops(*machine_wide, "--from=2023-03", "--to=2023-04")
    assert early.status == 1
    assert early.stderr.splitlines()[-1] == f"error: green 2023-04 is not published yet at {machine.source}."
    assert machine.numbers() == ["1"]
    publish(machine, APRIL)
    whole = machine.mlops(*machine_wide, "--from=2023-03", "--to=2023-04")
    assert whole.status == 0, whole.output
    assert whole.stdout.splitlines()[-1] == "green 2023-03 to 2023-04: all judged, 1 of 2 in this run"
    assert [version.tags["test_month"] for version in machine.versions()] == ["2023-03", "2023-04"]


@pytest.mark.parametrize(
    ("options", "reported"),
    [
        (("train", "--month=next"), "start_month: no month is judged yet; expected the first test month"),
        (("train", "--month=next", "--dry-run"), "month: expected YYYY-MM for a dry run"),
        (
            ("train", "--month=next", "--end-month=2023-04"),
            "end_month: expected start_month no later than 2023-04",
        ),
        (
            ("backfill", "--from=2023-05", "--to=2023-04"),
            "--to: expected 2023-05 or a later month; got 2023-04",
        ),
        (
            ("backfill", "--from=2023-5", "--to=2023-06"),
            "month: expected YYYY-MM, for example 2023-10; got '2023-5'",
        ),
    ],
)
def test_invalid_combinations_are_refused(options: tuple[str, ...], reported: str, machine: Machine) -> None:
    ended = machine.mlops(*options)
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[-1].startswith(f"error: {reported}")
    assert machine.versions() == []


def test_an_outage_is_not_an_unpublished_month(machine: Machine) -> None:
    with publishing(machine.source) as publisher:
        publisher.refuses = -1
        ended = machine.train(**NEXT | {"source": publisher.url})
    assert ended.status == 1
    assert "HTTP 403, also for" in ended.stderr.splitlines()[-1]


def test_a_skipped_month_is_reported(machine: Machine) -> None:
    assert machine.train(**NEXT).status == 0
    publish(machine, APRIL + 1)
    ended = machine.train(**NEXT)
    assert ended.status == 1
    assert f"green 2023-04: missing at {machine.source}, although 2023-05 is there" in ended.stderr


def test_an_unpublished_month_is_waited_for(machine: Machine) -> None:
    assert machine.train(**NEXT).status == 0
    command = machine.train_command(**NEXT, publication_wait=5)
    with machine.start(*command) as process:
        process.wait_for("is not published yet")
        publish(machine, APRIL)
        ended = process.end(180)
    assert ended.status == 0, ended.output
    assert machine.numbers() == ["1", "2"]
