"""Can the tracking server be used: does it answer, accept our user, match our version, tables and artefacts?"""

from __future__ import annotations

import ipaddress
from collections.abc import Generator, Sequence
from functools import partial
from urllib.parse import urlsplit

from mlops import config
from mlops.errors import TrackingError
from mlops.operations.doctor.finding import Finding, Findings, carried_out, not_checked
from mlops.registry import client, server_facts, tables


def look_over(uri: str, timeout: float) -> Generator[Finding, None, bool]:
    """Findings about the tracking server or database at `uri`. Returns whether the other checks can use it."""
    shown = config.without_credentials(uri)
    try:
        if not is_yet_to_be_made(uri):
            client.probe(uri, timeout)
    except TrackingError as error:
        yield Finding(str(error), is_open=True)
        return False
    if not uri.startswith("http"):
        return (yield from _database(uri))
    yield from carried_out(f"tracking server {shown}: its login", partial(_access, uri, timeout))
    yield from carried_out(f"tracking server {shown}: its version", partial(_version, uri, timeout))
    return True


def is_yet_to_be_made(uri: str) -> bool:
    """Whether this is the address of a SQLite file that does not exist; the first run creates it."""
    file = config.sqlite_file(uri)
    return file is not None and not file.exists()


def artefacts(uri: str, names: Sequence[str], timeout: float) -> Findings:
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
            yield from _through_server(uri, about, timeout)
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
            why = "each client uses its own access keys for it; look at a version's files in MLflow's pages"
            yield not_checked(about, why)


def _through_server(uri: str, about: str, timeout: float) -> Findings:
    """Finding about artefacts that clients get from the server itself; it is asked for a list of them."""
    answer = client.ask(uri, "/api/2.0/mlflow-artifacts/artifacts?path=none", timeout)
    if answer.status_code == 200:
        yield Finding(f"{about}, through the server, which can read that place")
    else:
        yield Finding(
            f"{about}, through the server, which answered {answer.status_code} for it; start it with "
            "--serve-artifacts, and read in its log what fails",
            is_open=True,
        )


def _access(uri: str, timeout: float) -> Findings:
    """Finding about the login of a server that answers us."""
    shown = config.without_credentials(uri)
    if not client.lets_anybody_in(uri, timeout):
        yield Finding(f"tracking server {shown}: it answers our user, and requires a login")
    elif _is_here(uri):
        yield Finding(f"tracking server {shown}: it answers")
    else:
        yield Finding(
            f"tracking server {shown}: it requires no login; start it with --app-name basic-auth "
            f"and set {client.USER} and {client.PASSWORD}, or let it listen on 127.0.0.1 only",
            is_open=True,
        )


def _version(uri: str, timeout: float) -> Findings:
    ours, answer = server_facts.client_version(), client.ask(uri, "/version", timeout)
    theirs = answer.text.strip()[:40]
    if answer.status_code != 200:  # a proxy may let only MLflow's own requests through
        why = f"/version answered {answer.status_code}; compare them by hand, the client is {ours}"
        yield not_checked("MLflow versions", why)
    elif ours.split(".")[:2] == theirs.split(".")[:2]:
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
    if is_yet_to_be_made(uri):
        yield Finding(
            f"tracking store {shown}: it does not exist yet, so no model is in it; a run creates it"
        )
        return False
    if not uri.startswith(("sqlite", "postgresql")):
        yield not_checked(
            f"tables of the tracking store {shown}", "only those of SQLite and PostgreSQL are known"
        )
        return True
    if problem := tables.store_problem(uri):
        yield Finding(problem, is_open=True)
        return False
    revision = tables.MLFLOW.found(uri)
    yield Finding(f"tracking store {shown}: it answers" + ("" if revision else ", with no tables yet"))
    return True


def _is_here(uri: str) -> bool:
    """Whether the address is a loopback address, which only this machine can reach."""
    host = urlsplit(uri).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
