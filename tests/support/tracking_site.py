"""A loopback server as MLflow's client meets one: behind a login, TLS, a path prefix or an HTTP proxy."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SEARCH = "/api/2.0/mlflow/experiments/search"
EXPERIMENTS = '{"experiments": [{"experiment_id": "0", "name": "Default"}]}'
Answer = tuple[int, dict[str, str], str]


@dataclass
class Site:
    """Its address, and the paths that it was asked for."""

    uri: str
    asked: list[str] = field(default_factory=list)


def mlflow_at(prefix: str = "", authorization: str = "") -> Callable[[str, str], Answer]:
    """What a server below `prefix` answers that knows one user, or any; it has no /health."""

    def answer(path: str, sent: str) -> Answer:
        if authorization and sent != authorization:
            return 401, {"WWW-Authenticate": 'Basic realm="mlflow"'}, "You are not authenticated."
        known = path.partition("?")[0] == f"{prefix}{SEARCH}"
        return (200, {}, EXPERIMENTS) if known else (404, {}, "Not Found")

    return answer


@contextlib.contextmanager
def serving(answer: Callable[[str, str], Answer], tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    """A server that answers a path and an Authorization header with `answer`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            status, headers, body = answer(self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body.encode())), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            return  # a client that does not trust it hangs up

        def get_request(self) -> tuple[Any, Any]:
            request, client = super().get_request()
            if tls:  # the handshake comes with the first read, in the request's own thread
                request = tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            return request, client

    with Server(("127.0.0.1", 0), Handler) as server:
        site = Site(f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Certificates:
    """PEM files: an authority, and a certificate with its key for 127.0.0.1 that it signed."""

    authority: Path
    signed: Path

    def server(self, *, asks_for_ours: bool = False) -> ssl.SSLContext:
        """Settings of a server with this certificate."""
        found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        found.load_cert_chain(self.signed)
        if asks_for_ours:
            found.load_verify_locations(self.authority)
            found.verify_mode = ssl.CERT_REQUIRED
            found.maximum_version = ssl.TLSVersion.TLSv1_2  # it refuses before anything is sent
        return found


def make_certificates(folder: Path, address: str = "127.0.0.1") -> Certificates:
    """Write certificates for an address to `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    key, name = ec.generate_private_key(ec.SECP256R1()), _name("authority of a test")
    authority = _sign(key.public_key(), name, key, name, x509.BasicConstraints(ca=True, path_length=None))
    own = ec.generate_private_key(ec.SECP256R1())
    place = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
    signed = _sign(own.public_key(), _name("server of a test"), key, name, place)
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(authority.public_bytes(pem))
    plain = own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "signed.pem").write_bytes(plain + signed.public_bytes(pem))
    return Certificates(folder / "authority.pem", folder / "signed.pem")


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _sign(
    whose: ec.EllipticCurvePublicKey,
    subject: x509.Name,
    by: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    about: x509.ExtensionType,
) -> x509.Certificate:
    now = datetime.now(timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(whose)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(about, critical=isinstance(about, x509.BasicConstraints))
    )
    return builder.sign(by, hashes.SHA256())
