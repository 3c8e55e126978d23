"""What an attempt at a run leaves for the next one: finished trials, the fitted model, what is still to be told.

A folder per run key in the state folder, gone when the run is registered and
judged. Everything in it is whole or not there: files appear by renaming, and of
a journal's lines a torn last one is dropped.
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

PENDING = "untold"  # note of an attempt whose result has not all reached the tracking server


@dataclass(frozen=True)
class Checkpoint:
    """The folder of one run key; whoever uses it holds the model's lock."""

    folder: Path

    @classmethod
    def of(cls, name: str, key: str) -> Checkpoint:
        """The folder of a registered model's run key, made if need be, with an empty scratch folder."""
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
        """Where an attempt writes what the next one need not see."""
        return self.folder / "scratch"

    def note(self, name: str, content: Mapping[str, Any]) -> None:
        """Keep a small JSON object under a name."""
        self.write(f"{name}.json", json.dumps(content))

    def noted(self, name: str) -> dict[str, Any] | None:
        """The object kept under the name, or None."""
        path = self.folder / f"{name}.json"
        return dict(json.loads(path.read_text())) if path.is_file() else None

    def append(self, name: str, entry: Mapping[str, Any]) -> None:
        """Add an entry to a journal; it is on disk when this returns."""
        with (self.folder / f"{name}.jsonl").open("a") as journal:
            journal.write(json.dumps(entry) + "\n")
            journal.flush()
            os.fsync(journal.fileno())

    def entries(self, name: str) -> list[dict[str, Any]]:
        """Entries of a journal, oldest first; half a line, of an attempt that was killed, is taken out of it."""
        path = self.folder / f"{name}.jsonl"
        text = path.read_text() if path.is_file() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self.write(path.name, whole)
        return [json.loads(line) for line in whole.splitlines()]

    def keep(self, made: Path) -> Path:
        """A folder from the scratch folder, from now on whole under its name."""
        for path in made.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        return made.replace(self.folder / made.name)

    def kept(self, name: str) -> Path | None:
        """The folder kept under the name, or None."""
        return self.folder / name if (self.folder / name).is_dir() else None

    def remove(self) -> None:
        """Forget all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, name: str, text: str) -> None:
        """A file of this name, whole, in place of the one before."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        temporary = self.scratch / f"{name}.new"
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / name)


def unfinished(name: str | None = None) -> list[Checkpoint]:
    """Folders that attempts left behind, of one registered model or of all."""
    pattern = f"{name or '*'}/*"
    return [Checkpoint(path) for path in sorted(config.state().checkpoints.glob(pattern)) if path.is_dir()]


def pending(name: str | None = None) -> list[Checkpoint]:
    """Those whose result waits to be told to the tracking server, the earliest test month first."""
    waiting = [(work.noted(PENDING), work) for work in unfinished(name)]
    return [
        work
        for note, work in sorted(((n, w) for n, w in waiting if n), key=lambda pair: str(pair[0]["month"]))
    ]


def _all(name: str) -> Path:
    return config.state().checkpoints / name
