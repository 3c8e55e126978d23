"""Versions, alias moves and overridden verdicts as records, from what MLflow has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timezone

from mlops.registry import overrides, verification
from mlops.registry.alias_log import Entry
from mlops.registry.overrides import Override
from mlops.registry.records import AliasMove, ListedVersion, OverriddenVerdict
from mlops.registry.versions import Version


def version(found: Version, aliases: Mapping[str, str], override: Override | None) -> ListedVersion:
    """A version as a record.

    Parameters
    ----------
    found : Version
    aliases : mapping
        The number of the version that each alias of the model points at.
    override : Override or None
        Of its verdict.
    """
    tags = found.tags
    proof = tags.get("proof")
    return ListedVersion(
        number=found.number,
        uri=found.uri,
        aliases=tuple(alias for alias, number in sorted(aliases.items()) if number == found.number),
        is_forced=tags.get("forced") == "true",
        first_month_learnt=tags.get("first_month_learnt"),
        last_month_learnt=tags.get("last_month_learnt"),
        test_month=tags.get("test_month"),
        rmse_minutes=finite(tags.get("test_rmse")),
        verdict=overrides.verdict_of(found) if found.is_complete else "unfinished",
        reason=tags.get("reason", ""),
        override=overridden(override) if override else None,
        verified=None if proof is None else "passed" if proof == verification.PASSED else "failed",
        verification="" if proof in (None, verification.PASSED) else proof,
        run_id=found.run_id,
        registered_at=found.registered_at,
    )


def move(entry: Entry, override: Override | None) -> AliasMove:
    """An entry of the journal as a record; `override` is what it overrode, as `overrides.override_of` says."""
    return AliasMove(
        number=entry.number,
        at=time_of(entry.at),
        alias=entry.alias,
        before=entry.before,
        after=entry.after,
        verdict=entry.verdict,
        overrides=override.verdict if override else None,
        by=entry.by,
        reason=entry.reason,
        state=entry.state,
        proof=entry.proof,
    )


def overridden(override: Override) -> OverriddenVerdict:
    """An overridden verdict as a record."""
    entry = override.entry
    return OverriddenVerdict(
        verdict=override.verdict,
        at=time_of(entry.at),
        by=entry.by,
        move=entry.verdict,
        reason=entry.reason,
    )


def finite(value: object) -> float | None:
    """A number, or None for what is none: missing, not finite, or a text that somebody changed by hand.

    Examples
    --------
    >>> finite("4.5"), finite("good"), finite(float("nan")), finite(None)
    (4.5, None, None, None)
    """
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def time_of(text: str) -> datetime:
    """A time of the journal, UTC; without an offset it is in UTC already.

    Raises
    ------
    ValueError
        When the text is no time.

    Examples
    --------
    >>> time_of("2026-10-01T10:00:00+02:00").isoformat()
    '2026-10-01T08:00:00+00:00'
    """
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        return found.replace(tzinfo=timezone.utc)
    try:
        return found.astimezone(timezone.utc)
    except OverflowError:  # a forged entry of the year 1 or 9999
        return found.replace(tzinfo=timezone.utc)
