"""What a person reads about a registry: versions and alias moves of a model, its champion, that of a past day."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone

import numpy as np
import pandas as pd

from mlops import locks
from mlops.errors import (
    BusyError,
    ConfigError,
    PromotionError,
    TrackingDownError,
    TrackingError,
    command,
    plain,
)
from mlops.registry import (
    alias_log,
    approvals,
    descriptions,
    overrides,
    run_history,
    runs,
    server_facts,
    verification,
    versions,
)
from mlops.registry.alias_log import Entry, Tenure
from mlops.registry.overrides import Override
from mlops.registry.versions import Version

MOVES_SHOWN, HASH_SHOWN, COLUMNS = 10, 12, 120  # limits of a listing, so that a terminal wraps no line


def listing(name: str) -> str:
    """Versions of a model with months, RMSE, verdict and aliases, and the last alias moves, for a terminal."""
    noticed = _noticed(name)
    found = versions.list_all(name)
    entries, known = alias_log.read_all(name), {version.number: version for version in found}
    counted = [entry for entry in entries if entry.proof != alias_log.FORGED]
    moves = [_line(entry, overrides.override_of(entry, known)) for entry in entries[-MOVES_SHOWN:]]
    waits = approvals.waiting(name)
    parts = [
        *(_version_lines(name, found, overrides.by_version(counted, known)) if found else []),
        *(["", "alias moves, newest last (UTC):", *moves] if moves else []),
        *([f"its page: {server_facts.shown_at(versions.page_of_model(name))}"] if found else []),
        *(
            f"NOTE: {text}"
            for text in (
                *noticed,
                *_absence(name),
                *_proofs(entries[-MOVES_SHOWN:]),
                *([waits] if waits else []),
            )
        ),
    ]
    return "\n".join(
        [name if found else f"{name}: no version is registered{' now' if moves else ' yet'}", *parts]
    )


def as_of(name: str, when: str) -> str:
    """Which version was champion on a day (YYYY-MM-DD) or at a time (ISO 8601), UTC, and its training data.

    Raises
    ------
    ConfigError
        When `when` is not a date, or lies in the future.
    """
    start, end = _span(when)
    if start > datetime.now(timezone.utc):
        raise ConfigError(f"as-of: expected a day or a time in the past, UTC; got {when}")
    _noticed(name)
    reigns = alias_log.tenures(alias_log.read(name))
    on_duty = [
        reign for reign in reigns if _at(reign.since) < end and (not reign.until or _at(reign.until) > start)
    ]
    if not on_duty or all(reign.version is None for reign in on_duty):
        first = f"; the first champion dates from {reigns[0].since}" if reigns else ""
        return f"{name}: no version was champion on {when} (UTC){first}"
    return "\n\n".join(_on_duty(name, reign) for reign in on_duty)


def describe_champion(name: str) -> str:
    """Text about a model's champion for a terminal, as `describe_version` gives it.

    Raises
    ------
    TrackingError
        When the store does not answer, or the model has no champion.
    """
    noticed = _noticed(name)
    version = versions.champion(name)
    if version is None:
        why = "".join(f". {text}" for text in _absence(name))
        raise TrackingError(
            f"{name}: there is no champion{why}. `registry` lists its versions, and `promote` makes one champion; "
            f"or train one: {command('train --help')}"
        )
    if run_history.stage_of(version.run_id) != run_history.GONE:
        text = describe_version(version.tags, runs.metrics_of(version.run_id), version.uri, name)
    else:
        text = describe_version(version.tags, {"test_rmse": _rmse(version.tags)}, version.uri, name)
        text += f"\nits other metrics are unknown: {run_history.explain_loss(version.run_id)}"
    now = alias_log.tenures(alias_log.read(name))[-1:]
    override = overrides.override_of(now[0].entry, {version.number: version}) if now else None
    notes = [f"NOTE: {note}" for note in (override, *noticed, approvals.waiting(name)) if note]
    return "\n".join([text, f"its page: {versions.link(version)}", *notes])


def describe_version(tags: Mapping[str, str], measured: Mapping[str, float], uri: str, name: str) -> str:
    """Text about a version for a terminal: its months, its metrics and the baseline's, and how to load it."""
    metrics = ("rmse", "mae", "p90", "r2", "bias")
    table = pd.DataFrame(
        {
            "metric": metrics,
            "validation": [measured.get(f"validation_{metric}", np.nan) for metric in metrics],
            "test": [measured.get(f"test_{metric}", np.nan) for metric in metrics],
            "pair median (test)": [measured.get("test_rmse_pair_median", np.nan), *[np.nan] * 4],
        }
    )
    trips = f"{measured['test_rows']:,.0f} trips of " if "test_rows" in measured else ""
    return (
        f"{name}: champion is {uri}, trained on {_trained_on(tags)}, tested on {trips}"
        f"{tags.get('test_month', '?')}\n\n{table.round(4).to_string(index=False, na_rep='')}\n\n"
        f'load it: mlflow.pyfunc.load_model("models:/{name}@champion")'
    )


def _noticed(name: str) -> tuple[str, ...]:
    """Differences between aliases and journal; reconciled now, unless another process holds the lock."""
    try:
        with locks.hold(f"{name}.aliases", on_busy="refuse", about="reading the journal"):
            found = alias_log.reconcile(name)
            if found:
                descriptions.refresh(name)
            return found
    except BusyError:
        return alias_log.find_differences(name)


