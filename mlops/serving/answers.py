"""What a client gets: minutes, their ranges, and which version says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from mlops.model.learned_range import OUT_OF_RANGE
from mlops.serving.served import ANSWER_COLUMNS, Served

COLUMNS: Final = (*ANSWER_COLUMNS, OUT_OF_RANGE)


def _minutes(description: str, example: float) -> Any:
    return Field(ge=1, le=60, description=description, examples=[example])


class Answer(BaseModel):
    """How long one requested ride will take."""

    # protected_namespaces: the pydantic of Mage's environment warns of a field `model_version`.
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    duration_minutes: float = _minutes("Expected duration in minutes, from 1 to 60.", 11.7)
    low_80_minutes: float = _minutes("Lower end of the range for 80 percent of such rides, in minutes.", 8.2)
    high_80_minutes: float = _minutes(
        "Upper end of the range for 80 percent of such rides, in minutes.", 16.9
    )
    low_95_minutes: float = _minutes("Lower end of the range for 95 percent of such rides, in minutes.", 6.4)
    high_95_minutes: float = _minutes(
        "Upper end of the range for 95 percent of such rides, in minutes.", 22.3
    )
    out_of_range: bool | None = Field(
        description="Whether no trip that the version was trained on was like the request (a zone never seen, a "
        "longer distance, more passengers), so the minutes are a guess; null where an old version cannot say.",
        examples=[False],
    )
    distance: Literal["given", "missing"] = Field(
        description="Whether the request has a distance; without one the range is wider.", examples=["given"]
    )
    calibrated: bool = Field(
        description="Whether the ranges are calibrated for such requests; false where the distance is missing and "
        "the version has no ranges for that.",
        examples=[True],
    )
    service: str = Field(description="Service whose model answered.", examples=["green"])
    model_version: str = Field(description="Number of the version that answered.", examples=["12"])
    request_id: str = Field(
        description="Id of the HTTP request, also in the header `X-Request-ID`.",
        examples=["5f1c0a9be2d34c17"],
    )


@dataclass(frozen=True)
class Group:
    """Requests of one body that one version answered.

    Parameters
    ----------
    served : Served
    positions : sequence of int
        Of the requests in the body.
    requests : mapping
        The request columns as the model got them, a value for each request, None for null.
    answers : mapping
        `COLUMNS` in this order, a value for each request.
    """

    served: Served
    positions: Sequence[int]
    requests: Mapping[str, Sequence[Any]]
    answers: Mapping[str, Sequence[float | bool | None]]


def as_json(groups: Sequence[Group], is_list: bool, request_id: str) -> bytes:
    """Answers in the order of the requests, as JSON: an `Answer`, or a list of them."""
    found = [b""] * sum(len(group.positions) for group in groups)
    for group in groups:
        for position, text in zip(group.positions, _texts(group, request_id), strict=True):
            found[position] = text
    return b"[%b]" % b",".join(found) if is_list else found[0]


def _texts(group: Group, request_id: str) -> list[bytes]:
    """JSON of each answer. Whole columns are written at once, in a third of the time that objects take."""
    columns = to_json(list(group.answers.values()))[2:-2].split(b"],[")
    values = zip(*(column.split(b",") for column in columns), strict=True)
    missing, given = (_template(group.served, is_given, request_id) for is_given in (False, True))
    distances = group.requests["distance_miles"]
    return [
        (missing if distance is None else given) % each
        for distance, each in zip(distances, values, strict=True)
    ]


def _template(served: Served, is_given: bool, request_id: str) -> bytes:
    """JSON of an answer, with a place for each value of `COLUMNS`; the rest is the same in many answers."""
    end = {
        "distance": "given" if is_given else "missing",
        "calibrated": is_given or served.knows_missing_distance,
        "service": served.service,
        "model_version": served.version,
        "request_id": request_id,
    }
    places = b",".join(b'"%b":%%b' % name.encode() for name in COLUMNS)
    return b"{%b,%b" % (places, to_json(end)[1:].replace(b"%", b"%%"))
