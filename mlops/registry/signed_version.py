"""A registered version, and what is signed of it. Nothing here imports MLflow, which takes seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mlops.config import SERVICES
from mlops.errors import ConfigError, UntrustedError, command
from mlops.registry import signature

PREFIX = "trip-duration-"
RUN_KEY = "run_key"
OUTCOME = "outcome"  # final tag of a version: it is judged and verified, and its aliases are set


@dataclass(frozen=True)
class Version:
    """A registered version of a model."""

    name: str
    number: str
    run_id: str  # empty if another program registered the version without a run
    tags: Mapping[str, str]
    registered_at: datetime | None = field(default=None, compare=False)  # UTC

    @property
    def uri(self) -> str:
        """What MLflow loads."""
        return f"models:/{self.name}/{self.number}"

    @property
    def is_complete(self) -> bool:
        """Whether its run has done everything: judged, verified, aliases set."""
        return OUTCOME in self.tags

    @property
    def is_ours(self) -> bool:
        """Whether a run of this project registered it; another program, or a person, can do so too."""
        return RUN_KEY in self.tags


def service_of(name: str) -> str:
    """Service of a registered model: ``green`` of ``trip-duration-green``; ``sample`` for the synthetic city.

    Raises
    ------
    ConfigError
        When it is no model of this project.

    Examples
    --------
    >>> service_of("trip-duration-green")
    'green'
    """
    service = name.removeprefix(PREFIX)
    if service == name or service not in (*SERVICES, "sample"):
        raise ConfigError(f"model: expected {PREFIX} and a service; got {name!r}")
    return service


def signed_files(version: Version) -> dict[str, str]:
    """The sha256 of each file that a version had when it was signed, by its path.

    Raises
    ------
    UntrustedError
        When it is not signed, or not with the key of this machine; the message says what to do.
    """
    tag = version.tags.get(signature.TAG, "")
    try:
        found = json.loads(tag or "{}")
        files = {str(path): str(sha256) for path, sha256 in found["files"].items()}
        if signature.is_signed(
            signature.VERSION, _signed(version.name, version.run_id, files), found["hmac"]
        ):
            return files
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # somebody changed the tag
        pass
    why = (
        "its signature is none of this machine's key. If another machine registered it, copy registry.key "
        "of its state folder into this one's; else somebody changed it"
        if tag
        else "it is not signed: an older release registered it, or somebody removed the signature"
    )
    act = command(f"trust {version.number} --model {version.name}")
    raise UntrustedError(
        f"{version.uri}: {why}. A version brings code, so nothing of it is loaded. If you trust it: {act}"
    )


def signature_of(name: str, run_id: str, files: Mapping[str, str]) -> str:
    """Value of the tag that signs these files, given with their sha256, as the version of a run."""
    found = signature.sign(signature.VERSION, _signed(name, run_id, files))
    return json.dumps({"hmac": found, "files": dict(files)}, separators=(",", ":"))


def _signed(name: str, run_id: str, files: Mapping[str, str]) -> dict[str, object]:
    """What the signature of a version is made of: so it is none of another version."""
    return {"model": name, "run": run_id, "files": dict(files)}
