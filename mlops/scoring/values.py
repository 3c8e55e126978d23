"""From columns as they are in a file to arrays that a model reads, and which values cannot be read.

Whole columns are converted at once. Single values are looked at only where that fails.
"""

from __future__ import annotations

import contextlib
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mlops.data.raw_trips import wall_clock
from mlops.model.request_columns import CITY

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?[nN][aA][nN]$"
_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
_NAIVE = rf"{_DAY}({_CLOCK})?$"
_WITH_OFFSET = rf"{_DAY}{_CLOCK}([Zz]|[+-][0-9]{{2}}:?[0-9]{{2}})$"
_YEARS = (1700, 2250)  # what pandas surely reads
_ARROW_KNOWS = (np.datetime64("1900-01-01", "us"), np.datetime64("2037-01-01", "us"))
_CALENDAR_END = np.datetime64("2200-01-01", "us")  # later times are refused
_MICROSECONDS = pa.timestamp("us")


def numbers(column: pa.ChunkedArray) -> tuple[Array, Mask]:
    """Values of a column of numbers or text: float64, NaN for null; and where a value is not a finite number."""
    plain = _plain(column)
    read = _numbers_in(plain) if pa.types.is_string(plain.type) else plain.cast(pa.float64(), safe=False)
    values = _floats(read)
    unread = _mask(pc.and_(pc.is_null(read), pc.is_valid(plain))) if read.null_count else False
    return values, np.isinf(values) | unread


def identifiers(column: pa.ChunkedArray) -> tuple[Array, Mask]:
    """The same for identifiers; a value that is not a whole number of 32 bits is marked, too."""
    values, wrong = numbers(column)
    with np.errstate(invalid="ignore"):
        return values, wrong | (values != np.floor(values)) & ~np.isnan(values) | (np.abs(values) >= 2**31)


def times(column: pa.ChunkedArray, *, is_wall_clock: bool) -> tuple[Array, Mask]:
    """Times of a column of times, dates or text: datetime64[us], NaT for null; and where a value is not a time.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
    is_wall_clock : bool
        Whether times with a time zone are New York's wall clock all the same; else they are converted to it.
    """
    plain = _plain(column)
    if pa.types.is_string(plain.type):
        values = _times_in(plain)
        return values, np.isnat(values) & _mask(pc.is_valid(plain))
    if pa.types.is_null(plain.type):
        return np.full(len(plain), np.datetime64("NaT", "us")), np.zeros(len(plain), bool)
    if pa.types.is_date(plain.type):
        plain = plain.cast(pa.timestamp("s" if pa.types.is_date32(plain.type) else "ms"))
    if plain.type.tz is None or is_wall_clock:
        found = _microseconds(wall_clock(plain))
    else:
        found = _in_new_york(_microseconds(plain.cast(pa.timestamp(plain.type.unit))))
    return found, np.zeros(len(plain), bool)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """One array without dictionary; text without spaces around it, null instead of empty text."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # of no chunk
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
        array = array.cast(pa.string())
    if pa.types.is_string(array.type):
        array = pc.utf8_trim_whitespace(array)
        array = pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)
    return array


def _numbers_in(texts: pa.Array) -> pa.Array:
    """Numbers of texts; null where a text is not a number, but for NaN."""
    try:
        return texts.cast(pa.float64())
    except pa.ArrowInvalid:
        is_number = pc.match_substring_regex(texts, _NUMBER)
        return pc.if_else(is_number, texts, pa.scalar(None, pa.string())).cast(pa.float64())


def _floats(array: pa.Array) -> Array:
    return np.asarray(pc.fill_null(array, np.nan).to_numpy(zero_copy_only=False), np.float64)


def _mask(array: pa.Array) -> Mask:
    return np.asarray(array.to_numpy(zero_copy_only=False), np.bool_)


def _times_in(texts: pa.Array) -> Array:
    """Times in texts; NaT where a text is not a time in ISO 8601."""
    is_naive = _mask(pc.fill_null(pc.match_substring_regex(texts, _NAIVE), False))
    if is_naive.sum() + texts.null_count == len(texts):
        with contextlib.suppress(pa.ArrowInvalid):  # such as 30 February
            return _microseconds(texts.cast(_MICROSECONDS))
    values = np.full(len(texts), np.datetime64("NaT", "us"))
    values[is_naive] = _one_by_one(texts.filter(pa.array(is_naive)), has_offset=False)
    with_offset = _mask(pc.fill_null(pc.match_substring_regex(texts, _WITH_OFFSET), False))
    values[with_offset] = _one_by_one(texts.filter(pa.array(with_offset)), has_offset=True)
    return values


def _one_by_one(texts: pa.Array, *, has_offset: bool) -> Array:
    """Times in texts that look like times; NaT for one that is not, such as 30 February."""
    read = pd.to_datetime(texts.to_pandas(), format="ISO8601", errors="coerce", utc=has_offset)
    found = pd.DatetimeIndex(read).tz_localize(None).to_numpy().astype("datetime64[us]")
    found = _in_new_york(found) if has_offset else found
    years = np.asarray(pc.utf8_slice_codeunits(texts, 0, 4).cast(pa.int64()).to_numpy(), np.int64)
    beyond = np.isnat(found) & ((years < _YEARS[0]) | (years > _YEARS[1]))
    found[beyond] = (years[beyond] - 1970).astype("datetime64[Y]")  # any time in a year that is refused
    return found


def _in_new_york(utc: Array) -> Array:
    """New York's wall clock of times in UTC; times that are far from today stay as they are."""
    found = utc.copy()
    for first, end, convert in ((*_ARROW_KNOWS, _by_arrow), (_ARROW_KNOWS[1], _CALENDAR_END, _by_python)):
        chosen = (utc >= first) & (utc < end)
        if chosen.any():
            found[chosen] = convert(utc[chosen])
    return found


def _by_arrow(utc: Array) -> Array:
    local = pc.local_timestamp(pa.array(utc).cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us", CITY)))
    return np.asarray(local.to_numpy(zero_copy_only=False), "datetime64[us]")


def _by_python(utc: Array) -> Array:
    """The same for any year, but slower: Arrow knows no summer time after 2037."""
    index = pd.DatetimeIndex(utc).tz_localize("UTC").tz_convert(ZoneInfo(CITY))
    return np.asarray(index.tz_localize(None).to_numpy(), "datetime64[us]")


def _microseconds(naive: pa.Array) -> Array:
    """Times without a zone in microseconds. A time too early or too late for them is the earliest or latest."""
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[naive.type.unit]
    ticks = naive.view(pa.int64())
    values = np.asarray(pc.fill_null(ticks, 0).to_numpy(zero_copy_only=False), np.int64)
    if per_second > 10**6:
        values = values // (per_second // 10**6)
    elif per_second < 10**6:
        factor = 10**6 // per_second
        most = np.iinfo(np.int64).max // factor
        values = np.clip(values, -most, most) * factor
    found = values.view("datetime64[us]").copy()
    found[_mask(pc.is_null(ticks))] = np.datetime64("NaT", "us")
    return found
