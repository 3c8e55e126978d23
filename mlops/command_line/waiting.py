"""A note on a terminal while a command works longer than a second; nothing in a file or a pipe."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator

SECONDS = 1.0
_ERASED = "\r\x1b[K"  # back to the start of the line, which is emptied


@contextlib.contextmanager
def note(text: str) -> Iterator[None]:
    """Show a text on standard error after `SECONDS`, and take it away when the block ends."""
    screen = sys.__stderr__  # `sys.stderr` hides control characters
    if screen is None or not screen.isatty():
        yield
        return
    shown = threading.Event()

    def show() -> None:
        shown.set()
        screen.write(f"{text} ...")
        screen.flush()

    timer = threading.Timer(SECONDS, show)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if shown.is_set():
            screen.write(_ERASED)
            screen.flush()
