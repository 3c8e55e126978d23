"""`make upgrade`: a backup, then MLflow's and Mage's tables for the installed versions, then the doctor."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sqlalchemy
from filelock import FileLock, Timeout

from mlops import config
from mlops.errors import one_line
from mlops.operations.doctor import mage_database
from stack import schema
from stack.backup import back_up, postgres_running
from stack.compose import ROOT, StackError
from stack.databases import ERRORS, Database, SqliteFile, StackDatabase, migrate, take_copies
from stack.processes import SUPERVISORD, family
from stack.stack import BINS, Say, Stack, only_one, open_stack, start

NOTE = "upgrading"  # file in the stack's folder: the stack ran when an upgrade began that has not ended
ENVIRONMENTS = (".venv", ".venv-mlflow", ".venv-serving")
CODE = ("mlops", "stack", "docker", "docker-compose.yml", *(f"{name}/installed" for name in ENVIRONMENTS))
RUNS_OF_MAGE = """
    SELECT id, pipeline_uuid FROM pipeline_run WHERE CAST(status AS text) = 'RUNNING' ORDER BY id
"""
HOLDERS = """
    SELECT DISTINCT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted ORDER BY application_name
"""  # each run holds a lock of `mlops.locks` in the stack's database


def stop_for_upgrade(folder: Path, say: Say = print) -> None:
    """Stop the stack, if it serves, before its environments are built again; `upgrade` starts it again.

    Raises
    ------
    StackError
        While a run uses the stack; nothing is stopped then.
    """
    stack = open_stack(folder)
    if stack and _serves(stack):
        with only_one(folder):
            if family(folder, "postgres"):
                _require_no_run(stack)
            say("stopping the stack: its environments are built again")
            (folder / NOTE).touch()
            stopped = stack.stop()
        say(f"stopped for the upgrade: {', '.join(stopped)}")


def upgrade(folder: Path, say: Say = print, **how: Any) -> None:
    """Migrate the databases of the stack in a folder and of the desk, start again what ran, ask the doctor.

    What the doctor finds open is no failure of the upgrade; the last line points to it.

    Parameters
    ----------
    folder : Path
    say : callable
        Called with each line about what is done.
    **how
        As for `start`.

    Raises
    ------
    StackError
        When a newer version made a database, when one is in use, when a run uses the stack, or when a migration
        fails; all databases are as before then.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.with_name("upgrade.lock"), timeout=0):
            _upgrade(folder, say, how)
    except Timeout:
        raise StackError(f"{folder.parent}: another `make upgrade` runs; wait for its end") from None


def forget(folder: Path) -> None:
    """Forget that an upgrade has to start the stack: somebody has started or stopped it."""
    (folder / NOTE).unlink(missing_ok=True)


def _upgrade(folder: Path, say: Say, how: Mapping[str, Any]) -> None:
    stack = open_stack(folder, **how) if (folder / "postgres" / "data").exists() else None
    note = folder / NOTE
    if note.exists():
        say("the upgrade goes on: the stack ran before, and is started again at the end")
    serves = stack is not None and _serves(stack)
    with postgres_running(stack) if stack else contextlib.nullcontext():
        due = _due([*_of_the_desk(), *_of(stack)])
        services, why = _to_stop(stack, due) if stack and serves else ((), "")
        if stack and services:
            _require_no_run(stack)
            say(f"stopping {' and '.join(services)}: {why}")
            note.touch()
            for name in services:
                stack.stop_service(name)
        saved = _migrate_all(due, stack, folder.parent, say) if due else None
    if not (due or note.exists()):
        programs = (f"{program} {version(name)}" for program, name in schema.INSTALLED.items())
        say(f"nothing to upgrade: all tables fit {' and '.join(programs)}")
        return
    restarted = stack is not None and note.exists()
    if stack and services != ("mage",):
        stack.stop()
    if restarted:
        start(folder, say=say, **how)
        forget(folder)
    done = (
        f"upgraded: {', '.join(str(each) for each in due)}; backup: {saved}" if due else "no table to change"
    )
    say(f"{done}; {_doctor(stack if restarted else None)}")


def _due(databases: Sequence[Database]) -> list[Database]:
    """Return the databases with tables to migrate.

    Raises
    ------
    StackError
        When a newer version made one of them.
    """
    due = []
    for each in databases:
        try:
            if schema.is_newer(each.owner, each.url):
                raise StackError(schema.problem(each.owner, each.url, str(each)))
            due += [each] if schema.is_older(each.owner, each.url) else []
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise StackError(
                f"{each}: it cannot be read: {one_line(error)}. Restore it from a backup."
            ) from error
    return due


