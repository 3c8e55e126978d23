"""The version that tests verify, and why its verification fails."""

from __future__ import annotations

from pathlib import Path

from support.tracked import NAME

from mlops.month import Month
from mlops.registry.verification import Expected, verify

URI = f"models:/{NAME}/1"
JUNE = Month(2023, 6)


def refused(expected: Expected, folder: Path, **options: float) -> str:
    """Why the verification failed, without the version's name."""
    proof = verify(URI, expected, folder / "scratch", **options)
    assert not proof.passed
    assert proof.measured["seconds"] > 0
    assert proof.reason.startswith(f"{URI}: ")
    return proof.reason.removeprefix(f"{URI}: ")
