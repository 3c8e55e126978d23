"""A real pseudo terminal in the place of standard output, of any width."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from unittest.mock import patch

STYLES = re.compile(r"\x1b\[[0-9;]*m")


@contextlib.contextmanager
def terminal(columns: int) -> Iterator[Callable[[], str]]:
    """Standard output is a terminal inside the block; the yielded function gives what it got, after the block."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    found: list[bytes] = []
    reader = threading.Thread(target=_read, args=(ours, found))
    reader.start()
    with (
        os.fdopen(theirs, "w", encoding="utf-8") as out,
        patch("sys.stdout", out),
        patch("sys.__stdout__", out),  # the one whose width Python asks for
        patch.dict(os.environ, TERM="xterm-256color"),
    ):
        for name in ("COLUMNS", "NO_COLOR"):
            os.environ.pop(name, None)
        yield lambda: b"".join(found).decode().replace("\r\n", "\n")
    reader.join()
    os.close(ours)


def _read(ours: int, found: list[bytes]) -> None:
    with contextlib.suppress(OSError):  # what reading raises once the other side is closed
        while content := os.read(ours, 65536):
            found.append(content)


def without_styles(text: str) -> str:
    """The text without codes of colours; other codes stay."""
    return STYLES.sub("", text)
