"""What docker-compose.yml runs in containers, run here as plain processes, out of that very file.

Commands, environments and health checks are the file's. Swapped are only what containers have for
themselves: ports (for free ones), host names and bind addresses (for 127.0.0.1) and absolute folders
(for temporary ones). Secrets are made as `.env.example` says.
"""

import contextlib
import fnmatch
import json
import math
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
import requests
import yaml

from mlops.month import Month
from mlops.runs import LOCK_TAG
from mlops.sample import write_month

ROOT = Path(__file__).resolve().parents[2]
MAGE_BIN = Path(sys.executable).parent
MLFLOW_BIN = ROOT / ".venv-mlflow" / "bin"
LOOPBACK = "127.0.0.1"
SECONDS_TO_START, SECONDS_TO_STOP, SECONDS_TO_TRAIN = 120, 15, 150
MODEL = "trip-duration-sample"
ROLES = ("mage", "mlflow")


# What the file says, with this machine's places in it


@dataclass(frozen=True)
class Compose:
    """The compose file with its variables filled in and its places swapped."""

    services: Mapping[str, Any]
    values: Mapping[str, str]
    folder: Path

    def ports(self, service: str) -> tuple[str, str]:
        """Port inside the container, and the published one, on which its process listens here."""
        address, published, inside = self.services[service]["ports"][0].split(":")
        assert address == LOOPBACK
        return inside, published

    def port(self, service: str) -> int:
        return int(self.ports(service)[1])

    def url(self, service: str, path: str = "") -> str:
        return f"http://{LOOPBACK}:{self.port(service)}{path}"

    def here(self, text: str) -> str:
        """Text with ports, host names, bind address and folders of containers swapped."""
        for service in self.services:
            inside, published = self.ports(service)
            if text == inside:
                return published
            text = re.sub(rf"(?<=[/@]){service}:{inside}\b", f"{LOOPBACK}:{published}", text)
            text = text.replace(f"{LOOPBACK}:{inside}/", f"{LOOPBACK}:{published}/")
        return re.sub(r"^/(?:var/lib|srv)(?=/)", str(self.folder), LOOPBACK if text == "0.0.0.0" else text)

    def command(self, service: str) -> list[str]:
        return [self.here(part) for part in self.services[service]["command"]]

    def healthcheck(self, service: str) -> list[str]:
        kind, *command = self.services[service]["healthcheck"]["test"]
        assert kind == "CMD"
        return [self.here(part) for part in command]

    def environment(self, service: str, programs: Path) -> dict[str, str]:
        """What the image and the file set, and the least that a process needs; nothing of the test's own."""
        set_here = {name: self.here(value) for name, value in self.services[service]["environment"].items()}
        return {**bare_environment(self.folder / "homes" / service, programs), **image(service), **set_here}


def env_file() -> dict[str, str]:
    """A filled-in .env: a secret for every name that has no default, a free port for every port."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    names = [line.partition("=")[0] for line in lines if line.strip() and not line.startswith("#")]
    ports = [name for name in names if name.endswith("_PORT")]
    return {
        **{name: secrets.token_hex(32) for name in names},
        **dict(zip(ports, free_ports(len(ports)), strict=True)),
        "DEFAULT_OWNER_EMAIL": "owner@example.org",
        "DEFAULT_OWNER_USERNAME": "owner",
    }


def free_ports(count: int) -> list[str]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [str(each.getsockname()[1]) for each in sockets]


def image(service: str) -> dict[str, str]:
    """The Dockerfile's ENV, without what concerns pip."""
    text = (ROOT / "docker" / f"{service}.Dockerfile").read_text()
    instruction = re.search(r"(?m)^ENV ((?:.*\\\n)*.*)$", text)
    assert instruction
    pairs = dict(re.findall(r"(\w+)=(\S+)", instruction[1]))
    return {name: value for name, value in pairs.items() if not name.startswith("PIP_")}


def bare_environment(home: Path, programs: Path) -> dict[str, str]:
    """An environment with no secret and no setting, where there is no git and no curl, as in a slim image."""
    if not home.exists():
        (home / "bin").mkdir(parents=True)
        for name in ("sh", "env", "uname"):
            found = shutil.which(name)
            assert found, name
            (home / "bin" / name).symlink_to(found)
    return {"PATH": f"{programs}:{home / 'bin'}", "HOME": str(home), "LANG": "C.UTF-8"}


