"""What a client gets: minutes, their ranges, and which version says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from mlops.model.learned_range import OUT_OF_RANGE
from mlops.serving.served import ANSWER_COLUMNS, Served

Row = tuple[float, float, float, float, float, bool | None]
"""Minutes in the order of `ANSWER_COLUMNS`, and whether the request is out of range."""

_COLUMNS: Final = (*ANSWER_COLUMNS, OUT_OF_RANGE)


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
    requests : sequence of dict
        As the model got them: the request columns.
    rows : sequence of Row
        One for each request.
    """

    served: Served
    positions: Sequence[int]
    requests: Sequence[Mapping[str, Any]]
    rows: Sequence[Row]


def as_json(groups: Sequence[Group], is_list: bool, request_id: str) -> bytes:
    """Answers in the order of the requests, as JSON: an `Answer`, or a list of them."""
    found: list[dict[str, Any]] = [{}] * sum(len(group.positions) for group in groups)
    for group in groups:
        ends = [_end(group.served, is_given, request_id) for is_given in (False, True)]
        for position, request, row in zip(group.positions, group.requests, group.rows, strict=True):
            end = ends[request["distance_miles"] is not None]
            found[position] = dict(zip(_COLUMNS, row, strict=True)) | end
    return to_json(found if is_list else found[0])  # a third of the time that Python's `json` takes


def _end(served: Served, is_given: bool, request_id: str) -> dict[str, Any]:
    """What is the same in many answers of a group."""
    return {
        "distance": "given" if is_given else "missing",
        "calibrated": is_given or served.knows_missing_distance,
        "service": served.service,
        "model_version": served.version,
        "request_id": request_id,
    }
