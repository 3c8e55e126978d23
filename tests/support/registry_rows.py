"""All that MLflow's tables say about registered models: what an experiment must leave as it is."""

from __future__ import annotations

import sqlite3
from pathlib import Path

TABLES = (
    "registered_models", "registered_model_tags", "registered_model_aliases", "model_versions",
    "model_version_tags", "logged_models",
)  # fmt: skip


def registry_rows(state: Path) -> dict[str, list[str]]:
    """Every row of the registry's tables, by table, from the store in a state folder."""
    with sqlite3.connect(state / "mlflow.db") as database:
        return {table: sorted(map(str, database.execute(f"SELECT * FROM {table}"))) for table in TABLES}
