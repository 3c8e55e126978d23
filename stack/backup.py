"""Back up MLflow's and Mage's databases, and files that cannot be made again, into one archive; restore from it.

The files are MLflow's artefacts, Mage's copy of the project, old bytes of republished months, the notes about
messages that were sent, the service's request log and API keys, and the key that signs versions. The archive does
not contain the months: a version records their source and sha256, and `reproduce` accepts no other files. It does
not contain `work/` of the state folder, which only saves time for an interrupted run, nor the output of blocks,
scored files, copies of versions and what monitoring keeps to be faster, which can be made or fetched again. The
records of compared months are in MLflow.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import bcrypt
import psycopg2
import sqlalchemy
from werkzeug.security import generate_password_hash

from mlops.errors import one_line
from stack import archive, cluster, schema
from stack.archive import API_KEYS, DATABASES, KEYS, OF_STATE, PROJECT
from stack.compose import ROOT, StackError
from stack.databases import StackDatabase
from stack.processes import family
from stack.secret_values import NAMES, for_start, write_env
from stack.stack import Say, Stack, only_one

SESSIONS = (
    "oauth2_access_token"  # table of Mage's login tokens; not copied, because each row is a valid login
)
SECONDS = 3600.0
EXTENSIONS = "SELECT 'extension ' || extname FROM pg_extension WHERE extname <> 'plpgsql'"
NOT_OF_TABLES = f"""
    {EXTENSIONS}
    UNION ALL SELECT 'setting ' || unnest(setconfig) FROM pg_db_role_setting
    UNION ALL SELECT 'right ' || privilege_type FROM pg_database, aclexplode(datacl)
        WHERE datname = current_database() AND grantee <> datdba
