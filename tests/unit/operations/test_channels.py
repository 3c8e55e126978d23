"""Each channel gets a message as text, cut to its limit; a failure is logged without the webhook's URL."""

from __future__ import annotations

import html
import json
import logging
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.failures import closed_port
from support.inbox import TOKEN, Inbox, receiving

from mlops import masking
from mlops.operations import channels
from mlops.operations.channels import Message

ATTACK = (
    "<!channel> & <https://evil.example|log in here> [log in](https://evil.example) @everyone *b* <b>x</b>"
)
COLUMNS = f"green 2023-05: column '{ATTACK}' is missing; got {[f'{n}{ATTACK}' for n in range(400)]}"
PAGE = "http://127.0.0.1:6789/pipelines/p/runs/7"


def configured(**urls: str) -> Any:
    """Mage's configuration with these webhooks."""
    names = {f"{name}_config": None for name in (*channels.WEBHOOKS, "email", "opsgenie")}
    hooks = {f"{name}_config": SimpleNamespace(webhook_url=url, is_valid=True) for name, url in urls.items()}
    return SimpleNamespace(**names | hooks)


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with receiving() as inbox:
        yield inbox


def test_slack_gets_plain_text_with_entities_and_one_link(inbox: Inbox) -> None:
    title = f"trip-duration-green: {ATTACK}"
    assert channels.send(Message(title, ATTACK, PAGE), configured(slack=inbox.url)) == ["slack"]
    (posted,) = inbox.posted
    *blocks, link = [block["text"] for block in posted["blocks"] if "text" in block]
    assert {(block["type"], block["emoji"]) for block in blocks} == {("plain_text", False)}
    assert "&lt;!channel&gt; &amp; &lt;https://evil.example|log in here&gt;" in blocks[1]["text"]
    assert not [
        text
        for text in [posted["text"], *(b["text"] for b in blocks)]
        if re.search("<|>|&(?!lt;|gt;|amp;)", text)
    ]
    assert link == {"type": "mrkdwn", "text": f"Mage: <{PAGE}>"}
    assert inbox.messages == [(title, f"{ATTACK}\nMage: {PAGE}")]


def test_opsgenie_gets_an_alert_within_its_limits(inbox: Inbox) -> None:
    own = {"priority": "P3", "responders": [], "tags": ["taxi"], "details": {}}
    settings = SimpleNamespace(url=inbox.url, api_key="a key", is_valid=True, **own)
    config = configured()
    config.opsgenie_config = settings
    assert channels.send(Message(COLUMNS, COLUMNS, PAGE), config) == ["opsgenie"]
    (posted,) = inbox.posted
    assert {name: posted[name] for name in own} == own
    assert (len(posted["message"]), posted["description"].startswith(COLUMNS[:100])) == (130, True)
    assert 14_900 < len(posted["description"]) <= 15_000
    assert inbox.authorization == "GenieKey a key"
    inbox.status = 422
    assert channels.send(Message("t", "x"), config) == []


LIMITS: dict[str, tuple[int, Callable[[Any], list[str]]]] = {
    "slack": (3000, lambda posted: [block["text"]["text"] for block in posted["blocks"] if "text" in block]),
    "teams": (6000, lambda posted: [posted["sections"][0]["activitySubtitle"]]),
    "discord": (2000, lambda posted: [posted["content"]]),
    "telegram": (4096, lambda posted: [posted["text"]]),
    "google_chat": (4096, lambda posted: [posted["text"]]),
}


@pytest.mark.parametrize("name", LIMITS)
def test_400_long_names_are_cut_to_the_channels_limit(name: str, inbox: Inbox) -> None:
    assert channels.send(Message(COLUMNS, COLUMNS, PAGE), configured(**{name: inbox.url})) == [name]
    most, texts = LIMITS[name]
    found = texts(inbox.posted[0])
    assert max(map(len, found)) <= most
    assert max(map(len, found)) > most - 200
    assert "the whole text" in "".join(found)
    assert len(json.dumps(inbox.posted[0], ensure_ascii=False).encode()) < 28_000
    if name == "slack":
        assert len(inbox.posted[0]["blocks"][0]["text"]["text"]) <= 150


@pytest.mark.parametrize("name", LIMITS)
def test_no_channel_gets_a_link_or_a_mention(name: str, inbox: Inbox) -> None:
    channels.send(Message("a run failed", ATTACK), configured(**{name: inbox.url}))
    shown = "".join(LIMITS[name][1](inbox.posted[0]))
    assert "evil.example" in html.unescape(shown).replace("\\", "")
    if name != "telegram":
        assert not re.search(r"(?<!\\)<[!@a-z]", shown)
    if name in ("teams", "discord"):  # they know Markdown
        assert not re.search(r"(?<!\\)\]\(", shown)
    if name == "teams":
        assert inbox.posted[0]["sections"][0]["markdown"] is False
    if name == "discord":
        assert inbox.posted[0]["allowed_mentions"] == {"parse": []}
    if name == "telegram":
        assert "parse_mode" not in inbox.posted[0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(text=st.text(max_size=400).map(lambda text: text * 30))
def test_any_text_can_be_sent_and_stays_what_it_is(inbox: Inbox, text: str) -> None:
    inbox.posted.clear()
    for name in LIMITS:
        assert channels.send(Message("title", text), configured(**{name: inbox.url})) == [name]
    (_, shown), *_ = Inbox(posted=inbox.posted[:1]).messages
    whole = masking.clean(text)
    assert shown == whole or whole.startswith(shown.removesuffix(channels.CUT))
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", json.dumps(shown, ensure_ascii=False)
    )


