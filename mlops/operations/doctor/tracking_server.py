"""Can the tracking server be used: does it answer, accept our user, match our version, tables and artefacts?"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Generator, Sequence
from functools import partial
from urllib.parse import urlsplit, urlunsplit

import requests

from mlops import config
from mlops.errors import TrackingError
from mlops.operations.doctor.finding import Finding, Findings, carried_out
from mlops.pipeline import checkpoint
from mlops.registry import client, server_facts

USER, PASSWORD, TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
_ANY_QUESTION = (
    "/api/2.0/mlflow/experiments/search?max_results=1"  # /health and /version accept any Host header
)


def look_over(uri: str, timeout: float) -> Generator[Finding, None, bool]:
    """Findings about the tracking server or database at `uri`. Returns whether the other checks can use it."""
    shown = config.without_credentials(uri)
    try:
        if not _is_file_yet_to_be_made(uri):
            client.probe(uri, timeout)
    except TrackingError as error:
        yield Finding(str(error), is_open=True)
        return False
    if not uri.startswith("http"):
        return (yield from _database(uri))
    lets_in = yield from _access(uri, timeout)
    if lets_in:
        yield from carried_out(f"tracking server {shown}: its version", partial(_version, uri, timeout))
    return lets_in


def artefacts(uri: str, names: Sequence[str]) -> Findings:
    """Findings about where the artefacts of these experiments go, if a server decides that.

    The caller has connected to the tracking store.
    """
    if not uri.startswith("http"):
        return
    found = server_facts.artefact_places(names)
    if not found:  # a new experiment gets the same kind of place as the server's first experiment
        first = server_facts.default_artefact_place()
        found = (first,) if first else ()
    for artefact_place in found:
        place = config.without_credentials(artefact_place.uri)
        about = f"artefacts of experiment {artefact_place.experiment}: {place}"
        scheme = place.partition(":")[0]
        if scheme == "mlflow-artifacts":
            yield Finding(f"{about}, through the server")
        elif place.startswith("/") or scheme == "file":
            if _is_here(uri):
                yield Finding(f"{about}, a folder on this machine; runs on other machines cannot reach it")
            else:
                yield Finding(
                    f"{about}, a folder on the server that this machine cannot reach; start the server with "
                    "--serve-artifacts --artifacts-destination FOLDER, and rename this experiment, because an "
                    "experiment never changes its place",
                    is_open=True,
                )
        else:
            yield Finding(f"{about}; each client needs its own access keys for this store")


def _access(uri: str, timeout: float) -> Generator[Finding, None, bool]:
    """Findings about the Host header and the login. Returns whether the server answers our requests."""
    shown = config.without_credentials(uri)
    bare = _without_user(uri)
    anonymous = requests.get(f"{bare}{_ANY_QUESTION}", timeout=timeout, auth=_nobody)
    if anonymous.status_code == 403 and "Invalid Host header" in anonymous.text:
        host = urlsplit(bare).netloc
        yield Finding(
            f"tracking server {shown}: it refuses the host name {host}; start it with {host} added to "
            f"MLFLOW_SERVER_ALLOWED_HOSTS (or --allowed-hosts {host},localhost:*)",
            is_open=True,
        )
        return False
    if anonymous.status_code == 200:
        if _is_here(uri):
            yield Finding(f"tracking server {shown}: it answers")
        else:
            yield Finding(
                f"tracking server {shown}: it requires no login; start it with --app-name basic-auth "
                f"and set {USER} and {PASSWORD}, or let it listen on 127.0.0.1 only",
                is_open=True,
            )
        return True
    status = anonymous.status_code
    if status in (401, 403) and (_credentials() or bare != uri.rstrip("/")):
        status = _ask(uri, _ANY_QUESTION, timeout).status_code
        if status == 200:
            yield Finding(f"tracking server {shown}: it answers our user, and requires a login")
            return True
        yield Finding(
            f"tracking server {shown}: it refuses our user ({status}); correct {USER} and {PASSWORD}", True
        )
    elif status in (401, 403):
        act = f"set {USER} and {PASSWORD}"
        yield Finding(f"tracking server {shown}: it requires a login ({status}); {act}", is_open=True)
    else:
        yield Finding(
            f"tracking server {shown}: it answers {status} to a request for experiments, expected 200; read its "
            "log, and check that MLFLOW_TRACKING_URI is the address of an MLflow server",
            is_open=True,
        )
    return False


def _version(uri: str, timeout: float) -> Findings:
    ours, answer = server_facts.client_version(), _ask(uri, "/version", timeout)
    theirs = answer.text.strip()[:40] if answer.status_code == 200 else f"unknown ({answer.status_code})"
    if ours.split(".")[:2] == theirs.split(".")[:2]:
        yield Finding(f"MLflow versions: server {theirs}, client {ours}")
    else:
        yield Finding(
            f"MLflow versions: server {theirs}, client {ours}; install mlflow=={ours} on the server "
            "(requirements-mlflow.txt), then run mlflow db upgrade there",
            is_open=True,
        )


def _database(uri: str) -> Generator[Finding, None, bool]:
    """Finding about the tables of a tracking database. Returns whether MLflow can work with them."""
    shown = config.without_credentials(uri)
    if _is_file_yet_to_be_made(uri):
        yield Finding(f"tracking store {shown}: it does not exist yet; the first run creates it")
        return bool(checkpoint.unfinished())  # unfinished attempts can be checked without it
    if not uri.startswith(("sqlite", "postgresql")):
        yield Finding(f"tracking store {shown}: not checked; only SQLite, PostgreSQL and servers are")
        return True
    revision, expected = server_facts.table_revision(uri), server_facts.expected_revision()
    if revision not in (None, expected):
        yield Finding(
            f"tracking store {shown}: its tables have revision {revision}, "
            f"but MLflow {server_facts.client_version()} expects {expected}; "
            f"make a copy, then run .venv-mlflow/bin/mlflow db upgrade {shown}",
            is_open=True,
        )
        return False
    yield Finding(f"tracking store {shown}: it answers" + ("" if revision else ", with no tables yet"))
    return True


def _is_file_yet_to_be_made(uri: str) -> bool:
    file = config.sqlite_file(uri)
    return file is not None and not file.exists()


def _is_here(uri: str) -> bool:
    """Whether the address is a loopback address, which only this machine can reach."""
    host = urlsplit(uri).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _without_user(uri: str) -> str:
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")


def _credentials() -> bool:
    return bool(os.environ.get(TOKEN) or os.environ.get(USER))


def _ask(uri: str, path: str, timeout: float) -> requests.Response:
    """Answer to a request that logs in with the environment's token or password, or else with the URI's."""
    token, user = os.environ.get(TOKEN), os.environ.get(USER)
    if user:
        password = os.environ.get(PASSWORD, "")
        return requests.get(f"{_without_user(uri)}{path}", timeout=timeout, auth=(user, password))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.get(f"{uri.rstrip('/')}{path}", timeout=timeout, headers=headers)


def _nobody(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Send no password, not even one from ~/.netrc."""
    return request
