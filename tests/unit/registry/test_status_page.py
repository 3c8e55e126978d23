"""The status as words and as a page: one file without scripts, texts escaped, the same on every screen."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

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

from mlops.month import Month
from mlops.registry import attention, status_page, status_reading, status_words
from mlops.registry.status_records import ModelStatus, RunningStatus, Status

NASTY = '<script>alert(1)</script>"&\x1b[2J'


def status(*models: ModelStatus, **changes: Any) -> Status:
    made = attention.status(models or [model()], [store(), service()], disk(), NOW, NOW)
    return made.model_copy(update=changes)


class Reader(HTMLParser):
    """The labels and texts of a page, the commands on it, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags = ["before the first tag"]
        self.found: dict[str, list[str]] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") or name == "style" for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.found.setdefault(self.tags[-1], []).append(data)


def lines(**changes: Any) -> dict[str, tuple[str, str]]:
    """Text and tone by label."""
    found = status_words.model_lines(model(**changes), NOW)
    return {line.label: (line.text, line.tone) for line in found}


# --- Words --------------------------------------------------------------------------------------------------


def test_all_that_is_known_of_a_model() -> None:
    assert lines() == {
        "champion": (
            "version 12 for 7 days (since 2023-10-13 08:30 UTC); tested on 2023-07, RMSE 4.04 minutes", "good"
        ),
        "last verdict": ("promote for version 12 on 2023-07: it is better", ""),
        "waits for": (
            "2023-08; TLC can have published it since 2023-10-19, expected by 2023-11-19", ""
        ),
        "last check": ("2023-10-20 00:30 UTC: 2023-08 not published yet", ""),
        "run at work": ("none", "soft"),
        "last failure": ("none", "soft"),
        "monitoring": ("version 12: No alarm for 2023-07.", ""),
        "to approve": ("none", "soft"),
        "problems": ("none", "soft"),
    }  # fmt: skip


def test_nothing_is_known_of_a_model() -> None:
    empty = lines(
        champion=None, newest=None, waits_for=None, last_check=None, monitoring=None
    )  # fmt: skip
    assert empty["champion"] == ("none", "bad")
    assert empty["last verdict"] == ("none", "soft")
    assert empty["waits for"] == ("no month; none is judged yet", "soft")
    assert empty["last check"] == ("none is recorded", "soft")
    assert empty["monitoring"] == ("no month was compared yet", "soft")


def test_what_needs_a_person_is_marked() -> None:
    running = RunningStatus(run_id="1", about="green 2023-08", since=NOW)
    found = lines(
        champion=champion(is_signed=False, since=None), approval=approval(), last_failure=failure(),
        monitoring=monitoring(is_alarm=True), last_check=check(outcome="failed"), unsigned=("12",),
        problems=("one",), running=running, newest=newest(verdict="keep", override="made champion by me"),
    )  # fmt: skip
    assert found["champion"] == (
        "version 12; tested on 2023-07, RMSE 4.04 minutes; not signed, so it is not loaded", "bad"
    )  # fmt: skip
    assert found["last verdict"][0] == "keep for version 12 on 2023-07: it is better; made champion by me"
    assert found["last failure"] == (
        "2023-10-13 08:30 UTC: a run failed (green 2023-08); no run has succeeded since: DownloadError: no answer",
        "bad",
    )
    assert found["to approve"] == (
        "version 13 since 2023-10-13 08:30 UTC: every promotion needs an approval", "bad"
    )  # fmt: skip
    assert found["run at work"] == ("green 2023-08 since 2023-10-20 08:30 UTC", "")
    assert found["problems"] == ("not signed: version 12; one", "bad")
    assert found["monitoring"][1] == found["last check"][1] == "bad"


def test_a_failure_that_is_over_matters_little() -> None:
    text, tone = lines(last_failure=failure(is_over=True))["last failure"]
    assert "; a later run succeeded: " in text and tone == "soft"


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (0, "2023-08; TLC can publish it from 2023-10-19, expected by 2023-11-19"),
        (90, "2023-08, OVERDUE: expected by 2023-11-19"),
    ],
)
def test_the_month_that_is_waited_for(days: int, text: str) -> None:
    now = NOW.replace(month=9, day=1) + timedelta(days=days)
    waited = status_reading.waited(Month(2023, 8), now)
    assert status_words.model_lines(model(waits_for=waited), now)[2].text == text


def test_the_synthetic_city_s_month() -> None:
    waited = status_reading.waited(Month(2023, 8), NOW, is_published=False)
    assert lines(waits_for=waited)["waits for"][0] == "2023-08, which is made when a run asks for it"


def test_servers_and_disk() -> None:
    assert status_words.server_line(store()) == (
        "tracking store", "up. http://127.0.0.1:5000: it answers", "good", False
    )  # fmt: skip
    assert status_words.server_line(store("down")).tone == "bad"
    assert status_words.server_line(store("off", address="")).text == "off. it answers"
    assert status_words.disk_line(disk()).text == "120.0 GB free at /srv/.state; the state folder uses 1.2 GB"
    assert (status_words.disk_line(disk(0)).tone, status_words.disk_line(None).text) == ("bad", "not checked")


# --- The page -----------------------------------------------------------------------------------------------


def test_the_page_says_that_all_is_well() -> None:
    page = status_page.page(status())
    assert '<p class="state" role="status">All is well.</p>' in page
    assert "<title>Status: all is well</title>" in page and "<ol" not in page.partition("</style>")[2]
    assert "The registry was read on 2023-10-20 08:30 UTC." in page
    assert {"run at work", "problems"} & {*Reader(page).found["dt"]} == set()


def test_the_page_has_the_next_act_of_what_needs_attention() -> None:
    made = status(model(approval=approval(), last_failure=failure(), problems=("one",)))
    page = status_page.page(made, ["Now the registry is away"])
    assert '<p class="state alarm" role="status">2 things need attention; 1 thing could' in page
    assert "<title>(3) Status</title>" in page
    assert Reader(page).found["code"] == [each.act for each in made.attention]
    assert '<li class="unknown">' in page and "not checked: one" in page
    assert '<p class="state none">Now the registry is away</p>' in page


def test_the_page_shows_the_same_as_the_screen() -> None:
    found = Reader(status_page.page(status()))
    shown = [line for line in status_words.model_lines(model(), NOW) if not line.is_empty]
    assert found.found["dd"][: len(shown)] == [line.text for line in shown]
    assert found.found["h2"] == [MODEL, "Servers and disk"]


def test_nothing_on_the_page_can_act() -> None:
    nasty = model(
        newest=newest(reason=NASTY, verdict=NASTY), last_failure=failure(error=NASTY, about=NASTY),
        monitoring=monitoring(text=NASTY), problems=(NASTY,),
    )  # fmt: skip
    page = status_page.page(status(nasty), [NASTY])
    assert "script" not in Reader(page).tags and "\x1b" not in page and page.count("&lt;script&gt;") >= 5
    assert re.findall(r'(?:src|href)="(?!data:,|/monitoring|\?format=json)', page) == []


def test_a_page_before_the_registry_was_read() -> None:
    made = attention.status([], [store("not checked")], None, NOW, None)
    page = status_page.page(made)
    assert "The registry was not read yet." in page and "Not all could be checked: 2 things." in page
