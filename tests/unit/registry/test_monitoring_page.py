"""The page of the compared months: one file without scripts, texts escaped, advice when it is empty."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from support.monitored import NAME, alarm, history, measured, record

from mlops.registry import monitoring_page
from mlops.registry import monitoring_words as words
from mlops.registry.monitoring_record import PROMOTED, RETURNED, TRAINED, Event, History

NASTY = '<script>alert(1)</script>"&\x1b[2J'


class Reader(HTMLParser):
    """The tags of a page, and the addresses that it links to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.styles: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        self.styles += [str(value) for name, value in attrs if name == "style" or name.startswith("on")]
        if tag == "a":
            self.links.append(str(given["href"]))


def charts(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(found) for found in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def texts(chart: ElementTree.Element) -> list[str]:
    return [str(each.text) for each in chart.iter("text")]


def test_all_months_of_a_model_are_on_the_page() -> None:
    made = history(6)
    page = monitoring_page.page([made])
    errors, coverage, drift = charts(page)
    shown = texts(errors)
    ends = ["pair median 6.41", "champion 5.31", "predecessor 4.60", "promised 4.24"]
    assert shown[-11:-7] == ends and shown[-7:] == ["v5", "v6", "v5", "v4", "v3", "v2", "v1"]
    assert texts(coverage)[-2:] == ["95 % range 88 %", "80 % range 71 %"]
    assert texts(drift)[-1] == "largest 6.20"
    assert [f">{each.month}</a>" in page for each in made.records] == [True] * 6
    assert words.headline(made.records[-1]) in page


def test_points_link_to_reports_and_versions() -> None:
    made = history(3)
    links = Reader(monitoring_page.page([made])).links
    reports = [f"{made.run_page}/artifacts/{each.month}/report.html" for each in made.records]
    assert links[1:4] == reports  # the points of the champion, after the model's own page
    assert links[4:10:2] == reports[::-1] and links[5] == f"{made.model_page}/versions/3"


def test_an_alarm_has_a_ring_and_a_sentence() -> None:
    page = monitoring_page.page([history(3)])
    assert page.count('class="ring"') == 1 and page.count("<tr class=alarm>") == 1
    quiet = replace(history(3), records=history(3).records[:-1])
    assert 'class="ring"' not in monitoring_page.page([quiet])


def test_no_text_becomes_markup_and_nothing_is_fetched() -> None:
    bad = record(champion=NASTY, causes=(NASTY,), done=NASTY, action="alert")
    event = Event(PROMOTED, "2023-09", NASTY, NASTY, NASTY)
    made = History(NASTY, (bad,), (event,), 'https://"><script>', "https://mlflow.example", (NASTY,))
    page = monitoring_page.page([made], [NASTY])
    read = Reader(page)
    assert "script" not in read.tags and read.styles == [] and "\x1b" not in page
    assert {"script", "img", "iframe", "object"}.isdisjoint(read.tags) and "url(" not in page
    assert len(charts(page)) == 3


def test_without_models_or_months_the_page_says_what_to_do() -> None:
    assert "mlops monitor --service green --month next --source tlc</code>" in monitoring_page.page([])
    page = monitoring_page.page([History(NAME)])
    assert "No month of this model was compared yet." in page and "mlops monitor --help</code>" in page
    assert charts(page) == []


def test_a_problem_takes_the_place_of_the_advice() -> None:
    page = monitoring_page.page([History(NAME, problems=("experiment was deleted; restore it",))])
    assert "experiment was deleted; restore it" in page and "No month" not in page


def test_models_with_months_come_first() -> None:
    page = monitoring_page.page([History("trip-duration-a"), replace(history(2), name="trip-duration-z")])
    assert page.index("trip-duration-z") < page.index("trip-duration-a")


def test_a_month_that_was_not_compared_is_a_gap() -> None:
    made = History(NAME, (record("2023-01"), record("2023-02"), record("2023-05"), record("2023-06")))
    (errors, *_) = charts(monitoring_page.page([made]))
    lines = [each for each in errors.iter("polyline") if each.get("class") == "line champion"]
    assert [len(str(each.get("points")).split()) for each in lines] == [2, 2]
    assert "2023-06" in texts(errors)


def test_values_that_are_missing_draw_nothing() -> None:
    nothing = record(measured={"rmse": 4.2})
    (errors,) = charts(monitoring_page.page([History(NAME, (nothing,))]))
    assert texts(errors)[-1] == "champion 4.20" and not list(errors.iter("polygon"))
    assert charts(monitoring_page.page([History(NAME, (record(measured={}),))])) == []


def test_of_several_events_in_a_month_the_return_is_shown() -> None:
    events = [Event(kind, "2023-10", "7", "2026-11-01", "") for kind in (TRAINED, RETURNED, PROMOTED)]
    made = History(NAME, (record("2023-09"), alarm("2023-10")), tuple(events))
    page = monitoring_page.page([made])
    assert (
        "2023-10: version 7 trained; version 7 became champion again; version 7 became champion</title>"
        in page
    )
    (errors, *_) = charts(page)
    assert [each.get("class") for each in errors.iter("path")][-1] == "worse"  # an arrow


def test_the_training_before_the_first_compared_month_is_shown() -> None:
    events = tuple(Event(TRAINED, month, "1", "", "") for month in ("2023-01", "2023-07"))
    (errors, *_) = charts(monitoring_page.page([History(NAME, (record("2023-09"),), events)]))
    assert {"2023-07", "2023-08", "2023-09"} <= {*texts(errors)} and texts(errors)[-1] == "v1"
    assert "2023-06" not in texts(errors)


def test_old_months_are_in_the_table_only() -> None:
    made = History(NAME, (record("1990-01"), record("2023-10")))
    page = monitoring_page.page([made])
    assert ">1990-01<" in page and all("1990-01" not in texts(chart) for chart in charts(page))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"measured": measured(4.24, 4.1)},
            "No alarm for 2023-09: RMSE is 4.24 minutes, 0.14 more than promised; ",
        ),
        (
            {"measured": measured(4.0, 4.1)},
            "No alarm for 2023-09: RMSE is 4.00 minutes, 0.10 less than promised; ",
        ),
        (
            {"measured": measured(4.1, 4.1)},
            "No alarm for 2023-09: RMSE is 4.10 minutes, as promised; what changed",
        ),
        ({"measured": {"rmse": 4.1}, "causes": ()}, "No alarm for 2023-09: RMSE is 4.10 minutes."),
        ({"measured": {}, "causes": ()}, "No alarm for 2023-09: no error was measured."),
    ],
)
def test_headline(changes: dict[str, object], expected: str) -> None:
    assert words.headline(record(**changes)).startswith(expected)
