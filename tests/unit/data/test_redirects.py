"""A web server of months may send its reader to other places of its own, and nowhere else."""

from __future__ import annotations

import base64
import datetime
import ipaddress
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.month_site import NAME, Answer, Server, fetch, kept, parquet

from mlops.data import sources
from mlops.data.sources import RedirectError, web_site
from mlops.errors import DownloadError

pytestmark = pytest.mark.usefixtures("_quick_and_local")

BODY = parquet(1000)
SECRET = b"root:x:0:0: a secret of the inner network"
HTML = (("Content-Type", "text/html"),)


@pytest.fixture
def other() -> Iterator[Server]:
    """Another server, with what its reader must not get: a month, and a text."""
    running = Server()
    running.head, running.get = [Answer(SECRET, headers=HTML)], [Answer(SECRET, headers=HTML)]
    yield running
    running.close()


def redirect(server: Server, location: str, status: int = 302) -> None:
    server.head = [Answer(status=status, headers=(("Location", location),))]
    server.get = list(server.head)


def refusal(server: Server) -> str:
    with pytest.raises(RedirectError) as caught:
        sources.open_source(server.url).version(NAME)
    assert (server.count("HEAD"), server.count("GET")) == (1, 0)  # it is not tried again
    return str(caught.value)


# --- Addresses of others ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_another_port_of_this_machine_is_not_asked(server: Server, other: Server, status: int) -> None:
    redirect(server, f"{other.url}/{NAME}", status)
    port = urlsplit(other.url).port
    assert refusal(server) == (
        f"{server.url}/{NAME}: expected the file from {server.url.removesuffix('/trip-data')}; got a redirect to "
        f"'http://127.0.0.1:{port}', which is not followed. If you trust that address, choose it as --source; "
        "else look at the server."
    )
    assert other.requests == []


def test_a_name_of_this_machine_is_not_asked(server: Server, other: Server) -> None:
    redirect(server, f"http://localhost:{urlsplit(other.url).port}/{NAME}")
    assert "got a redirect to 'http://localhost:" in refusal(server)
    assert other.requests == []


@pytest.mark.parametrize(
    "location",
    [
        "//localhost/trips",
        "https://months.example/trips",
        "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
        "http://10.0.0.1/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://2130706433:{port}/",
        "http://127.1:{port}/",
        "http://0.0.0.0:{port}/",
        "http://me:word@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}@months.example/",
        "http://months.example\\@127.0.0.1:{port}/",
        "https://127.0.0.1:8443/",
        "file:///etc/passwd",
        "ftp://127.0.0.1:{port}/",
        "gopher://127.0.0.1:{port}/",
        "http://[",
        "http://127.0.0.1:99999999/",
        "http://\u00ef\u00bc\u0085.example/",
    ],
)
def test_no_other_address_is_asked(server: Server, location: str) -> None:
    redirect(server, location.format(port=urlsplit(server.url).port))
    assert "which is not followed" in refusal(server)


def test_no_text_of_another_server_is_quoted(server: Server, other: Server, tmp_path: Path) -> None:
    """A text under a month's name is quoted, so that its reader sees what it is; but not the texts of others."""
    redirect(server, f"{other.url}/inner")
    server.head = [Answer(BODY)]  # the month is there; its body is somewhere else
    with pytest.raises(RedirectError) as caught:
        fetch(server.url, tmp_path)
    assert "secret" not in str(caught.value)
    assert (other.requests, kept(tmp_path)) == ([], set())


# --- TLS ----------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certificate for 127.0.0.1 with its key, which requests trusts in this test."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "months")])
    hosts = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(hosts, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(*form) + made.public_bytes(serialization.Encoding.PEM))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    return path


def test_https_is_not_left_for_http(other: Server, certificate: Path) -> None:
    secure = Server(certificate)
    redirect(secure, f"http://127.0.0.1:{urlsplit(other.url).port}/{NAME}")
    assert secure.url.startswith("https:")
    refused = refusal(secure)
    redirect(secure, secure.url.replace("https:", "http:"))
    with pytest.raises(RedirectError, match=r"expected the file from https:.*; got a redirect to 'http:"):
        sources.open_source(secure.url).version(NAME)
    secure.close()
    assert "got a redirect to 'http://127.0.0.1:" in refused
    assert other.requests == []


def test_http_may_be_left_for_https_of_the_same_host(server: Server) -> None:
    """A server sends its readers to the usual port of https, which nobody has here."""
    redirect(server, "https://127.0.0.1/trip-data")
    with pytest.raises(DownloadError, match="no answer after 4 attempts"):
        sources.open_source(server.url).version(NAME)


# --- The source's own addresses -----------------------------------------------------------------------------


def test_another_place_of_the_source_is_asked_with_the_same_password(server: Server, tmp_path: Path) -> None:
    moved = (("Location", "/elsewhere/file.parquet?version=2"),)
    server.head = [Answer(status=301, headers=moved), Answer(BODY)]
    server.get = [Answer(status=307, headers=(("Location", f"{server.url}/deeper"),)), *server.head]
    found = fetch(server.url.replace("//", "//me:p%40ss@"), tmp_path)
    assert found.path.read_bytes() == BODY
    assert ("GET", "/elsewhere/file.parquet?version=2") in server.requests
    assert server.authorizations == {"Basic " + base64.b64encode(b"me:p@ss").decode()}


def test_redirects_come_to_an_end(server: Server) -> None:
    redirect(server, f"/trip-data/{NAME}")
    with pytest.raises(RedirectError) as caught:
        sources.open_source(server.url).version(NAME)
    assert str(caught.value) == (
        f"{server.url}/{NAME}: expected the file after at most 5 redirects; got one more. Look at the server, or "
        "choose another --source."
    )
    assert len(server.requests) == web_site.REDIRECTS + 1


def test_the_body_of_a_redirect_is_not_read(server: Server, tmp_path: Path) -> None:
    moved = (("Location", "/elsewhere"), ("Connection", "close"))
    server.head = [Answer(BODY)]
    server.get = [Answer(status=302, headers=moved, length=None, more_bytes=2**28), Answer(BODY)]
    assert fetch(server.url, tmp_path).path.read_bytes() == BODY
    assert server.sent_bytes < 2**25


def test_a_server_does_not_word_the_message(server: Server) -> None:
    server.reasons[500] = "<!channel> log in at https://months.example"
    server.head = [Answer(status=500)]
    with pytest.raises(DownloadError, match="expected HTTP 200, got 500 Internal Server Error"):
        sources.open_source(server.url).version(NAME)
