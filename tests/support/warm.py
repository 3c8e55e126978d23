"""Processes that do not import the libraries again: each is forked from one that has imported them.

Most tests of whole processes spend their time in imports (pandas, MLflow, XGBoost: seconds for each start). A
forked process is a process of its own in all that such a test looks at: arguments, environment, folder, streams,
session, signals, exit status. Only third-party libraries are imported beforehand, nothing of `mlops` or of Mage.

As a script it is the process that forks. It reads one JSON object a line, and answers with one for each start and
each end.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import itertools
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PYTHON = sys.executable  # a test may change the latter
LIBRARIES = (
    "mlflow", "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store", "pandas", "pyarrow.parquet",
    "pyarrow.dataset", "xgboost", "sklearn.feature_extraction", "sklearn.metrics", "hyperopt",
    "pandera.pandas", "matplotlib.pyplot",
    "holidays.countries", "pydantic", "fsspec", "requests", "tenacity", "jinja2", "markdown_it", "psycopg2",
    "filelock", "sqlalchemy.dialects.sqlite", "alembic.command", "opentelemetry.sdk.trace", "hypothesis", "git",
    # of Mage:
    "polars", "IPython", "prompt_toolkit", "jedi", "aiohttp", "jupyter_client", "redis",
    "cryptography", "ruamel.yaml",
)  # fmt: skip
AT_IMPORT = {
    # What `mlops.registry.client` sets before it imports MLflow.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "OPENBLAS_NUM_THREADS": "1",  # a fork has no threads of its parent's
    "PYTHONUNBUFFERED": "1",
}


class WarmProcess:
    """What `subprocess.Popen` offers of a process, for one that was forked elsewhere."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.args, self.environment = command, environment
        self.pid, self.returncode = 0, None
        self.begun, self.over = threading.Event(), threading.Event()

    def poll(self) -> int | None:
        """Its exit status, minus the signal that ended it, or None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The same, once it is over.

        Raises
        ------
        subprocess.TimeoutExpired
        """
        if not self.over.wait(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        assert self.returncode is not None
        return self.returncode


class WarmPython:
    """A Python with `LIBRARIES` imported, from which processes are forked."""

    def __init__(self, folder: Path) -> None:
        own = {**os.environ, **AT_IMPORT, "HOME": str(folder), "MPLCONFIGDIR": str(folder)}
        self._python = subprocess.Popen(
            [PYTHON, __file__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=own, text=True, cwd=folder, start_new_session=True,
        )  # fmt: skip
        self._asked, self._lock = itertools.count(), threading.Lock()
        self.processes: dict[int, WarmProcess] = {}
        threading.Thread(target=self._listen, daemon=True).start()
        atexit.register(self._python.kill)

    @property
    def pid(self) -> int:
        """Number of the process that forks: the parent of all that it forks."""
        return self._python.pid

    def start(
        self, command: list[str], cwd: Path, environment: dict[str, str], streams: Path, spares: int = 0
    ) -> WarmProcess:
        """A command, ``-m MODULE ...``, ``-c CODE ...`` or ``SCRIPT ...``.

        It reads the file ``stdin`` in the folder `streams`, if there is one, and writes ``stdout`` and ``stderr``.
        So many of the Python processes that it starts itself are forked too, see `Spares`.
        """
        process = WarmProcess(command, environment)
        for name in ("stdout", "stderr"):
            (streams / name).touch()
        with self._lock:
            number = next(self._asked)
            self.processes[number] = process
            asked = {"number": number, "command": command, "cwd": str(cwd), "environment": environment}
            assert self._python.stdin
            self._python.stdin.write(json.dumps({**asked, "streams": str(streams), "spares": spares}) + "\n")
            self._python.stdin.flush()
        assert process.begun.wait(120), "the process that forks does not answer"
        return process

    def alive(self) -> list[WarmProcess]:
        """Those that run."""
        return [process for process in self.processes.values() if not process.over.is_set()]

    def _listen(self) -> None:
        assert self._python.stdout
        for line in self._python.stdout:
            event = json.loads(line)
            process = self.processes[event["number"]]
            if "pid" in event:
                process.pid = event["pid"]
                process.begun.set()
            else:
                process.returncode = event["status"]
                process.over.set()


@functools.cache
def warm_python() -> WarmPython:
    """The one that all tests of this process share."""
    return WarmPython(Path(tempfile.mkdtemp(prefix="warm-")))


def run_warm(
    command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, given: str = "",
    timeout: float = 120, spares: int = 0, **ignored: object,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """What `subprocess.run` of a ``[sys.executable, ...]`` returns, with its output as text.

    Of Python's options ``-P`` is understood. `given` is what the process reads, and `spares` is that of
    `WarmPython.start`; other arguments are ignored.
    """
    program, *arguments = command
    assert program == PYTHON
    with tempfile.TemporaryDirectory() as folder:
        streams = Path(folder)
        (streams / "stdin").write_text(given)
        process = warm_python().start(
            arguments, cwd or Path.cwd(), dict(os.environ if env is None else env), streams, spares
        )
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout)
            raise
        said = [(streams / name).read_text() for name in ("stdout", "stderr")]
    return subprocess.CompletedProcess(list(command), status, *said)


class WarmSubprocess:
    """What the library uses of `subprocess` to verify and to score a version, with forked processes."""

    TimeoutExpired = subprocess.TimeoutExpired

    @staticmethod
    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """`subprocess.run`."""
        if command[0] != PYTHON:  # a test's own program
            return subprocess.run(command, **options)
        if "input" in options:  # whoever forks the process is its parent, whose end it watches for
            asked = {**json.loads(options.pop("input")), "asker": warm_python().pid}
            return run_warm(command, given=json.dumps(asked), **options)
        return run_warm(command, **options)


def serve() -> dict[str, Any]:
    """Fork for each request; in the forked process, return the request. Never returns in the one that forks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for library in LIBRARIES:
            importlib.import_module(library)
        importlib.import_module("sqlalchemy.orm").configure_mappers()  # of MLflow's tables: half a second
        # Which package each module is from: MLflow reads the files of all packages when it saves a model.
        importlib.import_module("mlflow.utils.requirements_utils")._init_modules_to_packages_map()
    # A fork keeps one thread. pyarrow's allocator starts its own two again when it needs them.
    gc.freeze()  # these objects are in no collection of the forked processes
    names = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}  # on Linux
    assert names <= {path.read_text().strip() for path in Path("/proc/self").glob("comm")} | {
        "jemalloc_bg_thd"
    }
    events = os.fdopen(os.dup(1), "w", buffering=1)
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(ended, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    numbers: dict[int, int] = {}
    pending = b""
    while True:
        ready, _, _ = select.select([0, ended], [], [])
        if ended in ready:
            os.read(ended, 65536)
            _report_ended(numbers, events)
        if 0 in ready:
            read = os.read(0, 1 << 20)
            if not read:
                sys.exit()
            *lines, pending = (pending + read).split(b"\n")
            for line in lines:
                asked: dict[str, Any] = json.loads(line)
                pid = os.fork()
                if not pid:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for descriptor in (events.fileno(), ended, wake):
                        os.close(descriptor)
                    return asked
                numbers[pid] = asked["number"]
                print(json.dumps({"number": asked["number"], "pid": pid}), file=events)


def _report_ended(numbers: dict[int, int], events: Any) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        status = os.waitstatus_to_exitcode(status)
        print(json.dumps({"number": numbers.pop(pid), "status": status}), file=events)


def become(asked: dict[str, Any]) -> None:
    """Turn this process into the one that was asked for, up to its first line of code."""
    os.setsid()
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    time.tzset()
    sys.dont_write_bytecode = bool(asked["environment"].get("PYTHONDONTWRITEBYTECODE"))
    streams, write = Path(asked["streams"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND
    stdin = streams / "stdin"
    for descriptor, path, flags in (
        (0, stdin if stdin.exists() else os.devnull, os.O_RDONLY),
        (1, streams / "stdout", write),
        (2, streams / "stderr", write),
    ):
        opened = os.open(path, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Spares:
    """Children of this process, forked before it does anything, to be the Python processes that it starts later.

    A process that has begun its work cannot fork safely. A spare is a child like any other: it has a session of
    its own, ends with its parent while it waits, and can see that its parent has died.
    """

    def __init__(self, count: int) -> None:
        self.waiting: list[tuple[int, socket.socket]] = []
        for _ in range(count):
            ours, theirs = socket.socketpair()
            pid = os.fork()
            if not pid:
                for _, other in [*self.waiting, (0, ours)]:
                    other.close()
                raise IsSpare(theirs)
            theirs.close()
            self.waiting.append((pid, ours))
        self._cold = subprocess.run
        subprocess.run = self.run  # type: ignore[assignment]

    def run(self, command: Any, **options: Any) -> Any:
        """`subprocess.run`, by a spare if it can be."""
        if not (self.waiting and command[0] == PYTHON and options.get("capture_output")):
            return self._cold(command, **options)
        pid, asking = self.waiting.pop()
        environment, timeout = dict(options.get("env") or os.environ), options.get("timeout")
        with asking, tempfile.TemporaryDirectory() as streams:
            (Path(streams) / "stdin").write_text(options.get("input") or "")
            asked = {"command": command[1:], "cwd": str(options.get("cwd") or Path.cwd())}
            asking.sendall(
                json.dumps({**asked, "environment": environment, "streams": streams}).encode() + b"\n"
            )
            status = _wait(pid, timeout)
            if status is None:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise subprocess.TimeoutExpired(command, timeout or 0.0)
            said = [(Path(streams) / name).read_text() for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(command, status, *said)


class IsSpare(Exception):  # noqa: N818  # raised in the forked process to leave all that its parent was doing
    """This process is a spare, which waits at the socket."""

    def __init__(self, waits_at: socket.socket) -> None:
        self.waits_at = waits_at


def _wait(pid: int, seconds: float | None) -> int | None:
    """Exit status of a child, or None if it still runs after so many seconds."""
    deadline = time.monotonic() + (seconds or 3600)
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    return None


def run(command: list[str]) -> None:
    """Run a module, some code or a script, as Python does."""
    folder = command[0] != "-P"
    option, *arguments = command if folder else command[1:]
    if option in ("-m", "-c"):
        sys.argv, sys.path[0] = arguments, str(Path.cwd()) if option == "-m" else ""
    else:
        sys.argv, sys.path[0] = [option, *arguments], str(Path(option).parent)
    if not folder:
        del sys.path[0]
    sys.path[folder:folder] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    if option == "-m":
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    elif option == "-c":
        code, sys.argv[0] = sys.argv[0], "-c"
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


def end(status: int) -> None:
    """End as Python does, but without clearing every module of every library, which takes a second."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as at each end of Python
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    os._exit(status)


def main() -> None:
    """Fork for every request; in a forked process, do what it asks for."""
    request = serve()
    become(request)
    try:
        Spares(request["spares"])
    except IsSpare as spare:
        given = spare.waits_at.makefile("rb").readline()
        if not given:
            os._exit(0)
        request = json.loads(given)
        become(request)
        spare.waits_at.close()
    try:
        run(request["command"])
    except SystemExit as asked_to_end:
        code = asked_to_end.code
        if isinstance(code, str):
            sys.stderr.write(f"{code}\n")
        end(code if isinstance(code, int) else int(code is not None))
    end(0)


if __name__ == "__main__":
    main()
