"""A status in words: one label and one short text for each thing, for the screen and the page alike."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from mlops.errors import one_line
from mlops.registry.status_records import (
    ChampionStatus,
    CheckStatus,
    DiskStatus,
    FailureStatus,
    ModelStatus,
    MonitoringStatus,
    ServerStatus,
    VerdictStatus,
    WaitedMonth,
)

MOST: Final = 110  # characters of a reason or an error; MLflow and `--json` have the rest
_OUTCOMES: Final = {
    "judged": "judged", "not_published": "not published yet", "nothing_to_do": "nothing to do", "failed": "failed",
}  # fmt: skip
_ENDED: Final = {"failed": "failed", "interrupted": "was interrupted", "died": "died without an end"}


class Line(NamedTuple):
    """One thing that is known.

    Attributes
    ----------
    label : str
        What it is.
    text : str
        What is so.
    tone : {"", "good", "bad", "soft"}
        Whether it is good, needs a person, or matters little now.
    is_empty : bool
        Whether it may be left out.
    """

    label: str
    text: str
    tone: Literal["", "good", "bad", "soft"] = ""
    is_empty: bool = False


def model_lines(model: ModelStatus, now: datetime) -> tuple[Line, ...]:
    """What is known of a model: the same labels for each model, so that models can stand side by side."""
    check, approval, running = model.last_check, model.approval, model.running
    checked = _checked(check) if check else "none is recorded"
    waits = f"version {approval.version} since {time(approval.since)}: {approval.why}" if approval else "none"
    works = f"{running.about} since {time(running.since)}" if running else "none"
    problems = "; ".join(short(problem) for problem in model.problems)
    unsigned = f"not signed: version {', '.join(model.unsigned)}" if model.unsigned else ""
    wrong = "; ".join(filter(None, (unsigned, problems)))
    return (
        _champion(model.champion, now),
        _verdict(model.newest),
        _month(model.waits_for, now),
        Line(
            "last check", checked, "bad" if check and check.outcome == "failed" else "" if check else "soft"
        ),
        Line("run at work", works, "" if running else "soft", is_empty=not running),
        _failure(model.last_failure),
        _monitoring(model.monitoring),
        Line("to approve", waits, "bad" if approval else "soft"),
        Line("problems", wrong or "none", "bad" if wrong else "soft", is_empty=not wrong),
    )


def server_line(server: ServerStatus) -> Line:
    """What is known of a server."""
    tones: dict[str, Literal["good", "bad", "soft"]] = {"up": "good", "down": "bad", "not checked": "bad"}
    place = f"{server.address}: " if server.address else ""
    return Line(server.name, f"{server.state}. {place}{short(server.text)}", tones.get(server.state, "soft"))


def disk_line(disk: DiskStatus | None) -> Line:
    """What is known of the disk."""
    if disk is None:
        return Line("disk", "not checked", "bad")
    used = f"; the state folder uses {size(disk.used_bytes)}" if disk.used_bytes else ""
    text = f"{size(disk.free_bytes)} free at {disk.folder}{used}"
    return Line("disk", text, "bad" if disk.free_bytes < disk.needed_bytes else "")


def time(at: datetime | None) -> str:
    """A time for people, in UTC.

    Examples
    --------
    >>> from datetime import timezone
    >>> time(datetime(2026, 11, 26, 8, 30, tzinfo=timezone.utc)), time(None)
    ('2026-11-26 08:30 UTC', 'an unknown time')
    """
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "an unknown time"


def age(since: timedelta) -> str:
    """How long ago something was, in the unit that says most.

    Examples
    --------
    >>> age(timedelta(minutes=1)), age(timedelta(hours=30)), age(timedelta(days=12))
    ('1 minute', '30 hours', '12 days')
    """
    minutes = max(0, int(since.total_seconds() // 60))
    for count, unit, least in ((minutes // 1440, "day", 3), (minutes // 60, "hour", 2)):
        if count >= least:
            return f"{count} {unit}s"
    return f"{minutes} minute{'' if minutes == 1 else 's'}"


def size(count: float) -> str:
    """Bytes for people.

    Examples
    --------
    >>> size(68_604_280_832), size(20_701_184)
    ('68.6 GB', '20.7 MB')
    """
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def short(text: str, most: int = MOST) -> str:
    """The text on one line; an end of three dots says that it is cut.

    Examples
    --------
    >>> short("a very long reason", most=9)
    'a very...'
    """
    found = one_line(text)
    return found if len(found) <= most else f"{found[: most - 3]}..."


def ended(failure: FailureStatus) -> str:
    """That a run failed, and which one."""
    return f"a run {_ENDED[failure.how]}{f' ({failure.about})' if failure.about else ''}"


def _champion(champion: ChampionStatus | None, now: datetime) -> Line:
    if champion is None:
        return Line("champion", "none", "bad")
    since = f" for {age(now - champion.since)} (since {time(champion.since)})" if champion.since else ""
    behind = f", {champion.months_behind} months ago" if champion.is_old else ""
    tested = f"; tested on {champion.tested_on}{behind}" if champion.tested_on else ""
    unsigned = "" if champion.is_signed else "; not signed, so it is not loaded"
    text = f"version {champion.version}{since}{tested}{_rmse(champion.test_rmse_minutes)}{unsigned}"
    return Line("champion", text, "bad" if champion.is_old or unsigned else "good")


def _verdict(newest: VerdictStatus | None) -> Line:
    if newest is None:
        return Line("last verdict", "none", "soft")
    about = f" on {newest.tested_on}" if newest.tested_on else ""
    reason = f": {short(newest.reason)}" if newest.reason else ""
    override = f"; {short(newest.override)}" if newest.override else ""
    return Line("last verdict", f"{newest.verdict} for version {newest.version}{about}{reason}{override}")


def _month(waited: WaitedMonth | None, now: datetime) -> Line:
    if waited is None:
        return Line("waits for", "no month; none is judged yet", "soft")
    if waited.possible_from is None:
        return Line("waits for", f"{waited.month}, which is made when a run asks for it")
    if waited.is_overdue:
        return Line("waits for", f"{waited.month}, OVERDUE: expected by {waited.expected_by}", "bad")
    if now.date() < waited.possible_from:
        when = f"TLC can publish it from {waited.possible_from}"
    else:
        when = f"TLC can have published it since {waited.possible_from}"
    return Line("waits for", f"{waited.month}; {when}, expected by {waited.expected_by}")


def _checked(check: CheckStatus) -> str:
    why = f": {short(check.text)}" if check.outcome == "failed" and check.text else ""
    return f"{time(check.at)}: {_outcome(check.outcome, check.month)}{why}"


def _outcome(outcome: str, month: str) -> str:
    return " ".join(filter(None, (month, _OUTCOMES.get(outcome, outcome))))


def _failure(failure: FailureStatus | None) -> Line:
    if failure is None:
        return Line("last failure", "none", "soft")
    error = f": {short(failure.error)}" if failure.error else ""
    after = "a later run succeeded" if failure.is_over else "no run has succeeded since"
    text = f"{time(failure.at)}: {ended(failure)}; {after}{error}"
    return Line("last failure", text, "soft" if failure.is_over else "bad")


def _monitoring(found: MonitoringStatus | None) -> Line:
    if found is None:
        return Line("monitoring", "no month was compared yet", "soft")
    return Line("monitoring", f"version {found.champion}: {short(found.text)}", _bad(found.is_alarm))


def _rmse(minutes: float | None) -> str:
    return "" if minutes is None else f", RMSE {minutes:.2f} minutes"


def _bad(is_bad: object) -> Literal["bad", ""]:
    return "bad" if is_bad else ""
