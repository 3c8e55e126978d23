"""A step's table is refused if it lacks what the next step needs; the message says what to do next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.step_tables import FILE, RULES, make_cleaned, make_months, make_summary, through_mage

from mlops.config import Settings
from mlops.data import ingest
from mlops.errors import DataQualityError
from mlops.pipeline import months_table
from mlops.pipeline.months_table import COLUMNS, SCHEMAS, STEPS, SUMMARY, nothing_to_do, validate


@pytest.fixture
def months() -> pd.DataFrame:
    return make_months()


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "load_trips": make_months,
    "clean_trips": make_cleaned,
    "build_features": lambda: months_table.with_features(make_cleaned(), [FILE] * 3),
}


# --- One definition -----------------------------------------------------------------------------------------


def test_every_column_has_a_description_and_the_step_that_adds_it() -> None:
    for name, column in {**COLUMNS, **SUMMARY.columns, **months_table.NOTHING.columns}.items():
        assert column.description, name
        assert column.metadata["added_by"] in STEPS, name
    assert [column.metadata["added_by"] for column in COLUMNS.values()].count("build_features") == 2


@pytest.mark.parametrize("step", STEPS)
def test_the_steps_add_what_the_schema_says_and_no_other_column(step: str) -> None:
    listed = [name for name in SCHEMAS[step].columns if "rejected" not in name]
    assert sorted(listed) == sorted(name for name in TABLES[step]() if not name.startswith("rejected_"))


def test_the_settings_that_chose_the_months_are_those_that_later_steps_check() -> None:
    assert set(months_table.SELECTION_FIELDS) == set(ingest.selection(Settings()))


def test_paths_their_contents_and_the_texts_of_rules_are_not_logged() -> None:
    assert set(months_table.NOT_LOGGED) == {
        "path", "raw", "features", "prepared", "clean_sha256", "features_sha256", "rules",
    }  # fmt: skip


def test_what_changes_nothing_but_the_editor_s_view_comes_first() -> None:
    cleaned = make_cleaned(rejected=(1, 2))
    assert list(cleaned)[:7] == [
        "month", "role", "rows", "kept", "test_rows", "rejected_zone_unknown", "rejected_outside_month",
    ]  # fmt: skip
    assert "megabytes" not in cleaned


# --- Validation ---------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=15)
@given(
    training=st.integers(1, 4),
    kept=st.integers(0, 10**9),
    rejected=st.tuples(st.integers(0, 10**6), st.integers(1, 10**6)),
    words=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_a_valid_table_is_valid_after_mage_has_kept_it(
    training: int, kept: int, rejected: tuple[int, int], words: str
) -> None:
    loaded = make_months(training=training).assign(drift=words, republished=words)
    cleaned = make_cleaned(training=training, kept=kept, rejected=rejected).assign(unusual=words)
    for table, step in ((loaded, "load_trips"), (cleaned, "clean_trips")):
        kept_by_mage = through_mage(table)
        assert validate(kept_by_mage, step) is kept_by_mage
        pd.testing.assert_frame_equal(kept_by_mage, table)


def put(column: str, value: object, row: int = 0) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def changed(table: pd.DataFrame) -> pd.DataFrame:
        copy = table.astype({column: object}) if value is None else table.copy()
        copy.loc[row, column] = value
        return copy

    return changed


def drop(name: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: table.drop(columns=name)


def swap_roles(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(role=["training", "validation", "test"])


CORRUPTIONS: list[tuple[str, Callable[[pd.DataFrame], pd.DataFrame], str]] = [
    (step, put(column, value, row), reported)
    for step in STEPS
    for column, value, row, reported in [
        ("role", "tset", 1, r"column 'role' .*: expected training or validation or test; got \['tset'\]"),
        ("role", "training", 0, "expected training months, one validation and one test month; got {'tr"),
        ("role", "test", 1, "expected training months, one validation and one test month; got {'te"),
        ("rows", -1, 2, r"column 'rows' .*: expected whole numbers from 0; got \[-1\]"),
        ("rows", 0, 2, r"expected distinct months with trips; got empty \['2023-01'\]"),
        (
            "month",
            "2023-02",
            0,
            r"expected distinct months with trips; got empty \[\], months \['2023-02', '2",
        ),
        ("month", "2023-13", 0, r"column 'month' .*: expected YYYY-MM; got \['2023-13'\]"),
        ("sha256", "AB" * 32, 0, "column 'sha256' .*: expected 64 hexadecimal digits"),
        ("url", "", 0, "column 'url' .*: expected text that is not empty"),
        ("drift", None, 0, r"column 'drift' .*: expected text; got \[None\]"),
    ]
]
CORRUPTIONS += [
    (step, swap_roles, "expected training months, then the validation month, then the test month")
    for step in STEPS
]
CORRUPTIONS += [(step, lambda table: table.head(2), "expected training months") for step in STEPS]
CORRUPTIONS += [
    (step, lambda table: table.astype({"rows": float}), "'rows' .* whole numbers; got the type float64")
    for step in STEPS
]
CORRUPTIONS += [
    ("load_trips", put("path", "/gone.parquet"), r"expected a file for each month; missing: \['/gone.parquet'\]"),
    ("load_trips", put("megabytes", -0.5), "column 'megabytes' .*: expected numbers from 0"),
    ("load_trips", lambda table: table.astype({"sample": str}), "'sample' .* expected true or false"),
] + [
    (step, spoil, reported)
    for step in STEPS[1:]
    for spoil, reported in [
        (put("kept", -1), r"column 'kept' .*: expected whole numbers from 0; got \[-1\]"),
        (put("rejected_zone_unknown", -1), r"column 'rejected_zone_unknown' .*: expected whole numbers from 0"),
        (put("kept", 6, 1), r"expected kept \+ rejected = rows; rows lost: {'2023-03': 0, '2023-02': 1"),
        (put("rules_sha256", "ab"), "column 'rules_sha256' .*: expected 64 hexadecimal digits"),
        (drop("rejected_zone_unknown"), r"rows lost: {'2023-03': 2, '2023-02': 2, '2023-01': 2}"),
    ]
]  # fmt: skip


@pytest.mark.parametrize(("step", "spoil", "reported"), CORRUPTIONS)
def test_a_spoilt_table_is_refused_with_what_to_do_next(
    step: str, spoil: Callable[[pd.DataFrame], pd.DataFrame], reported: str
) -> None:
    table = through_mage(TABLES[step]())
    validate(table, step)
    with pytest.raises(DataQualityError, match=reported) as caught:
        validate(spoil(table), step)
    assert_for_a_person(caught.value, step)


@pytest.mark.parametrize(
    ("step", "name"),
    [(step, name) for step in STEPS for name in SCHEMAS[step].columns if "rejected" not in name],
)
def test_a_missing_column_is_named_with_what_it_is(step: str, name: str) -> None:
    with pytest.raises(DataQualityError, match=rf"column '{name}' \(.+\) is missing; got \[") as caught:
        validate(drop(name)(TABLES[step]()), step)
    assert COLUMNS[name].description in str(caught.value)
    assert_for_a_person(caught.value, step)


def assert_for_a_person(error: DataQualityError, step: str) -> None:
    """The message names the place and what to do next; it has no text of pandera."""
    text = str(error)
    assert text.startswith(f"{step}: ")
    assert text.endswith(f". Run {step} again, and the blocks after it.")
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    for technical in ("failure", "Check", "validator", "Schema", "dataframe", "dtype", "\n"):
        assert technical not in text


@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_a_lost_trip_is_found_wherever_it_is_lost(data: st.DataObject) -> None:
    table = through_mage(make_cleaned(training=3, kept=50, rejected=(20, 30)))
    counted = st.sampled_from(["kept", *(f"rejected_{rule}" for rule in RULES)])
    column, row, lost = data.draw(counted), data.draw(st.integers(0, 4)), data.draw(st.integers(1, 20))
    table.loc[row, column] -= lost
    with pytest.raises(DataQualityError, match=r"expected kept \+ rejected = rows") as caught:
        validate(table, "clean_trips")
    assert {month: count for month, count in caught.value.counts.items() if count} == {
        table["month"][row]: lost
    }


def test_an_extra_column_of_a_user_s_block_is_allowed(months: pd.DataFrame) -> None:
    validate(months.assign(weather="rain"), "load_trips")


@pytest.mark.parametrize("step", STEPS)
def test_a_table_with_nothing_to_do_is_valid_in_every_step_s_place(step: str) -> None:
    table = through_mage(nothing_to_do("green 2023-07 is not published yet", "2023-07"))
    assert validate(table, step) is table
    months_table.check_features(table)


@pytest.mark.parametrize(
    ("table", "reported"),
    [
        (nothing_to_do("", "2023-07"), "column 'nothing_to_do' .*: expected text that is not empty"),
        (nothing_to_do("later", "July"), "column 'month' .*: expected YYYY-MM or nothing"),
        (pd.concat([nothing_to_do("a"), nothing_to_do("b")]), "expected one row; got 2"),
    ],
)
def test_nothing_to_do_says_why_in_one_row(table: pd.DataFrame, reported: str) -> None:
    with pytest.raises(DataQualityError, match=reported):
        validate(table, "load_trips")


def test_a_block_that_was_not_run_has_no_table() -> None:
    not_a_table: Any = None
    with pytest.raises(
        DataQualityError, match=r"load_trips: expected a table; got None. Run load_trips again"
    ):
        validate(not_a_table, "load_trips")


# --- The blocks' checks -------------------------------------------------------------------------------------


def test_months_that_form_a_valid_run_pass(months: pd.DataFrame) -> None:
    months_table.check_months(months)


def test_a_run_needs_a_training_month(months: pd.DataFrame) -> None:
    with pytest.raises(DataQualityError, match="expected training months, one validation and one test month"):
        months_table.check_months(months[months["role"] != "training"])


@pytest.mark.parametrize(
    ("column", "value", "reported"),
    [
        ("rows", 0, r"got empty \['2023-03'\]"),
        ("path", "/nowhere.parquet", r"expected a file for each month; missing: \['/nowhere.parquet'\]"),
        ("month", "2023-02", "expected distinct months"),
    ],
)
def test_an_invalid_month_is_refused(months: pd.DataFrame, column: str, value: object, reported: str) -> None:
    months.loc[0, column] = value
    with pytest.raises(DataQualityError, match=reported):
        months_table.check_months(months)


def test_lost_rows_are_counted_by_month() -> None:
    cleaned = make_cleaned(kept=8, rejected=(2, 0)).assign(kept=[8, 8, 7])
    with pytest.raises(DataQualityError, match=r"expected kept \+ rejected = rows") as caught:
        months_table.check_cleaned(cleaned)
    assert caught.value.counts == {"2023-03": 0, "2023-02": 0, "2023-01": 1}


def test_only_passengers_may_be_missing_throughout() -> None:
    summary = make_summary()
    months_table.check_features(summary)
    with pytest.raises(DataQualityError, match=r"features without values: \['weekday'\]"):
        months_table.check_features(summary.assign(missing_share=1.0))
    with pytest.raises(DataQualityError, match=r"features without values: \['weekday', 'passenger_count'\]"):
        months_table.check_features(summary.assign(rows=0))


@pytest.mark.parametrize(
    ("spoil", "reported"),
    [
        (put("missing_share", 1.5), "column 'missing_share' .*: expected numbers from 0 to 1"),
        (
            put("feature", "passenger_count"),
            r"column 'feature' .*: expected distinct values; got \['passenger_",
        ),
        (put("rows", -5), "column 'rows' .*: expected whole numbers from 0"),
        (drop("months"), r"column 'months' \(path of the months table"),
    ],
)
def test_features_are_described_in_full(spoil: Callable[[pd.DataFrame], pd.DataFrame], reported: str) -> None:
    months_table.check_features(through_mage(make_summary()))
    with pytest.raises(DataQualityError, match=reported) as caught:
        months_table.check_features(spoil(make_summary()))
    assert_for_a_person(caught.value, "build_features")


# --- In a file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["sample", "2023", "007", "NA", "1e3", "True"])
def test_the_table_in_its_file_is_the_table(source: str, tmp_path: Path) -> None:
    cleaned = make_cleaned().assign(source=source, prepared=str(tmp_path), sha256="1" * 64)
    table = months_table.with_features(cleaned, [FILE] * 3)
    path = months_table.write(table)
    assert path.parent == tmp_path
    assert path.name.startswith("green_2023-03_")
    pd.testing.assert_frame_equal(months_table.read(make_summary().assign(months=str(path))), table)


def test_a_table_whose_file_is_gone_or_spoilt_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "months.csv"
    for text, reported in (
        (None, "it cannot be read"),
        ("", "it cannot be read"),
        ("month\n", "is missing; got"),
    ):
        if text is not None:
            path.write_text(text)
        with pytest.raises(DataQualityError, match=reported) as caught:
            months_table.read(make_summary().assign(months=str(path)))
        assert str(caught.value).endswith("Run build_features again, and the blocks after it.")
