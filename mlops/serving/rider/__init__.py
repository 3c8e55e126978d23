"""The page for riders, ``/``: where from, where to, when, and about how many minutes.

Beside this module are the page's files, which are served as they are: HTML, one style sheet and plain JavaScript
modules. The page asks the service itself for everything else, and nothing from any other host. The files need no
key; what they ask the service for does, where keys are used.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from mlops.serving.cacheable import Cacheable

PAGE: Final = "index.html"
FILES: Final = (
    PAGE, "page.css", "page.js", "answer.js", "calls.js", "choices.js", "combobox.js", "curve.js", "map.js",
    "view.js", "week.js", "words.js",
)  # fmt: skip
PATHS: Final = {"/" if name == PAGE else f"/rider/{name}": name for name in FILES}
"""Name of the file at each path of the service."""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""The page's ``Content-Security-Policy``: its own scripts and styles, nothing inline, no other host."""

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}


def read(
    load: Callable[[str], bytes] = lambda name: (Path(__file__).parent / name).read_bytes(),
) -> dict[str, Cacheable]:
    """The page's files by their path at the service.

    Raises
    ------
    OSError
        When a file is missing, as in an incomplete installation.
    """
    headers = {"content-security-policy": POLICY}
    return {
        path: Cacheable.of(_TYPES[Path(name).suffix], load(name), headers) for path, name in PATHS.items()
    }
