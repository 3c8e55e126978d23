"""What the service remembers on disk: which version it served last, and copies of versions.

So it answers again after a restart while the registry is away.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from mlops import config
from mlops.errors import ConfigError, one_line
from mlops.files import atomic_write
from mlops.registry.signed_version import Version, service_of

logger = logging.getLogger(__name__)

COPIES = 2  # of versions of one model, beside the one that is served: to go back to one of them quickly
SPARED_SECONDS = 3600.0  # a copy that was used so recently is kept: another process may be reading it


def remember(version: Version) -> None:
    """Write down that this version is served.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    with atomic_write(_file(version.name)) as temporary:
        temporary.write_text(json.dumps(_as_dict(version), indent=1), encoding="utf-8")


def recall(name: str) -> Version | None:
    """The version of a model that was served last, or None; a file that somebody changed counts as none."""
    path = _file(name)
    try:
        found = _version(json.loads(path.read_text(encoding="utf-8")))
        if found.name == name:
            return found
        problem = f"expected a version of {name}, got one of {found.name}"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = one_line(error, 100)
    logger.warning(
        "%s: this file does not say which version was served last (%s); it is ignored", path, problem
    )
    return None


def names() -> tuple[str, ...]:
    """Names of the models of which a version was served."""
    found = []
    for path in sorted(_folder().glob("*.json")):
        try:
            service_of(path.stem)
        except ConfigError:
            continue
        found.append(path.stem)
    return tuple(found)


def delete_old_copies(served: Version) -> None:
    """Delete copies of a model's versions, except the served one, the last `COPIES` and those used just now."""
    folder = config.state().versions / served.name
    others = [path for path in folder.glob("[0-9]*") if path.name != served.number and path.is_dir()]
    for path in sorted(others, key=_used_at, reverse=True)[COPIES:]:
        if _used_at(path) < time.time() - SPARED_SECONDS:
            logger.info("%s: deleting this copy of a version that is no longer served", path)
            shutil.rmtree(path, ignore_errors=True)


def _used_at(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:  # another process has just deleted it
        return 0.0


def _folder() -> Path:
    return config.state().serving / "models"


def _file(name: str) -> Path:
    return _folder() / f"{name}.json"


def _as_dict(version: Version) -> dict[str, Any]:
    at = version.registered_at
    return {
        "name": version.name,
        "number": version.number,
        "run_id": version.run_id,
        "tags": dict(version.tags),
        "registered_at": at.isoformat() if at else None,
    }


def _version(found: Any) -> Version:
    """A version from what `_as_dict` made; any error if somebody changed it."""
    at = found["registered_at"]
    number = str(int(found["number"]))  # it names a folder
    tags = {str(name): str(text) for name, text in found["tags"].items()}
    return Version(str(found["name"]), number, str(found["run_id"]), tags, at and datetime.fromisoformat(at))
