"""A year in minutes: the stack runs its schedule while months are published, late, damaged or republished.

The trigger is the repository's, with no interval instead of a day, small months and few trials.
Mage is killed, and MLflow and PostgreSQL are restarted, each during a run. In between the schedule is switched off
in Mage's page, and an earlier version, with another name of the trigger, is upgraded.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.beats import Beats, watching
from support.doors import PIPELINE, SAMPLE_MODEL, wait_until
from support.inbox import Inbox, receiving
from support.mage_api import MageApi
from support.publisher import Publisher, publishing
from support.stack_process import free_ports, leader, members, place, require_programs, select

from mlops.data.synthetic.source import write_month
from mlops.month import Month
from mlops.registry import last_check
from mlops.registry.client import mlflow
from stack import mage_project
from stack import stack as stacks

FIRST = Month(2023, 3)
SMALL = {"max_trials": 2, "min_test_rows": 500, "source_patience": 0.0, "tracking_patience": 120.0}
SECONDS_TO_TRAIN = 180
pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


@dataclass(frozen=True)
class Year:
    """The stack, the site that publishes months, the messages, and the heartbeats."""

    stack: stacks.Stack
    publisher: Publisher
    inbox: Inbox
    client: Any
    beats: Beats

    def publish(self, month: Month, rows: int = 1500) -> None:
        """Publish a month in one step; it replaces a file of the same name."""
        write_month(self.path(month), "green", month, rows=rows)

    def path(self, month: Month) -> Path:
        return self.publisher.folder / f"green_tripdata_{month}.parquet"

    def judged(self) -> list[str]:
        """Test months of the complete versions, in the order of registration."""
        found = self.client.search_model_versions(f"name = '{SAMPLE_MODEL}'")
        done = [version for version in found if "outcome" in version.tags]
        return [version.tags["test_month"] for version in sorted(done, key=lambda v: int(v.version))]

    def runs(self) -> list[Any]:
        """Runs that are not trials, oldest first."""
        everywhere = [experiment.experiment_id for experiment in self.client.search_experiments()]
        found = self.client.search_runs(everywhere, order_by=["attributes.start_time ASC"])
        return [run for run in found if "mlflow.parentRunId" not in run.data.tags]

    def last_check(self) -> tuple[str, str]:
        """Outcome and month of the last check for a new month."""
        found = last_check.of_tags(self.client.get_registered_model(SAMPLE_MODEL).tags)
        assert found
        return found.outcome, found.month

    def wait_for(self, month: Month) -> None:
        """Return when the month is judged next, and reported."""
        expected = [*self.judged_until_now, str(month)]
        self.wait_until(lambda: self.judged()[: len(expected)] == expected)
        reported = f"{SAMPLE_MODEL} {month}: version {len(expected)} is"
        self.wait_until(lambda: any(title.startswith(reported) for title in self.inbox.titles))
        self.judged_until_now[:] = expected

    def wait_until(self, true: Callable[[], bool]) -> None:
        def about() -> str:
            log = [line for line in self.stack.log("mage").read_text().splitlines() if "is alive" not in line]
            runs = [(run.info.run_name, run.info.status) for run in self.runs()]
            messages = map(str, self.inbox.messages)
            return "\n".join(
                (str(self.judged()), *messages, str(runs), *log[-30:], *self.log_of_the_last_run())
            )

        wait_until(true, SECONDS_TO_TRAIN, about)

    def amid(self, month: Month) -> str:
        """Id of the run for the month, once it has started."""

        def running() -> list[str]:
            return [
                run.info.run_id
                for run in self.runs()
                if run.info.run_name.startswith(f"green {month}, attempt") and run.info.status == "RUNNING"
            ]

        self.wait_until(lambda: bool(running()))
        return running()[0]

    def mage_shows_failed(self, run: str, cause: str) -> bool:
        """Whether Mage shows the run as failed, and begins a line about its first attempt with these words."""
        api = MageApi.of(self.stack)
        self.wait_until(lambda: api.call("GET", f"pipeline_runs/{run}")["pipeline_run"]["status"] == "failed")
        logs = api.call("GET", f"pipelines/{PIPELINE}/logs?pipeline_run_id[]={run}")["logs"][0]
        lines = [line for log in logs["block_run_logs"] for line in log["content"].splitlines()]
        said = [json.loads(line[line.index("{") :])["message"] for line in lines if '"message"' in line]
        return any(text.startswith(cause) and "attempt 1 of 1" in text for text in said)

    def switch(self, status: str) -> None:
        """Switch the only trigger on or off, as Mage's page does; a run that is in progress goes on."""
        api = MageApi.of(self.stack)
        (trigger,) = api.call("GET", f"pipelines/{PIPELINE}/pipeline_schedules")["pipeline_schedules"]
        change = {"id": trigger["id"], "status": status}
        api.call("PUT", f"pipeline_schedules/{trigger['id']}", pipeline_schedule=change)

    def log_of_the_last_run(self) -> list[str]:
        """Last lines of Mage's logs of the newest run, by block."""
        logs = sorted(self.stack.folder.rglob(".logs/*/*/*.log"), key=lambda path: path.stat().st_mtime)
        return [f"{path.name}: {line}" for path in logs[-2:] for line in path.read_text().splitlines()[-15:]]

    @property
    def judged_until_now(self) -> list[str]:
        return self.__dict__.setdefault("_judged", [])


