"""The lines that the doctor prints; a check that fails is a line too, and does not stop the next check."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

from mlops.errors import one_line


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's output; `is_open` if a person must act."""

    text: str
    is_open: bool = False


Findings = Generator[Finding, None, None]
# A check returns True if other checks may use what it checked.
Check = Callable[[], Generator[Finding, None, bool | None]]


def carried_out(about: str, check: Check) -> Generator[Finding, None, bool]:
    """Yield the findings of a check; if it raises, the last finding says so. Returns what the check returns.

    Examples
    --------
    >>> def broken():
    ...     yield Finding("one")
    ...     raise OSError("disk gone")
    >>> [(finding.text, finding.is_open) for finding in carried_out("disk", broken)]
    [('one', False), ('disk: this check failed (OSError: disk gone); fix the cause and check again', True)]
    """
    try:
        return bool((yield from check()))
    except Exception as error:  # no error may stop the other checks
        why = one_line(f"{type(error).__name__}: {error}", 300)
        yield Finding(f"{about}: this check failed ({why}); fix the cause and check again", is_open=True)
        return False
