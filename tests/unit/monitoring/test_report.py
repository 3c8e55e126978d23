"""The report is one file without scripts, says the verdict first, and leaves out what is not known."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from support.monitored import FINDING, NAME, alarm, history, record

from mlops.monitoring import drawings, message, report
from mlops.monitoring.changes import Change
from mlops.monitoring.drawings import Error
from mlops.monitoring.report import ReportData
from mlops.registry import monitoring_words as words
from mlops.registry.monitoring_record import Finding

NASTY = '<script>alert(1)</script>"&\x1b[2J'
ERRORS = (
    Error("champion, 2023-10", "champion", 5.31, 5.2, 5.43), Error("promised on 2023-09", "promised", 4.24),
    Error("predecessor, 2023-10", "predecessor", 4.6, 4.5, 4.7),
)  # fmt: skip
DAYS = tuple((f"2023-10-{day:02}", 0.01 * (day - 8)) for day in range(1, 32))
CHANGE = Change(
    "champion", "rmse", 4.24, 5.31, 1.07, 0.27, 0.8, (0.9, 1.2), (0.2, 0.3), (0.7, 0.9), (), (), DAYS
)
SLICES = pd.DataFrame(
    {"slice": ["all trips", "hour_band"], "value": ["", "6-10 h"], "trips": [61_234, 12_000],
     "share": [1.0, 0.196], "champion_rmse": [5.31, 5.5],
     "champion_coverage_80": [0.71, 0.7], "champion_mae": [3.0, 3.1]}
)  # fmt: skip
DRIFT = pd.DataFrame(
    {"feature": ["distance_miles", "hour"], "psi": [6.2, np.nan], "share_missing": [0.012, 0.0]}
)
KNOWN = "in 8 earlier months the estimate was off by 0.12 minutes on average"


def full() -> ReportData:
    months = history(9).records
    return ReportData(NAME, months[-1], ERRORS, CHANGE, SLICES, DRIFT, months[:-1], KNOWN)


def charts(page: str) -> dict[str, ElementTree.Element]:
    """Charts by their titles."""
    found = [ElementTree.fromstring(each) for each in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]
    return {str(each.get("aria-label")).split(",")[0]: each for each in found}


def texts(chart: ElementTree.Element) -> list[str]:
    return [str(each.text) for each in chart.iter("text")]


def test_the_first_screen_says_verdict_cause_and_act() -> None:
    data = full()
    page = report.page(data)
    first = page[: page.index("<svg")]
    assert f"<strong>{words.headline(data.record)}</strong>" in first and '<p class="state alarm">' in first
    for term, text in (
        ("What changed", message.how_much(data.record)),
        ("Why", f"{FINDING.text}."),
        ("What was done", data.record.done),
    ):
        assert f"<dt>{term}</dt><dd>{text}</dd>" in first
    assert "<dt>What to do</dt><dd>Ask the publisher" in first


def test_every_chart_is_there_with_its_values() -> None:
    page = report.page(full())
    assert re.findall('aria-label="([^,:;"]*)', page) == [
        "RMSE in minutes",
        "Why RMSE changed",
        "Change of RMSE within groups of rides",
        "Which days changed RMSE on the same rides",
        "RMSE in minutes",
        "Estimated and measured RMSE",
    ]
    found = charts(page)
    split = texts(found["Why RMSE changed"])
    shown = [
        "promised on 2023-09",
        "4.24",
        "another mix of rides",
        "+0.27",
        "error on the same rides",
        "+0.80",
    ]
    assert split[-8:] == [*shown, "measured in 2023-10", "5.31"]
    where = texts(found["Change of RMSE within groups of rides"])
    assert where[-4:] == [
        "airport, night",
        "+0.80, 3.0 %",
        "morning, working day, 1 to 3 miles",
        "+0.41, 21 %",
    ]


def test_errors_have_their_intervals() -> None:
    chart = charts(drawings.errors("Errors", ERRORS))["Errors"]
    assert texts(chart)[-6:] == [
        "champion, 2023-10", "5.31 (5.20 to 5.43)", "promised on 2023-09", "4.24", "predecessor, 2023-10",
        "4.60 (4.50 to 4.70)",
    ]  # fmt: skip
    assert len([each for each in chart.iter("path") if "whole" in str(each.get("class"))]) == 2
    assert drawings.errors("Errors", [Error("champion", "champion", np.nan)]) == ""


def test_a_day_is_a_column() -> None:
    chart = next(iter(charts(drawings.days("Days", DAYS)).values()))
    columns = list(chart.iter("rect"))
    assert [each.get("class") for each in columns] == ["better"] * 7 + ["better"] + ["worse"] * 23
    assert [each.findtext("title") for each in columns][-1] == "2023-10-31: +0.23 minutes"
    heights = [float(str(each.get("height"))) for each in columns]
    assert heights[30] == max(heights) and heights[7] == 0


def test_parts_add_up_on_the_axis() -> None:
    chart = next(iter(charts(drawings.parts_of_change("Parts", 4.0, -0.5, 1.0, "abcd")).values()))
    mix, within = chart.iter("rect")
    start, end = (float(str(each.get("cx"))) for each in chart.iter("circle"))
    left, width = (float(str(mix.get(name))) for name in ("x", "width"))
    assert left + width == pytest.approx(start, abs=0.2) and left == pytest.approx(
        float(str(within.get("x"))), abs=0.2
    )
    assert float(str(within.get("x"))) + float(str(within.get("width"))) == pytest.approx(end, abs=0.2)
    assert drawings.parts_of_change("Parts", np.nan, 0.1, 0.1, "abcd") == ""


def test_tables_show_shares_as_percent_and_gaps_as_dashes() -> None:
    page = report.page(full())
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page)
    assert [*cells[-6:]] == ["distance_miles", "6.20", "1.2 %", "hour", "–", "0.0 %"]
    row = cells.index("hour band 6-10 h")
    assert cells[row : row + 5] == ["hour band 6-10 h", "12,000", "20 %", "5.50", "70 %"]


def test_the_estimate_stands_beside_its_track_record() -> None:
    page = report.page(full())
    assert "From the rides alone, 5.16 minutes were to be expected; 5.31 were measured (-0.15)." in page
    assert "In 8 earlier months the estimate was off by 0.12 minutes on average." in page


def test_a_first_month_without_anything_is_a_whole_report() -> None:
    alone = record(measured={"rmse": 4.2}, predecessor="", promised_month="", slices=(), causes=())
    page = report.page(ReportData(NAME, alone, ERRORS[:1]))
    assert len(charts(page)) == 1 and "Predecessor: there is none." in page
    assert "Nothing unusual was found in the data." in page and "<table" not in page
    assert not re.search(r"\bnan\b", page, re.IGNORECASE)
    empty = report.page(ReportData(NAME, record(measured={}), ()))
    assert charts(empty).keys() == {"Change of RMSE within groups of rides"}


def test_no_text_becomes_markup_and_nothing_is_fetched() -> None:
    found = Finding(NASTY, NASTY, 0.5, True, 2.0)
    bad = alarm(
        causes=(NASTY,), findings=(found,), slices=((NASTY, 0.5, 0.1),), done=NASTY, notes=(NASTY,),
        champion=NASTY, promised_month=NASTY, at=NASTY,
    )  # fmt: skip
    drift = pd.DataFrame({NASTY: [NASTY], "psi": [1.0]})
    errors = [Error(NASTY, "champion", 5.0, 4.0, 6.0)]
    page = report.page(ReportData(NASTY, bad, errors, CHANGE, SLICES, drift, history(3).records[:1], NASTY))
    assert "<script" not in page and "\x1b" not in page and "&lt;script&gt;" in page
    assert (
        not re.search(r"""(src|href)=["'](?!data:,)""", page) and "url(" not in page and "@import" not in page
    )
    assert "default-src 'none'" in page


def test_months_after_this_one_are_not_drawn() -> None:
    later = ReportData(NAME, record("2023-05"), ERRORS, earlier=(record("2023-04"), record("2023-06")))
    (chart, *_) = [
        each for name, each in charts(report.page(later)).items() if name == "Estimated and measured RMSE"
    ]
    assert {"2023-04", "2023-05"} <= {*texts(chart)} and "2023-06" not in texts(chart)
