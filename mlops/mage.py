"""Setup for a Mage block before it calls the library: settings, readable errors, Mage's log, working Ctrl-C.

This module does not import mage_ai.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from types import FrameType, TracebackType
from typing import Any

from mlops import files, masking
from mlops.addresses import HIDDEN
from mlops.config import Settings
from mlops.errors import ConfigError, MlopsError
from mlops.progress import LogLines

# Variables that Mage itself adds to the pipeline's variables (mage-ai 0.9.80).
MAGE_VARIABLES = frozenset(
    {
        "__error", "block_uuid", "configuration", "context", "ds", "dynamic_block_index", "env", "event",
        "execution_date", "execution_partition", "hr", "interval_end_datetime", "interval_seconds",
        "interval_start_datetime", "interval_start_datetime_previous", "logger", "parent_block_uuid",
        "pipeline_run", "pipeline_run_id", "pipeline_uuid", "remote_blocks", "repo_path", "retry", "spark",
        "trigger_name",
    }
)  # fmt: skip


def from_mage(variables: Mapping[str, Any], argv: Sequence[str] | None = None) -> Settings:
    """Settings of a training run from the keyword arguments of a Mage block, as `own_variables` prepares them.

    Mage's pages send a number perhaps as text, and a field that somebody emptied as an empty text: none, for a
    setting that can be none.

    Raises
    ------
    ConfigError
        As `own_variables` and `Settings.parse`; for an empty text where a value is needed.
    """
    return Settings.parse(
        {name: _from_field(name, value) for name, value in own_variables(variables, argv).items()}
    )


def own_variables(variables: Mapping[str, Any], argv: Sequence[str] | None = None) -> dict[str, Any]:
    """The keyword arguments of a Mage block without Mage's own; from then on this package logs to Mage's log.

    From then on, too, Mage shows an error's message first; see `_CauseFirst` and `_show_errors`.

    Parameters
    ----------
    variables : mapping
        The block's ``**kwargs``: the pipeline's variables and Mage's own.
    argv : sequence of str, optional
        Arguments of the process, by default ``sys.argv``. `mage run` ignores ``--runtime-vars`` that is not
        valid JSON and continues with defaults; here it is an error.

    Raises
    ------
    ConfigError
        For runtime variables that Mage could not read.
    """
    masking.mask_logs()
    _log_to_stdout()
    _show_errors()
    if logger := variables.get("logger"):  # of the block's log; only Mage's scheduler gives one
        logger.addFilter(_CAUSE_FIRST)
    _handle_ctrl_c()
    _check_runtime_vars(sys.argv if argv is None else argv)
    files.close_state()
    return {name: value for name, value in variables.items() if name not in MAGE_VARIABLES}


def _from_field(name: str, value: Any) -> Any:
    default = Settings.model_fields[name].default if name in Settings.model_fields else ""
    if default == "" or not isinstance(value, str) or value.strip():
        return value
    if default is None:
        return None
    raise ConfigError(
        f"{name}: expected a value, for example {default}; got an empty field. Fill it in, or create the trigger "
        "again without touching the field: then the pipeline's variable counts"
    )


def run_of(variables: Mapping[str, Any]) -> str:
    """Mage's name for the run that a block belongs to; empty outside Mage's scheduler.

    Examples
    --------
    >>> run_of({"pipeline_uuid": "trip_duration_training", "pipeline_run_id": 7, "month": "next"})
    'trip_duration_training/7'
    >>> run_of({"month": "next"})
    ''
    """
    pipeline, run = variables.get("pipeline_uuid"), variables.get("pipeline_run_id")
    return f"{pipeline}/{run}" if run else ""


def is_scheduled(variables: Mapping[str, Any]) -> bool:
    """Whether Mage's schedule started the run that a block belongs to.

    A person started it in the editor, by "Run@once", by a call of Mage's API, or as a backfill.
    """
    run = variables.get("pipeline_run")
    if run is None or run.backfill_id is not None:
        return False
    trigger = run.pipeline_schedule
    return bool(trigger.schedule_type != "api" and trigger.schedule_interval != "@once")


def _handle_ctrl_c() -> None:
    """Make Ctrl-C end the process at once, as SIGTERM does, when the block runs outside the main thread.

    Under `mage run` it does. Without this, the run would continue to its end, register a version, and only then
    print "Aborted". `registry.run_lifecycle` closes the interrupted run in MLflow. In the editor a block runs in
    the kernel's main thread, where an interrupt raises KeyboardInterrupt; this gives it a message. The kernel sets
    Python's own handler again before each block.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is threading.main_thread():
        if handler is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupt)
    elif callable(handler):  # keep it ignored where a shell ignores it
        # `signal.signal` works in the main thread only.
        ctypes.pythonapi.PyOS_setsig(ctypes.c_int(signal.SIGINT), ctypes.c_void_p(signal.SIG_DFL))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt("interrupted; this block did not finish. Run it again: finished work is kept")


class _CauseFirst(logging.Filter):
    """Begins Mage's lines about an error with the error's message, and leaves out the traceback of ours.

    Mage's own text says "Exception thrown when attempting to run <function ...>, attempt 1 of 1", and its page of
    logs shows this text only. Source: mage_ai/data_preparation/logging/logger.py, mage-ai 0.9.80.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; it is always logged."""
        with contextlib.suppress(ValueError, TypeError):  # a line that is not Mage's JSON
            entry = json.loads(record.msg)
            if cause := entry.get("error_stacktrace"):
                entry["message"] = f"{cause} ({entry['message']})"
                record.msg = json.dumps(entry)
        if record.exc_info and isinstance(record.exc_info[1], MlopsError):
            record.exc_info = None
        return True


_CAUSE_FIRST = _CauseFirst()  # one, so that a logger has it once


def _show_errors() -> None:
    """Let an error that ends `mage run` be shown as our command line shows it: its message, without traceback."""
    shown = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, MlopsError):
            sys.stderr.write(f"error: {masking.clean(str(error))}\n")
        else:
            shown(kind, error, trace)

    if getattr(shown, "__module__", "") != __name__:
        sys.excepthook = show


class _StdoutHandler(logging.Handler):
    """Writes to the current ``sys.stdout``, which Mage redirects to the block's log or to the editor."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            sys.stdout.write(masking.clean(self.format(record)) + "\n")
            sys.stdout.flush()
        except Exception:
            self.handleError(record)


def _log_to_stdout() -> None:
    package = logging.getLogger("mlops")
    if not any(isinstance(handler, _StdoutHandler) for handler in package.handlers):
        handler = _StdoutHandler()
        handler.setFormatter(LogLines())
        package.addHandler(handler)
        package.setLevel(logging.INFO)
        package.propagate = False  # otherwise Mage's root logger repeats each line


def _check_runtime_vars(argv: Sequence[str]) -> None:
    for position, word in enumerate(argv):
        option, equals, value = word.partition("=")
        if option != "--runtime-vars":
            continue
        text = value if equals else "".join(argv[position + 1 : position + 2])
        try:
            parsed = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(
                f"--runtime-vars is not valid JSON ({error}); got {_without_address(text)!r}. "
                """Write for example --runtime-vars '{"service": "green", "month": "2023-10"}'"""
            ) from error
        if not isinstance(parsed, dict):
            got = _without_address(text)
            raise ConfigError(f"--runtime-vars: expected a JSON object of settings; got {got!r}")


def _without_address(text: str) -> str:
    """A text up to the first URL in it, which may hold a password."""
    before, is_cut, _ = text.partition("://")
    return f"{before}://{HIDDEN}" if is_cut else text
