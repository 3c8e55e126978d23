"""Web servers that know HTTP well, and others."""

from __future__ import annotations

import gzip
import io
import logging
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from support.month_site import NAME, OCTOBER, Answer, Server, fetch, kept, parquet

from mlops.data import cache, retries, sources
from mlops.data.sources import source, web_site
from mlops.errors import DownloadError, MonthNotPublishedError, TripSchemaError
from mlops.month import Month

pytestmark = pytest.mark.usefixtures("_quick_and_local")

PAGE = b"<!doctype html><title>Sign in</title>"
HTML = (("Content-Type", "text/html; charset=utf-8"),)


def version(server: Server) -> str | None:
    return sources.open_source(server.url).version(NAME)


# --- busy, refusing and dead servers -----------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path, status: int) -> None:
    server.head = [Answer(status=status), Answer(parquet())]
    server.get = [Answer(status=status, headers=(("Retry-After", "0"),)), Answer(parquet())]
    assert fetch(server.url, tmp_path).path.read_bytes() == parquet()
    assert (server.count("HEAD"), server.count("GET")) == (2, 2)


def test_a_server_that_stays_busy(server: Server, tmp_path: Path) -> None:
    server.head = [Answer(status=503)]
    with pytest.raises(
        DownloadError, match=r"expected HTTP 200, got 503 Service Unavailable\. Try again later"
    ):
        fetch(server.url, tmp_path)
    assert server.count("HEAD") == retries.ATTEMPTS


