"""The commands of a person who works with the registry: list, look back, promote, roll back."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd

from mlops import config, locks
from mlops.errors import (
    BusyError,
    ConfigError,
    MlopsError,
    PromotionError,
    TrackingDownError,
    TrackingError,
)
from mlops.registry import alias_log, client, run_history, runs, verification, versions
from mlops.registry.alias_log import CHAMPION, Entry, Tenure
from mlops.registry.versions import Version

MOVES_SHOWN, HASH_SHOWN, COLUMNS = 10, 12, 120  # limits of a listing, so that a terminal wraps no line


BY_OPERATOR = "by operator"


def promote(name: str, number: str, reason: str) -> str:
    """Verify a version, then make it champion; returns what was done, in words.

    Raises
    ------
    PromotionError
        When there is no such version, it is champion already, or its verification fails.
    ConfigError
        When no reason is given.
    """
    _require_reason(reason)
    with _settled(name, f"promoting version {number}") as lock:
        return _move(versions.get(name, number), BY_OPERATOR, reason, lock)


def rollback(name: str, reason: str, to: str | None = None) -> str:
    """Verify an earlier champion, then make it champion again; returns what was done, in words.

    Parameters
    ----------
    to : str, optional
        Number of the version, by default the previous champion.

    Raises
    ------
    PromotionError, ConfigError
        As `promote`; and when there is no earlier champion.
    """
    _require_reason(reason)
    with _settled(name, "rolling back") as lock:
        entries = alias_log.read(name)
        target = to or alias_log.predecessor(entries)
        known = {version.number for version in versions.list_all(name)}
        if target is None:
            raise PromotionError(
                f"{name}: there is no earlier champion to roll back to. `registry` lists the versions; "
                "`promote` makes any of them champion."
            )
        champions = {reign.version for reign in alias_log.tenures(entries)}
        if target not in champions:
            raise PromotionError(
                f"{name}: version {target} was never champion, so it cannot be rolled back to; use `promote`."
            )
        if to is None and target not in known:
            earlier = sorted(
                {*filter(None, champions)} & known - {alias_log.current(name, CHAMPION)}, key=int
            )
            raise PromotionError(
                f"{name}: the previous champion, version {target}, was deleted. Earlier champions that are there: "
                f"{', '.join(earlier) or 'none'}; choose one with --to, or another version with `promote`."
            )
        return _move(versions.get(name, target), alias_log.ROLLBACK, reason, lock)


def listing(name: str) -> str:
    """Versions of a model with months, RMSE, verdict and aliases, and the last alias moves, for a terminal."""
    noticed = _noticed(name)
    found = versions.list_all(name)
    if not found:
        return f"{name}: no version is registered yet"
    aliases = alias_log.aliases(name)
    table = pd.DataFrame([_row(version, aliases) for version in reversed(found)]).to_string(index=False)
    header, *rows = table.splitlines()
    reasons = [_short(f"         {version.tags.get('reason', '')}") for version in reversed(found)]
    lines = [line for pair in zip(rows, reasons, strict=True) for line in pair if line.strip()]
    moves = [_line(entry) for entry in alias_log.read(name)[-MOVES_SHOWN:]]
    parts = [name, header, *lines, "", "alias moves, newest last (UTC):", *moves]
    return "\n".join([*parts, *(f"NOTE: {text}" for text in noticed)])


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


def only_model() -> str:
    """Name of the only registered model.

    Raises
    ------
    ConfigError
        When there are several, or none.
    """
    names = versions.model_names()
    if len(names) == 1:
        return names[0]
    act = f"choose one with --model: {', '.join(names)}" if names else "train one first"
    raise ConfigError(f"model: expected exactly one registered model; got {len(names)}: {act}")


def registered_model(name: str) -> str:
    """The name itself, if this project has a registered model of this name.

    Raises
    ------
    ConfigError
        When it has none; the message lists the existing ones.
    """
    if name not in versions.model_names():
        names = ", ".join(versions.model_names()) or "none; train one first"
        raise ConfigError(
            f"model: expected the name of a registered model; got {name!r}. Registered models: {names}"
        )
    return name


@contextlib.contextmanager
def _settled(name: str, about: str) -> Iterator[locks.Lock]:
    """Hold the lock on the model's aliases, with the journal reconciled."""
    with locks.hold(f"{name}.aliases", about=about) as lock:
        alias_log.reconcile(name)
        yield lock


def _move(version: Version, verdict: str, reason: str, lock: locks.Lock) -> str:
    before = alias_log.current(version.name, CHAMPION)
    if before == version.number:
        raise PromotionError(f"{version.uri} is already champion; nothing was changed")
    _require_sound(version)
    lock.check()
    by = alias_log.whoami()
    alias_log.move(version.name, CHAMPION, version.number, by=by, verdict=verdict, reason=reason)
    return f"{version.uri} is now champion; previous champion: {f'version {before}' if before else 'none'}"