# --- Failures -------------------------------------------------------------------------------------------------


@contextmanager
def silent() -> Iterator[int]:
    """Port of a server that accepts, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"http://127.0.0.1:{{closed}}/services/{TOKEN}", "no connection"),
        (f"http://nowhere.invalid/services/{TOKEN}", "no connection"),
        (f"http://127.0.0.1:{{silent}}/services/{TOKEN}", "no answer within 0.2 s"),
        (f"https://127.0.0.1:{{port}}/services/{TOKEN}", "TLS fails"),
        (f"https://[127.0.0.1:{{port}}/services/{TOKEN}", "its address or another value"),
        (f"ftp://127.0.0.1/services/{TOKEN}", "its address or another value"),
        (f"http:///services/{TOKEN}", "its address or another value"),
        (f"http://127.0.0.1:99999/services/{TOKEN}", ""),
        (f"/services/{TOKEN}", "its address or another value"),
        *(
            (f"http://127.0.0.1:{{port}}/services/{TOKEN}", f"it answered {s}")
            for s in (301, 307, 403, 404, 500)
        ),
        (f"http://user:{TOKEN}@127.0.0.1:{{closed}}/hook?sig={TOKEN}", "its address or another value"),
        (f"http://user:Xx9qQ2wWw3eEe4rR@127.0.0.1:{{closed}}/hook?sig={TOKEN}", "no connection"),
    ],
)
@pytest.mark.parametrize("name", ["slack", "teams"])
def test_no_failure_writes_the_webhooks_url(
    name: str, url: str, reason: str, inbox: Inbox, caplog: Any, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)  # as somebody may set it: urllib3 logs each request then
    logging.getLogger("mlops").propagate = True
    monkeypatch.setattr(channels, "SECONDS_TO_ANSWER", 0.2)
    asked = re.search(r"answered (\d+)", reason)
    inbox.status = int(asked[1]) if asked else 200
    with silent() as port, closed_port() as closed:
        places = {"port": inbox.url.split(":")[2].split("/")[0], "closed": closed, "silent": port}
        config = configured(**{name: url.format(**places)})
        assert channels.send(Message("a run failed", "why"), config) == []
    assert f"{name} did not take the message 'a run failed': {reason}" in caplog.text
    said = caplog.text + "".join(capfd.readouterr())
    assert not [part for part in ("T0Hook", "B0Hook", "Xx9qQ2wWw3eEe4rR") if part in said], said


def test_one_channel_that_fails_does_not_keep_a_message_from_the_others(inbox: Inbox) -> None:
    with closed_port() as port:
        config = configured(slack=f"http://127.0.0.1:{port}/x", teams=inbox.url, discord=inbox.url)
        assert channels.send(Message("t", "x"), config) == ["teams", "discord"]
        assert channels.send(Message("t", "x"), config, ["teams"]) == ["discord"]


# --- E-mail ---------------------------------------------------------------------------------------------------


class _Mail(socketserver.StreamRequestHandler):
    """Enough of SMTP to take one mail; the answer to its end is `server.answer`."""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            word = line.split()[0].upper().decode()
            if word == "DATA":
                self.wfile.write(b"354 go\r\n")
                lines = [line.removeprefix(b".") for line in iter(self.rfile.readline, b".\r\n")]
                mail = b"".join(lines)
                self.server.mails.append(message_from_bytes(mail, policy=policy.default))  # type: ignore[attr-defined]
                self.wfile.write(self.server.answer)  # type: ignore[attr-defined]
            else:
                self.wfile.write(b"221 bye\r\n" if word == "QUIT" else b"250 ok\r\n")


@contextmanager
def mail_server(answer: bytes = b"250 taken\r\n") -> Iterator[tuple[Any, list[Any]]]:
    """Mage's configuration of a mail server, and the mails that it received."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Mail) as server:
        server.mails, server.answer = [], answer  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        mail = SimpleNamespace(smtp_host="127.0.0.1", smtp_port=str(server.server_address[1]), smtp_user=None)
        mail.smtp_password, mail.smtp_mail_from, mail.to_emails = (
            None,
            "model@example.org",
            ["op@example.org"],
        )
        config = configured()
        config.email_config = mail
        yield config, server.mails  # type: ignore[attr-defined]
        server.shutdown()


def test_a_mail_has_the_whole_text_and_no_header_of_a_source() -> None:
    title = "green: column 'a\nBcc: all@example.org\r\n\r\n' is missing"
    with mail_server() as (config, mails):
        assert channels.send(Message(title, COLUMNS + "\x1b[2J", PAGE), config) == ["email"]
    (mail,) = mails
    assert mail["Subject"] == "green: column 'a Bcc: all@example.org ' is missing"
    assert mail["Bcc"] is None
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().replace("\r", "").strip() == f"{COLUMNS}\\x1b[2J\nMage: {PAGE}"


def test_a_refused_mail_was_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    with mail_server(b"554 no\r\n") as (config, _):
        assert channels.send(Message("t", "x"), config) == []
    assert "email did not take the message 't': the mail server answered 554" in caplog.text
