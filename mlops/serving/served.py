"""A version that answers requests, and the trial that it must pass before it does."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mlops.errors import MlopsError, one_line
from mlops.model.intervals import INTERVAL_COLUMNS
from mlops.registry.local_copy import Loaded
from mlops.registry.signed_version import Version, service_of

if TYPE_CHECKING:
    import pandas as pd  # late at run time: the code of the version imports it

ALIAS: Final = "champion"
ANSWER_COLUMNS = ("duration_minutes", *INTERVAL_COLUMNS)
_TRIED = 3  # requests of the version's own example, with and without their distance
_RELATIVE = 1e-6  # largest difference between an answer alone and in a batch
_REQUEST = {
    "pickup_at": datetime(2023, 6, 1, 8, 30), "pickup_zone": 74, "dropoff_zone": 41, "distance_miles": 2.0,
    "passenger_count": 1.0,
}  # fmt: skip  # for versions without an example: an older release registered them


@dataclass(frozen=True)
class Served:
    """A version that answers requests.

    Parameters
    ----------
    service, name, version, run_key : str
        For example ``green``, ``trip-duration-green``, ``7`` and 64 hexadecimal digits.
    trained_on, tested_on : str
        Months, as ``2022-07 to 2023-05`` and ``2023-06``; empty if the version does not say.
    test_rmse : float or None
        Minutes.
    alias : str
        What made it the one that answers.
    loaded_at, registered_at : datetime
        UTC; the second is None if it is not known.
    model : DurationModel
        Of the version's own code: it has ``predict`` and ``predict_one``.
    knows_missing_distance : bool
        Whether ranges of requests without a distance are calibrated for them.
    registered : Version
        The version as the registry describes it.
    """

    service: str
    name: str
    version: str
    run_key: str
    trained_on: str
    tested_on: str
    test_rmse: float | None
    alias: str
    loaded_at: datetime
    registered_at: datetime | None
    model: Any
    knows_missing_distance: bool
    registered: Version = field(repr=False)

    @classmethod
    def of(cls, loaded: Loaded) -> Served:
        """A version that is ready to answer: tried, and with its trees prepared.

        Raises
        ------
        MlopsError
            When it fails the trial.
        """
        try_out(loaded)
        version = loaded.version
        return cls(
            service_of(version.name), version.name, version.number, loaded.run_key, _trained_on(version),
            version.tags.get("test_month", ""), _test_rmse(version), ALIAS, datetime.now(timezone.utc),
            version.registered_at, loaded.model, loaded.knows_missing_distance, version,
        )  # fmt: skip


def try_out(loaded: Loaded) -> None:
    """Let a version answer its own example, alone and in a batch, with and without the distances.

    This also prepares its trees, so that its first caller does not wait for that.

    Raises
    ------
    MlopsError
        When it fails, an answer is no number or lacks a column, or both ways give different answers.
    """
    about = loaded.version.uri
    try:
        requests = _requests(loaded)
        batch = loaded.model.predict(requests)
        lacking = [name for name in ANSWER_COLUMNS if name not in batch]
        if lacking:
            raise MlopsError(f"{about}: its answers lack {', '.join(lacking)}, so it is not served")
        expected = batch[list(ANSWER_COLUMNS)].to_numpy(np.float64)
        answers = [loaded.model.predict_one(row) for row in requests.to_dict("records")]
        alone = np.array([[answer[name] for name in ANSWER_COLUMNS] for answer in answers], np.float64)
    except MlopsError:
        raise
    except Exception as error:  # whatever the version's code raises, also an error class of its own
        raise MlopsError(f"{about}: it fails on its own example ({one_line(error, 300)})") from error
    if not np.isfinite(expected).all():
        raise MlopsError(f"{about}: it answers its own example with values that are no numbers")
    if not np.allclose(alone, expected, rtol=_RELATIVE, atol=0):
        most = np.abs(alone - expected).max()
        raise MlopsError(f"{about}: alone and in a batch, its answers differ by up to {most:.3g} minutes")


def _requests(loaded: Loaded) -> pd.DataFrame:
    """What the version is tried on: its own example, first with the distances, then without them."""
    import pandas as pd

    try:
        requests = loaded.example().head(_TRIED)
    except FileNotFoundError:
        requests = pd.DataFrame([_REQUEST])
    return pd.concat([requests, requests.assign(distance_miles=np.nan)], ignore_index=True)


def _trained_on(version: Version) -> str:
    first, last = (version.tags.get(f"{which}_month_learnt", "") for which in ("first", "last"))
    return f"{first} to {last}" if first and last else ""


def _test_rmse(version: Version) -> float | None:
    try:
        found = float(version.tags.get("test_rmse", "nan"))
    except ValueError:  # changed by hand
        return None
    return found if np.isfinite(found) else None
