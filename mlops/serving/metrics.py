"""Numbers for Prometheus: requests, their time, refusals, answers, versions; read at ``/metrics``.

Prometheus' client library is imported when `Metrics` is made, since only the service's environment has it. With
several workers, each writes its numbers into a folder (`share_between_workers`), and the page adds them up. What
describes the models is that of the worker that makes the page.
"""

from __future__ import annotations

import functools
import math
import os
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops.model.learned_range import OUT_OF_RANGE
from mlops.serving.asgi import REASONS, REFUSED, App, Message, Receive, Scope, Send, notes

if TYPE_CHECKING:  # these modules import much at run time
    from mlops.serving.answers import Group
    from mlops.serving.models import Models
    from mlops.serving.served import Served

PREFIX = "trip_duration"
OTHER, GONE = "other", "gone"  # a path that is no route; the status of a client that did not wait
SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000)
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # Prometheus' client library reads it when it is imported


def share_between_workers(folder: Path) -> None:
    """Let the workers that this process starts add up their numbers in a folder, which is emptied first.

    Call it before `Metrics` is made in any process.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    os.environ[_FOLDER] = str(folder)


class Metrics:
    """The numbers of this process.

    Parameters
    ----------
    models : Models
        Described on the page as they are when it is made.
    routes : collection of str
        Paths that are counted by their name; all others are counted as ``other``.
    """

    def __init__(self, models: Models, routes: Collection[str]) -> None:
        import prometheus_client as prometheus

        self._prometheus, self._models = prometheus, models
        self._registry = prometheus.CollectorRegistry()
        count = functools.partial(prometheus.Counter, registry=self._registry)
        spread = functools.partial(prometheus.Histogram, registry=self._registry)
        of_version = ["service", "version"]
        self._requests = count(f"{PREFIX}_requests", "HTTP requests.", ["route", "status"])
        self._seconds = spread(
            f"{PREFIX}_request_seconds", "Time from a request's head to the end of its answer.", ["route"],
            buckets=SECONDS,
        )  # fmt: skip
        self._refused = count(f"{PREFIX}_refused", "Requests above a limit, or without a key.", ["reason"])
        self._sizes = spread(f"{PREFIX}_rides_per_request", "Rides in one HTTP request.", buckets=SIZES)
        self._rides = count(f"{PREFIX}_rides", "Rides answered.", of_version)
        self._outside = count(
            f"{PREFIX}_rides_out_of_range", "Rides unlike those that the version knows.", of_version
        )
        self._without = count(f"{PREFIX}_rides_without_distance", "Rides without a distance.", of_version)
        self._logged = count(f"{PREFIX}_log_rows", "Rows of the request log.", ["outcome"])
        self._of_route = {path: (path, self._seconds.labels(path)) for path in routes}
        self._of_other = (OTHER, self._seconds.labels(OTHER))
        self._of_status: dict[tuple[str, int | str], Any] = {}
        self._of_version: dict[tuple[str, str], tuple[Any, Any, Any]] = {}
        self._of_reason = {reason: self._refused.labels(reason) for reason in REASONS}

    def requested(self, path: str, status: int | str, seconds: float, reason: str = "") -> None:
        """Count a request that was answered or refused."""
        route, took = self._of_route.get(path, self._of_other)
        took.observe(seconds)
        counter = self._of_status.get((route, status))
        if counter is None:
            counter = self._of_status[route, status] = self._requests.labels(route, status)
        counter.inc()
        if reason:
            self._of_reason[reason].inc()

    def answered(self, groups: Sequence[Group]) -> None:
        """Count the rides of one request."""
        size = 0
        for group in groups:
            rides, outside, without = self._counters(group.served)
            count = len(group.positions)
            size += count
            rides.inc(count)
            outside.inc(group.answers[OUT_OF_RANGE].count(True))
            without.inc(group.requests["distance_miles"].count(None))
        self._sizes.observe(size)

    def logged(self, outcome: str, rows: int) -> None:
        """Count rows of the request log: ``written`` or ``lost``."""
        self._logged.labels(outcome).inc(rows)

    def page(self) -> tuple[bytes, str]:
        """The numbers as text, and the type of this text."""
        prometheus, registry = self._prometheus, self._registry
        if os.environ.get(_FOLDER):
            from prometheus_client import multiprocess

            registry = prometheus.CollectorRegistry()
            collect: Any = multiprocess.MultiProcessCollector
            collect(registry)
        together = prometheus.CollectorRegistry()
        together.register(_Joined(registry, self))
        return prometheus.generate_latest(together), prometheus.CONTENT_TYPE_LATEST

    def describe_models(self) -> Iterator[Any]:
        """The versions that answer, as Prometheus' gauges."""
        from prometheus_client.core import GaugeMetricFamily as Gauge

        states, now = self._models.states(), datetime.now(timezone.utc)
        about = ("service", "version", "run_key", "trained_on", "tested_on", "alias")
        info = Gauge(f"{PREFIX}_model_info", "1 for each version that answers.", labels=about)
        age, loaded, rmse, problem = (
            Gauge(f"{PREFIX}_model_{name}", described, labels=["service"])
            for name, described in (
                ("age_seconds", "Time since the version was registered."),
                ("loaded_timestamp_seconds", "When the version was loaded."),
                ("test_rmse_minutes", "Error of the version on its test month."),
                ("problem", "1 if the version may not be the champion of now."),
            )
        )
        for state in states:
            problem.add_metric([state.service], bool(state.problem))
            served = state.served
            if served:
                info.add_metric([getattr(served, name) for name in about], 1)
                loaded.add_metric([served.service], served.loaded_at.timestamp())
                if served.registered_at:
                    age.add_metric([served.service], (now - served.registered_at).total_seconds())
                if served.test_rmse is not None:
                    rmse.add_metric([served.service], served.test_rmse)
        yield from (info, age, loaded, rmse, problem)

    def describe_months(self) -> Iterator[Any]:
        """The newest compared month of each service, as Prometheus' gauges."""
        from prometheus_client.core import GaugeMetricFamily as Gauge

        rmse, promised, alarm, age = (
            Gauge(f"{PREFIX}_compared_{name}", described, labels=["service", "month", "version"])
            for name, described in (
                ("rmse_minutes", "Error of the champion on the newest compared month."),
                ("promised_rmse_minutes", "Error of this champion on its test month."),
                ("alarm", "1 if the newest compared month raised an alarm."),
                ("age_seconds", "Time since the newest compared month was compared."),
            )
        )
        now = datetime.now(timezone.utc)
        for service, record in self._models.compared.newest():
            labels = [service, record.month, record.champion]
            alarm.add_metric(labels, record.alarm)
            for gauge, value in ((rmse, "rmse"), (promised, "rmse_promised")):
                if math.isfinite(record.value(value)):
                    gauge.add_metric(labels, record.value(value))
            if record.compared_at:
                age.add_metric(labels, (now - record.compared_at).total_seconds())
        yield from (rmse, promised, alarm, age)

    def _counters(self, served: Served) -> tuple[Any, Any, Any]:
        key = served.service, served.version
        found = self._of_version.get(key)
        if found is None:
            found = self._of_version[key] = (
                self._rides.labels(*key), self._outside.labels(*key), self._without.labels(*key)
            )  # fmt: skip
        return found


class _Joined:
    """What Prometheus' library asks for a page: all numbers, then the models, then the compared months."""

    def __init__(self, registry: Any, metrics: Metrics) -> None:
        self._registry, self._metrics = registry, metrics

    def collect(self) -> Iterator[Any]:
        """All families of numbers."""
        yield from self._registry.collect()
        yield from self._metrics.describe_models()
        yield from self._metrics.describe_months()


class Count:
    """Middleware that counts each request, its time and its status, also of those that others refuse."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of the server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status: int | str = GONE

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:
            status = 500
            raise
        finally:
            seconds = time.perf_counter() - began
            self._metrics.requested(scope["path"], status, seconds, notes(scope).get(REFUSED, ""))
