"""What needs a person: each reason alone, its edges, its next act, and the order of them all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, get_args

import pytest
from support.statuses import (
    MODEL,
    NOW,
    approval,
    champion,
    check,
    disk,
    failure,
    model,
    monitoring,
    newest,
    service,
    store,
)

from mlops.errors import command
from mlops.month import Month
from mlops.registry import attention, status_reading
from mlops.registry.attention import LATE, TAKES_OVER
from mlops.registry.status_records import Attention, Kind, Status

ALL_WELL = [store(), service()]
MINUTE = timedelta(minutes=1)


def found(**changes: Any) -> tuple[Attention, ...]:
    return attention.attention([model(**changes)], ALL_WELL, disk(), NOW)


def only(**changes: Any) -> tuple[str, str, str]:
    """Kind, text and act of the only thing that needs attention."""
    (one,) = found(**changes)
    assert one.about == MODEL
    return one.kind, one.text, one.act


def status(*more: Attention, **changes: Any) -> Status:
    return attention.status([model(**changes)], ALL_WELL, disk(), NOW, NOW, more)


def test_all_is_well() -> None:
    assert found() == ()
    assert (status().is_well, status().exit_status) == (True, 0)
    assert attention.headline(status()) == "All is well."


# --- Models -------------------------------------------------------------------------------------------------


def test_without_a_champion() -> None:
    act = command(f"registry --model {MODEL}")
    assert only(champion=None, monitoring=None) == (
        "no_champion", "no version is champion, so nothing answers", act
    )  # fmt: skip


def test_a_champion_that_is_not_signed() -> None:
    text = "the champion, version 12, is not signed, so it is not loaded"
    act = command(f"trust 12 --model {MODEL}")
    assert only(champion=champion(is_signed=False), unsigned=("12",)) == ("champion_unsigned", text, act)


def test_other_versions_that_are_not_signed() -> None:
    act = command(f"trust all --model {MODEL}")
    text = "versions 3, 4 cannot be loaded without a signature"
    assert only(unsigned=("3", "4")) == ("version_unsigned", text, act)


def test_a_failure_counts_until_a_run_succeeds() -> None:
    text = "a run failed (green 2023-08): DownloadError: no answer"
    act = command("train --service green --month next --source tlc")
    assert only(last_failure=failure()) == ("failed", text, act)
    assert found(last_failure=failure(is_over=True)) == ()


def test_what_comes_next_depends_on_how_a_run_ended() -> None:
    interrupted = only(last_failure=failure(how="interrupted", error="", about=""))
    assert interrupted[1:] == (
        "a run was interrupted", command("train --service green --month next --source tlc")
    )  # fmt: skip
    assert only(last_failure=failure(how="died"))[2] == command("doctor")
    first = found(last_failure=failure(), waits_for=None, champion=None, newest=None, monitoring=None)
    assert [one.kind for one in first] == ["failed", "nothing_trained"]
    assert first[0].act == command("train --service green --month next --start-month YYYY-MM --source tlc")


def test_a_failure_of_the_synthetic_city_is_mended_without_a_source() -> None:
    waits = status_reading.waited(Month(2023, 8), NOW, is_published=False)
    assert only(last_failure=failure(), service="sample", waits_for=waits)[2] == command(
        "train --month 2023-08"
    )


def test_an_alarm_counts_as_long_as_its_champion_is_champion() -> None:
    alarm = monitoring(is_alarm=True, text="Alarm for 2023-07.")
    act = command("monitor --report history.html")
    assert only(monitoring=alarm) == ("monitoring_alarm", "Alarm for 2023-07.", act)
    assert kinds(store(), monitoring=alarm, champion=champion(version="11")) == []
    assert [one.kind for one in found(monitoring=alarm, champion=None)] == ["no_champion", "monitoring_alarm"]


def test_a_version_that_waits_for_approval() -> None:
    act = command(f"approve 13 --model {MODEL} --reason ...")
    text = "version 13 waits for approval: every promotion needs an approval"
    assert only(approval=approval()) == ("approval", text, act)


def test_an_old_champion() -> None:
    kind, text, _ = only(champion=champion(is_old=True, months_behind=4, tested_on="2023-03"))
    assert (kind, text) == (
        "champion_old", "the champion was tested on 2023-03, 4 months before the newest judged month"
    )  # fmt: skip


@pytest.mark.parametrize(("late", "kinds"), [(timedelta(), []), (MINUTE, ["check_late"])])
def test_a_schedule_that_stopped_to_look(late: timedelta, kinds: list[str]) -> None:
    last = check(hours_ago=(LATE + late).total_seconds() / 3600)
    assert [one.kind for one in found(last_check=last)] == kinds
    assert found(last_check=None) == ()  # none was ever recorded: older releases did not


def overdue(days: int) -> Any:
    ended = Month(2023, 8).end.date()
    now = NOW.replace(year=ended.year, month=ended.month, day=ended.day) + timedelta(days=days)
    return status_reading.waited(Month(2023, 8), now)


@pytest.mark.parametrize(("days", "kinds"), [(89, []), (90, ["overdue"])])
def test_a_month_is_overdue_after_90_days(days: int, kinds: list[str]) -> None:
    assert [one.kind for one in found(waits_for=overdue(days))] == kinds


@pytest.mark.parametrize(
    ("checked", "why"),
    [
        (check(), "the last check did not find it; look for news on TLC's page"),
        (check(hours_ago=100), "nobody has looked for it since 2023-10-16 04:30 UTC"),
        (None, "no check has looked for it"),
    ],
)
def test_an_overdue_month_says_whether_somebody_looked(checked: Any, why: str) -> None:
    assert (
        only(waits_for=overdue(90), last_check=checked)[1] == f"2023-08 was expected by 2023-11-19, and {why}"
    )


def test_a_check_that_failed_is_said_and_blames_nobody_else() -> None:
    failed = check(outcome="failed", text="tlc: the name cannot be resolved")
    assert only(last_check=failed)[:2] == (
        "check_failed", "the last check for a new month failed: tlc: the name cannot be resolved"
    )  # fmt: skip
    late = found(last_check=failed, waits_for=overdue(90))
    assert [one.kind for one in late] == ["check_failed", "overdue"]
    assert late[1].text.endswith("and the last check could not look for it")
    both = found(last_check=failed, last_failure=failure(is_over=False))
    assert [one.kind for one in both] == ["failed"]  # the run says the same


def test_what_cannot_be_read_is_not_checked() -> None:
    made = status(problems=("its compared months were deleted",))
    assert (made.attention[0].kind, made.attention[0].act) == ("not_checked", command("doctor"))
    assert (made.is_well, made.exit_status) == (False, 3)
    assert attention.headline(made) == "Not all could be checked: 1 thing."


# --- Servers and disk ---------------------------------------------------------------------------------------


def kinds(*servers: Any, **changes: Any) -> list[str]:
    return [one.kind for one in attention.attention([model(**changes)], servers, disk(), NOW)]


@pytest.mark.parametrize(
    ("state", "expected"),
    [("up", []), ("off", []), ("down", ["service_down"]), ("not checked", ["not_checked"])],
)
def test_a_server_is_down_or_not_checked(state: str, expected: list[str]) -> None:
    assert kinds(store(), service(state=state)) == expected


def test_the_act_of_a_server_is_its_own() -> None:
    (one,) = attention.attention([model()], [store(), service(state="down")], disk(), NOW)
    assert (one.about, one.text, one.act) == ("online service", "no answer", "make stack")


def test_a_service_that_answers_with_another_version() -> None:
    other = service("11", problem="version 12, the champion, does not load")
    (one,) = attention.attention([model()], [store(), other], disk(), NOW)
    assert (one.kind, one.about) == ("other_version", MODEL)
    assert (
        one.text == "version 11 answers, but version 12 is champion: version 12, the champion, does not load"
    )
    (none,) = attention.attention([model()], [store(), service(None)], disk(), NOW)
    assert none.text == "no version answers, but version 12 is champion"


@pytest.mark.parametrize(("late", "expected"), [(timedelta(), []), (MINUTE, ["other_version"])])
def test_a_new_champion_has_some_time_to_take_over(late: timedelta, expected: list[str]) -> None:
    new = champion(since=NOW - TAKES_OVER - late)
    assert kinds(store(), service("11"), champion=new) == expected


def test_a_champion_of_unknown_age_had_time() -> None:
    assert kinds(store(), service("11"), champion=champion(since=None)) == ["other_version"]


def test_what_explains_another_version_is_said_once() -> None:
    unsigned = champion(is_signed=False)
    assert kinds(store(), service("11"), champion=unsigned, unsigned=("12",)) == ["champion_unsigned"]
    assert kinds(store(), service("11"), champion=None, monitoring=None) == ["no_champion"]
    assert kinds(store("down"), service("11")) == ["service_down"]


def test_nothing_is_trained_yet_needs_a_person() -> None:
    made = attention.status([], [store()], disk(), NOW, NOW)
    (one,) = made.attention
    assert (one.kind, one.text, one.act) == (
        "nothing_trained", "no model is trained yet", command("train --help")
    )  # fmt: skip
    assert made.exit_status == 1
    assert [one.kind for one in attention.attention([], [store("down")], disk(), NOW)] == ["service_down"]


@pytest.mark.parametrize(("free", "expected"), [(2_000_000_000, []), (1_999_999_999, ["disk_low"])])
def test_a_disk_that_is_nearly_full(free: int, expected: list[str]) -> None:
    made = attention.attention([model()], ALL_WELL, disk(free), NOW)
    assert [one.kind for one in made] == expected
    assert all((one.text, one.act) == ("2.0 GB are free, 2.0 GB are needed", command("tidy")) for one in made)


def test_a_disk_that_cannot_be_measured() -> None:
    (one,) = attention.attention([model()], ALL_WELL, None, NOW)
    assert (one.kind, one.act) == ("not_checked", "df -h")


# --- All together -------------------------------------------------------------------------------------------


def test_the_worst_comes_first() -> None:
    bad = [
        model(champion=None, newest=newest(), unsigned=("3",)),
        model(
            name="trip-duration-yellow", service="yellow", approval=approval(), last_failure=failure(),
            champion=champion(is_old=True, months_behind=4), waits_for=overdue(90), problems=("one",),
            monitoring=monitoring(is_alarm=True),
        ),
    ]  # fmt: skip
    order = [one.kind for one in attention.attention(bad, [store(), service(state="down")], disk(0), NOW)]
    known = get_args(Kind)
    assert len(order) >= 10
    assert [known.index(kind) for kind in order] == sorted(known.index(kind) for kind in order)


def test_the_headline_counts() -> None:
    assert attention.headline(status(approval=approval())) == "1 thing needs attention."
    both = status(approval=approval(), last_failure=failure(), problems=("one",))
    assert attention.headline(both) == "2 things need attention; 1 thing could not be checked."
    assert both.exit_status == 1


def test_models_are_judged_as_of_when_they_were_read() -> None:
    """A service that cannot ask the registry for days must not say that nobody looks for months."""
    made = attention.status([model()], ALL_WELL, disk(), NOW + timedelta(days=30), NOW)
    assert made.attention == ()
