"""The first check of the tracking server: it is asked as MLflow's own client asks, and a failure is named.

Only `client` imports this module: it first sets what mlflow reads when it is imported.
"""

from __future__ import annotations

import configparser
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
import requests.exceptions as failed
import sqlalchemy
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds, read_mlflow_creds
from mlflow.utils.rest_utils import http_request
from requests.utils import get_netrc_auth

from mlops.config import sqlite_file, without_credentials
from mlops.errors import TrackingDownError, TrackingError, one_line
from mlops.registry import local_stack

SEARCH = "/api/2.0/mlflow/experiments/search"  # asks for a login; /health and /version do not
QUESTION = f"{SEARCH}?max_results=1"
USER, PASSWORD, TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
SERVER_CERTIFICATE, OUR_CERTIFICATE = "MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_CLIENT_CERT_PATH"
_TRANSIENT = (408, 429)  # besides every status from 500
_PLAIN_HTTP = re.compile("WRONG_VERSION_NUMBER|UNKNOWN_PROTOCOL|RECORD_LAYER|HTTP_REQUEST|PACKET_LENGTH")
_WANTS_CERTIFICATE = re.compile(
    "CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|ALERT_UNKNOWN_CA|ALERT_BAD_CERT|EOF occurred"
)
_DATABASE_REFUSES = re.compile(
    "authentication failed|no password supplied|does not exist|no pg_hba.conf entry"
)


def probe(uri: str, timeout: float) -> None:
    """Raise unless the tracking server or store at `uri` answers within `timeout` seconds.

    MLflow's own client needs about four minutes to give up on a dead server.

    Raises
    ------
    TrackingDownError
        When nothing answers, or a status says that trying again later may help.
    TrackingError
        When it refuses our credentials, TLS fails, or it is not an MLflow server; or when a setting is wrong.
    """
    if uri.startswith(("http://", "https://")):
        problem = _problem(uri, ask(uri, QUESTION, timeout))
        if problem:
            raise problem
    elif file := sqlite_file(uri):
        _make_folder(file.parent)
    elif uri.startswith("postgresql"):
        _connect_to_postgres(uri, timeout)


def ask(uri: str, path: str, timeout: float, *, anonymous: bool = False) -> requests.Response:
    """The server's answer to one GET, sent with MLflow's own settings for credentials, TLS and proxies.

    Raises
    ------
    TrackingDownError
        When there is no answer within `timeout` seconds.
    TrackingError
        When TLS fails or a setting is wrong.
    """
    try:
        host: Any = get_default_host_creds(uri)  # type: ignore[no-untyped-call]
        options: dict[str, Any] = {"max_retries": 0, "timeout": timeout, "raise_on_status": False}
        if anonymous:
            host.host = _without_user(uri)
            host.username = host.password = host.token = host.auth = None
            host.aws_sigv4, options["auth"] = False, _nobody
        answer: requests.Response = http_request(host, path, "GET", **options)  # type: ignore[no-untyped-call]
        return answer
    except configparser.Error as error:  # its text may contain the password
        raise TrackingError(
            f"~/.mlflow/credentials cannot be read ({type(error).__name__}). Expected a section [mlflow] with "
            f"{USER.lower()} and {PASSWORD.lower()}, where a % is written as %%; or set {USER} and {PASSWORD}."
        ) from None
    except (MlflowException, ImportError, OSError, ValueError) as error:
        raise _failure(uri, error, timeout) from None  # the error's own text may contain the token


def lets_anybody_in(uri: str, timeout: float) -> bool:
    """Whether the server answers questions without a login; False if we show it a certificate of ours."""
    if os.environ.get(OUR_CERTIFICATE):
        return False
    try:
        return _problem(uri, ask(uri, QUESTION, timeout, anonymous=True)) is None
    except TrackingError:
        return False


def unknown_user(uri: str, status: int = 401) -> str:
    """That the server refuses our credentials, which ones, and what to set; without any password."""
    wants = "requires a known user" if status == 401 else "does not let this user in"
    got, act = _credentials(uri)
    return f"the server {wants} ({status}); got {got}. {act}"


