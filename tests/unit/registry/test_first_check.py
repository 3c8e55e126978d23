"""The tracking server is asked as MLflow's own client asks it; a failure says what is wrong and what to set."""

from __future__ import annotations

import base64
import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.refusals import refusal
from support.tracking_site import (
    EXPERIMENTS,
    SEARCH,
    Answer,
    Certificates,
    Site,
    make_certificates,
    mlflow_at,
    serving,
)

from mlops.errors import TrackingDownError, TrackingError
from mlops.registry import client
from mlops.registry.client import mlflow, probe

USER, PASSWORD, TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
ANN = "Basic " + base64.b64encode(b"ann:secret%1").decode()
WRITES = (
    "`make stack` writes the first two to stack/environment in the state folder, "
    "`make mlflow` to mlflow/.env."
)
SETTINGS = (
    USER, PASSWORD, TOKEN, "MLFLOW_TRACKING_INSECURE_TLS", "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC",
    *(f"{kind}_proxy" for kind in ("http", "https", "all", "no")),
    *(f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "ALL", "NO")),
)  # fmt: skip
Serving = Callable[..., Site]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, in which MLflow's client looks for a login too; no other setting."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".mlflow").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def site() -> Iterator[Serving]:
    with contextlib.ExitStack() as servers:
        yield lambda *how, **more: servers.enter_context(serving(*how, **more))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def always(status: int, body: str = "", **headers: str) -> Callable[[str, str], Answer]:
    return lambda path, sent: (status, headers, body)


# --- Let in as MLflow's client is ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/", "/mlflow", "/mlflow/"])
def test_a_server_below_any_path_is_fine_without_a_health_page(path: str, site: Serving) -> None:
    found = site(mlflow_at(path.rstrip("/")))
    probe(f"{found.uri}{path}", 5.0)

    assert found.asked == [f"{path.rstrip('/')}{SEARCH}?max_results=1"]


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({USER: "ann", PASSWORD: "secret%1"}, ANN),
        ({TOKEN: "T0ken"}, "Bearer T0ken"),
        ({USER: "ann", PASSWORD: "secret%1", TOKEN: "T0ken"}, ANN),  # as MLflow chooses
    ],
    ids=["a password", "a token", "both"],
)
def test_a_login_in_the_environment_is_sent(
    settings: dict[str, str], sent: str, site: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    probe(site(mlflow_at(authorization=sent)).uri, 5.0)


def test_a_login_in_a_file_or_in_the_address_is_sent(site: Serving, home: Path) -> None:
    uri = site(mlflow_at(authorization=ANN)).uri
    probe(uri.replace("//", "//ann:secret%251@"), 5.0)
    (home / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = ann\nmlflow_tracking_password = secret%%1\n"
    )
    probe(uri, 5.0)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize(
    "name", ["MLFLOW_TRACKING_INSECURE_TLS", "MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE"]
)
def test_tls_as_mlflow_is_set(
    name: str, site: Serving, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "true" if "INSECURE" in name else str(certificates.authority))
    probe(site(mlflow_at(), certificates.server()).uri, 5.0)


def test_our_own_certificate_is_shown(
    site: Serving, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = site(mlflow_at(), certificates.server(asks_for_ours=True)).uri
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificates.authority))
    assert refusal(uri, 5.0) == (
        "it seems to require a client certificate that it knows (TLS). Set MLFLOW_TRACKING_CLIENT_CERT_PATH to a "
        "PEM file with certificate and key."
    )
    monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(certificates.signed))
    probe(uri, 5.0)

    assert not client.lets_anybody_in(uri, 5.0)


