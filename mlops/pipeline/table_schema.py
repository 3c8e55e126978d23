"""Schemas of the small tables that steps pass on, with error texts for people.

pandera checks the tables. Its own error texts are for programmers, so this module writes others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
from pandera.errors import SchemaError, SchemaErrorReason
from pandera.pandas import Check, Column, DataFrameSchema

from mlops.errors import DataQualityError

Problem = Callable[[pd.DataFrame], DataQualityError | None]
_TYPES = {"str": "text", "int64": "whole numbers", "float64": "numbers", "bool": "true or false"}

COUNT = Check.ge(0, error="whole numbers from 0")
NOT_NEGATIVE = Check.ge(0, error="numbers from 0")
SHARE = Check.in_range(0, 1, error="numbers from 0 to 1")
SHA256 = Check.str_matches("^[0-9a-f]{64}$", error="64 hexadecimal digits")
MONTH = Check.str_matches(r"^\d{4}-(0[1-9]|1[0-2])$", error="YYYY-MM")
MONTH_OR_NONE = Check.str_matches(r"^(\d{4}-(0[1-9]|1[0-2]))?$", error="YYYY-MM or nothing")
NOT_EMPTY = Check.str_length(min_value=1, error="text that is not empty")


@dataclass(frozen=True)
class TableSchema:
    """The columns that a table must have, and checks of the table as a whole.

    Parameters
    ----------
    step : str
        The step that makes the table. Error texts begin with it, and end with the advice to run it again.
    columns : mapping of str to pandera.Column
        Each with a description. Other columns are allowed: a custom block may add one.
    problems : sequence of callable
        Each takes a table with valid columns, and returns an error that says what was expected and what the table
        has, or None.
    """

    step: str
    columns: Mapping[str, Column]
    problems: Sequence[Problem] = ()

    def validate(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table, unchanged, if it is valid.

        Raises
        ------
        DataQualityError
            For the first problem found: a missing column, a type, a value, or the table as a whole.
        """
        if not isinstance(table, pd.DataFrame):
            raise self._refused(f"expected a table; got {table!r}")
        try:
            self._pandera.validate(table)
        except SchemaError as error:
            raise self._refused(_in_words(error, table)) from None
        for find in self.problems:
            problem = find(table)
            if problem:
                raise self._refused(str(problem), problem.counts)
        return table

    @cached_property
    def _pandera(self) -> DataFrameSchema:
        return DataFrameSchema(dict(self.columns), name=self.step)

    def _refused(self, problem: str, counts: Mapping[str, float] | None = None) -> DataQualityError:
        return DataQualityError(
            f"{self.step}: {problem}. Run {self.step} again, and the blocks after it.", counts=counts
        )


def _in_words(error: SchemaError, table: pd.DataFrame) -> str:
    """Text of a pandera error: what was expected of a column, and what the table has."""
    found: Any = error.failure_cases
    if error.reason_code is SchemaErrorReason.COLUMN_NOT_IN_DATAFRAME:
        column = error.schema.columns[found]
        return f"column {found!r} ({column.description}) is missing; got {list(table)}"
    column, expected = error.schema, _TYPES[str(error.schema.dtype)]
    if error.reason_code is SchemaErrorReason.SERIES_CONTAINS_DUPLICATES:
        expected = "distinct values"
    elif error.reason_code is SchemaErrorReason.DATAFRAME_CHECK:
        expected = error.check.error
    got = f"the type {found}" if isinstance(found, str) else found["failure_case"].unique()[:3].tolist()
    return f"column {column.name!r} ({column.description}): expected {expected}; got {got}"
