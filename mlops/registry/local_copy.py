"""A version's files in a folder of this machine: checked, and loaded. Nothing here imports MLflow.

So a process that has such a copy answers seconds earlier, and also while the registry is away.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlops.errors import MlopsError, one_line
from mlops.model import version_code
from mlops.registry import signature
from mlops.registry.signed_version import RUN_KEY, Version, signed_files

if TYPE_CHECKING:
    import pandas as pd  # late at run time: the code of the version imports it

EXAMPLE = "input_example.json"  # requests that MLflow stores with a version
_ARTEFACT = Path("data") / "model"  # below a version's folder


@dataclass(frozen=True)
class Loaded:
    """A version that answers requests.

    Parameters
    ----------
    version : Version
    model : DurationModel
        Of the version's own code, which may be older than this release: it has ``predict`` and ``predict_one``.
    folder : Path
        The checked copy of its files.
    """

    version: Version
    model: Any
    folder: Path

    @property
    def run_key(self) -> str:
        """Key of the run that registered the version."""
        return self.version.tags.get(RUN_KEY, "")

    @property
    def knows_missing_distance(self) -> bool:
        """Whether ranges of requests without a distance are calibrated for them; older versions have none."""
        return getattr(self.model, "without_distance", None) is not None

    def example(self) -> pd.DataFrame:
        """Requests that were stored with the version, which it must be able to answer."""
        import pandas as pd

        stored = pd.read_json(self.folder / EXAMPLE, orient="split")
        return stored.assign(pickup_at=pd.to_datetime(stored["pickup_at"]))


def predict_columns(model: Any, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Answers of a version's model to many requests, as arrays of shape (n,) in the order of the requests.

    Rows that are alike are predicted one after the other. They take similar ways through the trees, so the
    processor guesses more branches right: up to a fifth less time, and the same answers.

    Parameters
    ----------
    model : DurationModel
        Of any version.
    columns : mapping
        The request columns, n values each: zones as arrays of numbers, the others as arrays or an index.
    """
    import pandas as pd

    order = _alike(columns)
    requests = pd.DataFrame({name: values[order] for name, values in columns.items()}, copy=False)
    answers = model.predict(requests)
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return {name: answers[name].to_numpy()[back] for name in answers}


def _alike(columns: Mapping[str, Any]) -> npt.NDArray[np.intp]:
    """Order by zones, then by the hour of a weekday or of the weekend.

    Small integers are sorted fastest. A zone's id that is none of them, or null, only comes in another place.
    """
    hours = np.asarray(columns["pickup_at"], "datetime64[h]").astype(np.int64)
    is_weekend = (hours // 24 + 3) % 7 >= 5  # 1970-01-01 was a Thursday
    with np.errstate(invalid="ignore"):
        pickup, dropoff = (columns[name].astype(np.int16) for name in ("pickup_zone", "dropoff_zone"))
    return np.asarray(np.lexsort(((hours % 24 + 24 * is_weekend).astype(np.int16), dropoff, pickup)))


def limit_threads(model: Any, threads: int) -> None:
    """Let a model, also of an older version, predict with so many threads; its answers do not depend on them."""
    parts = [model, *(getattr(model, name, None) for name in ("estimator", "without_distance"))]
    for part in [*parts, *(getattr(part, "intervals", None) for part in parts)]:
        if booster := getattr(part, "booster", None):
            booster.set_param({"nthread": threads})


def place_of(version: Version, store: Path) -> Path:
    """Where a version's copy is, in a folder of copies."""
    return store / version.name / version.number


def mark_used(folder: Path) -> None:
    """Write down that a copy was used now, so that it is not among the first to be deleted."""
    with contextlib.suppress(OSError):  # it can be read, and that is enough
        os.utime(folder)


def open_checked(version: Version, store: Path) -> Loaded:
    """A version from its copy in `store`, after the copy was compared with the version's signature.

    Raises
    ------
    UntrustedError
        As `signed_version.signed_files`.
    MlopsError
        When there is no copy, or it was changed; else as `load_folder`.
    """
    folder, expected = place_of(version, store), signed_files(version)
    if not folder.is_dir():
        raise MlopsError(f"{version.uri}: there is no copy of it in {store}; it is fetched from the registry")
    if change := signature.find_change(expected, folder):
        raise MlopsError(f"{folder}: in this copy of {version.uri} {change}; nothing of it was executed")
    mark_used(folder)
    return load_folder(version, folder)


def load_folder(version: Version, folder: Path) -> Loaded:
    """A version from files that the caller has checked: its code is imported.

    Raises
    ------
    MlopsError
        When its artefact has another format, or its code fails.
    """
    try:
        return Loaded(version, version_code.load_model(str(folder / _ARTEFACT)), folder)
    except MlopsError:
        raise
    except Exception as error:  # whatever the version's code raises, also an error class of its own
        raise MlopsError(f"{version.uri}: it cannot be loaded ({one_line(error, 300)})") from error