def test_a_proxy_is_used(site: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = site(mlflow_at("http://mlflow.invalid/prefix"))
    monkeypatch.setenv("HTTP_PROXY", proxy.uri)
    probe("http://mlflow.invalid/prefix", 5.0)

    assert proxy.asked == [f"http://mlflow.invalid/prefix{SEARCH}?max_results=1"]


# --- Refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "got"),
    [
        ({}, "no user"),
        ({USER: "bob"}, "user 'bob' without a password"),
        ({USER: "bob", PASSWORD: "secret"}, "user 'bob' with an unknown name or a wrong password"),
        ({TOKEN: "secret"}, f"a token of {TOKEN} that is wrong or has expired"),
    ],
    ids=["nobody", "no password", "a wrong password", "a wrong token"],
)
def test_a_refused_login_says_whose_and_what_to_set(
    settings: dict[str, str], got: str, site: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    act = f"Set {USER} and {PASSWORD} (or {TOKEN}); {WRITES}"
    uri = site(mlflow_at(authorization=ANN)).uri

    assert refusal(uri) == f"the server requires a known user (401); got {got}. {act}"
    assert (
        refusal(site(always(403, "no")).uri)
        == f"the server does not let this user in (403); got {got}. {act}"
    )


def test_a_refused_login_of_the_address_or_of_netrc_is_named(
    site: Serving, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = site(mlflow_at(authorization=ANN)).uri
    assert refusal(uri.replace("//", "//bob:secret@")) == (
        "the server requires a known user (401); got user 'bob' of MLFLOW_TRACKING_URI. "
        "Correct user and password there."
    )
    (home / ".netrc").write_text("machine 127.0.0.1 login eve password secret\n")
    (home / ".netrc").chmod(0o600)
    monkeypatch.setenv(USER, "ann")
    monkeypatch.setenv(PASSWORD, "secret%1")
    assert refusal(uri) == (
        "the server requires a known user (401); got user 'eve' of ~/.netrc, which counts first. "
        "Correct ~/.netrc, or remove this host there."
    )


@pytest.mark.parametrize(
    "text", ["mlflow_tracking_password = secret\n", "[mlflow]\nmlflow_tracking_password = %secret\n"]
)
def test_a_file_of_credentials_that_cannot_be_read_is_named_and_not_shown(
    text: str, home: Path, site: Serving
) -> None:
    (home / ".mlflow" / "credentials").write_text(text)
    with pytest.raises(
        TrackingError, match=r"^~/\.mlflow/credentials cannot be read \(\w+\)\. Expected"
    ) as refused:
        probe(site(mlflow_at()).uri, 1.0)

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("token", ["secret\n", "secret’"])
def test_a_token_that_cannot_be_sent_is_not_shown(
    token: str, site: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, token)

    assert refusal(site(mlflow_at()).uri) == f"{TOKEN} cannot be sent; expected one line of ASCII characters."


def test_a_refused_host_name_is_reported_with_its_port(site: Serving) -> None:
    uri = site(always(403, "Invalid Host header - possible DNS rebinding attack detected")).uri
    host = uri.removeprefix("http://")

    assert refusal(uri) == (
        f"it refuses the host name {host}; start it with {host} added to MLFLOW_SERVER_ALLOWED_HOSTS "
        f"(or --allowed-hosts {host},localhost:*)"
    )


# --- TLS ----------------------------------------------------------------------------------------------------


def test_a_certificate_that_is_not_trusted(site: Serving, certificates: Certificates) -> None:
    reported = refusal(site(mlflow_at(), certificates.server()).uri, 5.0)

    assert reported == (
        "its certificate is not trusted (unable to get local issuer certificate). Set "
        "MLFLOW_TRACKING_SERVER_CERT_PATH to a file with the certificate that signed it, and use the host name of "
        "the certificate. MLFLOW_TRACKING_INSECURE_TLS=true turns this check off."
    )


def test_a_certificate_of_another_host(
    site: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_certificates(tmp_path / "other", "192.0.2.1")
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(other.authority))

    assert "its certificate is not trusted (IP address mismatch" in refusal(
        site(mlflow_at(), other.server()).uri, 5.0
    )


def test_tls_where_there_is_none_and_the_other_way_round(site: Serving, certificates: Certificates) -> None:
    assert refusal(site(mlflow_at()).uri.replace("http:", "https:"), 5.0) == (
        "it does not speak TLS. Write http:// instead of https:// in MLFLOW_TRACKING_URI."
    )
    reported = refusal(
        site(mlflow_at(), certificates.server()).uri.replace("https:", "http:"), 5.0, TrackingDownError
    )
    assert reported.startswith(
        "no answer within 5 s (it closes the connection; does it want https://?). Start"
    )
    by_nginx = "<html>400 The plain HTTP request was sent to HTTPS port</html>"
    assert refusal(site(always(400, by_nginx)).uri) == (
        "it speaks TLS only (400). Write https:// in MLFLOW_TRACKING_URI."
    )
    by_nginx = "<html>400 No required SSL certificate was sent</html>"
    assert refusal(site(always(400, by_nginx)).uri).startswith("it seems to require a client certificate")


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_CLIENT_CERT_PATH"])
def test_a_file_that_is_not_there_or_holds_no_certificate(
    name: str, site: Serving, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = site(mlflow_at(), certificates.server()).uri
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificates.authority))
    monkeypatch.setenv(name, str(tmp_path / "gone.pem"))
    assert f"{tmp_path / 'gone.pem'}" in refusal(uri)
    (tmp_path / "gone.pem").write_text("no certificate")
    assert name in refusal(uri)


def test_two_settings_that_contradict_each_other(
    site: Serving, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "yes")
    assert refusal(site(mlflow_at()).uri).startswith(
        "a setting of MLflow is wrong: MLFLOW_TRACKING_INSECURE_TLS"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificates.authority))
    reported = refusal(site(mlflow_at()).uri)
    assert reported.startswith("a setting of MLflow is wrong: ")
    assert "only one of these environment variables may be set" in reported


# --- Something else than an MLflow server -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "what"),
    [
        (200, "<!doctype html><title>Grafana</title>", "200, a web page"),
        (200, '{"status": "ok"}', "200, JSON of another program"),
        (200, "[]", "200, JSON of another program"),
        (200, "", "200, nothing"),
        (200, "OK", "200, a text"),
        (404, "<html>Not Found</html>", "404, a web page"),
        (404, '{"error_code": "ENDPOINT_NOT_FOUND"}', "404, the error ENDPOINT_NOT_FOUND"),
        (404, "{}", "404, JSON"),
    ],
)
def test_another_program_is_not_taken_for_mlflow(status: int, body: str, what: str, site: Serving) -> None:
    assert refusal(site(always(status, body)).uri) == (
        f"it answered a request for experiments with {what}; expected 200 and MLflow's JSON. MLFLOW_TRACKING_URI "
        "must be the address of an MLflow server, with its path prefix if it has one, but without the address of "
        "a page (/#/...)."
    )


