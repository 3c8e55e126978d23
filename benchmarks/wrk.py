"""The load generator wrk: so many connections that post requests, and what it measured."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cells import PROJECT

SCRIPT = PROJECT / "benchmarks" / "post.lua"
LONGEST_ANSWER_SECONDS = 10
FIGURES = ("answers", "seconds", "p50_us", "p95_us", "p99_us", "refused", "unanswered")
"""Figures that the script prints, in its order."""


@dataclass(frozen=True)
class Figures:
    """What wrk measured.

    Parameters
    ----------
    answers : int
        Number of answers, of any status.
    seconds : float
    p50_us, p95_us, p99_us : float
        Percentiles of the time from a request to its answer, in microseconds.
    refused, unanswered : int
        Answers with a status above 399, and requests without an answer.
    """

    answers: int
    seconds: float
    p50_us: float
    p95_us: float
    p99_us: float
    refused: int
    unanswered: int

    @property
    def per_second(self) -> float:
        """Answers in a second."""
        return self.answers / self.seconds


def program() -> str:
    """Path of wrk.

    Raises
    ------
    FileNotFoundError
        When it is not installed.
    """
    found = shutil.which("wrk")
    if found is None:
        raise FileNotFoundError("wrk is not installed; Debian and Ubuntu have it as package wrk")
    return found


def post(url: str, bodies: Path, *, connections: int, seconds: float, rate: float = 0.0) -> Figures:
    """Post the lines of a file for so many seconds, at most `rate` in a second; 0 for as many as possible.

    Raises
    ------
    FileNotFoundError
        When wrk is not installed.
    RuntimeError
        When it fails, or a request is refused.
    """
    command = [
        program(), "--threads", "1", "--connections", str(connections), "--duration", f"{seconds:.0f}s",
        "--timeout", f"{LONGEST_ANSWER_SECONDS}s", "--script", str(SCRIPT), url, "--", str(bodies), f"{rate:.3f}",
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if ended.returncode:
        raise RuntimeError(f"wrk ended with status {ended.returncode}: {ended.stderr.strip()[-300:]}")
    found = figures(ended.stdout)
    if found.refused:
        raise RuntimeError(
            f"{url}: expected answers with a status below 400; got {found.refused} others of {found.answers}"
        )
    return found


def figures(output: str) -> Figures:
    """The figures in wrk's output: its last line, which our script prints.

    Raises
    ------
    RuntimeError
        When there are none, or nothing was answered.

    Examples
    --------
    >>> line = '{"answers": 20, "seconds": 2.0, "p50_us": 900, "p95_us": 1200, "p99_us": 1500, "refused": 1, '
    >>> found = figures("Running 2s test ..." + chr(10) + line + '"unanswered": 0}')
    >>> found.per_second, found.refused
    (10.0, 1)
    """
    lines = output.strip().splitlines()
    try:
        values: dict[str, Any] = json.loads(lines[-1])
        found = Figures(**values)
    except (IndexError, ValueError, TypeError) as error:
        raise RuntimeError(
            f"wrk: expected {', '.join(FIGURES)} as JSON; got {output.strip()[-300:]!r}"
        ) from error
    if not found.answers:
        raise RuntimeError(
            f"wrk: expected answers; got none, and {found.unanswered} requests without an answer"
        )
    return found


def write_bodies(path: Path, bodies: Sequence[Any]) -> Path:
    """Write a file for `post`: one JSON document a line."""
    path.write_text("".join(json.dumps(body) + "\n" for body in bodies), encoding="utf-8")
    return path
