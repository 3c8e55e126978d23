"""Load a registered version to predict with it, in this process.

A version brings code, so its files are checked against their signature before anything of it is imported. Its code
gets a package name of its own, so versions of different releases answer side by side.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from mlops.errors import ConfigError, PromotionError, command
from mlops.files import atomic_folder
from mlops.registry import alias_log, local_copy, signature, versions
from mlops.registry.alias_log import CHALLENGER, CHAMPION
from mlops.registry.local_copy import Loaded as Loaded
from mlops.registry.signed_version import service_of as service_of
from mlops.registry.version_files import Version, fetch_signed, signed_files


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
    folder = local_copy.place_of(version, store)
    expected = signed_files(version)
    if folder.is_dir():
        if not signature.find_change(expected, folder):
            local_copy.mark_used(folder)
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
    return local_copy.load_folder(version, fetch(version, store))
