"""The months table, one row per month, newest first: its columns, and its schema after each step.

`COLUMNS` is the only list of its columns. It defines what the steps and the blocks' `@test` functions validate,
which columns are passed on and logged, and which are compared with the settings to detect a stale table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from pandera.pandas import Check, Column

from mlops import files
from mlops.config import Settings
from mlops.data import ingest, schemas, split
from mlops.data.trips import Quality
from mlops.errors import ConfigError, DataQualityError
from mlops.month import Month
from mlops.pipeline.table_schema import (
    COUNT,
    MONTH,
    MONTH_OR_NONE,
    NOT_EMPTY,
    NOT_NEGATIVE,
    SHA256,
    SHARE,
    TableSchema,
)

LOAD, CLEAN, FEATURES = STEPS = ("load_trips", "clean_trips", "build_features")
ROLES = ("training", "validation", "test")
NOTHING_TO_DO = "nothing_to_do"  # column of the table that replaces the months table without work
REJECTED = "rejected_"  # prefix of the columns that count the rejections of a rule


def _column(added_by: str, kind: str, description: str, *checks: Check, **options: Any) -> Column:
    """A column. Options: the metadata ``selects``, ``logged`` and ``handed_on``, and those of pandera."""
    about = {"added_by": added_by, "selects": False, "logged": True, "handed_on": True}
    metadata = about | {name: options.pop(name) for name in about if name in options}
    return Column(kind, list(checks), description=description, metadata=metadata, **options)


_load, _clean, _features = (partial(_column, step) for step in STEPS)
COLUMNS: dict[str, Column] = {
    "month": _load("str", "calendar month of the file, YYYY-MM", MONTH),
    "role": _load("str", "use of the month in the run", Check.isin(ROLES, error=" or ".join(ROLES))),
    "rows": _load("int64", "trips in the file as published", COUNT),
    "kept": _clean("int64", "trips that no rule rejects: the training trips", COUNT),
    "test_rows": _clean("int64", "trips for test metrics: only training rules may reject them", COUNT),
    rf"^{REJECTED}.+$": _clean("int64", "trips that this rule rejects", COUNT, regex=True, required=False),
    "unusual": _clean("str", "differences from the months before, for people; empty if there are none"),
    "megabytes": _load("float64", "size of the file, 10^6 bytes", NOT_NEGATIVE,
                       handed_on=False),
    "sample": _load("bool", "whether the trips are synthetic"),
    "drift": _load("str", "changes of the file's schema since the month before, for people"),
    "republished": _load("str", "changes since the month was first published, for people"),
    "sha256": _load("str", "sha256 of the file as published", SHA256),
    "url": _load("str", "where the file came from", NOT_EMPTY),
    "prepared": _load("str", "folder for the files that the run makes from it", NOT_EMPTY, logged=False),
    "service": _load("str", "taxi service", NOT_EMPTY, selects=True),
    "source": _load("str", "source of the months, from the settings", NOT_EMPTY, selects=True),
    "train_months": _load("int64", "most training months, from the settings", COUNT, selects=True),
    "test_month": _load("str", "test month, from the settings, YYYY-MM", MONTH, selects=True),
    "usual_rules": _clean("bool", "whether the rules are `trips.RULES`"),
    "rules_sha256": _clean("str", "`run_key.rules_sha256` of the cleaning rules", SHA256),
    "rules": _clean("str", "texts of the rules, from `rule_texts.to_json`; empty for the usual rules",
                    logged=False),
    "raw": _clean("str", "path of the file as published", NOT_EMPTY, logged=False),
    "path": _load("str", "path of the trips: as published, and clean after clean_trips", NOT_EMPTY,
                  logged=False),
    "clean_sha256": _clean("str", "sha256 of the clean trips' file", SHA256, logged=False),
    "features": _features("str", "path of the feature file", NOT_EMPTY, logged=False),
    "features_sha256": _features("str", "sha256 of the feature file", SHA256, logged=False),
}  # fmt: skip
"""Every column, in the order in which `clean_trips` shows them.