"""  # what SQL of an archive can do as the database's owner, and no dump of tables does


def back_up(stack: Stack, target: Path, say: Say = print) -> None:
    """Write the archive, completely or not at all; the stack may run.

    Each dump shows its database at one moment; the artefacts are copied afterwards. MLflow's clients write
    artefacts before a version refers to them, and never change them, so the archive has all that it refers to.

    Raises
    ------
    StackError
        When the file exists or cannot be written, or a database cannot be read.
    """
    if os.path.lexists(target):
        raise StackError(
            f"{target}: this file exists, and a backup overwrites no file. Name another file: make backup TO=..."
        )
    passing = target.with_name(f".{target.name}.part")
    try:
        passing.unlink(missing_ok=True)
        with (
            only_one(stack.folder),
            postgres_running(stack),
            tempfile.TemporaryDirectory() as scratch,
        ):
            about = _about(stack)
            dumps = {f"{name}.dump": _dump(stack, name, Path(scratch)) for name in DATABASES}
            left_out = archive.write(passing, {**dumps, **_files(stack)}, about, stack.state)
        passing.replace(target)
    except (OSError, psycopg2.Error) as error:
        why = one_line(error)
        raise StackError(
            f"{target}: the archive cannot be written: {why}. Check that its folder exists and has room."
        ) from error
    finally:
        passing.unlink(missing_ok=True)
    for name in left_out:
        say(f"not in the backup, because it is a link or has an odd name: {name!r}")
    say(f"{target}: {target.stat().st_size:,} bytes")


def restore(
    folder: Path,
    source: Path,
    ports: Mapping[str, str] | None = None,
    say: Say = print,
    trust: bool = False,
) -> None:
    """Create a stack from the archive, completely or not at all; the stack is not started.

    The users come from the archive. The first users get the passwords in this stack's `.env`. SQL of the archive
    runs as the user of its database, who can run no program and read or write no file.

    Parameters
    ----------
    folder : Path
    source : Path
        The archive.
    ports : mapping, optional
        As for `start`.
    say : callable
    trust : bool
        Whether to accept an archive that was not authenticated with the key of this state folder.

    Raises
    ------
    StackError
        When there is already a stack; when the archive is not authentic, damaged, or written by a newer version.
    """
    archive.require_safe_python()
    folder = folder.absolute()
    if any((folder / name).exists() for name in ("postgres", "mlflow", "mage")):
        raise StackError(
            f"{folder}: there is already a stack, and a restore overwrites no stack. "
            "Set MLOPS_STATE_DIR to another folder, or stop this stack (make stack-stop) and move it away."
        )
    values = for_start(folder / ".env", ports or {})  # wrong ports are refused before the archive is unpacked
    passing = folder.with_name(f"{folder.name}.part")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with only_one(folder):
        shutil.rmtree(passing, ignore_errors=True)
        passing.mkdir()
        unpacked = passing / "unpacked"
        try:
            users = archive.unpack(source, unpacked, folder.parent, trust)
            _require_places(unpacked / "state", folder)
            stack = Stack(passing, {**values, **users})
            write_env(passing / ".env", stack.values)
            with postgres_running(stack):
                is_older = _fill(stack, unpacked, source, folder)
            _place_files(unpacked, stack, folder.parent)
            for name in ("unpacked", "run", "logs"):
                shutil.rmtree(passing / name, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)  # its .env is already copied
            passing.rename(folder)
        finally:
            shutil.rmtree(passing, ignore_errors=True)
    first = f"Its tables are older than the installed programs: run {make('upgrade', folder)}, then "
    say(f"{folder}: restored from {source}. {first if is_older else 'Start it: '}{make('stack', folder)}")


def make(target: str, folder: Path) -> str:
    """Return the make command for the stack in a folder; it names the state folder unless that is the default."""
    state = folder.parent
    if state.resolve() == (ROOT / ".state").resolve():
        return f"make {target}"
    word = shlex.quote(f"MLOPS_STATE_DIR={state}".replace("$", "$$"))  # make expands a $ on its command line
    return f"make {target} {word}"


@contextlib.contextmanager
def postgres_running(stack: Stack) -> Iterator[None]:
    """Run PostgreSQL during the block; stop it afterwards if it did not run before."""
    running = stack.running()
    if "postgres" in running or family(stack.folder, "postgres"):
        yield
        return
    try:
        stack.start_service("postgres")
        yield
    finally:
        stack.stop_service("postgres") if running else stack.stop()


def _artefacts(stack: Stack) -> Path:
    return stack.compose.places["/var/lib/mlflow"] / "artifacts"


def _files(stack: Stack) -> dict[str, Path]:
    """Return what else is in the archive, by its name there, as far as it exists."""
    kept = [path for pattern in (*OF_STATE, *KEYS, *API_KEYS) for path in sorted(stack.state.glob(pattern))]
    found = {f"state/{path.relative_to(stack.state)}": path for path in kept}
    found |= {"artifacts": _artefacts(stack), PROJECT: stack.served}
    return {name: path for name, path in found.items() if path.exists()}


def _require_places(unpacked: Path, folder: Path) -> None:
    """Raise `StackError` where a restore would write through a link, or leave another key than the archive's."""
    state = folder.parent
    targets = [state / path.relative_to(unpacked) for path in unpacked.rglob("*")]
    for link in (path for path in (folder, *targets) if path.is_symlink()):
        raise StackError(
            f"{link}: this is a link, and a restore writes through none. Remove it, or set MLOPS_STATE_DIR to "
            "another folder."
        )
    for name in KEYS:
        ours, theirs = state / name, unpacked / name
        if ours.exists() and theirs.exists() and ours.read_bytes() != theirs.read_bytes():
            raise StackError(
                f"{ours}: the archive has another key with which its versions were signed. Set MLOPS_STATE_DIR to "
                "another folder, or move this key away if nothing in this folder needs it."
            )


def _place_files(unpacked: Path, stack: Stack, state: Path) -> None:
    """Move what `_files` found into a new stack, and into its state folder, where no file is overwritten."""
    for name, place in {"artifacts": _artefacts(stack), PROJECT: stack.served}.items():
        if (unpacked / name).exists():
            place.parent.mkdir(exist_ok=True)
            (unpacked / name).rename(place)
    for source in (unpacked / "state").rglob("*"):
        target = state / source.relative_to(unpacked / "state")
        if source.is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.relative_to(state).as_posix() in (*KEYS, *API_KEYS):
                source.chmod(0o600)
            source.rename(target)


def _fill(stack: Stack, unpacked: Path, source: Path, folder: Path) -> bool:
    """Load both databases, and fit them to this stack; return whether their tables have to be migrated."""
    try:
        older = [_load(stack, name, unpacked / f"{name}.dump", source) for name in DATABASES]
        _own_passwords(stack)
        _move_mages_paths(stack, folder)
    except (psycopg2.Error, sqlalchemy.exc.SQLAlchemyError) as error:
        raise StackError(f"{source}: its databases cannot be used: {one_line(error)}") from error
    return any(older)


