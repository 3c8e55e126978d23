"""What a block shows is short, and the full table behind it is found, or a clear error says what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from support.step_tables import make_cleaned, make_months, make_summary, through_mage

from mlops import config
from mlops.errors import DataQualityError
from mlops.pipeline import months_table
from mlops.pipeline.block_tables import full_table, months_of, of_cleaned, of_columns, of_features, of_months

AGAIN = "Run the blocks again, in order, from load_trips on."


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of full tables, in a state folder of its own."""
    monkeypatch.setenv("MLOPS_STATE_DIR", str(tmp_path / "state"))
    return config.state().prepared / "tables"


# --- What is shown ------------------------------------------------------------------------------------------


def test_load_trips_shows_the_months_and_their_changes(caplog: pytest.LogCaptureFixture) -> None:
    months = make_months().assign(
        drift=["", "column x: int64 -> double", ""], republished=["3 rows added", "2 rows removed", ""]
    )
    with caplog.at_level(logging.INFO):
        shown = of_months(months)
    assert shown.drop(columns="table").to_dict("list") == {
        "month": ["2023-03", "2023-02", "2023-01"],
        "role": ["test", "validation", "training"],
        "trips": [10, 10, 10],
        "MB": [0.02, 0.02, 0.02],
        "changes": ["republished", "new schema, republished", ""],
    }
    assert list(shown)[-1] == "table"
    assert caplog.messages == [
        "2023-03: republished: 3 rows added",
        "2023-02: new schema: column x: int64 -> double",
        "2023-02: republished: 2 rows removed",
    ]


def test_clean_trips_shows_what_each_rule_rejects() -> None:
    cleaned = make_cleaned().assign(unusual=["far fewer rows", "", ""])
    assert of_cleaned(cleaned).drop(columns="table").iloc[:2].to_dict("list") == {
        "month": ["2023-03", "2023-02"],
        "role": ["test", "validation"],
        "trips": [10, 10],
        "kept": [7, 7],
        "kept %": [70.0, 70.0],
        "zone unknown": [2, 2],
        "outside month": [1, 1],
        "unusual": ["yes", ""],
    }


def test_a_usual_rule_that_rejects_nothing_is_left_out_and_an_own_one_is_not() -> None:
    cleaned = make_cleaned(kept=9, rejected=(0, 1)).assign(rejected_long_ride=0)
    assert list(of_cleaned(cleaned))[5:] == ["zone unknown", "long ride", "unusual", "table"]


def test_an_own_rule_may_have_the_name_of_a_column() -> None:
    cleaned = make_cleaned().assign(rejected_kept=1, rejected_table=2, rejected_unusual=3)
    assert list(of_cleaned(cleaned))[7:] == [
        "kept (rule)", "table (rule)", "unusual (rule)", "unusual", "table",
    ]  # fmt: skip


def test_build_features_shows_the_values_of_each_feature(caplog: pytest.LogCaptureFixture) -> None:
    summary = make_summary().assign(mean=[3.14159, float("nan")], missing_share=[0.12345, 1.0])
    with caplog.at_level(logging.INFO):
        shown = of_features(summary)
    assert caplog.messages == ["weekday: day of the week", "passenger_count: passengers"]
    assert shown.drop(columns="table").iloc[:1].to_dict("list") == {
        "feature": ["weekday"],
        "missing %": [12.3],
        "min": [0.0],
        "mean": [3.14],
        "max": [6.0],
    }
    pd.testing.assert_frame_equal(full_table(through_mage(shown)), summary)


def test_another_pipeline_s_block_shows_the_columns_that_it_names() -> None:
    full = pd.DataFrame({"input": ["a.csv"], "path": ["/tmp/a.csv"], "megabytes": [1.5]})
    shown = of_columns(full, {"megabytes": "MB", "input": "input"})
    assert list(shown) == ["MB", "input", "table"]
    pd.testing.assert_frame_equal(full_table(through_mage(shown)), full)


