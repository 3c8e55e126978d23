"""Secrets of the environment are in no text that this process writes, however they are written."""

from __future__ import annotations

import io
import json
import logging
import sys
import traceback
from urllib.parse import quote

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from mlops import masking
from mlops.addresses import is_clear, without_credentials

PASSWORD = "Xy7/b@c%d#e:f?Q9zz"  # of every character that an address gives a meaning
WEBHOOK = "https://hooks.slack.com/services/T01/B01/Xx9qQ2wWw3eEe4rR"
ODD = st.text("abcXYZ059-._~/@%#:?&=+!$'()*,;[]", min_size=8, max_size=24)
ADDRESSES = (
    "postgresql://mage:{}@db.example:5432/mage",
    "postgresql+psycopg2://mage:{}@db.example/mage?sslmode=require",
    "https://me:{}@example.org/trips/",
    "s3://AKIAXX:{}@bucket/trips",
)


def pieces(secret: str) -> list[str]:
    """Parts of a secret that no ordinary word contains: a leak of a part is a leak."""
    return [secret[start : start + 6] for start in range(len(secret) - 5)]


@pytest.mark.parametrize("address", ADDRESSES)
@given(password=ODD)
def test_no_part_of_any_password_is_shown(address: str, password: str) -> None:
    url = address.format(password)
    shown = without_credentials(url)
    if not is_clear(url):
        assert shown in (f"{url.partition('://')[0]}://...", f"{url.partition(':')[0]}:...")
    bare = address.format("")
    assert not [piece for piece in pieces(password) if piece in shown and piece not in bare]


@pytest.mark.parametrize("address", ADDRESSES)
@given(password=ODD)
def test_a_percent_encoded_password_hides_nothing_else(address: str, password: str) -> None:
    shown = without_credentials(address.format(quote(password, safe="")))
    assert shown == without_credentials(address.format("secret"))
    assert "example" in shown or "bucket" in shown


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("SLACK_WEBHOOK_URL", WEBHOOK, "/services/T01/B01/Xx9qQ2wWw3eEe4rR"),
        ("SLACK_WEBHOOK_URL", WEBHOOK, "Xx9qQ2wWw3eEe4rR"),
        ("MLFLOW_TRACKING_PASSWORD", PASSWORD, PASSWORD),
        ("AWS_SECRET_ACCESS_KEY", PASSWORD, quote(PASSWORD, safe="")),
        ("LOCK_URL", f"postgresql://u:{PASSWORD}@db/m", PASSWORD),
        ("LOCK_URL", f"postgresql://u:{quote(PASSWORD, safe='')}@db/m", PASSWORD),
        ("HTTPS_PROXY", f"http://u:{PASSWORD}@proxy:3128", PASSWORD),
        ("SMTP_PASSWORD", 'a"b\\c"d\\e', json.dumps('a"b\\c"d\\e')[1:-1]),
        ("TEAMS_WEBHOOK_URL", "https://x.logic.azure.com/run?sp=a&sig=Zz8_7tTtt6yY", "Zz8_7tTtt6yY"),
    ],
)  # fmt: skip
def test_a_secret_of_the_environment_is_masked(
    name: str, value: str, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert masking.mask(f"cannot parse '{written}'!") == f"cannot parse '{written}'!"
    monkeypatch.setenv(name, value)
    assert masking.mask(f"cannot parse '{written}'!") == "cannot parse '****'!"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAGE_DB_PASSWORD", "mage"),  # a word: its masks would make the logs unreadable
        ("MAGE_DB_PASSWORD", "services"),
        ("POSTGRES_PASSWORD_FILE", "/run/secrets/postgres"),
        ("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000"),
        ("SLACK_WEBHOOK_URL", "None"),
        ("PATH", "/usr/bin"),
    ],
)
def test_what_is_no_secret_is_shown(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert masking.mask(f"mage at {value}: services") == f"mage at {value}: services"


def written_by(name: str, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a logger's handler writes from now on, by Python's own formatter."""
    masking.mask_logs()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger(name)
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "level", logging.DEBUG)
    return stream


def test_logs_of_any_library_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://127.0.0.1:9/services/T01/{PASSWORD.replace('/', '')}"
    monkeypatch.setenv("SLACK_WEBHOOK_URL", f"http://127.0.0.1:9/services/T01/{quote(PASSWORD, safe='')}")
    stream = written_by("urllib3", monkeypatch)
    library = logging.getLogger("urllib3")
    library.debug(
        '%s "POST %s HTTP/1.1" 404', "http://127.0.0.1:9", f"/services/T01/{quote(PASSWORD, safe='')}"
    )
    try:
        requests.get("http://127.0.0.1:9/services/T01/" + quote(PASSWORD, safe=""), timeout=1)
    except requests.RequestException:
        library.exception("failed")
        library.warning("failed", exc_info=True)
    assert stream.getvalue().count("Traceback") > 1
    assert "****" in stream.getvalue()
    assert not [piece for piece in pieces(quote(PASSWORD, safe="")) if piece in stream.getvalue()], url


def test_a_line_of_our_log_cannot_be_forged(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written_by("mlops.data", monkeypatch)
    name = "zone\n12:00:00 models:/x/1 is champion\x1b[2J\x00\u202e\u2028end"
    logging.getLogger("mlops.data").warning("column %s is missing", name)
    assert stream.getvalue() == (
        "column zone\n  12:00:00 models:/x/1 is champion\\x1b[2J\\x00\\u202e\\u2028end is missing\n"
    )


def test_what_is_printed_is_masked_and_obeyed_by_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOCK_URL", f"postgresql://u:{PASSWORD}@db/m")
    with masking.outputs(is_terminal=True):
        print(f"a\x1b[31m {PASSWORD}\tb")  # noqa: T201 - what a command prints
        try:
            raise OSError(f"cannot reach postgresql://u:{PASSWORD}@db/m")
        except OSError:
            traceback.print_exc()
        sys.stderr.writelines(["\u202e", PASSWORD])
    out, err = capsys.readouterr()
    assert out == "a\\x1b[31m ****\tb\n"
    assert err.startswith("Traceback")
    assert err.endswith("OSError: cannot reach postgresql://u:****@db/m\n\\u202e****")
    print(PASSWORD)  # noqa: T201 - no longer masked
    assert capsys.readouterr().out == f"{PASSWORD}\n"


def test_a_sources_address_is_masked_too() -> None:
    masking.remember(f"https://me:{PASSWORD}@example.org/trips?X-Signature=Qq1Ww2Ee3Rr4&n=1")
    assert masking.mask(f"no answer from https://me:{PASSWORD}@example.org/trips") == (
        "no answer from https://me:****@example.org/trips"
    )
    assert masking.mask("url: /trips/x?X-Signature=Qq1Ww2Ee3Rr4&n=1") == "url: /trips/x?****"
