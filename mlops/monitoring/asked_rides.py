"""How far the rides that the service was asked about are from the rides of the months before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlops.data.trips import Quality
from mlops.monitoring import samples
from mlops.monitoring.faults.compared import Compared
from mlops.monitoring.faults.inputs import INPUTS, measured_psi
from mlops.monitoring.faults.profile import Profile
from mlops.monitoring.months import Prepared
from mlops.monitoring.samples import Sample
from mlops.month import Month

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


def drift(asked: pd.DataFrame, month: Month, before: Sequence[Prepared]) -> tuple[Moved, ...]:
    """How far the requests of a month are from the trips of the months before, the furthest first.

    A caller may ask about other rides than those that taxis make, always. So this is compared with earlier months
    of requests by a person; no alarm comes from it.

    Parameters
    ----------
    asked : DataFrame
        Rows of the request log; those whose pickup is in another month are left out.
    month : Month
    before : sequence of Prepared
        Without any, nothing is said.
    """
    now = Profile(_as_sample(asked, month))
    if not before or now.rows.empty:
        return ()
    compared = Compared(now, tuple(Profile(samples.read(each)) for each in before))
    found = []
    for each in INPUTS:
        if each.name not in OUTCOMES:
            measured = measured_psi(each, compared)
            found.append(Moved(each.name, measured.now, measured.usual + measured.threshold))
    return tuple(sorted(found, key=lambda moved: moved.threshold - moved.psi))


def _as_sample(asked: pd.DataFrame, month: Month) -> Sample:
    """The requests as trips without a duration."""
    zones = {name: asked[name].fillna(0).to_numpy(np.int64) for name in ("pickup_zone", "dropoff_zone")}
    unknown = {"duration_minutes": np.nan, "vendor": -1, "is_clean": True, "for_training": True}
    rows = asked[["pickup_at", "distance_miles", "passenger_count"]].assign(**zones, **unknown)
    return Sample(str(month), Quality(len(rows), len(rows), len(rows)), rows, 1.0)
