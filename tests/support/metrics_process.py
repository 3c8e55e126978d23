"""Count some requests and print the page for Prometheus as JSON; run in ``.venv-serving``, which has its library.

The first argument is a number of workers: with more than one, all but the last are processes of their own.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from support.asgi_calls import answering, pieces, scope, send_to
from support.monitored import alarm

from mlops.serving import metrics
from mlops.serving.asgi import Receive, Refusal, Scope, Send, refuse

NOW = datetime.now(timezone.utc)
GREEN = SimpleNamespace(
    service="green", version="7", run_key="ab", trained_on="2022-07 to 2023-05", tested_on="2023-06",
    alias="champion", loaded_at=NOW, registered_at=NOW - timedelta(hours=1), test_rmse=4.25,
)  # fmt: skip
OLD = SimpleNamespace(
    service="yellow", version="1", run_key="", trained_on="", tested_on="", alias="champion", loaded_at=NOW,
    registered_at=None, test_rmse=None,
)  # fmt: skip
STATES = (
    SimpleNamespace(service="fhvhv", served=None, problem="there is no champion"),
    SimpleNamespace(service="green", served=GREEN, problem=""),
    SimpleNamespace(service="yellow", served=OLD, problem="the registry cannot be asked"),
)


COMPARED = alarm("2023-10", at=(NOW - timedelta(hours=2)).isoformat())


def group(served: Any, *rides: tuple[float | None, bool | None]) -> Any:
    """Answered rides, of which each has a distance and says whether it is out of range."""
    distances, outside = (list(column) for column in zip(*rides, strict=True))
    return SimpleNamespace(
        served=served, positions=range(len(rides)), requests={"distance_miles": distances},
        answers={"out_of_range": outside},
    )  # fmt: skip


async def work(counted: metrics.Metrics) -> None:
    async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
        await refuse(scope, send, Refusal(429, "rate", "too fast"))

    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("a bug")

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return

    for app in (answering(), answering(), refusing, failing, silent):
        try:
            await send_to(metrics.Count(app, counted), scope(), pieces(b"{}"))
        except ValueError:
            continue
    for path in ("/healthz", "/wp-admin", "/x" * 1000):
        await send_to(metrics.Count(answering(), counted), scope(path))
    counted.answered([group(GREEN, (2.5, False))])
    counted.answered([group(GREEN, (None, True), (1.0, True), (None, None)), group(OLD, (1.0, None))])
    counted.logged("written", 5)
    counted.logged("lost", 2)


def main(workers: int, folder: Path) -> None:
    if workers > 1:
        metrics.share_between_workers(folder)
    for _ in range(workers - 1):
        subprocess.run([sys.executable, __file__, "1", str(folder)], check=True, stdout=subprocess.DEVNULL)
    months = [("green", COMPARED), ("yellow", alarm(measured={}, at="unknown"))]
    compared = SimpleNamespace(newest=lambda: months)
    models: Any = SimpleNamespace(states=lambda: STATES, compared=compared)
    counted = metrics.Metrics(models, ("/predict", "/healthz"))
    asyncio.run(work(counted))
    text, kind = counted.page()
    sys.stdout.write(json.dumps({"text": text.decode(), "kind": kind}))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