def _version_lines(name: str, found: Sequence[Version], overridden: Mapping[str, Override]) -> list[str]:
    """Lines about the versions, newest first: a row, the start of its reason, and who overrode its verdict."""
    aliases, shown = alias_log.aliases(name), found[::-1]
    rows = [_row(version, aliases, overridden.get(version.number)) for version in shown]
    header, *lines = pd.DataFrame(rows).to_string(index=False).splitlines()
    parts = [header]
    for version, line in zip(shown, lines, strict=True):
        below = (version.tags.get("reason", ""), overridden.get(version.number))
        parts += [line, *(_short(f"         {text}") for text in below if text)]
    return parts


def _row(version: Version, aliases: Mapping[str, str], override: Override | None) -> dict[str, str]:
    tags = version.tags
    verdict = overrides.verdict_of(version) if version.is_complete else "unfinished"
    names = [alias for alias, number in sorted(aliases.items()) if number == version.number]
    return {
        "version": version.number,
        "aliases": ", ".join(names),
        "forced": "yes" if tags.get("forced") == "true" else "",
        "tested on": tags.get("test_month", ""),
        "trained on": _trained_on(tags),
        "rmse": "" if np.isnan(_rmse(tags)) else f"{_rmse(tags):.4f}",
        "verdict": f"{verdict}, overridden" if override else verdict,
        "verified": _verified(tags.get("proof")),
    }


def _line(entry: Entry, override: Override | None) -> str:
    moved = f"{entry.alias} {entry.before or 'none'} -> {entry.after or 'none'}"
    marks = (entry.state, alias_log.FORGED if entry.proof == alias_log.FORGED else alias_log.DONE)
    state = "".join(f" [{mark}]" for mark in marks if mark != alias_log.DONE)
    by = re.sub(r"(?<=run \w{8})\w+", "", entry.by)  # eight digits are enough to find a run
    verdict = f"{entry.verdict}, {override.how}" if override else entry.verdict
    return _short(f"  {entry.at[:19]}  {moved}{state}  {verdict} ({by}): {entry.reason}")


def _short(line: str) -> str:
    """The line, cut at the width of a terminal, without characters that a terminal obeys."""
    line = plain(line)
    return line if len(line) <= COLUMNS else f"{line[: COLUMNS - 3]}..."


def _proofs(shown: Sequence[Entry]) -> Iterator[str]:
    """What a person must know about entries that are not signed."""
    if any(entry.proof == alias_log.FORGED for entry in shown):
        yield (
            "a move marked [forged] has no signature of this machine's key: somebody wrote or changed it, or "
            "another machine with another registry.key did. It counts for nothing"
        )
    before = sum(entry.proof == alias_log.BEFORE for entry in shown)
    if before:
        yield f"the {before} oldest of these moves are not signed: a release before 2026-12 wrote them"


def _absence(name: str) -> Iterator[str]:
    """Since when no version is champion, if one was."""
    last = alias_log.tenures(alias_log.read(name))[-1:]
    if last and last[0].version is None:
        yield (
            f"No version is champion since {last[0].since[:19]} UTC: somebody deleted the alias, or version "
            f"{last[0].entry.before}, in MLflow"
        )


def _verified(tag: str | None) -> str:
    if tag is None:
        return ""
    return tag if tag == verification.PASSED else "failed"


def _trained_on(tags: Mapping[str, str]) -> str:
    return f"{tags.get('first_month_learnt', '?')} to {tags.get('last_month_learnt', '?')}"


def _rmse(tags: Mapping[str, str]) -> float:
    """Test RMSE from a version's tags, minutes; NaN if the tag is missing or is no number."""
    try:
        return float(tags.get("test_rmse", "nan"))
    except ValueError:  # changed by hand
        return np.nan


def _on_duty(name: str, reign: Tenure) -> str:
    if reign.version is None:
        return f"{name}: no champion since {reign.since}"
    since = (
        f"noticed at {reign.since}" if reign.entry.verdict == alias_log.BY_HAND else f"since {reign.since}"
    )
    head = f"{name}: version {reign.version} ({since}; until {reign.until or 'now'}), {reign.entry.verdict}"
    known: dict[str, Version] = {}
    with contextlib.suppress(PromotionError):
        known[reign.version] = versions.get(name, reign.version)
    override = overrides.override_of(reign.entry, known)
    head = f"{head}\n{override}" if override else head
    if reign.version not in known:
        return f"{head}\nthis version has been deleted since"
    version = known[reign.version]
    about = (
        f"{head}\ntrained on {_trained_on(version.tags)}, tested on {version.tags.get('test_month', '?')}: "
        f"RMSE {version.tags.get('test_rmse', '?')}"
    )
    try:
        months = run_history.months_of(version)
    except TrackingDownError:
        raise
    except TrackingError as error:  # the version itself is known, and that is the question
        return f"{about}\nits files are unknown: {error}"
    files = months.reindex(columns=["month", "role", "rows", "sha256", "url"]).sort_values("month")
    files["sha256"] = files["sha256"].str[:HASH_SHOWN]
    return (
        f"{about}\n{files.to_string(index=False)}\n"
        f"full table of these files: months.csv among the artefacts of run {version.run_id}"
    )


def _span(when: str) -> tuple[datetime, datetime]:
    """Start and end of a day, or of a moment, UTC."""
    try:
        if len(when) == len("2026-10-03"):
            start = datetime.combine(date.fromisoformat(when), time(), timezone.utc)
            return start, start + timedelta(days=1)
        moment = _at(when)
    except ValueError as error:
        raise ConfigError(
            f"as-of: expected a date such as 2026-10-03, or a time such as 2026-10-03T08:30; got {when!r}"
        ) from error
    return moment, moment + timedelta(microseconds=1)


def _at(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
