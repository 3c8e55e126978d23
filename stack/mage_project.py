"""Mage's copy of the project: made at a stack's first start, then kept, and brought up to date at each start.

Mage writes into the project that it serves: triggers, variables and blocks that somebody changes in its pages. So
it serves a copy. What came from the checkout and was not changed in Mage follows the checkout, because the library
comes from there too; what was changed in Mage stays.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import sqlalchemy
import yaml
from ruamel.yaml.error import YAMLError as RuamelError

from stack.compose import ROOT
from stack.merge import Merge
from stack.yaml_texts import rewritten

OF_MAGE = (
    "metadata.yaml", "io_config.yaml", "pipelines", "data_loaders", "transformers", "data_exporters",
    "sensors", "callbacks", "conditionals", "custom", "charts", "interactions", "utils",
)  # fmt: skip
TAKEN = ".taken_from_checkout.json"  # the texts as they were when they were last taken from the checkout
REPLACED = ".replaced"  # folder in the copy: texts that were changed in Mage and then replaced
NEW_NAMES = {
    "green_monthly": "green_daily_check",
    "yellow_monthly": "yellow_daily_check",
    "fhvhv_monthly": "fhvhv_daily_check",
}  # triggers of earlier versions
Texts = Mapping[str, str]


@dataclass(frozen=True)
class Update:
    """What brings a copy up to date.

    Parameters
    ----------
    files : dict
        New text by path; None deletes the file.
    kept : dict
        By path, the places that both Mage and the checkout changed and that stay as in Mage; empty for a file
        as a whole.
    replaced : dict
        The same, for places that become as in the checkout.
    """

    files: dict[str, str | None] = field(default_factory=dict)
    kept: dict[str, list[str]] = field(default_factory=dict)
    replaced: dict[str, list[str]] = field(default_factory=dict)


def plan(taken: Texts, ours: Texts, new: Texts, replace: bool = False) -> Update:
    """Return what brings a copy up to date; nothing is written.

    Parameters
    ----------
    taken : mapping
        Text by path, as last taken from the checkout.
    ours, new : mapping
        The same, as in the copy and as in the checkout now.
    replace : bool
        Whether the checkout's text wins where both were changed.
    """
    update = Update()
    for path in sorted({*taken, *new}):
        sides = base, mine, theirs = taken.get(path), ours.get(path), new.get(path)
        if theirs in (base, mine):
            continue
        text, clashes = (theirs, None) if mine == base else _merged(path, *sides, replace)
        if text != mine:
            update.files[path] = text
        if clashes is not None:
            (update.replaced if replace else update.kept)[path] = clashes
    return update


def refresh(
    copy: Path,
    database: str,
    replace: bool = False,
    checkout: Path = ROOT,
    command: str = "make stack-update",
) -> list[str]:
    """Bring the copy up to date, or make it; return lines that say what was taken, kept and replaced.

    Parameters
    ----------
    copy : Path
        The folder that Mage serves.
    database : str
        URL of Mage's database. Triggers of an earlier version get their new names there. When a copy is made, the
        triggers that are there stay on or off as they are.
    replace : bool
        Whether the checkout's text wins where both were changed; the other text is kept in `REPLACED`.
    checkout : Path
    command : str
        The command that replaces, for the lines.
    """
    new = texts(checkout)
    rename_triggers(database, copy)
    if not (copy / TAKEN).exists():
        return list(_make(copy, new, database))
    taken = json.loads((copy / TAKEN).read_text(encoding="utf-8"))
    ours = texts(copy)
    update = plan(taken, ours, new, replace)
    former = copy / REPLACED / datetime.now(timezone.utc).strftime("%Y-%m-%dT%H-%M-%S")
    for path in update.replaced:
        if path in ours:
            _write(former / path, ours[path])
    for path, text in update.files.items():
        _write(copy / path, text)
    left = {path: taken[path] for path in update.kept if path in taken}
    _write(copy / TAKEN, json.dumps({**_without(new, update.kept), **left}))
    return list(_said(update, former, command))


def pending(copy: Path, checkout: Path = ROOT) -> list[str]:
    """List the files of the checkout that a running Mage does not serve yet."""
    if not (copy / TAKEN).exists():
        return []
    taken = json.loads((copy / TAKEN).read_text(encoding="utf-8"))
    return sorted(plan(taken, texts(copy), texts(checkout)).files)


def copy_project(target: Path, checkout: Path = ROOT) -> None:
    """Copy Mage's parts of the checkout into a new folder."""
    for path, text in texts(checkout).items():
        _write(target / path, text)


