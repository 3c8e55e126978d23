"""``GET /zones``: the zones of a service with their names, boroughs and shapes, for the page and for programs.

It needs no key, because the zones are public. So it names no folder and no address: what fails is in the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field

from mlops.data.zone_map import ZoneMap
from mlops.data.zones import Zone, ZoneNames
from mlops.serving import answering, queries
from mlops.serving.cacheable import Cacheable
from mlops.serving.errors import NoModelError
from mlops.serving.models import Models

PARAMETERS: Final = (
    queries.parameter("service", "Whose zones they are; may be left out.", "green", is_required=False),
)


class ListedZone(BaseModel):
    """A zone."""

    model_config = ConfigDict(frozen=True)

    id: int = Field(description="TLC's id of the zone.", examples=[132])
    name: str = Field(description="Its name.", examples=["JFK Airport"])
    area: str = Field(
        description="Borough, or part of the synthetic city; empty for a zone outside of them.",
        examples=["Queens"],
    )
    path: str | None = Field(
        description="Shape as an SVG path, in units of the map; null for a zone without a shape.",
        examples=["M12 40l3 1-2 5z"],
    )
    x: int | None = Field(
        description="A point inside the shape, for a marker: units from the left; null without a shape.",
        examples=[13],
    )
    y: int | None = Field(
        description="The same point: units from the top; null without a shape.", examples=[42]
    )


class ZoneList(BaseModel):
    """The zones of a service."""

    model_config = ConfigDict(frozen=True)

    service: str = Field(description="Service.", examples=["green"])
    width: int | None = Field(description="Width of the map in units; null without shapes.", examples=[4000])
    height: int | None = Field(
        description="Height of the map in the same units; null without shapes.", examples=[3966]
    )
    zones: list[ListedZone] = Field(
        description="All zones with a name, in the order of their ids; empty while names are not known."
    )
    problem: str = Field(
        description="Why names or shapes are not known; empty if all is well.", examples=[""]
    )


ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": ZoneList, "description": "The zones."},
    304: {"description": "The client has this answer already, as it says in `If-None-Match`."},
}


@dataclass(frozen=True)
class _Written:
    """An answer, and what it was made from."""

    names: ZoneNames
    shapes: ZoneMap
    answer: Cacheable


class Zones:
    """Answers with the zones; an answer is written once for each service, until its names or shapes change.

    Parameters
    ----------
    models : Models
        Their services, and the names and shapes of the services' zones.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        self._written: dict[str, _Written] = {}

    def answer(self, request: Request) -> Response:
        """The zones of the service that the request names.

        Raises
        ------
        ProblemError
            422 for an unknown service or parameter, 503 where no service is known yet.
        """
        asked = queries.read(request, ("service",))
        return self._of(self._service(asked.get("service"))).sent(request.headers)

    def _service(self, asked: str | None) -> str:
        known = [state.service for state in self._models.states()]
        if asked in known:
            return str(asked)
        if not known:
            # The reason may name folders, and this answer needs no key.
            raise answering.no_model(NoModelError("no service is known yet (/model says why)"))
        if asked is not None:
            raise queries.unknown_service(asked, known)
        return next((each for each in known if self._models.zone_names(each).zones), known[0])

    def _of(self, service: str) -> Cacheable:
        names, shapes = self._models.zone_names(service), self._models.zone_map(service)
        found = self._written.get(service)
        if not found or found.names is not names or found.shapes is not shapes:
            content = listed(service, names, shapes).model_dump_json().encode()
            found = _Written(names, shapes, Cacheable.of("application/json", content))
            self._written[service] = found
        return found.answer


def listed(service: str, names: ZoneNames, shapes: ZoneMap) -> ZoneList:
    """The zones with these names and shapes."""
    is_drawn = bool(shapes.shapes)
    return ZoneList(
        service=service,
        width=shapes.width if is_drawn else None,
        height=shapes.height if is_drawn else None,
        zones=[_listed(zone, shapes) for zone in names.zones],
        problem=_problem(names, shapes),
    )


def _listed(zone: Zone, shapes: ZoneMap) -> ListedZone:
    shape = shapes.shapes.get(zone.id)
    path, x, y = (shape.path, shape.x, shape.y) if shape else (None, None, None)
    return ListedZone(id=zone.id, name=zone.name, area=zone.area, path=path, x=x, y=y)


def _problem(names: ZoneNames, shapes: ZoneMap) -> str:
    missing = [what for what, each in (("names", names), ("shapes", shapes)) if each.problem]
    if not missing:
        return ""
    return f"the {' and '.join(missing)} of the zones are not known now; the service's log says why"
