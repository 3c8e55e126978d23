"""The tracking server as it may answer, played by a small HTTP server, and databases of other revisions."""

from __future__ import annotations

import base64
import contextlib
import sqlite3
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from support.small_server import answering_with
from support.tracking_site import make_certificates, mlflow_at, serving

from mlops.operations.doctor import tracking_server
from mlops.operations.doctor.finding import Finding, not_checked
from mlops.registry import client
from mlops.registry.client import mlflow
from mlops.registry.tables import MLFLOW

OURS = str(mlflow.__version__)
REFUSED = "Invalid Host header - possible DNS rebinding attack detected"
PASSWORD = "Basic " + base64.b64encode(b"me:secret").decode()


@contextlib.contextmanager
def server(
    version: str = OURS, *, status: int = 200, text: str = "{}", password: str = "", host: str = "127.0.0.1"
) -> Iterator[str]:
    """Address of a server that answers questions with `status` or, without the password, 401."""

    def answer(asked: BaseHTTPRequestHandler) -> tuple[int, str]:
        if password and asked.headers.get("Authorization") != password:
            return 401, "You are not authenticated."
        return (200, version) if asked.path == "/version" else (status, text)

    with answering_with(answer, host) as url:
        yield url


def look_over(uri: str) -> tuple[list[Finding], bool]:
    """Findings, and whether the server can be asked."""
    findings, checks = [], tracking_server.look_over(uri, 2.0)
    while True:
        try:
            findings.append(next(checks))
        except StopIteration as end:
            return findings, end.value


@pytest.fixture(autouse=True)
def no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (client.USER, client.PASSWORD, "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # where MLflow's client also looks for a user


def test_all_is_well() -> None:
    with server() as uri:
        assert look_over(uri) == (
            [
                Finding(f"tracking server {uri}: it answers"),
                Finding(f"MLflow versions: server {OURS}, client {OURS}"),
            ],
            True,
        )


def test_another_patch_is_the_same_version() -> None:
    patch = ".".join([*OURS.split(".")[:2], "99"])
    with server(patch) as uri:
        assert look_over(uri)[0][1] == Finding(f"MLflow versions: server {patch}, client {OURS}")


@pytest.mark.parametrize("theirs", ["2.22.0", "3.1", "<html>"])
def test_another_version_is_open(theirs: str) -> None:
    with server(theirs) as uri:
        reported, usable = look_over(uri)
    assert usable
    assert reported[1] == Finding(
        f"MLflow versions: server {theirs}, client {OURS}; install mlflow=={OURS} on the server "
        "(requirements-mlflow.txt), then run mlflow db upgrade there",
        is_open=True,
    )


def test_a_refused_host_is_reported_with_host_and_port() -> None:
    with server(status=403, text=REFUSED) as uri:
        (reported,), usable = look_over(uri)
    host = uri.removeprefix("http://")
    assert not usable
    assert reported.is_open
    assert (
        f"it refuses the host name {host}; start it with {host} added to MLFLOW_SERVER_ALLOWED_HOSTS"
        in reported.text
    )


def test_a_server_that_wants_a_password() -> None:
    with server(password=PASSWORD) as uri:
        (reported,), usable = look_over(uri)
    assert (reported.is_open, usable) == (True, False)
    assert reported.text.startswith(
        f"tracking server {uri}: the server requires a known user (401); got no user. "
        "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    )


def test_a_wrong_password_and_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "guessed")
    with server(password=PASSWORD) as uri:
        (reported,), usable = look_over(uri)
        assert (reported.is_open, usable) == (True, False)
        assert "(401); got user 'me' with an unknown name or a wrong password. Set" in reported.text
        assert "guessed" not in reported.text

        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
        found, usable = look_over(uri)
    assert usable
    assert [finding.is_open for finding in found] == [False, False]
    assert found[0].text.endswith("it answers our user, and requires a login")


def test_a_password_in_the_address_is_used_and_not_shown() -> None:
    with server(password=PASSWORD) as uri:
        found, usable = look_over(uri.replace("//", "//me:secret@"))
    assert usable
    assert not any(finding.is_open or "secret" in finding.text for finding in found)


def test_a_server_that_answers_strangers_elsewhere_than_on_loopback_is_open() -> None:
    with server(host="0.0.0.0") as uri:  # an address that is not loopback, on whatever machine this runs
        reported, usable = look_over(uri)
    assert usable
    assert reported[0].is_open
    assert "it requires no login; start it with --app-name basic-auth" in reported[0].text


def test_a_server_that_hides_its_version_is_no_other_version() -> None:
    with serving(mlflow_at("/mlflow")) as site:
        found, usable = look_over(f"{site.uri}/mlflow")
    assert usable
    assert found == [
        Finding(f"tracking server {site.uri}/mlflow: it answers"),
        not_checked("MLflow versions", f"/version answered 404; compare them by hand, the client is {OURS}"),
    ]


def test_tls_trouble_is_reported_as_by_the_first_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_certificates(tmp_path / "certificates")
    with serving(mlflow_at(), made.server(asks_for_ours=True)) as site:
        (reported,), usable = look_over(site.uri)
        assert not usable
        assert "its certificate is not trusted (" in reported.text
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(made.authority))
        monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(made.signed))
        found, usable = look_over(site.uri)
    assert usable
    assert found[0].text.endswith("it answers our user, and requires a login")