def _migrate_all(due: Sequence[Database], stack: Stack | None, state: Path, say: Say) -> Path:
    """Back up and migrate the databases; return the folder of the backup."""
    for each in due:
        if isinstance(each, SqliteFile):
            each.require_unused()
    saved = state / "backups" / f"{datetime.now(timezone.utc):%Y-%m-%dT%H-%M-%S}"
    say(f"backup: {saved}")
    saved.mkdir(parents=True, mode=0o700)
    try:
        if stack and any(isinstance(each, StackDatabase) for each in due):
            back_up(stack, saved / "stack.tar.gz", say)
        for each in due:
            if isinstance(each, SqliteFile):
                each.save(saved / each.path.name)
        for each in due:
            say(f"{each}: migrating a copy of it")
            each.make_copy()
            migrate(each, saved / f"{each.owner}.log")
        take_copies(due)
    except ERRORS as error:
        raise StackError(
            f"{one_line(error)}. All databases are as before; a stack stays stopped. Correct this and run "
            f"`make upgrade` again, or check out the code of before and run `make stack`. Backup: {saved}"
        ) from error
    finally:
        for each in due:
            with contextlib.suppress(*ERRORS):
                each.discard_copy()
    return saved


def _of_the_desk() -> Iterator[SqliteFile]:
    mlflow = config.sqlite_file(config.tracking_uri()) or config.state().tracking_store
    for owner, path in {"mlflow": mlflow, "mage": mage_database.data_folder() / "mage-ai.db"}.items():
        if path.exists():
            yield SqliteFile(owner, path)


def _of(stack: Stack | None) -> list[StackDatabase]:
    return [StackDatabase(owner, stack) for owner in schema.OWNED] if stack else []


def _serves(stack: Stack) -> bool:
    """Whether a service runs besides PostgreSQL, which an interrupted upgrade leaves running."""
    others = [name for name in stack.compose.in_order() if name != "postgres"]
    return any(name in stack.running() or family(stack.folder, name) for name in others)


def _to_stop(stack: Stack, due: Sequence[Database]) -> tuple[tuple[str, ...], str]:
    """The services of a running stack to start again, and why."""
    if due:
        return ("mage", "mlflow"), "there are tables to migrate"
    if _is_outdated(stack):
        return ("mage", "mlflow"), "the code is newer than the start of the stack"
    if waiting := stack.pending():
        return ("mage",), f"it does not use these files yet: {', '.join(waiting)}"
    return (), ""


def _require_no_run(stack: Stack) -> None:
    """Raise `StackError` while Mage or the command line runs something on the stack; its PostgreSQL runs."""
    engine = sqlalchemy.create_engine(StackDatabase("mage", stack).url, poolclass=sqlalchemy.NullPool)
    try:
        with engine.connect() as connection:
            runs = []
            # Where Mage is stopped, a run that is called running in the table waits for Mage's next start.
            if family(stack.folder, "mage") and sqlalchemy.inspect(connection).has_table("pipeline_run"):
                rows = connection.execute(sqlalchemy.text(RUNS_OF_MAGE))
                runs = [f"run {number} of {pipeline} in Mage" for number, pipeline in rows]
            runs += connection.execute(sqlalchemy.text(HOLDERS)).scalars()
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise StackError(
            f"{stack.folder}: its PostgreSQL cannot say whether a run uses it: {one_line(error)}. "
            "Nothing was stopped. Stop the stack with make stack-stop, then run `make upgrade` again"
        ) from error
    if runs:
        raise StackError(
            f"{stack.folder}: it is used by {'; '.join(name or 'another program' for name in runs)}. Nothing was "
            "stopped. Run `make upgrade` again after the end of that, or after make stack-stop"
        )


def _is_outdated(stack: Stack) -> bool:
    """Whether a file of the code, or an environment, is newer than the start of the stack."""
    paths = [path for name in CODE for path in ((ROOT / name), *(ROOT / name).rglob("*"))]
    newest = max(path.stat().st_mtime for path in paths if path.is_file() and path.suffix != ".pyc")
    return all(each.create_time() < newest for each in family(stack.folder, SUPERVISORD))


def _doctor(stack: Stack | None) -> str:
    """Run the doctor, on the stack if it runs; return what the last line says about it."""
    environment = {**os.environ, **(stack.client if stack else {})}
    command = [str(BINS["mage"] / "python"), "-m", "mlops", "doctor"]
    status = subprocess.run(command, env=environment, cwd=ROOT).returncode
    nothing = "the doctor found nothing open"
    found = {0: nothing, 3: nothing, 1: "read the lines above that the doctor calls OPEN"}
    return found.get(status, f"the doctor failed with exit status {status}")
