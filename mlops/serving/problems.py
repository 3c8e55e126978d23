"""What a client gets instead of an answer: a problem as JSON (RFC 9457), which names field, rule and what came."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 20  # of one problem; its detail says how many there are
MOST_SHOWN = 100  # characters of a value


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one value of a request.

    Parameters
    ----------
    field : str
        Name of the field, ``body`` for all of it.
    rule : str
        What is expected.
    got : str
        What came, as JSON, cut to `MOST_SHOWN` characters; ``nothing`` for a field that is missing.
    position : int or None
        Of the request in its list, from 0; None where the body is one request.
    """

    field: str
    rule: str
    got: str
    position: int | None = None

    def __str__(self) -> str:
        place = "" if self.position is None else f"request {self.position}: "
        return f"{place}{self.field}: expected {self.rule}; got {self.got}"

    def as_dict(self) -> dict[str, Any]:
        """The error as JSON; ``position`` only in a list."""
        place = {} if self.position is None else {"position": self.position}
        return {**place, "field": self.field, "rule": self.rule, "got": self.got}


class FieldProblem(BaseModel):
    """What is wrong with one value of a request."""

    position: int | None = Field(
        None,
        description="Position of the request in the list, from 0; only where the body is a list.",
        examples=[3],
    )
    field: str = Field(description="Name of the field; `body` for all of it.", examples=["distance_miles"])
    rule: str = Field(description="What is expected.", examples=["a number from 0 to 1,000, or null"])
    got: str = Field(
        description="What came, as JSON; `nothing` where the field is missing.", examples=["true"]
    )


class Problem(BaseModel):
    """Why there is no answer (RFC 9457)."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(
        description="Always `about:blank`: the status says what kind it is.", examples=["about:blank"]
    )
    title: str = Field(description="Name of the status.", examples=["Unprocessable Entity"])
    status: int = Field(description="HTTP status.", examples=[422])
    detail: str = Field(
        description="What was expected, what came, and what to do.",
        examples=["distance_miles: expected a number from 0 to 1,000, or null; got true"],
    )
    errors: list[FieldProblem] = Field(
        description=f"Each wrong value, at most {MOST_ERRORS}; empty where no field is the cause.",
        examples=[[]],
    )
    request_id: str = Field(
        description="Id of the HTTP request, also in the header `X-Request-ID`.",
        examples=["5f1c0a9be2d34c17"],
    )


class ProblemError(Exception):
    """The request gets this problem as its answer.

    Attributes
    ----------
    status : int
    detail : str
        One sentence or two for a person: what was expected, what came, what to do.
    errors : tuple of FieldError
    headers : dict of str to str
        More headers of the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors = status, detail, tuple(errors)
        self.headers = dict(headers or {})


def unprocessable(errors: Sequence[FieldError], count: int | None = None) -> ProblemError:
    """The problem of a body that is JSON, but no request; `count` errors, if these are only the first ones.

    Examples
    --------
    >>> print(unprocessable([FieldError("distance_miles", "a number or null", '"far"')]))
    distance_miles: expected a number or null; got "far"
    """
    others = (count or len(errors)) - 1
    more = f" ({others} more like it)" if others else ""
    return ProblemError(422, f"{errors[0]}{more}", errors)


def body(status: int, detail: str, request_id: str, errors: Sequence[FieldError] = ()) -> bytes:
    """A problem as JSON.

    Examples
    --------
    >>> body(404, "there is no /forecast", "r-1")[:52]
    b'{"type": "about:blank", "title": "Not Found", "statu'
    """
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "errors": [error.as_dict() for error in errors[:MOST_ERRORS]],
        "request_id": request_id,
    }
    return json.dumps(problem).encode()


def shown(value: object) -> str:
    """A value of a request as JSON, short enough for a message.

    Examples
    --------
    >>> shown(True), shown(float("nan")), shown("JFK")
    ('true', 'NaN', '"JFK"')
    """
    try:
        text = json.dumps(value[:MOST_SHOWN] if isinstance(value, (str, list)) else value)
    except RecursionError:
        return "a value with deep nesting"
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 3] + "..."
