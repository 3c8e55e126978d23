"""From the setting `source` to a source."""

from __future__ import annotations

import difflib
import os
import re
import stat
from pathlib import Path
from urllib.parse import unquote

import fsspec
from fsspec.implementations.local import LocalFileSystem

from mlops import addresses, masking
from mlops.config import TLC_SITE, without_credentials
from mlops.data.sources.folder import Folder, as_download_error, cause
from mlops.data.sources.source import Source, key_of
from mlops.data.sources.web_site import open_site
from mlops.errors import ConfigError, one_line

_KNOWN_SOURCES = "Write sample, tlc, a folder that exists, or an https://, s3:// or gs:// URL."


def open_source(source: str) -> Source:
    """Source that the setting names: ``tlc``, a folder or a URL (`sample` is handled in `ingest`).

    Raises
    ------
    ConfigError
        When a folder does not exist, a URL cannot be understood, or either names a single file.
    """
    if re.search("[\ud800-\udfff]", source):  # how Python keeps bytes that the locale cannot decode
        raise ConfigError(
            f"source {source!r}: expected a text in the locale's encoding; got other bytes. Set a UTF-8 locale, "
            "for example LC_ALL=C.UTF-8, or choose another --source."
        )
    if source == "tlc":
        return open_site(TLC_SITE, TLC_SITE)
    if source.startswith("file:"):
        return _open_folder(_path_of_url(source), source)
    if "://" not in source:
        return _open_folder(_path(source), source)
    masking.remember(source)
    addresses.require_clear("source", source)
    shown = without_credentials(source)
    if shown.endswith(".parquet"):
        raise _one_file(shown, shown.rpartition("/")[0])
    return (open_site if re.match("https?:", source) else _open_files)(source, shown)


def _open_files(address: str, shown: str) -> Folder:
    if re.match(r"(s3a?|gs|gcs)://[^/]*@", address):
        raise ConfigError(
            f"source {shown!r}: expected a bucket, got a user or a key before it. Write {shown}, and put the "
            "credentials into the environment, for example AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    try:
        filesystem, path = fsspec.core.url_to_fs(address)
    except (ValueError, ImportError) as error:
        reason = one_line(error).replace(address, shown)
        raise ConfigError(f"source {shown!r}: {reason}. {_KNOWN_SOURCES}") from error
    except Exception as error:  # an error class of the file system, for example for malformed credentials
        raise as_download_error(shown, error) from cause(error)
    if isinstance(filesystem, LocalFileSystem):  # `local://`
        return _open_folder(Path(path), shown)
    if not path.strip("/"):
        raise ConfigError(f"source {shown!r}: expected a bucket or a folder, got none. {_KNOWN_SOURCES}")
    return Folder(shown, key_of(shown.partition("://")[0], shown), filesystem, path.rstrip("/"))


def _open_folder(path: Path, source: str) -> Folder:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null character
        mode = 0
    except OSError as error:
        raise ConfigError(
            f"source {source!r}: {path.absolute()} cannot be read: {error.strerror}. "
            "Give this user read access to it, or choose another --source."
        ) from error
    if stat.S_ISREG(mode) or path.suffix == ".parquet":
        raise _one_file(source, str(path.parent))
    if not stat.S_ISDIR(mode):
        raise ConfigError(
            f"source {source!r}: there is no folder {path.absolute()}. {_did_you_mean(source)}{_KNOWN_SOURCES}"
        )
    resolved = str(path.resolve())  # a folder with two names is one source
    return Folder(resolved, key_of("folder", resolved), LocalFileSystem(), resolved)


def _path_of_url(url: str) -> Path:
    """Path of a ``file:`` URL, with or without ``%20`` for a space.

    Examples
    --------
    >>> _path_of_url("file:///srv/trip%20data").as_posix()
    '/srv/trip data'
    >>> _path_of_url("file://localhost/srv").as_posix()
    '/srv'
    """
    text = re.sub(r"^file:(//(localhost(?=/))?)?", "", url)
    if not text:  # the folder was in a variable that is not set
        raise ConfigError(f"source {url!r}: expected file:///folder, got no folder. {_KNOWN_SOURCES}")
    return _path(text if os.path.lexists(text) else unquote(text))


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ``~`` with a user that does not exist
        return Path(text)


def _one_file(source: str, folder: str) -> ConfigError:
    return ConfigError(
        f"source {source!r}: expected a folder of months, got the name of one file. Write its folder: {folder}"
    )


def _did_you_mean(source: str) -> str:
    """The likely value, if the source is a misspelt name; else empty."""
    near = difflib.get_close_matches(source.lower(), ("sample", "tlc"), n=1)
    return f"Did you mean {near[0]}? " if near else ""
