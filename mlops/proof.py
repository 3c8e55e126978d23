"""The proof before an alias moves: a version, fetched from the registry anew, answers as it was tested.

What was tested is an object in the memory of the process that fitted it; what will be served is what the registry
gives out. So a fresh process fetches the version, loads it with the code that it brings along, as anyone does, and
is asked again: the raw test month in batch, a sample of it one by one, and what nobody asks on a good day.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops import contract, trips
from mlops.errors import ConfigError, MlopsError, TrackingDownError, TrackingError
from mlops.features import REQUEST_COLUMNS
from mlops.month import Month
from mlops.tracking import MlflowException, mlflow, patient, probe, tracking_errors

Array = npt.NDArray[Any]

TOLERANCE = 1e-6  # minutes
SAMPLE_ROWS = 300
SINGLE_FRAMES = 36  # of the sample, also asked as tables of one row, which cost milliseconds each
CHUNK_ROWS = 262_144  # of a month at once: MLflow copies what it checks
CONNECT_SECONDS = 5.0
WATCH_SECONDS = 0.5  # between two looks whether who asked lives
ODD: tuple[dict[str, Any], ...] = (
    *({zone: code} for zone in ("pickup_zone", "dropoff_zone") for code in (999, 0, -1)),
    {"distance_miles": None},
    {"passenger_count": None},
    {"pickup_zone": 999, "dropoff_zone": 999, "distance_miles": None, "passenger_count": None},
)
"""What a request may say and still be answered."""


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
class Proof:
    """Whether a version answers as it was tested, why or why not, and what was measured."""

    passed: bool
    reason: str
    measured: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Itself as plain values, for JSON."""
        return asdict(self)


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


def prove(uri: str, expected: Expected, folder: Path, timeout: float = 3600.0) -> Proof:
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


@patient("proving {1}")
def _await(server: str, uri: str) -> None:
    probe(server, CONNECT_SECONDS)


@patient("proving {0}")
def _ask(uri: str, asked: str, server: str, timeout: float, folder: Path) -> Proof:
    """What a fresh process found."""
    shutil.rmtree(folder, ignore_errors=True)  # of a try before this, which met a server that was away
    folder.mkdir(parents=True)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "mlops.proof"],
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
        return Proof(False, f"the proof was not done within {timeout:g} s, and was ended", {})
    if ended.returncode:
        return Proof(False, f"the proving process died: {_cause(ended.returncode, ended.stderr)}", {})
    try:
        answer = json.loads(ended.stdout)
        unreachable, proof = answer.pop("unreachable"), Proof(**answer)
    except (ValueError, TypeError, KeyError, AttributeError):
        return Proof(False, f"the proving process should answer in JSON; got {ended.stdout[-200:]!r}", {})
    if unreachable:
        raise TrackingDownError(proof.reason)
    return proof


def _cause(status: int, stderr: str) -> str:
    if status == -signal.SIGKILL:
        return "SIGKILL; the system does that to a process when memory runs out"
    if status < 0:
        return signal.Signals(-status).name
    return f"exit status {status}; {_line((stderr.strip().splitlines() or ['it said nothing'])[-1])}"


# --- In the fresh process -----------------------------------------------------------------------------------


def main() -> None:
    """Read what is to be proven from stdin and write what was found to stdout, both JSON."""
    asked = json.load(sys.stdin)
    threading.Thread(target=_leave_with, args=(asked["asker"],), daemon=True).start()
    paths = {name: Path(path) for name, path in asked["expected"].items() if path and name in _PATHS}
    examination = _Examination(
        asked["uri"], Expected(**{**asked["expected"], **paths}), Path(asked["folder"])
    )
    passed = unreachable = False
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for the answer alone
            reason, passed = examination.run(), True
    except TrackingDownError as error:
        reason, unreachable = str(error), True
    except Exception as error:  # whatever keeps the version from answering is the reason it is not proven
        reason = _line(error)
    answer = {"passed": passed, "reason": reason, "measured": examination.measured}
    sys.stdout.write(json.dumps({**answer, "unreachable": unreachable}))


_PATHS = ("sample", "predictions", "month_file")


def _leave_with(asker: int) -> None:
    """End this process once the one that asked is gone: the next attempt works in the same folder."""
    while os.getppid() == asker:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


