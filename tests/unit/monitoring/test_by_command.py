"""What `python -m mlops monitor` asks for, and what it prints."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.tracked import NAME

from mlops.data.synthetic.source import write_month
from mlops.errors import ConfigError, MonthNotPublishedError
from mlops.monitoring import by_command, printed
from mlops.monitoring.asked import Asked
from mlops.monitoring.by_command import Outcome
from mlops.month import Month
from mlops.registry.monitoring_record import Finding, Record

RECORD = Record(
    "2023-07", "2", "", "2023-06", 900, {"rmse": 4.2, "rmse_promised": math.nan}, True, ("new_zone",)
)

# --- What is asked for ----------------------------------------------------------------------------------------


def test_the_default_month_is_compared_unless_only_the_history_is_asked_for(tmp_path: Path) -> None:
    assert Asked.parse({}).months == ("2023-07",)
    assert Asked.parse({"report": tmp_path / "a.html"}).months == ()
    assert Asked.parse({"report": tmp_path / "a.html", "month": "next"}).months == ("next",)
    asked = Asked.parse({"first": "2023-12", "last": "2024-01", "service": "yellow", "json": True})
    assert (asked.months, asked.is_range, asked.as_json) == (("2023-12", "2024-01"), True, True)
    assert asked.settings.service == "yellow"
    assert not Asked.parse({"month": "2023-12"}).is_range


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first": "2023-05"}, "--to: missing; a range needs --from and --to"),
        ({"last": "2023-05"}, "--from: missing; a range needs --from and --to"),
        ({"first": "2023-05", "last": "2023-04"}, "--to: expected 2023-05 or a later month; got 2023-04"),
        (
            {"first": "2023-5", "last": "2023-06"},
            "month: expected YYYY-MM, for example 2023-10; got '2023-5'",
        ),
        (
            {"first": "2023-05", "last": "2023-06", "month": "next"},
            "--month: expected no month beside --from and --to; got next",
        ),
        (
            {"first": "2023-05", "last": "2023-06", "before_labels": True},
            "--before-labels: expected one --month; got --from",
        ),
        (
            {"report": Path("a.html"), "before_labels": True},
            "--before-labels: expected one --month; got --report",
        ),
        ({"report": Path("/")}, "--report: expected the name of a file to write; got the folder /"),
        (
            {"service": "gren"},
            "service: expected one of green, yellow, fhvhv; got 'gren'; did you mean 'green'?",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Asked.parse(options)
    assert str(caught.value) == message


# --- What is printed ------------------------------------------------------------------------------------------


def test_programs_get_the_promised_keys_and_null_for_what_is_not_known() -> None:
    finding = Finding("new_zone", "3 % of the rides", 0.03, True, 2.0)
    found = Outcome("2023-07", "", NAME, replace(RECORD, findings=(finding,))).as_json()
    first = {
        "month": "2023-07", "model": NAME, "champion_version": "2", "predecessor_version": None, "rmse": 4.2,
        "alarm": True, "causes": ["new_zone"], "action": "none",
    }  # fmt: skip
    assert dict(list(found.items())[: len(first)]) == first
    assert found["measured"] == {"rmse": 4.2, "rmse_promised": None}
    assert found["findings"][0]["cause"] == "new_zone"
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_nothing_to_do_has_the_same_keys() -> None:
    found = Outcome("2023-08", "nothing to do: it is not published yet").as_json()
    known = {
        "month": "2023-08", "alarm": False, "action": "none", "measured": {}, "causes": [], "findings": [],
        "slices": [], "notes": [], "nothing_to_do": "nothing to do: it is not published yet",
    }  # fmt: skip
    assert found == {name: known.get(name) for name in printed.ComparedMonth.model_fields}
    compared = Outcome("2023-07", "", NAME, RECORD).as_json()
    assert found.keys() == compared.keys()
    assert compared["nothing_to_do"] is None


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the month that the third champion was tested on, and the month after it."""
    folder = tmp_path_factory.mktemp("months")
    for month in (Month(2023, 7), Month(2023, 8)):
        write_month(folder / f"green_tripdata_{month}.parquet", "green", month, rows=1200)
    return folder


def test_months_before_a_failure_are_printed_as_a_whole_list(sound: Path, source: Path) -> None:
    asked = Asked.parse({"source": str(source), "first": "2023-08", "last": "2023-09", "json": True})
    texts = by_command.answer(asked)
    (found,) = json.loads(next(texts))
    assert (found["month"], found["champion_version"], found["promised_month"]) == ("2023-08", "3", "2023-07")
    assert found["rmse"] > 0
    with pytest.raises(MonthNotPublishedError, match="green 2023-09"):
        next(texts)


def test_people_read_the_message_and_then_that_there_is_nothing_to_do(
    sound: Path, source: Path, tmp_path: Path
) -> None:
    asked = Asked.parse({"source": str(source), "month": "next", "report": tmp_path / "history.html"})
    (first,) = by_command.answer(asked)
    assert first.startswith(f"{NAME} 2023-07: ")  # version 2 served, and version 3 knows the month
    (second,), (third,) = (tuple(by_command.answer(replace(asked, report=None))) for _ in range(2))
    assert second.startswith(f"{NAME} 2023-08: ")
    assert third.startswith(
        f"nothing to do: {NAME}: every published month was compared; green 2023-09 is not"
    )
    assert "2023-07" in (tmp_path / "history.html").read_text()


def test_a_history_that_cannot_be_written_is_refused(sound: Path) -> None:
    asked = Asked.parse({"report": Path("/proc/history.html")})
    with pytest.raises(
        ConfigError, match=r"--report: expected a file that this user may write; got /proc/hist"
    ):
        list(by_command.answer(asked))
