"""One ride, for a person at the command line: which version answers, and how many minutes it expects."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from mlops import config
from mlops.data import zones
from mlops.errors import ConfigError, PromotionError, TrackingError, command
from mlops.model.learned_range import OUT_OF_RANGE
from mlops.month import Month, MonthError
from mlops.registry.signed_version import Version, service_of
from mlops.serving import trained_rides, zone_choice
from mlops.serving.questions import MOST_MILES, MOST_PASSENGERS, NEW_YORK, SERVED, wall_clock
from mlops.serving.zone_choice import Zone

NOW: Final = "now"
LONGEST_MINUTES: Final = 60.0  # of the rides that models are trained on, so also of an answer
_NEAR_LONGEST: Final = 59.5  # minutes
_OLD_MONTHS: Final = 12  # a year: a version has then seen no ride of the last of each season


class RideEstimate(BaseModel):
    """How long one ride will take, and what that rests on."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    duration_minutes: float = Field(description="Expected duration in minutes, from 1 to 60.")
    low_80_minutes: float = Field(description="Lower end of the range for 80 percent of such rides.")
    high_80_minutes: float = Field(description="Upper end of the range for 80 percent of such rides.")
    low_95_minutes: float = Field(description="Lower end of the range for 95 percent of such rides.")
    high_95_minutes: float = Field(description="Upper end of the range for 95 percent of such rides.")
    out_of_range: bool | None = Field(
        description="Whether no trip that the version was trained on was like this ride, so the minutes are a "
        "guess; null where an old version cannot say."
    )
    calibrated: bool = Field(
        description="Whether the ranges are calibrated for such requests; false where the distance is missing and "
        "the version has no ranges for that."
    )
    pickup_at: datetime = Field(description="When the ride begins, UTC.")
    pickup_at_new_york: datetime = Field(
        description="The same on New York's wall clock, without an offset: what the model is asked with."
    )
    pickup_zone: int = Field(description="Id of the zone where the ride begins.")
    pickup_zone_name: str | None = Field(description="Its name; null if names are not known here.")
    dropoff_zone: int = Field(description="Id of the zone where the ride ends.")
    dropoff_zone_name: str | None = Field(description="Its name; null if names are not known here.")
    distance_miles: float | None = Field(description="Length of the ride in miles; null if it was not given.")
    passenger_count: int | None = Field(description="Passengers; null if it was not given.")
    service: str = Field(description="Service whose model answered.")
    model: str = Field(description="Registered model.")
    model_version: str = Field(description="Number of the version that answered: the champion.")
    trained_on: str | None = Field(description="Months that it was trained on; null if unknown.")
    tested_on: str | None = Field(description="Month that it was tested on, YYYY-MM; null if unknown.")
    test_rmse_minutes: float | None = Field(
        description="Root mean squared error on that month; null if unknown."
    )
    rides: int | None = Field(
        description="Rides between the two zones, in this direction, that the version was trained on; null for an "
        "old version that cannot say."
    )
    notes: tuple[str, ...] = Field(description="What limits the answer, as sentences for people.")


@dataclass(frozen=True)
class Ride:
    """What a person asks for, as they wrote it.

    Parameters
    ----------
    pickup, dropoff : str
        Id or name of a zone, or a part of its name.
    at : str
        Date and time in ISO 8601, or ``now``.
    distance_miles : float or None
    passenger_count : int or None
    service : str or None
        None for the only champion that there is.
    """

    pickup: str
    dropoff: str
    at: str = NOW
    distance_miles: float | None = None
    passenger_count: int | None = None
    service: str | None = None


def estimate(ride: Ride) -> RideEstimate:
    """The answer of a service's champion; it is loaded in this process.

    Raises
    ------
    ConfigError
        When the ride is none: a wrong time, zone, distance, number of passengers or service.
    PromotionError
        When there is no champion.
    UntrustedError, TrackingError, MlopsError, OSError
        As `champions.connect` and `champions.load`; `MlopsError` also when names of zones are not known here.
    """
    pickup_at = moment(ride.at)
    _require_possible(ride)
    from mlops.serving import champions  # here: it imports MLflow, which takes seconds

    version = _champion(champions, ride.service)
    service = service_of(version.name)
    pickup, dropoff = _places(ride, service)
    found = _answer(champions.load(version), ride, pickup_at, pickup, dropoff)
    notes = (*found.notes, *_age(version, pickup_at), *_unnamed(pickup, dropoff))
    return found.model_copy(update={"notes": notes})


def moment(text: str) -> datetime:
    """New York's wall clock of ``now`` or of a date and time in ISO 8601.

    Raises
    ------
    ConfigError
        When it is anything else, also a date without a time.

    Examples
    --------
    >>> moment("2026-11-27T13:30Z")
    datetime.datetime(2026, 11, 27, 8, 30)
    """
    given = text.strip()
    if given.lower() == NOW:
        return datetime.now(NEW_YORK).replace(tzinfo=None, second=0, microsecond=0)
    try:
        if len(given) <= len("2026-11-27"):
            raise ValueError("no time of the day")
        return wall_clock(given)
    except ValueError as error:
        raise ConfigError(
            "--at: expected a date and time of New York's wall clock, such as 2026-11-27 08:30, in the years "
            f"{config.FIRST_YEAR} to {config.LAST_YEAR}, or now; a time with an offset, such as "
            f"2026-11-27T13:30Z, is converted; got {text!r}"
        ) from error


