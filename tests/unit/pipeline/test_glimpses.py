"""Numbers of the charts, against pandas on the published and the clean files of a run with a rule of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from support.doors import PROJECT, write_months

from mlops.config import Settings
from mlops.data.trips import RULES, Rule, with_own
from mlops.pipeline import block_tables, glimpses, months_table, steps

FAR = Rule("over_6_miles", lambda trips, month: trips["distance_miles"] > 6)
BOTH = ("loaded", "cleaned")
PICTURES = [
    glimpses.sampled_trips, glimpses.durations, glimpses.rejections_by_rule, glimpses.rejections_by_month,
    glimpses.trips_by_hour, glimpses.trips_by_weekday, glimpses.median_by_hour, glimpses.median_by_weekday,
]  # fmt: skip
Picture = Callable[[Any], tuple[list[Any], list[Any]]]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, pd.DataFrame]]:
    """What load_trips and clean_trips show of four small months, and the full table of the latter."""
    home = tmp_path_factory.mktemp("glimpses")
    (home / "source").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_STATE_DIR", str(home / "state"))
        asked = {"service": "green", "month": "2023-04", "train_months": 2}
        settings = Settings.parse({**asked, "source": str(write_months(home / "source"))})
        loaded = steps.load_trips(settings)
        cleaned = steps.clean_trips(loaded, settings, with_own([FAR]))
        yield {
            "loaded": block_tables.of_months(loaded), "cleaned": block_tables.of_cleaned(cleaned), "full": cleaned
        }  # fmt: skip


@pytest.fixture(autouse=True)
def state(tables: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    """The state folder with the full tables, for each test."""
    prepared = Path(tables["full"]["prepared"].iloc[0])
    monkeypatch.setenv("MLOPS_STATE_DIR", str(prepared.parents[1]))


@pytest.fixture
def cleaned(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return tables["cleaned"]


@pytest.fixture(scope="module")
def kept(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The kept trips of all months."""
    trips = pd.concat(map(pd.read_parquet, tables["full"]["path"]))
    return trips[trips["for_training"]]


# --- Numbers ------------------------------------------------------------------------------------------------


def test_durations_are_those_of_the_kept_trips(cleaned: pd.DataFrame, kept: pd.DataFrame) -> None:
    labels, heights = glimpses.durations(cleaned)
    assert (labels[0], labels[-1], len(labels)) == ("0-2", "58-60", 30)
    bins = pd.cut(kept["duration_minutes"], range(0, 62, 2), right=False, labels=False).clip(upper=29)
    assert heights == [int((bins == number).sum()) for number in range(30)]
    assert sum(heights) == len(kept)


def test_hours_and_weekdays_are_those_of_the_kept_trips(cleaned: pd.DataFrame, kept: pd.DataFrame) -> None:
    hour, weekday = kept["pickup_at"].dt.hour, kept["pickup_at"].dt.day_name().str[:3]
    minutes = kept["duration_minutes"]
    assert dict(zip(*glimpses.trips_by_weekday(cleaned), strict=True)) == weekday.value_counts().to_dict()
    labels, heights = glimpses.trips_by_hour(cleaned)
    assert labels == [str(number) for number in range(24)]
    assert heights == hour.value_counts().reindex(range(24), fill_value=0).tolist()
    medians = minutes.groupby(hour).median().reindex(range(24), fill_value=0)
    assert glimpses.median_by_hour(cleaned)[1] == pytest.approx(medians.tolist(), abs=0.006)
    by_weekday = dict(zip(*glimpses.median_by_weekday(cleaned), strict=True))
    assert by_weekday == pytest.approx(minutes.groupby(weekday).median().to_dict(), abs=0.006)
    assert next(iter(by_weekday)) == "Mon"


