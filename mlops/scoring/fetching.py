"""Inputs that are not on this machine: fetched into folders beside the copies of months, which are untouched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from mlops import config, masking
from mlops.config import without_credentials
from mlops.data import retries, sources
from mlops.data.sources import BrokenOffError, Source
from mlops.data.sources.folder import Folder
from mlops.errors import ConfigError, DownloadError, SourceError
from mlops.files import atomic_write

FETCHED = "inputs"  # folder of fetched inputs in the folder of a source


@dataclass(frozen=True)
class Fetched:
    """A fetched file, and its address without credentials."""

    path: Path
    label: str


def fetch(address: str, endings: tuple[str, ...], patience: float) -> list[Fetched]:
    """The file at a URL; of a folder in a bucket, every file with one of these endings, by name.

    Parameters
    ----------
    address : str
        As ``https://host/folder/requests.csv`` or ``s3://bucket/folder``.
    endings : tuple of str
    patience : float
        Seconds to keep trying a server that does not answer.

    Raises
    ------
    ConfigError
        When the address cannot be understood, or there is no such file.
    DownloadError
        When the server does not answer, or does not deliver the file.
    """
    masking.remember(address)
    try:
        return _fetch(address, endings, patience)
    except SourceError as error:
        raise DownloadError(_about_input(error)) from error
    except ConfigError as error:
        raise ConfigError(_about_input(error)) from error


def _about_input(error: Exception) -> str:
    """The message of a source about an input: the same code reads both."""
    return str(error).replace("--source", "--input").replace("source '", "input '")


def _fetch(address: str, endings: tuple[str, ...], patience: float) -> list[Fetched]:
    again = retries.for_seconds(patience)
    folder, name = _parts(address)
    is_file = name.lower().endswith(endings) or urlsplit(address).scheme in ("http", "https")
    if is_file:
        if name in ("", ".", ".."):
            raise ConfigError(
                f"input: {without_credentials(address)}: expected the address of a file, got no name at its end. "
                "Correct the address."
            )
        source = again(sources.open_source, folder)
        return [again(_fetch_one, source, name)]
    source = again(sources.open_source, address)
    names = again(source.names) if isinstance(source, Folder) else []
    chosen = [each for each in names if each.lower().endswith(endings) and not each.startswith(".")]
    if not chosen:
        raise ConfigError(
            f"input: {source.url}: expected files ending in {', '.join(endings)}; got none. Write the folder that "
            "has them."
        )
    return [again(_fetch_one, source, each) for each in chosen]


def _parts(address: str) -> tuple[str, str]:
    """Address of the folder, with the query that may let us in, and name of the file."""
    parts = urlsplit(address)
    folder, _, name = parts.path.rstrip("/").rpartition("/")
    return urlunsplit(parts._replace(path=folder)), name


def _fetch_one(source: Source, name: str) -> Fetched:
    label = f"{source.url}/{name}"
    if source.version(name) is None:
        raise ConfigError(f"input: there is no file {without_credentials(label)}. Correct the address.")
    target = config.state().months / source.key / FETCHED / name
    retry = retries.few_attempts(BrokenOffError, lambda error: f"{name}: {error.reason}")
    try:
        with atomic_write(target) as temporary:
            retry(_download, source, name, temporary)
    except OSError as error:
        raise DownloadError(
            f"{label}: cannot be stored in {target.parent}: {error.strerror or error}. Free disk space, give "
            "write access to the folder, or set MLOPS_STATE_DIR to another folder."
        ) from error
    return Fetched(target, label)


def _download(source: Source, name: str, temporary: Path) -> None:
    with temporary.open("wb") as file:
        source.download(name, file, lambda done, total: None)
