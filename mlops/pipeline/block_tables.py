"""What the blocks show: a small table for people, whose last column refers to the full table on disk.

The steps return full tables, for programs. A block shows the few columns that a person asks of its step. The
column `TABLE` names the full table below the state folder, and the next block reads it there.
"""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path

import pandas as pd

from mlops import config
from mlops.data import trips
from mlops.errors import DataQualityError
from mlops.files import atomic_write
from mlops.pipeline import months_table
from mlops.pipeline.months_table import REJECTED

TABLE = "table"  # column of the reference to the full table; the same in each row
DIGITS = 12  # of the full table's sha256, which is its name
_REFERENCE = re.compile(rf"[0-9a-f]{{{DIGITS}}}")
_AGAIN = "Run the blocks again, in order, from load_trips on."
_SHORT = {"drift": "new schema", "republished": "republished"}
logger = logging.getLogger(__name__)


# --- What each block shows ----------------------------------------------------------------------------------


def of_months(months: pd.DataFrame) -> pd.DataFrame:
    """What `load_trips` shows: each month's role, trips, size and changes. What has changed is logged.

    Parameters
    ----------
    months : DataFrame
        As `steps.load_trips` returns it.

    Returns
    -------
    DataFrame, one row per month
        ``month``, ``role``, ``trips``, ``MB`` (10^6 bytes), ``changes`` (empty if there are none) and `TABLE`.
        A table with nothing to do is returned unchanged.
    """
    if months_table.is_nothing(months):
        return months
    for row in months.to_dict("records"):
        for name, short in _SHORT.items():
            if row[name]:
                logger.info("%s: %s: %s", row["month"], short, row[name])
    changes = [
        ", ".join(short for name, short in _SHORT.items() if row[name]) for row in months.to_dict("records")
    ]
    shown = pd.DataFrame(
        {
            "month": months["month"],
            "role": months["role"],
            "trips": months["rows"],
            "MB": months["megabytes"],
            "changes": changes,
        }
    )
    return _with_reference(shown, months)


def of_cleaned(cleaned: pd.DataFrame) -> pd.DataFrame:
    """What `clean_trips` shows: each month's trips that are kept, and those that each rule rejects.

    Parameters
    ----------
    cleaned : DataFrame
        As `steps.clean_trips` returns it.

    Returns
    -------
    DataFrame, one row per month
        ``month``, ``role``, ``trips``, ``kept``, ``kept %``; a column for each rule that rejects a trip or is not
        one of `trips.RULES`, with the number of trips, the greatest first; ``unusual`` (yes, or empty; the log
        says what), and `TABLE`. A table with nothing to do is returned unchanged.
    """
    if months_table.is_nothing(cleaned):
        return cleaned
    shown = pd.DataFrame(
        {
            "month": cleaned["month"],
            "role": cleaned["role"],
            "trips": cleaned["rows"],
            "kept": cleaned["kept"],
            "kept %": (100 * cleaned["kept"] / cleaned["rows"]).round(1),
        }
    )
    for column, short in _rules_shown(cleaned).items():
        shown[short if short not in {*shown, "unusual", TABLE} else f"{short} (rule)"] = cleaned[column]
    shown["unusual"] = ["yes" if note else "" for note in cleaned["unusual"]]
    return _with_reference(shown, cleaned)


def _rules_shown(cleaned: pd.DataFrame) -> dict[str, str]:
    """Columns of the rules that are worth a look, with short names for people."""
    usual = {f"{REJECTED}{rule.name}" for rule in trips.RULES}
    counts = [name for name in map(str, cleaned) if name.startswith(REJECTED)]
    return {
        name: name.removeprefix(REJECTED).replace("_", " ")
        for name in counts
        if name not in usual or cleaned[name].any()
    }


# --- The full table -----------------------------------------------------------------------------------------


def months_of(table: pd.DataFrame) -> pd.DataFrame:
    """The full months table behind what `load_trips`, `clean_trips` or `build_features` shows.

    Parameters
    ----------
    table : DataFrame
        The output of one of these blocks. A table without the column `TABLE`, such as one with nothing to do, is
        returned unchanged.

    Returns
    -------
    DataFrame
        As the step returned it; after `build_features`, the months with their feature files.

    Raises
    ------
    DataQualityError
        As `full_table`.
    """
    full = full_table(table)
    return months_table.read(full) if "feature" in full else full


def full_table(table: pd.DataFrame) -> pd.DataFrame:
    """The full table behind what a block shows; a table without the column `TABLE` is returned unchanged.

    Raises
    ------
    DataQualityError
        When the column does not hold one reference, the file is missing or has changed, or a block in between has
        changed the months.
    """
    if not isinstance(table, pd.DataFrame) or TABLE not in table:
        return table
    path = _path(_reference(table))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataQualityError(
            f"the full table behind this block's input is not in {path} ({error.strerror}): it was deleted, or "
            f"belongs to another state folder. {_AGAIN}"
        ) from error
    if not hashlib.sha256(content).hexdigest().startswith(path.stem):
        raise DataQualityError(f"{path}: this file has changed since a block wrote it. {_AGAIN}")
    full = pd.read_parquet(path)
    _require_same_months(table, full)
    return full


def _reference(table: pd.DataFrame) -> str:
    names = [str(name) for name in table[TABLE].unique()]
    if len(names) != 1 or not _REFERENCE.fullmatch(names[0]):
        raise DataQualityError(
            f"column {TABLE!r} (reference to the full table): expected the same {DIGITS} hexadecimal digits in "
            f"each row; got {names[:3]}. {_AGAIN}"
        )
    return names[0]


def _require_same_months(table: pd.DataFrame, full: pd.DataFrame) -> None:
    """Raise if a block in between has added or removed months, which the full table would not show."""
    if "month" not in table or "month" not in full:
        return
    shown, expected = table["month"].tolist(), full["month"].tolist()
    if shown != expected:
        raise DataQualityError(
            f"expected the months of the full table, {expected}; got {shown}. A block that changes months must "
            "read them with block_tables.months_of and return them with block_tables.of_months or of_cleaned."
        )


def _with_reference(shown: pd.DataFrame, full: pd.DataFrame) -> pd.DataFrame:
    """The shown table with a reference to the full one, which is written below the state folder."""
    content: bytes = full.to_parquet()
    reference = hashlib.sha256(content).hexdigest()[:DIGITS]
    with atomic_write(_path(reference)) as passing:
        passing.write_bytes(content)
    return shown.assign(**{TABLE: reference})


def _path(reference: str) -> Path:
    return config.state().prepared / "tables" / f"{reference}.parquet"