@pytest.fixture(scope="module")
def year() -> Iterator[Year]:
    require_programs()
    with contextlib.ExitStack() as stack:
        home, patch = stack.enter_context(place()), stack.enter_context(pytest.MonkeyPatch.context())
        site = home / "site"
        site.mkdir()
        publisher, inbox = stack.enter_context(publishing(site)), stack.enter_context(receiving())
        beats = stack.enter_context(watching())
        checkout = _checkout(home / "checkout", publisher.url)
        mage = {"SCHEDULER_TRIGGER_INTERVAL": "1", "SLACK_WEBHOOK_URL": inbox.url, "MLOPS_THREADS": "1"}
        mage["HEARTBEAT_URL"] = f"{beats.url}/{{check}}"
        how = {"checkout": checkout, "extra": {"mage": mage}}
        folder = home / "state" / "stack"
        for month in Month.range(FIRST - 2, FIRST + 2):
            write_month(site / f"green_tripdata_{month}.parquet", "green", month, rows=1500)
        running = stacks.start(folder, free_ports(), **how)
        stack.callback(running.stop)
        for name, value in running.client.items():
            if name.startswith("MLFLOW_"):
                patch.setenv(name, value)
        client = mlflow.MlflowClient(running.client["MLFLOW_TRACKING_URI"])
        yield Year(running, publisher, inbox, client, beats)


def _checkout(target: Path, source: str) -> Path:
    """The Mage project with the green training trigger only, without an interval, on small months."""
    mage_project.copy_project(target)
    for pipeline in (target / "pipelines").iterdir():
        if pipeline.name != PIPELINE:
            shutil.rmtree(pipeline)
    path = target / "pipelines" / PIPELINE / "triggers.yaml"
    trigger = yaml.safe_load(path.read_text())["triggers"][0]
    assert (trigger["status"], trigger["variables"]["month"]) == ("active", "next")
    trigger["schedule_interval"] = "@always_on"
    trigger["variables"] |= {**SMALL, "start_month": str(FIRST), "source": source}
    path.write_text(yaml.safe_dump({"triggers": [trigger]}))
    return target


def make_it_an_earlier_version(stack: stacks.Stack) -> None:
    """Give the copy and Mage's database the trigger's former name; the checkout has another `sla` now."""
    select(stack, "mage", "UPDATE pipeline_schedule SET name = 'green_monthly'")
    triggers = f"pipelines/{PIPELINE}/triggers.yaml"
    served, checkout = stack.served / triggers, stack.checkout / triggers
    served.write_text(served.read_text().replace("green_daily_check", "green_monthly"))
    (stack.served / mage_project.TAKEN).unlink()
    checkout.write_text(checkout.read_text().replace("sla: 14400", "sla: 14401"))


