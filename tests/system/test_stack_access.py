"""Who may do what with the services of the stack: nothing without a log-in, and each role only its own."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time

import jwt
import psycopg2
import pytest
import requests
import websocket
from support.doors import PIPELINE
from support.mage_api import MageApi
from support.stack_process import MODEL, Client, ask_mlflow, connect, leader, log_in, select
from support.strangers import knock, listening_ports, order, status

ROLES = ("mage", "mlflow")
# Prints each route of Mage: pattern, handler, methods. It runs apart, because importing Mage opens its database.
ROUTES = """
import json
from mage_ai.server import server
for rule in server.make_app().wildcard_router.rules:
    kind = rule.target
    own = [name for name in kind.SUPPORTED_METHODS if "_unimplemented" not in getattr(kind, name.lower()).__name__]
    print("route", json.dumps([rule.matcher.regex.pattern.rstrip("$"), kind.__name__, own]))
"""
PAGES = {"MainPageHandler", "PipelineRunsPageHandler", "ManagePageHandler", "StaticFileHandler"}
GROUP = re.compile(r"\((?:\?P<\w+>)?((?:[^()]|\([^()]*\))+)\)")
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


@pytest.fixture(scope="module")
def routes(tmp_path_factory):
    """Mage's routes as (address that matches, handler, methods)."""
    home = tmp_path_factory.mktemp("routes")
    own = {
        "MAGE_DATA_DIR": str(home),
        "MAGE_DATABASE_CONNECTION_URL": f"sqlite:///{home}/mage.db",
        "HOME": str(home),
    }
    done = subprocess.run(
        [sys.executable, "-c", ROUTES], env=own, cwd=home, capture_output=True, text=True, timeout=120
    )
    listed = [
        json.loads(line.removeprefix("route "))
        for line in done.stdout.splitlines()
        if line.startswith("route ")
    ]
    assert len(listed) > 40, done.stderr
    found = []
    for pattern, handler, methods in listed:
        filled = GROUP.sub(lambda group: group[1] if re.fullmatch(r"[\w.]+", group[1]) else "1", pattern)
        path = "/api/status" if handler == "ApiListHandler" else filled.rstrip("?")
        assert re.fullmatch(pattern, path), (pattern, path)
        found.append((path, handler, methods))
    return found


@pytest.fixture(scope="module")
def owner(stack):
    return MageApi.of(stack)


@pytest.fixture(scope="module")
def viewer(stack, owner):
    """The cookie of a user who may only look."""
    role = select(stack, "mage", "SELECT id FROM role WHERE name = 'Viewer'")[0]
    known = {"email": "viewer@example.org", "password": "password1234"}
    user = {**known, "username": "viewer", "roles_new": [role], "password_confirmation": known["password"]}
    # Mage makes the user, and answers with an error of its own, about its SQLAlchemy.
    owner.session.post(stack.compose.url("mage", "/api/users"), json={"user": user}, timeout=60)
    return f"oauth_token={log_in(stack, **known)['session']['token']}"


def socket_of(stack, cookie=None, path="/websocket/"):
    url = stack.compose.url("mage", path).replace("http", "ws")
    return websocket.create_connection(url, cookie=cookie, timeout=30)


def token_in(cookie):
    """The token in Mage's cookie, as its pages read it."""
    return jwt.decode(cookie.partition("=")[2], options={"verify_signature": False})["token"]


def test_mage_gives_its_state_and_pages_and_nothing_else_without_a_login(stack, routes):
    """Every route of Mage's server; the key is public, since its pages send it."""
    key = select(stack, "mage", "SELECT client_id FROM oauth2_application")[0]
    answers = {}
    for path, handler, methods in routes:
        url = stack.compose.url("mage", path)
        for method in methods:
            named = (path, handler, method)
            if path.startswith("/websocket/"):
                answers[named] = knock(url)
            else:
                answers[named] = status(method, url, **{"X-API-KEY": key, "Cookie": "oauth_token=guessed"})
    answering = {named for named, got in answers.items() if got not in (401, 403)}
    expected = {named for named in answers if named[1] in PAGES and named[2] in ("GET", "HEAD")}
    assert answering == {*expected, ("/api/status", "ApiListHandler", "GET")}
    assert len(answers) > 2 * len(answering)
    for method, path in (
        ("GET", "/unknown"),
        ("POST", "/api/oauths"),
        ("POST", "/api/users"),
        ("GET", "/api/sessions/1"),
    ):
        assert status(method, stack.compose.url("mage", path)) == 401
    assert (
        status("GET", stack.compose.url("mage", "/api/oauths"), **{"X-API-KEY": key}) == 200
    )  # of the sign-in page