def test_a_body_cut_short_is_fetched_from_the_start(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = parquet(1_000_000)
    assert len(body) > 2 * source.CHUNK_BYTES  # so that the broken attempt has written something
    server.head = [Answer(body)]
    server.get = [Answer(body, sent=0), Answer(body, sent=len(body) - 1), Answer(body)]
    file = fetch(server.url, tmp_path)
    assert file.path.read_bytes() == body
    assert file == fetch(server.url, tmp_path)  # the sha256 is that of the whole body alone
    assert server.count("GET") == 3
    assert f"{NAME}: the connection broke off; attempt 2 of 4" in caplog.text


def test_a_body_always_cut_short_leaves_nothing(server: Server, tmp_path: Path) -> None:
    body = parquet(1000)
    server.holds(body, sent=100)
    with pytest.raises(DownloadError) as caught:
        fetch(server.url, tmp_path)
    assert str(caught.value) == (
        f"{server.url}/{NAME}: the connection broke off; expected {len(body)} bytes, got 100 bytes. "
        "Try again later, or choose another --source."
    )
    assert server.count("GET") == retries.ATTEMPTS
    assert kept(tmp_path) == set()


def test_a_month_to_come(server: Server, tmp_path: Path) -> None:
    server.head = [Answer(status=404)]
    with pytest.raises(MonthNotPublishedError) as caught:
        fetch(server.url, tmp_path, Month(2031, 1))
    assert str(caught.value) == (
        f"green 2031-01: not published at {server.url}/green_tripdata_2031-01.parquet. "
        "Choose an earlier month or another --source."
    )
    assert (caught.value.service, caught.value.month) == ("green", "2031-01")
    assert list(tmp_path.iterdir()) == []


def test_refused_after_it_was_found_is_not_called_unpublished(server: Server, tmp_path: Path) -> None:
    server.head, server.get = [Answer(parquet())], [Answer(status=403)]
    with pytest.raises(DownloadError, match="expected HTTP 200, got 403 Forbidden"):
        fetch(server.url, tmp_path)
    assert kept(tmp_path) == set()


def test_a_dead_host_fails_soon(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # not listening: nobody else gets this port, and nobody answers
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(DownloadError) as caught:
            fetch(url, tmp_path)
    assert str(caught.value) == (
        f"{url}/{NAME}: no answer after 4 attempts: Connection refused. "
        "Check the address and the network, or choose another --source."
    )
    assert caught.value.__cause__ is not None
    assert caplog.text.count("Connection refused; attempt") == 3
    connect_seconds, _ = web_site.TIMEOUT_SECONDS
    assert retries.ATTEMPTS * connect_seconds < 15


def test_the_cause_is_named_inside_the_handler_of_another_error(caplog: pytest.LogCaptureFixture) -> None:
    """Mage runs blocks where it handles asyncio's "no running event loop"."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        site = sources.open_source(f"http://127.0.0.1:{unused.getsockname()[1]}")
        try:
            raise RuntimeError("no running event loop")
        except RuntimeError:
            with pytest.raises(DownloadError, match=r"after 4 attempts: Connection refused\."):
                site.version(NAME)
    assert caplog.text.count(f"{site.url}: Connection refused; attempt") == 3


def test_no_secret_of_a_url_is_shown(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.holds(parquet(), sent=10)
    address = server.url.replace("//", "//me:pa@ss-secret@") + "/?sig=query-secret"
    site = sources.open_source(address)
    with caplog.at_level(logging.INFO), pytest.raises(DownloadError) as caught:
        cache.fetch(site, "green", OCTOBER, tmp_path)
    server.close()
    with pytest.raises(DownloadError) as unreachable:
        site.version(NAME)
    reported = [repr(site), site.url, site.key, caplog.text]
    reported += [
        str(caught.value),
        str(caught.value.__cause__),
        str(unreachable.value),
        str(unreachable.value.__cause__),
    ]
    assert "secret" not in "\n".join(reported)
    assert site.url == server.url
    assert server.requests[0] == ("HEAD", f"/trip-data/{NAME}?sig=query-secret")  # but it is sent


def test_months_available_keeps_the_order_asked_for(server: Server) -> None:
    server.head = [Answer(status=404), Answer(parquet()), Answer(parquet()), Answer(status=404)]
    months = Month.range(Month(2023, 1), Month(2023, 4))
    assert sources.months_available(sources.open_source(server.url), "green", months) == months[1:3]
    assert server.count("GET") == 0


# --- HEAD --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [405, 501, 400, 403, 204])
def test_a_server_that_does_not_answer_head_is_asked_by_get(
    server: Server, tmp_path: Path, status: int
) -> None:
    server.head, server.get = [Answer(status=status)], [Answer(parquet())]
    file = fetch(server.url, tmp_path)
    assert file.path.read_bytes() == parquet()
    assert fetch(server.url, tmp_path) == file  # not fetched again: the ETag of the GET is its version
    assert (server.count("HEAD"), server.count("GET")) == (2, 3)
    assert sources.open_source(server.url).size(NAME) == len(parquet())


def test_the_body_of_a_get_for_the_headers_is_not_read(server: Server) -> None:
    server.head = [Answer(status=405)]
    server.get = [Answer(parquet(), sent=10, hold=threading.Event())]  # the rest is never sent
    assert version(server) == '"one"'


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_month_that_is_not_there(server: Server, status: int, method: str) -> None:
    server.head = [Answer(status=status if method == "HEAD" else 405)]
    server.get = [Answer(status=status)]
    assert version(server) is None


def test_tlc_s_site_is_not_asked_again_by_get(server: Server) -> None:
    site = sources.open_source(server.url)
    object.__setattr__(site, "control", "../misc/zones.csv")  # as TLC's site has one
    server.head = [Answer(status=403)]
    with pytest.raises(sources.RefusedError):
        site.version(NAME)
    assert server.requests == [("HEAD", f"/trip-data/{NAME}")]


def test_a_proxy_s_203_is_a_file(server: Server, tmp_path: Path) -> None:
    server.holds(parquet(), status=203)
    server.head = [Answer(parquet(), status=203)]
    assert fetch(server.url, tmp_path).path.read_bytes() == parquet()


# --- pages under a month's name ----------------------------------------------------------------


def test_a_web_page_is_not_a_missing_month(server: Server) -> None:
    server.holds(PAGE, headers=HTML)
    server.head = [Answer(PAGE, headers=HTML)]
    with pytest.raises(TripSchemaError) as caught:
        sources.months_available(sources.open_source(server.url), "green", [OCTOBER])
    assert str(caught.value) == (
        f"{server.url}/{NAME}: not a Parquet file; expected b'PAR1' at its start, got {PAGE!r} (text/html; "
        "charset=utf-8). Is it a web page or a text saved under this name? Put the real file there."
    )


def test_a_redirect_to_a_login_page_is_named(server: Server) -> None:
    location = f"{server.url}/login?ticket=secret"
    server.head = [Answer(status=302, headers=(("Location", location),)), Answer(PAGE, headers=HTML)]
    server.get = list(server.head)
    with pytest.raises(TripSchemaError) as caught:
        version(server)
    assert f"(text/html; charset=utf-8, after a redirect to {server.url}/login)" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        ("application/json", b'{"error": "no such key"}', "Is it a web page or a text"),
        ("application/problem+json", b"{}", "Is it a web page or a text"),
        ("text/plain", b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "run `git lfs pull`"),
        ("text/html", b"", "The file is empty"),
    ],
)
def test_other_texts(server: Server, content_type: str, body: bytes, words: str) -> None:
    server.head = server.get = [Answer(body, headers=(("Content-Type", content_type),))]
    with pytest.raises(TripSchemaError, match=words):
        version(server)


def test_a_file_is_not_refused_for_a_wrong_content_type(server: Server, tmp_path: Path) -> None:
    server.holds(parquet(), headers=HTML)
    server.head = [Answer(parquet(), headers=HTML)]
    assert fetch(server.url, tmp_path).path.read_bytes() == parquet()


def test_a_control_file_may_be_a_text(server: Server) -> None:
    server.head = [Answer(b"1,Newark", headers=(("Content-Type", "text/csv"),))]
    assert sources.open_source(server.url).version("../misc/zones.csv") == '"one"'
    assert server.count("GET") == 0


# --- Retry-After -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked", ["1m0s", "-5", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", "0.01", "9" * 30 + "x"]
)
def test_an_odd_wish_for_a_wait_is_a_usual_wait(server: Server, asked: str) -> None:
    server.head = [Answer(status=429, headers=(("Retry-After", asked),)), Answer(parquet())]
    assert version(server) == '"one"'


@pytest.mark.parametrize(("asked", "seconds"), [("3600", 3600), ("1800.5", 1800.5), ("9" * 5000, 3600)])
def test_a_long_wait_is_left_to_the_patience(
    server: Server, asked: str, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    server.head = [Answer(status=503, headers=(("Retry-After", asked),))]
    with pytest.raises(retries.UnavailableError) as caught:
        version(server)
    assert caught.value.wait_seconds == seconds
    assert str(caught.value) == (
        f"{server.url}/{NAME}: expected HTTP 200, got 503 Service Unavailable, Retry-After: {asked[:40]}. "
        "Try again later, set source_patience to keep trying, or choose another --source."
    )
    assert (server.count("HEAD"), caplog.text) == (1, "")


def test_a_short_wait_is_logged_and_waited(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    server.head = [Answer(status=429, headers=(("Retry-After", "4"),)), Answer(parquet())]
    assert version(server) == '"one"'
    assert list(filter(None, waits)) == [4]  # the server's answers wait for 0 seconds
    assert f"{server.url}: HTTP 429; attempt 1 of 4, the next in 4.0 s" in caplog.text


# --- bodies ------------------------------------------------------------------------------------

BODY = parquet(1000)
CHUNKED = (("Transfer-Encoding", "chunked"),)


def in_chunks(body: bytes, size: int = 200) -> bytes:
    """The body in HTTP's chunks, with the empty chunk at the end."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [*parts, b""])


BROKEN = {
    "no length, cut": Answer(BODY, sent=500, length=None),
    "no length, empty": Answer(BODY, sent=0, length=None),
    "cut": Answer(BODY, sent=500),
    "within a chunk": Answer(in_chunks(BODY)[:510], length=None, headers=CHUNKED),
    "without the last chunk": Answer(in_chunks(BODY)[:-5], length=None, headers=CHUNKED),
    "length too small": Answer(BODY, length="500"),
    "length too large": Answer(BODY, length=str(len(BODY) + 1)),
    "reset": Answer(BODY, sent=500, reset=True),
    "headers, then nothing": Answer(BODY, sent=0, hold=threading.Event()),
    "stalls": Answer(BODY, sent=500, hold=threading.Event()),
    "not gzip": Answer(BODY, headers=(("Content-Encoding", "gzip"),)),
    "gzip, cut": Answer(gzip.compress(BODY)[:500], headers=(("Content-Encoding", "gzip"),)),
    "busy": Answer(status=503),
    "busy for a while": Answer(status=429, headers=(("Retry-After", "0.02"),)),
    "timed out in a gateway": Answer(status=524),
}


@pytest.fixture
def _soon_timed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_site, "TIMEOUT_SECONDS", (3.0, 0.1))


@pytest.mark.usefixtures("_soon_timed_out")
@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_what_may_pass_is_covered_by_the_patience(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE_SECONDS", 0.01)
    server.head = [Answer(BODY)]
    server.get = [*[answer] * (retries.ATTEMPTS + 1), Answer(BODY)]
    assert retries.for_seconds(60)(fetch, server.url, tmp_path).path.read_bytes() == BODY
    assert kept(tmp_path) == {NAME, f"{NAME}.json"}


@pytest.mark.usefixtures("_soon_timed_out")
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            "no length, cut",
            "a truncated Parquet file; it starts with b'PAR1', but expected a footer at its end, got",
        ),
        ("no length, empty", "a truncated Parquet file; expected b'PAR1' at its start, got b'' (0 bytes)"),
        (
            "length too large",
            f"the connection broke off; expected {len(BODY) + 1} bytes, got {len(BODY)} bytes",
        ),
        ("stalls", f"no bytes arrived for 0.1 s; expected {len(BODY)} bytes, got 500 bytes"),
        (
            "not gzip",
            "the body is not encoded as the header Content-Encoding says; expected the whole file, got",
        ),
    ],
)
def test_a_broken_body_is_described(server: Server, tmp_path: Path, answer: str, message: str) -> None:
    server.head, server.get = [Answer(BODY)], [BROKEN[answer]]
    with pytest.raises(sources.BrokenOffError) as caught:
        fetch(server.url, tmp_path)
    assert str(caught.value).startswith(f"{server.url}/{NAME}: {message}")
    assert str(caught.value).endswith(". Try again later, or choose another --source.")
    assert server.count("GET") == retries.ATTEMPTS
    assert kept(tmp_path) == set()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(BODY)),
        ("aws-chunked,gzip", gzip.compress(BODY)),  # S3 keeps this when a large file is uploaded
        ("aws-chunked", BODY),
        ("UTF-8", BODY),
        ("", BODY),
    ],
)
def test_an_encoded_body_is_decoded(server: Server, tmp_path: Path, encoding: str, body: bytes) -> None:
    server.holds(body, headers=(("Content-Encoding", encoding),))
    assert fetch(server.url, tmp_path).path.read_bytes() == BODY


def test_a_body_in_chunks(server: Server, tmp_path: Path) -> None:
    server.head = [Answer(BODY)]
    server.get = [Answer(in_chunks(BODY), length=None, headers=CHUNKED)]
    assert fetch(server.url, tmp_path).path.read_bytes() == BODY


@pytest.mark.parametrize("length", ["\u00b2", "-1", "many"])
def test_a_length_that_is_no_number(server: Server, tmp_path: Path, length: str) -> None:
    server.holds(BODY, length=length)
    assert fetch(server.url, tmp_path).path.read_bytes() == BODY


def test_bytes_are_reported_as_they_arrive(server: Server) -> None:
    rest = threading.Event()
    server.get = [Answer(BODY, sent=64, hold=rest)]
    seen: list[tuple[int, int | None]] = []

    def progress(*reported: Any) -> None:
        seen.append(reported)
        rest.set()

    target = io.BytesIO()
    sources.open_source(server.url).download(NAME, target, progress)
    assert target.getvalue() == BODY
    assert (seen[0], seen[-1]) == ((64, len(BODY)), (len(BODY), len(BODY)))