def _about(stack: Stack) -> dict[str, Any]:
    """Return what the manifest says; StackError if a restore would refuse it."""
    try:
        users = archive.known_users({name: stack.values[name] for name in NAMES}, "first users")
    except ValueError as error:
        raise StackError(f"{stack.folder / '.env'}: {error}. Correct it.") from error
    made_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"made_at": made_at, "versions": _versions(), "users": users}


def _versions() -> dict[str, str]:
    """Return the versions of the programs that own the databases."""
    locks = {"mage-ai": "requirements.txt", "mlflow": "requirements-mlflow.txt"}
    found = {
        name: re.search(rf"(?m)^{name}(?:\[\S+\])?==(\S+)", (ROOT / lock).read_text(encoding="utf-8"))
        for name, lock in locks.items()
    }
    return {name: match[1] for name, match in found.items() if match}


def _dump(stack: Stack, database: str, folder: Path) -> Path:
    if more := [found for (found,) in _execute(stack, database, EXTENSIONS)]:
        raise StackError(
            f"database {database}: it has {', '.join(more)}, which a restore would refuse, since MLflow and Mage "
            "need none. Remove it there with DROP EXTENSION, then back up again."
        )
    file = folder / f"{database}.dump"
    options = ["--format=custom", "--compress=0", "--no-owner", "--no-privileges"]
    with file.open("wb") as output:
        cluster.run(
            ["pg_dump", *options, f"--exclude-table-data={SESSIONS}", database],
            StackDatabase(database, stack).login,
            folder,
            {},
            SECONDS,
            stdout=output,
        )
    return file


def _load(stack: Stack, name: str, dump: Path, source: Path) -> bool:
    """Load a database; return whether its tables have to be migrated.

    Raises
    ------
    StackError
        When the dump does what its user may not, or what no dump of tables does, or when a newer version made it.
    """
    database, options = StackDatabase(name, stack), ("--exit-on-error", "--no-owner", "--no-privileges")
    command = ["pg_restore", "--single-transaction", *options, f"--dbname={name}"]
    with dump.open("rb") as file:
        cluster.run(command, database.login, stack.folder, {}, SECONDS, stdin=file)
    shown = f"{source}, database {name}"
    if more := [found for (found,) in _execute(stack, name, NOT_OF_TABLES)]:
        raise StackError(f"{shown}: expected tables, as `make backup` writes them; got {', '.join(more)}")
    if schema.is_newer(name, database.url):
        raise StackError(schema.problem(name, database.url, shown))
    return schema.is_older(name, database.url)


def _own_passwords(stack: Stack) -> None:
    """Set the passwords of Mage's and MLflow's first users to those in this stack's `.env`."""
    values = stack.values
    salt = bcrypt.gensalt(14)  # as in Mage, which stores the salt next to the hash
    hashed = bcrypt.hashpw(values["DEFAULT_OWNER_PASSWORD"].encode(), salt).decode()
    statement = 'UPDATE "user" SET password_hash = %s, password_salt = %s WHERE email = %s'
    _execute(stack, "mage", statement, hashed, salt.decode(), values["DEFAULT_OWNER_EMAIL"])
    # Not with MLflow's own code, which first migrates the tables of an archive from an older version.
    known = generate_password_hash(values["MLFLOW_TRACKING_PASSWORD"])
    statement = "UPDATE users SET password_hash = %s WHERE username = %s"
    _execute(stack, "mlflow", statement, known, values["MLFLOW_TRACKING_USERNAME"])


def _move_mages_paths(stack: Stack, folder: Path) -> None:
    """Set the project folder of triggers and jobs to this stack's; Mage shows only those of its own folder."""
    served = str(folder / stack.served.name)
    for table in ("pipeline_schedule", "generic_job"):
        if _execute(stack, "mage", "SELECT to_regclass(%s)", table) != [(None,)]:  # older Mages have no jobs
            _execute(stack, "mage", f"UPDATE {table} SET repo_path = %s", served)


def _execute(stack: Stack, owner: str, statement: str, *values: str) -> list[Any]:
    """Run one statement in Mage's or MLflow's database, as its owner; return its rows."""
    url = StackDatabase(owner, stack).url.replace("+psycopg2", "")
    path = "-c search_path=public"  # whatever path the database sets, its tables do not hide PostgreSQL's own
    with contextlib.closing(psycopg2.connect(url, options=path)) as database, database:
        cursor = database.cursor()
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []
