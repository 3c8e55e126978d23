"""``GET /rides``: how many rides between two zones a version has learnt from: what its answers rest on."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from mlops.serving import answering, queries
from mlops.serving.models import Models
from mlops.serving.problems import FieldError, shown, unprocessable
from mlops.serving.questions import MOST_NAME, NO_ZONE, RULES, Asked
from mlops.serving.trained_rides import count as count

RULE: Final = f"a zone's id (a whole number) or its name, of at most {MOST_NAME} characters"
_ABOUT: Final = "A zone's id or its name."
PARAMETERS: Final = (
    queries.parameter("pickup_zone", f"Where rides begin. {_ABOUT}", "132"),
    queries.parameter("dropoff_zone", f"Where they end. {_ABOUT}", "Times Sq/Theatre District"),
    queries.parameter(
        "service", "Whose rides; may be left out where one model is served.", "green", is_required=False
    ),
)


class Rides(BaseModel):
    """The rides between two zones from which a version has learnt."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    service: str = Field(description="Service.", examples=["green"])
    model_version: str = Field(description="Number of the version that answers now.", examples=["12"])
    pickup_zone: int = Field(description="Id of the zone in which the rides begin.", examples=[132])
    dropoff_zone: int = Field(description="Id of the zone in which they end.", examples=[230])
    rides: int | None = Field(
        description="Rides between them, in this direction, from which the version has learnt; null for a version "
        "that does not count them.",
        examples=[1234],
    )
    trained_on: str = Field(
        description="First and last month of its training trips; empty if the version does not say.",
        examples=["2022-07 to 2023-05"],
    )
    tested_on: str = Field(
        description="Month on which it was tested, YYYY-MM; empty if the version does not say.",
        examples=["2023-06"],
    )
    test_rmse: float | None = Field(
        description="Root of the mean squared error on that month, in minutes; null if the version does not say.",
        examples=[4.04],
    )


def answer(models: Models, request: Request) -> Rides:
    """The rides between the two zones that a request names.

    Raises
    ------
    ProblemError
        422 for an unknown parameter, service or zone, 503 where the service has no model.
    """
    given = queries.read(request, ("service",), dict.fromkeys(answering.PLACES, RULE))
    asked: dict[str, Any] = {**given, **{name: _zone(name, given[name]) for name in answering.PLACES}}
    columns = {name: [asked.get(name)] for name in RULES}
    (part,) = answering.split(Asked(columns, is_list=False), models.get, models.zone_names)
    served, (pickup_zone, dropoff_zone) = part.served, (part.requests[name][0] for name in answering.PLACES)
    return Rides(
        service=served.service, model_version=served.version, pickup_zone=pickup_zone, dropoff_zone=dropoff_zone,
        rides=count(served.model, pickup_zone, dropoff_zone), trained_on=served.trained_on,
        tested_on=served.tested_on, test_rmse=served.test_rmse,
    )  # fmt: skip


def _zone(name: str, text: str) -> int | str:
    """Id or name of a zone.

    Raises
    ------
    ProblemError
        422 for what is neither.
    """
    if not text.strip() or len(text) > MOST_NAME:
        raise unprocessable([FieldError(name, RULE, shown(text))])
    if not text.strip().removeprefix("-").isdecimal():
        return text
    number = int(text)
    return number if abs(number) < 2**31 else NO_ZONE
