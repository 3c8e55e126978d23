"""Visits of the scripted browser, which runs in an environment of its own: see `browse.py`."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest
from support.doors import PROJECT

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
BROWSER_PYTHON = PROJECT / ".venv-browser" / "bin" / "python"


def require_browser() -> str:
    """Chromium's path; skip the test where a part is missing."""
    if CHROMIUM is None or not BROWSER_PYTHON.exists():
        pytest.skip("needs Chromium, and .venv-browser, which `make test-long` builds")
    return CHROMIUM


def browse(script: str = "browse.py", **visit: Any) -> dict[str, Any]:
    """The report of browse.py, or of another script beside it, about a visit."""
    done = subprocess.run(
        [BROWSER_PYTHON, PROJECT / "tests" / "support" / script, require_browser()],
        input=json.dumps(visit),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen
