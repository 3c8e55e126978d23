"""Is all well? The registry, the servers and the disk are asked at the same time, briefly; nothing is changed.

`doctor` looks deeper and repairs. Here, what does not answer in time is reported, and never waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from mlops import config
from mlops.config import Settings
from mlops.errors import TrackingError, command, one_line
from mlops.operations import servers
from mlops.operations.doctor import stack
from mlops.pipeline import checkpoint
from mlops.registry import attention, client, local_stack, state_disk, status_reading
from mlops.registry.status_records import Attention, ModelStatus, ServerStatus, Status

STORE: Final = "tracking store"
DISK, PENDING = "disk", "pending results"
COUNTING_SECONDS: Final = 0.5  # for the sizes of the files in the state folder


@dataclass(frozen=True)
class _Registry:
    """The tracking store, and what it has; no models if it cannot be read."""

    server: ServerStatus
    models: tuple[ModelStatus, ...] = ()
    read_at: datetime | None = None


def look(seconds: float) -> Status:
    """Whether all is well.

    Parameters
    ----------
    seconds : float
        Until what does not answer is reported.
    """
    is_started = stack.is_started()
    with stack.used(is_started):
        asked: dict[str, Callable[[], Any]] = {
            STORE: lambda: _registry(is_started, seconds),
            servers.SERVICE: lambda: servers.online_service(is_started, 0.4 * seconds),
            servers.MAGE: lambda: servers.mage(is_started, 0.8 * seconds),
            DISK: lambda: state_disk.measure(COUNTING_SECONDS),
            PENDING: lambda: tuple(_pending()),
        }
        answers, missing = _within(seconds, asked)
    missing.pop(DISK, None)  # without its answer it is not checked in any case
    registry: _Registry | None = answers.get(STORE)
    found = [registry.server if registry else None, answers.get(servers.SERVICE), answers.get(servers.MAGE)]
    return attention.status(
        registry.models if registry else (),
        [each for each in found if each],
        answers.get(DISK),
        datetime.now(timezone.utc),
        registry.read_at if registry else None,
        [*answers.get(PENDING, ()), *missing.values()],
    )


def _within(
    seconds: float, asked: Mapping[str, Callable[[], Any]]
) -> tuple[dict[str, Any], dict[str, Attention]]:
    """The answers that come in time, and why there is none of the others, both by name."""
    futures: dict[str, Future[Any]] = {name: Future() for name in asked}
    for name, ask in asked.items():
        threading.Thread(target=_fill, args=(futures[name], ask), name=name, daemon=True).start()
    wait(futures.values(), timeout=seconds)
    answers: dict[str, Any] = {}
    missing: dict[str, Attention] = {}
    for name, future in futures.items():
        error = future.exception(0) if future.done() else None
        if future.done() and error is None:
            answers[name] = future.result(0)
        else:
            why = one_line(error, 300) if error else f"no complete answer within {seconds:g} s"
            missing[name] = attention.not_checked(name, why, command("doctor"))
    return answers, missing


def _fill(future: Future[Any], ask: Callable[[], Any]) -> None:
    try:
        future.set_result(ask())
    except Exception as error:  # it is shown, and the others go on
        future.set_exception(error)


def _registry(is_started: bool, seconds: float) -> _Registry:
    uri, now = config.tracking_uri(), datetime.now(timezone.utc)
    shown, file = config.without_credentials(uri), config.sqlite_file(uri)
    if file is not None and not file.exists():
        return _Registry(_yet_to_be_made(shown, is_started))
    try:
        client.connect(uri, config.state_dir(), 0.6 * seconds)
        models = status_reading.read(now, Settings().max_champion_age_months)
    except TrackingError as error:
        text = one_line(error, 500)
        return _Registry(
            ServerStatus(name=STORE, address=shown, state="down", text=text, act=command("doctor"))
        )
    server = ServerStatus(name=STORE, address=shown, state="up", text="it answers", act="")
    return _Registry(server, models, now)


def _yet_to_be_made(shown: str, is_started: bool) -> ServerStatus:
    """A SQLite file that is not there: no run has made it, or the runs use a stack that is stopped."""
    if local_stack.exists() and not is_started:
        text = "the stack is stopped, and this shell names no other tracking store"
        return ServerStatus(name=STORE, address=shown, state="not checked", text=text, act="make stack")
    text = "it does not exist yet; a run makes it"
    return ServerStatus(name=STORE, address=shown, state="up", text=text, act="")


def _pending() -> Iterator[Attention]:
    """Models that are trained and not delivered to the registry: it did not answer then."""
    for kept in checkpoint.pending():
        note = kept.noted(checkpoint.PENDING) or {}
        name, month = kept.folder.parent.name, one_line(note.get("month", "?"), 20)
        text = f"the result of a model that was tested on {month} is not delivered to the registry"
        yield Attention(kind="pending", about=name, text=text, act=command("doctor --resume"))
