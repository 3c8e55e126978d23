"""The connection to the tracking server: no interruption during a call, retries when it is away.

Every function that calls MLflow is wrapped by `with_retry`, and asks through `mlflow_client`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import shutil
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, ParamSpec, TypeVar
from urllib.parse import urlsplit

# Before the import, which reads them.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

with warnings.catch_warnings():
    # pydantic warns about a field name inside MLflow; Mage's pins keep pydantic at the version that warns.
    warnings.filterwarnings("ignore", message='Field "model_name"', category=UserWarning)
    import mlflow as mlflow
import requests
import sqlalchemy
from filelock import FileLock
from mlflow.exceptions import MlflowException as MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.credentials import get_default_host_creds
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_before_delay,
    wait_exponential,
)

from mlops import config
from mlops.config import sqlite_file, without_credentials
from mlops.errors import TrackingDownError, TrackingError
from mlops.registry.first_check import PASSWORD as PASSWORD
from mlops.registry.first_check import USER as USER
from mlops.registry.first_check import ask as ask
from mlops.registry.first_check import lets_anybody_in as lets_anybody_in
from mlops.registry.first_check import probe as probe
from mlops.registry.first_check import unknown_user
from mlops.registry.tables import store_problem

logger = logging.getLogger(__name__)

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between two tries
RETRIES, REQUEST_SECONDS = 1, 30  # for MLflow's own client; with its defaults it gives up after four minutes
_AWAY = re.compile(r"API request to .* failed with (timeout )?exception|failed with error code 5\d\d")


class _Connection:
    """Address of the tracking store of this process; set by `connect`.

    MLflow's own setting (`mlflow.set_tracking_uri`) is left alone: in Mage's editor it belongs to the user.
    """

    uri = ""


def tracking_uri() -> str:
    """Address of the store that this process is connected to, or of this machine's; it may contain a password."""
    return _Connection.uri or config.tracking_uri()


def mlflow_client() -> mlflow.MlflowClient:
    """MLflow's client of this project's tracking store, which is also its registry.

    It depends on no state of the process: not on MLflow's address of a store or of a registry, an active run, an
    active experiment, or an experiment in the environment.
    """
    uri = tracking_uri()
    return mlflow.MlflowClient(uri, uri)


