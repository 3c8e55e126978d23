"""What makes a command start fast: most of the time of a simple command goes into importing MLflow."""

from __future__ import annotations

import gc
import sys

NOT_NEEDED = ("polars", "pygments")
"""Packages that MLflow and its libraries import where they are installed, and that no command uses.

Mage's requirements bring them. MLflow registers Polars' frames as data sets; Mako colours pages with Pygments.
"""
NEW_OBJECTS = 100_000  # between two searches for unused objects; imports alone make millions that stay


def quick_start() -> None:
    """In this process, leave out packages that no command needs, and search for unused objects less often.

    `None` in `sys.modules` means for Python that a package is not installed. A package that was imported before
    stays.
    """
    for name in NOT_NEEDED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    gc.set_threshold(NEW_OBJECTS)
