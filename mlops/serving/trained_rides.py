"""How many rides between two zones a model has learnt from; for the service and for the command line."""

from __future__ import annotations

import math
from typing import Any, Final

_COUNTS: Final = "pair_trips"  # table of the encoder with the training rides of each pair of zones


def count(model: Any, pickup_zone: int, dropoff_zone: int) -> int | None:
    """Training rides of a model between two zones, 0 for ids that TLC does not use; None if it does not say.

    Parameters
    ----------
    model : DurationModel
        Of the version's own code, which may be older than this.
    """
    tables = getattr(getattr(model, "encoder", None), "tables", {})
    if _COUNTS not in tables:
        return None
    counts = tables[_COUNTS]
    zones = math.isqrt(len(counts))  # the table has a value for each pair
    if not (0 < pickup_zone < zones and 0 < dropoff_zone < zones):
        return 0
    return int(counts[pickup_zone * zones + dropoff_zone])