def texts(project: Path) -> dict[str, str]:
    """Return the text of each file of Mage's parts of a project, by its path; hidden files are not read."""
    found = {}
    for place in (project / name for name in OF_MAGE):
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            parts = path.relative_to(project).parts
            if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in parts):
                found["/".join(parts)] = path.read_bytes().decode("utf-8", "surrogateescape")
    return found


def rename_triggers(database: str, project: Path) -> None:
    """Give the project's triggers of an earlier version their new names in Mage's database; runs and status stay.

    Mage knows a trigger by its name: without this, the trigger of the new name would run beside the one of the
    old name. A trigger whose new name is already there is switched off.
    """
    rename = (
        "UPDATE pipeline_schedule SET name = :new WHERE name = :old AND repo_path = :project AND NOT EXISTS "
        "(SELECT 1 FROM pipeline_schedule AS other WHERE other.name = :new AND other.repo_path = :project)"
    )
    off = "UPDATE pipeline_schedule SET status = 'INACTIVE' WHERE name = :old AND repo_path = :project"
    with _connected(database) as connection:
        for old, new in NEW_NAMES.items() if connection else ():
            for statement in (rename, off):
                values = {"old": old, "new": new, "project": str(project)}
                connection.execute(sqlalchemy.text(statement), values)


def _merged(
    path: str, base: str | None, ours: str | None, new: str | None, replace: bool
) -> tuple[str | None, list[str] | None]:
    """The merged text of a file that both sides changed, and the places where they clash, if they do."""
    if path.startswith("pipelines/") and path.endswith(".yaml") and None not in (base, ours, new):
        merge = Merge(prefer_new=replace)
        with contextlib.suppress(yaml.YAMLError, RuamelError):
            sides = [yaml.safe_load(str(text)) or {} for text in (base, ours, new)]
            merged = merge.value(*_with_the_same_triggers(*sides))
            is_changed = merged != yaml.safe_load(str(ours))
            text = rewritten(str(ours), yaml.safe_dump(merged, sort_keys=False)) if is_changed else ours
            return text, merge.clashes or None
    return (new if replace else ours), []


def _with_the_same_triggers(base: Any, ours: Any, new: Any) -> tuple[Any, Any, Any]:
    """The three sides, with the present names of triggers.

    A trigger that the checkout no longer has becomes inactive, because Mage runs one that is not in its file.
    """
    for trigger in (*(base.get("triggers") or []), *(ours.get("triggers") or [])):
        trigger["name"] = NEW_NAMES.get(trigger["name"], trigger["name"])
    present = {trigger["name"] for trigger in new.get("triggers") or []}
    served = {trigger["name"] for trigger in ours.get("triggers") or []}
    former = [
        {**trigger, "status": "inactive"}
        for trigger in base.get("triggers") or []
        if trigger["name"] in served - present
    ]
    return base, ours, {**new, "triggers": [*(new.get("triggers") or []), *former]} if former else new