def test_a_stranger_starts_no_run(stack):
    matcher = {"event_matchers": [{"name": "a", "event_type": "aws_event", "pattern": {"source": "a"}}]}
    for path, body in (
        ("event_matchers", matcher),
        ("events", {"source": "a"}),
        ("runs", {}),
        ("runs/guessed", {}),
    ):
        assert (
            requests.post(stack.compose.url("mage", f"/api/{path}"), json=body, timeout=30).status_code == 401
        )
    assert select(stack, "mage", "SELECT count(*) FROM event_matcher") == [0]


def test_an_api_trigger_is_started_with_its_own_token_and_no_other(stack, owner):
    """Mage's pages show that address, for programs without a login."""
    made = owner.call(
        "POST",
        f"pipelines/{PIPELINE}/pipeline_schedules",
        pipeline_schedule={"name": "a", "schedule_type": "api"},
    )
    trigger = made["pipeline_schedule"]
    path = f"/api/pipeline_schedules/{trigger['id']}"
    start = stack.compose.url("mage", f"{path}/pipeline_runs/")
    body = {"pipeline_run": {"variables": {"max_trials": 0}}}  # the run is refused at once
    for url in (f"{start}guessed", start, stack.compose.url("mage", f"{path}/api_trigger")):
        assert requests.post(url, json=body, timeout=30).status_code == 401
    assert requests.post(start + trigger["token"], json=body, timeout=30).json()["pipeline_run"]["id"]
    assert (
        requests.post(stack.compose.url("mage", f"/api/runs/{trigger['token']}"), timeout=30).status_code
        == 401
    )
    owner.call("DELETE", f"pipeline_schedules/{trigger['id']}")


def test_a_socket_delivers_nothing_without_a_login(stack, owner):
    for path in ("/websocket/", "/websocket/terminal"):
        with pytest.raises(websocket.WebSocketBadStatusException, match="401"):
            socket_of(stack, path=path)
    session = log_in(stack, stack.values["DEFAULT_OWNER_EMAIL"], stack.values["DEFAULT_OWNER_PASSWORD"])
    cookie = f"oauth_token={session['session']['token']}"
    with contextlib.closing(socket_of(stack, cookie)) as socket:
        key = owner.session.headers["X-API-KEY"]
        token = token_in(cookie)
        socket.send(json.dumps({"api_key": key, "token": token, "uuid": "a", "code": "print(6 * 7)"}))
        while "42" not in socket.recv():
            pass
        headers = {"X-API-KEY": key, "Cookie": cookie}
        ended = stack.compose.url("mage", f"/api/sessions/{token}")
        assert requests.put(ended, json={"session": {}}, headers=headers, timeout=30).status_code == 200
        with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionError)):
            while True:
                socket.recv()  # until it closes the socket of who has logged out
    assert knock(stack.compose.url("mage", "/websocket/"), Cookie=cookie) == 401


def test_who_may_only_look_gets_no_more_than_mage_allows(stack, viewer, owner):
    key = {"X-API-KEY": owner.session.headers["X-API-KEY"], "Cookie": viewer}
    listed = requests.get(stack.compose.url("mage", "/api/pipelines"), headers=key, timeout=30).json()
    assert PIPELINE in [pipeline["uuid"] for pipeline in listed["pipelines"]]
    for path in ("events", "event_matchers"):
        assert status("POST", stack.compose.url("mage", f"/api/{path}"), Cookie=viewer) == 403
    for name, answer in (
        ("train_a_model.yaml", 200),
        ("..%2F..%2Fmetadata.yaml", 403),
        ("%252Fetc%252Fpasswd", 403),
    ):
        url = stack.compose.url("mage", f"/api/interactions/{name}")
        assert requests.get(url, headers=key, timeout=30).status_code == answer, name
    assert knock(stack.compose.url("mage", "/websocket/terminal"), Cookie=viewer) == 403
    assert (
        knock(stack.compose.url("mage", "/websocket/terminal"), Cookie=owner.session.headers["Cookie"]) == 101
    )
    assert knock(stack.compose.url("mage", "/websocket/"), Cookie=viewer) == 101  # its pages open it


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 200),
        ({"Host": "localhost:1"}, 200),
        ({"Origin": "http://HERE"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ]
    + [
        ({"Host": host}, 403)
        for host in ("mage:6789", "elsewhere.example", "127.0.0.1.elsewhere.example:6789", "")
    ]
    + [({"Origin": origin}, 403) for origin in ("null", "http://127.0.0.1:1", "http://elsewhere.example")]
    + [({"Sec-Fetch-Site": site}, 403) for site in ("same-site", "cross-site")],
)
def test_mage_answers_only_to_its_host_names_and_its_own_pages(stack, owner, headers, code):
    here = stack.compose.url("mage").removeprefix("http://")
    headers = {name: value.replace("HERE", here) for name, value in headers.items()}
    known = dict(owner.session.headers) | headers
    assert status("GET", stack.compose.url("mage", "/api/pipelines"), **known) == code
    assert (knock(stack.compose.url("mage", "/websocket/"), **known) == 403) == (code == 403)
    answer = requests.get(stack.compose.url("mage", "/api/status"), headers=headers, timeout=30)
    assert answer.status_code == code
    assert not [name for name in answer.headers if name.startswith("Access-Control-")]