def _credentials(uri: str) -> tuple[str, str]:
    """Whose credentials a request carries, in the order in which they count, and how to correct them."""
    netrc, in_address, known = get_netrc_auth(uri), urlsplit(uri).username, read_mlflow_creds()
    if netrc:
        return (
            f"user {netrc[0]!r} of ~/.netrc, which counts first",
            "Correct ~/.netrc, or remove this host there.",
        )
    if in_address:
        return f"user {in_address!r} of MLFLOW_TRACKING_URI", "Correct user and password there."
    act = (
        f"Set {USER} and {PASSWORD} (or {TOKEN}); "
        "`make stack` writes the first two to stack/environment in the state folder, `make mlflow` to mlflow/.env."
    )
    if known.username and known.password:
        return f"user {known.username!r} with an unknown name or a wrong password", act
    if os.environ.get(TOKEN):
        return f"a token of {TOKEN} that is wrong or has expired", act
    if known.username:
        return f"user {known.username!r} without a password", act
    return "no user", act


def _problem(uri: str, answer: requests.Response) -> TrackingError | None:
    """What is wrong with an answer to `QUESTION`, or None if it comes from MLflow."""
    about, status = f"tracking server {without_credentials(uri)}", answer.status_code
    refusal = _refusal(uri, answer)
    if refusal:
        return TrackingError(f"{about}: {refusal}")
    if status in _TRANSIENT or status >= 500:
        return TrackingDownError(
            f"{about}: it answered {status}; expected 200. It or its database may be starting, away or "
            "overloaded: read its log, or try again later."
        )
    content = _content(answer)
    if status == 200 and not content:
        return None
    return TrackingError(
        f"{about}: it answered a request for experiments with {status}, {content or 'JSON'}; expected 200 and "
        "MLflow's JSON. MLFLOW_TRACKING_URI must be the address of an MLflow server, with its path prefix if it "
        "has one, but without the address of a page (/#/...)."
    )


def _refusal(uri: str, answer: requests.Response) -> str:
    """Why a server, or a proxy before it, does not let us in, and what to set; an empty text if it does."""
    first, status = (answer.history or [answer])[0], answer.status_code
    if first.status_code in (301, 302, 303) and first.headers.get("Location"):
        return _moved(first)
    if status == 403 and "Invalid Host header" in answer.text:
        host = urlsplit(_without_user(uri)).netloc
        return (
            f"it refuses the host name {host}; start it with {host} added to "
            f"MLFLOW_SERVER_ALLOWED_HOSTS (or --allowed-hosts {host},localhost:*)"
        )
    if status in (401, 403):
        return unknown_user(uri, status)
    if status == 407:
        return f"the proxy requires a login (407). {_correct_proxy(uri)}"
    if status == 400 and "SSL certificate" in answer.text:  # said by nginx, as is the next one
        return _needs_our_certificate("400")
    if status == 400 and "sent to HTTPS port" in answer.text:
        return "it speaks TLS only (400). Write https:// in MLFLOW_TRACKING_URI."
    return ""


def _content(answer: requests.Response) -> str:
    """What an answer contains, for people; an empty text if that may be MLflow's list of experiments."""
    try:
        found = answer.json()
    except ValueError:
        text = answer.text.strip()
        return "a web page" if text.startswith("<") else "a text" if text else "nothing"
    if isinstance(found, dict) and found.get("error_code"):
        return f"the error {one_line(found['error_code'], 60)}"
    is_list = isinstance(found, dict) and found.keys() <= {"experiments", "next_page_token"}
    return "" if is_list else "JSON of another program"


def _moved(answer: requests.Response) -> str:
    place = without_credentials(requests.compat.urljoin(answer.url, answer.headers["Location"]))
    place = place.removesuffix(SEARCH)
    return (
        f"it redirects to {place} ({answer.status_code}), and MLflow's client would lose what it sends. If "
        f"that is the server, set MLFLOW_TRACKING_URI to it. If it is a login page, "
        f"set {TOKEN}, or {USER} and {PASSWORD}."
    )


def _failure(uri: str, error: Exception, timeout: float) -> TrackingError:
    """The error for a request without an answer, from what `http_request` raised; without a secret in its text."""
    about, cause = f"tracking server {without_credentials(uri)}", error.__cause__ or error.__context__
    if not re.match("API request to|Invalid url", str(error)):  # it was not sent
        return TrackingError(f"{about}: a setting of MLflow is wrong: {one_line(error, 400)}")
    if isinstance(cause, failed.InvalidProxyURL):
        return TrackingError(f"{about}: the address of the proxy is wrong. {_correct_proxy(uri)}")
    if isinstance(cause, failed.ProxyError):
        return TrackingDownError(f"{about}: the proxy does not let us through. {_correct_proxy(uri)}")
    if isinstance(cause, failed.SSLError):
        return TrackingError(f"{about}: {_tls(str(cause))}")
    if isinstance(cause, failed.InvalidURL | failed.MissingSchema | failed.InvalidSchema):
        return TrackingError(f"{about}: not an address. Expected http://HOST:PORT or https://HOST/PREFIX.")
    if isinstance(cause, failed.TooManyRedirects):
        return TrackingError(
            f"{about}: it redirects without end; correct MLFLOW_TRACKING_URI, or the server."
        )
    if isinstance(cause, ValueError):  # its text contains the token
        return TrackingError(f"{about}: {TOKEN} cannot be sent; expected one line of ASCII characters.")
    if isinstance(cause, OSError) and not isinstance(cause, failed.RequestException):
        return TrackingError(f"{about}: {cause}. Correct {SERVER_CERTIFICATE} or {OUR_CERTIFICATE}.")
    return no_answer(uri, timeout, _reason(uri, cause), hangs="Read timed out" in str(cause))


