"""How many rows of a file were answered and rejected, and how good the answers are where the truth is known."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops.data.trips import LONGEST_MINUTES, SHORTEST_MINUTES
from mlops.model.learned_range import OUT_OF_RANGE
from mlops.month import Month
from mlops.scoring.answering import ACTUAL, MISSING, Answered


@dataclass
class Counts:
    """Running counts of one file.

    Parameters
    ----------
    month : Month, optional
        Month of a TLC file; trips outside it are left out of the RMSE, as in the test of a version.
    """

    month: Month | None = None
    rows: int = 0
    answered: int = 0
    out_of_range: int = 0
    distance_missing: int = 0
    minutes: float = 0.0
    labelled: int = 0
    squares: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, batch: Answered) -> None:
        """Count a batch."""
        rows = batch.rows
        self.rows += rows.num_rows
        self.answered += rows.num_rows
        self.out_of_range += pc.sum(rows[OUT_OF_RANGE]).as_py() or 0
        self.distance_missing += pc.sum(pc.equal(rows["distance"].cast(pa.string()), MISSING)).as_py() or 0
        self.minutes += float(rows["duration_minutes"].to_numpy().sum())
        self.add_rejected(batch.rejected)
        if ACTUAL in rows.column_names:
            self._compare(rows)

    def add_rejected(self, rejected: pa.Table) -> None:
        """Count rejected rows."""
        self.rows += rejected.num_rows
        counted = rejected["reason"].cast(pa.string()).value_counts().to_pylist()
        self.reasons.update({each["values"]: each["counts"] for each in counted})

    def _compare(self, rows: pa.Table) -> None:
        actual = rows[ACTUAL].to_numpy()
        with np.errstate(invalid="ignore"):
            is_test = (actual >= SHORTEST_MINUTES) & (actual <= LONGEST_MINUTES)
        if self.month:
            pickup_at = rows["pickup_at"].to_numpy()
            first, end = (np.datetime64(day, "us") for day in (self.month.start, self.month.end))
            is_test &= (pickup_at >= first) & (pickup_at < end)
        errors = rows["duration_minutes"].to_numpy()[is_test] - actual[is_test]
        self.labelled += len(errors)
        self.squares += float(np.sum(errors * errors))  # `@` depends on the number of threads

    def summary(self) -> dict[str, Any]:
        """The counts; means and RMSE in minutes, None where there is no row to take them of.

        ``rmse_minutes`` is of trips of 1 to 60 minutes, of the month where there is one: of the same trips as the
        test of a version.
        """
        mean = self.minutes / self.answered if self.answered else None
        rmse = math.sqrt(self.squares / self.labelled) if self.labelled else None
        return {
            "rows": self.rows,
            "answered": self.answered,
            "rejected": self.rows - self.answered,
            "reasons": dict(sorted(self.reasons.items())),
            "out_of_range": self.out_of_range,
            "distance_missing": self.distance_missing,
            "mean_minutes": mean,
            "labelled": self.labelled,
            "rmse_minutes": rmse,
        }
