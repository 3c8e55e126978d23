"""What a person asks of a registry and does to it: list, look back, promote, roll back."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path

import pandas as pd

from mlops import config, journal, locks, proof, registry, runs
from mlops.errors import BusyError, ConfigError, MlopsError, PromotionError, TrackingDownError
from mlops.journal import CHAMPION, Entry, Reign
from mlops.registry import Version

MOVES_SHOWN, HASH_SHOWN, COLUMNS = 10, 12, 120  # of a listing, so that a terminal need not fold it
BY_OPERATOR = "by operator"


def promote(name: str, number: str, reason: str) -> str:
    """Make a version champion, proven first; what was done, in words.

    Raises
    ------
    PromotionError
        When there is no such version, it is champion already, or it does not answer as it was tested.
    ConfigError
        When no reason is given.
    """
    _require_reason(reason)
    with _settled(name, f"promoting version {number}") as lock:
        return _move(registry.version(name, number), BY_OPERATOR, reason, lock)


def rollback(name: str, reason: str, to: str | None = None) -> str:
    """Make an earlier champion champion again, proven first; what was done, in words.

    Parameters
    ----------
    to : str, optional
        Number of the version; the last champion before the current one, unless told otherwise.

    Raises
    ------
    PromotionError, ConfigError
        As `promote`; and when there is none to go back to.
    """
    _require_reason(reason)
    with _settled(name, "rolling back") as lock:
        entries = journal.read(name)
        target = to or journal.predecessor(entries)
        if target is None:
            raise PromotionError(
                f"{name}: there is no earlier champion to go back to. `registry` lists the versions, and "
                "`promote` makes any of them champion."
            )
        if target not in {reign.version for reign in journal.reigns(entries)}:
            raise PromotionError(f"{name}: version {target} never was champion; `promote` makes it so.")
        return _move(registry.version(name, target), journal.ROLLBACK, reason, lock)


def listing(name: str) -> str:
    """Versions of a model with months, RMSE, verdict and aliases, and the last moves, for a terminal."""
    noticed = _noticed(name)
    found = registry.versions(name)
    if not found:
        return f"{name}: no version is registered yet"
    aliases = journal.aliases(name)
    table = pd.DataFrame([_row(version, aliases) for version in reversed(found)]).to_string(index=False)
    header, *rows = table.splitlines()
    reasons = [_short(f"         {version.tags.get('reason', '')}") for version in reversed(found)]
    lines = [line for pair in zip(rows, reasons, strict=True) for line in pair if line.strip()]
    moves = [_told(entry) for entry in journal.read(name)[-MOVES_SHOWN:]]
    parts = [name, header, *lines, "", "moves of aliases, the newest last (UTC):", *moves]
    return "\n".join([*parts, *(f"NOTE: {text}" for text in noticed)])


def as_of(name: str, when: str) -> str:
    """Which version answered on a day (YYYY-MM-DD) or at a time (ISO 8601), UTC, and the data it had learnt from.

    Raises
    ------
    ConfigError
        When it is no date, or none that has come.
    """
    start, end = _span(when)
    if start > datetime.now(timezone.utc):
        raise ConfigError(f"as-of: {when} has not come yet; expected a day or a time in the past, UTC")
    _noticed(name)
    reigns = journal.reigns(journal.read(name))
    on_duty = [
        reign for reign in reigns if _at(reign.since) < end and (not reign.until or _at(reign.until) > start)
    ]
    if not on_duty or all(reign.version is None for reign in on_duty):
        first = f"; the first came at {reigns[0].since}" if reigns else ""
        return f"{name}: no version was champion on {when} (UTC){first}"
    return "\n\n".join(_on_duty(name, reign) for reign in on_duty)


def only_model() -> str:
    """The registered model there is, where there is one.

    Raises
    ------
    ConfigError
        When there are several, or none.
    """
    names = registry.names()
    if len(names) == 1:
        return names[0]
    there = f"choose one with --model: {', '.join(names)}" if names else "train one first"
    raise ConfigError(f"model: expected one registered model; there are {len(names)}: {there}")


def registered_model(name: str) -> str:
    """The name, if a model of this project is registered by it.

    Raises
    ------
    ConfigError
        When none is, naming those there are.
    """
    if name not in registry.names():
        there = ", ".join(registry.names()) or "none; train one first"
        raise ConfigError(f"model: expected the name of a registered model; got {name!r}. There are: {there}")
    return name


@contextlib.contextmanager
def _settled(name: str, about: str) -> Iterator[locks.Lock]:
    """The lock on the model's aliases, and a journal that agrees with them."""
    with locks.hold(f"{name}.aliases", about=about) as lock:
        journal.settle(name)
        yield lock