def _require_sound(version: Version) -> None:
    """Raise unless a fresh process verifies that the registry serves what was tested."""
    refused = f"{version.uri} cannot become champion"
    sha256 = version.tags.get("artefact_sha256")
    if not sha256 or not version.is_complete:
        raise PromotionError(
            f"{refused}: its run did not finish, or another program registered it. Train it again."
        )
    with tempfile.TemporaryDirectory(dir=config.state_dir()) as folder:
        try:
            sample = run_history.fetch(version, "proof/sample.parquet", Path(folder) / "sample")
        except TrackingDownError:
            raise
        except (MlopsError, OSError) as error:
            raise PromotionError(
                f"{refused}: the sample for its verification is missing. {error}. Or choose another version."
            ) from error
        found = verification.verify(
            version.uri, verification.Expected(sha256, sample), Path(folder) / "proof"
        )
    versions.tag(version, {"proof": found.as_tag()})
    if not found.passed:
        raise PromotionError(
            f"{refused}: {found.reason}. Choose another version, or train it again with --force."
        )


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise ConfigError("reason: expected a text that says why, for the journal; got nothing")


def _noticed(name: str) -> tuple[str, ...]:
    """Differences between aliases and journal; reconciled now, unless another process holds the lock."""
    try:
        with locks.hold(f"{name}.aliases", on_busy="refuse", about="reading the journal"):
            return alias_log.reconcile(name)
    except BusyError:
        return alias_log.find_differences(name)


def _row(version: Version, aliases: dict[str, str]) -> dict[str, str]:
    tags = version.tags
    names = [alias for alias, number in sorted(aliases.items()) if number == version.number]
    return {
        "version": version.number,
        "aliases": ", ".join(names),
        "forced": "yes" if tags.get("forced") == "true" else "",
        "tested on": tags.get("test_month", ""),
        "trained on": _trained_on(tags),
        "rmse": "" if np.isnan(_rmse(tags)) else f"{_rmse(tags):.4f}",
        "verdict": tags.get("verdict", "") if version.is_complete else "unfinished",
        "verified": _verified(tags.get("proof")),
    }


def _trained_on(tags: Mapping[str, str]) -> str:
    return f"{tags.get('first_month_learnt', '?')} to {tags.get('last_month_learnt', '?')}"


def _rmse(tags: Mapping[str, str]) -> float:
    """Test RMSE from a version's tags, minutes; NaN if the tag is missing or is no number."""
    try:
        return float(tags.get("test_rmse", "nan"))
    except ValueError:  # changed by hand
        return np.nan


def _verified(tag: str | None) -> str:
    if tag is None:
        return ""
    return tag if tag == verification.PASSED else "failed"


def _line(entry: Entry) -> str:
    moved = f"{entry.alias} {entry.before or 'none'} -> {entry.after or 'none'}"
    state = "" if entry.state == alias_log.DONE else f" [{entry.state}]"
    by = re.sub(r"(?<=run \w{8})\w+", "", entry.by)  # eight digits are enough to find a run
    return _short(f"  {entry.at[:19]}  {moved}{state}  {entry.verdict} ({by}): {entry.reason}")


def _short(line: str) -> str:
    """The line, cut at the width of a terminal."""
    return line if len(line) <= COLUMNS else f"{line[: COLUMNS - 3]}..."


def _on_duty(name: str, reign: Tenure) -> str:
    if reign.version is None:
        return f"{name}: no champion since {reign.since}"
    since = (
        f"noticed at {reign.since}" if reign.entry.verdict == alias_log.BY_HAND else f"since {reign.since}"
    )
    head = f"{name}: version {reign.version} ({since}; until {reign.until or 'now'}), {reign.entry.verdict}"
    try:
        version = versions.get(name, reign.version)
    except PromotionError:
        return f"{head}\nthis version has been deleted since"
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


def describe_champion(name: str, connect_timeout: float) -> str:
    """Text about a model's champion for a terminal, as `describe_version` gives it.

    Raises
    ------
    TrackingError
        When the store does not answer, or the model has no champion.
    """
    client.connect(config.tracking_uri(), config.state_dir(), connect_timeout)
    version = versions.champion(name)
    if version is None:
        raise TrackingError(f"{name}: there is no champion yet. Train one: python -m mlops train --help")
    if run_history.stage_of(version.run_id) != run_history.GONE:
        return describe_version(version.tags, runs.metrics_of(version.run_id), version.uri, name)
    text = describe_version(version.tags, {"test_rmse": _rmse(version.tags)}, version.uri, name)
    return f"{text}\nits other metrics are unknown: {run_history.explain_loss(version.run_id)}"
