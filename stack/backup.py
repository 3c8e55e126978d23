"""Back up MLflow's and Mage's databases, and files that cannot be made again, into one archive; restore from it.

The files are MLflow's artefacts, Mage's copy of the project, old bytes of republished months and the notes about
messages that were sent. The archive does not contain the months: a version records their source and sha256, and
`reproduce` accepts no other files. It does not contain `work/` of the state folder, which only saves time for an
interrupted run, nor the output of blocks.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import bcrypt
import psycopg2
from werkzeug.security import generate_password_hash

from stack import cluster, schema
from stack.compose import LOOPBACK, ROOT, StackError
from stack.processes import family
from stack.secret_values import NAMES, fill_in, for_start, write_env
from stack.stack import Say, Stack, only_one

FORMAT = 1
DATABASES = (
    "mage",
    "mlflow",
)  # Mage's first: a run that has ended there has also ended in MLflow's later dump
SESSIONS = (
    "oauth2_access_token"  # table of Mage's login tokens; not copied, because each row is a valid login
)
OF_STATE = (
    "months/*/replaced",
    "told",
)  # of the state folder: old bytes of months, and which messages were sent
PROJECT = (
    "project"  # name of Mage's copy of the project in the archive; it has what was changed in Mage's pages
)
SECONDS = 3600.0
# Older patch releases of Python do not have this filter.
SAFELY: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def back_up(stack: Stack, target: Path, say: Say = print) -> None:
    """Write the archive, completely or not at all; the stack may run.

    Each dump shows its database at one moment; the artefacts are copied afterwards. MLflow's clients write
    artefacts before a version refers to them, and never change them, so the archive has all that it refers to.

    Raises
    ------
    StackError
        When the file exists or cannot be written, or a database cannot be read.
    """
    if target.exists():
        raise StackError(
            f"{target}: this file exists, and a backup overwrites no file. Name another file: make backup TO=..."
        )
    passing = target.with_name(f".{target.name}.part")
    try:
        with (
            only_one(stack.folder),
            postgres_running(stack),
            tempfile.TemporaryDirectory() as scratch,
            tarfile.open(_private(passing), "w:gz", compresslevel=6) as archive,
        ):
            manifest = Path(scratch, "manifest.json")
            manifest.write_text(json.dumps(_manifest(stack), indent=2), encoding="utf-8")
            archive.add(manifest, manifest.name)
            for name in DATABASES:
                archive.add(_dump(stack, name, Path(scratch)), f"{name}.dump")
            for name, place in _files(stack).items():
                archive.add(place, name, filter=_without_caches)
        passing.replace(target)
    except OSError as error:
        raise StackError(
            f"{target}: the archive cannot be written: {error}. Check that its folder exists and has room."
        ) from error
    finally:
        passing.unlink(missing_ok=True)
    say(f"{target}: {target.stat().st_size:,} bytes")


def restore(folder: Path, source: Path, ports: Mapping[str, str] | None = None, say: Say = print) -> None:
    """Create a stack from the archive, completely or not at all; the stack is not started.

    The users come from the archive. The first users get the passwords in this stack's `.env`.

    Raises
    ------
    StackError
        When there is already a stack, or when the archive is damaged or was written by a newer version.
    """
    folder = folder.absolute()
    if any((folder / name).exists() for name in ("postgres", "mlflow", "mage")):
        raise StackError(
            f"{folder}: there is already a stack, and a restore overwrites no stack. "
            "Set MLOPS_STATE_DIR to another folder, or stop this stack (make stack-stop) and move it away."
        )
    for_start(folder / ".env", ports or {})  # so that wrong ports are refused before the archive is unpacked
    passing = folder.with_name(f"{folder.name}.part")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with only_one(folder):
        shutil.rmtree(passing, ignore_errors=True)
        passing.mkdir()
        try:
            stack = _unpack(source, passing, folder / ".env", ports or {})
            with postgres_running(stack):
                for name in DATABASES:
                    _load(stack, name, passing / "unpacked" / f"{name}.dump")
                is_older = _is_older(stack, source)
                _own_passwords(stack)
                _move_mages_paths(stack, folder)
            _place_files(passing / "unpacked", stack, folder.parent)
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


def _private(path: Path) -> Path:
    path.unlink(missing_ok=True)
    path.touch(0o600)
    return path


def _artefacts(stack: Stack) -> Path:
    return stack.compose.places["/var/lib/mlflow"] / "artifacts"


def _files(stack: Stack) -> dict[str, Path]:
    """Return what else is in the archive, by its name there, as far as it exists."""
    kept = [path for pattern in OF_STATE for path in sorted(stack.state.glob(pattern))]
    found = {f"state/{path.relative_to(stack.state)}": path for path in kept}
    found |= {"artifacts": _artefacts(stack), PROJECT: stack.served}
    return {name: path for name, path in found.items() if path.exists()}


def _without_caches(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if Path(entry.name).name in ("__pycache__", ".file_versions") else entry


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
            source.rename(target)


def _is_older(stack: Stack, source: Path) -> bool:
    """Whether the loaded tables have to be migrated; StackError if a newer version made them."""
    urls = {name: schema.in_postgres(name, stack.environment("postgres")) for name in DATABASES}
    for name, url in urls.items():
        if schema.is_newer(name, url):
            raise StackError(schema.problem(name, url, f"{source}, database {name}"))
    return any(schema.is_older(name, url) for name, url in urls.items())


def _manifest(stack: Stack) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "made_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": _versions(),
        "users": {name: stack.values[name] for name in NAMES},
    }


def _versions() -> dict[str, str]:
    """Return the versions of the programs that own the databases."""
    locks = {"mage-ai": "requirements.txt", "mlflow": "requirements-mlflow.txt"}
    found = {
        name: re.search(rf"(?m)^{name}(?:\[\S+\])?==(\S+)", (ROOT / lock).read_text(encoding="utf-8"))
        for name, lock in locks.items()
    }
    return {name: match[1] for name, match in found.items() if match}


def _dump(stack: Stack, database: str, folder: Path) -> Path:
    file = folder / f"{database}.dump"
    options = ["--format=custom", "--compress=0", "--no-owner", "--no-privileges"]
    with file.open("wb") as output:
        cluster.run(
            ["pg_dump", *options, f"--exclude-table-data={SESSIONS}", database],
            stack.environment("postgres"),
            folder,
            {},
            SECONDS,
            stdout=output,
        )
    return file


def _unpack(source: Path, passing: Path, env: Path, ports: Mapping[str, str]) -> Stack:
    """Create a stack with the archive's users in the folder `passing`, and unpack the archive below it."""
    try:
        with tarfile.open(source) as archive:
            archive.extractall(passing / "unpacked", **SAFELY)
        manifest = json.loads((passing / "unpacked" / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError) as error:
        raise StackError(f"{source}: expected an archive made by `make backup`; got: {error}") from error
    if manifest["format"] != FORMAT:
        raise StackError(
            f"{source}: expected format {FORMAT}; got {manifest['format']}. Restore with the code that wrote it."
        )
    if env.exists():
        shutil.copy(env, passing / ".env")
    write_env(passing / ".env", {**fill_in(passing / ".env", ports), **manifest["users"]})
    return Stack(passing, fill_in(passing / ".env", {}))


def _load(stack: Stack, database: str, file: Path) -> None:
    options = [
        "--exit-on-error",
        "--single-transaction",
        "--no-owner",
        "--no-privileges",
        f"--role={database}",
    ]
    with file.open("rb") as dump:
        cluster.run(
            ["pg_restore", *options, f"--dbname={database}"],
            stack.environment("postgres"),
            stack.folder,
            {},
            SECONDS,
            stdin=dump,
        )


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
    login = {"host": LOOPBACK, "port": stack.compose.port("postgres"), "user": owner, "dbname": owner}
    with (
        contextlib.closing(
            psycopg2.connect(**login, password=stack.values[f"{owner.upper()}_DB_PASSWORD"])
        ) as database,
        database,
    ):
        cursor = database.cursor()
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []
