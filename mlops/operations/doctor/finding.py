"""The lines that the doctor prints; a check that fails is a line too, and does not stop the next check."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

from mlops.errors import one_line


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's output.

    Parameters
    ----------
    text : str
        What was found; if something is not right or not checked, why, and what to do.
    is_open : bool
        A person must act.
    is_checked : bool
        It was looked at. The doctor says "ok" of nothing else.
    """

    text: str
    is_open: bool = False
    is_checked: bool = True

    @property
    def label(self) -> str:
        """The word before the text."""
        return "OPEN" if self.is_open else "ok" if self.is_checked else "not checked"


Findings = Generator[Finding, None, None]
# A check returns True if other checks may use what it checked.
Check = Callable[[], Generator[Finding, None, bool | None]]


def not_checked(what: str, why: str) -> Finding:
    """A finding about something that was not looked at, although nothing is known to be wrong with it.

    Examples
    --------
    >>> finding = not_checked("artefacts", "the server is away; start it")
    >>> (finding.label, finding.text)
    ('not checked', 'artefacts: the server is away; start it')
    """
    return Finding(f"{what}: {why}", is_checked=False)


def exit_status(findings: Iterable[Finding]) -> int:
    """Exit status of a check-up: 1 if something is open, else 3 if something is not checked, else 0."""
    labels = {finding.label for finding in findings}
    return 1 if "OPEN" in labels else 3 if "not checked" in labels else 0


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
