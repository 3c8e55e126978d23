"""From requests to answers: each goes to the model of its service, and the answers keep the requests' order."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from mlops.data.zones import ZoneNames
from mlops.errors import MlopsError
from mlops.model.learned_range import OUT_OF_RANGE
from mlops.registry.local_copy import predict_columns
from mlops.serving.answers import Group, Row
from mlops.serving.errors import NoModelError, ServiceError
from mlops.serving.problems import FieldError, ProblemError, shown, unprocessable
from mlops.serving.questions import RULES, Asked, Question
from mlops.serving.served import ANSWER_COLUMNS, Served

ONE_BY_ONE: Final = 6  # requests; for more, a table is faster
RETRY_SECONDS: Final = 5  # after which a client should ask again where no model is loaded
_minutes: Final = operator.itemgetter(*ANSWER_COLUMNS)
PLACES: Final = ("pickup_zone", "dropoff_zone")


def answer(
    asked: Asked, served_for: Callable[[str | None], Served], names_for: Callable[[str], ZoneNames]
) -> list[Group]:
    """Answers of a body's requests, a group for each service that they name.

    Parameters
    ----------
    asked : Asked
    served_for, names_for : callable
        The version that answers for a service, and the names of the service's zones.

    Raises
    ------
    ProblemError
        422 for a service or a zone's name that is unknown, 503 where the service has no model.
    MlopsError
        When a version gives no numbers.
    """
    groups = []
    for service in dict.fromkeys(question.service for question in asked.questions):
        positions = [at for at, question in enumerate(asked.questions) if question.service == service]
        served = _served(service, served_for, positions[0] if asked.is_list else None)
        questions = [asked.questions[at] for at in positions]
        requests = [_request(question) for question in questions]
        _replace_names(requests, positions if asked.is_list else None, served.service, names_for)
        groups.append(Group(served, positions, requests, _rows(served, requests)))
    return groups


def _served(service: str | None, served_for: Callable[[str | None], Served], position: int | None) -> Served:
    try:
        return served_for(service)
    except NoModelError as error:
        raise no_model(error) from error
    except ServiceError as error:
        rule = f"one of {', '.join(error.services)}, which are served here"
        raise unprocessable(
            [FieldError("service", rule, shown(service) if service else "nothing", position)]
        ) from error


def no_model(error: NoModelError) -> ProblemError:
    """The problem of a request that no version can answer now."""
    detail = f"{error}. Ask again later: /readyz says when a model is loaded."
    return ProblemError(503, detail, headers={"retry-after": str(RETRY_SECONDS)})


def _request(question: Question) -> dict[str, Any]:
    """The columns that the model reads."""
    return {
        "pickup_at": question.pickup_at,
        "pickup_zone": question.pickup_zone,
        "dropoff_zone": question.dropoff_zone,
        "distance_miles": question.distance_miles,
        "passenger_count": question.passenger_count,
    }


def _replace_names(
    requests: Sequence[dict[str, Any]],
    positions: Sequence[int] | None,
    service: str,
    names_for: Callable[[str], ZoneNames],
) -> None:
    """Put ids where zones have names."""
    errors: list[FieldError] = []
    for at, request in enumerate(requests):
        for place in PLACES:
            name = request[place]
            if not isinstance(name, str):
                continue
            names = names_for(service)
            request[place] = names.id_of(name)
            if request[place] is None:
                rule = f"{RULES[place]}; {_hint(names, name, is_first=not errors)}"
                errors.append(FieldError(place, rule, shown(name), positions[at] if positions else None))
    if errors:
        raise unprocessable(errors)


def _hint(names: ZoneNames, name: str, *, is_first: bool) -> str:
    """What to send instead of a name that is not known; the search for names alike is slow, so it is done once."""
    if names.problem:
        return f"names are not known now ({names.problem}), so send the id"
    if name.strip().isdecimal():
        return "an id is a number, without quotes"
    near = names.near(name) if is_first else ()
    return f"no zone has this name, is it {' or '.join(near)}?" if near else "no zone has this name"


def _rows(served: Served, requests: Sequence[Mapping[str, Any]]) -> Sequence[Row]:
    """The model's answers, one by one or from a table; both are equal."""
    return _alone(served, requests) if len(requests) <= ONE_BY_ONE else _together(served, requests)


def _alone(served: Served, requests: Sequence[Mapping[str, Any]]) -> Sequence[Row]:
    rows = []
    for request in requests:
        found = served.model.predict_one(request)
        minutes = _minutes(found)
        if not math.isfinite(sum(minutes)):
            raise _no_number(served)
        rows.append((*minutes, found.get(OUT_OF_RANGE)))
    return rows


def _together(served: Served, requests: Sequence[Mapping[str, Any]]) -> Sequence[Row]:
    import pandas as pd

    columns = {name: [request[name] for request in requests] for name in requests[0]}
    table = {name: np.array(values, np.float64) for name, values in columns.items() if name != "pickup_at"}
    pickup_at = pd.DatetimeIndex(columns["pickup_at"])  # 20 times as fast as numpy's conversion
    found = predict_columns(served.model, {"pickup_at": pickup_at, **table})
    outside = found[OUT_OF_RANGE].tolist() if OUT_OF_RANGE in found else [None] * len(requests)
    minutes = [np.asarray(found[name], np.float64) for name in ANSWER_COLUMNS]
    if not np.isfinite(minutes).all():
        raise _no_number(served)
    return list(zip(*(each.tolist() for each in minutes), outside, strict=True))


def _no_number(served: Served) -> MlopsError:
    return MlopsError(f"{served.name} {served.version} answered with a value that is no number")
