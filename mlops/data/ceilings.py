"""How large a month's file, its row groups and its pages may be: checked before room is made for them.

The ceilings are multiples of TLC's largest month, the high-volume for-hire trips of March 2019: 24 million rows,
600 MB. The environment variable ``MLOPS_MAX_MONTH_SIZE`` says which multiple.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

from mlops.data.parquet_footer import Struct
from mlops.data.parquet_pages import MISSING, PARTS, PartsError, footer_bytes, pages, read_footer
from mlops.data.raw_trips import TLC_COLUMNS
from mlops.errors import ConfigError, TooLargeError, TripSchemaError, one_line

FILE_BYTES = 600_000_000
FILE_ROWS = 25_000_000
GROUP_BYTES = 1_000_000_000  # of all columns, unpacked: the whole month, if it is one row group
PAGE_BYTES = 8_000_000  # unpacked; TLC's pages have 1 MB, and reading needs one page of each column at once

# The same for every month.
FOOTER_BYTES = 2 * 2**20  # 400 row groups of 24 columns have 1.4 MB
ARROW_SCHEMA_BYTES = 2**17  # Arrow may make several objects of each byte; 24 columns have 5 kB
PAGES = 250_000  # 48 million rows of 24 columns, in pages of 20,000 rows, have 58,000
FEW_ROWS = 1_000_000  # more rows than this have at least a byte each; TLC's have 20
VALUE_BYTES = 32  # of a stored number: a decimal of 76 digits


def require_size(total_bytes: int, label: object) -> None:
    """Raise `TooLargeError` if a file of this size is above the ceiling; `label` names it in messages."""
    _at_most(total_bytes, FILE_BYTES, "the file", label)


def require(path: Path, label: object) -> None:
    """Raise if reading this Parquet file may take much more memory than TLC's; `label` names it in messages.

    Raises
    ------
    ConfigError
        When ``MLOPS_MAX_MONTH_SIZE`` is not a positive number.
    TooLargeError
        When the file, its rows, a row group or a page is above its ceiling.
    TripSchemaError
        When pages are damaged, or a column of trips has values of any length.
    ValueError
        When the footer is damaged.
    """
    size = path.stat().st_size
    require_size(size, label)
    _fixed(footer_bytes(path), FOOTER_BYTES, "bytes in the footer", label)
    try:
        footer = read_footer(path)
        _require_footer(footer, size, label)
    except PartsError:
        _fixed(PARTS + 1, PARTS, "parts in the footer", label)
    except MISSING as error:
        raise ValueError(f"expected the footer of a Parquet file; got other fields ({error!r})") from error
    try:
        _require_pages(path, footer, label)
    except (ValueError, *MISSING) as error:
        raise TripSchemaError(
            f"{label}: expected pages that can be read; got damaged pages ({one_line(error)}). Put a complete "
            "copy there."
        ) from error


def _require_footer(footer: Struct, size: int, label: object) -> None:
    """Raise if a number of the footer is above a ceiling, or cannot be."""
    groups = footer[4]
    counted = [group[3] for group in groups]
    for rows in (footer[3], sum(counted)):
        _at_most(rows, FILE_ROWS, "the file", label, unit="rows")
        _fixed(rows, max(size, FEW_ROWS), f"rows in a file of {size:,} bytes", label)
    texts = [pair.get(2, b"") for pair in footer.get(5, ()) if pair.get(1) == b"ARROW:schema"]
    _fixed(max(map(len, texts), default=0), ARROW_SCHEMA_BYTES, "bytes in the footer's ARROW:schema", label)
    packed = [column[3][7] for group in groups for column in group[1] if 3 in column]
    if min([*packed, *counted, footer[3]]) < 0 or sum(packed) > size:
        raise ValueError(f"the columns claim {sum(packed):,} bytes in a file of {size:,}")
    _require_widths(footer, label)


def _require_widths(footer: Struct, label: object) -> None:
    """Raise if a column of trips has values of any length: a batch of them may have any size."""
    names = {name.lower().encode() for columns in TLC_COLUMNS.values() for name in columns.values()}
    for stored in footer[2]:
        name, kind, length = stored[4], stored.get(1), stored.get(2, 0)
        if name.lower() in names and (
            kind == 6 or (kind == 7 and length > VALUE_BYTES)
        ):  # both types of bytes
            raise TripSchemaError(
                f"{label}: column {name.decode()!r} is stored as bytes or text; expected numbers of at most "
                f"{VALUE_BYTES} bytes or times. Is this a file of trips?",
                columns=[name.decode()],
            )


def _require_pages(path: Path, footer: Struct, label: object) -> None:
    """Raise if the pages of a row group are above a ceiling, one by one or together."""
    count = 0
    with path.open("rb") as file:
        for number, group in enumerate(footer[4], start=1):
            group_bytes = 0
            for column in group[1]:
                if isinstance(column.get(8), dict):  # encrypted: Arrow does not read it without a key
                    continue
                name = repr(b".".join(column[3][3]).decode(errors="replace"))[:60]
                for page in pages(file, column[3]):
                    count, group_bytes = count + 1, group_bytes + page.bytes
                    _fixed(count, PAGES, "pages", label)
                    _at_most(page.bytes, PAGE_BYTES, f"a page of column {name}, unpacked", label)
                    _at_most(group_bytes, GROUP_BYTES, f"row group {number}, unpacked", label)


def _max_month_size() -> float:
    """Size of the largest month that is read, as a multiple of TLC's largest."""
    text = os.environ.get("MLOPS_MAX_MONTH_SIZE") or "2"
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", text) or not float(text):
        raise ConfigError(f"MLOPS_MAX_MONTH_SIZE: expected a positive number such as 2; got {text!r}")
    return float(text)


def _at_most(got: int, largest: int, what: str, label: object, unit: str = "bytes") -> None:
    """Raise if a number is above the allowed multiple of that of TLC's largest month."""
    size = _max_month_size()
    if got > size * largest:
        raise TooLargeError(
            f"{label}: expected at most {int(size * largest):,} {unit} in {what}; got {got:,}. Look at what "
            "the source published; if it is right, set the variable "
            f"MLOPS_MAX_MONTH_SIZE={math.ceil(got / largest)} (now {size:g})."
        )


def _fixed(got: int, most: int, what: str, label: object) -> None:
    """Raise if a number that no setting limits is above `most`."""
    if got > most:
        raise TooLargeError(
            f"{label}: expected at most {most:,} {what}; got {got:,}. Look at what the source published; if it is "
            "right, ask for it in fewer and larger parts."
        )
