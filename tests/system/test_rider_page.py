"""The page for riders in a browser: map, lists, keyboard, phone, dark, keys, and whatever may be wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests
from support.champions import make_version, remembered
from support.failures import closed_port
from support.service_process import PYTHON, Service, running_service
from support.visits import browse, require_browser

from mlops.serving import keys

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]
SCENES = (
    "map", "words", "pointer", "keyboard", "phone", "lists", "several", "trouble", "short", "guesses", "wrong",
    "edge", "locked",
)  # fmt: skip
ANSWER = r"about\s+\d+\s+minutes?\s+(\d+ to )?\d+ for 8 of 10 such rides"


class Locked(Service):
    """A service that needs a key, and has no model."""

    def is_ready(self) -> bool:
        assert self.process and self.process.poll() is None, self.log
        try:
            return requests.get(f"{self.url}/healthz", timeout=5).status_code == 200
        except requests.RequestException:
            return False


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What each scene saw."""
    require_browser()
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is not there: `make install` builds it")
    folder = tmp_path_factory.mktemp("rider")
    state = remembered(make_version(folder / "version"), folder / "state")
    key = keys.add(folder / "keys", "rider")
    with closed_port() as port:
        away = f"http://127.0.0.1:{port}"
        bare = Locked(
            folder, {"MLOPS_STATE_DIR": str(folder / "bare"), "MLFLOW_TRACKING_URI": away,
                     "SERVE_KEYS_FILE": str(folder / "keys")},
        )  # fmt: skip
        try:
            bare.start()
            with running_service(folder, MLOPS_STATE_DIR=str(state), MLFLOW_TRACKING_URI=away) as service:
                yield browse(
                    "browse_rides.py", url=service.url, locked=bare.url, key=key, screenshots=str(folder)
                )
        finally:
            bare.stop()


@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_ends_without_complaint_and_asks_no_other_host(scene: str, seen: dict[str, Any]) -> None:
    assert "stopped" not in seen[scene], seen[scene]
    assert len(seen[scene]["hosts"]) == 1
    assert seen[scene]["hosts"][0].startswith("http://127.0.0.1:")
    refused = ("trouble", "short", "several", "locked")  # there, Chromium names each answer that is no 200
    complaints = seen[scene]["complaints"]
    if scene in refused:
        complaints = [each for each in complaints if "Failed to load resource" not in each]
    assert complaints == []


@pytest.mark.parametrize("scene", ["map", "phone", "lists", "trouble", "guesses", "wrong", "locked"])
def test_axe_finds_nothing_serious(scene: str, seen: dict[str, Any]) -> None:
    assert seen[scene]["violations"] == []


def test_two_zones_of_the_map_give_an_answer_from_one_list(seen: dict[str, Any]) -> None:
    found = seen["map"]
    assert found["before"]["says"].startswith("Pick where the ride starts and ends, by name or on the map.")
    assert found["before"]["drawn"] > 250
    first = found["first"]
    assert_matches(ANSWER, first["says"])
    assert first["lists"] == [169]  # each hour of the week, and the midnight after it
    assert first["from"] != first["to"]
    number = first["says"].split()[1]
    assert first["title"].startswith(f"{number} minute")
    assert first["curve"] and len(first["chosen"]) == 1


def test_it_says_what_the_answer_rests_on(seen: dict[str, Any]) -> None:
    ride = seen["phone"]["shown"]
    text = " ".join(ride["rests"])
    assert f"from {ride['from']} to {ride['to']}" in ride["rests"][0]
    assert "made-up rides of July 2022 to May 2023" in text
    assert "Tried on June 2023, which it had not seen, it was off by about 4 minutes" in text
    assert "trip-duration-sample, version 7" in text


def test_address_reload_and_back_button_keep_every_choice(seen: dict[str, Any]) -> None:
    found = seen["map"]
    same = ("from", "to", "says", "url", "title")
    assert found["later"]["url"].endswith("T03:00")
    assert found["later"]["lists"] == [169]  # the same week: nothing is asked again
    assert [found["back"][name] for name in same] == [found["first"][name] for name in same]
    assert found["half"]["from"] == found["first"]["from"] and found["half"]["to"] == ""
    assert [found["again"][name] for name in same] == [found["first"][name] for name in same]


def test_the_mouse_names_a_zone_and_picks_it(seen: dict[str, Any]) -> None:
    found = seen["pointer"]
    assert found["tip"].splitlines()[0] == found["from"] != ""
    wide, close = (float(found[name].split()[2]) for name in ("wide", "close"))
    assert close == pytest.approx(wide / 1.8, rel=0.01)


