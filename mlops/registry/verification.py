"""The proof before an alias moves: a version, fetched from the registry anew, answers as it was tested.

What was tested is an object in the memory of the process that fitted it; what will be served is what the registry
gives out. So a fresh process fetches the version, loads it with the code that it brings along, as anyone does, and
is asked again: the raw test month in batch, a sample of it one by one, and what nobody asks on a good day.
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
from mlops.model.features import REQUEST_COLUMNS
from mlops.registry.client import mlflow, probe, with_retry

Array = npt.NDArray[Any]
SAMPLE_ROWS = 300
PASSED = "passed"
# No module of the working folder is imported by mistake; the option is not in Python 3.10.
SAFE_PATH = ["-P"] if sys.version_info >= (3, 11) else []
CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class Expected:
    """What a version must answer, as it was tested.

    Parameters
    ----------
    artefact_sha256 : str
        `digest` of the model's folder before it was logged.
    sample : Path
        As from `write_sample`.
    predictions : Path, optional
        A ``.npy`` file: minutes of every trip of the test month, float of shape (m,), in the month's order.
    month_file : Path, optional
        TLC's own file of the test month; without it only the sample is replayed.
    service, month : str
        What that file holds.

    Raises
    ------
    ConfigError
        When there is a month's file and something that goes with it is missing.
    """

    artefact_sha256: str
    sample: Path
    predictions: Path | None = None
    month_file: Path | None = None
    service: str = ""
    month: str = ""

    def __post_init__(self) -> None:
        if self.month_file and not (self.predictions and self.service and self.month):
            raise ConfigError(
                f"{self.month_file}: expected predictions, service and month beside a month's file; got "
                f"predictions={self.predictions}, service={self.service!r}, month={self.month!r}"
            )


@dataclass(frozen=True)
class Verification:
    """Whether a version answers as it was tested, why or why not, and what was measured."""

    passed: bool
    reason: str
    measured: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Itself as plain values, for JSON."""
        return asdict(self)

    def as_tag(self) -> str:
        """The version's tag ``proof``: `PASSED`, or why it failed."""
        return PASSED if self.passed else f"failed: {self.reason}"


def digest(artefact: Path) -> str:
    """SHA-256 over the names and bytes of the files of a model's folder, in hexadecimal.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "model.json").write_text("{}")
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
    """The Parquet file `path`: so many requests, evenly spaced, each beside what was predicted for it.

    Parameters
    ----------
    requests : DataFrame of n rows
        As the model takes them; `REQUEST_COLUMNS` are kept.
    predictions : DataFrame of n rows
        As the model gave them; every column is kept.
    """
    chosen = np.unique(np.linspace(0, len(requests) - 1, min(rows, len(requests))).round().astype(np.int64))
    halves = [requests[list(REQUEST_COLUMNS)].iloc[chosen], predictions.iloc[chosen]]
    pd.concat([half.reset_index(drop=True) for half in halves], axis=1).to_parquet(path, index=False)
    return path


def verify(uri: str, expected: Expected, folder: Path, timeout: float = 3600.0) -> Verification:
    """Whether the version at `uri` answers as it was tested, found out by a fresh process.

    Whatever goes wrong in there, its death included, is a failed proof: a version is at fault until it is proven.
    Only a tracking server that is away says nothing about a version.

    Parameters
    ----------
    uri : str
        ``models:/NAME/NUMBER``.
    folder : Path
        Empty; the version and the cleaned month are put there.
    timeout : float
        Seconds for all of it.

    Raises
    ------
    TrackingDownError
        When the tracking server does not answer.
    """
    server, started = str(mlflow.get_tracking_uri()), time.monotonic()
    _await(server, uri)
    asked = json.dumps(
        {"uri": uri, "folder": folder, "expected": asdict(expected), "asker": os.getpid()}, default=str
    )
    proof = _ask(uri, asked, server, timeout, folder)
    if not proof.passed:
        _await(server, uri)  # gone for good meanwhile, it is what went wrong
    measured = {**proof.measured, "seconds": round(time.monotonic() - started, 3)}
    return replace(proof, reason=f"{uri}: {proof.reason}", measured=measured)


@with_retry("proving {1}")
def _await(server: str, uri: str) -> None:
    probe(server, CONNECT_SECONDS)


@with_retry("proving {0}")
def _ask(uri: str, asked: str, server: str, timeout: float, folder: Path) -> Verification:
    """What a fresh process found."""
    shutil.rmtree(folder, ignore_errors=True)  # of a try before this, which met a server that was away
    folder.mkdir(parents=True)
    try:
        ended = subprocess.run(
            [sys.executable, *SAFE_PATH, "-m", "mlops.registry.verification_process"],
            input=asked,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            start_new_session=True,  # a Ctrl-C at the terminal is for who asked, and no fault of the version
            # The URI may hold a password: in the environment, not among the arguments that anyone can list.
            env={**os.environ, "MLFLOW_TRACKING_URI": server},
        )
    except subprocess.TimeoutExpired:
        return Verification(False, f"the proof was not done within {timeout:g} s, and was ended", {})
    if ended.returncode:
        return Verification(False, f"the proving process died: {_cause(ended.returncode, ended.stderr)}", {})
    try:
        answer = json.loads(ended.stdout)
        unreachable, proof = answer.pop("unreachable"), Verification(**answer)
    except (ValueError, TypeError, KeyError, AttributeError):
        return Verification(
            False, f"the proving process should answer in JSON; got {ended.stdout[-200:]!r}", {}
        )
    if unreachable:
        raise TrackingDownError(proof.reason)
    return proof


def _cause(status: int, stderr: str) -> str:
    if status == -signal.SIGKILL:
        return "SIGKILL; the system does that to a process when memory runs out"
    if status < 0:
        return signal.Signals(-status).name
    return (
        f"exit status {status}; {without_passwords((stderr.strip().splitlines() or ['it said nothing'])[-1])}"
    )


def without_passwords(said: object) -> str:
    """Text on one line, with no user and no password of any URL in it."""
    return one_line(re.sub(r"//\S*@", "//", one_line(said)), 600)
