"""Airflow: the four steps as tasks of one DAG. The form of a run has the settings, with their types and meanings.

A task hands on what a block shows in Mage: a small table, whose last column refers to the full table in the state
folder. So all tasks need the same state folder: they run on one machine, or share a volume.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowFailException

from mlops.config import Settings
from mlops.errors import MlopsError

# The first after the seconds that AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY names.
RETRIES = {"retries": 3, "retry_exponential_backoff": True}


def parameters() -> dict[str, Param]:
    """The settings as Airflow's parameters; its form shows no choice of types, so null is one type of several."""
    found = {}
    for name, schema in Settings.model_json_schema()["properties"].items():
        kinds = schema.pop("anyOf", [])
        one = {key: value for kind in kinds for key, value in kind.items()}
        if kinds:
            one["type"] = [kind["type"] for kind in kinds]
        found[name] = Param(schema.pop("default"), **one, **schema)
    return found


@contextlib.contextmanager
def attempt() -> Iterator[None]:
    """One try of a step: its log lines are Airflow's, and what another try cannot mend fails at once."""
    import logging

    from mlops.pipeline import retry_policy

    logging.getLogger("mlops").setLevel(logging.INFO)
    try:
        yield
    except MlopsError as error:
        if retry_policy.is_worth_retrying(error):
            raise
        raise AirflowFailException(str(error)) from error


@dag(
    schedule="0 6 * * *", start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1, params=parameters(),
    default_args=RETRIES, tags=["trip duration"], doc_md=__doc__,
)  # fmt: skip
def trip_duration_training() -> None:
    """Train, test and register a model for one month."""

    @task
    def load_trips(params: dict[str, Any]) -> list[dict[str, Any]]:
        from mlops.pipeline import block_tables, steps

        with attempt():
            return block_tables.of_months(steps.load_trips(Settings.parse(dict(params)))).to_dict("records")

    @task
    def clean_trips(loaded: list[dict[str, Any]], params: dict[str, Any]) -> list[dict[str, Any]]:
        import pandas as pd

        from mlops.pipeline import block_tables, steps

        with attempt():
            months = block_tables.months_of(pd.DataFrame(loaded))
            cleaned = steps.clean_trips(months, Settings.parse(dict(params)))
            return block_tables.of_cleaned(cleaned).to_dict("records")

    @task
    def build_features(cleaned: list[dict[str, Any]], params: dict[str, Any]) -> list[dict[str, Any]]:
        import pandas as pd

        from mlops.pipeline import block_tables, steps

        with attempt():
            months = block_tables.months_of(pd.DataFrame(cleaned))
            summary = steps.build_features(months, Settings.parse(dict(params)))
            return block_tables.of_features(summary).to_dict("records")

    @task
    def train_and_register(features: list[dict[str, Any]], params: dict[str, Any]) -> str:
        import pandas as pd

        from mlops.pipeline import block_tables, steps

        with attempt():
            summary = block_tables.full_table(pd.DataFrame(features))
            result = steps.train_and_register(summary, Settings.parse(dict(params)))
            return f"{result.version.uri if result.version else ''} {result.outcome}: {result.reason}".strip()

    train_and_register(build_features(clean_trips(load_trips())))


trip_duration_training()
