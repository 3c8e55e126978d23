"""What a client may ask: one request, or a list of them, as JSON. Whatever else comes is refused, field by field.

A request means here what it means to the model (`mlops.model.request_columns`), with three differences. A zone may
be given by its name. Pickup time, distance and passenger count have limits: a value outside of them is a mistake.
And an unknown field is refused, since a distance under another name would be a missing distance.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from dateutil.parser import isoparse
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import ErrorDetails

from mlops.config import FIRST_YEAR, LAST_YEAR, SERVICES
from mlops.errors import one_line
from mlops.model.request_columns import CITY
from mlops.serving.problems import MOST_ERRORS, FieldError, ProblemError, shown, unprocessable

SERVED: Final = (*SERVICES, "sample")
MOST_MILES, MOST_PASSENGERS = 1_000, 99
MOST_NAME = 100  # characters of a zone's name
NEW_YORK = ZoneInfo(CITY)
NO_ZONE = (
    0  # for ids that no 32-bit number holds; to the model it is a zone that TLC does not use, as they are
)

RULES: Final[dict[str, str]] = {
    "pickup_at": f"a date and time in ISO 8601, such as 2023-07-03T08:30 (New York's wall clock) or "
    f"2023-07-03T12:30Z, in the years {FIRST_YEAR} to {LAST_YEAR}",
    "pickup_zone": "a zone's id (a whole number) or its name, or null for an unknown zone",
    "dropoff_zone": "a zone's id (a whole number) or its name, or null for an unknown zone",
    "distance_miles": f"a number from 0 to {MOST_MILES:,}, or null for an unknown distance",
    "passenger_count": f"a whole number from 0 to {MOST_PASSENGERS}, or null for an unknown number",
    "service": f"one of {', '.join(SERVED)}",
}
"""What each field must be. It stands in the OpenAPI description, and in the problem when something else comes."""

_ISO = r"^\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)?)?$"
_is_iso = re.compile(_ISO, re.ASCII).match


def wall_clock(value: object) -> datetime:
    """New York's wall clock, without an offset, of a text in ISO 8601; a date alone is its midnight.

    Raises
    ------
    ValueError
        When it is anything else, or another year.

    Examples
    --------
    >>> wall_clock("2023-07-03T12:30Z")
    datetime.datetime(2023, 7, 3, 8, 30)
    """
    if type(value) is not str or not _is_iso(value):
        raise ValueError("no date and time")
    try:
        found = _moment(value)
        if found.tzinfo is not None:
            found = found.astimezone(NEW_YORK).replace(tzinfo=None)
    except OverflowError as error:  # before the year 1, or after 9999
        raise ValueError("not in the calendar") from error
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise ValueError("another year")
    return found


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # 24:00, and what Python 3.10 does not read: Z, three digits of a second
        found: datetime = isoparse(text)
        return found


def _zone(value: object) -> int | str | None:
    """Id, name, or None for null; 74.0 is 74, as for the model."""
    if value is None or (type(value) is str and len(value) <= MOST_NAME and value.strip()):
        return value
    whole = _whole(value)
    return whole if -(2**31) <= whole < 2**31 else NO_ZONE


def _passengers(value: object) -> int | None:
    count = None if value is None else _whole(value)
    if count is not None and not 0 <= count <= MOST_PASSENGERS:
        raise ValueError("too few or too many")
    return count


def _whole(value: object) -> int:
    if type(value) is int or (type(value) is float and value.is_integer()):
        return int(value)
    raise ValueError("no whole number")


_ZONE_SCHEMA = {
    "anyOf": [
        {"type": "integer"},
        {"type": "string", "minLength": 1, "maxLength": MOST_NAME, "pattern": r"\S"},
        {"type": "null"},
    ]
}
_PASSENGERS_SCHEMA = {
    "anyOf": [{"type": "integer", "minimum": 0, "maximum": MOST_PASSENGERS}, {"type": "null"}]
}
_Time = Annotated[datetime, PlainValidator(wall_clock), WithJsonSchema({"type": "string", "pattern": _ISO})]
_Zone = Annotated[int | str | None, PlainValidator(_zone), WithJsonSchema(_ZONE_SCHEMA)]
_Passengers = Annotated[int | None, PlainValidator(_passengers), WithJsonSchema(_PASSENGERS_SCHEMA)]
_Miles = Annotated[float, Field(strict=True, ge=0, le=MOST_MILES, allow_inf_nan=False)]


class Question(BaseModel):
    """One requested ride."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Request")

    pickup_at: _Time = Field(
        description=f"When the ride begins: {RULES['pickup_at']}. With an offset it is converted to New York's "
        "time; a date alone is its midnight.",
        examples=["2023-07-03T08:30:00"],
    )
    pickup_zone: _Zone = Field(
        description=f"Where the ride begins: {RULES['pickup_zone']}. Ids that TLC does not use are answered, with "
        "`out_of_range`.",
        examples=[74],
    )
    dropoff_zone: _Zone = Field(
        description=f"Where the ride ends: {RULES['dropoff_zone']}.", examples=["JFK Airport"]
    )
    distance_miles: _Miles | None = Field(
        None,
        description=f"Length of the ride in miles: {RULES['distance_miles']}. Without it the answer has the range "
        "made for that case.",
        examples=[2.5],
    )
    passenger_count: _Passengers = Field(
        None, description=f"Passengers: {RULES['passenger_count']}.", examples=[1]
    )
    service: Literal["green", "yellow", "fhvhv", "sample"] | None = Field(
        None,
        description=f"Whose ride it is, {RULES['service']}; may be left out where one model is served.",
        examples=["green"],
    )


