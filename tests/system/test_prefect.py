"""`make prefect` as a person uses it: runs that are started by its pages, killed, cancelled and tried again.

The command line has made a version before. Every run with the same settings finds it.
"""

from __future__ import annotations

import http.server
import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import requests
from support.doors import PROJECT, Machine, wait_until, write_months
from support.prefect_site import PrefectSite, free_port, require_prefect, running_prefect
from support.visits import browse

from stack.compose import LOOPBACK

FOUND = "models:/trip-duration-sample/1 is already registered with this run key"
NO_MONTH = (
    "ConfigError: month: there is no month 2023-13; write YYYY-MM with MM from 01 to 12, for example 2023-10"
)
SAME: dict[str, Any] = {"max_trials": 40}  # long enough to be killed in its trials
APRIL: dict[str, Any] = {"month": "2023-04", **SAME}
QUICK = {
    "PREFECT_TASKS_DEFAULT_RETRY_DELAY_SECONDS": "1",
    "PREFECT_RUNNER_POLL_FREQUENCY": "1",  # seconds
}
SCREENSHOTS = PROJECT / "screenshots"  # ignored by git
pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectSite]:
    require_prefect()
    folder = tmp_path_factory.mktemp("prefect")
    machine = Machine(folder / "machine", write_months(folder / "months"))
    trained = machine.train(**SAME)
    assert trained.status == 0, trained.output
    with running_prefect(machine, free_port(), **QUICK) as running:
        yield running


