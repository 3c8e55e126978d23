"""The service as an ASGI application: its routes, and the middlewares around them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from mlops.serving import description, problems, status
from mlops.serving.answers import Group
from mlops.serving.asgi import REQUEST_ID, App, Scope, notes
from mlops.serving.headers import Headers
from mlops.serving.keys import KeyCheck, KeyFile
from mlops.serving.limits import LimitCheck, Limits
from mlops.serving.models import Models
from mlops.serving.page import POLICY, page
from mlops.serving.predict import Predict
from mlops.serving.problems import ProblemError
from mlops.serving.settings import ServeSettings

RESTORE_SECONDS: Final = 8.0  # for loading remembered versions before the first request is answered


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
    pool = ThreadPoolExecutor(1, "lists")  # one: the table's arithmetic has threads of its own
    predict = Predict(models, settings.most_requests, pool, _watch)
    app: App = _routes(models, predict, settings)
    limits = {field.name: getattr(settings, field.name) for field in dataclasses.fields(Limits)}
    app = LimitCheck(app, Limits(**limits))
    if settings.keys_file:
        app = KeyCheck(app, KeyFile(settings.keys_file))
    return Headers(app)


def _watch(scope: Scope, groups: Sequence[Group]) -> None:
    pass


def _routes(models: Models, predict: Predict, settings: ServeSettings) -> FastAPI:
    app = FastAPI(lifespan=_lifespan(models), openapi_url=None, redirect_slashes=False)
    app.router.routes.append(Route("/predict", predict, methods=["POST"]))
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

    _get(app, "/model", model, refusals=(401, 429, 500))
    _get(app, "/healthz", healthz, refusals=(500,))
    _get(app, "/readyz", readyz, refusals=(500, 503))
    described = description.describe(app, settings)
    shown = page(described)

    async def openapi() -> Response:
        return JSONResponse(described)

    async def docs() -> Response:
        return HTMLResponse(shown, headers={"content-security-policy": POLICY})

    _get(app, "/openapi.json", openapi, is_described=False)
    _get(app, "/docs", docs, is_described=False)
    return app


def _get(
    app: FastAPI,
    path: str,
    endpoint: Callable[..., Any],
    *,
    refusals: Sequence[int] = (),
    is_described: bool = True,
) -> None:
    """Add a route for GET, which is described, and for HEAD."""
    answers = description.refusals(refusals)
    for method in ("GET", "HEAD"):
        app.add_api_route(
            path, endpoint, methods=[method], include_in_schema=is_described and method == "GET",
            operation_id=endpoint.__name__, responses=answers,
        )  # fmt: skip


def _lifespan(models: Models) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        models.start()
        # Until then requests wait in the socket's queue: after a restart none is refused.
        await asyncio.to_thread(models.wait, RESTORE_SECONDS)
        yield
        models.stop()

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
    return _answer(request, ProblemError(500, "the service failed. Its log says why."))


def _answer(request: Request, error: ProblemError) -> Response:
    text = problems.body(error.status, error.detail, notes(request.scope)[REQUEST_ID], error.errors)
    return Response(text, error.status, error.headers, problems.MEDIA_TYPE)
