"""A registered version and its files: fetched, checked against their signature, asked for predictions.

A version brings code. Whoever can write to the registry can change it, so nothing of a version is read or imported
before its files are those that were signed (`signature`). Then it is loaded from the files that were checked.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pandas as pd

from mlops.errors import MlopsError, TrackingDownError, TrackingError, UntrustedError, one_line
from mlops.registry import signature
from mlops.registry.client import download, with_retry
from mlops.registry.signed_version import Version as Version
from mlops.registry.signed_version import signature_of as signature_of
from mlops.registry.signed_version import signed_files as signed_files

SCORING_SECONDS = 3600  # limit for a champion to predict a month; longer means that it hangs
_HARMLESS = (
    "HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "MLOPS_STATE_DIR", "MLOPS_THREADS", "PATH", "PYTHONPATH",
    "TMPDIR", "TZ", "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_LOGGING_LEVEL",
)  # fmt: skip  # variables that hold no secret
_HARMLESS_PREFIXES = ("LC_", "OMP_", "OPENBLAS_", "MKL_")
_OUTAGE = re.compile(r"\b5\d\d Server Error|Max retries exceeded")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # this machine has no place for the files
_ERRNO = re.compile(r"^\[Errno (\d+)\]", re.MULTILINE)


@with_retry("fetching {0.uri}")
def fetch(version: Version, folder: Path) -> Path:
    """Download the version's files from the registry into `folder`, unchecked; returns their path."""
    return download(version.uri, folder)


def fetch_signed(version: Version, folder: Path) -> Path:
    """Download the files of a version into `folder` and check them; returns their path, from which it is loaded.

    Nothing of a version may be imported, and its MLmodel not even be read, before this check.

    Raises
    ------
    UntrustedError
        When the version is not signed with the key of this machine; the message says what to do.
    MlopsError
        When its files are gone, or are not those that were signed.
    TrackingDownError
        When the registry does not answer.
    OSError
        When this machine is the cause, for example a full disk.
    """
    expected = signed_files(version)
    fetched = _fetched(version, folder)
    signature.remove_added(fetched)
    if change := signature.find_change(expected, fetched):
        raise MlopsError(f"{version.uri}: since it was signed, {change}; nothing of it was executed")
    return fetched


def find_damage(version: Version, folder: Path) -> str:
    """Why the files of a version, downloaded into `folder`, are not those of its run; empty if they are.

    Raises
    ------
    UntrustedError
        When it is not known, because the version is not signed.
    TrackingDownError
        When the registry does not answer.
    """
    try:
        fetch_signed(version, folder)
    except (TrackingDownError, UntrustedError):
        raise
    except Exception as error:  # whatever it is, nobody can load this version
        return f"its files are gone or changed ({one_line(error, 300)})"
    return ""


def environment_without_secrets() -> dict[str, str]:
    """Variables for a process that runs a version's code: none but those named here."""
    kept = (*_HARMLESS, *(name for name in os.environ if name.startswith(_HARMLESS_PREFIXES)))
    return {name: os.environ[name] for name in kept if name in os.environ}


_SCORE = """
import sys, warnings
warnings.simplefilter("ignore")
import mlflow, pandas
model, own = mlflow.pyfunc.load_model(sys.argv[1]), None
try:
    own = model.get_raw_model()
except NotImplementedError:
    pass
if hasattr(own, "predict_one"):  # a version of ours: MLflow's check of each value takes longer than the trees
    model = own
model.predict(pandas.read_parquet(sys.argv[2])).to_parquet(sys.argv[3])
"""


def predict(version: Version, requests: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Predictions of a registered version, downloaded into `folder` and loaded as any user loads it.

    A separate process without passwords in its environment loads it with the code inside the artefact, so versions
    that an earlier state of this package registered answer too. The files are checked first.

    Raises
    ------
    MlopsError
        When it cannot be loaded, or does not answer.
    TrackingDownError
        When the registry does not answer.
    OSError
        When this machine is the cause, for example too little memory.
    """
    if not version.is_ours:
        raise MlopsError(f"{version.uri}: another program or a person registered it, so its code is not run")
    fetched = fetch_signed(version, folder / "version")
    # A unique name: a process whose parent was killed may write its answer late.
    asked, answered = folder / "requests.parquet", folder / f"answers-{uuid.uuid4().hex}.parquet"
    requests.to_parquet(asked, index=False)
    program = [sys.executable, "-P" if sys.version_info >= (3, 11) else "-s", "-c", _SCORE]
    ended = subprocess.run(
        [*program, str(fetched), str(asked), str(answered)],
        cwd=folder, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=SCORING_SECONDS,
        env=environment_without_secrets(),
    )  # fmt: skip
    if ended.returncode < 0:
        raise ChildProcessError(
            f"{version.uri}: the process that computes its predictions was ended by "
            f"{signal.Signals(-ended.returncode).name}. Check that there is enough memory, and run again."
        )
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or [f"its process ended with {ended.returncode}"])[-1]
        raise MlopsError(f"{version.uri} gives no predictions: {last[:300]}")
    return pd.read_parquet(answered)


def _fetched(version: Version, folder: Path) -> Path:
    """As `fetch`; `TrackingDownError` is for what says nothing about the version, `MlopsError` for lost files."""
    try:
        return fetch(version, folder)
    except (TrackingDownError, OSError):
        raise
    except TrackingError as error:
        # MLflow collects the errors of single files in one of its own.
        if _OUTAGE.search(str(error.__cause__)):
            raise TrackingDownError(str(error)) from error
        for number in _FULL.intersection(map(int, _ERRNO.findall(str(error.__cause__)))):
            raise OSError(number, os.strerror(number), str(folder)) from error
        raise MlopsError(str(error)) from error
    except Exception as error:  # of the artefact store's own library: no keys, no answer, a missing package
        text = f"fetching {version.uri}: {one_line(f'{type(error).__name__}: {error}', 300)}"
        if version.is_ours:
            raise TrackingDownError(f"{text}. Check the access to its artefact store") from error
        raise MlopsError(text) from error
