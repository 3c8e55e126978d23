"""The verification before an alias moves: the registry serves the model that was tested.

The test used an object in the memory of the process that fitted it; users get what the registry serves. So a fresh
process loads the version from its downloaded files, with the code inside it, as any user does, and compares
predictions: the raw test month in batch, a sample of it one by one, and unusual requests such as unknown zones and
nulls. Before that, this process checks that the files are those that were signed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops.errors import ConfigError, MlopsError, TrackingDownError, UntrustedError, one_line
from mlops.model.request_columns import REQUEST_COLUMNS
from mlops.registry import version_files
from mlops.registry.version_files import Version

Array = npt.NDArray[Any]
SAMPLE_ROWS = 300
PASSED = "passed"
# So that no module of the working folder is imported by mistake; Python 3.10 does not have the option.
SAFE_PATH = ["-P"] if sys.version_info >= (3, 11) else []


@dataclass(frozen=True)
class Expected:
    """What a version must predict: its predictions in the test.

    Parameters
    ----------
    sample : Path
        A file written by `write_sample`.
    predictions : Path, optional
        A ``.npy`` file: minutes for every trip of the test month, float of shape (m,), in the month's order.
    month_file : Path, optional
        TLC's own file of the test month; without it only the sample is compared.
    service, month : str
        Service and month of that file.
    is_clean : bool
        Whether `month_file` has clean trips instead, because the run had cleaning rules of its own.

    Raises
    ------
    ConfigError
        When `month_file` is given without predictions, service or month.
    """

    sample: Path
    predictions: Path | None = None
    month_file: Path | None = None
    service: str = ""
    month: str = ""
    is_clean: bool = False

    def __post_init__(self) -> None:
        if self.month_file and not (self.predictions and self.service and self.month):
            raise ConfigError(
                f"{self.month_file}: expected predictions, service and month together with a month file; got "
                f"predictions={self.predictions}, service={self.service!r}, month={self.month!r}"
            )


@dataclass(frozen=True)
class Verification:
    """The result of a verification: passed or not, the reason, and what was measured."""

    passed: bool
    reason: str
    measured: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def as_tag(self) -> str:
        """Value of the version's tag ``proof``: `PASSED`, or why the verification failed."""
        return PASSED if self.passed else f"failed: {self.reason}"


def digest(artefact: Path) -> str:
    """SHA-256 over the names and bytes of all files in a model's folder, in hexadecimal.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "model.json").write_text("{}", encoding="utf-8")
    ...     digest(Path(folder))[:12]
    '59868cf6f812'
    """
    found = hashlib.sha256()
    for path in sorted(path for path in artefact.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        found.update(f"{path.relative_to(artefact).as_posix()}\0{content}\n".encode())
    return found.hexdigest()


def write_sample(
    path: Path, requests: pd.DataFrame, predictions: pd.DataFrame, rows: int = SAMPLE_ROWS
) -> Path:
    """Write `rows` evenly spaced requests with their predictions to the Parquet file `path`; returns `path`.

    Parameters
    ----------
    requests : DataFrame of n rows
        The model's input; only `REQUEST_COLUMNS` are written.
    predictions : DataFrame of n rows
        The model's output; every column is written.
    """
    chosen = np.unique(np.linspace(0, len(requests) - 1, min(rows, len(requests))).round().astype(np.int64))
    halves = [requests[list(REQUEST_COLUMNS)].iloc[chosen], predictions.iloc[chosen]]
    pd.concat([half.reset_index(drop=True) for half in halves], axis=1).to_parquet(path, index=False)
    return path


def verify(version: Version, expected: Expected, folder: Path, timeout: float = 3600.0) -> Verification:
    """Check that the version has the files that were signed and, in a fresh process, that it predicts as tested.

    Changed files, and any failure of that process, also its death, are a failed verification. An outage or a full
    disk says nothing about the version, so it raises.

    Parameters
    ----------
    version : Version
    folder : Path
        A folder for the version and the cleaned month; what it contains is deleted.
    timeout : float
        Seconds for the fresh process.

    Raises
    ------
    UntrustedError
        When the version is not signed with the key of this machine.
    TrackingDownError
        When the tracking server does not answer.
    """
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        version_files.fetch_signed(version, folder / "version")
        asked = {"folder": folder, "expected": asdict(expected), "asker": os.getpid()}
        found = _ask(json.dumps(asked, default=str), timeout, folder)
        found = replace(found, reason=f"{version.uri}: {found.reason}")
    except (TrackingDownError, UntrustedError):
        raise
    except MlopsError as error:
        found = Verification(False, without_passwords(error), {})
    return replace(found, measured={**found.measured, "seconds": round(time.monotonic() - started, 3)})


def _ask(asked: str, timeout: float, folder: Path) -> Verification:
    """Run the fresh process, without passwords in its environment; returns what it found."""
    try:
        ended = subprocess.run(
            [sys.executable, *SAFE_PATH, "-m", "mlops.registry.verification_process"],
            input=asked,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
            start_new_session=True,  # a Ctrl-C at the terminal must not count as a fault of the version
            cwd=folder,
            env=version_files.environment_without_secrets(),
        )
    except subprocess.TimeoutExpired:
        return Verification(False, f"the verification did not end within {timeout:g} s and was stopped", {})
    if ended.returncode:
        return Verification(
            False, f"the verification process died: {_cause(ended.returncode, ended.stderr)}", {}
        )
    try:
        return Verification(**json.loads(ended.stdout))
    except (ValueError, TypeError):
        return Verification(
            False, f"the verification process should answer in JSON; got {ended.stdout[-200:]!r}", {}
        )


def _cause(status: int, stderr: str) -> str:
    if status == -signal.SIGKILL:
        return "SIGKILL; the system kills a process when memory runs out"
    if status < 0:
        return signal.Signals(-status).name
    last_line = (stderr.strip().splitlines() or ["no error output"])[-1]
    return f"exit status {status}; {without_passwords(last_line)}"


def without_passwords(message: object) -> str:
    """The text on one line, without user and password of any URL."""
    return one_line(re.sub(r"//\S*@", "//", one_line(message)), 600)
