"""The check-up: what runs left open, closed where that is safe, told where a person is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlops import attempts, config, journal, locks, registry, runs, tracking, work
from mlops.config import Settings
from mlops.errors import BusyError


@dataclass(frozen=True)
class Finding:
    """One line of the check-up; `is_open` where somebody still has to act."""

    text: str
    is_open: bool = False


def check_up(*, resume: bool) -> Iterator[Finding]:
    """Findings, one after the other.

    Parameters
    ----------
    resume : bool
        Deliver what waits to be told to the tracking server.

    Raises
    ------
    TrackingError
        When the tracking server does not answer.
    """
    usual = Settings()
    tracking.connect(
        config.tracking_uri(), config.state_dir(), usual.connect_timeout, usual.tracking_patience
    )
    yield Finding(f"tracking server {config.without_credentials(config.tracking_uri())}: answers")
    names = sorted({*registry.names(), *(kept.folder.parent.name for kept in work.unfinished())})
    for name in names:
        yield from _check(name, resume)
    if not names:
        yield Finding("no model is registered yet")


def _check(name: str, resume: bool) -> Iterator[Finding]:
    closed = runs.clear_up(name)
    if closed is not None:
        told = f"runs and trials whose process is gone: {closed}, now ended as KILLED"
        yield Finding(f"{name}: {told if closed else 'no run is left open'}")
    try:
        with runs.work_lock(name, "refuse", "the doctor's check-up") as lock:
            with locks.hold(f"{name}.aliases", on_busy="refuse", about="the doctor's check-up"):
                for text in journal.settle(name):
                    yield Finding(f"{name}: {text}; it is in the journal now")
            if resume:
                yield from (
                    Finding(text, "cannot be delivered" in text) for text in attempts.deliver(name, lock)
                )
            yield from _left(name)
    except BusyError as error:
        yield Finding(f"{name}: somebody is at work ({error}); its journal and outbox were not looked at")


def _left(name: str) -> Iterator[Finding]:
    kept = work.unfinished(name)
    for attempt in kept:
        note = attempt.noted(work.UNTOLD)
        if note:
            waits = f"{name}: a model tested on {note['month']} waits to be delivered"
            yield Finding(f"{waits}; python -m mlops doctor --resume", is_open=True)
        else:
            yield Finding(
                f"{name}: a run was cut off after {len(attempt.entries('trials'))} trials ({attempt.folder}); the "
                "same settings again go on from there, and deleting the folder forgets it"
            )
    keys = {attempt.key for attempt in kept}
    for version in registry.versions(name):
        if not version.is_settled and version.tags.get(runs.RUN_KEY) not in keys:
            cut_off = f"{version.uri}: was registered, but its run did not end; run it again"
            yield Finding(cut_off, is_open=True)
