"""A reader that stops early, as `head` does, is no error of the command."""

from __future__ import annotations

import subprocess
import sys

from mlops.__main__ import BROKEN_PIPE


def test_a_reader_that_stops_early_gets_no_error_message() -> None:
    command = [sys.executable, "-m", "mlops", "completion", "bash"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == BROKEN_PIPE
