"""Versions that a registry offers to the service, made without a training run."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from support.builders import make_requests
from support.tracked import AWAY, NAME, fails_at, fitted, mlflow_client

from mlops import config
from mlops.registry import artifact, local_copy, signature
from mlops.registry.client import MlflowException
from mlops.registry.signed_version import Version, signature_of
from mlops.serving import memory

GREEN = "trip-duration-green"
ABOUT = {
    "run_key": "ab" * 32, "test_month": "2023-06", "first_month_learnt": "2022-07", "last_month_learnt": "2023-05",
    "test_rmse": "4.035209",
}  # fmt: skip  # tags as a run sets them


def make_version(folder: Path) -> Path:
    """Files of a version of today's code, with a small model and an example; their folder, which is made."""
    fitted(seed=0).save(folder / "data" / "model")
    artifact.write_code(folder / "code")
    make_requests(3).to_json(folder / local_copy.EXAMPLE, orient="split", date_format="iso")
    return folder


def remembered(files: Path, folder: Path, number: str = "7") -> Path:
    """A state folder that remembers a version with these files, so that a service needs no registry to answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_STATE_DIR", str(folder))
        tags = {**ABOUT, signature.TAG: signature_of(NAME, "", signature.files_in(files))}
        version = Version(NAME, number, "", tags, datetime(2026, 11, 27, 20, 4, tzinfo=timezone.utc))
        shutil.copytree(files, local_copy.place_of(version, config.state().versions))
        memory.remember(version)
    return folder


def offer(folder: Path, name: str = NAME, **tags: str) -> str:
    """Register a version with these files, signed as they are; its number."""
    with contextlib.suppress(MlflowException):
        mlflow_client().create_registered_model(name)
    signed = {signature.TAG: signature_of(name, "", signature.files_in(folder))}
    created = mlflow_client().create_model_version(name, folder.as_uri(), tags={**ABOUT, **signed, **tags})
    return str(created.version)


def crown(number: str, name: str = NAME) -> None:
    """Make a version champion, as somebody does in MLflow's pages."""
    mlflow_client().set_registered_model_alias(name, "champion", number)


def changed(folder: Path, copy: Path, file: str, before: str, after: str) -> Path:
    """A copy of a version's files with another text in one file of its code or its model."""
    shutil.copytree(folder, copy)
    (path,) = copy.rglob(file)
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1
    path.write_text(text.replace(before, after), encoding="utf-8")
    return copy


@contextlib.contextmanager
def registry_away() -> Iterator[None]:
    """Inside the block, the registry does not answer the question for a champion."""
    with fails_at("get_model_version_by_alias", AWAY):
        yield


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Inside the block, this process can write no file of more than a kilobyte."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def clock(patch: pytest.MonkeyPatch, module: Any) -> list[float]:
    """A clock for a module's `time.monotonic`: the test sets its only value."""
    now = [1000.0]
    patch.setattr(module.time, "monotonic", lambda: now[0])
    return now
