"""The verification before an alias moves: the registry serves the model that was tested.

The test used an object in the memory of the process that fitted it; users get what the registry serves. So a fresh
process downloads the version, loads it with the code inside it, as any user does, and compares predictions: the
raw test month in batch, a sample of it one by one, and unusual requests such as unknown zones and nulls.
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

from mlops.errors import ConfigError, TrackingDownError, one_line
from mlops.model.request_columns import REQUEST_COLUMNS
from mlops.registry.client import probe, tracking_uri, with_retry

Array = npt.NDArray[Any]
SAMPLE_ROWS = 300
PASSED = "passed"
# So that no module of the working folder is imported by mistake; Python 3.10 does not have the option.
SAFE_PATH = ["-P"] if sys.version_info >= (3, 11) else []
CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class Expected:
    """What a version must predict: its predictions in the test.

    Parameters
    ----------
    artefact_sha256 : str
        `digest` of the model's folder before it was logged.
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

    artefact_sha256: str
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


def verify(uri: str, expected: Expected, folder: Path, timeout: float = 3600.0) -> Verification:
    """Check in a fresh process that the version at `uri` predicts the same as in its test.

    Any failure of that process, also its death, is a failed verification. The exception is a tracking server that
    does not answer: that says nothing about the version.

    Parameters
    ----------
    uri : str
        ``models:/NAME/NUMBER``.
    folder : Path
        An empty folder for the version and the cleaned month.
    timeout : float
        Seconds for the whole verification.

    Raises
    ------
    TrackingDownError
        When the tracking server does not answer.
    """
    server, started = tracking_uri(), time.monotonic()
    _await(server, uri)
    asked = json.dumps(
        {"uri": uri, "folder": folder, "expected": asdict(expected), "asker": os.getpid()}, default=str
    )
    found = _ask(uri, asked, server, timeout, folder)
    if not found.passed:
        _await(server, uri)  # raises if the server is away now: then the server is the cause, not the version
    measured = {**found.measured, "seconds": round(time.monotonic() - started, 3)}
    return replace(found, reason=f"{uri}: {found.reason}", measured=measured)


@with_retry("verifying {1}")
def _await(server: str, uri: str) -> None:
    probe(server, CONNECT_SECONDS)


@with_retry("verifying {0}")
def _ask(uri: str, asked: str, server: str, timeout: float, folder: Path) -> Verification:
    """Run the fresh process; returns what it found."""
    shutil.rmtree(folder, ignore_errors=True)  # left by an earlier try, during which the server was away
    folder.mkdir(parents=True)
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
            # The URI may hold a password, so it goes into the environment: any user can list the arguments.
            env={**os.environ, "MLFLOW_TRACKING_URI": server},
        )
    except subprocess.TimeoutExpired:
        return Verification(False, f"the verification did not end within {timeout:g} s and was stopped", {})
    if ended.returncode:
        return Verification(
            False, f"the verification process died: {_cause(ended.returncode, ended.stderr)}", {}
        )
    try:
        answer = json.loads(ended.stdout)
        unreachable, found = answer.pop("unreachable"), Verification(**answer)
    except (ValueError, TypeError, KeyError, AttributeError):
        return Verification(
            False, f"the verification process should answer in JSON; got {ended.stdout[-200:]!r}", {}
        )
    if unreachable:
        raise TrackingDownError(found.reason)
    return found


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