def test_something_else_than_a_tracking_server() -> None:
    with server(status=404) as uri:
        (reported,), usable = look_over(uri)
    assert (reported.is_open, usable) == (True, False)
    assert "it answered a request for experiments with 404, JSON; expected 200 and" in reported.text


def test_a_server_that_is_away() -> None:
    (reported,), usable = look_over("http://127.0.0.1:1")
    assert (reported.is_open, usable) == (True, False)
    assert "Start it (`make mlflow`)" in reported.text


# --- Databases ----------------------------------------------------------------------------------------------


def test_a_store_as_the_installed_mlflow_made_it(store: Path) -> None:
    assert look_over(f"sqlite:///{store / 'mlflow.db'}") == (
        [Finding(f"tracking store sqlite:///{store / 'mlflow.db'}: it answers")],
        True,
    )


@pytest.mark.parametrize(
    ("revision", "said"),
    [
        (
            "75868b020152",
            "but MLflow {ours} expects {expected}; run `make upgrade`, which makes a backup first",
        ),
        ("cafe", "which MLflow {ours} does not know, because a newer version made them; get the newer code"),
    ],
)
def test_a_store_of_another_revision_is_open(store: Path, revision: str, said: str) -> None:
    path = store / "mlflow.db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
    (reported,), usable = look_over(f"sqlite:///{path}")
    assert (reported.is_open, usable) == (True, False)
    assert f"its tables have revision {revision}, {said.format(ours=OURS, expected=MLFLOW.expected())}" in (
        reported.text
    )


def test_a_store_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    (reported,), usable = look_over(f"sqlite:///{path}")
    assert reported == Finding(
        f"tracking store sqlite:///{path}: it does not exist yet, so no model is in it; a run creates it"
    )
    assert not usable
    assert not path.exists()


def test_artefacts_of_a_database_are_nobody_s_concern(store: Path) -> None:
    assert (
        list(tracking_server.artefacts(f"sqlite:///{store / 'mlflow.db'}", ["trip-duration-green"], 2.0))
        == []
    )


@pytest.mark.parametrize(
    ("place", "uri", "label", "reported"),
    [
        ("file:///srv/artifacts/3", "http://mlflow:5000", "OPEN", "--serve-artifacts"),
        (
            "file:///srv/artifacts/3",
            "http://127.0.0.1:5000",
            "ok",
            "a folder on this machine; runs on other machines cannot reach it",
        ),
        (
            "s3://key:secret@bucket/3",
            "http://mlflow:5000",
            "not checked",
            "each client uses its own access keys for it; look at a version's files in MLflow's pages",
        ),
    ],
)
def test_where_artefacts_of_a_server_go(place: str, uri: str, label: str, reported: str, store: Path) -> None:
    mlflow.MlflowClient().create_experiment("trip-duration-green", place)  # the store plays the server's
    (found,) = tracking_server.artefacts(uri, ["trip-duration-green", "trip-duration-yellow"], 2.0)
    assert found.label == label
    assert reported in found.text
    assert "secret" not in found.text


def test_without_an_experiment_the_server_s_first_one_is_checked(store: Path) -> None:
    (found,) = tracking_server.artefacts("http://mlflow:5000", ["trip-duration-green"], 2.0)
    assert found.is_open
    assert found.text.startswith("artefacts of experiment Default: ")
