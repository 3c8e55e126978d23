"""Trials of old runs and artefacts of failed runs in MLflow, which are no longer needed.

Parent runs, versions, verdicts and model cards stay.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from mlops.operations.retention.policy import (
    ARTEFACTS,
    DAY_SECONDS,
    SHA_DIGITS,
    TRIALS,
    TRIED,
    Candidate,
    Wanted,
)
from mlops.pipeline import checkpoint
from mlops.registry import alias_log, experiments, run_history, versions
from mlops.registry.run_history import PastRun

logger = logging.getLogger(__name__)

_ENDED_BADLY = ("FAILED", "KILLED")


def candidates(name: str) -> list[Candidate]:
    """Parent runs of a model or an experiment that have trials, or artefacts without a version.

    An experiment's runs never have a version. What they measured stays in the tracking server.

    Raises
    ------
    TrackingError
        When the tracking server does not answer.
    """
    registered = {version.run_id for version in versions.list_all(name)}
    found = []
    for run in run_history.list_runs(name):
        if run.status == "RUNNING" or run.is_deleted:
            continue
        if run.has_trials:
            found.append(Candidate(TRIALS, run.run_id, _last_used(run), model=name))
        is_tried = experiments.is_place(name) and run.status not in _ENDED_BADLY
        if is_tried or (run.status in _ENDED_BADLY and run.run_id not in registered):
            size, kind = run_history.artefact_bytes(run.run_id), TRIED if is_tried else ARTEFACTS
            if size is not None:
                found.append(Candidate(kind, run.run_id, _last_used(run), size, model=name))
    return found


def wanted(name: str, now: float, keep_days: int) -> Wanted:
    """What a model still needs: recent months, its champions' months and runs, and runs that later runs read.

    Later runs read the newest run, because a search starts from its trials, and the runs of unfinished attempts.
    If a champion's run is gone from MLflow, its months are unknown, and no replaced month may be deleted.

    Raises
    ------
    TrackingError
        When the tracking server does not answer.
    """
    parents = run_history.list_runs(name)
    run_of = {version.number: version.run_id for version in versions.list_all(name)}
    reigned = {reign.version for reign in alias_log.tenures(alias_log.read_all(name))}
    reigned |= {alias_log.current(name, alias) for alias in (alias_log.CHAMPION, alias_log.CHALLENGER)}
    champions = {run_of[number] for number in reigned if number and run_of.get(number)}
    unfinished = {kept.key for kept in checkpoint.unfinished(name)}
    newest = sorted(
        (run.test_month, run.started_at, run.run_id)
        for run in parents
        if run.status == "FINISHED" and run.test_month is not None and not run.is_deleted
        if not experiments.is_place(name)  # no search starts from it
    )[-1:]
    gone = champions - {run.run_id for run in parents}
    if gone:
        logger.warning(
            "%s: no replaced month is deleted, because runs of champions are gone: %s",
            name,
            ", ".join(sorted(gone)),
        )
    return Wanted(
        recent=_months(run for run in parents if now - _last_used(run) <= keep_days * DAY_SECONDS),
        evidence=_months(run for run in parents if run.run_id in champions),
        places={
            *champions,
            *(run.run_id for run in parents if run.run_key in unfinished),
            *(run_id for _, _, run_id in newest),
        },
        all_replaced=bool(gone),
    )


def delete(candidate: Candidate) -> bool:
    """Delete the trials or artefacts of a run; always returns True, because a failure raises.

    Raises
    ------
    TrackingError
        When the tracking server refuses or does not answer.
    """
    if candidate.kind == TRIALS:
        run_history.delete_trials(candidate.place)
    else:
        run_history.delete_artefacts(candidate.place)
    return True


def _last_used(run: PastRun) -> float:
    return run.started_at if run.ended_at is None else run.ended_at


def _months(runs: Iterable[PastRun]) -> set[str]:
    """First digits of the sha256 of the months that these runs used."""
    return {digest[:SHA_DIGITS] for run in runs for digest in run.month_digests}