class _Examination:
    """The questions, one after the other; the first wrong answer raises `MlopsError`."""

    def __init__(self, uri: str, expected: Expected, folder: Path) -> None:
        self.uri, self.expected, self.folder = uri, expected, folder
        self.measured: dict[str, float] = {"largest_difference": 0.0}

    def run(self) -> str:
        """What was proven, in words."""
        version = _fetch(self.uri, self.folder / "version")
        with _doing("the artefact is damaged: MLmodel cannot be read"):
            described = mlflow.models.Model.load(str(version)).flavors["python_function"]
            artefact = version / described["data"]
        _check_digest(artefact, self.expected.artefact_sha256)
        with _doing("the version cannot be loaded"):
            model = _load(version)
        with _doing(f"the sample {self.expected.sample} cannot be read"):
            requests, tested = _read_sample(self.expected.sample)
        self.replay_sample(model, requests, tested)
        _check_refusals(model, requests.iloc[[0]])
        _check_odd_requests(model, requests)
        proven = f"{len(requests):,} requests in batch and one by one"
        month_file, predictions = self.expected.month_file, self.expected.predictions
        if month_file and predictions:
            rows = self.replay_month(model, month_file, predictions)
            proven += f", and {rows:,} trips of {self.expected.service} {self.expected.month}"
        return (
            f"answers as it was tested ({proven}; within {self.measured['largest_difference']:.1g} minutes)"
        )

    def replay_sample(self, model: Any, requests: pd.DataFrame, tested: pd.DataFrame) -> None:
        """Compare every prediction for the sample: in batch, as tables of one row, and without a table."""
        few = np.unique(np.linspace(0, len(requests) - 1, SINGLE_FRAMES).round().astype(np.int64))
        with _doing("the sample is not answered in batch"):
            answered = model.predict(requests)
        self.compare("the sample in batch", answered, tested)
        with _doing("the sample is not answered in tables of one row"):
            answered = pd.concat([model.predict(requests.iloc[[row]]) for row in few])
        self.compare("the sample in tables of one row", answered, tested.iloc[few])
        with _doing("the sample is not answered one by one"):
            answered = pd.DataFrame(map(model.get_raw_model().predict_one, requests.to_dict("records")))
        self.compare("the sample one by one", answered, tested)
        self.measured |= {"sample_rows": len(requests), "one_by_one": len(answered)}

    def replay_month(self, model: Any, month_file: Path, predictions: Path) -> int:
        """Compare the minutes of every trip of the raw month; how many there are."""
        what = f"the test month {month_file.name}"
        with _doing(f"{what} cannot be replayed"):
            clean, month = self.folder / "month.parquet", Month.parse(self.expected.month)
            trips.clean_file(month_file, self.expected.service, month, clean)
            requests, tested = contract.read_requests(clean), np.load(predictions)
            chunks = [requests.iloc[i : i + CHUNK_ROWS] for i in range(0, len(requests), CHUNK_ROWS)]
            minutes = [model.predict(chunk)["duration_minutes"].to_numpy() for chunk in chunks]
        answered = pd.DataFrame({"duration_minutes": np.concatenate(minutes) if minutes else []})
        self.compare(what, answered, pd.DataFrame({"duration_minutes": tested}))
        self.measured["rows"] = len(requests)
        return len(requests)

    def compare(self, what: str, answered: pd.DataFrame, tested: pd.DataFrame) -> None:
        """Nothing, if the answers are those that were tested."""
        if len(answered) != len(tested):
            raise MlopsError(f"{what}: expected {len(tested):,} answers; got {len(answered):,}")
        if list(answered.columns) != list(tested.columns):
            raise MlopsError(f"{what}: expected {list(tested.columns)}; got {list(answered.columns)}")
        expected, got = tested.to_numpy(np.float64), answered.to_numpy(np.float64)
        gaps = np.abs(got - expected)
        wrong = ~(gaps <= TOLERANCE)  # NaN is wrong too
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise MlopsError(
                f"{what}: {wrong.any(axis=1).sum():,} of {len(tested):,} answers are not those that were tested; "
                f"in row {row} expected {tested.columns[column]} {expected[row, column]:.6f}, "
                f"got {got[row, column]:.6f}"
            )
        self.measured["largest_difference"] = max(
            self.measured["largest_difference"], float(gaps.max(initial=0.0))
        )


