"""How far each input of a month moved, as a table for the report: an explanation, never a reason for an alarm."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mlops.monitoring import samples
from mlops.monitoring.faults.compared import Compared
from mlops.monitoring.faults.inputs import INPUTS, measured_psi, wasserstein
from mlops.monitoring.faults.profile import Profile
from mlops.monitoring.months import Prepared

COLUMNS = ("feature", "psi", "wasserstein", "threshold", "is_large")


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
        When a published file cannot be read.
    """
    if not before:
        return pd.DataFrame(columns=list(COLUMNS))
    profiles = tuple(Profile(samples.read(month)) for month in before)
    compared = Compared(Profile(samples.read(now)), profiles)
    rows, order = [], []
    for each in INPUTS:
        measured = measured_psi(each, compared)
        apart = float("nan")
        if each.values is not None:
            apart = wasserstein(each.values(compared.now), [each.values(profile) for profile in profiles])
        limit = measured.usual + measured.threshold
        rows.append((each.name, measured.now, apart, limit, measured.strength >= 1))
        order.append(measured.strength)
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    return found.iloc[pd.Series(order).sort_values(ascending=False).index].reset_index(drop=True)
