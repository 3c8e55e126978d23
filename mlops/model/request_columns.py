"""From what a caller sends to plain arrays. Training, `predict`, `predict_one` and MLflow all read requests here.

So a request has one meaning, and one answer, in whichever type its values come.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
from dateutil.parser import isoparse

from ..errors import MlopsError, one_line

if TYPE_CHECKING:
    import pandas as pd  # late at run time: a third of the memory of a process that streams trips

Array = npt.NDArray[Any]
REQUEST_COLUMNS = ("pickup_at", "pickup_zone", "dropoff_zone", "distance_miles", "passenger_count")
ZONES = 266  # codes 0 to 265; 0 is for every id that TLC does not use
CITY = "America/New_York"
A_TIME = "a date and time such as 2023-07-03T08:30 (New York's wall clock) or 2023-07-03T12:30Z"
_ISO = re.compile(
    r"\d{4}-\d\d-\d\d([Tt ].+)?"
)  # without it `isoparse` reads "2023", "20230703" and "2023-07" too


def read_requests(requests: Mapping[str, Any] | pd.DataFrame) -> dict[str, Array]:
    """Requests as arrays, one of each of `REQUEST_COLUMNS`. Other columns are ignored; nothing is changed.

    Parameters
    ----------
    requests : mapping or DataFrame
        n values a column, of any type that can hold them.

        ``pickup_at``: a naive time is New York's wall clock; one with a time zone or offset is converted to it.
        A time is a ``datetime``, pandas' or numpy's, or text in ISO 8601. A date alone means midnight. A number is
        refused, because it has neither a unit nor a time zone.

        ``pickup_zone``, ``dropoff_zone``: whole numbers, also as floats (74.0); null is an unknown zone.

        ``distance_miles``, ``passenger_count``: numbers or null; the column ``passenger_count`` may be missing.

    Returns
    -------
    dict of str to array of shape (n,)
        ``pickup_at`` datetime64[us], New York's wall clock. Zones int16, 1 to 265; 0 for null and every other id.
        ``distance_miles`` and ``passenger_count`` float32 as sent, NaN for null.

    Raises
    ------
    MlopsError
        When a column (but for ``passenger_count``) or a pickup time is missing, or a value is of a wrong type. The
        message names the column.

    Examples
    --------
    >>> ride = {"pickup_zone": [74.0], "dropoff_zone": [None], "distance_miles": [2]}
    >>> read_requests({"pickup_at": ["2023-07-03T12:30Z"], **ride})["pickup_at"]
    array(['2023-07-03T08:30:00.000000'], dtype='datetime64[us]')
    """
    missing = [name for name in REQUEST_COLUMNS if name not in requests and name != "passenger_count"]
    if missing:
        raise MlopsError(f"requests: missing {missing}; expected the columns {list(REQUEST_COLUMNS)}")
    pickup_at = _times(requests["pickup_at"])
    rows = len(pickup_at)
    if np.isnat(pickup_at).any():
        raise MlopsError(f"requests: pickup_at is missing in {np.isnat(pickup_at).sum()} of {rows} rows")
    counted = "passenger_count" in requests
    passengers = requests["passenger_count"] if counted else np.full(rows, np.nan, np.float32)
    with np.errstate(over="ignore"):  # a number too large for its type is infinite
        return {
            "pickup_at": pickup_at,
            "pickup_zone": _zones("pickup_zone", requests["pickup_zone"]),
            "dropoff_zone": _zones("dropoff_zone", requests["dropoff_zone"]),
            "distance_miles": _numbers("distance_miles", requests["distance_miles"], np.float32),
            "passenger_count": _numbers("passenger_count", passengers, np.float32),
        }


def as_columns(request: Mapping[str, Any]) -> dict[str, Any]:
    """One request as columns of one value each, the input of `read_requests`.

    Examples
    --------
    >>> as_columns({"pickup_zone": 74, "passenger_count": None, "fare_amount": 12.0})
    {'pickup_zone': array([74]), 'passenger_count': [None]}
    """
    columns = {name: [request[name]] for name in REQUEST_COLUMNS if name in request}
    # Arrays of plain numbers are read faster than lists.
    return {name: np.array(one) if type(one[0]) in (int, float) else one for name, one in columns.items()}


def _times(values: Any) -> Array:
    dtype = getattr(values, "dtype", None)
    if getattr(dtype, "kind", "O") != "M":
        values = [_wall_clock(value) for value in values]
    elif not isinstance(dtype, np.dtype):  # pandas' type for a time zone, or a type of Arrow
        import pandas as pd

        index = pd.DatetimeIndex(values)
        values = index if index.tz is None else index.tz_convert(_new_york()).tz_localize(None)
    return np.asarray(values, "datetime64[us]")


def _wall_clock(value: Any) -> date | np.datetime64 | None:
    """New York's wall clock for one value of ``pickup_at``; None for null."""
    if isinstance(value, datetime) and value.tzinfo is None and value == value:  # NaT is not
        return value
    if _is_null(value):
        return None
    if isinstance(value, np.datetime64):
        return value
    try:
        read = isoparse(value) if isinstance(value, str) and _ISO.fullmatch(value) else value
        if isinstance(read, datetime):
            naive = read.utcoffset() is None  # `astimezone` would take such a time for this computer's
            return (read if naive else read.astimezone(_new_york())).replace(tzinfo=None)
    except (ValueError, OverflowError) as error:
        raise _refusal("pickup_at", A_TIME, value) from error
    if isinstance(read, date):
        return read
    raise _refusal("pickup_at", A_TIME, value)


@functools.cache
def _new_york() -> ZoneInfo:
    try:
        return ZoneInfo(CITY)
    except (KeyError, OSError) as error:
        raise MlopsError(
            f"requests: pickup_at has a time zone: expected {CITY} in this computer's time zone database; got no "
            "such entry. Install the Python package tzdata, or send New York's wall clock without a time zone"
        ) from error


def _zones(name: str, values: Any) -> Array:
    whole = isinstance(values, np.ndarray) and values.dtype.kind in "iu"
    ids = values if whole else _numbers(name, values, np.float64)
    if not whole:
        broken = np.isfinite(ids) & (ids != np.floor(ids))
        if broken.any():
            raise _refusal(name, "a zone's id, a whole number", ids[broken][0])
    known = (ids >= 1) & (ids < ZONES)
    return np.where(known, ids, 0).astype(np.int16)


def _numbers(name: str, values: Any, dtype: type) -> Array:
    """Array of `dtype`, a kind of float; NaN for null."""
    kind = getattr(getattr(values, "dtype", None), "kind", "O")
    if kind not in "iuf":
        return np.array([_number(name, value) for value in values], dtype)
    if not isinstance(values, np.ndarray):  # pandas' types too
        values = values.to_numpy(dtype, na_value=np.nan)
    return np.asarray(values, dtype)


def _number(name: str, value: Any) -> float:
    if isinstance(value, (int, float, np.integer, np.floating, Decimal)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:  # an integer without limits
            return math.inf if value > 0 else -math.inf
    if _is_null(value):
        return math.nan
    raise _refusal(name, "a number or null", value)


def _is_null(value: Any) -> bool:
    import pandas as pd

    return value is None or bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _refusal(name: str, expected: str, value: Any) -> MlopsError:
    got = one_line(repr(value) if isinstance(value, (str, bytes)) else value, 60)
    return MlopsError(f"requests: {name}: expected {expected}; got {got}")
