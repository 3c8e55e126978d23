"""Databases whose tables are one revision older, made with MLflow's and Mage's own scripts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from stack.databases import MIGRATE_MAGE
from stack.schema import MAGE, MLFLOW

BACK = {
    "mlflow": """
import os
from alembic import command
from mlflow.store.db.utils import _get_alembic_config
command.downgrade(_get_alembic_config(os.environ["URL"]), "-1")
""",
    "mage": """
import os
from pathlib import Path
from alembic import command
from alembic.config import Config
from mage_ai.orchestration import db
folder = Path(db.__file__).parent
config = Config(str(folder / "alembic.ini"), attributes={"configure_logger": False})
config.set_main_option("script_location", str(folder / "migrations"))
config.set_main_option("sqlalchemy.url", os.environ["URL"])
command.downgrade(config, "-1")
""",
}
TABLES = {"mlflow": MLFLOW, "mage": MAGE}
NEXT_TABLE = {"mlflow": "scheduler_leases", "mage": "generic_job"}
"""A table that the newest migration creates."""


def take_back(owner: str, url: str, cwd: Path, **environment: str) -> None:
    """Migrate the tables of a program back by one revision; a database of Mage may be new."""
    first = MIGRATE_MAGE if owner == "mage" and url.startswith("sqlite") else ""
    done = subprocess.run(
        [sys.executable, "-c", first + BACK[owner]],
        env={**os.environ, "MAGE_DATABASE_CONNECTION_URL": url, "URL": url, **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