def test_the_kernel_takes_no_order_from_a_stranger(stack, tmp_path):
    tmp_path.chmod(0o777)
    for port in listening_ports(leader(stack, "mage")):
        order(port, f"open({str(tmp_path / 'planted')!r}, 'w')")
    assert not list(tmp_path.iterdir())


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


@pytest.fixture(scope="module")
def guarded(stack):
    """Asks MLflow as the first user, and as one who may only read what the first has made there."""
    owner = (stack.values["MLFLOW_TRACKING_USERNAME"], stack.values["MLFLOW_TRACKING_PASSWORD"])

    def ask(user, method, path, **body):
        kind = "params" if method == "GET" else "json"
        url = stack.compose.url("mlflow", f"/api/2.0/{path}")
        return requests.request(method, url, auth=user, timeout=30, **{kind: body})

    reader = ("reader", "only-to-look-at-it")
    for path, body in (
        ("users/create", {"username": reader[0], "password": reader[1]}),
        ("registered-models/create", {"name": "guarded"}),
        ("experiments/create", {"name": "guarded"}),
    ):
        assert ask(owner, "POST", f"mlflow/{path}", **body).status_code == 200
    found = ask(owner, "GET", "mlflow/experiments/get-by-name", experiment_name="guarded")
    experiment = found.json()["experiment"]["experiment_id"]
    run = ask(owner, "POST", "mlflow/runs/create", experiment_id=experiment).json()["run"]["info"]["run_id"]
    source = f"mlflow-artifacts:/{experiment}/{run}/artifacts"
    made = ask(owner, "POST", "mlflow/model-versions/create", name="guarded", source=source, run_id=run)
    assert made.status_code == 200, made.text
    return owner, reader, ask, run, experiment


def test_a_user_of_mlflow_who_may_read_changes_nothing(guarded):
    owner, reader, ask, run, experiment = guarded
    version = {"name": "guarded", "version": "1"}
    writes = [
        ("POST", "registered-models/rename", {"name": "guarded", "new_name": "mine"}),
        ("PATCH", "registered-models/update", {"name": "guarded", "description": "mine"}),
        ("POST", "registered-models/set-tag", {"name": "guarded", "key": "a", "value": "b"}),
        ("POST", "registered-models/alias", {**version, "alias": "champion"}),
        ("DELETE", "registered-models/alias", {"name": "guarded", "alias": "champion"}),
        ("DELETE", "registered-models/delete", {"name": "guarded"}),
        (
            "POST",
            "model-versions/create",
            {"name": "guarded", "source": "mlflow-artifacts:/1", "run_id": run},
        ),
        ("PATCH", "model-versions/update", {**version, "description": "mine"}),
        ("POST", "model-versions/set-tag", {**version, "key": "signature", "value": "mine"}),
        ("DELETE", "model-versions/delete", version),
        ("POST", "runs/create", {"experiment_id": experiment}),
        ("POST", "runs/update", {"run_id": run, "status": "KILLED"}),
        ("POST", "runs/set-tag", {"run_id": run, "key": "a", "value": "b"}),
        ("POST", "runs/log-metric", {"run_id": run, "key": "a", "value": 1, "timestamp": 1}),
        ("POST", "runs/delete", {"run_id": run}),
        ("POST", "experiments/update", {"experiment_id": experiment, "new_name": "mine"}),
        ("POST", "experiments/delete", {"experiment_id": experiment}),
        ("POST", "users/create", {"username": "another", "password": "password1234"}),
        ("PATCH", "users/update-admin", {"username": "reader", "is_admin": True}),
        ("PATCH", "users/update-password", {"username": owner[0], "password": "password1234"}),
    ]
    for method, path, body in writes:
        assert ask(reader, method, f"mlflow/{path}", **body).status_code == 403, path
    file = f"mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/MLmodel"
    assert ask(reader, "PUT", file).status_code == 403
    assert ask(reader, "DELETE", file).status_code == 403
    assert ask(reader, "GET", "mlflow/runs/get", run_id=run).status_code == 200


@pytest.mark.parametrize("origin", ["http://elsewhere.example", "http://127.0.0.1.elsewhere.example", "null"])
def test_a_page_of_another_site_changes_nothing_in_mlflow(stack, origin):
    url = stack.compose.url("mlflow", "/api/2.0/mlflow/experiments/create")
    known = (stack.values["MLFLOW_TRACKING_USERNAME"], stack.values["MLFLOW_TRACKING_PASSWORD"])
    answer = requests.post(url, json={"name": origin}, auth=known, headers={"Origin": origin}, timeout=30)
    assert answer.status_code == 403
    assert ask_mlflow(stack, "experiments/get-by-name", experiment_name=origin).status_code == 404
