"""What needs a person, worst first, each with the next act: decisions about values. Nothing here asks a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, get_args

from mlops.errors import command
from mlops.registry import status_words
from mlops.registry.status_records import (
    Attention,
    CheckStatus,
    DiskStatus,
    FailureStatus,
    Kind,
    ModelStatus,
    ServerStatus,
    Status,
)

LATE: Final = timedelta(
    days=3
)  # without a check: the schedule looks daily, and Mage may be down for a weekend
TAKES_OVER: Final = timedelta(
    minutes=2
)  # from a promotion until the service must answer with the new champion
MOST_WHY: Final = 200  # characters of an error
_ORDER: Final[tuple[Kind, ...]] = get_args(Kind)


def status(
    models: Sequence[ModelStatus],
    servers: Sequence[ServerStatus],
    disk: DiskStatus | None,
    at: datetime,
    read_at: datetime | None,
    more: Sequence[Attention] = (),
) -> Status:
    """All that is known, with what needs attention.

    Parameters
    ----------
    models, servers : sequence
    disk : DiskStatus or None
        None if it could not be measured.
    at : datetime
        When servers and disk were looked at, UTC.
    read_at : datetime or None
        When the registry was read, UTC; None if it was not.
    more : sequence of Attention
        What else needs attention.
    """
    found = attention(models, servers, disk, read_at or at, more)
    return Status(
        at=at,
        read_at=read_at,
        is_well=not found,
        attention=found,
        models=tuple(models),
        servers=tuple(servers),
        disk=disk,
    )


def attention(
    models: Sequence[ModelStatus],
    servers: Sequence[ServerStatus],
    disk: DiskStatus | None,
    now: datetime,
    more: Sequence[Attention] = (),
) -> tuple[Attention, ...]:
    """What needs attention, worst first; `now` is when the models were read, other parameters as in `status`."""
    found = [*more, *_disk(disk)]
    for model in models:
        found += _of_model(model, now)
    found += _of_servers(servers, {model.name: model for model in models}, now)
    if _is_read(servers) and not any(model.newest or model.champion for model in models):
        act = command("train --help")
        found.append(_attention("nothing_trained", "registry", "no model is trained yet", act))
    return tuple(sorted(found, key=lambda each: _ORDER.index(each.kind)))


def not_checked(about: str, text: str, act: str) -> Attention:
    """That something could not be looked at, and how to look at it."""
    return _attention("not_checked", about, text, act)


def headline(found: Status) -> str:
    """One sentence: all is well, or how much needs attention.

    Examples
    --------
    >>> from datetime import timezone
    >>> headline(status([], [], None, datetime(2026, 11, 28, tzinfo=timezone.utc), None))
    'Not all could be checked: 1 thing.'
    """
    known = sum(each.is_checked for each in found.attention)
    unknown = len(found.attention) - known
    if known:
        also = f"; {_things(unknown)} could not be checked" if unknown else ""
        return f"{_things(known)} {'needs' if known == 1 else 'need'} attention{also}."
    return f"Not all could be checked: {_things(unknown)}." if unknown else "All is well."


def _things(count: int) -> str:
    return f"{count} thing{'' if count == 1 else 's'}"


def _attention(kind: Kind, about: str, text: str, act: str) -> Attention:
    return Attention(kind=kind, about=about, text=text, act=act)


def _of_model(model: ModelStatus, now: datetime) -> Iterator[Attention]:
    name, champion = model.name, model.champion
    if champion is None and model.newest:
        act = command(f"registry --model {name}")
        yield _attention("no_champion", name, "no version is champion, so nothing answers", act)
    if champion and not champion.is_signed:
        text = f"the champion, version {champion.version}, is not signed, so it is not loaded"
        yield _attention("champion_unsigned", name, text, command(f"trust {champion.version} --model {name}"))
    if model.last_failure and not model.last_failure.is_over:
        yield _failed(model, model.last_failure)
    if champion and champion.is_old:
        text = (
            f"the champion was tested on {champion.tested_on}, {champion.months_behind} months before the newest "
            "judged month"
        )
        yield _attention("champion_old", name, text, command(f"registry --model {name}"))
    if model.approval:
        version = model.approval.version
        act = command(f"approve {version} --model {name} --reason ...")
        yield _attention("approval", name, f"version {version} waits for approval: {model.approval.why}", act)
    others = [number for number in model.unsigned if champion is None or number != champion.version]
    if others:
        which = f"version{'' if len(others) == 1 else 's'} {', '.join(others)}"
        text = f"{which} cannot be loaded without a signature"
        yield _attention("version_unsigned", name, text, command(f"trust all --model {name}"))
    yield from _alarm(model)
    yield from _month(model, now)
    for problem in model.problems:
        yield not_checked(name, problem, command("doctor"))


def _failed(model: ModelStatus, failure: FailureStatus) -> Attention:
    error = f": {status_words.short(failure.error, MOST_WHY)}" if failure.error else ""
    act = command("doctor") if failure.how == "died" else _train(model)
    return _attention("failed", model.name, f"{status_words.ended(failure)}{error}", act)


def _alarm(model: ModelStatus) -> Iterator[Attention]:
    """The alarm of the newest compared month, as long as the version that was compared is champion."""
    found = model.monitoring
    if found and found.is_alarm and (model.champion is None or model.champion.version == found.champion):
        act = command("monitor --report history.html")
        yield _attention("monitoring_alarm", model.name, found.text, act)


def _month(model: ModelStatus, now: datetime) -> Iterator[Attention]:
    """A check that failed, a month that is overdue, or a schedule that has stopped to look for it."""
    waited, check = model.waits_for, model.last_check
    is_late = check is not None and now - check.at > LATE
    is_said = model.last_failure is not None and not model.last_failure.is_over
    if check and check.outcome == "failed" and not is_said:
        text = f"the last check for a new month failed: {status_words.short(check.text, MOST_WHY)}"
        yield _attention("check_failed", model.name, text, _train(model))
    if waited and waited.is_overdue:
        text = f"{waited.month} was expected by {waited.expected_by}, and {_why_overdue(check, is_late)}"
        yield _attention("overdue", model.name, text, _train(model))
    elif is_late and check:
        text = f"nobody has looked for a new month since {check.at:%Y-%m-%d %H:%M} UTC"
        yield _attention("check_late", model.name, text, _train(model))


def _why_overdue(check: CheckStatus | None, is_late: bool) -> str:
    if check is None:
        return "no check has looked for it"
    if is_late:
        return f"nobody has looked for it since {check.at:%Y-%m-%d %H:%M} UTC"
    if check.outcome == "failed":
        return "the last check could not look for it"
    return "the last check did not find it; look for news on TLC's page"


def _train(model: ModelStatus) -> str:
    """The command that trains the month that the model waits for."""
    if model.service == "sample":
        month = f" --month {model.waits_for.month}" if model.waits_for else ""
        return command(f"train{month}")
    first = "" if model.waits_for else " --start-month YYYY-MM"
    return command(f"train --service {model.service} --month next{first} --source tlc")


def _of_servers(
    servers: Sequence[ServerStatus], models: Mapping[str, ModelStatus], now: datetime
) -> Iterator[Attention]:
    is_read = _is_read(servers)
    for server in servers:
        if server.state in ("down", "not checked"):
            kind: Kind = "service_down" if server.state == "down" else "not_checked"
            yield _attention(kind, server.name, server.text, server.act)
        if is_read:
            yield from _other_versions(server, models, now)


def _is_read(servers: Sequence[ServerStatus]) -> bool:
    """Whether the registry answers, so that what is known of the models is what it has now."""
    return any(server.name == "tracking store" and server.state == "up" for server in servers)


def _other_versions(
    server: ServerStatus, models: Mapping[str, ModelStatus], now: datetime
) -> Iterator[Attention]:
    """The models for which the service does not answer with the champion, although it had time to load it."""
    for each in server.answering:
        champion = models[each.model].champion if each.model in models else None
        if champion is None or champion.version == each.version or not champion.is_signed:
            continue  # that there is no champion, or an unsigned one, is known already
        if champion.since is None or now - champion.since > TAKES_OVER:
            answers = f"version {each.version} answers" if each.version else "no version answers"
            why = f": {status_words.short(each.problem, MOST_WHY)}" if each.problem else ""
            text = f"{answers}, but version {champion.version} is champion{why}"
            yield _attention("other_version", each.model, text, command("doctor"))


def _disk(disk: DiskStatus | None) -> Iterator[Attention]:
    if disk is None:
        yield not_checked("disk", "the free space could not be measured", "df -h")
    elif disk.free_bytes < disk.needed_bytes:
        text = f"{disk.free_bytes / 1e9:.1f} GB are free, {disk.needed_bytes / 1e9:.1f} GB are needed"
        yield _attention("disk_low", "disk", text, command("tidy"))
