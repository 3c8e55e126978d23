"""One ride for the command line: the only champion answers, and a wrong word is refused before it is loaded."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from support.champions import GREEN, crown, offer
from support.failures import closed_port
from support.tracked import NAME, mlflow_client

from mlops import config
from mlops.__main__ import main
from mlops.data import zones
from mlops.errors import ConfigError, PromotionError, TrackingError, UntrustedError
from mlops.registry import versions
from mlops.serving import champions, one_ride, trained_rides
from mlops.serving.one_ride import Ride, RideEstimate, estimate, moment
from mlops.serving.questions import NEW_YORK

AT = "2026-11-27 08:30"
RIDE = Ride("North 1", "West 5", AT)


@pytest.fixture
def champion(store: Path, files: Path) -> str:
    """The only champion, of the synthetic city."""
    number = offer(files)
    crown(number)
    return number


def refused(ride: Ride, kind: type[Exception] = ConfigError) -> str:
    with pytest.raises(kind) as error:
        estimate(ride)
    return str(error.value)


def predicted(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    status = main(["predict", *options])
    return (status, *capsys.readouterr())


# --- The answer ---------------------------------------------------------------------------------------------


def test_the_only_champion_answers_as_it_answers_the_service(champion: str) -> None:
    found = estimate(Ride("north 1", "30", "2026-11-27T13:30Z", 2.5, 2))
    served = champions.load(versions.get(NAME, champion))
    asked = {
        "pickup_at": datetime(2026, 11, 27, 8, 30), "pickup_zone": 12, "dropoff_zone": 30, "distance_miles": 2.5,
        "passenger_count": 2,
    }  # fmt: skip
    expected = served.model.predict_one(asked)
    names = ("duration_minutes", "low_80_minutes", "high_80_minutes", "low_95_minutes", "high_95_minutes")
    assert {name: getattr(found, name) for name in names} == {name: expected[name] for name in names}
    assert (found.pickup_zone, found.pickup_zone_name, found.dropoff_zone_name) == (12, "North 1", "West 5")
    assert found.pickup_at == datetime(2026, 11, 27, 13, 30, tzinfo=timezone.utc)
    assert found.pickup_at_new_york == datetime(2026, 11, 27, 8, 30)
    assert (found.model, found.model_version, found.service) == (NAME, champion, "sample")
    assert (found.trained_on, found.tested_on, found.test_rmse_minutes) == (
        "2022-07 to 2023-05",
        "2023-06",
        4.035209,
    )
    assert found.rides == trained_rides.count(served.model, 12, 30)
    assert (found.distance_miles, found.passenger_count, found.calibrated) == (2.5, 2, True)


def test_a_distance_that_no_training_ride_had_is_a_guess_and_says_so(champion: str) -> None:
    learnt = champions.load(versions.get(NAME, champion)).model.learned.zones
    pickup, dropoff = (str(learnt[place].argmax()) for place in ("pickup_zone", "dropoff_zone"))
    assert not estimate(Ride(pickup, dropoff, AT)).out_of_range
    found = estimate(Ride(pickup, dropoff, AT, 900))
    assert found.out_of_range
    assert found.notes[0].startswith("the version has learnt from no ride like this one")


@pytest.mark.parametrize(
    ("minutes", "is_calibrated", "rides", "notes"),
    [
        ({"out_of_range": False, "high_95_minutes": 40.0}, True, 3, []),
        ({"out_of_range": None, "high_95_minutes": 59.4}, True, None, []),
        ({"out_of_range": False, "high_95_minutes": 59.5}, True, 3, ["models learn from rides of at most 60"]),
        ({"out_of_range": False, "high_95_minutes": 9.0}, True, 0, ["no ride between these two zones is in"]),
        ({"out_of_range": True, "high_95_minutes": 9.0}, True, 0, ["the version has learnt from no ride like"]),
        ({"out_of_range": False, "high_95_minutes": 9.0}, False, 3, ["the version has no ranges for rides"]),
    ],
)  # fmt: skip
def test_what_limits_an_answer_is_said(
    minutes: dict[str, Any], is_calibrated: bool, rides: int | None, notes: list[str]
) -> None:
    known = one_ride.Zone(1, "a")
    found = list(one_ride._notes(minutes, is_calibrated, rides, known, known))
    assert len(found) == len(notes)
    assert [text[: len(note)] for text, note in zip(found, notes, strict=True)] == notes


@pytest.mark.parametrize(("at", "is_old"), [("2024-04-30 23:59", False), ("2024-05-01 00:00", True)])
def test_a_ride_a_year_after_the_training_months_says_so(champion: str, at: str, is_old: bool) -> None:
    found = estimate(Ride("North 1", "West 5", at))
    note = "the version knows rides until 2023-05, 12 months before this one, and nothing later"
    assert (note in found.notes) == is_old


def test_with_several_champions_a_service_must_be_named(champion: str, files: Path) -> None:
    number = offer(files, GREEN)
    assert estimate(RIDE).service == "sample"  # the other model has no champion
    assert refused(Ride("1", "2", AT, service="green"), PromotionError).startswith(
        "no champion of green can answer: there is one of sample; train one ("
    )
    crown(number, GREEN)
    assert refused(RIDE) == "--service: expected one of green, sample, which have a champion; got none"
    assert estimate(Ride("1", "2", AT, service="green")).model == GREEN


def test_a_service_with_ids_needs_no_names_and_says_that_it_has_none(store: Path, files: Path) -> None:
    crown(offer(files, GREEN), GREEN)
    found = estimate(Ride("74", "75", AT))
    assert (found.pickup_zone_name, found.dropoff_zone_name) == (None, None)
    path = config.state().serving / zones.FILE
    assert found.notes[-1] == f"names of zones are not known here: {path} is not there or not whole"
    assert not path.exists()


# --- What is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2026-11-27",
        "08:30",
        "2026-11-27 25:00",
        "2026-13-01 08:30",
        "2151-01-01 08:30",
        "1795690200",
    ],
)
def test_a_time_that_is_none_is_refused_with_what_is_expected(text: str) -> None:
    assert refused(Ride("1", "2", text)) == (
        "--at: expected a date and time of New York's wall clock, such as 2026-11-27 08:30, in the years 2009 to "
        "2099, or now; a time with an offset, such as 2026-11-27T13:30Z, is converted; "
        f"got {text!r}"
    )


@pytest.mark.parametrize("text", [AT, "2026-11-27T08:30", " 2026-11-27T08:30:00 ", "2026-11-27T14:30+01:00"])
def test_a_time_is_read_in_the_usual_forms(text: str) -> None:
    assert moment(text) == datetime(2026, 11, 27, 8, 30)


@pytest.mark.parametrize("text", ["now", " NOW"])
def test_now_is_the_minute_on_new_yorks_wall_clock(text: str) -> None:
    passed = datetime.now(NEW_YORK).replace(tzinfo=None) - moment(text)
    assert 0 <= passed.total_seconds() < 120


@pytest.mark.parametrize(
    ("wrong", "reported"),
    [
        ({"distance_miles": -1.0}, "--distance: expected miles from 0 to 1,000; got -1"),
        ({"distance_miles": 1000.5}, "--distance: expected miles from 0 to 1,000; got 1000.5"),
        ({"distance_miles": float("nan")}, "--distance: expected miles from 0 to 1,000; got nan"),
        ({"passenger_count": -1}, "--passengers: expected a number from 0 to 99; got -1"),
        ({"passenger_count": 100}, "--passengers: expected a number from 0 to 99; got 100"),
        (
            {"service": "gren"},
            "--service: expected one of green, yellow, fhvhv, sample; got 'gren'; did you mean green?",
        ),
    ],
)
def test_a_ride_that_is_none_is_refused_before_the_registry_is_asked(
    wrong: dict[str, Any], reported: str
) -> None:
    assert refused(Ride("1", "2", AT, **wrong)) == reported


def test_an_id_beyond_the_synthetic_citys_zones_is_refused(champion: str) -> None:
    last = len(zones.of_city().ids)
    assert refused(Ride("1", str(last + 1), AT)).startswith(
        f"--to: expected a zone's id from 1 to {last}, or its"
    )


def test_without_a_registry_none_is_made() -> None:
    path = config.state().tracking_store
    assert refused(RIDE, TrackingError) == f"{path}: there is no registry yet; train one first"
    assert not path.exists()


def test_without_any_champion_the_error_says_how_to_get_one(store: Path, files: Path) -> None:
    offer(files)
    found = refused(RIDE, PromotionError)
    assert found.startswith("no champion can answer: there is none at all; train one (")
    assert found.endswith("python -m mlops registry lists them)")


def test_a_version_that_is_not_signed_is_not_loaded(champion: str) -> None:
    mlflow_client().delete_model_version_tag(NAME, champion, "signature")
    found = refused(RIDE, UntrustedError)
    assert f"trust {champion} --model {NAME}" in found


# --- The command --------------------------------------------------------------------------------------------


def test_the_command_prints_minutes_from_to_when_and_what_they_rest_on(
    champion: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = predicted(capsys, "--from=North 1", "--to=west 5", f"--at={AT}")
    found = estimate(RIDE)
    shown = [round(each) for each in (found.duration_minutes, found.low_80_minutes, found.high_80_minutes)]
    first, *lines = out.splitlines()
    assert (status, err) == (0, "")
    assert first == f"about {shown[0]} minutes, {shown[1]} to {shown[2]} (8 of 10 such rides)"
    assert lines[:5] == [
        "from   North 1 (12)",
        "to     West 5 (30)",
        "when   Friday 2026-11-27 08:30, New York",
        f"model  {NAME} version {champion}, trained on 2022-07 to 2023-05, tested on 2023-06 (RMSE 4.04 minutes)",
        f"rides  {found.rides} between these zones in its training",
    ]
    assert lines[5:] == [f"NOTE: {text}" for text in found.notes]


def test_as_json_it_is_one_object_with_the_same_values(
    champion: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = predicted(capsys, "--from=12", "--to=30", f"--at={AT}", "--passengers=1", "--json")
    assert status == 0
    assert RideEstimate.model_validate(json.loads(out)) == estimate(Ride("12", "30", AT, passenger_count=1))
    assert json.loads(out)["pickup_at"] == "2026-11-27T13:30:00Z"


def test_a_wrong_word_ends_with_status_2_and_a_missing_champion_with_1(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predicted(capsys, "--from=12", "--to=30", "--at=soon")[0] == 2
    status, out, err = predicted(capsys, "--from=12", "--to=30")
    assert (status, out) == (1, "")
    assert err.startswith("error: no champion can answer")


def test_a_registry_that_is_away_ends_with_status_1_within_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with closed_port() as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        status, _, err = predicted(capsys, "--from=12", "--to=30")
    assert status == 1
    assert err.startswith(f"error: tracking server http://127.0.0.1:{port}: no answer within 5 s")