def _make(copy: Path, new: Texts, database: str) -> Iterator[str]:
    """Make the copy; set an older one aside, which does not say what was changed in it."""
    if (copy / "metadata.yaml").exists():
        former = copy.with_name(f"{copy.name}.{datetime.now(timezone.utc):%Y-%m-%dT%H-%M-%S}")
        copy.rename(former)
        yield f"Mage's copy of an earlier version of this project is kept in {former}"
    active = _active_triggers(database, copy)
    for path, text in new.items():
        pipeline = path.split("/")[1] if path.endswith("/triggers.yaml") else ""
        known = {name: is_active for (owner, name), is_active in active.items() if owner == pipeline}
        kept, names = _with_status(text, known)
        _write(copy / path, kept)
        for name in names:
            status = "active" if known[name] else "inactive"
            yield f"trigger {name} stays {status}, as in Mage's database; {path} has another status"
    _write(copy / TAKEN, json.dumps(new))


def _with_status(text: str, known: Mapping[str, bool]) -> tuple[str, list[str]]:
    """The text of a `triggers.yaml` with these statuses, and the names of those that had another status."""
    if not known:
        return text, []
    content = yaml.safe_load(text)
    others = [
        trigger
        for trigger in content["triggers"]
        if trigger["name"] in known and known[trigger["name"]] != (trigger.get("status") == "active")
    ]
    for trigger in others:
        trigger["status"] = "active" if known[trigger["name"]] else "inactive"
    changed = yaml.safe_dump(content, sort_keys=False) if others else text
    return changed, [trigger["name"] for trigger in others]


def _active_triggers(database: str, project: Path) -> dict[tuple[str, str], bool]:
    """Whether each trigger of the project in Mage's database is active, by its pipeline and name."""
    query = "SELECT pipeline_uuid, name, status FROM pipeline_schedule WHERE repo_path = :project"
    with _connected(database) as connection:
        rows = connection.execute(sqlalchemy.text(query), {"project": str(project)}) if connection else ()
        return {(pipeline, name): status == "ACTIVE" for pipeline, name, status in rows}


@contextlib.contextmanager
def _connected(database: str) -> Iterator[Any]:
    """A transaction in Mage's database; None if Mage has not made its tables yet."""
    engine = sqlalchemy.create_engine(database, poolclass=sqlalchemy.NullPool)
    try:
        with engine.begin() as connection:
            yield connection if sqlalchemy.inspect(connection).has_table("pipeline_schedule") else None
    finally:
        engine.dispose()


def _said(update: Update, former: Path, command: str) -> Iterator[str]:
    if taken := [path for path in update.files if path not in update.replaced]:
        yield f"Mage takes from the checkout: {', '.join(taken)}"
    if update.replaced:
        yield (
            f"Mage takes from the checkout, although it was changed in Mage too: {_places(update.replaced)}. "
            f"The replaced files are kept in {former}"
        )
    if update.kept:
        yield (
            f"Mage keeps its own, although the checkout changed it too: {_places(update.kept)}. "
            f"To take the checkout's: {command}"
        )


def _places(clashes: Mapping[str, list[str]]) -> str:
    return ", ".join(f"{path} ({', '.join(places)})" if places else path for path, places in clashes.items())


def _without(new: Texts, paths: Mapping[str, Any]) -> dict[str, str]:
    return {path: text for path, text in new.items() if path not in paths}


def _write(path: Path, text: str | None) -> None:
    """Write a file, completely or not at all; None deletes it."""
    if text is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_bytes(text.encode("utf-8", "surrogateescape"))
    unfinished.replace(path)


def main() -> None:
    """Bring the copy in Mage's container up to date, then become the command that follows.

    With ``--replace`` instead of a command: replace what Mage and the image both changed.
    """
    replace = sys.argv[1:] == ["--replace"]
    copy, database = Path(os.environ["MAGE_REPO_PATH"]), os.environ["MAGE_DATABASE_CONNECTION_URL"]
    command = (
        "docker compose exec mage python -m stack.mage_project --replace, then docker compose restart mage"
    )
    for line in refresh(copy, database, replace, command=command):
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    if not replace:
        os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