``metadata``: ``added_by`` (the step), ``selects`` (a setting that chose the months; later steps refuse another
value), ``logged`` (written to the run's ``months.csv``), ``handed_on`` (false: `clean_trips` drops the column).
"""


def _names(**about: bool) -> tuple[str, ...]:
    """Columns with this metadata."""
    return tuple(name for name, column in COLUMNS.items() if about.items() <= column.metadata.items())


SELECTION_FIELDS = _names(selects=True)
NOT_LOGGED = _names(logged=False)


# --- Checks of the table as a whole -------------------------------------------------------------------------


def _not_a_run(months: pd.DataFrame) -> DataQualityError | None:
    roles = {str(role): int(count) for role, count in months["role"].value_counts().items()}
    if roles.get("validation") == 1 == roles.get("test") and roles.get("training", 0) >= 1:
        return None
    return DataQualityError(f"expected training months, one validation and one test month; got {roles}")


def _not_months_with_trips(months: pd.DataFrame) -> DataQualityError | None:
    empty, names = months.loc[months["rows"] < 1, "month"].tolist(), months["month"].tolist()
    if not empty and len(set(names)) == len(names):
        return None
    return DataQualityError(f"expected distinct months with trips; got empty {empty}, months {names}")


def _not_in_order(months: pd.DataFrame) -> DataQualityError | None:
    roles = dict(sorted(zip(months["month"], months["role"], strict=True)))
    if pd.Series(map(ROLES.index, roles.values())).is_monotonic_increasing:
        return None
    return DataQualityError(
        f"expected training months, then the validation month, then the test month; got {roles}"
    )


def _files_gone(months: pd.DataFrame) -> DataQualityError | None:
    gone = [path for path in months["path"] if not Path(path).is_file()]
    return DataQualityError(f"expected a file for each month; missing: {gone}") if gone else None


def _rows_lost(months: pd.DataFrame) -> DataQualityError | None:
    rejected = months[[name for name in months if str(name).startswith(REJECTED)]].sum(axis=1)
    lost = months["rows"] - months["kept"] - rejected
    counts = dict(zip(months["month"], lost.tolist(), strict=True))
    problem = f"expected kept + rejected = rows; rows lost: {counts}"
    return DataQualityError(problem, counts=counts) if lost.any() else None


def _features_empty(summary: pd.DataFrame) -> DataQualityError | None:
    # fhvhv files have no passenger counts, so only this feature may be missing in all rows.
    absent = (summary["missing_share"] == 1) & (summary["feature"] != "passenger_count")
    empty = summary.loc[(summary["rows"] < 1) | absent, "feature"].tolist()
    return DataQualityError(f"features without values: {empty}") if empty else None


def _not_one_row(table: pd.DataFrame) -> DataQualityError | None:
    return None if len(table) == 1 else DataQualityError(f"expected one row; got {len(table)}")


# --- The tables ---------------------------------------------------------------------------------------------


def _columns_after(step: str) -> dict[str, Column]:
    before = STEPS[: STEPS.index(step) + 1]
    held = {name: column for name, column in COLUMNS.items() if column.metadata["added_by"] in before}
    return {name: column for name, column in held.items() if step == LOAD or column.metadata["handed_on"]}


_ALWAYS = (_not_a_run, _not_months_with_trips, _not_in_order)
SCHEMAS = {
    LOAD: TableSchema(LOAD, _columns_after(LOAD), (*_ALWAYS, _files_gone)),
    CLEAN: TableSchema(CLEAN, _columns_after(CLEAN), (*_ALWAYS, _rows_lost)),
    FEATURES: TableSchema(FEATURES, _columns_after(FEATURES), (*_ALWAYS, _rows_lost)),
}
"""The months table after each step."""

SUMMARY = TableSchema(
    FEATURES,
    {
        "feature": _features("str", "name of the feature", NOT_EMPTY, unique=True),
        "meaning": _features("str", "its meaning, with its unit", NOT_EMPTY),
        "rows": _features("int64", "trips of all months", COUNT),
        "missing_share": _features("float64", "share of the rows without a value, 0 to 1", SHARE),
        "least": _features("float64", "its least value, in its unit", nullable=True),
        "mean": _features("float64", "mean of its values, in its unit", nullable=True),
        "most": _features("float64", "its greatest value, in its unit", nullable=True),
        "months": _features("str", "path of the months table, a CSV; the same in each row", NOT_EMPTY),
    },
    (_features_empty,),
)
"""The table that `build_features` returns: one row per feature."""

NOTHING = TableSchema(
    LOAD,
    {
        NOTHING_TO_DO: _load("str", "why there is nothing to do", NOT_EMPTY),
        "month": _load("str", "the month that is waited for, YYYY-MM, if any", MONTH_OR_NONE),
    },
    (_not_one_row,),
)
"""The table that replaces the table of any step if there is nothing to do."""


def validate(table: pd.DataFrame, step: str) -> pd.DataFrame:
    """The months table, unchanged, if it is valid after `step`. Also accepts a table with nothing to do.

    Raises
    ------
    DataQualityError
        With what was expected and what the table has; ``counts`` are the rows lost by month, if any.
    """
    return _schema_of(table, SCHEMAS[step]).validate(table)


def _schema_of(table: pd.DataFrame, usual: TableSchema) -> TableSchema:
    return NOTHING if isinstance(table, pd.DataFrame) and is_nothing(table) else usual


# --- Checks that the blocks' `@test` functions call ---------------------------------------------------------


def check_months(months: pd.DataFrame) -> None:
    """Raise unless the months form a valid run: training, validation and test months, none of them empty.

    Raises
    ------
    DataQualityError
    """
    validate(months, LOAD)


def check_cleaned(months: pd.DataFrame) -> None:
    """Raise unless every row of every month is kept or rejected by a rule, and the clean trips have their schema.

    Raises
    ------
    DataQualityError, TripSchemaError
    """
    validate(months, CLEAN)
    for path in [] if is_nothing(months) else months["path"]:
        schemas.check_trips(Path(path))


def check_features(summary: pd.DataFrame) -> None:
    """Raise unless the table has the schema `SUMMARY`, and every feature has rows with values.

    Raises
    ------
    DataQualityError
    """
    _schema_of(summary, SUMMARY).validate(summary)


# --- Making, writing and reading the table ------------------------------------------------------------------


def is_nothing(table: pd.DataFrame) -> bool:
    """Whether a step's table says that there is nothing to do."""
    return NOTHING_TO_DO in table


def nothing_to_do(reason: str, month: str = "") -> pd.DataFrame:
    """The table of a step with nothing to do: the reason, and the month that is waited for."""
    return pd.DataFrame({NOTHING_TO_DO: [reason], "month": [month]})


def with_cleaning(
    months: pd.DataFrame,
    counted: Mapping[Month, Quality],
    paths: Mapping[Month, Path],
    notes: Mapping[Month, str],
    rules_sha256: str,
    rules: str,
) -> pd.DataFrame:
    """The months with counts, files and hashes of the clean trips; rules that reject most come first.

    Parameters
    ----------
    months : DataFrame
        As `load_trips` returns it; not changed.
    counted, paths, notes : mapping
        By month: the counts, the file of clean trips, and the unusual differences.
    rules_sha256, rules : str
        Hash of the rules, and their texts; no text for the usual rules.
    """
    table = months.assign(raw=months["path"])
    by_row = [Month.parse(month) for month in months["month"]]
    for rule in counted[by_row[0]].rejected:
        table[f"{REJECTED}{rule}"] = [counted[month].rejected[rule] for month in by_row]
    table = table.assign(
        kept=[counted[month].kept for month in by_row],
        test_rows=[counted[month].test_rows for month in by_row],
        unusual=[notes.get(month, "") for month in by_row],
        usual_rules=not rules,
        rules_sha256=rules_sha256,
        rules=rules,
        path=[str(paths[month]) for month in by_row],
        clean_sha256=[files.sha256_of(paths[month]) for month in by_row],
    )
    counts = sorted(
        (name for name in map(str, table) if name.startswith(REJECTED)), key=lambda n: -table[n].sum()
    )
    order = [each for name in SCHEMAS[CLEAN].columns for each in (counts if REJECTED in name else [name])]
    return table[order].reset_index(drop=True)


def with_features(cleaned: pd.DataFrame, paths: Sequence[Path]) -> pd.DataFrame:
    """The cleaned months with the feature file of each."""
    digests = [files.sha256_of(path) for path in paths]
    return cleaned.assign(features=[str(path) for path in paths], features_sha256=digests)


def write(months: pd.DataFrame) -> Path:
    """Write the months table after `build_features` as CSV, and return its path, which contains its hash."""
    text = validate(months, FEATURES).to_csv(index=False)
    first = months.iloc[0]
    name = f"{first['service']}_{first['test_month']}_{hashlib.sha256(text.encode()).hexdigest()[:12]}.csv"
    target = Path(first["prepared"]) / name
    with files.atomic_write(target) as passing:
        passing.write_text(text, encoding="utf-8")
    return target


def read(summary: pd.DataFrame) -> pd.DataFrame:
    """The months table that `build_features` wrote, from the path in its summary.

    Raises
    ------
    DataQualityError
        When the file is missing, or does not have the schema.
    """
    check_features(summary)
    path = Path(summary["months"].iloc[0])
    texts: dict[Hashable, type[str]] = {
        name: str for name, column in COLUMNS.items() if str(column.dtype) == "str"
    }
    try:
        return validate(pd.read_csv(path, keep_default_na=False, dtype=texts), FEATURES)
    except (OSError, ValueError) as error:  # missing, or not a CSV with these columns
        raise DataQualityError(
            f"{FEATURES}: expected the months table in {path}; it cannot be read ({error}). "
            "Run build_features again, and the blocks after it."
        ) from error


def settings_of(months: pd.DataFrame, settings: Settings) -> Settings:
    """The settings of the run that a table belongs to; ``month=next`` is replaced by the table's test month.

    Raises
    ------
    ConfigError
        When the table was made for other settings. This can happen in the editor, where blocks run one by one.
    """
    named = settings.for_month(str(months["test_month"].iloc[0])) if settings.is_next else settings
    now = ingest.selection(named)
    for name in SELECTION_FIELDS:
        then = months[name].iloc[0]
        if str(then) != str(now[name]):
            raise ConfigError(
                f"{name}: the table of the block before was made from months loaded for {then}, the settings "
                f"now say {now[name]}. Run the blocks before this one again, in order, from load_trips on."
            )
    return named


def prepared_path(row: Mapping[Any, Any], step: str, rules_sha256: str) -> Path:
    """File that a step makes from a month. The hashes of file and rules keep republished months separate."""
    name = f"{row['service']}_{row['month']}_{row['sha256'][:12]}_{rules_sha256[:6]}.parquet"
    return Path(row["prepared"]) / step / name


def split_of(months: pd.DataFrame) -> split.Split:
    """The split that a table of months describes by its roles."""
    by_role = {role: sorted(Month.parse(m) for m in part["month"]) for role, part in months.groupby("role")}
    return split.Split(tuple(by_role["training"]), by_role["validation"][0], by_role["test"][0])
