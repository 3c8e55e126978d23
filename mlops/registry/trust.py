"""A person says that versions can be trusted, and they are signed: those of an older release or another machine.

From then on their code runs on this machine, so a person must look at them first. A version with any file that
this project does not write is refused in any case.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from mlops import config
from mlops.errors import MlopsError, TrackingDownError, TrackingError, UntrustedError, one_line
from mlops.model import version_code
from mlops.registry import artifact, operator, runs, signature, verification, version_files, versions
from mlops.registry.alias_log import aliases
from mlops.registry.client import mlflow, mlflow_client, with_retry
from mlops.registry.version_files import Version

logger = logging.getLogger(__name__)

ALL = "all"
MEANING = """\
These versions carry Python code, which will run on this machine with your rights: in the next training, in promote
and in rollback. Sign them only if nobody else could write to this registry and its artefacts, or if you have read
the code. If you are not sure, restore the registry from a backup."""
LATE = (
    "; WARNING: it is newer than the key, so another machine registered it, or somebody removed its signature"
)
_DATA = {
    "booster.ubj", "booster_without_distance.ubj", "encoder.npz", "model.json", "scale.ubj",
    "scale_without_distance.ubj", "intervals.npz",
}  # fmt: skip  # the last one is of formats before 3
_BESIDE = {
    "MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "input_example.json",
    "serving_input_example.json",
}  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """A version that is not signed, its files, and what a person should know about it."""

    version: Version
    files: dict[str, str]
    about: str


def candidates(name: str, wanted: str) -> list[Candidate]:
    """The versions that are not signed: the one with this number, or `ALL`, but those that cannot be signed.

    Raises
    ------
    UntrustedError
        When the one version is not made of the files that this project writes.
    ConfigError
        When what is wanted is no number.
    PromotionError
        When there is no such version.
    """
    if wanted != ALL:
        operator.require_number(wanted)
        version = versions.get(name, wanted)
        return [] if _is_signed(version) else [_candidate(version)]
    found = []
    for version in versions.list_all(name):
        if version.is_ours and not _is_signed(version):
            try:
                found.append(_candidate(version))
            except UntrustedError as error:
                logger.warning("%s", error)
    return found


def sign(name: str, wanted: str, agree: Callable[[str], None]) -> list[Version]:
    """Sign versions that are not signed; returns them.

    Parameters
    ----------
    name : str
    wanted : str
        The number of a version, or `ALL`.
    agree : callable
        Gets the text that says which versions these are and what it means; raises unless a person agrees.

    Raises
    ------
    MlopsError
        As `candidates`; and when nobody agreed.
    """
    found = candidates(name, wanted)
    if not found:
        return []
    agree("\n".join([f"{name}, not signed with {config.state().registry_key}:", *_lines(found), MEANING]))
    return [
        versions.tag(
            each.version, {signature.TAG: version_files.signature_of(name, each.version.run_id, each.files)}
        )
        for each in found
    ]


def _lines(found: Sequence[Candidate]) -> list[str]:
    return [f"  version {each.version.number}{each.about}" for each in found]


def _is_signed(version: Version) -> bool:
    try:
        version_files.signed_files(version)
    except UntrustedError:
        return False
    return True


def _candidate(version: Version) -> Candidate:
    with tempfile.TemporaryDirectory(dir=config.state_dir()) as folder:
        fetched = Path(folder) / "version"
        package = _require_form(version, fetched)
        own = artifact.write_code(Path(folder))
        is_own = signature.files_in(package) == signature.files_in(own)
        code = "the code of this checkout" if is_own else "other code"
        return Candidate(version, signature.files_in(fetched), f"{_origin(version)}; {code}")


def _require_form(version: Version, folder: Path) -> Path:
    """The package of a version that has exactly the files, and the loader, that this project writes, downloaded.

    Raises
    ------
    UntrustedError
        When there is anything else: another program wrote it, and it may run anything.
    """
    try:
        version_files.fetch(version, folder)
        signature.remove_added(folder)
        package = version_code.carried_package(folder / "data" / "model")
        flavours = mlflow.models.Model.load(str(folder)).flavors
        own = flavours["python_function"]
        described = {**own, "env": None, "python_version": None}
        expected = {
            "code": "code", "data": "data/model", "loader_module": f"{package.name}.model", "streamable": False,
            "env": None, "python_version": None,
        }  # fmt: skip
        if set(flavours) != {"python_function"} or described != expected:
            raise MlopsError(f"its MLmodel names another loader than {expected['loader_module']}")
        for path in signature.files_in(folder):
            if not _is_expected(path, package.name):
                raise MlopsError(f"it has a file {path}")
        tested = version.tags.get("artefact_sha256")
        if tested and verification.digest(folder / "data" / "model") != tested:
            raise MlopsError("the files of its model are not those that its run tested")
    except TrackingDownError:
        raise
    except Exception as error:  # whatever it is: somebody may have written these files to break this
        raise UntrustedError(
            f"{version.uri} cannot be signed: expected the files that this project writes, and its loader; "
            f"got: {one_line(error, 300)}. Find out who changed it; if it is champion, promote another version"
        ) from error
    return package


def _is_expected(path: str, package: str) -> bool:
    parts = path.split("/")
    if parts[:2] == ["data", "model"]:
        return len(parts) == 3 and parts[2] in _DATA
    if parts[:2] == ["code", package]:
        return path.endswith(".py")
    return path in _BESIDE


def _origin(version: Version) -> str:
    """Aliases, test month, time and creator of a version; and whether it should be signed already."""
    names = sorted(alias for alias, number in aliases(version.name).items() if number == version.number)
    registered = _registered(version)
    try:
        user = runs.tags_of(version.run_id).get("mlflow.user", "unknown")
    except TrackingError:  # its run is gone
        user = "unknown"
    key = config.state().registry_key
    late = key.exists() and registered >= _changed(key)
    tested = one_line(version.tags.get("test_month", "?"), 40)
    return (
        f"{''.join(f', {name}' for name in names)}, tested on {tested}, "
        f"registered {registered:%Y-%m-%d %H:%M} UTC by {one_line(user, 40)}"
        f"{LATE if late else ''}"
    )


def _changed(file: Path) -> datetime:
    """When a file was written, in whole milliseconds, rounded down: so MLflow keeps its times."""
    return datetime.fromtimestamp(file.stat().st_mtime_ns // 1_000_000 / 1000, timezone.utc)


@with_retry("looking up {0.uri}")
def _registered(version: Version) -> datetime:
    found = mlflow_client().get_model_version(version.name, version.number)
    return datetime.fromtimestamp(found.creation_timestamp / 1000, timezone.utc)