def _fetch(uri: str, folder: Path) -> Path:
    """The version's folder, from the registry.

    Raises
    ------
    MlopsError
        When there is nothing to fetch.
    TrackingDownError
        When the registry does not answer.
    """
    try:
        with tracking_errors(f"{uri} cannot be fetched"):
            return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
    except TrackingDownError:
        raise
    except (TrackingError, OSError) as error:
        raise MlopsError(_line(error)) from error


def _check_digest(artefact: Path, expected: str) -> None:
    found = digest(artefact)
    if found == expected:
        return
    readers: dict[str, Callable[[Path], object]] = {
        "model.json": lambda path: json.loads(path.read_text()),
        "booster.ubj": Path.stat,  # reading a damaged one may end the process
        "encoder.npz": _read_arrays,
        "intervals.npz": _read_arrays,
    }
    for name, read in readers.items():
        if not (artefact / name).is_file():
            raise MlopsError(f"the artefact is damaged: {name} is missing")
        with _doing(f"the artefact is damaged: {name} cannot be read"):
            read(artefact / name)
    raise MlopsError(f"the artefact is damaged: expected files with digest {expected}; got {found}")


def _read_arrays(path: Path) -> list[Array]:
    with np.load(path) as stored:
        return [stored[name] for name in stored.files]


def _load(version: Path) -> Any:
    """The model, answering with the code that its artefact brings along, as it does where this package is not."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "mlops"]:
        del sys.modules[name]
    model = mlflow.pyfunc.load_model(str(version))
    code = Path(str(sys.modules["mlops.model"].__file__)).resolve()
    if not code.is_relative_to(version.resolve()):
        raise MlopsError(f"expected it to bring its code along, under {version}; it took that of {code}")
    return model


def _read_sample(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Requests, and what was predicted for them."""
    stored = pd.read_parquet(path)
    if stored.empty:
        raise MlopsError("expected requests; got none")
    return pd.DataFrame(contract.REQUESTS.validate(stored)), stored.drop(columns=list(REQUEST_COLUMNS))


def _check_refusals(model: Any, request: pd.DataFrame) -> None:
    """Nothing, if the version's schema refuses what is no request."""
    wrong = {
        "a request without pickup_zone": request.drop(columns="pickup_zone"),
        "a pickup_zone of text": request.assign(pickup_zone="downtown"),
    }
    for what, frame in wrong.items():
        try:
            got = f"the answer {model.predict(frame).to_dict('records')}"
        except MlflowException:
            continue
        except Exception as error:  # the model's own, which the request should not have come to
            got = _line(error)
        raise MlopsError(f"{what}: expected the schema to refuse it; got {got}")


def _check_odd_requests(model: Any, requests: pd.DataFrame) -> None:
    """Nothing, if unknown zones and nulls are answered with possible minutes, in a table and without one."""
    ordinary = requests.iloc[0].to_dict()
    frame = pd.DataFrame([ordinary | odd for odd in ODD]).astype(requests.dtypes.to_dict())
    with _doing("unknown zones and nulls are not answered"):
        in_batch = model.predict(frame).to_dict("records")
        singly = [model.get_raw_model().predict_one(ordinary | odd) for odd in ODD]
    for odd, answers in zip((*ODD, *ODD), (*in_batch, *singly), strict=True):
        _check_possible(odd, answers)


def _check_possible(odd: Mapping[str, Any], answers: Mapping[str, float]) -> None:
    for name, minutes in answers.items():
        if not trips.SHORTEST_MINUTES <= minutes <= trips.LONGEST_MINUTES:  # NaN is not
            raise MlopsError(
                f"a request with {dict(odd)}: expected {name} from {trips.SHORTEST_MINUTES:g} to "
                f"{trips.LONGEST_MINUTES:g}; got {minutes}"
            )


@contextlib.contextmanager
def _doing(trouble: str) -> Iterator[None]:
    """Whatever is raised inside, as an `MlopsError` that says what it keeps from being done."""
    try:
        yield
    except Exception as error:
        raise MlopsError(f"{trouble} ({_line(error)})") from error


def _line(said: object) -> str:
    """Text on one line, with no user and no password of any URL in it."""
    return re.sub(r"//\S*@", "//", " ".join(str(said).split()) or type(said).__name__)[:600]


if __name__ == "__main__":
    main()
