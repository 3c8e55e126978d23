"""Results in a bucket: the files of `exports.FolderExport` as objects, each uploaded whole."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import fsspec

from mlops import config, masking
from mlops.config import without_credentials
from mlops.errors import ConfigError, ExportError, MlopsError, one_line
from mlops.scoring.drafts import Drafts, complete, drafts_in, read_summary
from mlops.scoring.profile import given


class BucketExport:
    """A folder in a bucket, of S3 or of another file system that fsspec knows.

    An object appears when its upload is complete, so no half file is ever seen there.

    Parameters
    ----------
    to : str
        ``s3://bucket/folder``.
    connect_timeout : float
        Maximum seconds to wait for a connection.
    profile : mapping
        ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` ..., as in a profile of Mage's ``io_config.yaml``. What is
        missing comes from the environment, as for all programs that use Amazon's library.

    Raises
    ------
    ConfigError
        When `to` names no bucket, or has a key before it.
    ExportError
        When the bucket does not exist, does not answer, or refuses.
    """

    def __init__(self, to: str, connect_timeout: float, profile: Mapping[str, Any]) -> None:
        masking.remember(to)
        self.place = without_credentials(to).rstrip("/")
        if re.match(r"[a-z0-9]+://[^/]*@", to):
            raise ConfigError(
                f"to: expected a bucket, got a user or a key before it. Write {self.place}, and put the "
                "credentials into the environment, for example AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        if not re.match(r"[a-z0-9]+://[^/?]", to):
            raise ConfigError(f"to: expected a bucket, such as s3://bucket/folder; got {self.place!r}")
        options = _s3_options(connect_timeout, profile) if to.startswith("s3:") else {}
        with self._own_errors():
            self._filesystem, path = fsspec.core.url_to_fs(to, **options)
            self._path = path.rstrip("/")
            self._require_bucket()

    def _require_bucket(self) -> None:
        try:
            self._filesystem.info(self._path)  # raises other errors where the keys or the network are wrong
        except FileNotFoundError:
            if not self._filesystem.exists(self._path.lstrip("/").partition("/")[0]):
                raise

    def drafts(self, name: str) -> AbstractContextManager[Drafts]:
        """As `exports.Export.drafts`; in the state folder."""
        return drafts_in(config.state().scored, name)

    def find(self, name: str, input_sha256: str) -> dict[str, Any] | None:
        """As `exports.Export.find`."""
        output, rejected = self._objects(name)
        with self._own_errors():
            self._filesystem.invalidate_cache()
            if not self._filesystem.exists(output):
                return None
            with self._filesystem.open(output, "rb") as file:
                summary = read_summary(file)
            return complete(summary, input_sha256, lambda: self._filesystem.exists(rejected))

    def put(self, drafts: Drafts) -> str:
        """As `exports.Export.put`. The answered rows come last: a result is complete when they are there."""
        output, rejected = self._objects(drafts.name)
        with self._own_errors():
            had_rejected = self._filesystem.exists(rejected)
            if (had_rejected or drafts.rejected.exists()) and self._filesystem.exists(output):
                self._filesystem.rm_file(output)  # nobody sees the files of two results together
            if drafts.rejected.exists():
                self._upload(drafts.rejected, rejected)
            elif had_rejected:
                self._filesystem.rm_file(rejected)
            self._upload(drafts.output, output)
        return self.where(drafts.name)

    def where(self, name: str) -> str:
        """As `exports.Export.where`."""
        return f"{self.place}/{name}.parquet"

    def _objects(self, name: str) -> tuple[str, str]:
        return f"{self._path}/{name}.parquet", f"{self._path}/{name}.rejected.parquet"

    def _upload(self, path: Path, target: str) -> None:
        self._filesystem.put_file(str(path), target)

    @contextlib.contextmanager
    def _own_errors(self) -> Iterator[None]:
        """Raise `ExportError` for any error of the file system: each has its own exceptions."""
        try:
            yield
        except MlopsError:
            raise
        except Exception as error:
            is_missing = isinstance(error, FileNotFoundError)
            reason = "no such bucket" if is_missing else f"{type(error).__name__}: {_shown(error)}"
            raise ExportError(
                f"{self.place}: {reason.rstrip(': .')}. Check the address, the credentials and the network, or "
                "choose another --to."
            ) from None  # its own text may quote a key


def _s3_options(connect_timeout: float, profile: Mapping[str, Any]) -> dict[str, Any]:
    """Options of s3fs: credentials and endpoint of the profile, and attempts that end within seconds."""
    named = {
        "key": given(profile, "AWS_ACCESS_KEY_ID"),
        "secret": given(profile, "AWS_SECRET_ACCESS_KEY"),
        "token": given(profile, "AWS_SESSION_TOKEN"),
        "endpoint_url": given(profile, "AWS_ENDPOINT"),
    }
    region = given(profile, "AWS_REGION")
    return {
        **{name: value for name, value in named.items() if value},
        "client_kwargs": {"region_name": region} if region else {},
        "config_kwargs": {"connect_timeout": connect_timeout, "retries": {"total_max_attempts": 2}},
        "max_concurrency": 2,  # parts of 50 MB that are in memory at a time
        "skip_instance_cache": True,
    }


def _shown(error: Exception) -> str:
    return re.sub(r"""[^\s"'/]*@""", "", masking.clean(one_line(error, 300)))