def test_the_keyboard_alone_is_enough(seen: dict[str, Any]) -> None:
    found = seen["keyboard"]
    assert [each.split("\n")[0] for each in found["offered"]] == ["East Airport", "South-East Airport"] or (
        len(found["offered"]) == 2 and all("Airport" in each for each in found["offered"])
    )
    assert found["active"] == "from-list-0"
    assert found["first"]["from"] == found["offered"][1].split("\n")[0]
    assert found["first"]["to"] == "Centre 1"
    assert (found["swapped"]["from"], found["swapped"]["to"]) == ("Centre 1", found["first"]["from"])
    assert found["hour"]["hour"].startswith("03:00: about ")
    assert found["hour"]["url"].endswith("T03:00")
    assert ", 23:00: about " in found["read"]
    assert found["cell"]["url"].endswith("T23:00")
    assert "23:00" in found["cell"]["chosen"][0]
    assert found["hour"]["spoken"] == ""  # the slider speaks for itself
    assert_matches(
        r"^\w+ \d+ \w+, 23:00: about \d+ minutes, \d+ to \d+( or more)?\.", found["cell"]["spoken"]
    )


def test_a_phone_shows_all_of_it_in_the_dark(seen: dict[str, Any]) -> None:
    found = seen["phone"]
    assert_matches(ANSWER, found["shown"]["says"])
    assert found["wide"] == 390
    assert found["small"] == []
    assert max(int(each) for each in found["back"].removeprefix("rgb(").rstrip(")").split(",")) < 50
    # The zone is too small for a finger: first the map comes closer.
    assert (found["closer"], found["tapped"]) == (1, "")


def test_without_shapes_there_are_lists(seen: dict[str, Any]) -> None:
    found = seen["lists"]
    assert found["prompt"]["says"].startswith("Pick where the ride starts and ends by name.")
    assert not found["shown"]["map"]
    assert_matches(ANSWER, found["shown"]["says"])


def test_a_better_hour_is_offered_and_a_distance_may_be_given(seen: dict[str, Any]) -> None:
    found = seen["lists"]
    minutes = {name: int(found[name]["says"].split()[1]) for name in ("shown", "earlier")}
    less = minutes["shown"] - minutes["earlier"]
    assert less >= max(3, 0.1 * minutes["shown"])
    assert re.fullmatch(rf"Leave at 06:00\s+saves {less} minutes", found["shown"]["advice"])
    assert found["earlier"]["url"].endswith("T06:00")
    assert found["shown"]["miles"] is None
    assert "Without the distance of the route, the range is wider." in found["shown"]["rests"]
    assert (found["far"]["miles"], found["far"]["url"][-10:]) == (9.5, "&miles=9.5")
    assert "Without the distance of the route, the range is wider." not in found["far"]["rests"]
    assert found["farther"]["field"] == "900"
    assert "Without the distance of the route, the range is wider." in found["farther"]["rests"]
    assert "miles" not in found["farther"]["url"]


def test_words_and_moments(seen: dict[str, Any]) -> None:
    found = seen["words"]
    assert found["ranges"] == ["17 to 28", "1", "31 to 60 or more"]
    assert found["months"] == ["July 2022 to May 2023", "May 2023"]
    assert found["fold"] == "governors island ellis"
    assert found["fits"] == [0, 1, 2, 2, 2, 3, None]
    assert found["read"] == {"service": None, "from": 74, "to": None, "at": found["now"], "miles": None}
    assert [each.split(" was ")[0] for each in found["misread"]] == [
        "In the link, the end “-3”", "In the link, the time “2026-02-30T10:00”", "In the link, the distance “0”",
    ]  # fmt: skip
    assert found["hours"] == [169, "2026-11-23T00:00", "2026-11-29T23:00", "2026-11-30T00:00"]
    assert found["kept"] == {"service": "green", "from": 1, "to": 2, "at": "2026-11-27T08:00", "miles": 2.5}
    assert found["days"] == [False, True, True, False]


def test_now_is_new_yorks_hour_wherever_the_reader_is(seen: dict[str, Any]) -> None:
    now = datetime.now(ZoneInfo("America/New_York"))
    shown = datetime.fromisoformat(seen["words"]["now"]).replace(tzinfo=now.tzinfo)
    assert timedelta(0) <= now - shown < timedelta(hours=1, minutes=5)  # the browser is in Tokyo


def test_a_service_is_chosen_in_plain_words_and_a_refusal_is_shown(seen: dict[str, Any]) -> None:
    found = seen["several"]
    assert found["names"] == ["Green taxi", "Sample city"]
    assert "service=green" in found["refused"]["url"]
    assert found["refused"]["notice"].startswith(
        "The service cannot answer this: service: expected one of sample"
    )