@pytest.mark.parametrize(
    "show", [of_months, of_cleaned, of_features, lambda table: of_columns(table, {"a": "b"})]
)
def test_a_table_with_nothing_to_do_is_shown_as_it_is(
    show: Callable[[pd.DataFrame], pd.DataFrame], folder: Path
) -> None:
    nothing = months_table.nothing_to_do("not published yet", "2023-07")
    assert show(nothing) is nothing
    assert months_of(nothing) is nothing
    assert not folder.exists()


# --- The full table -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("show", "full"), [(of_months, make_months()), (of_cleaned, make_cleaned())], ids=["load", "clean"]
)
def test_the_full_table_behind_an_output_is_the_step_s(
    show: Callable[[pd.DataFrame], pd.DataFrame], full: pd.DataFrame, folder: Path
) -> None:
    shown = through_mage(show(full.assign(source="NA", megabytes=0.1 + 0.2)))
    pd.testing.assert_frame_equal(months_of(shown), full.assign(source="NA", megabytes=0.1 + 0.2))
    assert shown["table"].str.len().eq(12).all()  # fits into one line of a cell
    assert [path.stem for path in folder.iterdir()] == shown["table"].unique().tolist()


def test_the_months_behind_the_features_are_those_with_feature_files(tmp_path: Path) -> None:
    featured = months_table.with_features(make_cleaned().assign(prepared=str(tmp_path)), [Path(__file__)] * 3)
    summary = make_summary().assign(months=str(months_table.write(featured)))
    pd.testing.assert_frame_equal(months_of(summary), featured)


def test_tables_of_other_settings_have_other_files(folder: Path) -> None:
    one, other = make_months(), make_months().assign(train_months=3)
    shown = [of_months(table) for table in (one, other, one)]
    assert len(list(folder.iterdir())) == 2
    for table, full in zip(shown, (one, other, one), strict=True):
        pd.testing.assert_frame_equal(months_of(table), full)


def test_a_table_without_a_reference_is_the_full_table() -> None:
    cleaned = make_cleaned()
    assert full_table(cleaned) is cleaned


# --- Errors -------------------------------------------------------------------------------------------------


def test_a_full_table_that_is_gone_is_made_again(folder: Path) -> None:
    shown = of_months(make_months())
    (path,) = folder.iterdir()
    path.unlink()
    with pytest.raises(DataQualityError) as refused:
        months_of(shown)
    assert str(refused.value) == (
        f"the full table behind this block's input is not in {path} (No such file or directory): it was deleted, "
        f"or belongs to another state folder. {AGAIN}"
    )


def test_a_full_table_that_has_changed_is_refused(folder: Path) -> None:
    shown = of_months(make_months())
    (path,) = folder.iterdir()
    make_months().assign(rows=11).to_parquet(path)
    with pytest.raises(DataQualityError) as refused:
        months_of(shown)
    assert str(refused.value) == f"{path}: this file has changed since a block wrote it. {AGAIN}"


@pytest.mark.parametrize(
    "names", [["../../key"] * 3, ["0123456789ab"] * 2 + ["0123456789ac"], ["0123456789AB"] * 3, [None] * 3]
)
def test_what_is_no_reference_opens_no_file(names: list[str]) -> None:
    with pytest.raises(
        DataQualityError, match="expected the same 12 hexadecimal digits in each row; got"
    ) as it:
        months_of(of_months(make_months()).assign(table=names))
    assert str(it.value).endswith(AGAIN)


@pytest.mark.parametrize("change", [lambda t: t.head(2), lambda t: t.iloc[::-1], lambda t: pd.concat([t, t])])
def test_months_that_a_block_in_between_removed_do_not_come_back(
    change: Callable[[pd.DataFrame], pd.DataFrame],
) -> None:
    with pytest.raises(DataQualityError) as refused:
        months_of(change(of_cleaned(make_cleaned())))
    assert "expected the months of the full table, ['2023-03', '2023-02', '2023-01']; got" in str(
        refused.value
    )
    assert "must read them with block_tables.months_of" in str(refused.value)
