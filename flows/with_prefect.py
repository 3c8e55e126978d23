"""The pipeline under Prefect: a flow run per month, a backfill with a subflow per month, and their deployments.

`make prefect` starts Prefect's server with its pages, and this file as the process that serves the deployments.
"""

from __future__ import annotations

import logging
from typing import Any

import pandas as pd
from prefect import flow, get_client, serve, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.schedules import Cron
from prefect.settings import get_current_settings

from mlops import files, masking
from mlops.config import Settings
from mlops.errors import ConfigError
from mlops.month import Month
from mlops.pipeline import block_tables, leaderboard, months_table, steps
from mlops.pipeline.retry_policy import is_worth_retrying
from mlops.pipeline.run_result import RunResult
from mlops.registry import server_facts

DEFAULTS = Settings()
DAILY = {
    "service": "green", "month": "next", "start_month": "2026-06", "source": "tlc",
    "source_patience": 1800.0, "tracking_patience": 1800.0,
}  # fmt: skip  # as Mage's trigger green_daily_check
PAUSES = get_current_settings().tasks.default_retry_delay_seconds or [30, 120, 600]


def may_pass(task: Any, task_run: Any, state: Any) -> bool:
    """Whether Prefect may try the step again: not after a wrong setting, which stays wrong."""
    return is_worth_retrying(state.data)


# Prefect keeps no results: tables and models are on disk, and the run key finds what is done already.
STEP: dict[str, Any] = {
    "retries": 3, "retry_delay_seconds": PAUSES, "retry_condition_fn": may_pass,
    "cache_policy": NO_CACHE, "persist_result": False,
}  # fmt: skip
load_trips, clean_trips, build_features, train_and_register = (
    task(step, name=step.__name__, task_run_name=step.__name__, **STEP)
    for step in (steps.load_trips, steps.clean_trips, steps.build_features, steps.train_and_register)
)


def title() -> str:
    """Name of a flow run: service and month, as they are before the settings are checked."""
    given = flow_run.parameters.get("settings", {})
    values = DEFAULTS.model_dump() | dict(given)
    return f"{values['service']} {values['month']}"


def span() -> str:
    """Name of a backfill: service, first and last month."""
    return f"{title().split()[0]} {flow_run.parameters['first']} to {flow_run.parameters['last']}"


# Without Prefect's check of the parameters: the flow checks them, and its errors have our sentences.
@flow(name="train", flow_run_name=title, validate_parameters=False, persist_result=False)
def train(settings: Settings = DEFAULTS) -> str:
    """Train, test, judge and register a model for one month.

    Args:
        settings: The settings of a run, as everywhere else.
    """
    chosen = checked(settings)
    months = load_trips(chosen)
    months_table.check_months(months)
    name_after(months, chosen)
    summary = build_features(clean_trips(months, chosen), chosen)
    result = train_and_register(summary, chosen, asked_by=f"prefect/{flow_run.id}")
    leaderboard.check_leaderboard(result.board)
    show(result)
    return f"{result.outcome}: {result.reason}"


@flow(name="backfill", flow_run_name=span, validate_parameters=False, persist_result=False)
def backfill(first: str, last: str, settings: Settings = DEFAULTS) -> list[str]:
    """Train each month of a range, the earliest first: a flow run per month.

    Args:
        first: First test month, YYYY-MM.
        last: Last test month, YYYY-MM.
        settings: The settings of each run; their month does not count.
    """
    chosen, months = checked(settings), Month.range(Month.parse(first), Month.parse(last))
    if not months:
        raise ConfigError(f"last: expected {first} or a later month; got {last}")
    return [train(chosen.for_month(month)) for month in months]


def checked(given: Settings | dict[str, Any]) -> Settings:
    """Settings that can be used; before that, our log goes to Prefect's, and the state folder is closed."""
    masking.mask_logs()
    ours = logging.getLogger("mlops")
    ours.setLevel(logging.INFO)
    for handler in logging.getLogger("prefect.extra").handlers:  # they write to the log of the flow run
        ours.addHandler(handler)
    files.close_state()
    return given if isinstance(given, Settings) else Settings.parse(given)


def name_after(months: pd.DataFrame, settings: Settings) -> None:
    """Put the month into the flow run's name, where the settings only say that it is the next one."""
    if settings.is_next:
        is_test = months["role"] == "test" if "role" in months else [True]
        name = f"{settings.service} {months[is_test]['month'].iloc[0]}"
        name += ", nothing to do" if months_table.is_nothing(months) else ""
        with get_client(sync_client=True) as client:
            client.update_flow_run(flow_run.id, name=name)


def show(result: RunResult) -> None:
    """Leaderboard, verdict and a link to the version, on the flow run's page under Artifacts."""
    board = block_tables.of_result(result).drop(columns=block_tables.TABLE, errors="ignore")
    version, about = result.version, result.month
    if version:
        about = f"{version.name}, version {version.number}"
        page = server_facts.page(f"models/{version.name}/versions/{version.number}")
        create_link_artifact(page, about, "version", "The version in MLflow's registry.")
    create_markdown_artifact(
        f"## {about}: {result.outcome}\n\n{result.reason}", "verdict", "Why it ended so."
    )
    create_table_artifact(board.to_dict("records"), "leaderboard", "The version, its rivals, and the trials.")


def main() -> None:
    """Serve the deployments until this process is ended: a daily check for the next month, and two by hand."""
    daily = Cron("0 6 * * *", timezone="UTC")
    serve(
        train.to_deployment("daily", schedule=daily, parameters={"settings": DAILY}, description=ABOUT_DAILY),
        train.to_deployment("by-hand", description="One month, with the settings of the form."),
        backfill.to_deployment("by-hand", description="A range of months, a flow run per month."),
    )


ABOUT_DAILY = "Every day at 6:00 UTC: the month after the newest judged one, once it is published."

if __name__ == "__main__":
    main()