def download(uri: str, folder: Path) -> Path:
    """Path of the files of the version at `uri`, ``models:/NAME/NUMBER``, downloaded into `folder`.

    `mlflow.artifacts.download_artifacts` is not used: it looks a version up in the registry that the process is
    set to, even where another one is passed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name, _, number = uri.removeprefix("models:/").rpartition("/")
    place = mlflow_client().get_model_version_download_uri(name, number)
    return Path(artefacts_at(place).download_artifacts("", str(folder)))


def artefacts_at(place: str) -> Any:
    """MLflow's access to the artefacts at a place.

    Raises
    ------
    TrackingError
        As `require_own_server`.
    """
    found: Any = get_artifact_repository(place, tracking_uri=tracking_uri())
    inner = found
    while hasattr(inner, "repo"):  # of a version, which is at the place of its model
        inner = inner.repo
    require_own_server(str(inner.artifact_uri))
    return found


def require_own_server(place: str) -> None:
    """Raise if MLflow would send our password to a server that is not the tracking server.

    Whoever can write to the registry chooses where the artefacts of an experiment or a version are.

    Raises
    ------
    TrackingError
    """
    address, own = urlsplit(place), urlsplit(tracking_uri())
    hosts = [each.netloc.rpartition("@")[2] for each in (address, own)]
    schemes = ("mlflow-artifacts", own.scheme)
    if address.scheme not in ("http", "https", "mlflow-artifacts") or not hosts[0]:
        return
    known: Any = get_default_host_creds(place)  # type: ignore[no-untyped-call]
    is_own = hosts[0] == hosts[1] and address.scheme in schemes
    if not is_own and (known.username or known.token or known.auth):
        raise TrackingError(
            f"{without_credentials(place)}: these artefacts are on another server than the tracking server, "
            f"{without_credentials(tracking_uri())}, and MLflow would send it our password. Find out who "
            "registered this place, and delete it in MLflow."
        )


class _Patience:
    """Seconds to keep trying in this process; set by `connect`."""

    seconds = 0.0
    suspended: ClassVar[list[object]] = []  # one entry for each open `without_retry`, in any thread

    @classmethod
    def current(cls) -> float:
        """Seconds to keep trying now: 0 while a `without_retry` is open."""
        return 0.0 if cls.suspended else cls.seconds


def connect(uri: str, state: Path, timeout: float, patience: float = 0.0) -> None:
    """Connect this process to the tracking store; if it goes away later, calls are retried for `patience` seconds.

    Raises
    ------
    TrackingError
        When it does not answer now.
    """
    probe(uri, timeout)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(RETRIES))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REQUEST_SECONDS))
    _Connection.uri, _Patience.seconds = uri, patience
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it logs dozens of lines about a new database
    state.mkdir(parents=True, exist_ok=True)
    if uri.startswith(("http://", "https://")):
        return
    # MLflow creates the tables on first use; two processes doing so at the same time would fail.
    with FileLock(state / "mlflow.lock"), tracking_errors(f"tracking server {without_credentials(uri)}"):
        if file := sqlite_file(uri):
            _make_database(file)
        if problem := store_problem(uri):
            raise TrackingError(problem)
        mlflow_client().search_experiments(max_results=1)


def _make_database(path: Path) -> None:
    """Create the database with all its tables, or nothing: MLflow cannot continue an interrupted migration."""
    if path.exists():
        return
    passing = path.with_name(f".{path.name}.tmp")  # a folder, since SQLite keeps a journal beside its file
    shutil.rmtree(passing, ignore_errors=True)
    passing.mkdir()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # here: it takes a second

    # MLflow writes the default experiment's place into SQL as it is. By default it is below the working folder,
    # whose path may contain a quote or a colon; a URI has none.
    SqlAlchemyStore(f"sqlite:///{passing / path.name}", config.state().artifacts.as_uri())  # type: ignore[no-untyped-call]
    (passing / path.name).replace(path)
    shutil.rmtree(passing)


def with_retry(doing: str) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Decorator: a signal does not interrupt a call to MLflow, and the call is repeated while the server is away.

    Parameters
    ----------
    doing : str
        The action, for the error message; ``{0}`` is the call's first argument.

    Raises
    ------
    TrackingDownError
        When the server stays away longer than the `patience` given to `connect`.
    TrackingError
        When it refuses.
    """

    def decorate(call: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @functools.wraps(call)
        def wrapped(*arguments: Parameters.args, **named: Parameters.kwargs) -> Result:
            def attempt() -> Result:  # signals are deferred during the call only, not during a wait
                with defer_signals(), tracking_errors(doing.format(*arguments)):
                    return call(*arguments, **named)

            return _while_away()(attempt)

        return wrapped

    return decorate


def _while_away() -> Retrying:
    """Retry for as long as the process's patience allows; pauses of 0.5, 1, 2 s and so on, at most 10 s."""

    def is_over(state: RetryCallState) -> bool:  # read each time: any thread may open a `without_retry`
        return stop_before_delay(_Patience.current())(state)

    def log(state: RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome:  # once, not before each wait
            logger.warning("%s; trying again for %.0f s", state.outcome.exception(), _Patience.current())

    return Retrying(
        retry=retry_if_exception_type(TrackingDownError),
        stop=is_over,
        wait=wait_exponential(FIRST_PAUSE, max=LONGEST_PAUSE),
        before_sleep=log,
        reraise=True,
    )


@contextlib.contextmanager
def without_retry() -> Iterator[None]:
    """Inside the block, calls are not retried: the wait is over already, or the process is about to end."""
    mine = object()
    _Patience.suspended.append(mine)
    try:
        yield
    finally:
        _Patience.suspended.remove(mine)


@contextlib.contextmanager
def tracking_errors(doing: str) -> Iterator[None]:
    """Turn any MLflow error raised inside the block into a `TrackingError` that names the action."""
    try:
        yield
    except (MlflowException, requests.RequestException, sqlalchemy.exc.SQLAlchemyError) as error:
        kind = TrackingDownError if _is_away(error) else TrackingError
        raise kind(f"{doing}: {_unknown(error) or f'MLflow failed: {_short(error)}'}") from error


def _unknown(error: Exception) -> str:
    """What to do when the server rejects the login (401); an empty text for any other error."""
    answer = getattr(error, "response", None)
    if getattr(error, "error_code", "") != "UNAUTHENTICATED" and getattr(answer, "status_code", 0) != 401:
        return ""
    return unknown_user(tracking_uri())


def _is_away(error: Exception) -> bool:
    """Whether the server did not answer at all, as opposed to answering with a refusal."""
    if isinstance(error, MlflowException):
        return error.error_code == "TEMPORARILY_UNAVAILABLE" or bool(_AWAY.search(str(error)))
    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code >= 500
    return isinstance(error, (requests.RequestException, sqlalchemy.exc.OperationalError))


@contextlib.contextmanager
def defer_signals() -> Iterator[None]:
    """Defer Ctrl-C and SIGTERM until the MLflow call is done; a second signal is handled at once.

    If MLflow is interrupted during a query, SQLite stays locked while this process lives, and the run cannot be
    closed. Outside the main thread (`mage run`) neither signal raises: the process ends, and the guard process
    closes the run.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append((number, frame))
        if len(held) > 1:
            _handle(before[number], number, frame)

    before: dict[int, Any] = {
        number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number, frame in held[:1]:  # even if the block raised: the signal must not be lost
            _handle(before[number], number, frame)


def _handle(handler: Any, number: int, frame: FrameType | None) -> None:
    if callable(handler):
        handler(number, frame)
    elif handler == signal.SIG_DFL:
        signal.raise_signal(number)


def _short(error: Exception) -> str:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    if not re.search(r"too many \d+ error", first):  # the server did answer; this text says more
        first = re.sub(
            r"API request to (\S+) failed with (timeout )?exception.*", r"no answer from \1", first
        )
    return re.sub(r"//\S*@", "//", first)[:300]  # without user and password of any URL