def _require_possible(ride: Ride) -> None:
    miles, passengers = ride.distance_miles, ride.passenger_count
    if miles is not None and not 0 <= miles <= MOST_MILES:  # also not a number
        raise ConfigError(f"--distance: expected miles from 0 to {MOST_MILES:,}; got {miles:g}")
    if passengers is not None and not 0 <= passengers <= MOST_PASSENGERS:
        raise ConfigError(f"--passengers: expected a number from 0 to {MOST_PASSENGERS}; got {passengers}")
    if ride.service is not None and ride.service not in SERVED:
        near = difflib.get_close_matches(ride.service, SERVED, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"--service: expected one of {', '.join(SERVED)}; got {ride.service!r}{hint}")


def _champion(champions: Any, service: str | None) -> Version:
    """The champion of a service, or the only one."""
    _require_registry()
    champions.connect()
    found: dict[str, Version | None] = {
        service_of(name): champions.champion(name) for name in champions.names()
    }
    there = {name: version for name, version in found.items() if version}
    listed = ", ".join(there)
    if service is None and len(there) > 1:
        raise ConfigError(f"--service: expected one of {listed}, which have a champion; got none")
    chosen = there.get(service) if service else next(iter(there.values()), None)
    if chosen:
        return chosen
    whose = f"of {service} " if service else ""
    others = f"there is one of {listed}" if there else "there is none at all"
    act = f"train one ({command('train --help')}), or promote a version ({command('registry')} lists them)"
    raise PromotionError(f"no champion {whose}can answer: {others}; {act}")


def _require_registry() -> None:
    """Raise if there is no registry at all: a question makes none."""
    file = config.sqlite_file(config.tracking_uri())
    if file and not file.exists():
        from mlops.registry import local_stack

        raise TrackingError(f"{file}: there is no registry yet; {local_stack.act_without_models()}")


def _places(ride: Ride, service: str) -> tuple[Zone, Zone]:
    texts = {"--from": ride.pickup, "--to": ride.dropoff}
    is_needed = not all(map(zone_choice.is_id, texts.values()))
    names = zone_choice.names_for(service, is_needed=is_needed)
    largest = zones.ZONES if service in config.SERVICES else len(names.ids)
    pickup, dropoff = (zone_choice.choose(option, text, names, largest) for option, text in texts.items())
    return pickup, dropoff


def _answer(served: Any, ride: Ride, pickup_at: datetime, pickup: Zone, dropoff: Zone) -> RideEstimate:
    from mlops.serving import answering

    request = {
        "pickup_at": pickup_at, "pickup_zone": pickup.id, "dropoff_zone": dropoff.id,
        "distance_miles": ride.distance_miles, "passenger_count": ride.passenger_count,
    }  # fmt: skip
    columns = {name: [value] for name, value in request.items()}
    (group,) = answering.compute([answering.Part(served, [0], columns)])
    minutes: dict[str, Any] = {name: values[0] for name, values in group.answers.items()}
    is_calibrated = ride.distance_miles is not None or served.knows_missing_distance
    rides = trained_rides.count(served.model, pickup.id, dropoff.id)
    in_utc = pickup_at.replace(tzinfo=NEW_YORK).astimezone(timezone.utc)
    return RideEstimate(
        **minutes,
        **{**request, "pickup_at": in_utc},
        calibrated=is_calibrated,
        pickup_at_new_york=pickup_at,
        pickup_zone_name=pickup.name or None,
        dropoff_zone_name=dropoff.name or None,
        service=served.service,
        model=served.name,
        model_version=served.version,
        trained_on=served.trained_on or None,
        tested_on=served.tested_on or None,
        test_rmse_minutes=served.test_rmse,
        rides=rides,
        notes=tuple(_notes(minutes, is_calibrated, rides, pickup, dropoff)),
    )


def _notes(
    minutes: Mapping[str, Any], is_calibrated: bool, rides: int | None, *places: Zone
) -> Iterator[str]:
    yield from (place.note for place in places if place.note)
    if minutes[OUT_OF_RANGE]:
        yield (
            "the version has learnt from no ride like this one (a zone without rides, a longer distance or more "
            "passengers), so the minutes are a guess"
        )
    elif rides == 0:
        yield "no ride between these two zones is in its training; it goes by other rides from and to them"
    if minutes["high_95_minutes"] >= _NEAR_LONGEST:
        yield f"models learn from rides of at most {LONGEST_MINUTES:.0f} minutes, so it may take longer than that"
    if not is_calibrated:
        yield "the version has no ranges for rides without a distance, so the range may be too narrow"


def _age(version: Version, pickup_at: datetime) -> Iterator[str]:
    """That the version learnt long before the ride."""
    last = version.tags.get("last_month_learnt", "")
    with contextlib.suppress(MonthError):
        learnt = Month.parse(last)
        months = 12 * (pickup_at.year - learnt.year) + pickup_at.month - learnt.number
        if months >= _OLD_MONTHS:
            yield f"the version knows rides until {last}, {months} months before this one, and nothing later"


def _unnamed(*places: Zone) -> Iterator[str]:
    if not all(place.name for place in places):
        yield f"names of zones are not known here: {config.state().serving / zones.FILE} is not there or not whole"
