"""Mage's editor as a place to think: trips and charts, a silly rule as an experiment, a feature of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.documents import blocks
from support.doors import PIPELINE, PROJECT, SAMPLE_MODEL
from support.editors import Editor, open_editor
from support.registry_rows import registry_rows
from support.visits import browse, require_browser

PLACE = "mlops/model/own_features.py"
NO_FEATURE = "OWN_FEATURES: tuple[OwnFeature, ...] = ()\n"
RECIPE = blocks(PROJECT / "docs" / "own_ideas.md", "python")[0]
NO_RULE = '    # Rule("over_30_miles", lambda trips, month: trips["distance_miles"] > 30),\n'
SILLY_RULE = '    Rule("over_5_minutes", lambda trips, month: trips["duration_minutes"] > 5),\n'
PASSED = "1/1 tests passed."
SPACE = r"\s"  # the page breaks lines inside words
TIME = r"\d{4}-\d\d-\d\d\d\d:\d\d:\d\dUTC"  # at the begin of a log line, after spaces are gone
TABLES = ("raw_trips", "sampled_trips")
BARS = (
    "durations",
    "rejections_by_rule",
    "trips_by_hour",
    "median_by_hour",
    "trips_by_weekday",
    "median_by_weekday",
)
CHARTS = (*TABLES, *BARS, "rejections_by_month")
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    require_browser()
    with open_editor(tmp_path_factory.mktemp("editor")) as opened:
        yield opened


def visit(editor: Editor, folder: Path, *steps: list[Any]) -> list[Any]:
    """What a person saw in each step, after opening the editor with the charts beside the blocks."""
    page = f"{editor.link}&sideview=charts"
    seen = browse(
        script="browse_ideas.py",
        screenshots=str(folder),
        cookies=str(folder / "cookies.json"),
        steps=[["open", page], *steps],
    )
    assert not seen["stopped"], (seen["stopped"], seen["texts"], editor.log.read_text())
    assert [said for said in seen["complaints"] if not said["harmless"]] == []
    assert [line for text in seen["texts"].values() for line in text.splitlines() if "****" in line] == []
    return list(seen["seen"][1:])


@pytest.fixture(scope="module")
def opened(editor: Editor, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The four blocks and the charts of a first run, which registers a champion."""
    loaded, cleaned, charts, features, trained = visit(
        editor, tmp_path_factory.mktemp("opened"),
        ["run", "load_trips", PASSED], ["run", "clean_trips", PASSED], ["charts", CHARTS],
        ["run", "build_features", PASSED], ["run", "train_and_register", PASSED],
    )  # fmt: skip
    return {
        "load_trips": loaded, "clean_trips": cleaned, "build_features": features, "train_and_register": trained,
        "charts": charts,
    }  # fmt: skip


