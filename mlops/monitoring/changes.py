"""Why a month's error differs from another month's: another mix of rides, or another error at constant mix.

With the shares p of the cells and their mean errors m, before (0) and now (1), the change of the mean error is
exactly ``sum (p1 - p0) (m0 + m1) / 2`` (mix) plus ``sum (p0 + p1) / 2 (m1 - m0)`` (at constant mix: within the
cells). A cell without trips in one of the months takes the other's mean, so that all of it is mix. The RMSE's
change is that of the mean squared error, divided by the sum of both RMSE, which is exact, too.

Source: E. Kitagawa, "Components of a Difference Between Two Rates", JASA 1955.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops.monitoring.cells import CELL
from mlops.monitoring.measures import FEWEST_DAYS, MEASURES, RMSE

Array = npt.NDArray[np.float64]

RESAMPLES, SEED = 1000, 1955
AIRPORT_RIDES, OTHER_RIDES = "airport rides", "other rides"
LEAST_TRIPS, LEAST_SHARE = 200, 0.002  # of a slice in each month; smaller ones are mostly noise
_ANY = "any_airport"  # dimension beside those of `CELL`: whether a ride has to do with an airport
_ORDER = ("airport", _ANY, "distance", "hour_band", "week")  # in which a slice is described


@dataclass(frozen=True)
class SliceChange:
    """What a group of rides contributes to the change at constant mix.

    Parameters
    ----------
    slice : str
        In words, as "airport rides (from JFK), 20-24 h, weekend".
    minutes : float
        Change of the measure within the group, at its own constant mix; minutes, or a share for coverage.
    share : float
        Share of this month's trips, 0 to 1.
    contribution : float
        Part of `Change.within` that is due to the group; groups that cover all rides once add up to it.
    dimensions : tuple of str
        By what the group is chosen: columns of `cells.CELL`, or ``any_airport``.
    """

    slice: str
    minutes: float
    share: float
    contribution: float
    dimensions: tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """The change of a contender's measure between two months. Intervals are of 95 %, by bootstrap over days.

    Parameters
    ----------
    contender, measure : str
        As ``champion``, and one of `measures.MEASURES`.
    before, now : float
        The measure in each month, minutes (a share for coverage).
    total, mix, within : float
        ``now - before``, and its two parts: another mix of rides, and the error at constant mix.
    total_interval, mix_interval, within_interval : tuple of float
        Low and high.
    cells : tuple of SliceChange
        For each cell, largest contribution first.
    slices : tuple of SliceChange
        The same for merged cells, chosen by one or two dimensions: those that contribute most beyond their share
        first.
    days : tuple of (str, float)
        Contribution of each day of this month to `within`, in order of time.
    """

    contender: str
    measure: str
    before: float
    now: float
    total: float
    mix: float
    within: float
    total_interval: tuple[float, float]
    mix_interval: tuple[float, float]
    within_interval: tuple[float, float]
    cells: tuple[SliceChange, ...]
    slices: tuple[SliceChange, ...]
    days: tuple[tuple[str, float], ...]


def split(before: pd.DataFrame, now: pd.DataFrame, contender: str, measure: str = RMSE) -> Change:
    """The change of a measure, split into mix and error at constant mix.

    Parameters
    ----------
    before, now : DataFrame
        From `sums.sum_up`; each with trips.
    contender : str
        ``champion``, ``predecessor`` or ``baseline``; both tables have its sums.
    measure : str
        One of `measures.MEASURES`.

    Examples
    --------
    >>> def month(day, squared):
    ...     cell = {"week": "weekend", "distance": "1-2 mi", "airport": ["", "to JFK"], "hour_band": "0-6 h"}
    ...     return pd.DataFrame({"day": day, "trips": [500, 500], "champion_squared": squared, **cell})
    >>> before, now = month("2023-06-01", [2000.0, 6000.0]), month("2023-07-01", [2000.0, 12500.0])
    >>> found = split(before, now, "champion")
    >>> round(found.total, 4), round(found.mix, 4), round(found.within, 4), found.slices[0].slice
    (0.9795, 0.0, 0.9795, 'airport rides (to JFK)')
    """
    pair = _Pair.of(before, now, f"{contender}_{MEASURES[measure]}", is_root=measure == RMSE)
    parts = pair.parts()
    change = float(parts.within.sum())
    total, mix, within = _intervals(pair)
    return Change(
        contender,
        measure,
        float(parts.before),
        float(parts.now),
        float(parts.now - parts.before),
        float(parts.mix.sum()),
        change,
        total,
        mix,
        within,
        tuple(sorted(_cells(pair, parts), key=lambda each: -abs(each.contribution))),
        tuple(sorted(_slices(pair, parts), key=lambda each: -abs(each.contribution - each.share * change))),
        _days(pair, parts),
    )


@dataclass(frozen=True, eq=False)
class _Parts:
    """A split: the measure in both months, and by cell the parts of its change, shape (..., cells).

    `mix` has a meaning only as a sum over all cells.
    """

    before: Array
    now: Array
    mix: Array
    within: Array
    shares: Array  # of trips, mean of both months


def _parts(before: Array, now: Array, *, is_root: bool) -> _Parts:
    """The split of the change between months, given as trips and sums by cell, shape (..., cells, 2) each."""
    (trips_0, sums_0), (trips_1, sums_1) = (np.moveaxis(month, -1, 0) for month in (before, now))
    with np.errstate(invalid="ignore", divide="ignore"):
        share_0, share_1 = (trips / trips.sum(axis=-1, keepdims=True) for trips in (trips_0, trips_1))
        mean_0, mean_1 = sums_0 / trips_0, sums_1 / trips_1
    mean_0 = np.where(trips_0 > 0, mean_0, np.where(trips_1 > 0, mean_1, 0))
    mean_1 = np.where(trips_1 > 0, mean_1, mean_0)
    overall_0, overall_1 = (share_0 * mean_0).sum(axis=-1), (share_1 * mean_1).sum(axis=-1)
    scale = np.ones_like(overall_0)
    if is_root:
        overall_0, overall_1 = np.sqrt(overall_0), np.sqrt(overall_1)
        both = overall_0 + overall_1
        scale = np.divide(1.0, both, out=np.zeros_like(both), where=both > 0)
    shares = (share_0 + share_1) / 2
    mix = (share_1 - share_0) * (mean_0 + mean_1) / 2 * scale[..., None]
    return _Parts(overall_0, overall_1, mix, shares * (mean_1 - mean_0) * scale[..., None], shares)


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two months by day and cell, with the same cells.

    Parameters
    ----------
    cells : DataFrame of c rows
        `CELL`, and whether a ride has to do with an airport.
    days : list of str
        Days of the second month.
    before, now : float64 arrays of shape (days, c, 2)
        Trips, and the sum of a measure.
    is_root : bool
        Whether the measure is the root of the mean.
    """

    cells: pd.DataFrame
    days: list[str]
    before: Array
    now: Array
    is_root: bool

    @classmethod
    def of(cls, before: pd.DataFrame, now: pd.DataFrame, column: str, *, is_root: bool) -> _Pair:
        """The months with the sums in one column."""
        index = pd.MultiIndex.from_frame(pd.concat([before, now])[[*CELL]].drop_duplicates())
        cells = index.to_frame(index=False)
        cells[_ANY] = np.where(cells["airport"] == "", OTHER_RIDES, AIRPORT_RIDES)
        (_, cube_0), (days, cube_1) = (_cube(month, index, column) for month in (before, now))
        return cls(cells, days, cube_0, cube_1, is_root)

    def parts(self, chosen: npt.NDArray[np.bool_] | slice = slice(None)) -> _Parts:
        """The split of the change, of all cells or of some as if there were no others."""
        before, now = (month.sum(axis=0)[chosen] for month in (self.before, self.now))
        return _parts(before, now, is_root=self.is_root)


