"""The services of docker-compose.yml as ordinary processes, as `make stack` runs them."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import requests
import yaml
from support.corrupted_months import corrupted, with_durations
from support.doors import PIPELINE
from support.mage_api import MageApi
from support.stack_process import (
    LOOPBACK,
    MODEL,
    PROJECT,
    ask_mlflow,
    back_after_kill,
    bare_environment,
    cluster,
    command_line,
    connect,
    copy_for_image,
    kill,
    kill_supervisord,
    leader,
    left_of,
    log_in,
    members,
    processes_of,
    run_of,
    secrets_of,
    select,
    version_of,
)

from mlops.registry.run_lifecycle import LOCK_TAG
from stack.processes import SUPERVISORD, family

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

SERVICES = ("postgres", "serving", "mlflow", "mage")  # in the order of their start
REQUEST = {"pickup_at": "2023-04-03T08:30:00", "pickup_zone": 74, "dropoff_zone": 75, "distance_miles": 1.2}


# The command line


def in_a_shell(stack, command):
    """End of a command in a shell that knows of the state folder only."""
    bare = bare_environment(stack.state / "shell") | {"PYTHONPATH": str(PROJECT)}
    known = {**bare, "MLOPS_STATE_DIR": str(stack.state)}
    return subprocess.run(["sh", "-c", command], env=known, capture_output=True, text=True, timeout=100)


def source(stack):
    """What a person types first to use the stack."""
    return f"set -a; . {shlex.quote(str(stack.folder / 'environment'))}; set +a; "


def test_a_shell_gets_the_variables_that_the_running_mage_has(stack):
    printed = in_a_shell(stack, source(stack) + "env -0").stdout
    shell = dict(variable.split("=", 1) for variable in printed.split("\0") if variable)
    running = leader(stack, "mage").environ()
    assert {"MAGE_DATABASE_CONNECTION_URL", "MAGE_DATA_DIR", "ENV", "LOCK_URL"} <= stack.client.keys()
    assert {name: shell.get(name) for name in stack.client} == {name: running[name] for name in stack.client}


def doctor(stack, first=""):
    """End of a check-up that looked at the stack's Mage, after another command in the shell."""
    found = in_a_shell(stack, f"{first}{sys.executable} -m mlops doctor")
    database = f"postgresql+psycopg2://{LOOPBACK}:{stack.compose.port('postgres')}/mage"
    for seen in (
        f"Mage at {stack.compose.url('mage')}: its scheduler runs",
        f"online service at {stack.compose.url('serving')}: it answers",
        f"Mage's database: {database} has all its tables",
        "Mage: no run is stuck; 0 going on",
    ):
        assert f"ok\t{seen}\n" in found.stdout, found.stdout + found.stderr
    return found


def test_a_second_start_starts_only_the_services_that_do_not_run(stack):
    stack.stop_service("mlflow")
    before = leader(stack, "mage")
    found = doctor(stack)  # from a shell that does not use the stack
    assert found.returncode == 1
    (away,) = [line for line in found.stdout.splitlines() if line.startswith("OPEN")]
    assert away.startswith(f"OPEN\ttracking server {stack.compose.url('mlflow')}: no answer within 5 s (")
    assert "Start it (`make stack`)" in away
    again = command_line(stack.folder, "start")
    assert again.returncode == 0, again.stderr
    said = dict(line.split(maxsplit=1) for line in again.stdout.splitlines()[:4])
    assert said["postgres"].endswith("is already running")
    assert "is healthy after" in said["mlflow"]
    for name in ("serving", "mage"):
        assert said[name].endswith("is already running")
    assert leader(stack, "mage") == before
    shown = command_line(stack.folder, "status")
    assert (shown.returncode, re.findall(r"\bhealthy\b", shown.stdout)) == (0, ["healthy"] * 4)
    for name, line in zip(SERVICES, shown.stdout.splitlines(), strict=True):
        assert line.split()[:5] == [
            name,
            "healthy",
            f"{LOOPBACK}:{stack.compose.port(name)}",
            "pid",
            str(leader(stack, name).pid),
        ]
        assert line.endswith(str(stack.log(name)))


