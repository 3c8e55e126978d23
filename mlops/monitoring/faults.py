"""What may be wrong with a month's data: each detector looks for one kind of fault and says how much of it is there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that is unusual about a month's trips.

    Parameters
    ----------
    cause : str
        ``unit_of_distance``, ``clock_shift``, ``duplicated_trips``, ``missing_trips``, ``new_zone``,
        ``swapped_zones``, ``slower_rides``, ``faster_rides``, ``mix``, ``season``, ``missing_values``, ...
    text : str
        One sentence: what, where, how much, as "34 % of the distances look like kilometres".
    share : float
        Share of the month's trips that it concerns, 0 to 1.
    is_fault : bool
        Whether the data are wrong (somebody must act), not only different.
    strength : float
        How far the measured value is above its threshold; 1 is at the threshold.
    """

    cause: str
    text: str
    share: float
    is_fault: bool
    strength: float
