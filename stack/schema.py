"""Which tables MLflow and Mage have in their databases, and whether they fit the installed programs."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy

from mlops.registry.tables import MLFLOW, Tables
from stack.cluster import as_owner
from stack.compose import StackError

MLFLOW_USERS = Tables(
    "MLflow's login", "mlflow-skinny", "mlflow/server/auth/db/migrations", "alembic_version_auth"
)
MAGE = Tables("Mage", "mage-ai", "mage_ai/orchestration/db/migrations")
INSTALLED = {tables.program: tables.distribution for tables in (MLFLOW, MAGE)}
OWNED = {"mage": (MAGE,), "mlflow": (MLFLOW, MLFLOW_USERS)}


def problem(owner: str, url: str, shown: str) -> str:
    """What does not fit in the database of ``mage`` or ``mlflow``, and what to do; an empty text if all fits."""
    problems = (tables.problem(shown, tables.found(url)) for tables in OWNED[owner])
    return next(filter(None, problems), "")


def is_older(owner: str, url: str) -> bool:
    """Whether any of the owner's tables can be migrated."""
    return any(tables.is_older(tables.found(url)) for tables in OWNED[owner])


def is_newer(owner: str, url: str) -> bool:
    """Whether any of the owner's tables was made by a version that this one does not know."""
    return any(tables.is_newer(tables.found(url)) for tables in OWNED[owner])


def in_postgres(database: str, login: Mapping[str, str]) -> str:
    """URL of a database of a stack.

    Parameters
    ----------
    database : str
    login : mapping
        ``PGHOST``, ``PGPORT``, ``PGUSER`` and ``PGPASSWORD``, as `Stack.environment` returns them.
    """
    url = sqlalchemy.URL.create(
        "postgresql+psycopg2",
        login["PGUSER"],
        login["PGPASSWORD"],
        login["PGHOST"],
        int(login["PGPORT"]),
        database,
    )
    return url.render_as_string(hide_password=False)


def require_fitting_tables(service: str, login: Mapping[str, str], values: Mapping[str, str]) -> None:
    """Raise `StackError` unless the service's program can use the tables of its database in a stack.

    They are read as their owner: whoever reads a view runs the functions in it.
    """
    for owner in OWNED.keys() & {service}:
        url = in_postgres(owner, as_owner(owner, login, values))
        if found := problem(owner, url, f"{service}'s database"):
            raise StackError(found)