@pytest.mark.parametrize("command", ["start", "update"])
def test_a_running_service_does_not_move_to_another_port(stack, command):
    before = leader(stack, "mage")
    moved = command_line(stack.folder, command, MAGE_PORT="6790")
    assert moved.returncode == 1
    assert "To change it, stop the stack first: make stack-stop" in moved.stderr
    assert leader(stack, "mage") == before


def test_the_first_start_says_where_to_log_in_and_keeps_secrets_to_its_owner(stack):
    said = command_line(stack.folder, "start").stdout
    assert f"log in as owner@localhost, password: DEFAULT_OWNER_PASSWORD in {stack.folder / '.env'}" in said
    secrets = secrets_of(stack)
    assert len(set(secrets)) == len(secrets) == 7
    assert min(map(len, secrets)) == 64
    for name in (".env", "environment", "client/.env"):
        assert (stack.folder / name).stat().st_mode & 0o777 == 0o600
    assert not any(secret in said for secret in secrets)


def predict(stack):
    """The online service's answer to a request."""
    return requests.post(stack.compose.url("serving", "/predict"), json=REQUEST, timeout=30)


def wait_for_the_service(stack):
    """Until it answers: it asks every 30 s, and perhaps first without the key of the champion's signature."""
    deadline = time.monotonic() + 120
    while (answer := predict(stack)).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(1)


def test_without_a_champion_the_service_is_healthy_and_says_what_is_missing(stack):
    healthy, ready = (
        requests.get(stack.compose.url("serving", f"/{p}z"), timeout=30) for p in ("health", "ready")
    )
    refused = predict(stack)
    assert [answer.status_code for answer in (healthy, ready, refused)] == [200, 503, 503]
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json()["detail"].startswith("no model is loaded (")


def test_a_shell_uses_the_environment_file(trained):
    done = in_a_shell(trained, f"{source(trained)}{sys.executable} -m mlops registry --model {MODEL}")
    assert "champion" in done.stdout, done.stderr
    wait_for_the_service(trained)
    found = doctor(trained, source(trained))
    assert f"ok\tstack in {trained.folder}: this shell uses it\n" in found.stdout
    assert f"ok\t{MODEL}: no run is left open\n" in found.stdout
    assert f"ok\tonline service: {MODEL}: version 1 answers, the champion\n" in found.stdout
    assert (found.returncode, found.stdout.count("OPEN")) == (0, 0), found.stdout


# Training runs on the stack


def test_a_client_without_a_key_to_the_artefacts_trains_a_champion(trained, trainer):
    machine, printed = trainer
    version = version_of(trained, "champion")
    run = run_of(trained, version)
    assert version["version"] == "1"
    assert f"models:/{MODEL}/1" in printed
    assert run["info"]["status"] == "FINISHED"
    assert run["info"]["artifact_uri"].startswith("mlflow-artifacts:/")
    served = {path.name for path in (trained.folder / "mlflow" / "artifacts").rglob("*") if path.is_file()}
    kept = {path.name for path in machine.folder.rglob("*") if path.is_file()}
    assert {"MLmodel", "model_card.md", "slices.csv", "months.csv"} <= served
    assert any(name.endswith(".parquet") for name in kept)
    assert kept & (served | {"mlflow.db"}) == set()