class Flaky(http.server.SimpleHTTPRequestHandler):
    """Gives out the months of a folder; it closes the first connections that ask for the test month."""

    closed = 0
    CLOSES = 8  # a step makes 4 attempts within seconds: two tries of the step fail

    def parse_request(self) -> bool:
        """Close the connection without an answer, or go on."""
        is_known = super().parse_request()
        if is_known and "2023-03" in self.path and Flaky.closed < self.CLOSES:
            Flaky.closed += 1
            self.close_connection = True
            return False
        return is_known

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def flaky_source(site: PrefectSite) -> Iterator[str]:
    """Address of a source over loopback that fails in the middle of a step, twice."""
    handler = partial(Flaky, directory=str(site.machine.source))
    with http.server.ThreadingHTTPServer((LOOPBACK, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{LOOPBACK}:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def started(site: PrefectSite, flaky_source: str) -> dict[str, str]:
    """Ids of the flow runs that need nobody."""
    return {
        "again": site.train(**SAME),
        "network": site.train(source=flaky_source, **SAME),
        "wrong month": site.train(month="2023-13"),
        "wrong source": site.train(source=str(site.machine.folder / "nowhere")),
    }


@pytest.fixture(scope="module")
def killed(site: PrefectSite, started: dict[str, str]) -> str:
    """Id of a flow run whose process was killed in training, and that was tried again by the page's Retry."""
    number = site.train(**APRIL)
    site.wait_for_line(number, "trial 2 of 40")
    os.kill(site.worker(number).pid, signal.SIGKILL)
    crashed = site.wait(number)
    assert (crashed["state_type"], crashed["name"]) == ("CRASHED", "green 2023-04")
    assert "SIGKILL" in crashed["state"]["message"]
    wait_until(lambda: site.machine.statuses() == ["FINISHED", "KILLED"], 60, site.machine.statuses)
    site.set_state(number, "SCHEDULED", "AwaitingRetry")
    wait_until(lambda: site.run(number)["state_type"] == "COMPLETED", 120, lambda: site.log(number))
    return number


@pytest.fixture(scope="module")
def backfilled(site: PrefectSite, killed: str) -> str:
    """Id of a backfill of the two months that have a version."""
    number = site.start(
        "backfill/by-hand", first="2023-03", last="2023-04", settings=site.machine.settings(**SAME)
    )
    site.wait(number)
    return number


@pytest.fixture(scope="module")
def seen(site: PrefectSite, started: dict[str, str], backfilled: str) -> dict[str, Any]:
    """What a person saw in the pages who started a run by the form."""
    SCREENSHOTS.mkdir(exist_ok=True)
    shown = SCREENSHOTS / "prefect"
    shutil.rmtree(shown, ignore_errors=True)
    shown.mkdir()
    form = site.call("deployments/name/train/by-hand")["id"]
    settings = site.machine.settings(**SAME)
    titles = {"Month (Optional)": "month", "Source (Optional)": "source", "Max Trials (Optional)": "max_trials",
              "Min Test Rows (Optional)": "min_test_rows"}  # fmt: skip
    board = site.artifacts(started["again"])["leaderboard"]["id"]
    runs = f"{site.url}/runs/flow-run"
    pages = [
        {"name": "again", "url": f"{runs}/{started['again']}", "shows": ["Completed", FOUND]},
        {
            "name": "wrong",
            "url": f"{runs}/{started['wrong month']}",
            "shows": ["Failed", "there is no month"],
        },
        {
            "name": "backfill",
            "url": f"{runs}/{backfilled}",
            "shows": ["Completed", "green 2023-03 to 2023-04"],
        },
        {"name": "leaderboard", "url": f"{site.url}/artifacts/artifact/{board}", "shows": ["pair median"]},
    ]
    report = browse(
        "browse_prefect.py", screenshots=str(shown), url=site.url, login=site.login, pages=pages,
        form={
            "url": f"{site.url}/deployments/deployment/{form}/run",
            "fields": {title: str(settings[name]) for title, name in titles.items()},
        },
    )  # fmt: skip
    assert not report["stopped"], report
    return report


def test_a_version_that_the_command_line_made_is_found_again(
    site: PrefectSite, started: dict[str, str]
) -> None:
    run = site.wait(started["again"])
    assert (run["name"], run["state_type"]) == ("green 2023-03", "COMPLETED")
    site.wait_for_line(started["again"], FOUND, 20)
    log = site.log(started["again"])
    assert sum(FOUND in line for line in log) == 1
    assert any("kept 1,478 of 1,536 trips" in line for line in log)


def test_artefacts_show_leaderboard_verdict_and_version(site: PrefectSite, started: dict[str, str]) -> None:
    site.wait(started["again"])
    shown = {key: each["data"] for key, each in site.artifacts(started["again"]).items()}
    assert set(shown) == {"leaderboard", "verdict", "version"}
    assert '"entry": "version 1"' in shown["leaderboard"]
    assert shown["verdict"].startswith("## trip-duration-sample, version 1: champion\n\n")
    assert "/#/models/trip-duration-sample/versions/1?" in shown["version"]


def test_a_network_error_in_the_middle_is_tried_again(site: PrefectSite, started: dict[str, str]) -> None:
    run = site.wait(started["network"])
    assert (run["state_type"], Flaky.closed) == ("COMPLETED", Flaky.CLOSES)
    counts = {name: task["run_count"] for name, task in site.tasks(started["network"]).items()}
    assert counts == {"load_trips": 3, "clean_trips": 1, "build_features": 1, "train_and_register": 1}
    site.wait_for_line(started["network"], FOUND, 20)


def test_a_wrong_setting_fails_at_once_with_our_sentence(site: PrefectSite, started: dict[str, str]) -> None:
    run = site.wait(started["wrong month"])
    assert run["state"]["message"] == f"Flow run encountered an exception: {NO_MONTH}"
    assert (run["state_type"], run["run_count"], site.tasks(started["wrong month"])) == ("FAILED", 1, {})


def test_a_step_with_a_wrong_setting_is_not_tried_again(site: PrefectSite, started: dict[str, str]) -> None:
    run = site.wait(started["wrong source"])
    (task,) = site.tasks(started["wrong source"]).values()
    assert (run["state_type"], task["name"], task["run_count"]) == ("FAILED", "load_trips", 1)
    assert "exception: ConfigError: source '" in run["state"]["message"]


def test_the_form_refuses_a_number_out_of_range(site: PrefectSite) -> None:
    with pytest.raises(AssertionError, match=r"settings\.max_trials.*0 is less than the minimum of 1"):
        site.train(max_trials=0)


def test_a_killed_run_that_is_tried_again_makes_one_version(site: PrefectSite, killed: str) -> None:
    assert site.run(killed)["run_count"] == 2
    assert site.machine.numbers() == ["1", "2"]
    assert site.machine.statuses()[:2] == ["FINISHED"] * 2
    assert any("trials restored from an earlier attempt" in line for line in site.log(killed))


def test_a_backfill_has_a_subflow_per_month(site: PrefectSite, backfilled: str) -> None:
    assert site.run(backfilled)["name"] == "green 2023-03 to 2023-04"
    found = [(each["name"], each["state_type"]) for each in site.children(backfilled)]
    assert found == [("green 2023-03", "COMPLETED"), ("green 2023-04", "COMPLETED")]


def test_the_pages_show_runs_and_sentences_and_ask_no_other_host(seen: dict[str, Any]) -> None:
    assert seen["foreign"] == []
    assert NO_MONTH.partition(": ")[2] in seen["texts"]["wrong"]
    for words in ("Taxi service: green, yellow or fhvhv (Uber and Lyft).", "Max Trials (Optional)"):
        assert words in seen["texts"]["form"]
    assert "vs baseline %" in seen["texts"]["leaderboard"]


def test_a_run_that_the_form_started_finds_the_version_too(site: PrefectSite, seen: dict[str, Any]) -> None:
    made = site.call(
        "flow_runs/filter", sort="EXPECTED_START_TIME_DESC", flow_runs={"tags": {"is_null_": True}}
    )
    by_form = next(run for run in made if run["deployment_id"] and "auto-scheduled" not in run["tags"])
    site.wait(by_form["id"])
    site.wait_for_line(by_form["id"], FOUND, 20)


def test_the_daily_deployment_asks_for_the_next_month(site: PrefectSite) -> None:
    daily = site.call("deployments/name/train/daily")
    (schedule,) = daily["schedules"]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("0 6 * * *", "UTC")
    settings = daily["parameters"]["settings"]
    assert (settings["month"], settings["start_month"], settings["source"]) == ("next", "2026-06", "tlc")


def test_a_daily_run_is_named_after_the_month_that_it_waits_for(site: PrefectSite, backfilled: str) -> None:
    settings = site.machine.settings(month="next", start_month="2023-03")
    number = site.start("train/daily", settings=settings)
    run = site.wait(number)
    assert (run["name"], run["state_type"]) == ("green 2023-05, nothing to do", "COMPLETED")
    shown = {key: each["data"] for key, each in site.artifacts(number).items()}
    assert set(shown) == {"leaderboard", "verdict"}
    assert shown["verdict"].startswith("## 2023-05: nothing to do\n\n")


def test_an_experiment_shows_its_verdict_and_no_version(site: PrefectSite, backfilled: str) -> None:
    before = site.machine.numbers()
    number = site.train(experiment="one trial", max_trials=1)
    assert site.wait(number)["state_type"] == "COMPLETED"
    shown = {key: each["data"] for key, each in site.artifacts(number).items()}
    assert set(shown) == {"leaderboard", "verdict"}
    assert shown["verdict"].startswith("## 2023-03: experiment\n\n")
    assert site.machine.numbers() == before


def test_only_who_has_the_password_gets_an_answer(site: PrefectSite) -> None:
    assert requests.post(f"{site.url}/api/flow_runs/filter", json={}, timeout=30).status_code == 401
    assert (site.home / ".env").stat().st_mode & 0o077 == 0
    with socket.socket() as elsewhere:
        elsewhere.settimeout(5)
        assert elsewhere.connect_ex(("127.0.0.2", site.port)) != 0  # it would otherwise listen on 0.0.0.0
    assert not (site.machine.folder / "home" / ".prefect").exists()


def test_cancelling_leaves_nothing_running(site: PrefectSite, seen: dict[str, Any]) -> None:
    number = site.train(**APRIL, seed=7)
    site.wait_for_line(number, "trial 2 of 40")
    site.set_state(number, "CANCELLING", "Cancelling")
    wait_until(lambda: site.run(number)["state_type"] == "CANCELLED", 60, lambda: site.run(number)["state"])
    wait_until(lambda: site.machine.statuses()[3:] == ["KILLED"], 60, site.machine.statuses)
    assert site.machine.numbers() == ["1", "2"]


@pytest.fixture(scope="module")
def restarted(site: PrefectSite, seen: dict[str, Any]) -> Iterator[tuple[PrefectSite, str]]:
    """The site, started again after all its processes were killed at once, and the run that was going on then."""
    number = site.train(**APRIL, seed=8)
    site.wait_for_line(number, "trial 2 of 40")
    site.kill()
    wait_until(lambda: "RUNNING" not in site.machine.statuses(), 60, site.machine.statuses)
    with running_prefect(site.machine, site.port, **QUICK) as again:
        yield again, number


def test_after_a_power_cut_the_run_shows_crashed_and_can_be_tried_again(
    restarted: tuple[PrefectSite, str],
) -> None:
    site, number = restarted
    state = site.run(number)["state"]
    assert (state["type"], state["message"].partition(".")[0]) == (
        "CRASHED",
        "Its process had ended when `make prefect` started",
    )
    site.set_state(number, "SCHEDULED", "AwaitingRetry")
    site.wait_for_line(number, "trials restored from an earlier attempt")


def test_ctrl_c_ends_everything(restarted: tuple[PrefectSite, str]) -> None:
    """The last test of the story, while that run trains."""
    site, _ = restarted
    assert site.end() == 0
    wait_until(lambda: not site.machine.processes(), 30, site.machine.processes)
    assert site.machine.statuses()[3:] == ["KILLED"] * 2
    assert f"open {site.url} " in site.printed
    with pytest.raises(requests.ConnectionError):
        requests.get(site.url, timeout=5)
