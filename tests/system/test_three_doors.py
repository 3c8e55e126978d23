"""Every way to start a run gives the same result; a browser uses Mage's editor.

Against one running stack, the editor, the command line, `mage run` and a trigger get the same settings: the
first trains, the others find its version. Then the others train again (`force`), and the runs differ only in
their numbers.
"""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.doors import BLOCKS, PIPELINE, PROJECT, SAMPLE_MODEL, Machine, wait_until, write_months
from support.mage_api import MageApi
from support.stack_process import free_ports, place, processes_of, require_programs, select
from support.strangers import foreign_page
from support.visits import browse, require_browser

from mlops import config
from stack import mage_project
from stack import stack as stacks

SCREENSHOTS = PROJECT / "screenshots"  # ignored by git
DOORS = ("editor", "command line", "mage run", "trigger")
REFUSED = "max_trials: input should be greater than or equal to 1; got 0"
FOUND = f"models:/{SAMPLE_MODEL}/1 is already registered with this run key"
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class House:
    """The running stack, a machine that uses it, a browser, and the texts of Mage's project before the start."""

    stack: stacks.Stack
    machine: Machine
    api: MageApi
    texts: dict[str, str]

    @property
    def mage(self) -> str:
        """Address of Mage's pages."""
        return self.stack.compose.url("mage")

    @property
    def mlflow(self) -> str:
        """Address of MLflow's pages."""
        return self.stack.compose.url("mlflow")

    def browse(self, **visit: Any) -> dict[str, Any]:
        """What a person sees on a visit; the browser stays signed in between visits."""
        values = self.stack.values
        visit |= {
            "screenshots": str(SCREENSHOTS),
            "cookies": str(self.stack.folder / "cookies.json"),
            "credentials": {
                "origin": self.mlflow,
                "username": values["MLFLOW_TRACKING_USERNAME"],
                "password": values["MLFLOW_TRACKING_PASSWORD"],
            },
        }
        seen = browse(**visit)
        assert not seen["stopped"], seen
        return seen

    def trigger(self, **variables: Any) -> dict[str, Any]:
        """A finished run of the scheduler, started by its own trigger, as the REST API returns it."""
        under = f"pipelines/{PIPELINE}/pipeline_schedules"
        made = self.api.call("POST", under, pipeline_schedule={"name": "by a test", "schedule_type": "api"})
        number = made["pipeline_schedule"]["id"]
        active = {"id": number, "status": "active"}
        self.api.call("PUT", f"pipeline_schedules/{number}", pipeline_schedule=active)
        wanted = {"pipeline_schedule_id": number, "pipeline_uuid": PIPELINE, "variables": variables}
        run = self.api.call("POST", f"pipeline_schedules/{number}/pipeline_runs", pipeline_run=wanted)
        path = f"pipeline_runs/{run['pipeline_run']['id']}"

        def reported() -> dict[str, Any]:
            known: dict[str, Any] = self.api.call("GET", path)["pipeline_run"]
            return known

        wait_until(lambda: reported()["status"] in ("completed", "failed", "cancelled"), 240, reported)
        return reported()

    def logs(self, run: dict[str, Any]) -> dict[str, str]:
        """Log of each block of a scheduler's run."""
        path = f"pipelines/{PIPELINE}/logs?pipeline_run_id[]={run['id']}"
        logs = self.api.call("GET", path)["logs"][0]["block_run_logs"]
        return {log["name"].removesuffix(".log"): log["content"] for log in logs}


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    require_programs()
    require_browser()
    shutil.rmtree(SCREENSHOTS, ignore_errors=True)
    SCREENSHOTS.mkdir()
    with place() as home, pytest.MonkeyPatch.context() as patch:
        machine = Machine(home / "machine", write_months(home / "months"))
        project = _project(home / "project", machine.settings())
        texts = mage_project.texts(project)
        mage = {"SCHEDULER_TRIGGER_INTERVAL": "1", "MLOPS_THREADS": "1"}
        folder = home / "state" / "stack"
        stack = stacks.start(folder, free_ports(), project=project, extra={"mage": mage})
        try:
            for name, value in stack.client.items():
                if name.startswith("MLFLOW_TRACKING_"):
                    machine.variables[name] = value
                    patch.setenv(name, value)
            yield House(stack, machine, MageApi.of(stack), texts)
        finally:
            stack.stop()
            assert processes_of(folder) == []