def copy_project(target: Path) -> None:
    """What the image holds: the checkout without what .dockerignore names."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]

    def ignored(folder: str, names: list[str]) -> list[str]:
        here = [p.removeprefix("**/") for p in patterns if p.startswith("**/") or Path(folder) == ROOT]
        return [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in here)]

    shutil.copytree(ROOT, target, ignore=ignored)


# Processes, and their end


@dataclass(frozen=True)
class Server:
    """A service's process, in a session of its own, and all that it started."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    healthcheck: Sequence[str]
    environment: Mapping[str, str]

    def family(self) -> list[psutil.Process]:
        """What lives of the process, its descendants (PostgreSQL's leave the session) and its session."""
        found: set[psutil.Process] = set()
        with contextlib.suppress(psutil.NoSuchProcess):
            leader = psutil.Process(self.process.pid)
            found.update([leader, *leader.children(recursive=True)])
        for process in psutil.process_iter():
            with contextlib.suppress(OSError):
                if os.getsid(process.pid) == self.process.pid:
                    found.add(process)
        return [process for process in found if alive(process)]

    def check_health(self) -> subprocess.CompletedProcess[str]:
        """One run of the file's health check, as the container would run it."""
        program, *arguments = self.healthcheck
        return subprocess.run(
            [on_path(program, self.environment), *arguments],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=30,
        )

    def wait_until_healthy(self) -> None:
        deadline = time.monotonic() + SECONDS_TO_START
        while (check := self.check_health()).returncode != 0:
            ended = self.process.poll()
            if ended is not None or time.monotonic() > deadline:
                state = f"ended with {ended}" if ended is not None else f"not well after {SECONDS_TO_START} s"
                pytest.fail(f"{self.name}: {state}\n{check.stderr}\n{self.log.read_text()[-6000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End the whole session, politely at first; nothing of it outlives this call."""
        family = self.family()
        # On SIGTERM PostgreSQL waits for its clients to leave; its image sends SIGINT as well.
        polite = signal.SIGINT if self.name == "postgres" else signal.SIGTERM
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, polite)
        psutil.wait_procs(family, timeout=SECONDS_TO_STOP)
        for process in {*family, *self.family()}:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(SECONDS_TO_STOP)


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def on_path(program: str, environment: Mapping[str, str]) -> str:
    found = shutil.which(program, path=environment["PATH"])
    assert found, f"{program} is not on {environment['PATH']}"
    return found


def as_user(name: str | None) -> dict[str, Any]:
    """Arguments of subprocess for another user's process; none for one's own."""
    return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []} if name else {}


@contextlib.contextmanager
def running(
    compose: Compose,
    service: str,
    command: Sequence[str],
    environment: dict[str, str],
    folder: Path,
    user: str | None = None,
) -> Iterator[Server]:
    """The service's process while the block runs; afterwards nothing of it is left, whatever happened."""
    log = compose.folder / f"{service}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [on_path(command[0], environment), *command[1:]],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **as_user(user),
        )
    server = Server(service, process, log, compose.healthcheck(service), environment)
    try:
        yield server
    finally:
        server.stop()
    assert server.family() == []
    with socket.socket() as caller:
        assert caller.connect_ex((LOOPBACK, compose.port(service))) != 0, f"{service}: someone still listens"


# The three services


@pytest.fixture(scope="module")
def compose(tmp_path_factory):
    text, values = (ROOT / "docker-compose.yml").read_text(), env_file()
    filled = re.sub(r"\$\{(\w+)[^}]*\}", lambda use: values[use[1]], text)
    return Compose(yaml.safe_load(filled)["services"], values, tmp_path_factory.mktemp("compose"))


@pytest.fixture(scope="module")
def postgres_bin():
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    initdb = debian[-1] if debian else shutil.which("initdb")
    if initdb is None:
        pytest.skip("no PostgreSQL server here; Debian's package is `postgresql`")
    return Path(initdb).resolve().parent


