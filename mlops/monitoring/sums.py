"""Errors of a month as sums by day and cell: a small table from which everything about errors is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops.evaluation.baseline import PairMedian
from mlops.evaluation.comparison import Evidence, Incumbent
from mlops.evaluation.metrics import interval_measures, pair_codes
from mlops.model.intervals import INTERVAL_COLUMNS
from mlops.monitoring import answers, cells, samples
from mlops.monitoring.cells import CELL
from mlops.monitoring.months import Prepared
from mlops.month import Month
from mlops.registry.signed_version import Version

Array = npt.NDArray[Any]

CHAMPION, PREDECESSOR, BASELINE = "champion", "predecessor", "baseline"
CONTENDERS = (CHAMPION, PREDECESSOR, BASELINE)
DAY, TRIPS, ACTUAL = "day", "trips", "minutes"
_RENAMED = {
    "coverage_80": "inside_80", "coverage_95": "inside_95", "interval_score_80": "score_80",
    "interval_score_95": "score_95",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class PairTable:
    """Answers of the pair median for each pair of zones, looked up instead of computed again.

    Parameters
    ----------
    pairs : int64 array of shape (p,)
        `metrics.pair_codes`, sorted.
    columns : dict of str to float64 array of shape (p + 1,)
        ``duration_minutes`` and `INTERVAL_COLUMNS`; the last value is for all other pairs.
    """

    pairs: Array
    columns: Mapping[str, Array]

    @classmethod
    def of(cls, baseline: PairMedian) -> PairTable:
        """The answers of a pair median."""
        pairs = np.sort(baseline.by_pair.index.to_numpy(np.int64))
        known = pairs[pairs >= 0]
        asked = pd.DataFrame(
            {"pickup_zone": np.append(known // 1000, -1), "dropoff_zone": np.append(known % 1000, 999)}
        )
        ranges = baseline.intervals(asked)
        columns = {"duration_minutes": np.asarray(baseline.predict(asked), np.float64)}
        columns |= {name: ranges[name].to_numpy(np.float64) for name in INTERVAL_COLUMNS}
        return cls(known, columns)

    def answer(self, requests: Mapping[str, Array]) -> dict[str, Array]:
        """Its answers to n requests, shape (n,) each."""
        codes = pair_codes(requests)
        place = np.searchsorted(self.pairs, codes).clip(0, max(len(self.pairs) - 1, 0))
        is_known = self.pairs[place] == codes if len(self.pairs) else np.zeros(len(codes), bool)
        place = np.where(is_known, place, len(self.pairs))
        return {name: values[place] for name, values in self.columns.items()}


def baseline_of(before: Sequence[Prepared]) -> PairTable | None:
    """The pair median of the months before, from a sample of the clean trips of each; None without trips."""
    taken = [samples.sample(month) for month in before]
    learnt = pd.concat([trips[trips["for_training"]] for trips in taken]) if taken else pd.DataFrame()
    if learnt.empty:
        return None
    zones = {name: learnt[name].to_numpy(np.int64) for name in ("pickup_zone", "dropoff_zone")}
    return PairTable.of(PairMedian(zones, learnt["duration_minutes"].to_numpy(np.float64)))


def sum_up(prepared: Prepared, given: Mapping[str, Path], baseline: PairTable | None = None) -> pd.DataFrame:
    """Sums of errors of a month's clean trips.

    Parameters
    ----------
    prepared : Prepared
    given : mapping of str to Path
        Files from `answers.answer` by contender: ``champion``, ``predecessor``.
    baseline : PairTable, optional
        The contender ``baseline``.

    Returns
    -------
    DataFrame of one row for each day and cell with trips
        ``day`` (YYYY-MM-DD), the columns of `cells.CELL`, ``trips``, ``minutes`` (sum of the durations), and for
        each contender c the sums ``c_squared``, ``c_absolute``, ``c_error`` (predicted minus actual, minutes), and
        if it gives ranges ``c_inside_80``, ``c_inside_95`` (trips), ``c_score_80``, ``c_score_95`` and
        ``c_width_80_squared``.
    """
    totals: dict[str, Array] = {}
    table = pd.DataFrame()
    days = (prepared.month.end - prepared.month.start).days
    readers = [answers.read(path) for path in given.values()]
    trips = answers.requests(prepared.clean, "duration_minutes")
    for batch, *found in zip(trips, *readers, strict=True):
        by_contender = dict(zip(given, found, strict=True))
        if baseline is not None:
            by_contender[BASELINE] = baseline.answer(batch)
        numbers, table = cells.assign(pd.DataFrame(batch, copy=False))
        place = _day_numbers(batch["pickup_at"], prepared.month) * len(table) + numbers
        for name, values in _measured(batch["duration_minutes"], by_contender):
            sums = np.bincount(place, values, days * len(table))
            totals[name] = totals[name] + sums if name in totals else sums
    return _as_table(totals, table, prepared.month)


def _day_numbers(pickup_at: Array, month: Month) -> Array:
    days = pickup_at.astype("datetime64[D]") - np.datetime64(month.start, "D")
    return days.astype(np.int64)


def _measured(
    actual: Array, by_contender: Mapping[str, Mapping[str, Array]]
) -> Iterator[tuple[str, Array | None]]:
    """Columns of the sums, each with its value for n trips; no values mean 1 for each."""
    yield TRIPS, None
    yield ACTUAL, actual
    for contender, found in by_contender.items():
        error = found["duration_minutes"] - actual
        yield f"{contender}_squared", error**2
        yield f"{contender}_absolute", np.abs(error)
        yield f"{contender}_error", error
        if all(name in found and np.isfinite(found[name]).all() for name in INTERVAL_COLUMNS):
            measures = interval_measures(
                actual, pd.DataFrame({name: found[name] for name in INTERVAL_COLUMNS})
            )
            for name, short in _RENAMED.items():
                yield f"{contender}_{short}", measures[name]
            yield f"{contender}_width_80_squared", measures["width_80"] ** 2


def _as_table(totals: Mapping[str, Array], table: pd.DataFrame, month: Month) -> pd.DataFrame:
    if not totals:
        return pd.DataFrame({name: [] for name in (DAY, *CELL, TRIPS, ACTUAL)})
    there = np.flatnonzero(totals[TRIPS])
    day, cell = np.divmod(there, len(table))
    dates = (np.datetime64(month.start, "D") + day).astype(str)
    found = table.iloc[cell].reset_index(drop=True)
    found.insert(0, DAY, dates)
    columns = {name: sums[there] for name, sums in totals.items()}
    return found.assign(**columns).astype({TRIPS: np.int64})


def evidence(sums: pd.DataFrame, champion: Version, predecessor: Version) -> Evidence:
    """The errors of both versions as a verdict sees them: champion, and its predecessor as the challenger.

    So a rollback is decided by the verdict's own paired test: `Evidence.gain_interval` is the 95 % interval of the
    champion's RMSE minus the predecessor's, on the same days.
    """
    by_day = sums.groupby(DAY, as_index=False)[[name for name in sums if name not in (DAY, *CELL)]].sum()
    names = {
        f"{PREDECESSOR}_squared": "challenger",
        f"{CHAMPION}_squared": "champion",
        f"{BASELINE}_squared": "pair_median",
    }
    days = by_day[[DAY, TRIPS, *filter(by_day.__contains__, names)]].rename(columns=names)
    tags = champion.tags
    incumbent = Incumbent(champion.number, tags.get("test_month", ""), tags.get("last_month_learnt", ""))
    month = str(by_day[DAY].min())[:7]
    return Evidence(month, days, pd.DataFrame(), incumbent, True, np.nan, np.nan, 0, 0.0)