def test_rejections_are_the_counts_of_the_rules(tables: dict[str, pd.DataFrame]) -> None:
    full = tables["full"].sort_values("month")
    months, lines = glimpses.rejections_by_month(tables["cleaned"])
    assert months == [12 * 2023 + number for number in range(4)]
    by_rule = dict(zip(glimpses.rule_labels(), lines, strict=True))
    for rule in ("under_1_minute", "over_60_minutes", "duplicate"):
        expected = 100 * full[f"rejected_{rule}"] / full["rows"]
        assert by_rule[rule.replace("_", " ")] == pytest.approx(expected.tolist(), abs=0.001)
    own = 100 * full["rejected_over_6_miles"] / full["rows"]
    assert by_rule["own rules"] == pytest.approx(own.tolist(), abs=0.001)
    assert min(own) > 0
    kept_share = 100 * full["kept"] / full["rows"]
    assert [sum(shares) for shares in zip(*lines, strict=True)] == pytest.approx(
        (100 - kept_share).tolist(), abs=0.01
    )


def test_rejections_compare_the_test_month_with_those_before(tables: dict[str, pd.DataFrame]) -> None:
    full = tables["full"].set_index("month")
    shares = dict(zip(*glimpses.rejections_by_rule(tables["cleaned"]), strict=True))
    assert list(shares)[-1].startswith("over 6 miles")  # it rejects most, and stands above
    before = full.drop("2023-04")
    for name in ("over_6_miles", "under_1_minute"):
        text, column = name.replace("_", " "), f"rejected_{name}"
        assert shares[f"{text} 2023-04"] == pytest.approx(
            100 * full.loc["2023-04", column] / full.loc["2023-04", "rows"], abs=0.001
        )
        assert shares[f"{text} before"] == pytest.approx(
            100 * before[column].sum() / before["rows"].sum(), abs=0.001
        )


def test_the_sample_has_kept_trips_and_trips_of_each_rule(tables: dict[str, pd.DataFrame]) -> None:
    columns, rows = glimpses.sampled_trips(tables["cleaned"])
    assert columns == ["result", "green pickup", "minutes", "miles", "from", "to"]
    results = [row[0] for row in rows]
    assert results[:3] == ["kept"] * 3
    assert "kept" not in results[3:]
    rejecting = {
        name for name in tables["full"] if name.startswith("rejected_") and tables["full"][name].any()
    }
    assert set(results[3:]) == {f"{name.removeprefix('rejected_').replace('_', ' ')}" for name in rejecting}
    trips = {row[0]: row for row in rows}
    assert trips["over 6 miles"][3] > 6
    assert trips["under 1 minute"][2] < 1
    assert 1 <= trips["kept"][2] <= 60 and trips["kept"][3] <= 6


def test_raw_trips_are_rows_of_the_published_file(tables: dict[str, pd.DataFrame]) -> None:
    raw = pq.read_table(tables["full"]["raw"].iloc[0]).to_pandas()
    for name in BOTH:
        columns, rows = glimpses.raw_trips(tables[name])
        assert columns[:3] == ["service", "lpep_pickup_datetime", "lpep_dropoff_datetime"]
        assert len(rows) == 10
        assert rows[0][:2] == ["green", str(raw["lpep_pickup_datetime"].iloc[0])[:16]]
        assert rows[-1][3:5] == raw[["PULocationID", "DOLocationID"]].iloc[-1].tolist()


# --- What the charts are drawn from -------------------------------------------------------------------------


def test_counts_are_made_once_for_a_clean_file(tables: dict[str, pd.DataFrame]) -> None:
    expected = glimpses.trips_by_hour(tables["cleaned"])
    full = tables["full"]
    made = sorted(Path(full["prepared"].iloc[0], "counts").iterdir())
    assert [path.name.split("_")[1] for path in made] == sorted(full["month"])
    times = [path.stat().st_mtime_ns for path in made]
    other = full.assign(path="gone.parquet")
    assert glimpses.trips_by_hour(block_tables.of_cleaned(other)) == expected
    assert [path.stat().st_mtime_ns for path in made] == times
    (words,), zero = glimpses.trips_by_hour(block_tables.of_cleaned(other.assign(clean_sha256="0" * 64)))
    assert "gone.parquet" in words and zero == [0]


