"""Who may do what with the services of the stack: nothing without a log-in, and each role only its own."""

from __future__ import annotations

import time

import psycopg2
import pytest
import requests
from support.doors import PIPELINE
from support.stack_process import MODEL, Client, ask_mlflow, connect, log_in, select

ROLES = ("mage", "mlflow")
pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


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
