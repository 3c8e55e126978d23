"""Which column of a file is which request column, by its own name or TLC's.

Upper and lower case are the same in a column's name, because TLC's files differ in it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from mlops.data.raw_trips import TLC_COLUMNS, is_number
from mlops.errors import TripSchemaError
from mlops.model.request_columns import REQUEST_COLUMNS

DROPOFF_AT = "dropoff_at"  # a labelled file has it
OPTIONAL = ("distance_miles", "passenger_count", DROPOFF_AT)
COLUMNS = (*REQUEST_COLUMNS, DROPOFF_AT)


@dataclass(frozen=True)
class FileColumns:
    """The columns of a file that are read.

    Parameters
    ----------
    names : dict of str to str
        Column of `COLUMNS` -> column as the file spells it; without the optional ones that the file does not have.
    is_wall_clock : bool
        Whether the times have TLC's names. TLC's times are New York's wall clock, also where a file claims a time
        zone.
    """

    names: dict[str, str]
    is_wall_clock: bool

    @property
    def is_labelled(self) -> bool:
        """Whether the file says when each trip ended."""
        return DROPOFF_AT in self.names


def find_columns(names: Sequence[str], label: object) -> FileColumns:
    """The columns to read of a file with these columns; `label` names the file in messages.

    Raises
    ------
    TripSchemaError
        When a needed column is missing, or there are two of a kind.
    """
    found = {column: _find(names, column, label) for column in COLUMNS}
    missing = [column for column, name in found.items() if name is None and column not in OPTIONAL]
    if missing:
        noun = "column" if len(missing) == 1 else "columns"
        raise TripSchemaError(
            f"{label}: {noun} {', '.join(map(repr, missing))} missing; expected {list(REQUEST_COLUMNS)}, of which "
            f"{' and '.join(OPTIONAL[:2])} may be missing, or TLC's names for them; got {list(names)}. Rename the "
            "columns; in a CSV file, separate them by commas.",
            columns=missing,
        )
    known = {column: name for column, name in found.items() if name is not None}
    return FileColumns(known, known["pickup_at"].lower() != "pickup_at")


def require_types(schema: pa.Schema, columns: FileColumns, label: object) -> None:
    """Raise `TripSchemaError` unless each column has a type that may hold its values."""
    for column, name in columns.names.items():
        kind = schema.field(name).type
        is_time = column.endswith("_at")
        values = kind.value_type if pa.types.is_dictionary(kind) else kind
        fits = _holds_times(values) if is_time else is_number(values)
        if not (fits or _is_text(values) or pa.types.is_null(values)):
            expected = "times, dates or text" if is_time else "numbers or text"
            raise TripSchemaError(
                f"{label}: column {name!r} is of type {kind}; expected {expected}. Write the file again with such "
                "a column.",
                columns=[name],
            )


def _find(names: Sequence[str], column: str, label: object) -> str | None:
    """Name of a column in the file: its own name, else TLC's."""
    tlc = {of_service.get(column, column).lower() for of_service in TLC_COLUMNS.values()}
    own = [name for name in names if name.lower() == column]
    matching = own or [name for name in names if name.lower() in tlc]
    if len(matching) > 1:
        raise TripSchemaError(
            f"{label}: column {column!r} expected once; got {len(matching)}: {', '.join(map(repr, matching))}. "
            "Write the file again with the right one only.",
            columns=matching,
        )
    return matching[0] if matching else None


def _holds_times(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
