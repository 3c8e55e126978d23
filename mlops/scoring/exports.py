"""Where results go: a folder on this machine, a bucket, or a table of PostgreSQL.

Use of an export, for one input and one version::

    export = open_export(to, table)
    with export.drafts(name) as drafts:              # waits for another process that writes the same
        known = export.find(name, input_sha256)      # the summary of a complete result, else None
        if known is None:
            ...                                      # write drafts.output and, if needed, drafts.rejected
            where = export.put(drafts)
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from mlops import config
from mlops.config import without_credentials
from mlops.errors import ConfigError
from mlops.scoring.drafts import Drafts, complete, drafts_in, read_summary
from mlops.scoring.settings import TABLE

BUCKETS = ("s3", "gs", "memory")  # schemes of fsspec
EMPTY: Mapping[str, Any] = {}


class Export(Protocol):
    """A place for results."""

    @property
    def place(self) -> str:
        """Address for log lines and messages, without credentials."""

    def drafts(self, name: str) -> AbstractContextManager[Drafts]:
        """Paths where the result of this name is written before `put`; see `drafts.drafts_in`."""

    def find(self, name: str, input_sha256: str) -> dict[str, Any] | None:
        """Summary of a complete result that was made from an input with this sha256; None if there is none."""

    def put(self, drafts: Drafts) -> str:
        """Deliver a complete result, all of it or nothing; an earlier one of the same name is replaced.

        Returns
        -------
        str
            As `where`.
        """

    def where(self, name: str) -> str:
        """Where the result of this name is, or would be; without credentials."""


def open_export(
    to: str = "", table: str = TABLE, connect_timeout: float = 5.0, profile: Mapping[str, Any] = EMPTY
) -> Export:
    """Export that the setting `to` names; what can be checked before anything is scored is checked here.

    Parameters
    ----------
    to : str
        A folder, ``s3://bucket/folder`` or ``postgresql://user:password@host/database``; empty for the folder of
        results in the state folder.
    table : str
        Table in PostgreSQL.
    connect_timeout : float
        Maximum seconds to wait for the first answer of a bucket or database.
    profile : mapping
        Names and credentials as in a profile of Mage's ``io_config.yaml``, for what `to` and the environment lack.

    Raises
    ------
    ConfigError
        When it is none of these, the folder cannot be written, or a table has other columns.
    ExportError
        When the bucket or database does not answer, or refuses.
    """
    scheme, is_address, _ = to.partition("://")
    if is_address and scheme in BUCKETS:
        # Here and below, because the import takes time that a folder does not need.
        from mlops.scoring.bucket import BucketExport

        return BucketExport(to, connect_timeout, profile)
    if is_address and scheme.startswith("postgresql"):
        from mlops.scoring.database import DatabaseExport

        return DatabaseExport(to, table, connect_timeout, profile)
    if is_address:
        raise ConfigError(
            f"to: expected a folder, s3://bucket/folder or postgresql://user:password@host/database; got "
            f"{without_credentials(to)}"
        )
    folder = Path(to).expanduser().absolute() if to else config.state().scored
    return FolderExport(folder)


class FolderExport:
    """A folder on this machine: one Parquet file for each input and version."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise ConfigError(
                f"to: {folder}: expected a folder in which this user may write; got {error.strerror}. Choose "
                "another --to."
            ) from error

    @property
    def place(self) -> str:
        """Path of the folder."""
        return str(self.folder)

    def drafts(self, name: str) -> AbstractContextManager[Drafts]:
        """As `Export.drafts`; in the same folder, so that `put` only renames."""
        return drafts_in(self.folder, name)

    def find(self, name: str, input_sha256: str) -> dict[str, Any] | None:
        """As `Export.find`."""
        return complete(read_summary(self.output(name)), input_sha256, self.rejected(name).exists)

    def put(self, drafts: Drafts) -> str:
        """As `Export.put`. The answered rows come last: a result is complete when they are there."""
        output, rejected = self.output(drafts.name), self.rejected(drafts.name)
        if drafts.rejected.exists() or rejected.exists():
            output.unlink(missing_ok=True)  # nobody sees the files of two results together
            rejected.unlink(missing_ok=True)
        if drafts.rejected.exists():
            drafts.rejected.replace(rejected)
        drafts.output.replace(output)
        return self.where(drafts.name)

    def where(self, name: str) -> str:
        """As `Export.where`."""
        return str(self.output(name))

    def output(self, name: str) -> Path:
        """File of answered rows."""
        return self.folder / f"{name}.parquet"

    def rejected(self, name: str) -> Path:
        """File of rejected rows, which exists only if there are any."""
        return self.folder / f"{name}.rejected.parquet"
