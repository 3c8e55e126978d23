"""The service as an ASGI application: its routes, and the middlewares around them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Route

from mlops.data import zones
from mlops.serving import problems, status
from mlops.serving.answers import Group
from mlops.serving.asgi import App, Scope, notes
from mlops.serving.headers import Headers
from mlops.serving.limits import LimitCheck, Limits
from mlops.serving.models import Models
from mlops.serving.predict import Predict
from mlops.serving.problems import ProblemError
from mlops.serving.settings import ServeSettings


def create_app(models: Models, settings: ServeSettings) -> App:
    """The service.

    Parameters
    ----------
    models : Models
        They are started and stopped with the service.
    settings : ServeSettings
    """
    pool = ThreadPoolExecutor(1, "lists")
    predict = Predict(models, _names, settings.most_requests, pool, _watch)
    app: App = _routes(models, predict)
    limits = {name: getattr(settings, name) for name in Limits.__dataclass_fields__}
    return Headers(LimitCheck(app, Limits(**limits)))


def _names(service: str) -> zones.ZoneNames:
    return zones.of_city() if service == "sample" else zones.ZoneNames({}, "not fetched")


def _watch(scope: Scope, groups: Sequence[Group]) -> None:
    pass


def _routes(models: Models, predict: Predict) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        models.start()
        yield
        models.stop()

    app = FastAPI(
        title="Taxi trip durations", lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.router.routes.append(Route("/predict", predict, methods=["POST"]))
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(Exception, _failure)

    @app.get("/model")
    async def model() -> status.ModelReport:
        """Which version answers for each service."""
        return status.report(models)

    @app.get("/healthz")
    async def healthz() -> status.Health:
        """Whether the process answers."""
        return status.Health()

    @app.get("/readyz")
    async def readyz() -> status.Readiness:
        """Whether a model is loaded."""
        return status.readiness(models)

    return app


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return _answer(request, error)


async def _http_problem(request: Request, error: Exception) -> Response:
    """What Starlette refuses: an unknown path, a method that a path does not have."""
    assert isinstance(error, HTTPException)
    return _answer(request, ProblemError(error.status_code, error.detail, headers=error.headers))


async def _failure(request: Request, error: Exception) -> Response:
    """A mistake in this program; the log has its traceback."""
    return _answer(request, ProblemError(500, "the service failed; its log says why, at this request_id"))


def _answer(request: Request, error: ProblemError) -> Response:
    text = problems.body(error.status, error.detail, notes(request.scope)["request_id"], error.errors)
    return Response(text, error.status, error.headers, problems.MEDIA_TYPE)