def no_answer(uri: str, timeout: float, reason: str, *, hangs: bool = False) -> TrackingDownError:
    """That no server is there, or that it hangs, why, and what to do."""
    about = f"tracking server {without_credentials(uri)}"
    act = f"{local_stack.act_without_answer(uri, hangs=hangs)}, or set MLFLOW_TRACKING_URI to one that runs."
    return TrackingDownError(f"{about}: no answer within {timeout:g} s ({reason}). {act}")


def _reason(uri: str, error: BaseException | None) -> str:
    text = str(error)
    if "timed out" in text:
        return "timeout"
    if "Failed to resolve" in text or "Name or service not known" in text:
        return "unknown host name"
    if "Remote end closed connection" in text and uri.startswith("http:"):
        return "it closes the connection; does it want https://?"
    found = re.search(r"\[Errno -?\d+\] ([^'\")]+)|(Connection reset[^'\")]*)", text)
    return (found[1] or found[2]) if found else type(error).__name__


def _tls(text: str) -> str:
    """What is wrong with TLS, from the text of the error, and what to set."""
    if _PLAIN_HTTP.search(text):
        return "it does not speak TLS. Write http:// instead of https:// in MLFLOW_TRACKING_URI."
    if _WANTS_CERTIFICATE.search(text):
        return _needs_our_certificate("TLS")
    found = re.search(r"certificate verify failed: ([^()]+)|(hostname '.*' doesn't match [^\")]+)", text)
    if found:
        return (
            f"its certificate is not trusted ({(found[1] or found[2]).strip(' .')}). Set {SERVER_CERTIFICATE} to "
            "a file with the certificate that signed it, and use the host name of the certificate. "
            "MLFLOW_TRACKING_INSECURE_TLS=true turns this check off."
        )
    reason = re.search(r"\[[^\]]+\] [^()']+", text)
    return (
        f"TLS fails ({reason[0].strip() if reason else 'no reason given'}). "
        f"Check the files of {SERVER_CERTIFICATE} and {OUR_CERTIFICATE}."
    )


def _needs_our_certificate(where: str) -> str:
    return (
        f"it seems to require a client certificate that it knows ({where}). "
        f"Set {OUR_CERTIFICATE} to a PEM file with certificate and key."
    )


def _correct_proxy(uri: str) -> str:
    name = f"{urlsplit(uri).scheme.upper()}_PROXY"
    return f"Correct {name}, or add {urlsplit(uri).hostname} to NO_PROXY."


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrackingError(
            f"{folder}: this folder for the tracking store cannot be created ({error.strerror or error}). "
            "Set MLOPS_STATE_DIR to another folder."
        ) from error


def _connect_to_postgres(uri: str, timeout: float) -> None:
    about = f"tracking server {without_credentials(uri)}"
    try:
        engine = sqlalchemy.create_engine(
            uri, connect_args={"connect_timeout": max(1, int(timeout))}, poolclass=sqlalchemy.NullPool
        )
        engine.connect().close()
    except sqlalchemy.exc.DBAPIError as error:
        text = one_line(re.sub(r"//\S*@", "//", str(error.orig)), 300)
        if _DATABASE_REFUSES.search(text):
            raise TrackingError(f"{about}: it refuses: {text}. Correct MLFLOW_TRACKING_URI.") from error
        raise no_answer(uri, timeout, text) from error
    except (sqlalchemy.exc.SQLAlchemyError, ValueError) as error:
        raise TrackingError(
            f"{about}: not an address of a database. Expected postgresql+psycopg2://USER:PASSWORD@HOST:PORT/NAME."
        ) from error


def _without_user(uri: str) -> str:
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")


def _nobody(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Send no password, not even one from ~/.netrc."""
    return request