@pytest.mark.parametrize("picture", PICTURES)
def test_every_chart_can_be_read_by_the_page(picture: Picture, cleaned: pd.DataFrame) -> None:
    x, y = picture(cleaned)
    text = json.dumps({"x": x, "y": y})
    numbers = [value for row in y for value in (row if isinstance(row, list) else [row])]
    assert all(math.isfinite(value) for value in numbers if not isinstance(value, str))
    page = repr(text)[1:-1].replace('\\"', '"').replace("\\'", "'")  # as the page of Mage does
    assert json.loads(page) == {"x": x, "y": y}


@pytest.mark.parametrize("picture", [*PICTURES, glimpses.raw_trips])
@pytest.mark.parametrize(
    ("table", "words"),
    [
        (None, "the block of this chart has not run: run it, then this chart"),
        (
            months_table.nothing_to_do("green 2023-05 is not published yet", "2023-05"),
            "green 2023-05 is not published yet",
        ),
    ],
)
def test_without_trips_a_chart_says_so(picture: Picture, table: pd.DataFrame | None, words: str) -> None:
    x, y = picture(table)
    if picture is glimpses.rejections_by_month:  # a line has no room for words
        assert (x, y) == ([0, 1], [[0, 0]])
    else:
        assert words in (x[0], y[0][0] if isinstance(y[0], list) else "")


@pytest.mark.parametrize("picture", [each for each in PICTURES if each is not glimpses.rejections_by_month])
def test_a_chart_of_clean_trips_needs_the_block_clean_trips(
    picture: Picture, tables: dict[str, pd.DataFrame]
) -> None:
    x, y = picture(tables["loaded"])
    assert "this chart draws clean trips: choose the block clean_trips" in (
        x[0],
        *(y[0] if isinstance(y[0], list) else ()),
    )


def test_texts_that_the_page_cannot_read_are_made_plain(tables: dict[str, pd.DataFrame]) -> None:
    odd = tables["full"].rename(columns={"rejected_over_6_miles": 'rejected_é "far" \\o/'})
    labels, _ = glimpses.rejections_by_rule(odd)
    assert labels[-1] == "? far /o/ 2023-04"


# --- The files of the charts --------------------------------------------------------------------------------


def test_each_rule_has_a_line() -> None:
    assert set(glimpses.LINES) == {rule.name for rule in RULES} | {glimpses.OWN}


def test_the_pipeline_names_a_file_for_each_chart() -> None:
    said = yaml.safe_load((PROJECT / "pipelines/trip_duration_training/metadata.yaml").read_text())
    widgets = {widget["uuid"]: widget for widget in said["widgets"]}
    files = {path.stem for path in (PROJECT / "charts").glob("*.py")}
    assert files == set(widgets)
    blocks = {block["uuid"] for block in said["blocks"]}
    for name, widget in widgets.items():
        assert widget["type"] == "chart" and set(widget["upstream_blocks"]) <= blocks
        assert {"x", "y", "chart_type"} <= widget["configuration"].keys(), name
    lines = widgets["rejections_by_month"]["configuration"]
    assert lines["legend_labels"].split(", ") == glimpses.rule_labels()
    assert json.dumps(glimpses.rule_labels()) in lines["y_tooltip_label_format"]


@pytest.mark.parametrize("path", sorted((PROJECT / "charts").glob("*.py")), ids=lambda path: path.stem)
def test_the_code_of_a_chart_gives_its_numbers(path: Path, tables: dict[str, pd.DataFrame]) -> None:
    drawing: list[Picture] = []
    exec(
        compile(path.read_text(), path, "exec"), {"xy": lambda function: drawing.append(function) or function}
    )
    name = "loaded" if path.stem == "raw_trips" else "cleaned"
    assert drawing[0](tables[name]) == getattr(glimpses, path.stem)(tables[name])
