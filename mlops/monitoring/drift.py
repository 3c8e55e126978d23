"""How far the inputs of a month moved: of its trips, or of requests before there are trips.

An explanation, never a reason for an alarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlops.data.trips import Quality
from mlops.monitoring import samples
from mlops.monitoring.faults.compared import Compared
from mlops.monitoring.faults.inputs import INPUTS, Input, measured_psi, wasserstein
from mlops.monitoring.faults.profile import Profile
from mlops.monitoring.faults.spread import Measured
from mlops.monitoring.months import Prepared
from mlops.monitoring.samples import Sample
from mlops.month import Month

COLUMNS = ("feature", "psi", "wasserstein", "threshold", "is_large")
OUTCOMES = ("speed", "duration")  # a request has none


@dataclass(frozen=True)
class Moved:
    """How far one column of the requests is from the months before.

    Parameters
    ----------
    feature : str
    psi : float
        Population stability index.
    threshold : float
        PSI from which it is more than the spread among these months.
    """

    feature: str
    psi: float
    threshold: float

    @property
    def is_large(self) -> bool:
        """Whether it is more than the spread among the months before."""
        return self.psi >= self.threshold


def table(now: Prepared, before: Sequence[Prepared]) -> pd.DataFrame:
    """How far each input of a month is from the months before it; the furthest first.

    Parameters
    ----------
    now : Prepared
    before : sequence of Prepared
        Oldest first; without any, the table is empty.

    Returns
    -------
    DataFrame of one row for each input
        ``feature``, ``psi`` (population stability index), ``wasserstein`` (in the input's unit: miles, passengers,
        miles an hour, minutes; NaN for codes), ``threshold`` (PSI from which it is more than the spread among the
        months before) and ``is_large``.

    Raises
    ------
    TripSchemaError
        When the published file cannot be read.
    """
    if not before:
        return pd.DataFrame(columns=list(COLUMNS))
    compared = _compared(Profile(samples.read(now)), before)
    rows = [
        (each.name, measured.now, _wasserstein(each, compared), _limit(measured), measured.strength >= 1)
        for each, measured in _measured(compared)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def of_requests(asked: pd.DataFrame, month: Month, before: Sequence[Prepared]) -> tuple[Moved, ...]:
    """How far the requests of a month are from the trips of the months before, the furthest first.

    People may ask the service about other rides than those that taxis make, in each month. So large values are
    usual here: compare them with those of earlier months.

    Parameters
    ----------
    asked : DataFrame
        Rows of the request log; those whose pickup is in another month are left out.
    month : Month
    before : sequence of Prepared
        Without any, the result is empty.

    Raises
    ------
    TripSchemaError
        When the published file of a month before cannot be read.
    """
    now = Profile(_as_sample(asked, month))
    if not before or now.rows.empty:
        return ()
    found = _measured(_compared(now, before), but=OUTCOMES)
    return tuple(Moved(each.name, measured.now, _limit(measured)) for each, measured in found)


def _compared(now: Profile, before: Sequence[Prepared]) -> Compared:
    return Compared(now, tuple(Profile(samples.read(month)) for month in before))


def _measured(compared: Compared, but: Sequence[str] = ()) -> list[tuple[Input, Measured]]:
    """Each input with its PSI, the furthest first."""
    found = [(each, measured_psi(each, compared)) for each in INPUTS if each.name not in but]
    return sorted(found, key=lambda pair: -pair[1].strength)


def _limit(measured: Measured) -> float:
    return measured.usual + measured.threshold


def _wasserstein(each: Input, compared: Compared) -> float:
    """In the input's unit; NaN for codes."""
    if each.values is None:
        return float("nan")
    return wasserstein(each.values(compared.now), [each.values(profile) for profile in compared.before])


def _as_sample(asked: pd.DataFrame, month: Month) -> Sample:
    """The requests as trips without a duration."""
    zones = {name: asked[name].fillna(0).to_numpy(np.int64) for name in ("pickup_zone", "dropoff_zone")}
    unknown = {"duration_minutes": np.nan, "vendor": -1, "is_clean": True, "for_training": True}
    rows = asked[["pickup_at", "distance_miles", "passenger_count"]].assign(**zones, **unknown)
    return Sample(str(month), Quality(len(rows), len(rows), len(rows)), rows, 1.0)
