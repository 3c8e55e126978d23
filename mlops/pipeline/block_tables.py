"""What the blocks show: a small table for people, whose last column refers to the full table on disk.

The steps return full tables, for programs. A block shows the few columns that a person asks of its step. The
column `TABLE` names the full table below the state folder, and the next block reads it there.
"""

from __future__ import annotations

import hashlib
import logging
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from mlops import config
from mlops.data import trips
from mlops.errors import DataQualityError, command
from mlops.files import atomic_write
from mlops.pipeline import months_table
from mlops.pipeline.leaderboard import BASELINE, CHAMPION, COLUMNS, EXPERIMENT, VERSION
from mlops.pipeline.months_table import REJECTED
from mlops.pipeline.run_result import RunResult
from mlops.registry import versions

TABLE = "table"  # column of the reference to the full table; the same in each row
DIGITS = 12  # of the full table's sha256, which is its name
_REFERENCE = re.compile(rf"[0-9a-f]{{{DIGITS}}}")
_AGAIN = "Run the blocks again, in order, from load_trips on."
_ERRORS = {"validation_rmse": "validation RMSE", "test_mae": "test MAE (min)", "test_p90": "test P90 (min)"}
_RESULTS = {BASELINE: "baseline", CHAMPION: "champion before"}
_LINE = 100  # characters of a printed line
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


def of_features(summary: pd.DataFrame) -> pd.DataFrame:
    """What `build_features` shows: the values of each feature. What each means is logged: it is long for a cell.

    Parameters
    ----------
    summary : DataFrame
        As `steps.build_features` returns it.

    Returns
    -------
    DataFrame, one row per feature
        ``feature``, ``missing %``, ``min``, ``mean``, ``max`` (in the feature's unit) and `TABLE`. A table with
        nothing to do is returned unchanged.
    """
    if months_table.is_nothing(summary):
        return summary
    for row in summary.to_dict("records"):
        logger.info("%s: %s", row["feature"], row["meaning"])
    shown = pd.DataFrame(
        {
            "feature": summary["feature"],
            "missing %": (100 * summary["missing_share"]).round(1),
            "min": summary["least"].round(2),
            "mean": summary["mean"].round(2),
            "max": summary["most"].round(2),
        }
    )
    return _with_reference(shown, summary)


def of_columns(full: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """What a block of another pipeline shows: these columns of its step's table, in this order, and `TABLE`.

    Parameters
    ----------
    full : DataFrame
        As the step returns it.
    titles : mapping of str to str
        For each column to show, its title for people.

    Returns
    -------
    DataFrame
        A table with nothing to do is returned unchanged.
    """
    if months_table.is_nothing(full):
        return full
    return _with_reference(full[list(titles)].rename(columns=dict(titles)), full)


def of_result(result: RunResult) -> pd.DataFrame:
    """What `train_and_register` shows: the leaderboard. Why the run ended so, and where to look, is logged.

    Returns
    -------
    DataFrame of texts, one row per model and trial
        ``entry``, ``result``, ``test RMSE (min)``; ``vs champion %``, the difference of the RMSE from that of the
        champion before (``vs baseline %``, if none was tested), less than 0 if better; other errors, in minutes;
        rounds and parameters of each trial; `TABLE`. The full table has the numbers, and the model and number of
        the version. A table with nothing to do is returned unchanged.
    """
    if result.is_nothing:
        return result.board
    _log_way_on(result)
    board = result.board
    shown = pd.DataFrame({"entry": _entries(board), "result": _results(board, result)})
    shown["test RMSE (min)"] = _texts(board["test_rmse"], ".4f")
    for title, difference in _against_rival(board).items():
        shown[title] = _texts(difference, "+.1f")
    for name, title in _ERRORS.items():
        shown[title] = _texts(board[name], ".4f")
    for name in map(str, board.drop(columns=[*COLUMNS], errors="ignore")):
        shown[name] = _texts(board[name], "g")
    return _with_reference(shown, board)


def _texts(numbers: pd.Series[float], form: str) -> list[str]:
    """Numbers as text; nothing where there is none, since Mage would show None."""
    return ["" if pd.isna(number) else format(number, form) for number in numbers]


def _entries(board: pd.DataFrame) -> list[str]:
    """Names of the rows; a version by its number, since its address takes two lines of a cell."""
    return [
        f"version {row['number']}" if row["kind"] == VERSION and row["number"] else row["entry"]
        for row in board.to_dict("records")
    ]


def _results(board: pd.DataFrame, result: RunResult) -> list[str]:
    tried = f"{result.outcome}: {result.verdict}"
    named = {**_RESULTS, VERSION: str(result.outcome), EXPERIMENT: tried}
    return [named.get(kind, "") for kind in board["kind"]]


def _against_rival(board: pd.DataFrame) -> dict[str, pd.Series[float]]:
    """The column with the difference of each test RMSE from the rival's, in percent; none without a rival."""
    for kind, short in ((CHAMPION, "champion"), (BASELINE, "baseline")):
        rivals = board.loc[board["kind"] == kind, "test_rmse"]
        if len(rivals):
            return {f"vs {short} %": 100 * (board["test_rmse"] / rivals.iloc[0] - 1)}
    return {}


def _log_way_on(result: RunResult) -> None:
    """Log the outcome, its reasons, and where a person finds the version and its card."""
    if result.version is None:  # an experiment; its stages have logged where to look
        for line in textwrap.wrap(str(result.board["about"].iloc[0]), _LINE):
            logger.info("%s", line)
        return
    version, again = result.version, " (registered by an earlier run)" if result.is_repeat else ""
    why = textwrap.wrap(result.reason, _LINE)
    for line in (
        f"{version.name}: version {version.number} is {result.outcome}{again}",
        *[f"  {line}" for line in why],
        f"look at the version, its card and its run: {versions.link(version)}",
        f"all versions: {command(f'registry --model {version.name}')}",
    ):
        logger.info("%s", line)


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