@pytest.fixture(scope="module")
def cluster(compose, postgres_bin):
    """An empty PostgreSQL like the image's: it trusts its socket, and asks for passwords over TCP."""
    user = None
    if os.geteuid() == 0:
        user = next(
            (entry.pw_name for entry in pwd.getpwall() if entry.pw_name in ("postgres", "nobody")), None
        )
        if user is None:
            pytest.skip("initdb refuses root, and there is neither a user `postgres` nor `nobody`")
    # Not among pytest's folders, which are closed to other users and too deep for a socket's path.
    with tempfile.TemporaryDirectory(prefix="postgres-") as place:
        secret, data = Path(place, "password"), Path(place, "data")
        secret.write_text(compose.values["POSTGRES_PASSWORD"])
        for path in (Path(place), secret):
            path.chmod(0o700)
            if user:
                shutil.chown(path, user)
        environment = bare_environment(compose.folder / "homes" / "postgres", postgres_bin)
        environment |= {"PGHOST": place, "PGPORT": str(compose.port("postgres"))}
        initdb = f"initdb --pgdata {data} --username postgres --pwfile {secret} --auth-local trust"
        made = subprocess.run(
            [postgres_bin / "initdb", *initdb.split()[1:], "--auth-host", "scram-sha-256", "--no-sync"],
            env=environment,
            cwd=place,
            capture_output=True,
            text=True,
            timeout=60,
            **as_user(user),
        )
        assert made.returncode == 0, made.stderr
        command = ["postgres", "-D", str(data), "-k", place, "-p", environment["PGPORT"]]
        command += ["-c", f"listen_addresses={LOOPBACK}", "-c", "fsync=off"]
        with running(compose, "postgres", command, environment, Path(place), user) as server:
            server.wait_until_healthy()
            yield server


@pytest.fixture(scope="module")
def postgres(cluster, compose):
    """PostgreSQL with both databases: the script is run twice, the second time with other passwords."""
    names = [f"{role.upper()}_DB_PASSWORD" for role in ROLES]
    for passwords in (dict.fromkeys(names, "former"), {name: compose.values[name] for name in names}):
        made = subprocess.run(
            [ROOT / "docker" / "postgres-databases.sh"],
            env={**cluster.environment, **passwords},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert (made.returncode, made.stderr) == (0, "")
    return cluster


@pytest.fixture(scope="module")
def mlflow(compose, postgres):
    if not (MLFLOW_BIN / "mlflow").exists():
        pytest.skip(f"{MLFLOW_BIN / 'mlflow'} is not there: `make install` builds it")
    environment = compose.environment("mlflow", MLFLOW_BIN)
    folder = compose.folder / "mlflow"
    folder.mkdir()
    with running(compose, "mlflow", compose.command("mlflow"), environment, folder) as server:
        server.wait_until_healthy()
        yield server


@pytest.fixture(scope="module")
def project(compose):
    folder = Path(compose.command("mage")[2])
    copy_project(folder)
    for name in ("mage", "mlops"):
        (compose.folder / name).mkdir()
    return folder


@pytest.fixture(scope="module")
def mage(compose, mlflow, project):
    if not (MAGE_BIN / "mage").exists():
        pytest.skip(f"{MAGE_BIN / 'mage'} is not there: `make install` builds it")
    # The image installs its copy of the project; here the copy goes before the checkout.
    environment = compose.environment("mage", MAGE_BIN) | {"PYTHONPATH": str(project)}
    with running(compose, "mage", compose.command("mage"), environment, project) as server:
        server.wait_until_healthy()
        yield server


@dataclass(frozen=True)
class Client:
    """A machine that knows the tracking server's address and nothing else of it."""

    folder: Path
    environment: Mapping[str, str]

    def python(self, *arguments: str) -> str:
        """What this Python prints, run in an empty folder."""
        self.folder.joinpath("work").mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, *arguments],
            env=dict(self.environment),
            cwd=self.folder / "work",
            capture_output=True,
            text=True,
            timeout=SECONDS_TO_TRAIN,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def client(folder: Path, compose: Compose) -> Client:
    places = {"MLFLOW_TRACKING_URI": compose.url("mlflow"), "MLOPS_STATE_DIR": str(folder / "state")}
    environment = bare_environment(folder, MAGE_BIN) | places | {"MLOPS_THREADS": "1"}
    return Client(folder, environment)


@pytest.fixture(scope="module")
def settings(compose):
    """Of a small run on months in a folder."""
    source = compose.folder / "months"
    for month in Month.range(Month.parse("2023-01"), Month.parse("2023-04")):
        write_month(source / f"green_tripdata_{month}.parquet", "green", month, rows=1500)
    small = {"max_trials": 2, "min_test_rows": 500}
    return {"service": "green", "month": "2023-04", "source": str(source), **small}


@pytest.fixture(scope="module")
def trainer(compose, mlflow, settings):
    """The client that trained the model, and what it printed."""
    trainer = client(compose.folder / "trainer", compose)
    options = [
        part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", str(value))
    ]
    return trainer, trainer.python("-m", "mlops", "train", *options)


