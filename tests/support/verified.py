"""The version that tests verify, and why its verification fails."""

from __future__ import annotations

from pathlib import Path

from support.tracked import NAME

from mlops.month import Month
from mlops.registry import signature, version_files, versions
from mlops.registry.verification import Expected, Verification, verify
from mlops.registry.version_files import Version

URI = f"models:/{NAME}/1"
JUNE = Month(2023, 6)


def sign_again(version: Version, folder: Path) -> Version:
    """Sign the files that a store's folder of a version has now: they are what was registered."""
    signature.remove_added(folder)
    files = signature.files_in(folder)
    return versions.tag(
        version, {signature.TAG: version_files.signature_of(version.name, version.run_id, files)}
    )


def proof_of(expected: Expected, folder: Path, **options: float) -> Verification:
    """The verification of that version."""
    return verify(versions.get(NAME, "1"), expected, folder / "scratch", **options)


def refused(expected: Expected, folder: Path, **options: float) -> str:
    """Why the verification failed, without the version's name."""
    proof = proof_of(expected, folder, **options)
    assert not proof.passed
    assert proof.measured["seconds"] > 0
    assert proof.reason.startswith(f"{URI}: ")
    return proof.reason.removeprefix(f"{URI}: ")