def test_an_unattended_year(year: Year) -> None:
    march, april, may, june, july, august, september, october = Month.range(FIRST, FIRST + 7)

    # Three months are published. Mage is killed in the second, MLflow is restarted in the third.
    year.wait_for(march)
    run = year.amid(april)
    killed = leader(year.stack, "mage")
    for process in members(year.stack, "mage"):  # the whole process group, as when memory runs out
        process.kill()
    year.wait_for(april)  # supervisord has started it again
    assert leader(year.stack, "mage") != killed
    assert [r.info.status for r in year.runs() if r.info.run_id == run] == ["FINISHED"]
    run = year.amid(may)
    year.stack.start_service("mlflow")  # stops it first
    year.wait_for(may)
    assert [r.info.status for r in year.runs() if r.info.run_id == run] == ["FINISHED"]
    assert not [title for title in year.inbox.titles if "failed" in title]

    # Nothing to do: heartbeats, and no message. Then a month is published; PostgreSQL is restarted meanwhile.
    said, heard = len(year.inbox.messages), len(year.beats.asked)
    time.sleep(8)
    year.wait_until(lambda: year.last_check() == ("not_published", str(june)))
    year.wait_until(lambda: len(year.beats.asked) > heard + 1)
    assert set(year.beats.asked) == {"GET /green-training"}
    assert len(year.inbox.messages) == said
    year.publish(june)
    year.amid(june)
    year.stack.start_service("postgres")
    year.wait_for(june)

    # The schedule is switched off, and stays off after an upgrade, under its new name and with its runs.
    year.switch("inactive")
    year.stack.stop_service("mage")
    runs = "SELECT id FROM pipeline_run ORDER BY id"
    before = select(year.stack, "mage", runs)
    make_it_an_earlier_version(year.stack)
    for month in (july, august, september):
        year.publish(month)
    year.stack.start_service("mage")
    year.wait_until(lambda: select(year.stack, "mage", "SELECT sla FROM pipeline_schedule") == [14401])
    described = "SELECT concat(id, ' ', name, ' ', status) FROM pipeline_schedule"
    assert select(year.stack, "mage", described) == ["1 green_daily_check INACTIVE"]
    time.sleep(3)
    assert select(year.stack, "mage", runs) == before

    # It is switched on, after a downtime of one month with three months published meanwhile: trained in order.
    year.switch("active")
    for month in (july, august, september):
        year.wait_for(month)

    # A truncated upload is reported once, shown in MLflow with the same words, and fixed by a complete one.
    whole = year.path(september).read_bytes()
    year.path(october).write_bytes(whole[: len(whole) // 2])
    year.wait_until(lambda: bool(year.inbox.titles) and "failed" in year.inbox.titles[-1])
    title, text = year.inbox.messages[-1]
    cause = text.splitlines()[0]
    assert title == f"{SAMPLE_MODEL}: a run failed"
    assert cause.startswith(
        f"{year.publisher.url}/green_tripdata_{october}.parquet: a truncated Parquet file"
    )
    failed = [run for run in year.runs() if cause in run.data.tags.get("error", "")]
    assert [run.info.status for run in failed] == ["FAILED"]
    assert failed[0].info.run_id in text
    year.wait_until(lambda: year.last_check() == ("failed", ""))
    year.wait_until(lambda: "GET /green-training/fail" in year.beats.asked)
    assert year.mage_shows_failed(text.rpartition("/")[2], cause)
    time.sleep(8)
    assert year.inbox.messages[-1] == (title, text)
    year.publish(october)
    year.wait_for(october)

    # The newest month is republished: it is judged again on the new file, and the earlier version is marked.
    year.publish(october, rows=1600)
    year.wait_for(october)
    assert "after the month was republished" in year.inbox.titles[-1]
    marked = {
        version.version: version.tags["republished"]
        for version in year.client.search_model_versions(f"name = '{SAMPLE_MODEL}'")
        if "republished" in version.tags
    }
    assert list(marked) == ["8"]
    assert "rows added" in marked["8"]

    # Exactly these versions, in this order; nothing is RUNNING.
    months = [march, april, may, june, july, august, september, october, october]
    assert year.judged() == [str(month) for month in months]
    judged = [title for title in year.inbox.titles if ": version" in title]
    assert [title.split(":")[0] for title in judged] == [f"{SAMPLE_MODEL} {month}" for month in months]
    year.wait_until(lambda: not [run for run in year.runs() if run.info.status == "RUNNING"])
