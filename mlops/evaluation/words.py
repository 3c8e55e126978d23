"""Words for features, their values and slices, as the card and its figures show them."""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from typing import Any

from mlops.evaluation.metrics import AIRPORTS

FEATURES = {
    "pickup_zone": "pickup zone",
    "dropoff_zone": "drop-off zone",
    "distance_miles": "distance",
    "passenger_count": "passengers",
    "minute_of_day": "time of day",
    "weekday": "weekday",
    "month": "month",
    "is_holiday": "public holiday",
    "is_school_day": "school day",
    "pair_minutes": "usual minutes between the zones",
    "pair_time_minutes": "usual minutes between the zones, this time",
    "pair_band_minutes": "usual minutes between the zones, this distance",
    "pair_spread": "spread of minutes between the zones",
    "pair_trips": "how many trips between the zones",
    "pickup_hour_minutes": "usual minutes from the pickup zone, this hour",
    "dropoff_hour_minutes": "usual minutes to the drop-off zone, this hour",
    "band_pickup_minutes": "usual minutes from the pickup zone, this distance",
    "band_dropoff_minutes": "usual minutes to the drop-off zone, this distance",
    "pair_pace": "usual pace between the zones",
    "pair_time_pace": "usual pace between the zones, this time",
    "pace_minutes": "distance times the usual pace",
    "distance_ratio": "distance against the usual one",
}
"""A few words for each feature; one without words here is shown by its name."""

_UNITS = {"minutes": " min", "pace": " min per mile", "miles": " miles", "spread": " min"}


def feature(name: str) -> str:
    """A feature in words.

    Examples
    --------
    >>> feature("minute_of_day"), feature("hours_to_holiday")
    ('time of day', 'hours to holiday')
    """
    return FEATURES.get(name, name.replace("_", " "))


def value(name: str, number: float) -> str:
    """A feature's value with its unit; empty where the number says nothing to a person.

    Examples
    --------
    >>> value("minute_of_day", 1060.0), value("distance_miles", 3.4), value("weekday", 1.0)
    ('17:40', '3.4 miles', 'Tuesday')
    >>> value("passenger_count", -1.0), value("is_holiday", 0.0), value("pace_minutes", 14.26)
    ('not known', 'no', '14.3 min')
    """
    if number < 0:
        return "not known"
    if name in _WHOLE:
        return _WHOLE[name][int(number)]
    if name == "minute_of_day":
        return f"{int(number) // 60}:{int(number) % 60:02d}"
    if name == "pair_trips":
        return ""
    unit = _UNITS.get(name.rpartition("_")[2], "")
    return f"{number:.1f}{unit}" if unit else f"{number:.3g}"


def ride(request: Mapping[str, Any]) -> str:
    """A requested ride in words: when, from where to where, and how far if that is known."""
    at, (start, end) = request["pickup_at"], (zone(request[f"{end}_zone"]) for end in ("pickup", "dropoff"))
    miles = request.get("distance_miles")
    far = f", {miles:.1f} miles" if miles is not None and miles >= 0 else ""
    return f"{calendar.day_name[at.weekday()]} {at.hour}:{at.minute:02d}, {start} to {end}{far}"


def zone(number: float) -> str:
    """A zone in words.

    Examples
    --------
    >>> zone(74), zone(132)
    ('zone 74', 'JFK')
    """
    return AIRPORTS.get(int(number), f"zone {int(number)}")


def slice_of(kind: str, name: str) -> str:
    """The trips of a slice, in words; `kind` and `name` as in `metrics.groupings`.

    Examples
    --------
    >>> slice_of("distance", "10 mi and more"), slice_of("to airport", "JFK"), slice_of("hour", "17")
    ('10 miles and more', 'to JFK', 'from 17:00 to 18:00')
    >>> slice_of("pair", "74 -> 75"), slice_of("week", "weekend"), slice_of("weekday", "0")
    ('zone 74 to zone 75', 'weekend', 'Monday')
    """
    if kind == "distance":
        return (
            "distance not known"
            if name == "not known"
            else name.replace(" mi", " miles").replace("-", " to ")
        )
    if kind == "hour band":
        start, _, end = name.removesuffix(" h").partition("-")
        return f"from {start}:00 to {end}:00"
    if kind == "hour":
        return f"from {name}:00 to {int(name) + 1}:00"
    if kind == "pair":
        return " to ".join(zone(float(number)) for number in name.split(" -> "))
    if kind == "weekday":
        return calendar.day_name[int(name)]
    return f"{kind.split()[0]} {name}" if kind.endswith("airport") else name


def rides(kind: str, name: str) -> str:
    """The same after the word rides.

    Examples
    --------
    >>> rides("distance", "10 mi and more"), rides("to airport", "JFK"), rides("week", "weekend")
    ('of 10 miles and more', 'to JFK', 'at the weekend')
    >>> rides("hour band", "6-10 h"), rides("pair", "74 -> 75"), rides("week", "Monday to Friday")
    ('picked up from 6:00 to 10:00', 'from zone 74 to zone 75', 'on Monday to Friday')
    """
    before = {
        "distance": "of ",
        "hour band": "picked up ",
        "hour": "picked up ",
        "pair": "from ",
        "weekday": "on ",
    }
    shown = slice_of(kind, name)
    if kind == "week":
        return f"at the {shown}" if name == "weekend" else f"on {shown}"
    return f"{before.get(kind, '')}{shown}"


_YES_NO = ("no", "yes")
_WHOLE: dict[str, tuple[str, ...]] = {
    "weekday": tuple(calendar.day_name),
    "month": tuple(calendar.month_name),
    "is_holiday": _YES_NO,
    "is_school_day": _YES_NO,
}
