"""All checks: first the machine and the servers, then unfinished runs, which are closed where that is safe.

Each check is small and independent of the others. If a check fails, or if the
tracking server does not answer, that is a finding, and the other checks still
run.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial

from mlops import config, locks
from mlops.config import Settings
from mlops.errors import BusyError, command
from mlops.operations.doctor import (
    history,
    host,
    mage_database,
    mage_service,
    serving,
    stack,
    tracking_server,
)
from mlops.operations.doctor.finding import Finding as Finding
from mlops.operations.doctor.finding import Findings, carried_out, not_checked
from mlops.operations.doctor.finding import exit_status as exit_status
from mlops.pipeline import checkpoint, run_once
from mlops.registry import (
    alias_log,
    client,
    descriptions,
    experiments,
    local_stack,
    project_runs,
    run_lifecycle,
    runs,
    versions,
)

NAMED = 3  # run ids in one finding


def check_up(*, resume: bool) -> Iterator[Finding]:
    """Findings, one after the other.

    Parameters
    ----------
    resume : bool
        Deliver pending results, which wait in the state folder because the tracking server was away.
    """
    yield from carried_out("import path", host.import_path)
    is_started = yield from carried_out("the stack", stack.look_over)
    yield from carried_out("Mage", partial(_mage, is_started))
    with stack.used(is_started):
        can_be_asked = yield from carried_out("tracking server", _tracking)
        if can_be_asked:
            uri, seconds = config.tracking_uri(), Settings().connect_timeout
            check = partial(tracking_server.artefacts, uri, _experiments(), seconds)
            yield from carried_out("artefacts", check)
            yield from carried_out("registered models", partial(_models, resume))
            yield from carried_out("runs of mlflow run", _project_runs)
        elif tracking_server.is_yet_to_be_made(config.tracking_uri()):
            yield from carried_out("unfinished runs", _left_without_a_store)
        else:
            yield not_checked("registered models", "the tracking server cannot be used; correct that first")
        if is_started:
            yield from carried_out("the online service", partial(_online_service, can_be_asked))
        yield from carried_out("memory and disk", partial(_room, can_be_asked))


def _mage(is_started: bool) -> Findings:
    """Findings about the stack's Mage or, where this state folder has no stack, the one of this environment."""
    if local_stack.exists() and not is_started:
        return  # the finding about the stack says so; another Mage's files would say nothing about it
    mage = stack.mage(is_started)
    is_scheduled = mage_database.runs_schedules(mage)
    yield from carried_out("time zone", lambda: host.time_zone(is_scheduled, mage_service.offset(mage)))
    yield from carried_out("Mage", partial(mage_service.look_over, mage))
    yield from carried_out("Mage's database", partial(mage_database.look_over, mage))


def _tracking() -> Generator[Finding, None, bool]:
    """Findings about the tracking server. Returns whether it answers; if so, this process is connected to it."""
    usual, uri = Settings(), config.tracking_uri()
    usable = yield from tracking_server.look_over(uri, usual.connect_timeout)
    if usable:
        client.connect(uri, config.state_dir(), usual.connect_timeout, usual.tracking_patience)
    return usable


def _experiments() -> tuple[str, ...]:
    """Names that this project's experiments and registered models can have."""
    services = (versions.model_name(service, sample=False) for service in config.SERVICES)
    return (*services, versions.model_name("", sample=True))


def _online_service(can_be_asked: bool) -> Findings:
    is_known = can_be_asked and stack.is_used()
    yield from serving.look_over(_champions() if is_known else None)


def _champions() -> dict[str, str]:
    """Numbers of the champions by the names of this project's registered models."""
    names = set(_experiments()) & set(versions.model_names())
    found = {name: alias_log.aliases(name).get(alias_log.CHAMPION) for name in names}
    return {name: number for name, number in found.items() if number}


def _room(can_be_asked: bool) -> Findings:
    """Compare memory and disk with what the newest run's months need, or the usual months."""
    rows, whose = (_newest_window() if can_be_asked else None) or host.usual_rows(Settings())
    yield from host.memory(rows, whose)
    yield from host.disk(rows)


def _newest_window() -> tuple[int, str] | None:
    """The largest number of trips that a model's newest version learnt from, and that version's URI.

    None if no version is registered, or if no newest version has logged its months.
    """
    newest = [version for name in versions.model_names() for version in versions.list_all(name)[-1:]]
    learnt = [(versions.trips_learnt_from(version), version.uri) for version in newest]
    return max(((trips, uri) for trips, uri in learnt if trips is not None), default=None)


