"""The service as an ASGI application: its routes, and the middlewares around them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from mlops import config
from mlops.serving import (
    compared,
    description,
    overview,
    problems,
    request_log,
    ride_counts,
    rider,
    status,
    zone_list,
)
from mlops.serving.answers import Group
from mlops.serving.asgi import REQUEST_ID, App, notes
from mlops.serving.cacheable import Cacheable
from mlops.serving.headers import Headers
from mlops.serving.keys import HostCheck, KeyCheck, KeyFile
from mlops.serving.limits import LimitCheck, Limits
from mlops.serving.metrics import Count, Metrics
from mlops.serving.models import Models
from mlops.serving.page import POLICY, page
from mlops.serving.predict import PATH, Predict, PredictFirst, failure
from mlops.serving.problems import ProblemError
from mlops.serving.request_log import RequestLog
from mlops.serving.settings import ServeSettings

logger = logging.getLogger(__name__)

ROUTES: Final = (
    PATH, "/zones", "/rides", "/model", "/healthz", "/readyz", "/metrics", "/monitoring", "/status",
    "/openapi.json", "/docs",
)  # fmt: skip
RESTORE_SECONDS: Final = 8.0  # for loading remembered versions before the first request is answered

Lifespan = Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]


def create_app(models: Models, settings: ServeSettings) -> App:
    """The service.

    Parameters
    ----------
    models : Models
        They are started and stopped with the service.
    settings : ServeSettings

    Raises
    ------
    ConfigError
        When the file of keys cannot be used.
    """
    metrics = Metrics(models, (*ROUTES, "/"))  # the page's other files count as `other`
    log = RequestLog(
        config.state().serving / request_log.FOLDER,
        settings.log_share,
        settings.log_megabytes,
        metrics.logged,
    )

    def watch(groups: Sequence[Group]) -> None:
        try:
            metrics.answered(groups)
            for group in groups:
                log.add(group.served.service, group.served.version, group.requests, group.answers)
        except Exception:  # the answer is good all the same
            logger.exception("an answer was not counted or logged")

    predict = Predict(models, settings.most_requests, watch)
    app: App = _routes(models, predict, metrics, settings, _lifespan(models, log))
    limits = {field.name: getattr(settings, field.name) for field in dataclasses.fields(Limits)}
    app = LimitCheck(PredictFirst(app, predict), Limits(**limits))
    app = (
        KeyCheck(app, KeyFile(settings.keys_file))
        if settings.keys_file
        else HostCheck(app, settings.host_names)
    )
    return Headers(Count(app, metrics))


def _routes(
    models: Models, predict: Predict, metrics: Metrics, settings: ServeSettings, lifespan: Lifespan
) -> FastAPI:
    app = FastAPI(lifespan=lifespan, openapi_url=None, redirect_slashes=False)
    app.router.routes.append(Route(PATH, predict, methods=["POST"]))  # for the answer to other methods
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(Exception, _failure)

    async def model() -> status.ModelReport:
        """Which version answers for each service, since when, and what is wrong."""
        return status.report(models)

    async def healthz() -> status.Health:
        """Whether the process answers. It needs no key and has no limit."""
        return status.Health()

    async def readyz() -> status.Readiness:
        """Whether a model is loaded. It needs no key and has no limit."""
        return status.readiness(models)

    async def numbers() -> Response:
        """Numbers for Prometheus: requests and their time, rides, refusals, versions and their age."""
        text, kind = await asyncio.to_thread(metrics.page)
        return Response(text, media_type=kind)

    _add_zones(app, models)
    _get(app, "/model", model, refusals=(401, 403, 429, 500))
    _get(app, "/healthz", healthz, refusals=(500,))
    _get(app, "/readyz", readyz, refusals=(500, 503))
    _get(app, "/metrics", numbers, refusals=(401, 403, 429, 500), kind="text/plain")
    _add_pages(app, models)
    _add_description(app, description.describe(app, settings))
    _add_page(app)
    return app


def _add_pages(app: FastAPI, models: Models) -> None:
    """Add the pages for operators."""

    async def monitoring() -> Response:
        """The error of the champions in each compared month, as a page for people."""
        page = await asyncio.to_thread(models.compared.page, models.problem)
        return HTMLResponse(page, headers={"content-security-policy": compared.POLICY})

    async def operators_status(request: Request) -> Response:
        """Whether all is well with models, registry and disk, and what comes next; for operators."""
        return await asyncio.to_thread(models.overview.answer, request, models.problem)

    _get(app, "/monitoring", monitoring, refusals=(401, 403, 429, 500), kind="text/html")
    _get(
        app, "/status", operators_status, refusals=(401, 403, 422, 429, 500), parameters=overview.PARAMETERS,
        answers=overview.ANSWERS,
    )  # fmt: skip


def _add_zones(app: FastAPI, models: Models) -> None:
    """Add the routes for the zones, and for the rides between them."""
    known = zone_list.Zones(models)

    async def zones(request: Request) -> Response:
        """The zones of a service: names, boroughs and shapes for a map. It needs no key."""
        return await asyncio.to_thread(known.answer, request)

    async def rides(request: Request) -> ride_counts.Rides:
        """How many rides the version that answers has learnt from between two zones."""
        return ride_counts.answer(models, request)

    refused = (422, 429, 500, 503)
    _get(app, "/zones", zones, refusals=refused, parameters=zone_list.PARAMETERS, answers=zone_list.ANSWERS)
    _get(app, "/rides", rides, refusals=(401, 403, *refused), parameters=ride_counts.PARAMETERS)


def _add_page(app: FastAPI) -> None:
    """Add the routes for the page for riders and its files."""

    def answering(file: Cacheable) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return file.sent(request.headers)

        return answer

    for path, file in rider.read().items():
        app.router.routes.append(Route(path, answering(file), methods=["GET"]))  # and HEAD


def _add_description(app: FastAPI, described: dict[str, Any]) -> None:
    """Add the routes for the description of the others."""
    shown = page(described)

    async def openapi() -> Response:
        return JSONResponse(described)

    async def docs() -> Response:
        return HTMLResponse(shown, headers={"content-security-policy": POLICY})

    _get(app, "/openapi.json", openapi, is_described=False)
    _get(app, "/docs", docs, is_described=False)


def _get(
    app: FastAPI,
    path: str,
    endpoint: Callable[..., Any],
    *,
    refusals: Sequence[int] = (),
    kind: str = "",
    parameters: Sequence[dict[str, Any]] = (),
    answers: Mapping[int | str, dict[str, Any]] | None = None,
    is_described: bool = True,
) -> None:
    """Add a route for GET, which is described, and for HEAD.

    `kind` is the answer's type where it is not JSON; `answers` describes answers of an endpoint that gives bytes.
    """
    answers = {**(answers or {}), **description.refusals(refusals)}
    if kind:
        answers[200] = {"content": {kind: {"schema": {"type": "string"}}}, "description": "The answer."}
    for method in ("GET", "HEAD"):
        app.add_api_route(
            path, endpoint, methods=[method], include_in_schema=is_described and method == "GET",
            operation_id=endpoint.__name__, responses=answers, response_class=Response if kind else JSONResponse,
            openapi_extra={"parameters": list(parameters)} if parameters else None,
        )  # fmt: skip


def _lifespan(models: Models, log: RequestLog) -> Lifespan:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        models.start()
        log.start()
        # Until then requests wait in the socket's queue: after a restart none is refused.
        await asyncio.to_thread(models.wait, RESTORE_SECONDS)
        yield
        models.stop()
        await asyncio.to_thread(log.close)

    return lifespan


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return _answer(request, error)


async def _http_problem(request: Request, error: Exception) -> Response:
    """What Starlette refuses: an unknown path, or a method that a path does not have."""
    assert isinstance(error, HTTPException)
    path, routes = request.url.path, request.app.routes
    allowed = sorted({method for route in routes if route.path == path for method in route.methods})
    if not allowed:
        known = ", ".join(dict.fromkeys(route.path for route in routes))
        return _answer(
            request, ProblemError(error.status_code, f"path: expected one of {known}; got {path[:100]}")
        )
    detail = f"method: expected {' or '.join(allowed)} for {path}; got {request.method}"
    return _answer(request, ProblemError(error.status_code, detail, headers={"allow": ", ".join(allowed)}))


async def _failure(request: Request, error: Exception) -> Response:
    """A mistake in this program; the server logs its traceback."""
    return _answer(request, failure())


def _answer(request: Request, error: ProblemError) -> Response:
    text = problems.body(error.status, error.detail, notes(request.scope)[REQUEST_ID], error.errors)
    return Response(text, error.status, error.headers, problems.MEDIA_TYPE)