def mage_run(stack, project, settings, pipeline=PIPELINE, **environment):
    """Output of a run inside the Mage service, as with `docker compose exec mage mage run ...`."""
    command = ["mage", "run", str(project), pipeline, "--runtime-vars", json.dumps(settings)]
    done = subprocess.run(
        [Path(sys.executable).parent / command[0], *command[1:]],
        env={**stack.environment("mage"), "MLOPS_THREADS": "1", **environment},
        cwd=project,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return done.stdout + done.stderr


def test_mages_copy_of_the_project_finds_the_run_that_another_machine_registered(trained, settings):
    reported = f"models:/{MODEL}/1 is already registered with this run key"
    assert trained.served.is_relative_to(trained.folder)
    assert reported in mage_run(trained, trained.served, settings)
    assert version_of(trained, "challenger")["version"] == "1"


def test_the_image_holds_all_that_the_pipeline_needs(trained, settings):
    project = copy_for_image(trained.state / "image" / "trip_duration")
    mage_run(trained, project, {**settings, "seed": 1}, PYTHONPATH=str(project))
    version = version_of(trained, "challenger")
    assert version["version"] == "2"
    tags = {tag["key"]: tag["value"] for tag in run_of(trained, version)["data"]["tags"]}
    assert tags[LOCK_TAG] == f"postgresql://{LOOPBACK}:{trained.compose.port('postgres')}/mage"
    assert list((trained.folder / "mage").rglob("train_and_register"))


def test_mage_runs_as_production_by_default(stack):
    ask = "from mage_ai.shared.environments import get_env; print(get_env())"
    environment = {**stack.environment("mage"), **stack.compose.environment("mage")}
    done = subprocess.run(
        [sys.executable, "-c", ask], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "prod", done.stderr
    assert select(stack, "mage", "SELECT name FROM pipeline_schedule WHERE name LIKE '%daily_check'") == []


# All services


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_healthy_and_listens_only_on_loopback(stack, name):
    assert stack.is_healthy(name)
    pids = {process.pid for process in members(stack, name)}
    opened = [each for each in psutil.net_connections("inet") if each.pid in pids]
    listening = {(each.laddr.ip, each.laddr.port) for each in opened if each.status == psutil.CONN_LISTEN}
    assert (LOOPBACK, stack.compose.port(name)) in listening
    assert {address for address, _ in listening} == {LOOPBACK}


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_shows_in_the_list_of_processes_or_in_the_log(trained, name):
    shown = [" ".join(process.cmdline()) for process in members(trained, name)]
    shown += [trained.log(name).read_text()]
    assert not any(secret in text for secret in secrets_of(trained) for text in shown)


def test_supervisord_shows_no_secret_and_keeps_its_files_to_its_owner(trained):
    (supervisord,) = family(trained.folder, SUPERVISORD)
    files = [path for path in trained.supervisord.run.iterdir() if path.suffix in (".conf", ".json")]
    assert {path.name for path in files} == {"supervisord.conf", "mlflow.json", "mage.json", "serving.json"}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    shown = [*supervisord.cmdline(), *supervisord.environ().values(), trained.supervisord.log.read_text()]
    shown += [(trained.supervisord.run / "supervisord.conf").read_text()]
    assert not any(secret in text for secret in secrets_of(trained) for text in shown)
    # Nor is a secret in the environment of PostgreSQL's server, which needs none.
    server = leader(trained, "postgres").environ().values()
    assert not any(secret in text for secret in secrets_of(trained) for text in server)


def test_no_other_file_of_the_state_folder_holds_a_secret_and_nobody_else_reads_one(trained):
    files = [path for path in trained.state.rglob("*") if path.is_file() and path.name != ".env"]
    holds = [
        path for path in files if any(secret.encode() in path.read_bytes() for secret in secrets_of(trained))
    ]
    assert holds == []
    assert {path.stat().st_mode & 0o077 for path in (trained.folder / "logs").iterdir()} == {0}
    modes = {path.stat().st_mode & 0o777 for path in (trained.state, trained.folder)}
    assert modes == {0o710 if os.geteuid() == 0 else 0o700}  # root's PostgreSQL has a user of its own


@pytest.mark.parametrize(
    ("role", "some"),
    [("mage", {"pipeline_run", "pipeline_schedule"}), ("mlflow", {"registered_models", "runs", "users"})],
)
def test_tables_are_in_their_owners_database(stack, role, some):
    assert some <= set(select(stack, role, "SELECT tablename FROM pg_tables"))


# Killed services are restarted


@pytest.mark.parametrize("name", SERVICES)
def test_a_killed_service_is_back_within_15_seconds(stack, name):
    seconds = back_after_kill(stack, name)
    sys.stdout.write(f"{name} was healthy again {seconds:.1f} s after SIGKILL\n")
    if name == "postgres":
        connect(stack, "mage", "mage").close()
    elif name == "mlflow":
        assert ask_mlflow(stack, "experiments/search", max_results="1").status_code == 200
    elif name == "mage":
        assert "session" in log_in(
            stack, stack.values["DEFAULT_OWNER_EMAIL"], stack.values["DEFAULT_OWNER_PASSWORD"]
        )
    (line,) = [line for line in command_line(stack.folder, "status").stdout.splitlines() if name in line]
    assert re.search(r"restarted (1 time|([2-9]|[1-9]\d+) times) ", line)


def test_the_service_answers_with_the_champion_within_15_seconds_after_it_was_killed(trained):
    wait_for_the_service(trained)
    began, healthy = time.monotonic(), back_after_kill(trained, "serving")
    while (answer := predict(trained)).status_code == 503:
        busy = os.getloadavg()[0] / (os.cpu_count() or 1)
        assert time.monotonic() - began < 15 * max(1.0, busy), answer.text
        time.sleep(0.1)
    seconds = time.monotonic() - began
    sys.stdout.write(f"serving was healthy {healthy:.1f} s and answered {seconds:.1f} s after SIGKILL\n")
    assert answer.json()["model_version"] == version_of(trained, "champion")["version"]


def test_monitoring_rolls_a_champion_back_that_was_trained_on_corrupted_months(
    trained, trainer, settings, tmp_path
):
    """The whole story, and kills at each stage of it, are in test_monitoring_story.py."""
    for path in Path(settings["source"]).iterdir():
        is_learnt = path.stem < "green_tripdata_2023-03"
        with_durations(path, tmp_path / path.name, corrupted if is_learnt else lambda durations: durations)
    before, (machine, _) = version_of(trained, "champion")["version"], trainer
    given = {**settings, "source": str(tmp_path)}
    machine.python("-m", "mlops", "train", *(f"--{k.replace('_', '-')}={v}" for k, v in given.items()))
    bad = version_of(trained, "challenger")["version"]
    machine.python("-m", "mlops", "promote", bad, "--yes", "--reason=it looks good")
    april = {"month": "2023-04", "source": settings["source"]}
    reported = mage_run(trained, trained.served, april, "trip_duration_monitoring")

    assert version_of(trained, "champion")["version"] == before
    done = f"version {before} is champion again instead of version {bad}: RMSE"
    assert f"{MODEL} 2023-04: rollback: {done}" in reported
    journal = machine.python("-m", "mlops", "registry", f"--model={MODEL}")
    assert f"champion {bad} -> {before}  rollback (monitoring of 2023-04): RMSE" in journal
    until = time.monotonic() + 60
    while predict(trained).json().get("model_version") != before:
        assert time.monotonic() < until, "the service does not answer with the former champion"
        time.sleep(0.5)


TRIGGERS = "pipelines/maintenance/triggers.yaml"
BLOCK = "transformers/build_features.py"


def wait_for(stack, statement, expected):
    deadline = time.monotonic() + 60
    while (found := select(stack, "mage", statement)) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.5)


@pytest.fixture(scope="module")
def changed_in_mage(stack):
    """Changes in Mage's pages: a trigger switched off, a trigger made, a block and a variable changed."""
    api, file = MageApi.of(stack), stack.served / TRIGGERS
    file.write_text(file.read_text().replace("[prod]", "[prod, staging]"))  # so that this stack runs it
    wait_for(stack, "SELECT status FROM pipeline_schedule WHERE name = 'weekly_tidying'", ["ACTIVE"])
    (trigger,) = api.call("GET", "pipelines/maintenance/pipeline_schedules")["pipeline_schedules"]
    off = {"id": trigger["id"], "status": "inactive"}
    api.call("PUT", f"pipeline_schedules/{trigger['id']}", pipeline_schedule=off)
    api.call("POST", f"pipelines/{PIPELINE}/pipeline_schedules", pipeline_schedule={"name": "of a page"})
    content = (stack.served / BLOCK).read_text() + "# by hand\n"
    path = quote(BLOCK, safe="")
    api.call("PUT", f"file_contents/{path}", file_content={"path": BLOCK, "content": content})
    api.call("POST", f"pipelines/{PIPELINE}/variables", variable={"name": "max_trials", "value": 7})
    return content


@pytest.fixture(scope="module")
def restarted(stack, changed_in_mage):
    """The output of a start after supervisord was killed, and the processes before it."""
    former = [process for name in stack.compose.in_order() for process in members(stack, name)]
    kill_supervisord(stack)
    shown = command_line(stack.folder, "status")
    assert (shown.returncode, shown.stdout.count("unsupervised")) == (1, 4)
    assert "`make stack` starts supervisord and all services again" in shown.stdout
    again = command_line(stack.folder, "start")
    assert again.returncode == 0, again.stderr
    return again.stdout, former


def test_a_start_after_supervisord_was_killed_restarts_all_services(stack, restarted):
    said, former = restarted
    assert said.count("is healthy after") == 4
    assert left_of(former) == []
    assert command_line(stack.folder, "status").returncode == 0


def test_what_was_changed_in_mages_pages_survives_a_restart(stack, restarted, changed_in_mage):
    assert "Mage takes from the checkout" not in restarted[0]
    (trigger,) = yaml.safe_load((stack.served / TRIGGERS).read_text())["triggers"]
    assert (trigger["status"], trigger["envs"]) == ("inactive", ["prod", "staging"])
    assert (stack.served / BLOCK).read_text() == changed_in_mage
    settings = yaml.safe_load((stack.served / f"pipelines/{PIPELINE}/metadata.yaml").read_text())
    assert settings["variables"]["max_trials"] == 7
    # This start was without the environment of these tests, so Mage reads the production triggers now.
    wait_for(stack, "SELECT status FROM pipeline_schedule WHERE name = 'green_daily_check'", ["ACTIVE"])
    names = "name IN ('weekly_tidying', 'of a page')"
    assert select(stack, "mage", f"SELECT status FROM pipeline_schedule WHERE {names}") == ["INACTIVE"] * 2


# Stop; last in this file, because the stack is gone afterwards


def test_stop_leaves_no_process_even_when_supervisord_and_mage_were_killed(stack):
    mage = leader(stack, "mage")
    former = [process for name in stack.compose.in_order() for process in members(stack, name)]
    kill_supervisord(stack)
    kill(mage)
    assert family(stack.folder, "mage"), "Mage's scheduler and its children outlive it"
    done = command_line(stack.folder, "stop")
    assert (done.returncode, done.stdout) == (0, "stopped: mage, mlflow, serving, postgres\n"), done.stderr
    assert left_of(former) == []
    assert processes_of(stack.folder) == []
    assert not stack.supervisord.run.exists()
    for name in stack.compose.in_order():
        with socket.socket() as caller:
            assert caller.connect_ex((LOOPBACK, stack.compose.port(name))) != 0, name
    controlled = subprocess.run(
        [cluster.programs(stack.data) / "pg_controldata", stack.data], capture_output=True, text=True
    )
    assert re.search(r"cluster state: +shut down\n", controlled.stdout)
    assert command_line(stack.folder, "status").returncode == 1
    assert (
        command_line(stack.folder, "stop").stdout
        == f"no service of the stack in {stack.folder} was running\n"
    )