def test_the_address_of_a_page_is_refused(site: Serving) -> None:
    def pages(path: str, sent: str) -> Answer:
        return (200, {}, "<!doctype html><title>MLflow</title>") if path == "/" else mlflow_at()(path, sent)

    uri = site(pages).uri
    probe(uri, 5.0)
    assert "with 200, a web page" in refusal(f"{uri}/#/experiments/3")


def test_a_server_without_experiments_is_fine(site: Serving) -> None:
    probe(site(always(200, "{}")).uri, 5.0)


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_is_named_without_its_query(status: int, site: Serving) -> None:
    place = site(always(200, EXPERIMENTS)).uri
    uri = site(always(status, Location=f"{place}/mlflow{SEARCH}?state=secret")).uri

    assert refusal(uri) == (
        f"it redirects to {place}/mlflow ({status}), and MLflow's client would lose what it sends. If that is the "
        "server, set MLFLOW_TRACKING_URI to it. If it is a login page, set MLFLOW_TRACKING_TOKEN, or "
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
    )


def test_a_redirect_to_itself_ends(site: Serving) -> None:
    uri = site(always(307, Location="/again")).uri
    assert refusal(uri, 5.0) == "it redirects without end; correct MLFLOW_TRACKING_URI, or the server."


def test_a_redirect_that_keeps_what_is_sent_is_fine(site: Serving) -> None:
    place = site(always(200, EXPERIMENTS)).uri
    probe(site(always(308, Location=f"{place}{SEARCH}")).uri, 5.0)


# --- Nobody there -------------------------------------------------------------------------------------------

START = "Start it (`make mlflow`), or set MLFLOW_TRACKING_URI to one that runs."


def test_a_dead_server_is_refused_at_once(dead_port: int) -> None:
    uri = f"http://127.0.0.1:{dead_port}"
    assert refusal(uri, kind=TrackingDownError) == f"no answer within 1 s (Connection refused). {START}"


def test_a_silent_server_is_refused_in_time(silent_port: int) -> None:
    uri = f"http://127.0.0.1:{silent_port}"
    assert refusal(uri, 0.5, TrackingDownError) == (
        "no answer within 0.5 s (timeout). It is started, but hangs or is overloaded: if that lasts, restart it, "
        "or set MLFLOW_TRACKING_URI to one that runs."
    )


def test_an_unknown_host_is_called_so() -> None:
    reported = refusal("http://mlflow.invalid:5000", 5.0, TrackingDownError)
    assert reported == f"no answer within 5 s (unknown host name). {START}"


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_status_that_may_pass_is_an_outage(status: int, site: Serving) -> None:
    assert refusal(site(always(status, **{"Retry-After": "3600"})).uri, kind=TrackingDownError) == (
        f"it answered {status}; expected 200. It or its database may be starting, away or overloaded: read its "
        "log, or try again later."
    )


def test_a_proxy_that_is_away_or_wants_a_login(
    dead_port: int, site: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    act = "Correct HTTP_PROXY, or add mlflow.invalid to NO_PROXY."
    monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@127.0.0.1:{dead_port}")
    reported = refusal("http://mlflow.invalid", kind=TrackingDownError)
    assert reported == f"the proxy does not let us through. {act}"
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@/")
    assert refusal("http://mlflow.invalid") == f"the address of the proxy is wrong. {act}"
    monkeypatch.setenv("HTTP_PROXY", site(always(407)).uri)
    assert refusal("http://mlflow.invalid") == f"the proxy requires a login (407). {act}"


@pytest.mark.parametrize("uri", ["http://me:secret@127.0.0.1:no-port", "http://me:secret@", "http://:5000"])
def test_what_is_no_address_is_not_waited_for(uri: str) -> None:
    assert refusal(uri) == "not an address. Expected http://HOST:PORT or https://HOST/PREFIX."


@pytest.mark.parametrize("uri", ["http://me:secret@127.0.0.1:{port}", "http://me:se@secret@127.0.0.1:{port}"])
def test_no_password_of_an_address_is_shown(uri: str, dead_port: int) -> None:
    assert "no answer within" in refusal(uri.format(port=dead_port), kind=TrackingDownError)


# --- MLflow's client asks the same --------------------------------------------------------------------------


def test_mlflow_s_own_client_is_let_in_where_the_check_is(
    site: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, "T0ken")
    found = site(mlflow_at("/mlflow", "Bearer T0ken"))
    probe(f"{found.uri}/mlflow", 5.0)
    sent = client.ask(f"{found.uri}/mlflow", SEARCH, 5.0).request.headers

    assert sent["Authorization"] == "Bearer T0ken"
    assert sent["User-Agent"].startswith(f"mlflow-python-client/{mlflow.__version__}")
