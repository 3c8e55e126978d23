"""Promotions that wait until a person approves them, if the setting `require_approval` asks for that.

Such a version stays challenger and has a signed tag `waits_for_approval`. The tag gives nobody any right: an
approval is a promotion by a person, with the usual verification. A version waits no longer when a newer one waits,
or when `champion` has moved since: it was compared with another champion.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final

from mlops.errors import command
from mlops.registry import alias_log, signature, versions
from mlops.registry.alias_log import CHAMPION, Entry
from mlops.registry.versions import Version

WAITING: Final = "waiting for approval"  # outcome of a run, beside champion and challenger
TAG: Final = "waits_for_approval"
NEVER, BORDERLINE = "never", "borderline"  # of the setting; the third is always
CLEAR_GAIN = 2.0  # times `min_improvement`: a gain of less is borderline
# Of the gain: the lower end of its 95 % interval is below it where a 99 % interval touches zero.
CLEAR_LOW = 0.25


@dataclass(frozen=True)
class Waiting:
    """A version that waits for approval.

    Parameters
    ----------
    version : Version
    last_move : int
        Number of the last move of `champion` in the journal when it was judged; 0 if there was none.
    why : str
        Why it waits, for people.
    since : str
        UTC, ISO 8601.
    """

    version: Version
    last_move: int
    why: str
    since: str

    def __str__(self) -> str:
        since, how = f"{self.since[:16]} UTC", how_to_approve(self.version)
        return f"version {self.version.number} waits for approval since {since}: {self.why}. {how}"


def why_wait(required: str, measured: Mapping[str, float], min_improvement: float) -> str:
    """Why a promotion must wait, as a sentence; empty if it need not.

    Parameters
    ----------
    required : {"never", "borderline", "always"}
        The setting `require_approval`.
    measured : mapping
        Of the verdict. Without ``improvement`` there was no champion, or it could not be scored: then nothing is
        borderline.
    min_improvement : float
        The setting.

    Examples
    --------
    >>> won = {"improvement": 0.015, "gain_minutes": 0.06, "gain_low": 0.05}
    >>> why_wait("borderline", won, 0.01)
    'the gain of 1.50% is less than twice the required 1.00%'
    >>> why_wait("borderline", won, 0.005)
    ''
    """
    if required == NEVER:
        return ""
    if required != BORDERLINE:
        return "every promotion needs an approval"
    if "improvement" not in measured:
        return ""
    gain, low = measured["gain_minutes"], measured["gain_low"]
    if measured["improvement"] < CLEAR_GAIN * min_improvement:
        return (
            f"the gain of {measured['improvement']:.2%} is less than twice the required {min_improvement:.2%}"
        )
    if low < CLEAR_LOW * gain:
        return f"the 95 % interval of the gain of {gain:.4f} minutes begins at {low:.4f}, which is near zero"
    return ""


def tag_of(version: Version, why: str) -> dict[str, str]:
    """The tag of a version that waits from now on; the same if it waits already."""
    known, (last_move, _) = _read(version), _last_move(version.name)
    if known and known.last_move == last_move:
        return {TAG: version.tags[TAG]}
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    fields = {"last_move": last_move, "why": why[:500], "since": since}
    auth = signature.sign(signature.APPROVAL, _signed(version, fields))
    return {TAG: json.dumps({**fields, "auth": auth}, ensure_ascii=False)}


def waiting(name: str) -> Waiting | None:
    """The version of a model that waits for approval, if one does.

    Raises
    ------
    TrackingError
        When the registry does not answer.
    """
    return waiting_among(versions.list_all(name), alias_log.read(name), alias_log.current(name, CHAMPION))


def waiting_among(found: Sequence[Version], entries: Sequence[Entry], champion: str | None) -> Waiting | None:
    """The same, from what was read of a model already.

    Parameters
    ----------
    found : sequence of Version
        All versions, oldest first.
    entries : sequence of Entry
        The journal, oldest first, without forged entries.
    champion : str or None
        Number of the champion.
    """
    waits = [each for version in found[::-1] if version.is_complete and (each := _read(version))]
    is_unmoved = bool(waits) and (waits[0].last_move, champion) == _last_of(entries)
    return waits[0] if is_unmoved else None


def how_to_approve(version: Version) -> str:
    """What a person does to approve a version, as a sentence."""
    approve = command(f"approve {version.number} --model {version.name} --reason ...")
    return f"To make it champion: {approve}; or give it the alias champion in MLflow's page"


def _last_move(name: str) -> tuple[int, str | None]:
    """Number of the last move of `champion` in the journal, and where it went; 0 and None if there is none."""
    return _last_of(alias_log.read(name))


def _last_of(entries: Sequence[Entry]) -> tuple[int, str | None]:
    moves = [entry for entry in entries if entry.alias == CHAMPION and entry.state == alias_log.DONE]
    return (moves[-1].number, moves[-1].after) if moves else (0, None)


def _read(version: Version) -> Waiting | None:
    """What the tag of a version says; None without one, or if it is not signed."""
    try:
        fields = json.loads(version.tags.get(TAG, "{}"))
        auth = fields.pop("auth", None)
        if not signature.is_signed(signature.APPROVAL, _signed(version, fields), auth):
            return None
        return Waiting(version, fields["last_move"], fields["why"], fields["since"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # somebody changed the tag
        return None


def _signed(version: Version, fields: Mapping[str, object]) -> dict[str, object]:
    """What the signature is made of: so it is none of another version, or of changed words."""
    return {"model": version.name, "version": version.number, "run": version.run_id, **fields}