@dataclass(frozen=True)
class Asked:
    """The requests of a body.

    Parameters
    ----------
    columns : mapping
        The fields of `Question`, a value of each for each request, None for null.
    is_list : bool
        Whether the body was a list; a single request gets a single answer.
    """

    columns: Mapping[str, Sequence[Any]]
    is_list: bool


_QUESTION: Final = TypeAdapter(Question)
_QUESTIONS: Final = TypeAdapter(list[Question])


def read(body: bytes, most: int) -> Asked:
    """The requests in a body.

    Parameters
    ----------
    body : bytes
        JSON in UTF-8.
    most : int
        Longest list.

    Raises
    ------
    ProblemError
        400 for what is no JSON, 422 for JSON that is no request.

    Examples
    --------
    >>> body = b'{"pickup_at": "2023-07-03T12:30Z", "pickup_zone": 74.0, "dropoff_zone": null}'
    >>> read(body, most=1000).columns["pickup_zone"]
    [74]
    """
    value = _parse(body)
    is_list = isinstance(value, list)
    if is_list and not 1 <= len(value) <= most:
        expected = f"at least 1 and at most {most:,} requests"
        raise unprocessable([FieldError("body", expected, f"a list of {len(value):,}")])
    if not is_list and not isinstance(value, dict):
        raise unprocessable([FieldError("body", "a request (a JSON object) or a list of them", shown(value))])
    try:
        if is_list:
            return _asked(_QUESTIONS.validate_python(value), is_list)
        return _asked([_QUESTION.validate_python(value)], is_list)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        shown_errors = [_as_field_error(each, is_list) for each in found[:MOST_ERRORS]]
        raise unprocessable(shown_errors, len(found)) from error


def _asked(questions: Sequence[Question], is_list: bool) -> Asked:
    return Asked({name: [getattr(each, name) for each in questions] for name in RULES}, is_list)


def _parse(body: bytes) -> Any:
    try:
        return _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise ProblemError(400, f"body: expected UTF-8; byte {error.start} is none of it") from error
    except RecursionError as error:
        raise ProblemError(
            400, "body: expected a JSON object, or a list of them; got far deeper nesting"
        ) from error
    except ValueError as error:  # also a number with thousands of digits
        raise ProblemError(400, f"body: expected JSON; {one_line(error, 100)}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; if a name is in it twice, its value would be unclear."""
    found = dict(pairs)
    if len(found) != len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise unprocessable([FieldError(twice[:MOST_NAME], "each field once", "the field twice")])
    return found


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_once)


def _as_field_error(error: ErrorDetails, is_list: bool) -> FieldError:
    """What pydantic found, in our words."""
    position, place = (int(error["loc"][0]), error["loc"][1:]) if is_list else (None, error["loc"])
    if not place:
        return FieldError("body", "a request (a JSON object)", shown(error["input"]), position)
    name = str(place[0])
    if error["type"] == "extra_forbidden":
        return FieldError(
            name[:MOST_NAME], f"no other field than {_near_field(name)}", shown(error["input"]), position
        )
    got = "nothing" if error["type"] == "missing" else shown(error["input"])
    return FieldError(name, RULES[name], got, position)


def _near_field(name: str) -> str:
    near = difflib.get_close_matches(name, RULES, n=1)
    return f"{', '.join(RULES)}{f' (is it {near[0]}?)' if near else ''}"