def test_each_trouble_has_a_sentence_and_a_next_act(seen: dict[str, Any]) -> None:
    found = seen["trouble"]
    starts = (
        "The service cannot be reached.",
        "The service has too many questions",
        "No model answers yet.",
        "The service failed.",
    )
    for notice, start in zip(found["notices"], starts, strict=True):
        assert notice.startswith(start)
        assert notice.endswith("Try again now")
    assert "Trying again every 7 seconds." in found["notices"][1]
    assert_matches(ANSWER, found["shown"]["says"])
    assert found["shown"]["notice"] == ""


def test_a_service_with_short_lists_answers_without_curves(seen: dict[str, Any]) -> None:
    shown = seen["short"]["shown"]
    assert shown["lists"] == [169, 1]
    assert not shown["curve"]


def test_a_long_and_rare_ride_is_said_to_be_one(seen: dict[str, Any]) -> None:
    shown = seen["short"]["shown"]
    assert " to 60 or more for 8 of 10 such rides" in shown["says"]
    assert "minutes\n\nOnly 5 such rides are known. Take it with care.\n\n" in shown["says"]
    assert shown["rests"][0].startswith("It has seen only 5 made-up rides from South 6 to ")
    assert "It learnt from no ride of more than 60 minutes, so it never says more." in shown["rests"]
    assert " to 60 or more: South 6 to " in shown["title"]


def test_a_ride_that_was_never_seen_has_its_caution_at_the_number_and_in_the_voice(
    seen: dict[str, Any],
) -> None:
    never = seen["short"]["never"]
    assert re.fullmatch(
        r"about \d+ minutes\s+No ride between these zones was seen. Take it with care.\s+"
        r"\d+ to 60 or more, judging by other rides",
        never["says"],
    )
    assert re.fullmatch(
        r"About \d+ minutes, \d+ to 60 or more. No ride between these zones was seen. Take it with care.",
        never["spoken"],
    )


def test_a_guess_does_not_look_sure(seen: dict[str, Any]) -> None:
    found = seen["guesses"]
    shown, later = found["shown"], found["later"]
    guess = "A guess: the model knows no ride like this one."
    assert re.fullmatch(rf"perhaps \d+ minutes\s+{guess}", shown["says"])
    assert re.fullmatch(rf"Perhaps \d+ minutes. {guess}", shown["spoken"])
    assert re.match(r"Perhaps \d+ minutes: ", shown["title"])
    assert shown["advice"] == ""
    assert re.fullmatch(r"09:00: perhaps \d+ minutes", later["hour"])
    assert later["spoken"] == guess  # the slider says the rest


def test_a_link_that_is_not_understood_says_what_is_used(seen: dict[str, Any]) -> None:
    several, nowhere, nothing = seen["wrong"]["links"]
    assert several["doubts"] == [
        "In the link, the time “hello” was not understood: this hour is used.",
        "In the link, the distance “999” was not understood: none is used.",
        "In the link, the service “mars” was not understood: Sample city is used.",
    ]
    assert_matches(r"\?service=sample&from=74&to=75&at=\d{4}-\d\d-\d\dT\d\d:00$", several["url"])
    assert_matches(ANSWER, several["says"])
    assert nowhere["doubts"] == ["To: zone 999 is not known here. Pick another."]
    assert nothing["doubts"] == ["In the link, the start “0” was not understood: pick one."]
    for each, missing in ((nowhere, "to="), (nothing, "from=")):
        assert missing not in each["url"] and each["lists"] == several["lists"]
    assert nowhere["says"].startswith("Now pick where it ends")
    assert nothing["says"].startswith("Pick where it starts")


def test_a_day_that_is_none_has_a_sentence_and_no_answer(seen: dict[str, Any]) -> None:
    for day, value in zip(seen["wrong"]["days"], ("1999-06-01", ""), strict=True):
        assert day["looks"] == [value, "true", "day-fault"]
        assert (day["says"], day["curve"], day["clock"]) == ("No answer without a day.", False, False)
        assert day["title"] == "How long will the ride take?"
        assert day["mended"] == "false"


def test_names_stay_on_the_map_and_the_week_is_below_it(seen: dict[str, Any]) -> None:
    names = [each for each in seen["edge"]["names"] if each["seen"]]
    assert names and all(each["inside"] and not each["covered"] for each in names)
    assert any(each["moved"] for each in names)
    shape, week, rests, curve = seen["edge"]["cards"]  # each: in the right column, below the map
    assert (shape, week, rests, curve[0]) == ([True, False], [True, True], [True, True], False)


def test_a_key_is_asked_for_and_a_missing_model_explained(seen: dict[str, Any]) -> None:
    shown = seen["locked"]["shown"]
    assert shown["notice"].startswith("No model answers yet.")
    assert shown["says"] == ""
    assert not shown["map"]


def assert_matches(pattern: str, text: str) -> None:
    assert re.search(pattern, text), text