def _models(resume: bool) -> Findings:
    unfinished = {kept.folder.parent.name for kept in checkpoint.unfinished()}
    names = {*versions.model_names(), *(name for name in unfinished if not experiments.is_place(name))}
    for name in _experiments():
        if run_lifecycle.find_deleted(name):
            names.add(name)
        missing = versions.lost_runs(name)
        deleted = [run_id for run_id, is_deleted in missing.items() if is_deleted]
        lost = [run_id for run_id in missing if run_id not in deleted]
        if deleted:
            yield Finding(
                f"{name}: versions that somebody deleted, although their runs are kept: {len(deleted)}"
            )
        if lost:
            names.add(name)
            which = ", ".join(lost[:NAMED]) + (", ..." if len(lost) > NAMED else "")
            yield Finding(
                f"{name}: finished runs whose version is missing in the registry: {len(lost)} (run {which})"
                "; restore the registry from a backup or, if the versions were deleted on purpose, delete these "
                "runs in MLflow too",
                is_open=True,
            )
    for name in sorted(names):
        yield from carried_out(name, partial(_check, name, resume))
        yield from carried_out(f"{name}: its history", partial(history.look_over, name))
    if not names:
        yield Finding("no model is registered yet")
    places = {*experiments.places(), *(name for name in unfinished if experiments.is_place(name))}
    for place in sorted(places):
        yield from carried_out(place, partial(_experiment, place))


def _project_runs() -> Findings:
    """Finding about runs that `mlflow run` opened and could not close; none if there are none."""
    if closed := project_runs.close_dead():
        yield Finding(f"runs of `mlflow run` whose process is gone: {closed}, now closed as KILLED")


def _experiment(place: str) -> Findings:
    """Findings about runs of an experiment that did not finish; none if there are none."""
    closed = run_lifecycle.clear_up(place)
    if closed:
        yield Finding(f"{place}: runs and trials whose process is gone: {closed}, now closed as KILLED")
    if closed is not None and run_lifecycle.running_under(place):
        yield from _running_elsewhere(place, closed)
    if closed is not None:  # else a run of it is at work
        yield from _attempts(place, "")


def _check(name: str, resume: bool) -> Findings:
    closed = run_lifecycle.clear_up(name)
    if closed:
        yield Finding(f"{name}: runs and trials whose process is gone: {closed}, now closed as KILLED")
    if closed is not None:
        yield from _running_elsewhere(name, closed)
    try:
        with run_lifecycle.work_lock(name, "refuse", "the doctor's check-up") as lock:
            with locks.hold(f"{name}.aliases", on_busy="refuse", about="the doctor's check-up"):
                for text in alias_log.reconcile(name):
                    yield Finding(f"{name}: {text}; recorded in the journal")
                descriptions.refresh(name)
            if resume:
                yield from (
                    Finding(str(delivery), is_open=not delivery.is_delivered)
                    for delivery in run_once.deliver(name, lock)
                )
            yield from _left(name)
    except BusyError as error:
        what = f"{name}: its runs, journal and pending results"
        yield not_checked(what, f"held by {error.holder}; run the doctor again when that has ended")


def _running_elsewhere(name: str, closed: int) -> Findings:
    """Runs of processes that this machine cannot see."""
    places = run_lifecycle.running_under(name)
    for place in sorted(set(places)):
        what = f"{name}: runs with status RUNNING under the locks of {place} ({places.count(place)})"
        yield not_checked(
            what, "run the doctor there; without a heartbeat for 15 minutes, they are closed here"
        )
    if not places and not closed:
        yield Finding(f"{name}: no run is left open")


def _left_without_a_store() -> Findings:
    """Findings about unfinished attempts where the tracking store of this shell does not exist."""
    act = (
        "name the tracking server in use in MLFLOW_TRACKING_URI, or start a run of this model, which creates "
        f"{config.without_credentials(config.tracking_uri())} and delivers it"
    )
    for name in sorted({kept.folder.parent.name for kept in checkpoint.unfinished()}):
        yield from _attempts(name, act)


def _left(name: str) -> Findings:
    yield from _attempts(name, f"run {command('doctor --resume')}")
    keys = {attempt.key for attempt in checkpoint.unfinished(name)}
    for version in versions.list_all(name):
        if version.is_ours and not version.is_complete and version.tags[runs.RUN_KEY] not in keys:
            text = f"{version.uri}: it was registered, but its run did not finish; run it again"
            yield Finding(text, is_open=True)


def _attempts(name: str, act: str) -> Findings:
    """Findings about unfinished attempts; `act` is what delivers a pending result."""
    for attempt in checkpoint.unfinished(name):
        note, elsewhere = attempt.noted(checkpoint.PENDING), attempt.elsewhere()
        if note:
            resume = f"{elsewhere}, then {command('doctor --resume')}; or delete {attempt.folder}"
            yield Finding(
                f"{name}: the pending result of a model tested on {note['month']} is not delivered; "
                f"{resume if elsewhere else act}",
                is_open=True,
            )
        else:
            yield Finding(
                f"{name}: a run was interrupted after {len(attempt.entries('trials'))} trials ({attempt.folder}); "
                f"{elsewhere}{', then ' if elsewhere else ''}run it with the same settings to continue, or delete "
                "the folder to discard it"
            )
