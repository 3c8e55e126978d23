"""Archives of a stack as a stranger would make them, byte by byte."""

from __future__ import annotations

import hmac
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

USERS = {
    "DEFAULT_OWNER_EMAIL": "owner@localhost",
    "DEFAULT_OWNER_USERNAME": "owner",
    "MLFLOW_TRACKING_USERNAME": "owner",
}
DUMPS = {"mage.dump": b"none", "mlflow.dump": b"none"}


def file(name: str, content: bytes = b"mine") -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    return entry, content


def bomb(name: str, size: int) -> tuple[tarfile.TarInfo, bytes]:
    """A header that announces a file of any size."""
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry, b""


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    """A link, a device or a folder."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry, b""


def pack(
    target: Path,
    *more: tuple[tarfile.TarInfo, bytes],
    dumps: Mapping[str, bytes] = DUMPS,
    users: object = USERS,
    **manifest: object,
) -> Path:
    """Write an archive with these members, dumps and users, which its manifest lists; it has no HMAC."""
    members = [*(file(name, content) for name, content in dumps.items()), *more]
    sizes = {entry.name: entry.size for entry, _ in members if entry.isreg()}
    about = {"format": 2, "users": users, "contents": sizes, **manifest}
    with tarfile.open(target, "w:gz") as tar:
        for entry, content in [*members, file("manifest.json", json.dumps(about).encode())]:
            tar.addfile(entry, io.BytesIO(content) if content else None)
    return target


def sign(archive: Path, key: str) -> Path:
    """Append an empty gzip member (RFC 1952) whose comment has the HMAC of what is there."""
    code = hmac.digest(bytes.fromhex(key), archive.read_bytes(), "sha256").hex()
    with archive.open("ab") as end:
        end.write(
            b"\x1f\x8b\x08\x10" + bytes(5) + b"\xff" + f"hmac-sha256 {code}".encode() + b"\0\x03\0" + bytes(8)
        )
    return archive
