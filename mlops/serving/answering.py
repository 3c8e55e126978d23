"""From requests to answers: each goes to the model of its service, and the answers keep the requests' order."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mlops.data.zones import ZoneNames
from mlops.errors import MlopsError
from mlops.model.learned_range import OUT_OF_RANGE
from mlops.model.request_columns import REQUEST_COLUMNS
from mlops.registry.local_copy import predict_columns
from mlops.serving.answers import COLUMNS, Group
from mlops.serving.errors import NoModelError, ServiceError
from mlops.serving.problems import FieldError, ProblemError, shown, unprocessable
from mlops.serving.questions import RULES, Asked
from mlops.serving.served import ANSWER_COLUMNS, Served

ONE_BY_ONE: Final = 6  # requests; for more, a table is faster
RETRY_SECONDS: Final = 5  # after which a client should ask again where no model is loaded
_minutes: Final = operator.itemgetter(*ANSWER_COLUMNS)
PLACES: Final = ("pickup_zone", "dropoff_zone")


@dataclass(frozen=True)
class Part:
    """Requests of one body that one version will answer; the fields are those of `Group`."""

    served: Served
    positions: Sequence[int]
    requests: Mapping[str, Sequence[Any]]


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
    return [group for part in split(asked, served_for, names_for) for group in compute([part])]


def compute(parts: Sequence[Part]) -> list[Group]:
    """The answers of one version to these parts, also of several bodies: they are computed as one table.

    Raises
    ------
    MlopsError
        When the version gives no numbers.
    """
    requests = {name: _joined([part.requests[name] for part in parts]) for name in REQUEST_COLUMNS}
    answers = _answers(parts[0].served, requests)
    ends = list(itertools.accumulate(len(part.positions) for part in parts))
    groups = []
    for part, start, end in zip(parts, (0, *ends), ends, strict=False):
        own = {name: values[start:end] for name, values in answers.items()}
        groups.append(Group(part.served, part.positions, part.requests, own))
    return groups


def _joined(columns: Sequence[Sequence[Any]]) -> Sequence[Any]:
    return columns[0] if len(columns) == 1 else list(itertools.chain.from_iterable(columns))


def split(
    asked: Asked, served_for: Callable[[str | None], Served], names_for: Callable[[str], ZoneNames]
) -> list[Part]:
    """The requests of a body, a part for each service that they name. As `answer`, but without the answers."""
    services, parts = asked.columns["service"], []
    for service in dict.fromkeys(services):
        positions = [at for at, each in enumerate(services) if each == service]
        served = _served(service, served_for, positions[0] if asked.is_list else None)
        requests = {name: _chosen(asked.columns[name], positions) for name in REQUEST_COLUMNS}
        requests |= _ids(requests, positions if asked.is_list else None, served.service, names_for)
        parts.append(Part(served, positions, requests))
    return parts


def _chosen(values: Sequence[Any], positions: Sequence[int]) -> Sequence[Any]:
    return values if len(positions) == len(values) else [values[at] for at in positions]


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


def _ids(
    requests: Mapping[str, Sequence[Any]],
    positions: Sequence[int] | None,
    service: str,
    names_for: Callable[[str], ZoneNames],
) -> dict[str, list[Any]]:
    """The columns in which zones have names, with ids instead."""
    named = [place for place in PLACES if str in set(map(type, requests[place]))]
    found = {place: list(requests[place]) for place in named}
    errors: list[FieldError] = []
    for at, place in itertools.product(range(len(requests["pickup_zone"])), named):
        name = found[place][at]
        if not isinstance(name, str):
            continue
        names = names_for(service)
        found[place][at] = names.id_of(name)
        if found[place][at] is None:
            rule = f"{RULES[place]}; {_hint(names, name, is_first=not errors)}"
            errors.append(FieldError(place, rule, shown(name), positions[at] if positions else None))
    if errors:
        raise unprocessable(errors)
    return found


def _hint(names: ZoneNames, name: str, *, is_first: bool) -> str:
    """What to send instead of a name that is not known; the search for names alike is slow, so it is done once."""
    if names.problem:
        return f"names are not known now ({names.problem}), so send the id"
    if name.strip().isdecimal():
        return "an id is a number, without quotes"
    near = names.near(name) if is_first else ()
    return f"no zone has this name, is it {' or '.join(near)}?" if near else "no zone has this name"


def _answers(served: Served, requests: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    """The model's answers, one by one or from a table; both are equal."""
    count = len(requests["pickup_at"])
    return _alone(served, requests) if count <= ONE_BY_ONE else _together(served, requests)


def _alone(served: Served, requests: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    rows = []
    for values in zip(*requests.values(), strict=True):
        found = served.model.predict_one(dict(zip(requests, values, strict=True)))
        minutes = _minutes(found)
        if not math.isfinite(sum(minutes)):
            raise _no_number(served)
        rows.append((*minutes, found.get(OUT_OF_RANGE)))
    return dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))


def _together(served: Served, requests: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    import pandas as pd

    table = {name: np.array(values, np.float64) for name, values in requests.items() if name != "pickup_at"}
    times: Any = requests["pickup_at"]
    pickup_at = pd.DatetimeIndex(times)  # 20 times as fast as numpy's conversion
    found = predict_columns(served.model, {"pickup_at": pickup_at, **table})
    minutes = {name: np.asarray(found[name], np.float64) for name in ANSWER_COLUMNS}
    if not all(np.isfinite(each).all() for each in minutes.values()):
        raise _no_number(served)
    outside = found[OUT_OF_RANGE].tolist() if OUT_OF_RANGE in found else [None] * len(pickup_at)
    return {**{name: each.tolist() for name, each in minutes.items()}, OUT_OF_RANGE: outside}


def _no_number(served: Served) -> MlopsError:
    return MlopsError(f"{served.name} {served.version} answered with a value that is no number")