def _cube(sums: pd.DataFrame, index: pd.MultiIndex, column: str) -> tuple[list[str], Array]:
    """Days, and trips and sums by day and cell, shape (days, cells, 2)."""
    day, days = pd.factorize(sums["day"], sort=True)
    cell = index.get_indexer(pd.MultiIndex.from_frame(sums[[*CELL]]))
    cube = np.zeros((len(days), len(index), 2))
    np.add.at(cube, (day, cell), sums[["trips", column]].to_numpy(np.float64))
    return [*map(str, days)], cube


def _intervals(pair: _Pair) -> tuple[tuple[float, float], ...]:
    """95 % intervals of change, mix and error at constant mix: days of both months are drawn again.

    NaN if one of the months has few days.
    """
    if min(len(pair.before), len(pair.now)) < FEWEST_DAYS:
        return ((math.nan, math.nan),) * 3
    rng = np.random.default_rng(SEED)
    drawn = []
    for month in (pair.before, pair.now):
        days = len(month)
        weights = rng.multinomial(days, np.full(days, 1 / days), RESAMPLES).astype(np.float64)
        drawn.append(np.tensordot(weights, month, axes=1))
    parts = _parts(*drawn, is_root=pair.is_root)
    values = (parts.now - parts.before, parts.mix.sum(axis=-1), parts.within.sum(axis=-1))
    return tuple(_interval(each) for each in values)


