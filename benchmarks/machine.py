"""Description of the machine on which figures were measured."""

from __future__ import annotations

import functools
import os
import platform
from importlib import metadata
from pathlib import Path

PACKAGES = ("xgboost", "hyperopt", "scikit-learn", "numpy", "pandas", "pyarrow", "mage-ai")


@functools.lru_cache(maxsize=1)
def machine() -> str:
    """Processor, cores and memory, Python and its platform, in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = f"{_memory_bytes() / 2**30:.0f} GiB" if _memory_bytes() else "memory unknown"
    system = f"{platform.system()} {platform.machine()}"
    return f"{_processor()}, {cores} cores, {memory}, {system}, Python {platform.python_version()}"


def busy_seconds() -> float | None:
    """CPU seconds of all processes since the machine started, or None where the system does not report them."""
    try:
        user, nice, system, *_ = map(
            int, Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()[1:]
        )
    except (OSError, ValueError):
        return None
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def packages() -> str:
    """Versions of the packages that affect the figures."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0
