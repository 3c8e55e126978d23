"""Intervals of artefacts of format 2, from before 2026-12: tables of factors, as decision 10 describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .features import MIN_MILES

Array = npt.NDArray[Any]

FILE = "intervals.npz"
LENGTHS = 12  # bins of the predicted minutes
FACTORS = ("length", "hour", "pickup_zone", "dropoff_zone", "weekday")


@dataclass(frozen=True, eq=False)
class IntervalTables:
    """Bounds around predicted minutes: the usual error, a factor for each of `FACTORS`, and quantiles.

    Parameters
    ----------
    tables : dict of str to float64 array
        ``lengths``: inner edges of the bins of predicted minutes. ``scale``: the mean absolute error in minutes.
        One table for each factor. ``quantiles``, shape (kinds x 3, 4): of the errors divided by their usual size.
    """

    tables: Mapping[str, Array]

    @classmethod
    def load(cls, folder: Path) -> IntervalTables | None:
        """Tables of an artefact; None if it has no intervals."""
        if not (folder / FILE).is_file():
            return None
        with np.load(folder / FILE) as tables:
            return cls(dict(tables))

    def bounds(self, columns: Mapping[str, Array], minutes: Array) -> Array:
        """`intervals.INTERVAL_COLUMNS` around the predicted minutes, float64 of shape (n, 4)."""
        length = np.searchsorted(self.tables["lengths"], minutes)
        unmeasured = ~(columns["distance_miles"] >= MIN_MILES)
        kind = 2 * np.isnan(columns["passenger_count"]) + unmeasured
        weekend = columns["weekday"] >= 5
        keys = {**columns, "length": kind * LENGTHS + length}
        keys["hour"] = columns["minute_of_day"] // 60 + 24 * weekend
        usual = np.full(len(minutes), self.tables["scale"][0])
        for factor in FACTORS:
            usual = usual * self.tables[factor][keys[factor]]
        quantiles = self.tables["quantiles"][kind * 3 + length * 3 // LENGTHS]
        return np.asarray(minutes[:, None] + usual[:, None] * quantiles)
