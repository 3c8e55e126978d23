"""The one message says what, since when, how much, why, what was done and what to do, and is short."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.monitored import FINDING, alarm, measured, record

from mlops.errors import command
from mlops.monitoring import causes, message
from mlops.monitoring.faults import search
from mlops.registry import monitoring_words
from mlops.registry.monitoring_record import Finding

SLOWER = Finding("slower_rides", "speed fell by 6 %", 1.0, False, 2.0)
texts = st.text(max_size=3000)


def test_an_alarm_says_everything() -> None:
    again = command("monitor --month 2023-10 ...")
    assert message.text(alarm("2023-10"), "https://mlflow.example/run").splitlines() == [
        "Alarm for 2023-10: RMSE is 5.31 minutes, 1.07 more than promised; likely cause: distances in another "
        "unit, a champion that is worse than its predecessor.",
        "Since: 2023-10, compared with 2023-09; 61,234 trips, answered by version 7.",
        "How much: +1.07 minutes: +0.27 from another mix of rides, +0.80 (0.70 to 0.90) from the error on the "
        "same rides.",
        "Where: airport, night +0.80 minutes (3.0 % of trips); morning, working day, 1 to 3 miles +0.41 minutes "
        "(21 % of trips).",
        "Why: 34 % of the distances look like kilometres.",
        "Done: Version 6 is champion again; version 7 was champion before.",
        "To do: ask the publisher for the unit of the distances. Do not train on this month before that. Then "
        f"compare it again: {again}",
        "Report: https://mlflow.example/run",
    ]


def test_without_an_alarm_it_is_a_sentence() -> None:
    assert message.text(record("2023-09")).splitlines() == [
        "No alarm for 2023-09: RMSE is 4.24 minutes, 0.14 more than promised; what changed: another mix of rides."
    ]


def test_what_was_not_done_is_said_without_an_alarm_too() -> None:
    (_, done) = message.text(record(done="nothing was rolled back, because the setting is off")).splitlines()
    assert done == "Done: Nothing was rolled back, because the setting is off."


def test_an_error_that_had_grown_before_is_said() -> None:
    older = measured(5.3, 4.2, change_within_last_month_low=0.3)
    assert "grown by the month before." in message.text(alarm(measured=older))
    assert "grown by the month before" not in message.text(alarm())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"findings": (SLOWER,)}, "find out from its model card why version 7 is worse"),
        ({"findings": (), "action": "retrain"}, "read the verdict of the new version."),
        ({"findings": (SLOWER,), "action": "alert"}, "train on this month; if rides stay like this"),
        ({"findings": (), "action": "none", "alarm": False}, "nothing."),
        ({"findings": (FINDING, FINDING)}, "ask the publisher for the unit of the distances. Do not train"),
        (
            {"findings": (Finding("odd_prices", "", 1.0, True, 2.0), FINDING)},
            "find out why: odd prices; ask the publisher for the unit",
        ),
    ],
)
def test_what_to_do(changes: dict[str, object], expected: str) -> None:
    assert message.to_do(alarm(**changes)).startswith(expected)


def test_every_cause_that_is_searched_has_words_and_advice() -> None:
    known = monitoring_words.CAUSES
    assert [cause for cause in search.ORDER if cause not in known or not known[cause].act] == ["drift"]
    assert {*causes.SLOWNESS, causes.GREW, causes.MIX, causes.WORSE_THAN_PREDECESSOR} <= known.keys()


def test_without_the_promised_month_there_are_no_parts() -> None:
    shown = message.text(alarm(measured={"rmse": 5.31}, slices=()))
    assert "How much: the month of the promise is not known" in shown and "Where: in all rides." in shown


def test_long_texts_are_shortened_and_what_to_do_stays() -> None:
    long = Finding("unit_of_distance", "kilometres " * 200, 0.5, True, 2.0)
    made = alarm(findings=(long,) * 3, done="returned " * 200, notes=("note " * 99,) * 2)
    shown = message.text(made, "https://mlflow.example/run")
    assert 1_000 < len(shown) <= message.LONGEST
    starts = [
        "Alarm",
        "Since",
        "How much",
        "Where",
        "Why",
        "Why",
        "Why",
        "Done",
        "To do",
        "Note",
        "Note",
        "Report",
    ]
    lines = shown.splitlines()
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))
    assert "To do: ask the publisher" in shown and lines[-1] == "Report: https://mlflow.example/run"


@given(texts, texts, st.lists(texts, max_size=4), st.text(max_size=200))
def test_it_is_short_and_keeps_what_matters(text: str, done: str, notes: list[str], link: str) -> None:
    long = Finding("unit_of_distance", text, 0.5, True, 2.0)
    made = alarm(findings=(long,) * 5, done=done, notes=tuple(notes), slices=((text, 0.5, 0.1),) * 5)
    shown = message.text(made, link)
    assert len(shown) <= message.LONGEST
    assert shown.startswith("Alarm for 2023-10: RMSE is 5.31 minutes")
    assert all(each.isprintable() or each == "\n" or each == "\t" for each in shown.replace(link, ""))


def test_an_error_that_fell_is_nowhere_larger() -> None:
    grew, fell = alarm(measured=measured(5.3, 4.2)), alarm(measured=measured(4.2, 4.2, change_within=-0.1))
    assert "\nWhere: " in message.text(grew)
    assert "\nWhere: " not in message.text(fell)