# PostgreSQL


def connect(compose: Compose, role: str, database: str, password: str) -> Any:
    return psycopg2.connect(
        host=LOOPBACK, port=compose.port("postgres"), user=role, dbname=database, password=password
    )


def select(compose: Compose, role: str, query: str) -> set[str]:
    """A query's first column, asked by the role in its own database."""
    password = compose.values[f"{role.upper()}_DB_PASSWORD"]
    with contextlib.closing(connect(compose, role, role, password)) as database:
        cursor = database.cursor()
        cursor.execute(query)
        return {value for value, *_ in cursor}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_enters_its_own_database_with_its_present_password_only(compose, postgres, role):
    password = compose.values[f"{role.upper()}_DB_PASSWORD"]
    other = next(name for name in ROLES if name != role)
    connect(compose, role, role, password).close()
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        connect(compose, role, role, "former")
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        connect(compose, role, other, password)


# MLflow, and a client of it


@pytest.mark.parametrize("host", ["mlflow:5000", "localhost:5000", "127.0.0.1:5000"])
def test_mlflow_answers_to_its_names(compose, mlflow, host):
    assert search_experiments(compose, host) == 200


@pytest.mark.parametrize("host", ["mlflow", "mlflow:5001", "elsewhere.example", "elsewhere.example:5000"])
def test_mlflow_refuses_other_hosts(compose, mlflow, host):
    assert search_experiments(compose, host) == 403


def search_experiments(compose: Compose, host: str) -> int:
    url = compose.url("mlflow", "/api/2.0/mlflow/experiments/search?max_results=1")
    return requests.get(url, headers={"Host": host}, timeout=10).status_code


