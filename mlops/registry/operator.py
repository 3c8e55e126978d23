"""What a person does with the registry: choose a model, promote, roll back."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops import config, locks
from mlops.errors import (
    ConfigError,
    MlopsError,
    PromotionError,
    TrackingDownError,
)
from mlops.month import Month
from mlops.registry import (
    alias_log,
    approvals,
    descriptions,
    local_stack,
    overrides,
    run_history,
    verification,
    version_files,
    versions,
)
from mlops.registry.alias_log import BY_OPERATOR, CHAMPION, Entry
from mlops.registry.overrides import Override
from mlops.registry.versions import Version


@dataclass(frozen=True)
class Moved:
    """A version that a person made champion.

    Parameters
    ----------
    version : Version
    before : str or None
        Number of the champion before it.
    override : Override or None
        The verdict that was overridden; None if the version's verdict is "promote".
    """

    version: Version
    before: str | None
    override: Override | None

    def __str__(self) -> str:
        before = f"version {self.before}" if self.before else "none"
        moved = f"{self.version.uri} is now champion; previous champion: {before}"
        note = f"\nNOTE: {overrides.objection(self.version)}" if self.override else ""
        return f"{moved}\nits page: {versions.link(self.version)}{note}"


def require_yes(objection: str) -> None:
    """Refuse to override a verdict: nobody was asked.

    Raises
    ------
    ConfigError
        Always.
    """
    raise ConfigError(
        f"{objection}. Expected a person's consent to override this; nobody can be asked without a terminal. "
        "Choose another version, or give --yes"
    )


def promote(name: str, number: str, reason: str, agree: Callable[[str], None] = require_yes) -> Moved:
    """Verify a version, then make it champion.

    Parameters
    ----------
    agree : callable
        Gets what the verdict says against the version, if it is not "promote"; raises unless a person agrees.

    Raises
    ------
    PromotionError
        When there is no such version, it is champion already, or its verification fails.
    ConfigError
        When no reason is given, the version is not a number, or nobody agreed to override the verdict.
    """
    _require_reason(reason)
    require_number(number)
    objection = _objection(name, number)
    if objection:
        agree(objection)  # before the lock: a person takes time to answer
    with _settled(name, f"promoting version {number}") as lock:
        if _objection(name, number) != objection:
            raise PromotionError(
                f"{name}: the verdict of version {number} has just changed; look at it again"
            )
        return _move(versions.get(name, number), BY_OPERATOR, reason, lock)


def approve(name: str, number: str, reason: str) -> Moved:
    """Verify the version that waits for approval, then make it champion.

    Raises
    ------
    PromotionError
        When the version does not wait, or its verification fails.
    ConfigError
        When no reason is given, or the version is not a number.
    """
    _require_reason(reason)
    require_number(number)
    with _settled(name, f"approving version {number}") as lock:
        waits = approvals.waiting(name)
        if waits is None or waits.version.number != number:
            versions.get(name, number)  # an unknown number is another error
            other = f"version {waits.version.number} waits" if waits else "no version waits"
            raise PromotionError(
                f"{name}: version {number} does not wait for approval; {other}. A version waits until a newer one "
                "does, or until champion moves. `promote` makes any version champion"
            )
        return _move(waits.version, alias_log.APPROVED, reason, lock)


def require_number(version: str) -> None:
    """Raise unless the text can be the number of a version.

    Raises
    ------
    ConfigError
    """
    if not re.fullmatch("[0-9]+", version):
        raise ConfigError(
            f"version: expected the number of a version, got {version!r}; `registry` lists the versions"
        )


def rollback(name: str, reason: str, to: str | None = None) -> Moved:
    """Verify an earlier champion, then make it champion again.

    Nobody is asked, whatever its verdict is: it was champion before, and a rollback must work in a hurry.

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
    if to is not None:
        require_number(to)
    with _settled(name, "rolling back") as lock:
        entries = alias_log.read(name)
        target = to or alias_log.predecessor(entries)
        known = {version.number for version in versions.list_all(name)}
        if target is None:
            raise PromotionError(
                f"{name}: there is no earlier champion to roll back to. `registry` lists the versions; "
                "`promote` makes another one champion."
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


def settled_journal(name: str) -> tuple[Entry, ...]:
    """The journal of a model, with every move completed that a crash interrupted; waits for the lock."""
    with _settled(name, "reading the journal"):
        return alias_log.read(name)


def move_of(entries: Sequence[Entry], month: Month) -> Entry | None:
    """The move that the monitoring of a month made by itself; None if it made none."""
    own = [entry for entry in entries if entry.state == alias_log.DONE and alias_log.made_for(entry) == month]
    return own[-1] if own else None


def was_rolled_back(entries: Sequence[Entry], number: str) -> bool:
    """Whether a rollback, of a person or of monitoring, ever took `champion` away from the version."""
    return any(
        entry.before == number
        for entry in entries
        if (entry.alias, entry.verdict, entry.state) == (CHAMPION, alias_log.ROLLBACK, alias_log.DONE)
    )


def rollback_for(name: str, month: Month, champion: str, to: str, reason: str) -> Entry:
    """Verify version `to` and make it champion instead of version `champion`, because of a month's monitoring.

    Does nothing if the monitoring of that month has rolled back before. Returns the entry of the journal.

    Raises
    ------
    PromotionError
        When another version is champion by now, version `to` was itself rolled back or never champion, or its
        verification fails. Then nothing was changed.
    UntrustedError
        When version `to` is not signed with this machine's key.
    """
    by = alias_log.by_monitoring(month)
    with _settled(name, f"rolling back, {by}") as lock:
        entries = alias_log.read(name)
        own = move_of(entries, month)
        if own:
            return own
        _require_way_back(name, entries, champion, to)
        _move(versions.get(name, to), alias_log.ROLLBACK, reason, lock, by)
        return alias_log.read(name)[-1]


def _require_way_back(name: str, entries: Sequence[Entry], champion: str, to: str) -> None:
    """Raise unless version `champion` is champion, and version `to` was and can be again."""
    now = alias_log.current(name, CHAMPION)
    if now != champion:
        raise PromotionError(f"{name}: version {champion} is no longer champion, but version {now or 'none'}")
    if to not in {reign.version for reign in alias_log.tenures(entries)}:
        raise PromotionError(f"{name}: version {to} was never champion, so it cannot be rolled back to")
    if was_rolled_back(entries, to):
        raise PromotionError(f"{name}: version {to} was itself rolled back, so it cannot be rolled back to")


def only_model(how: str = "with --model") -> str:
    """Name of the only registered model; `how` is for the error, to say how a command names one.

    Raises
    ------
    ConfigError
        When there are several, or none.
    """
    names = versions.model_names()
    if len(names) == 1:
        return names[0]
    act = f"choose one {how}: {', '.join(names)}" if names else local_stack.act_without_models()
    raise ConfigError(f"model: expected exactly one registered model; got {len(names)}: {act}")


def registered_model(name: str) -> str:
    """The name itself, if this project has a registered model of this name.

    Raises
    ------
    ConfigError
        When it has none; the message lists the existing ones.
    """
    if name not in versions.model_names():
        names = ", ".join(versions.model_names()) or f"none; {local_stack.act_without_models()}"
        raise ConfigError(
            f"model: expected the name of a registered model; got {name!r}. Registered models: {names}"
        )
    return name


@contextlib.contextmanager
def _settled(name: str, about: str) -> Iterator[locks.Lock]:
    """Hold the lock on the model's aliases, with the journal reconciled."""
    with locks.hold(f"{name}.aliases", about=about) as lock:
        if alias_log.reconcile(name):
            descriptions.refresh(name)
        yield lock


def _objection(name: str, number: str) -> str:
    """`overrides.objection` of a version that can become champion; raises if it cannot."""
    version = versions.get(name, number)
    _require_candidate(version)
    return overrides.objection(version)


def _move(version: Version, verdict: str, reason: str, lock: locks.Lock, by: str = "") -> Moved:
    _require_candidate(version)
    before = alias_log.current(version.name, CHAMPION)
    _require_sound(version)
    lock.check()
    own = overrides.verdict_of(version)
    entry = alias_log.move(
        version.name,
        CHAMPION,
        version.number,
        by=by or alias_log.whoami(),
        verdict=verdict,
        reason=reason,
        overrides="" if own == overrides.PROMOTE else own,
    )
    override = overrides.override_of(entry, {})
    if override:
        versions.tag(version, {"overridden": str(override)})  # for people who look in MLflow's pages
    descriptions.refresh(version.name)
    return Moved(version, before, override)


def _require_candidate(version: Version) -> None:
    """Raise if the version is champion already, no run of this project judged it, or it is not signed."""
    if alias_log.current(version.name, CHAMPION) == version.number:
        raise PromotionError(f"{version.uri} is already champion; nothing was changed")
    if not version.tags.get("artefact_sha256") or not version.is_complete:
        raise PromotionError(
            f"{version.uri} cannot become champion: its run did not finish, or another program registered it. "
            "Train it again."
        )
    version_files.signed_files(version)


def _require_sound(version: Version) -> None:
    """Raise unless a fresh process verifies that the registry serves what was tested."""
    refused = f"{version.uri} cannot become champion"
    with tempfile.TemporaryDirectory(dir=config.state_dir()) as folder:
        try:
            sample = run_history.fetch(version, "proof/sample.parquet", Path(folder) / "sample")
        except TrackingDownError:
            raise
        except (MlopsError, OSError) as error:
            raise PromotionError(
                f"{refused}: the sample for its verification is missing. {error}. Or choose another version."
            ) from error
        found = verification.verify(version, verification.Expected(sample), Path(folder) / "proof")
    versions.tag(version, {"proof": found.as_tag()})
    if not found.passed:
        raise PromotionError(
            f"{refused}: {found.reason}. Choose another version, or train it again with --force."
        )


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise ConfigError("reason: expected a text that says why, for the journal; got nothing")