def _project(target: Path, settings: dict[str, Any]) -> Path:
    """The Mage project with these settings in the pipeline, and without active triggers."""
    mage_project.copy_project(target)
    metadata = target / "pipelines" / PIPELINE / "metadata.yaml"
    described = yaml.safe_load(metadata.read_text())
    described["variables"] |= settings
    metadata.write_text(yaml.safe_dump(described, sort_keys=False))
    for path in target.glob("pipelines/*/triggers.yaml"):
        triggers = yaml.safe_load(path.read_text())["triggers"]
        idle = [trigger for trigger in triggers if trigger["status"] == "inactive"]
        path.write_text(yaml.safe_dump({"triggers": idle}))
    return target


@pytest.fixture(scope="module")
def edited(house: House) -> dict[str, Any]:
    """What the editor showed when the blocks ran one after another."""
    page, owner = f"{house.mage}/pipelines/{PIPELINE}/edit", house.stack.values
    known = {"email": owner["DEFAULT_OWNER_EMAIL"], "password": owner["DEFAULT_OWNER_PASSWORD"]}
    return house.browse(mage={"url": page, **known}, editor={"url": page, "blocks": list(BLOCKS)})


@pytest.fixture(scope="module")
def attacked(house: House, edited: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a page of another port reports of its attempts, in the browser that is signed in."""
    folder = tmp_path_factory.mktemp("attack")
    matcher = {"name": "planted", "event_type": "aws_event", "pattern": {"source": "planted"}}
    attempts = [
        ("socket", "/websocket/terminal", "{}"),
        ("socket", "/websocket/", "{}"),
        ("read", "/api/event_matchers"),
        ("embed", "/api/event_matchers"),
        ("post", "/api/event_matchers", json.dumps({"event_matchers": [matcher]})),
        ("post", "/api/events", json.dumps({"source": "planted"})),
    ]
    with foreign_page(folder / "page", house.mage, attempts) as url:
        seen = browse(
            screenshots=str(folder),
            cookies=str(shutil.copy(house.stack.folder / "cookies.json", folder)),
            pages=[{"name": "foreign", "url": url, "shows": ["the end"]}],
        )
    assert not seen["stopped"], seen
    report: str = seen["texts"]["foreign"]
    return report.splitlines()


@pytest.fixture(scope="module")
def found(house: House, edited: dict[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Output of the other ways to start a run with the same settings, and the versions afterwards."""
    house.machine.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copy(house.stack.state / "registry.key", house.machine.state)  # they share the registry
    return _through_the_others(house, {}), house.machine.numbers()


@pytest.fixture(scope="module")
def forced(house: House, found: tuple[dict[str, str], list[str]]) -> tuple[dict[str, Any], dict[str, str]]:
    """Runs that trained, by the way in which they started, and the output of the others."""
    said = _through_the_others(house, {"force": True})
    return dict(zip(DOORS, house.machine.parents(), strict=True)), said


def _through_the_others(house: House, more: dict[str, Any]) -> dict[str, str]:
    """Output in the terminal or in the last block's log, by the way in which the run started."""
    options = ["--force"] if more else []
    typed = house.machine.train(*options)
    mage = house.machine.mage_run(project=str(house.stack.served), **more)
    run = house.trigger(**house.machine.settings(**more))
    logs = house.logs(run)
    assert [typed.status, mage.status, run["status"]] == [0, 0, "completed"], (typed, mage, run, logs)
    assert [(block["block_uuid"], block["status"]) for block in run["block_runs"]] == [
        (name, "completed") for name in BLOCKS
    ]
    return dict(zip(DOORS[1:], (typed.output, mage.output, "\n".join(logs.values())), strict=True))


@pytest.fixture(scope="module")
def visited(house: House, edited: dict[str, Any], forced: Any) -> dict[str, Any]:
    """What Mage's and MLflow's other pages show at the end."""
    version = house.machine.client.get_model_version(SAMPLE_MODEL, "1")
    experiment = house.machine.client.get_run(version.run_id).info.experiment_id
    runs, model = f"/#/experiments/{experiment}/runs", f"/#/models/{SAMPLE_MODEL}"
    pages = [
        ("triggers", house.mage, f"/pipelines/{PIPELINE}/triggers", ["yellow_daily_check", "by a test"]),
        ("runs", house.mage, f"/pipelines/{PIPELINE}/runs", ["Done", "by a test"]),
        ("experiments", house.mlflow, "/#/experiments", [SAMPLE_MODEL]),
        ("experiment", house.mlflow, runs, ["2023-03 promoted: green v1", "Training runs"]),
        ("run", house.mlflow, f"{runs}/{version.run_id}", ["test/rmse", "eaa33f", "run_key"]),
        ("card", house.mlflow, f"{runs}/{version.run_id}/artifacts/model_card.html", ["slices.csv"]),
        ("model", house.mlflow, model, ["Version 4", "@ champion"]),
        ("version", house.mlflow, f"{model}/versions/1", ["@ champion", "test RMSE"]),
    ]
    return house.browse(
        number=edited["next_number"],
        pages=[{"name": name, "url": site + path, "shows": shows} for name, site, path, shows in pages],
    )


@pytest.fixture(scope="module")
def refused(house: House, visited: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What the editor showed of a wrong setting, and the lines in the log of a trigger started by hand with it."""
    metadata = house.stack.served / "pipelines" / PIPELINE / "metadata.yaml"
    right = metadata.read_text()
    described = yaml.safe_load(right)
    described["variables"]["max_trials"] = 0
    metadata.write_text(yaml.safe_dump(described, sort_keys=False))
    page = {
        "url": f"{house.mage}/pipelines/{PIPELINE}/edit",
        "blocks": ["load_trips"],
        "shows": "ConfigError",
    }
    seen = house.browse(number=visited["next_number"], editor=page)
    metadata.write_text(right)
    run = house.trigger(**house.machine.settings(max_trials=0))
    assert run["status"] == "failed", run
    wait_until(lambda: REFUSED in "".join(house.logs(run).values()), 60)
    lines = "".join(house.logs(run).values()).splitlines()
    return seen, [json.loads(line[line.index("{") :])["message"] for line in lines if '"message"' in line]


def measured(house: House, run: Any) -> dict[str, float]:
    """Every number that a run and its trials logged, except durations."""
    by_name = {"run": run} | {trial.info.run_name: trial for trial in house.machine.trials(run)}
    return {
        f"{each}: {name}": value
        for each, logged in by_name.items()
        for name, value in logged.data.metrics.items()
        if "seconds" not in name
    }


def test_the_browser_notices_errors(tmp_path: Path) -> None:
    """Without this test, a page without noticed errors would prove nothing."""
    (tmp_path / "page.html").write_text(
        "<p>shown</p><p hidden>not shown</p><img src='/missing.png'>"
        "<script>console.error('said'); fetch('http://127.0.0.1:9/').catch(() => null); thrown()</script>"
    )
    serve = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/page.html"
        seen = browse(
            screenshots=str(tmp_path),
            cookies=str(tmp_path / "cookies.json"),
            pages=[{"name": "broken", "url": url, "shows": ["shown"]}],
        )
        server.shutdown()
    noticed = {(complaint["kind"], complaint["text"].split(" ")[0]) for complaint in seen["complaints"]}
    assert {
        ("page error", "thrown"),
        ("console", "said"),
        ("HTTP", "404"),
        ("no answer", "http://127.0.0.1:9/:"),
    } <= noticed
    assert {(complaint["page"], complaint["harmless"]) for complaint in seen["complaints"]} == {
        ("broken", "")
    }
    assert seen["texts"]["broken"] == "shown"
    assert (tmp_path / "01-broken.png").exists()


def test_the_editor_shows_what_each_block_did(edited: dict[str, Any], house: House) -> None:
    tables = {name: shown["table"] for name, shown in edited["blocks"].items()}
    months = tables["load_trips"]
    assert [(month["month"], month["role"]) for month in months] == [
        ("2023-03", "test"),
        ("2023-02", "validation"),
        ("2023-01", "training"),
    ]
    for month in tables["clean_trips"]:
        _, _, trips, kept, _, *rejected, _, _ = month.values()
        assert int(trips) == int(kept) + sum(map(int, rejected))
    assert {"pickup_zone", "distance_miles", "weekday"} <= {
        row["feature"] for row in tables["build_features"]
    }
    version = house.machine.client.get_run(house.machine.versions()[0].run_id).data.metrics
    first, *others = tables["train_and_register"]
    assert (first["entry"], first["result"]) == ("version 1", "champion")
    assert first["test RMSE (min)"] == f"{version['test_rmse']:.4f}"
    assert [row["entry"] for row in others] == ["pair median", "trial 1", "trial 2"]


def test_the_editor_shows_the_progress_of_trials(edited: dict[str, Any]) -> None:
    assert "kept 1,478 of 1,536 trips" in edited["blocks"]["clean_trips"]["text"]
    for line in ("trial 1 of 2: validation RMSE", "trial 2 of 2: validation RMSE", "final fit on"):
        assert edited["blocks"]["train_and_register"]["text"].count(line) == 1


def test_what_one_door_registered_the_others_find(found: tuple[dict[str, str], list[str]]) -> None:
    said, versions = found
    assert {door: FOUND in text for door, text in said.items()} == dict.fromkeys(DOORS[1:], True)
    assert versions == ["1"]


def test_every_door_has_the_same_run_key_and_parameters(
    forced: tuple[dict[str, Any], dict[str, str]], house: House
) -> None:
    runs, said = forced
    made_from = {door: {**run.data.params, "key": run.data.tags["run_key"]} for door, run in runs.items()}
    assert made_from == dict.fromkeys(DOORS, made_from["editor"])
    assert [run.data.tags["forced"] for run in runs.values()] == ["false", "true", "true", "true"]
    assert not any(FOUND in text for text in said.values())
    assert house.machine.numbers() == ["1", "2", "3", "4"]
    assert house.machine.alias("champion") == "1"
    assert house.machine.statuses() == ["FINISHED"] * 4


def test_every_door_measures_the_same_to_the_last_digit(
    forced: tuple[dict[str, Any], dict[str, str]], house: House
) -> None:
    first, *others = (measured(house, run) for run in forced[0].values())
    assert {"run: test_rmse", "trial 1: validation_rmse", "trial 2: validation_rmse"} <= set(first)
    assert others == [others[0]] * 3
    # The first had no champion to compare with; only the numbers of its verdict differ.
    met = {name for name in others[0] if "champion" in name or "verdict" in name}
    assert "run: test_rmse_champion" in met
    assert {name: others[0][name] for name in set(others[0]) - met} == {
        name: first[name] for name in set(first) - met
    }


def test_every_door_makes_the_same_model(forced: Any, house: House) -> None:
    """The models are equal to the byte, not only their numbers."""
    assert len({version.tags["artefact_sha256"] for version in house.machine.versions()}) == 1


def test_the_block_s_log_shows_the_progress_of_trials(forced: tuple[dict[str, Any], dict[str, str]]) -> None:
    for line in ("trial 1 of 2: validation RMSE", "trial 2 of 2: validation RMSE", "final fit on"):
        assert forced[1]["trigger"].count(line) == 1


def test_every_page_shows_what_it_should(visited: dict[str, Any]) -> None:
    texts = visited["texts"]
    for setting, words in {"triggers": "fhvhv_daily_check", "card": "model_card.html"}.items():
        assert words in texts[setting]


def test_no_page_complains(edited: dict[str, Any], visited: dict[str, Any]) -> None:
    complaints = edited["complaints"] + visited["complaints"]
    assert [complaint for complaint in complaints if not complaint["harmless"]] == []
    for text in (*edited["texts"].values(), *visited["texts"].values()):
        for trouble in (
            "client-side exception",
            "Traceback",
            "kernel has restarted",
            "RESOURCE_DOES_NOT_EXIST",
        ):
            assert trouble not in text


def test_each_page_is_kept_as_a_picture(edited: dict[str, Any], visited: dict[str, Any]) -> None:
    names = [path.stem for path in sorted(SCREENSHOTS.glob("*.png"))]
    assert names == [
        f"{number:02}-{name}" for number, name in enumerate([*edited["texts"], *visited["texts"]], start=1)
    ]


def test_the_served_pipeline_is_the_repository_s(house: House) -> None:
    pipeline = house.api.call("GET", f"pipelines/{PIPELINE}")["pipeline"]
    order = list(BLOCKS)
    assert [(b["uuid"], b["upstream_blocks"], b["downstream_blocks"]) for b in pipeline["blocks"]] == [
        (name, order[max(0, n - 1) : n], order[n + 1 : n + 2]) for n, name in enumerate(order)
    ]
    assert pipeline["variables"] == config.Settings().model_dump() | house.machine.settings()


def test_a_page_of_another_port_gets_nothing(attacked: list[str], house: House) -> None:
    *lines, end = attacked
    assert end == "the end"
    assert {line.rpartition(": ")[2] for line in lines} == {"refused"}
    assert select(house.stack, "mage", "SELECT count(*) FROM event_matcher") == [0]


def test_it_listens_only_on_this_machine(house: House) -> None:
    with socket.socket() as elsewhere:
        elsewhere.settimeout(5)
        port = house.stack.compose.port("mage")
        assert elsewhere.connect_ex(("127.0.0.2", port)) != 0  # it would otherwise listen on 0.0.0.0


def test_a_wrong_setting_is_explained_first_and_leaves_no_run(refused: Any, house: House) -> None:
    seen, log = refused
    shown = seen["blocks"]["load_trips"]["text"]
    assert "Traceback" not in shown
    assert " ".join(shown.rpartition("notify")[2].split()).startswith(f"ConfigError: {REFUSED}")
    first, second, *_ = [line for line in log if not line.startswith("Start executing")]
    assert first.startswith(f"{REFUSED} (")
    assert first.endswith("attempt 1 of 1)")
    assert second == f"{REFUSED} (Failed to execute block load_trips)"
    assert house.machine.statuses() == ["FINISHED"] * 4


def test_using_it_changes_no_file(visited: dict[str, Any], house: House) -> None:
    """No run status, key order, defaults or absolute paths are written into the project."""
    assert mage_project.texts(house.stack.served) == house.texts