@pytest.fixture(scope="module")
def silly(opened: dict[str, Any], editor: Editor, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A rule against all but short trips, as an experiment; and the registry before and after."""
    before = registry_rows(editor.machine.state)
    editor.call(
        "POST", f"pipelines/{PIPELINE}/variables", variable={"name": "experiment", "value": "short rides"}
    )
    block = editor.checkout / "transformers" / "clean_trips.py"
    assert NO_RULE in block.read_text()
    block.write_text(block.read_text().replace(NO_RULE, SILLY_RULE))
    cleaned, charts, _, trained = visit(
        editor, tmp_path_factory.mktemp("silly"),
        ["run", "clean_trips", PASSED], ["charts", ["sampled_trips"]],
        ["run", "build_features", PASSED], ["run", "train_and_register", PASSED],
    )  # fmt: skip
    after = registry_rows(editor.machine.state)
    return {"cleaned": cleaned, "charts": charts, "trained": trained, "before": before, "after": after}


@pytest.fixture(scope="module")
def featured(
    silly: dict[str, Any], editor: Editor, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The documented recipe of a feature, first without a restart of the kernel."""
    place = editor.checkout / PLACE
    assert place.read_text().endswith(NO_FEATURE)
    place.write_text(place.read_text().replace(NO_FEATURE, RECIPE))
    refused, *_, features = visit(
        editor, tmp_path_factory.mktemp("featured"),
        ["run", "load_trips", "ConfigError"], ["restart"],
        *(["run", name, PASSED] for name in ("load_trips", "clean_trips", "build_features")),
    )  # fmt: skip
    return {"refused": refused, "build_features": features}


@pytest.mark.parametrize(
    ("block", "columns"),
    [
        ("load_trips", ["month", "role", "trips", "MB", "changes", "table"]),
        ("clean_trips", ["month", "role", "trips", "kept", "kept %"]),
        ("build_features", ["feature", "missing %", "min", "mean", "max", "table"]),
        ("train_and_register", ["entry", "result", "test RMSE (min)"]),
    ],
)
def test_a_block_shows_first_what_a_person_asks_for(
    opened: dict[str, Any], block: str, columns: list[str]
) -> None:
    rows = opened[block]["table"]
    assert list(rows[0])[: len(columns)] == columns
    assert max(len(cell) for row in rows for cell in list(row.values())[: len(columns)]) <= 40


def test_rejections_are_counted_by_rule(opened: dict[str, Any]) -> None:
    for row in opened["clean_trips"]["table"]:
        rejected = [int(cell) for name, cell in list(row.items())[5:-2]]
        assert int(row["kept"]) + sum(rejected) == int(row["trips"])


def test_the_first_version_is_champion_and_the_block_says_where_its_card_is(opened: dict[str, Any]) -> None:
    shown = opened["train_and_register"]
    assert shown["table"][0]["result"] == "champion"
    assert "card" in shown["text"]


@pytest.mark.parametrize("chart", CHARTS)
def test_a_chart_is_drawn(opened: dict[str, Any], chart: str) -> None:
    shown = opened["charts"][chart]
    assert not [
        words for words in ("run clean_trips", "run load_trips", "not drawn yet") if words in shown["text"]
    ]
    drawn = shown["rows"] or shown["bars"] or shown["lines"]
    assert len(drawn) >= 5
    if chart in BARS:
        assert len(set(shown["bars"])) > 2
        assert sum(area > 0 for area in shown["bars"]) > len(shown["bars"]) / 2


def test_the_sample_names_the_rule_that_rejected_a_trip(
    opened: dict[str, Any], silly: dict[str, Any]
) -> None:
    results = {row["result"] for row in opened["charts"]["sampled_trips"]["rows"]}
    assert {"kept", "under 1 minute", "over 60 minutes"} <= results
    own = [row for row in silly["charts"]["sampled_trips"]["rows"] if row["result"] == "over 5 minutes"]
    assert own
    assert min(float(row["minutes"]) for row in own) > 5


def test_a_silly_rule_is_refused_in_words_and_the_registry_is_as_it_was(silly: dict[str, Any]) -> None:
    first = silly["trained"]["table"][0]
    assert "short rides" in first["entry"]
    assert "refuse" in first["result"]
    said = re.sub(TIME, "", re.sub(SPACE, "", silly["trained"]["text"]))
    assert "abovetheRMSE" in said
    assert "nothingwasregistered" in said
    assert silly["after"] == silly["before"]
    assert [row for row in silly["before"]["model_versions"] if SAMPLE_MODEL in row]


def test_changed_code_is_refused_until_the_kernel_is_restarted(featured: dict[str, Any]) -> None:
    said = re.sub(TIME, "", re.sub(SPACE, "", featured["refused"]["text"]))
    assert f"{PLACE}changedafterthisprocesshadloadedit" in said
    assert "chooseRun,Restartkernel" in said


def test_the_documented_feature_is_in_the_table(featured: dict[str, Any]) -> None:
    (row,) = (row for row in featured["build_features"]["table"] if row["feature"] == "hours_to_next_holiday")
    assert float(row["min"]) >= 0
    assert 24 < float(row["mean"]) < float(row["max"]) < 24 * 100
