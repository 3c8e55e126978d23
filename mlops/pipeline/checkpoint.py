"""What an attempt at a run stores for the next one: finished trials, the fitted model, and a pending result.

Each run key has a folder in the state folder until the run is registered and
judged. Its contents are never partial: files are written elsewhere and renamed,
and an incomplete last line of a list of entries is dropped.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops import config
from mlops.registry import local_stack, server_facts

PENDING = "untold"  # note that marks a pending result; the name is kept for existing state folders
STORE = "store"  # note: the tracking store that the attempt logs to; attempts before 2026-12 have none


@dataclass(frozen=True)
class Checkpoint:
    """The folder of one run key. Its user must hold the model's lock."""

    folder: Path

    @classmethod
    def of(cls, name: str, key: str) -> Checkpoint:
        """The folder of a registered model's run key, created if missing, with an empty scratch folder."""
        work = cls(_all(name) / key)
        shutil.rmtree(work.scratch, ignore_errors=True)
        work.scratch.mkdir(parents=True, exist_ok=True)
        return work

    @property
    def key(self) -> str:
        """The run key."""
        return self.folder.name

    @property
    def scratch(self) -> Path:
        """Folder for files that the next attempt does not need."""
        return self.folder / "scratch"

    def note(self, name: str, content: Mapping[str, Any]) -> None:
        """Store a small JSON object under a name."""
        self.write(f"{name}.json", json.dumps(content))

    def noted(self, name: str) -> dict[str, Any] | None:
        """The object stored under the name, or None."""
        path = self.folder / f"{name}.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None

    def append(self, name: str, entry: Mapping[str, Any]) -> None:
        """Add an entry to a list of entries; it is on disk when this returns."""
        with (self.folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def entries(self, name: str) -> list[dict[str, Any]]:
        """Entries of a list, oldest first. Removes an incomplete last line, left by an attempt that was killed."""
        path = self.folder / f"{name}.jsonl"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self.write(path.name, whole)
        return [json.loads(line) for line in whole.splitlines()]

    def keep(self, made: Path) -> Path:
        """Move a complete folder out of the scratch folder, where the next attempt finds it."""
        for path in made.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        return made.replace(self.folder / made.name)

    def kept(self, name: str) -> Path | None:
        """The folder that `keep` stored under the name, or None."""
        return self.folder / name if (self.folder / name).is_dir() else None

    def elsewhere(self) -> str:
        """That the attempt belongs to another tracking store, and how to get there; empty if to this one.

        Raises
        ------
        TrackingError
            When the store does not answer.
        """
        noted = self.noted(STORE)
        here = server_facts.identity(self.folder.parent.name) if noted else {}
        if not noted or server_facts.is_same_store(noted, here):
            return ""
        address, way = noted["address"], local_stack.way_to(noted["address"])
        if address == here["address"]:
            return f"it belongs to another tracking store than the one that now answers at {address}; {way}"
        return f"it belongs to the tracking store {address}, and this is {here['address']}; {way}"

    def remove(self) -> None:
        """Delete the checkpoint."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, name: str, text: str) -> None:
        """Write a file of this name atomically, replacing an earlier one."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        temporary = self.scratch / f"{name}.new"
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / name)


def unfinished(name: str | None = None) -> list[Checkpoint]:
    """Checkpoints that attempts left behind, of one registered model or of all."""
    pattern = f"{name or '*'}/*"
    return [Checkpoint(path) for path in sorted(config.state().checkpoints.glob(pattern)) if path.is_dir()]


def pending(name: str | None = None) -> list[Checkpoint]:
    """Checkpoints with a pending result, the earliest test month first."""
    waiting = [(work.noted(PENDING), work) for work in unfinished(name)]
    return [
        work
        for note, work in sorted(((n, w) for n, w in waiting if n), key=lambda pair: str(pair[0]["month"]))
    ]


def _all(name: str) -> Path:
    return config.state().checkpoints / name
