"""Do the tables of a database fit the installed program? Their revision is compared with its Alembic scripts.

This module does not import MLflow, so that the MLflow server's environment and the stack can use it too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import sqlalchemy

from mlops.config import sqlite_file, without_credentials

UPGRADE = "run `make upgrade`, which makes a backup first"


@dataclass(frozen=True)
class Tables:
    """Tables that a program creates and migrates with Alembic.

    Parameters
    ----------
    program : str
        The program's name, for people.
    distribution : str
        Its name among the installed packages.
    scripts : str
        Folder with the scripts, as ``PACKAGE/FOLDER``.
    version_table : str
        Table in which Alembic notes the revision.
    """

    program: str
    distribution: str
    scripts: str
    version_table: str = "alembic_version"

    def expected(self) -> str:
        """Revision of the tables that the installed program works with."""
        return self._scripts()[-1]

    def found(self, url: str) -> str | None:
        """Revision of the tables in the database at `url`, or None where the program has not created them yet.

        Raises
        ------
        sqlalchemy.exc.SQLAlchemyError
            When the database cannot be read.
        """
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
        try:
            if not sqlalchemy.inspect(engine).has_table(self.version_table):
                return None
            statement = sqlalchemy.text(f"SELECT version_num FROM {self.version_table}")
            with engine.connect() as connection:
                revision = connection.execute(statement).scalar()
            return str(revision) if revision else None
        finally:
            engine.dispose()

    def is_older(self, revision: str | None) -> bool:
        """Whether tables of this revision can be migrated to the revision that the program works with."""
        return revision in self._scripts()[:-1]

    def is_newer(self, revision: str | None) -> bool:
        """Whether the program does not know this revision, so a newer version made the tables."""
        return revision is not None and revision not in self._scripts()

    def problem(self, shown: str, revision: str | None, remedy: str = UPGRADE) -> str:
        """What does not fit and what to do, in one sentence; an empty text if nothing is wrong.

        Parameters
        ----------
        shown : str
            The database, for people.
        revision : str, optional
            What `found` returned.
        remedy : str
            What to do about older tables.
        """
        have = f"{self.program} {version(self.distribution)}"
        if self.is_newer(revision):
            return (
                f"{shown}: its tables have revision {revision}, which {have} does not know, because a newer "
                "version made them; get the newer code (git pull), then run `make upgrade`"
            )
        if self.is_older(revision):
            return f"{shown}: its tables have revision {revision}, but {have} expects {self.expected()}; {remedy}"
        return ""

    def _scripts(self) -> list[str]:
        """All revisions that the program knows; the last is the newest.

        The files are read as text: Alembic's own reader runs them, and they import the whole program.
        """
        package, _, folder = self.scripts.partition("/")
        spec = find_spec(package)
        places = spec.submodule_search_locations if spec else None
        known: dict[str, str] = {}
        for place in places or ():
            for path in Path(place, folder, "versions").glob("*.py"):
                lines = re.findall(
                    r"(?m)^(revision|down_revision)\b[^=\n]*=(.*)$", path.read_text(encoding="utf-8")
                )
                texts: dict[str, str] = dict(lines)
                for own in _quoted(texts.get("revision", "")):
                    known[own] = texts.get("down_revision", "")
        followed = {each for before in known.values() for each in _quoted(before)}
        return sorted(known, key=lambda each: each not in followed)


def _quoted(text: str) -> list[str]:
    return re.findall(r"[\"'](\w+)[\"']", text)


MLFLOW = Tables("MLflow", "mlflow-skinny", "mlflow/store/db_migrations")


def store_problem(uri: str) -> str:
    """Why MLflow cannot use the tables of the tracking store at `uri`, and what to do; an empty text if it can.

    MLflow itself migrates older tables without a backup where one is missing, and calls newer ones out of date.

    Raises
    ------
    sqlalchemy.exc.SQLAlchemyError
        When the database cannot be read.
    """
    shown = without_credentials(uri)
    by_hand = f"make a copy, then run .venv-mlflow/bin/mlflow db upgrade {shown}"
    remedy = UPGRADE if sqlite_file(uri) else by_hand
    return MLFLOW.problem(f"tracking store {shown}", MLFLOW.found(uri), remedy)