def ask_mlflow(compose: Compose, path: str, **query: str) -> Any:
    answer = requests.get(compose.url("mlflow", f"/api/2.0/mlflow/{path}"), params=query, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_client_without_a_key_trains_a_champion_through_the_server(compose, trainer):
    _, printed = trainer
    query = {"name": MODEL, "alias": "champion"}
    version = ask_mlflow(compose, "registered-models/alias", **query)["model_version"]
    run = ask_mlflow(compose, "runs/get", run_id=version["run_id"])["run"]
    assert version["version"] == "1"
    assert f"models:/{MODEL}/1" in printed
    assert run["info"]["status"] == "FINISHED"
    assert run["info"]["artifact_uri"].startswith("mlflow-artifacts:/")


def test_artefacts_are_with_the_server_and_not_with_the_client(compose, mlflow, trainer):
    machine, _ = trainer
    served = {path.name for path in (compose.folder / "mlflow" / "artifacts").rglob("*") if path.is_file()}
    kept = {path.name for path in machine.folder.rglob("*") if path.is_file()}
    assert {"MLmodel", "model_card.md", "slices.csv", "months.csv"} <= served
    assert any(name.endswith(".parquet") for name in kept)
    assert kept & (served | {"mlflow.db"}) == set()
    assert not list(machine.folder.rglob("mlruns"))


def test_the_champion_loads_through_the_server_on_another_client(compose, trainer):
    predict = f"""
import json, mlflow, pandas
rides = pandas.DataFrame({{
    "pickup_at": pandas.to_datetime(["2023-04-03 08:30", "2023-04-09 23:10"]),
    "pickup_zone": [74, 75], "dropoff_zone": [75, 264], "distance_miles": [1.2, 9.0], "passenger_count": [1, None],
}})
model = mlflow.pyfunc.load_model("models:/{MODEL}@champion")
print(json.dumps(model.predict(rides)["duration_minutes"].tolist()))
"""
    printed = client(compose.folder / "scorer", compose).python("-c", predict)
    short, long = json.loads(printed.splitlines()[-1])
    assert math.isfinite(short)
    assert 1 <= short < long <= 60


# Mage


PRIVATE = ("pipelines", "pipelines/trip_duration_training", "pipeline_schedules", "users", "kernels")


@pytest.fixture(scope="module")
def frontend_key(compose, mage):
    """The key that Mage's own pages send: public, so it must open nothing."""
    return select(compose, "mage", "SELECT client_id FROM oauth2_application").pop()


def log_in(compose: Compose, key: str, email: str, password: str) -> Any:
    body = {"session": {"email": email, "password": password}}
    url = compose.url("mage", "/api/sessions")
    return requests.post(url, json=body, headers={"X-API-KEY": key}, timeout=30).json()


def test_mage_tells_anybody_its_status(compose, mage):
    assert requests.get(compose.url("mage", "/api/status"), timeout=30).status_code == 200


@pytest.mark.parametrize("path", PRIVATE)
def test_mage_tells_the_rest_to_nobody_unknown(compose, frontend_key, path):
    url = compose.url("mage", f"/api/{path}")
    assert requests.get(url, timeout=30).status_code == 401
    with_key = requests.get(url, headers={"X-API-KEY": frontend_key}, timeout=30)
    assert with_key.json()["error"]["code"] == 403


def test_mage_knows_the_owner_and_not_its_famous_default(compose, frontend_key):
    owner = compose.values
    session = log_in(compose, frontend_key, owner["DEFAULT_OWNER_EMAIL"], owner["DEFAULT_OWNER_PASSWORD"])
    headers = {"X-API-KEY": frontend_key, "Cookie": f"oauth_token={session['session']['token']}"}
    listed = requests.get(compose.url("mage", "/api/pipelines"), headers=headers, timeout=30).json()
    assert [pipeline["uuid"] for pipeline in listed["pipelines"]] == ["trip_duration_training"]
    assert "session" not in log_in(compose, frontend_key, "admin@admin.com", "admin")


def mage_run(mage: Server, project: Path, settings: Mapping[str, Any]) -> str:
    """What it says, as `docker compose exec mage mage run ...` would."""
    command = ["run", str(project), "trip_duration_training", "--runtime-vars", json.dumps(settings)]
    done = subprocess.run(
        [on_path("mage", mage.environment), *command],
        env={**mage.environment, "MLOPS_THREADS": "1"},
        cwd=project,
        capture_output=True,
        text=True,
        timeout=SECONDS_TO_TRAIN,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return done.stdout + done.stderr


def challenger(compose: Compose) -> Any:
    query = {"name": MODEL, "alias": "challenger"}
    return ask_mlflow(compose, "registered-models/alias", **query)["model_version"]


def test_mage_finds_the_same_run_that_another_machine_registered(compose, mage, project, trainer, settings):
    told = f"models:/{MODEL}/1 is this very run, registered earlier"
    assert told in mage_run(mage, project, settings)
    assert challenger(compose)["version"] == "1"


def test_the_pipeline_trains_through_the_server_in_mages_environment(
    compose, mage, project, trainer, settings
):
    mage_run(mage, project, {**settings, "seed": 1})
    version = challenger(compose)
    assert version["version"] == "2"
    tags = ask_mlflow(compose, "runs/get", run_id=version["run_id"])["run"]["data"]["tags"]
    locked = {tag["value"] for tag in tags if tag["key"] == LOCK_TAG}
    assert locked == {f"postgresql://{LOOPBACK}:{compose.port('postgres')}/mage"}
    assert list((compose.folder / "mlops").rglob("*.parquet"))
    assert list((compose.folder / "mage").rglob("train_and_register"))


# All of them


@pytest.fixture(params=["postgres", "mlflow", "mage"])
def server(request):
    return request.getfixturevalue(request.param)


def test_the_healthcheck_passes_as_written(server):
    check = server.check_health()
    assert check.returncode == 0, check.stderr


def test_it_listens_on_loopback_alone(compose, server):
    members = {process.pid for process in server.family()}
    opened = [each for each in psutil.net_connections("inet") if each.pid in members]
    listening = {(each.laddr.ip, each.laddr.port) for each in opened if each.status == psutil.CONN_LISTEN}
    assert (LOOPBACK, compose.port(server.name)) in listening
    assert {address for address, _ in listening} == {LOOPBACK}


def test_no_secret_shows_in_the_list_of_processes_or_in_the_log(compose, server):
    kept = {value for name, value in compose.values.items() if re.search("PASSWORD|SECRET", name)}
    shown = [" ".join(process.cmdline()) for process in server.family()] + [server.log.read_text()]
    assert not any(secret in text for secret in kept for text in shown)


@pytest.mark.parametrize(
    ("server", "some"),
    [("mage", {"pipeline_run", "pipeline_schedule"}), ("mlflow", {"registered_models", "runs"})],
    indirect=["server"],
)
def test_its_tables_are_in_its_own_database(compose, server, some):
    assert some <= select(compose, server.name, "SELECT tablename FROM pg_tables")
