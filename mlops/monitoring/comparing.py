"""A month compared with what the champion had promised: answers, sums of errors, and the parts of the change."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mlops.errors import MlopsError, TrackingDownError, one_line
from mlops.evaluation.comparison import Evidence
from mlops.monitoring import answers, changes, measures, sums
from mlops.monitoring.causes import LAST_MONTH
from mlops.monitoring.changes import Change
from mlops.monitoring.months import Prepared, Watched
from mlops.monitoring.sums import BASELINE, CHAMPION, CONTENDERS, DAY, PREDECESSOR

logger = logging.getLogger(__name__)


EXPLAINED = ("rmse", "bias")  # measures whose change is split into its parts


@dataclass(frozen=True, eq=False)
class Compared:
    """The errors of a month, and how they differ from those on the champion's test month.

    Parameters
    ----------
    watched : Watched
        Without its predecessor if that one could not answer.
    now : DataFrame
        Sums of the month, from `sums.sum_up`.
    promised : DataFrame or None
        Sums of the champion's test month; None if the source no longer has it.
    last_month : DataFrame or None
        Sums of the month before; None if it is the champion's test month, or if it is not there.
    changes : mapping of str to Change
        The champion's changes of the measures in `EXPLAINED`; empty without `promised`.
    evidence : Evidence or None
        Champion and predecessor for the verdict's paired test; None without a predecessor.
    notes : tuple of str
        What limits the comparison, as sentences without their full stops.
    """

    watched: Watched
    now: pd.DataFrame
    promised: pd.DataFrame | None
    last_month: pd.DataFrame | None
    changes: Mapping[str, Change]
    evidence: Evidence | None
    notes: tuple[str, ...]

    @property
    def trips(self) -> int:
        """Trips of the month that were compared."""
        return int(self.now["trips"].sum())

    @property
    def is_short(self) -> bool:
        """Whether the month has trips on fewer than `measures.FEWEST_DAYS` days: nothing is significant."""
        return _days(self.now) < measures.FEWEST_DAYS


def compare(watched: Watched, threads: int) -> Compared:
    """Answers, sums and changes of a month.

    Parameters
    ----------
    watched : Watched
    threads : int
        Threads that a model may use.

    Raises
    ------
    MlopsError
        When the champion cannot answer; a predecessor that cannot is left out, with a note.
    TrackingDownError
        When the registry does not answer.
    """
    given = {CHAMPION: answers.answer(watched.champion, watched.now, threads)}
    notes = [*filter(None, (watched.no_predecessor,)), *watched.notes]
    why = _ask_predecessor(watched, threads, given)
    if why:
        notes.append(why)
    now = sums.sum_up(watched.now, given, sums.baseline_of(watched.before))
    if _days(now) < measures.FEWEST_DAYS:
        notes.insert(0, _too_short(watched, _days(now)))
    promised = _champions(watched, watched.promised, threads)
    last_month = _champions(watched, _month_before(watched), threads)
    evidence = None
    if watched.predecessor and PREDECESSOR in given:
        evidence = sums.evidence(now, watched.champion, watched.predecessor)
    return Compared(watched, now, promised, last_month, changes_of(promised, now), evidence, tuple(notes))


def _days(now: pd.DataFrame) -> int:
    return int(now[DAY].nunique())


def measured(compared: Compared) -> dict[str, float]:
    """The measured values as a `record.Record` keeps them, minutes; those that there are none of are left out.

    A month of few days has no intervals: so it is never a reason to roll back or to train.
    """
    found = measures.measure(compared.now, CHAMPION)
    found["rmse_low"], found["rmse_high"] = measures.interval(compared.now, CHAMPION)
    for contender in (PREDECESSOR, BASELINE):
        found[f"rmse_{contender}"] = measures.measure(compared.now, contender).get("rmse", math.nan)
    if compared.promised is not None:
        found["rmse_promised"] = measures.measure(compared.promised, CHAMPION)["rmse"]
    if change := compared.changes.get("rmse"):
        found |= {"change": change.total, "change_mix": change.mix, "change_within": change.within}
        found["change_within_low"], found["change_within_high"] = change.within_interval
    if bias := compared.changes.get("bias"):
        low, high = bias.within_interval
        found |= {"bias_within": bias.within, "bias_within_low": low, "bias_within_high": high}
    found |= _grown_last_month(compared)
    if evidence := compared.evidence:
        found["gain_predecessor"] = evidence.rmse("champion") - evidence.rmse("challenger")
        if not compared.is_short:
            found["gain_predecessor_low"], found["gain_predecessor_high"] = evidence.gain_interval()
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _ask_predecessor(watched: Watched, threads: int, given: dict[str, Path]) -> str:
    """Add the predecessor's answers; why there are none, or an empty text."""
    if watched.predecessor is None:
        return ""
    try:
        given[PREDECESSOR] = answers.answer(watched.predecessor, watched.now, threads)
    except TrackingDownError:
        raise  # an outage says nothing about the predecessor
    except MlopsError as error:
        logger.warning("%s cannot be compared: %s", watched.predecessor.uri, error)
        return f"version {watched.predecessor.number}, the predecessor, cannot answer: {one_line(error, 300)}"
    return ""


def _too_short(watched: Watched, days: int) -> str:
    counted = f"{days} day{'s' if days > 1 else ''}"
    return (
        f"{watched.month} has trips on {counted} only: with fewer than {measures.FEWEST_DAYS}, nobody can say "
        "whether a model is worse"
    )


def _champions(watched: Watched, month: Prepared | None, threads: int) -> pd.DataFrame | None:
    """Sums of the champion's errors in another month."""
    if month is None:
        return None
    return sums.sum_up(month, {CHAMPION: answers.answer(watched.champion, month, threads)})


def _month_before(watched: Watched) -> Prepared | None:
    """The month before, if it is there and the champion was tested on an earlier one."""
    last = watched.before[-1] if watched.before else None
    is_later = watched.promised is not None and last is not None and watched.promised.month < last.month
    return last if is_later and last and last.month == watched.month - 1 else None


def _grown_last_month(compared: Compared) -> dict[str, float]:
    """How much the error at constant mix had changed by the month before."""
    if compared.promised is None or compared.last_month is None:
        return {}
    change = changes.split(compared.promised, compared.last_month, CHAMPION)
    low, high = change.within_interval
    found = {"change_within": change.within, "change_within_low": low, "change_within_high": high}
    return {name.replace("within", f"within{LAST_MONTH}"): value for name, value in found.items()}


def changes_of(
    promised: pd.DataFrame | None, now: pd.DataFrame, wanted: Sequence[str] = EXPLAINED
) -> dict[str, Change]:
    """The champion's changes by measure, from the sums of both months; none without its test month."""
    if promised is None:
        return {}
    columns = {name: f"{CHAMPION}_{measures.MEASURES[name]}" for name in wanted}
    there = [name for name, column in columns.items() if column in promised and column in now]
    return {name: changes.split(promised, now, CHAMPION, name) for name in there}


def measures_by_contender(now: pd.DataFrame, promised: pd.DataFrame | None) -> pd.DataFrame:
    """A row for each of `measures.MEASURES`; columns ``measure`` and the contenders, NaN where there is none."""
    found = {name: measures.measure(now, name) for name in CONTENDERS}
    if promised is not None:
        found["promised"] = measures.measure(promised, CHAMPION)
    table = pd.DataFrame(found, index=[*measures.MEASURES], dtype=float)
    table = table.reindex(columns=[CHAMPION, "promised", PREDECESSOR, BASELINE])
    return table.rename_axis("measure").reset_index().rename(columns={BASELINE: "pair median"})