def _interval(values: Array) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _cells(pair: _Pair, parts: _Parts) -> Iterator[SliceChange]:
    trips = pair.now.sum(axis=0)[:, 0]
    for place, cell in enumerate(pair.cells.to_dict("records")):
        alone = np.arange(len(trips)) == place
        yield SliceChange(
            _in_words({name: str(cell[name]) for name in CELL}),
            _alone(pair, alone),
            float(trips[place] / trips.sum()),
            float(parts.within[place]),
            CELL,
        )


def _slices(pair: _Pair, parts: _Parts) -> Iterator[SliceChange]:
    """Merged cells of enough trips in both months, by one or two dimensions."""
    trips = [month.sum(axis=0)[:, 0] for month in (pair.before, pair.now)]
    for names in _dimensions():
        labels = pd.MultiIndex.from_frame(pair.cells[[*names]])
        for values in labels.unique():
            chosen = np.asarray(labels == values)
            counts = [float(each[chosen].sum()) for each in trips]
            enough = all(
                n >= max(LEAST_TRIPS, LEAST_SHARE * each.sum()) for n, each in zip(counts, trips, strict=True)
            )
            about = dict(zip(names, map(str, values), strict=True))
            if enough and about.get("airport") != "" and OTHER_RIDES not in values:
                contribution = float(parts.within[chosen].sum())
                share = counts[1] / float(trips[1].sum())
                yield SliceChange(_in_words(about), _alone(pair, chosen), share, contribution, names)


def _dimensions() -> Iterator[tuple[str, ...]]:
    """The dimensions by which cells are merged: one, or two at once."""
    for names in (*itertools.combinations(_ORDER, 1), *itertools.combinations(_ORDER, 2)):
        if names != ("airport", _ANY):
            yield names


def _alone(pair: _Pair, chosen: npt.NDArray[np.bool_]) -> float:
    """Change of the measure within some cells at their own constant mix; 0 if a month has no trips of them."""
    before, now = (float(month[:, chosen, 0].sum()) for month in (pair.before, pair.now))
    return float(pair.parts(chosen).within.sum()) if before and now else 0.0


def _days(pair: _Pair, parts: _Parts) -> tuple[tuple[str, float], ...]:
    """Contribution of each day to the error at constant mix; they add up to it."""
    trips_0, sums_0 = pair.before.sum(axis=0).T
    trips_1, sums_1 = pair.now.sum(axis=0).T
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_0 = np.where(trips_0 > 0, sums_0 / trips_0, sums_1 / trips_1)
        share = parts.shares / trips_1
        scale = 1 / (parts.before + parts.now) if pair.is_root else 1.0
        each = share * (pair.now[..., 1] - pair.now[..., 0] * mean_0) * scale
    totals = np.where(trips_1 > 0, each, 0).sum(axis=1)
    return tuple(zip(pair.days, map(float, np.nan_to_num(totals)), strict=True))


def _in_words(values: dict[str, str]) -> str:
    """A group of rides in words.

    Examples
    --------
    >>> _in_words({"week": "weekend", "hour_band": "20-24 h", "airport": "from JFK"})
    'airport rides (from JFK), 20-24 h, weekend'
    """
    airport, distance = values.get("airport", ""), values.get("distance", "")
    texts = [
        f"{AIRPORT_RIDES} ({airport})" if airport else "",
        values.get(_ANY, ""),
        "distance not known" if distance == "not known" else distance,
        values.get("hour_band", ""),
        values.get("week", ""),
    ]
    return ", ".join(filter(None, texts))
