"""Features of your own. This is the only file to change: add a function, and a line in `OWN_FEATURES`.

The function gets the columns of n requests as arrays of shape (n,), and returns n numbers: 0 or more, NaN for
missing. It must look at each request alone, since the service asks for one at a time. The columns:

- ``pickup_at``: datetime64[us], New York's wall clock
- ``pickup_zone``, ``dropoff_zone``: TLC zone, 1 to 265; 0 for any other
- ``distance_miles``: miles, may be NaN; only with ``needs_distance=True``
- ``passenger_count``: may be NaN
- ``minute_of_day``: minutes since midnight; ``weekday``: 0 Monday to 6 Sunday; ``month``: 1 to 12
- ``is_holiday``, ``is_school_day``: 1 or 0

For example, put this in the place of the last line:

    def is_night(requests):
        return (requests["minute_of_day"] >= 22 * 60) | (requests["minute_of_day"] < 6 * 60)

    OWN_FEATURES: tuple[OwnFeature, ...] = (
        OwnFeature("is_night", "1 from 22:00 to 5:59, else 0", is_night),
    )

`docs/own_ideas.md` has another example, step by step.
"""

from __future__ import annotations

from .own_feature_values import OwnFeature

OWN_FEATURES: tuple[OwnFeature, ...] = ()
