"""Which files are scored: a TLC month, one file, all files of a folder, or the file at a URL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from mlops import config
from mlops.data import cache, ingest, retries
from mlops.data.raw_trips import read_schema
from mlops.data.sources import MAGIC, not_parquet
from mlops.data.synthetic.columns import is_sample
from mlops.errors import ConfigError, TripSchemaError
from mlops.files import sha256_of
from mlops.scoring import fetching
from mlops.scoring.drafts import read_summary
from mlops.scoring.newest import newest_month
from mlops.scoring.settings import ScoringSettings

CSV_ENDINGS = (".csv", ".csv.gz")
ENDINGS = (".parquet", *CSV_ENDINGS)


@dataclass(frozen=True)
class Input:
    """A file to score.

    Parameters
    ----------
    path : Path
        The file on this machine.
    label : str
        Its address for messages, without credentials.
    sha256 : str
    month : str
        TLC month of the file, as ``2023-06``; empty for any other file.
    sample : bool
        Whether its trips are generated.
    """

    path: Path
    label: str
    sha256: str
    month: str = ""
    sample: bool = False

    @property
    def stem(self) -> str:
        """Name of the file without its ending; names of results start with it."""
        name = self.path.name
        ending = next((end for end in ENDINGS if name.lower().endswith(end)), "")
        return name[: len(name) - len(ending)]

    @property
    def is_csv(self) -> bool:
        """Whether the file is read as CSV."""
        return is_csv(self.path)


def is_csv(path: Path) -> bool:
    """Whether a file's name says that it is CSV, also compressed."""
    return path.name.lower().endswith(CSV_ENDINGS)


def find_inputs(settings: ScoringSettings) -> list[Input]:
    """The files that the settings name, at least one; a month and the file at a URL are fetched.

    Raises
    ------
    ConfigError
        When there is no such file, or two of a folder would have the same result.
    SourceError, TripSchemaError
        When a month or a URL cannot be fetched, or a file is neither Parquet nor CSV.
    """
    if not settings.input:
        return [_month(settings)]
    if "://" in settings.input and not settings.input.startswith("file:"):
        fetched = fetching.fetch(settings.input, ENDINGS, settings.source_patience)
        found = [_file(file.path, file.label) for file in fetched]
    else:
        path = _path(settings.input)
        with _own_errors(path):
            files = _of_folder(path) if path.is_dir() else [path]
        found = [_file(file, str(file)) for file in files]
    _require_different(found)
    return found


def _month(settings: ScoringSettings) -> Input:
    of_months = settings.of_months()
    source = ingest.open_source(of_months)
    retry = retries.for_seconds(settings.source_patience)
    month = newest_month(of_months, source) if of_months.is_next else of_months.test_month
    file = retry(cache.fetch, source, settings.service, month, config.state().months)
    sample = is_sample(read_schema(file.path, file.url).metadata)
    return Input(file.path, file.url, file.sha256, str(month), sample)


def _path(text: str) -> Path:
    """Path of a setting: a path, or a ``file:`` URL."""
    local = unquote(re.sub("^file:(//(localhost)?(?=/))?", "", text)) if text.startswith("file:") else text
    return Path(local).expanduser().absolute()


def _file(path: Path, label: str) -> Input:
    with _own_errors(label):
        is_file, exists = path.is_file(), path.exists()
        head = _head(path) if is_file else b""
    if not is_file:
        got = "something else" if exists else "nothing of this name"
        raise ConfigError(
            f"input: {label}: expected a Parquet or CSV file, a folder of such files, or a URL of one; got {got}. "
            "Correct --input."
        )
    if is_csv(path):
        return Input(path, label, sha256_of(path))
    if not head.startswith(MAGIC):
        raise _neither(label, head, path.stat().st_size)
    return Input(path, label, sha256_of(path), sample=is_sample(read_schema(path, label).metadata))


@contextmanager
def _own_errors(label: object) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"input: {label}: cannot be read ({error.strerror}). Give this user read access to it."
        ) from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(40)


def _neither(label: str, head: bytes, size: int) -> TripSchemaError:
    error = not_parquet(label, head, f"{size} bytes")
    return TripSchemaError(f"{error} The name of a CSV file must end in {' or '.join(CSV_ENDINGS)}.")


def _of_folder(folder: Path) -> list[Path]:
    """Parquet and CSV files in the folder by name, without results of scoring."""
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.name.lower().endswith(ENDINGS) and not path.name.startswith(".") and path.is_file()
    ]
    inputs = [path for path in found if is_csv(path) or not _is_result(path)]
    if not inputs:
        raise ConfigError(
            f"input: {folder}: expected Parquet or CSV files (names ending in {', '.join(ENDINGS)}); got none, "
            "without results of scoring. Write the folder that has them."
        )
    return inputs


def _is_result(path: Path) -> bool:
    return read_summary(path) is not None


def _require_different(found: list[Input]) -> None:
    """Raise if two files would have the same result."""
    by_stem: dict[str, Input] = {}
    for each in found:
        other = by_stem.setdefault(each.stem, each)
        if other is not each:
            raise ConfigError(
                f"input: {other.path.name} and {each.path.name} in {each.path.parent}: expected different names "
                "before the ending, because their results would have the same name. Rename one of them."
            )
