"""The OpenAPI description: every field with its unit and an example, every status that can occur.

FastAPI describes its own routes. ``/predict`` is none of them, so it is described here, from the same types that
check requests.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

import mlops
from mlops.serving import problems
from mlops.serving.answers import Answer
from mlops.serving.keys import WITHOUT_KEY
from mlops.serving.predict import PATH
from mlops.serving.problems import Problem
from mlops.serving.questions import Question
from mlops.serving.settings import ServeSettings

TITLE: Final = "Taxi trip durations"
ABOUT: Final = (
    "How long a taxi ride in New York will take, in minutes, from the champion of each service. Times are New "
    "York's wall clock, distances are miles. Errors are application/problem+json (RFC 9457)."
)
WHY: Final[dict[int, str]] = {
    400: "The body is no JSON, or no UTF-8.",
    401: "No valid API key, where the service has a file of keys.",
    403: "The header `Host` has a name that is not this service's, where the service has no file of keys.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is not declared as JSON, or it is compressed.",
    422: "The body is JSON, but no request, or a parameter is wrong: each error names field, rule and what came.",
    429: "Too many requests of this client, or at the same time. Wait as `Retry-After` says.",
    500: "The service failed; its log says why.",
    503: "No model is loaded. Ask again as `Retry-After` says.",
}
EXAMPLES: Final = {
    "ids": {
        "summary": "One ride, with ids of zones",
        "value": {
            "pickup_at": "2023-07-03T08:30:00", "pickup_zone": 74, "dropoff_zone": 41, "distance_miles": 2.5,
            "passenger_count": 1,
        },
    },
    "names": {
        "summary": "One ride, with names of zones (TLC's) and without a distance",
        "value": {
            "service": "green", "pickup_at": "2023-07-03T12:30:00Z", "pickup_zone": "East Harlem North",
            "dropoff_zone": "JFK Airport",
        },
    },
    "list": {
        "summary": "Two rides",
        "value": [
            {"pickup_at": "2023-07-03T08:30:00", "pickup_zone": 74, "dropoff_zone": 41, "distance_miles": 2.5},
            {"pickup_at": "2023-07-03T18:00:00", "pickup_zone": 41, "dropoff_zone": None, "distance_miles": None},
        ],
    },
}  # fmt: skip
_REFERENCE: Final = "#/components/schemas/{model}"
_SECONDS: Final = {"schema": {"type": "integer"}, "description": "Seconds to wait.", "example": 5}


def refusals(statuses: Iterable[int]) -> dict[int | str, dict[str, Any]]:
    """Answers of these statuses, which are problems."""
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model=Problem.__name__)}}}
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted(statuses):
        found[status] = {"description": WHY[status], "content": content}
        if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            found[status]["headers"] = {"Retry-After": _SECONDS}
    return found


def describe(app: FastAPI, settings: ServeSettings) -> dict[str, Any]:
    """The OpenAPI description of the service with these settings."""
    found = get_openapi(title=TITLE, version=mlops.__version__, description=ABOUT, routes=app.routes)
    _, own = models_json_schema(
        [(Question, "validation"), (Answer, "serialization"), (Problem, "serialization")],
        ref_template=_REFERENCE,
    )
    components = found.setdefault("components", {})
    components["schemas"] = {**components.get("schemas", {}), **own["$defs"]}
    found["paths"] = {PATH: {"post": _predict(settings)}, **found["paths"]}
    if settings.keys_file:
        components["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer", "description": "An API key."}
        }
        for path, operations in found["paths"].items():
            if path not in WITHOUT_KEY:
                for operation in operations.values():
                    operation["security"] = [{"key": []}]
    return found


def _predict(settings: ServeSettings) -> dict[str, Any]:
    question, answer = ({"$ref": _REFERENCE.format(model=kind.__name__)} for kind in (Question, Answer))
    listed = {"type": "array", "items": question, "minItems": 1, "maxItems": settings.most_requests}
    answers = {"anyOf": [answer, {"type": "array", "items": answer}]}
    statuses = [400, 401, 403, 408, 413, 415, 422, 429, 500, 503]
    refused = {str(status): about for status, about in refusals(statuses).items()}
    return {
        "operationId": "predict",
        "summary": "How long rides will take",
        "description": "Takes one request, or a list of them; the answer is of the same kind, in the same order. "
        f"At most {settings.most_requests:,} requests and {settings.most_bytes:,} bytes.",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"anyOf": [question, listed]}, "examples": EXAMPLES}},
        },
        "responses": {
            "200": {"description": "The answer.", "content": {"application/json": {"schema": answers}}},
            **refused,
        },
    }
