"""What `--version` shows."""

from __future__ import annotations

import argparse
import contextlib
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from mlops import __version__

LIBRARIES = {"xgboost": ("xgboost",), "mlflow": ("mlflow", "mlflow-skinny")}
"""Libraries that decide whether a registered version can be loaded, with the packages that may bring them."""


class Version(argparse.Action):
    """The option that prints versions and ends the process."""

    def __init__(self, option_strings: Any, dest: str, **named: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, **named)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print the versions, and end the process with status 0."""
        print(versions())
        parser.exit()


def versions() -> str:
    """Versions of this project, of Python and of `LIBRARIES`, from what is installed; nothing is imported."""
    named = ", ".join(f"{name} {_version(packages)}" for name, packages in LIBRARIES.items())
    return f"trip-duration {__version__} (Python {platform.python_version()}, {named})"


def _version(packages: Sequence[str]) -> str:
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(package)
    return "not installed"
