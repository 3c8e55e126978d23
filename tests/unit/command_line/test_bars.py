"""Bars on a terminal: they do not tear log lines, and are gone at the end, also after errors and signals."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys

import pytest
from support.doors import heed_ctrl_c

from mlops.command_line import bars
from mlops.config import PROJECT

SCRIPT = """
import logging, signal, sys, time
from mlops import masking, progress
from mlops.__main__ import _configure_logging, _terminate
from mlops.command_line.bars import bars

masking.mask_logs()
with masking.outputs(is_terminal=True):
    _configure_logging(verbose=False)
    signal.signal(signal.SIGTERM, _terminate)
    with bars():
        with progress.step("search", 4, progress.TRIALS) as report:
            report(2, 4)
            logging.getLogger("mlops").info("a log line\\x1b[2J")
            time.sleep(0.4)
            {act}
        print("the result")
"""
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"  # the cursor
GONE = f"\n{SHOW}\r\x1b[1A\x1b[2K"  # to the line of the bar, which is emptied


def run(act: str, number: int = 0) -> tuple[int, str]:
    """Status, and what a terminal gets, of a process with a bar; it gets a signal, if it is not 0."""
    main, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(act=act)],
        cwd=PROJECT, stderr=other, stdout=other, stdin=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "60"}, preexec_fn=heed_ctrl_c,
    )  # fmt: skip
    os.close(other)
    shown = b""
    with open(main, "rb", buffering=0) as terminal:  # noqa: PTH123
        while True:
            try:
                shown += (chunk := terminal.read(10_000))
            except OSError:  # how Linux says that nobody writes any more
                break
            if not chunk:
                break
            if number and b"2 of 4" in shown:
                process.send_signal(number)
                number = 0
    return process.wait(20), shown.decode().replace("\r\n", "\n")


def lines_left(shown: str) -> list[str]:
    """Lines that stay on the screen: what is erased, and colours, are left out."""
    kept = [re.split(r"\r|\x1b\[2K", line)[-1] for line in shown.split("\n")]
    return [re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", line) for line in kept]


def test_a_bar_and_a_log_line() -> None:
    status, shown = run("pass")
    assert (status, "2 of 4 trials" in shown) == (0, True)
    (log_line,) = [line for line in lines_left(shown) if "a log line" in line]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC a log line\\x1b\[2J", log_line)
    assert shown.rindex(SHOW) > shown.rindex(HIDE)
    assert shown.endswith(f"{GONE}the result\n"), repr(shown[-300:])


@pytest.mark.parametrize(
    ("act", "number", "status", "said"),
    [
        ("raise SystemError('no room')", 0, 1, "SystemError: no room"),
        ("time.sleep(20)", signal.SIGTERM, 143, ""),
        ("time.sleep(20)", signal.SIGINT, -signal.SIGINT, "KeyboardInterrupt"),
    ],
)
def test_a_bar_is_gone_after_an_error_or_a_signal(act: str, number: int, status: int, said: str) -> None:
    ended, shown = run(act, number)
    assert ended == status
    assert shown.rindex(SHOW) > shown.rindex(HIDE)
    after = shown.rpartition(SHOW)[2]
    assert said in after and "trials" not in after


def test_without_a_terminal_there_is_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with bars.bars(), bars.progress.step("search", 4, "trials") as report:
        assert not bars.progress.is_shown()
        report(2, 4)
    assert capsys.readouterr() == ("", "")
