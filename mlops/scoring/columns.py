"""Which column of a file is which request column, by its own name or TLC's.

Upper and lower case are the same in a column's name, because TLC's files differ in it too. Spaces around it do not
count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from mlops.data.raw_trips import TLC_COLUMNS, is_number
from mlops.errors import TripSchemaError, one_line
from mlops.model.request_columns import CITY, REQUEST_COLUMNS
from mlops.scoring import values

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
    service : str
        Service whose files have times of this name; empty where the time has this project's own name.
    """

    names: dict[str, str]
    service: str

    @property
    def is_wall_clock(self) -> bool:
        """Whether times are New York's wall clock, also where a file claims a time zone: TLC's are."""
        return bool(self.service)

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
    pickup_at = known["pickup_at"].strip().lower()
    services = (name for name, of_service in TLC_COLUMNS.items() if of_service["pickup_at"] == pickup_at)
    return FileColumns(known, next(services, ""))


def require_types(schema: pa.Schema, columns: FileColumns, label: object) -> None:
    """Raise `TripSchemaError` unless each column has a type that may hold its values."""
    for column, name in columns.names.items():
        kind = schema.field(name).type
        is_time = column.endswith("_at")
        held = kind.value_type if pa.types.is_dictionary(kind) else kind
        fits = _holds_times(held) if is_time else is_number(held)
        if not (fits or _is_text(held) or pa.types.is_null(held)):
            expected = "times, dates or text" if is_time else "numbers or text"
            raise TripSchemaError(
                f"{label}: column {name!r} is of type {kind}; expected {expected}. Write the file again with such "
                "a column.",
                columns=[name],
            )
        if pa.types.is_timestamp(kind):
            _require_clock(schema.field(name), columns.is_wall_clock, label)


def _require_clock(field: pa.Field, is_wall_clock: bool, label: object) -> None:
    """Raise unless this machine can compute New York's wall clock of a column's times."""
    try:
        values.times(pa.chunked_array([pa.array([0], field.type)]), is_wall_clock=is_wall_clock)
    except pa.ArrowException as error:
        raise TripSchemaError(
            f"{label}: the times of column {field.name!r} are in the time zone {field.type.tz!r}; expected this "
            f"machine's time zone database to have it and {CITY}, got {one_line(error, 200)}. Install the "
            "system's package tzdata, or write the file again without a time zone.",
            columns=[field.name],
        ) from error


def _find(names: Sequence[str], column: str, label: object) -> str | None:
    """Name of a column in the file: its own name, else TLC's."""
    tlc = {of_service.get(column, column).lower() for of_service in TLC_COLUMNS.values()}
    own = [name for name in names if name.strip().lower() == column]
    matching = own or [name for name in names if name.strip().lower() in tlc]
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
