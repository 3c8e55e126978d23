"""Bars on a terminal for downloads, trials and rows; nothing in a file or a pipe, where log lines say the same."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

from mlops import masking, progress
from mlops.progress import LogLines, Report


@contextlib.contextmanager
def bars() -> Iterator[None]:
    """Inside the block, long steps have a bar on the standard error, if that is a terminal.

    A bar is taken away when its step ends, finished or not. Log lines appear above the bars.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    shown = Bars()
    with progress.listening(shown), _logging_above(shown):
        try:
            yield
        finally:
            shown.clear()


class Bars:
    """The bars of the steps that are under way; call it with each report."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._live: Any = None  # `rich.progress.Progress` while there are bars
        self._tasks: dict[str, Any] = {}

    def __call__(self, report: Report) -> None:
        """Show a report: in a new bar, in its own, or by taking its bar away."""
        with self._lock:
            if report.is_over:
                self._end(report.what)
                return
            if self._live is None:
                self._live = _progress()
                self._live.start()
            if report.what not in self._tasks:
                self._tasks[report.what] = self._live.add_task(report.what, total=report.total, amount="")
            self._live.update(
                self._tasks[report.what], completed=report.done, total=report.total, amount=amount(report)
            )

    def write(self, line: str) -> bool:
        """Write a line above the bars; False if there is none."""
        with self._lock:
            if self._live is None:
                return False
            self._live.console.print(line, soft_wrap=True)
            return True

    def clear(self) -> None:
        """Take all bars away."""
        with self._lock:
            for what in [*self._tasks]:
                self._end(what)

    def _end(self, what: str) -> None:
        if what not in self._tasks:
            return
        task = self._tasks.pop(what)
        if self._tasks:
            self._live.remove_task(task)
        else:
            self._live.stop()  # with its last bar, so that it knows what to take away
            self._live = None


def amount(report: Report) -> str:
    """How far a step is, in words.

    Examples
    --------
    >>> amount(Report("a.parquet", 3_000_000, 45_100_000, progress.BYTES))
    '3.0 of 45.1 MB'
    >>> amount(Report("search", 3, 20, progress.TRIALS)), amount(Report("a.csv", 5_000, None, progress.ROWS))
    ('3 of 20 trials', '5,000 rows')
    """
    numbers = [number for number in (report.done, report.total) if number is not None]
    if report.unit == progress.BYTES:
        return f"{' of '.join(f'{number / 1e6:,.1f}' for number in numbers)} MB"
    return f"{' of '.join(f'{number:,}' for number in numbers)} {report.unit}"


def _progress() -> Any:
    """Rich's bars, which disappear when they end; their control characters are not hidden from the terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    out: Any = sys.stderr.for_styles() if isinstance(sys.stderr, masking.Stream) else sys.stderr
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[amount]}", markup=False),
        TimeRemainingColumn(compact=True),
        console=Console(file=out, highlight=False, emoji=False, markup=False),
        transient=True,
        expand=True,
        redirect_stdout=False,
        redirect_stderr=False,
        refresh_per_second=4,
    )


class _AboveBars(logging.StreamHandler[Any]):
    """Writes log lines to the standard error, above the bars if there are some."""

    def __init__(self, shown: Bars) -> None:
        super().__init__(sys.stderr)
        self._bars = shown

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        if not self._bars.write(masking.clean(self.format(record))):
            super().emit(record)


@contextlib.contextmanager
def _logging_above(shown: Bars) -> Iterator[None]:
    root = logging.getLogger()
    before = [*root.handlers]
    handler = _AboveBars(shown)
    handler.setFormatter(LogLines())
    root.handlers = [handler]
    try:
        yield
    finally:
        root.handlers = before