def _move(version: Version, verdict: str, reason: str, lock: locks.Lock) -> str:
    before = journal.current(version.name, CHAMPION)
    if before == version.number:
        raise PromotionError(f"{version.uri} is champion already")
    _require_sound(version)
    lock.check()
    by = journal.whoami()
    journal.move(version.name, CHAMPION, version.number, by=by, verdict=verdict, reason=reason)
    return f"{version.uri} is champion; before: {f'version {before}' if before else 'none'}"


def _require_sound(version: Version) -> None:
    """Nothing, if a fresh process gets from the registry what was tested."""
    refused = f"{version.uri} cannot become champion"
    sha256 = version.tags.get("artefact_sha256")
    if not sha256 or not version.is_settled:
        raise PromotionError(f"{refused}: its run did not end, or was not one of this project. Run it again.")
    with tempfile.TemporaryDirectory(dir=config.state_dir()) as folder:
        try:
            sample = runs.fetch_artefact(version.run_id, "proof/sample.parquet", Path(folder) / "sample")
        except TrackingDownError:
            raise
        except (MlopsError, OSError) as error:
            raise PromotionError(
                f"{refused}: the sample it was tested on cannot be fetched ({error})"
            ) from error
        found = proof.prove(version.uri, proof.Expected(sha256, sample), Path(folder) / "proof")
    registry.tag(version, {"proof": "passed" if found.passed else f"failed: {found.reason}"})
    if not found.passed:
        raise PromotionError(
            f"{refused}: {found.reason}. Choose another version, or train it anew with --force."
        )


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise ConfigError("reason: expected why, for whoever reads the journal; got nothing")


def _noticed(name: str) -> tuple[str, ...]:
    """What is not as the journal has it; written down now, unless somebody is at work there."""
    try:
        with locks.hold(f"{name}.aliases", on_busy="refuse", about="reading the journal"):
            return journal.settle(name)
    except BusyError:
        return journal.unsettled(name)


def _row(version: Version, aliases: dict[str, str]) -> dict[str, str]:
    tags = version.tags
    names = [alias for alias, number in sorted(aliases.items()) if number == version.number]
    return {
        "version": version.number,
        "aliases": ", ".join(names),
        "forced": "yes" if tags.get("forced") == "true" else "",
        "tested on": tags.get("test_month", ""),
        "learnt": f"{tags.get('first_month_learnt', '?')} to {tags.get('last_month_learnt', '?')}",
        "rmse": f"{float(tags['test_rmse']):.4f}" if "test_rmse" in tags else "",
        "verdict": tags.get("verdict", "") if version.is_settled else "unfinished",
        "proof": tags.get("proof", "").partition(":")[0],
    }


def _told(entry: Entry) -> str:
    moved = f"{entry.alias} {entry.before or 'none'} -> {entry.after or 'none'}"
    state = "" if entry.state == journal.DONE else f" [{entry.state}]"
    by = re.sub(r"(?<=run \w{8})\w+", "", entry.by)  # the part of its name that tells a run apart will do
    return _short(f"  {entry.at[:19]}  {moved}{state}  {entry.verdict} ({by}): {entry.reason}")


def _short(line: str) -> str:
    """The line, cut where a terminal would fold it."""
    return line if len(line) <= COLUMNS else f"{line[: COLUMNS - 3]}..."


def _on_duty(name: str, reign: Reign) -> str:
    if reign.version is None:
        return f"{name}: no champion since {reign.since}"
    since = f"noticed at {reign.since}" if reign.entry.verdict == journal.BY_HAND else f"since {reign.since}"
    head = f"{name}: version {reign.version} ({since}; until {reign.until or 'now'}), {reign.entry.verdict}"
    try:
        version = registry.version(name, reign.version)
    except PromotionError:
        return f"{head}\nits version has been deleted since"
    with tempfile.TemporaryDirectory() as folder:
        months = pd.read_csv(runs.fetch_artefact(version.run_id, "months.csv", Path(folder)), dtype=str)
    files = months[["month", "role", "rows", "sha256", "url"]].sort_values("month")
    files["sha256"] = files["sha256"].str[:HASH_SHOWN]
    tags = version.tags
    return (
        f"{head}\nlearnt {tags.get('first_month_learnt')} to {tags.get('last_month_learnt')}, tested on "
        f"{tags.get('test_month')}: RMSE {tags.get('test_rmse')}\n{files.to_string(index=False)}\n"
        f"more about these files: months.csv of run {version.run_id}"
    )


def _span(when: str) -> tuple[datetime, datetime]:
    """Start and end of a day, or of a moment, UTC."""
    try:
        if len(when) == len("2026-10-03"):
            start = datetime.combine(date.fromisoformat(when), time(), timezone.utc)
            return start, start + timedelta(days=1)
        moment = _at(when)
    except ValueError as error:
        raise ConfigError(f"as-of: expected a date such as 2026-10-03, or a time; got {when!r}") from error
    return moment, moment + timedelta(microseconds=1)


def _at(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
