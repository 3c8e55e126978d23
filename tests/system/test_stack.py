"""The services of docker-compose.yml as ordinary processes, as `make stack` runs them: one stack for all tests."""

from __future__ import annotations

import json
import math
import re
import shlex
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import bcrypt
import psutil
import psycopg2
import pytest
import requests
from support.doors import PIPELINE, write_months
from support.stack_process import (
    LOOPBACK,
    MODEL,
    PROJECT,
    Client,
    Stack,
    ask_mlflow,
    back_after_kill,
    bare_environment,
    cluster,
    command_line,
    connect,
    copy_for_image,
    free_ports,
    kill,
    kill_supervisord,
    leader,
    left_of,
    log_in,
    members,
    place,
    processes_of,
    require_programs,
    run_of,
    running_stack,
    select,
    version_of,
)

from mlops.registry.run_lifecycle import LOCK_TAG
from stack.processes import SUPERVISORD, family

ROLES = ("mage", "mlflow")


def secrets_of(stack):
    """Every password and secret of a stack, except for a mail server, which it does not have."""
    named = {name: value for name, value in stack.values.items() if re.search("PASSWORD|SECRET", name)}
    assert named.pop("SMTP_PASSWORD") == "None"
    return list(named.values())


pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def stack():
    require_programs()
    with place() as folder, running_stack(folder / "stack") as running:
        yield running


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Settings of a small run on months in a folder."""
    source = write_months(tmp_path_factory.mktemp("months"))
    return {"month": "2023-03", "source": str(source), "max_trials": 2, "min_test_rows": 500}


@pytest.fixture(scope="module")
def trainer(stack, settings, tmp_path_factory):
    """The client that trained the model, and its output."""
    trainer = Client(tmp_path_factory.mktemp("clients") / "trainer", stack)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    return trainer, trainer.python("-m", "mlops", "train", *options)


@pytest.fixture(scope="module")
def trained(trainer, stack):
    """The stack with a champion."""
    return stack


# The command line


def test_a_second_start_starts_only_the_services_that_do_not_run(stack):
    stack.stop_service("mlflow")
    before = leader(stack, "mage")
    again = command_line(stack.folder, "start")
    assert again.returncode == 0, again.stderr
    said = dict(line.split(maxsplit=1) for line in again.stdout.splitlines()[:3])
    assert said["postgres"].endswith("is already running")
    assert "is healthy after" in said["mlflow"]
    assert said["mage"].endswith("is already running")
    assert leader(stack, "mage") == before
    shown = command_line(stack.folder, "status")
    assert (shown.returncode, re.findall(r"\bhealthy\b", shown.stdout)) == (0, ["healthy"] * 3)
    for name, line in zip(("postgres", "mlflow", "mage"), shown.stdout.splitlines(), strict=True):
        assert line.split()[:5] == [
            name,
            "healthy",
            f"{LOOPBACK}:{stack.compose.port(name)}",
            "pid",
            str(leader(stack, name).pid),
        ]
        assert line.endswith(str(stack.log(name)))


def test_a_running_service_does_not_move_to_another_port(stack):
    moved = command_line(stack.folder, "start", MAGE_PORT="6790")
    assert moved.returncode == 1
    assert "To change it, stop the stack first: make stack-stop" in moved.stderr
    assert stack.is_healthy("mage")


def test_the_first_start_says_where_to_log_in_and_keeps_secrets_to_its_owner(stack):
    said = command_line(stack.folder, "start").stdout
    assert f"log in as owner@localhost, password: DEFAULT_OWNER_PASSWORD in {stack.folder / '.env'}" in said
    secrets = secrets_of(stack)
    assert len(set(secrets)) == len(secrets) == 7
    assert min(map(len, secrets)) == 64
    for name in (".env", "environment"):
        assert (stack.folder / name).stat().st_mode & 0o777 == 0o600
    assert not any(secret in said for secret in secrets)


def test_a_shell_uses_the_environment_file(trained):
    line = f"set -a; . {shlex.quote(str(trained.folder / 'environment'))}; set +a; "
    bare = bare_environment(trained.state / "shell") | {"PYTHONPATH": str(PROJECT)}
    command = (
        line + f'{sys.executable} -m mlops registry --model {MODEL} && echo "$MLOPS_STATE_DIR $LOCK_URL"'
    )
    done = subprocess.run(["sh", "-c", command], env=bare, capture_output=True, text=True, timeout=60)
    assert "champion" in done.stdout, done.stderr
    assert f"{trained.state} postgresql://mage:" in done.stdout.splitlines()[-1]


# No answer without a login


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/signup",
        "/graphql",
        "/get-artifact?path=MLmodel&run_uuid=1",
        "/api/2.0/mlflow/experiments/search?max_results=1",
        "/ajax-api/2.0/mlflow/experiments/search?max_results=1",
        "/api/2.0/mlflow/registered-models/search",
        "/api/2.0/mlflow-artifacts/artifacts",
        "/api/2.0/mlflow-artifacts/artifacts/1/model/MLmodel",
        "/api/2.0/mlflow/users/list",
        "/openapi.json",
    ],
)
@pytest.mark.parametrize("user", [None, ("owner", "password1234"), ("admin", "password1234")])
def test_mlflow_answers_nobody_without_a_login(stack, path, user):
    assert requests.get(stack.compose.url("mlflow", path), auth=user, timeout=30).status_code == 401


@pytest.mark.parametrize("method", ["put", "delete"])
def test_mlflow_accepts_nothing_without_a_login(stack, method):
    url = stack.compose.url("mlflow", "/api/2.0/mlflow-artifacts/artifacts/1/planted")
    assert getattr(requests, method)(url, data=b"x", timeout=30).status_code == 401
    assert not list((stack.folder / "mlflow").rglob("planted"))


@pytest.mark.parametrize(
    ("variables", "got"),
    [
        ({"MLFLOW_TRACKING_USERNAME": "", "MLFLOW_TRACKING_PASSWORD": ""}, "got no user"),
        ({"MLFLOW_TRACKING_PASSWORD": "guessed"}, "got user 'owner'"),
    ],
)
def test_a_client_without_the_password_gets_an_error_within_seconds(stack, tmp_path, variables, got):
    began = time.monotonic()
    done = Client(tmp_path / "stranger", stack, variables).run("-m", "mlops", "registry", "--model", MODEL)
    assert done.returncode == 1
    assert f"{stack.compose.url('mlflow')}: the server requires a known user (401); {got}" in done.stderr
    assert "Traceback" not in done.stderr
    assert (
        time.monotonic() - began < 60
    )  # including imports; MLflow's own client takes minutes with a dead server


def test_mage_gives_its_status_and_nothing_else_without_a_login(stack):
    assert requests.get(stack.compose.url("mage", "/api/status"), timeout=30).status_code == 200
    key = select(stack, "mage", "SELECT client_id FROM oauth2_application")[0]  # public: its pages send it
    for path in ("pipelines", f"pipelines/{PIPELINE}", "pipeline_schedules", "users", "kernels"):
        url = stack.compose.url("mage", f"/api/{path}")
        assert requests.get(url, timeout=30).status_code == 401, path
        assert requests.get(url, headers={"X-API-KEY": key}, timeout=30).json()["error"]["code"] == 403, path


def test_mage_accepts_the_owner_and_not_its_default_password(stack):
    session = log_in(stack, stack.values["DEFAULT_OWNER_EMAIL"], stack.values["DEFAULT_OWNER_PASSWORD"])
    key = select(stack, "mage", "SELECT client_id FROM oauth2_application")[0]
    headers = {"X-API-KEY": key, "Cookie": f"oauth_token={session['session']['token']}"}
    listed = requests.get(stack.compose.url("mage", "/api/pipelines"), headers=headers, timeout=30).json()
    assert PIPELINE in [pipeline["uuid"] for pipeline in listed["pipelines"]]
    assert "session" not in log_in(stack, "admin@admin.com", "admin")


@pytest.mark.parametrize("role", ROLES)
def test_a_role_can_only_use_its_own_database_with_its_password(stack, role):
    connect(stack, role, role).close()
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        connect(stack, role, role, "guessed")
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        connect(stack, role, next(name for name in ROLES if name != role))


@pytest.mark.parametrize(
    ("host", "status"),
    [("mlflow:5000", 200), ("localhost:5000", 200), ("127.0.0.1:5000", 200)]
    + [(host, 403) for host in ("mlflow", "mlflow:5001", "elsewhere.example", "elsewhere.example:5000")],
)
def test_mlflow_answers_only_to_its_host_names(stack, host, status):
    assert ask_mlflow(stack, "experiments/search", host, max_results="1").status_code == status


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


def mage_run(stack, project, settings, **environment):
    """Output of a run inside the Mage service, as with `docker compose exec mage mage run ...`."""
    command = ["mage", "run", str(project), PIPELINE, "--runtime-vars", json.dumps(settings)]
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
    assert select(stack, "mage", "SELECT name FROM pipeline_schedule WHERE name LIKE '%monthly'") == []


# All services


@pytest.mark.parametrize("name", ["postgres", "mlflow", "mage"])
def test_a_service_is_healthy_and_listens_only_on_loopback(stack, name):
    assert stack.is_healthy(name)
    pids = {process.pid for process in members(stack, name)}
    opened = [each for each in psutil.net_connections("inet") if each.pid in pids]
    listening = {(each.laddr.ip, each.laddr.port) for each in opened if each.status == psutil.CONN_LISTEN}
    assert (LOOPBACK, stack.compose.port(name)) in listening
    assert {address for address, _ in listening} == {LOOPBACK}


@pytest.mark.parametrize("name", ["postgres", "mlflow", "mage"])
def test_no_secret_shows_in_the_list_of_processes_or_in_the_log(trained, name):
    shown = [" ".join(process.cmdline()) for process in members(trained, name)]
    shown += [trained.log(name).read_text()]
    assert not any(secret in text for secret in secrets_of(trained) for text in shown)


def test_supervisord_shows_no_secret_and_keeps_its_files_to_its_owner(trained):
    (supervisord,) = family(trained.folder, SUPERVISORD)
    files = [path for path in trained.supervisord.run.iterdir() if path.suffix in (".conf", ".json")]
    assert {path.name for path in files} == {"supervisord.conf", "mlflow.json", "mage.json"}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    shown = [*supervisord.cmdline(), *supervisord.environ().values(), trained.supervisord.log.read_text()]
    shown += [(trained.supervisord.run / "supervisord.conf").read_text()]
    assert not any(secret in text for secret in secrets_of(trained) for text in shown)
    # Nor is a secret in the environment of PostgreSQL's server, which needs none.
    server = leader(trained, "postgres").environ().values()
    assert not any(secret in text for secret in secrets_of(trained) for text in server)


@pytest.mark.parametrize(
    ("role", "some"),
    [("mage", {"pipeline_run", "pipeline_schedule"}), ("mlflow", {"registered_models", "runs", "users"})],
)
def test_tables_are_in_their_owners_database(stack, role, some):
    assert some <= set(select(stack, role, "SELECT tablename FROM pg_tables"))


# A backup, and a stack restored from it


@pytest.fixture(scope="module")
def archive(trained):
    """A backup of the running stack, with a trigger in Mage."""
    served, values = trained.served, "'carried', now(), now(), 'trip_duration_training', 'INACTIVE'"
    columns = "name, created_at, updated_at, pipeline_uuid, status, repo_path"
    select(trained, "mage", f"INSERT INTO pipeline_schedule ({columns}) VALUES ({values}, '{served}')")
    log_in(trained, trained.values["DEFAULT_OWNER_EMAIL"], trained.values["DEFAULT_OWNER_PASSWORD"])
    assert select(trained, "mage", "SELECT token FROM oauth2_access_token")
    file = trained.state / "backup.tar.gz"
    done = command_line(trained.folder, "backup", str(file))
    assert done.returncode == 0, done.stderr
    return file


@pytest.fixture(scope="module")
def restored(archive):
    """Another stack, restored from the archive, with the services of a registry."""
    with place() as other:
        folder, ports = other / "stack", free_ports()
        done = command_line(folder, "restore", str(archive), **ports)
        assert done.returncode == 0, done.stderr
        stack = Stack(folder, values_of(folder), inherited=bare_environment(other / "home"))
        try:
            stack.start_service("postgres")
            former = {name: "former" for name in stack.values if name.endswith("_DB_PASSWORD")}
            cluster.make_databases(stack.environment("postgres"), former, folder)
            connect(stack, "mage", "mage", "former").close()
            cluster.make_databases(stack.environment("postgres"), stack.values, folder)
            stack.start_service("mlflow")
            yield stack
        finally:
            stack.stop()
            assert processes_of(folder) == []
            assert "database system is shut down" in stack.log("postgres").read_text()


def values_of(folder):
    lines = (folder / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_an_archive_is_private_and_holds_no_secret(archive, trained):
    assert archive.stat().st_mode & 0o777 == 0o600
    assert list(archive.parent.glob(".*.part")) == []
    tokens = select(trained, "mage", "SELECT token FROM oauth2_access_token")
    secrets = secrets_of(trained)
    with tarfile.open(archive) as opened:
        files = [opened.extractfile(member).read() for member in opened if member.isfile()]
    assert not any(word.encode() in content for word in secrets + tokens for content in files)


def test_a_backup_overwrites_nothing(archive, trained):
    before = archive.read_bytes()
    again = command_line(trained.folder, "backup", str(archive))
    assert again.returncode == 1
    assert "this file exists" in again.stderr
    assert archive.read_bytes() == before


def test_the_restored_champion_gives_the_same_answers(restored, trained, tmp_path):
    first, second = Client(tmp_path / "first", trained), Client(tmp_path / "second", restored)
    minutes = first.predict()
    assert all(math.isfinite(each) and 1 <= each <= 60 for each in minutes)
    assert second.predict() == minutes
    ask = ("-m", "mlops", "registry", "--model", MODEL)
    assert second.python(*ask) == first.python(*ask)


def test_the_restored_stack_has_its_own_passwords(restored, trained):
    stranger = (trained.values["MLFLOW_TRACKING_USERNAME"], trained.values["MLFLOW_TRACKING_PASSWORD"])
    url = restored.compose.url("mlflow", "/api/2.0/mlflow/registered-models/search")
    assert requests.get(url, auth=stranger, timeout=30).status_code == 401
    (hashed,) = select(restored, "mage", 'SELECT password_hash FROM "user"')
    assert bcrypt.checkpw(restored.values["DEFAULT_OWNER_PASSWORD"].encode(), hashed.encode())
    assert select(restored, "mage", "SELECT token FROM oauth2_access_token") == []
    served = select(restored, "mage", "SELECT repo_path FROM pipeline_schedule WHERE name = 'carried'")
    assert served == [str(restored.served)]


def test_a_restore_overwrites_nothing(restored, archive):
    again = command_line(restored.folder, "restore", str(archive))
    assert again.returncode == 1
    assert "there is already a stack, and a restore overwrites no stack" in again.stderr
    assert restored.is_healthy("mlflow")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_damaged_archive_restores_nothing(archive, tmp_path, share):
    damaged = tmp_path / "damaged.tar.gz"
    damaged.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * share)])
    done = command_line(tmp_path / "stack", "restore", str(damaged))
    assert done.returncode == 1
    assert f"{damaged}: expected an archive made by `make backup`" in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name != damaged.name] == ["stack.lock"]


# Killed services are restarted


@pytest.mark.parametrize("name", ["postgres", "mlflow", "mage"])
def test_a_killed_service_is_back_within_15_seconds(stack, name):
    seconds = back_after_kill(stack, name)
    sys.stdout.write(f"{name} was healthy again {seconds:.1f} s after SIGKILL\n")
    if name == "postgres":
        connect(stack, "mage", "mage").close()
    elif name == "mlflow":
        assert ask_mlflow(stack, "experiments/search", max_results="1").status_code == 200
    else:
        assert "session" in log_in(
            stack, stack.values["DEFAULT_OWNER_EMAIL"], stack.values["DEFAULT_OWNER_PASSWORD"]
        )
    (line,) = [line for line in command_line(stack.folder, "status").stdout.splitlines() if name in line]
    assert re.search(r"restarted (1 time|([2-9]|[1-9]\d+) times) ", line)


def test_a_start_after_supervisord_was_killed_restarts_all_services(stack):
    former = [process for name in stack.compose.in_order() for process in members(stack, name)]
    kill_supervisord(stack)
    shown = command_line(stack.folder, "status")
    assert (shown.returncode, shown.stdout.count("unsupervised")) == (1, 3)
    assert "`make stack` starts supervisord and all services again" in shown.stdout
    again = command_line(stack.folder, "start")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("is healthy after") == 3
    assert left_of(former) == []
    assert command_line(stack.folder, "status").returncode == 0


# Stop; last in this file, because the stack is gone afterwards


def test_stop_leaves_no_process_even_when_supervisord_and_mage_were_killed(stack):
    mage = leader(stack, "mage")
    former = [process for name in stack.compose.in_order() for process in members(stack, name)]
    kill_supervisord(stack)
    kill(mage)
    assert family(stack.folder, "mage"), "Mage's scheduler and its children outlive it"
    done = command_line(stack.folder, "stop")
    assert (done.returncode, done.stdout) == (0, "stopped: mage, mlflow, postgres\n"), done.stderr
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
