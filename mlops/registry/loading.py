"""Load a registered version to predict with it, in this process.

A version brings code, so its files are checked against their signature before anything of it is imported. Its code
gets a package name of its own, so versions of different releases answer side by side.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mlops.config import SERVICES
from mlops.errors import ConfigError, MlopsError, PromotionError, command, one_line
from mlops.files import atomic_folder
from mlops.model import version_code
from mlops.registry import alias_log, signature, versions
from mlops.registry.alias_log import CHALLENGER, CHAMPION
from mlops.registry.runs import RUN_KEY
from mlops.registry.version_files import Version, fetch_signed, signed_files

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
        stored = pd.read_json(self.folder / EXAMPLE, orient="split")
        return stored.assign(pickup_at=pd.to_datetime(stored["pickup_at"]))


def choose(name: str, which: str) -> Version:
    """A version of a registered model, by alias or number.

    Parameters
    ----------
    name : str
        As ``trip-duration-green``.
    which : str
        ``champion``, ``challenger``, or a version's number.

    Raises
    ------
    ConfigError
        When `which` is none of these.
    PromotionError
        When there is no such version; the message says what to do.
    TrackingError
        When the registry does not answer.
    """
    number: str | None = which
    if which in (CHAMPION, CHALLENGER):
        number = alias_log.aliases(name).get(which)
    elif not (which.isascii() and which.isdigit()):
        raise ConfigError(f"version: expected {CHAMPION}, {CHALLENGER} or a number; got {which!r}")
    if not number:
        raise PromotionError(
            f"{name}: there is no {which}. `registry` lists its versions; or train one: {command('train --help')}"
        )
    return versions.get(name, str(int(number)))


def fetch(version: Version, store: Path) -> Path:
    """Folder below `store` with the checked files of a version; a complete earlier copy is checked and used again.

    Raises
    ------
    UntrustedError, MlopsError, TrackingDownError, OSError
        As `version_files.fetch_signed`.
    """
    folder = store / version.name / version.number
    expected = signed_files(version)
    if folder.is_dir():
        if not signature.find_change(expected, folder):
            return folder
        shutil.rmtree(folder)
    with atomic_folder(folder) as passing:
        fetched = fetch_signed(version, passing / "download")
        for path in list(fetched.iterdir()):
            path.rename(passing / path.name)
        shutil.rmtree(passing / "download")
    return folder


def load(version: Version, store: Path) -> Loaded:
    """A version, ready to answer: fetched into `store` if it is not there, checked, its code imported.

    Raises
    ------
    UntrustedError, MlopsError, TrackingDownError, OSError
        As `fetch`; `MlopsError` also when its artefact has another format, or its code fails.
    """
    folder = fetch(version, store)
    try:
        return Loaded(version, version_code.load_model(str(folder / _ARTEFACT)), folder)
    except MlopsError:
        raise
    except Exception as error:  # whatever the version's code raises, also an error class of its own
        raise MlopsError(f"{version.uri}: it cannot be loaded ({one_line(error, 300)})") from error


def service_of(name: str) -> str:
    """Service of a registered model: ``green`` of ``trip-duration-green``; ``sample`` for the synthetic city.

    Raises
    ------
    ConfigError
        When it is no model of this project.

    Examples
    --------
    >>> service_of("trip-duration-green")
    'green'
    """
    service = name.removeprefix(versions.PREFIX)
    if service == name or service not in (*SERVICES, "sample"):
        raise ConfigError(f"model: expected {versions.PREFIX} and a service; got {name!r}")
    return service
