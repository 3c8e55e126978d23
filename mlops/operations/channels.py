"""Channels of messages: each gets a text as text, cut to its limit, and says whether it took it.

A message quotes what a source sends: names of columns, for example. In no channel may that become a link or a
mention. A webhook's URL is a password, so nothing here logs one, or the text of an error that may quote it. Mage's
own functions do neither, and count a refused message as sent; its configuration is used as it is.

Source: mage_ai/services and orchestration/notification/config.py, mage-ai 0.9.80; docs.slack.dev, "Formatting
message text" and "Block Kit"; learn.microsoft.com, "Create and send messages" (Teams); discord.com, "Webhook";
docs.opsgenie.com, "Create Alert".
"""

from __future__ import annotations

import itertools
import json
import logging
import re
import smtplib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from functools import partial
from html import escape
from typing import Any

import requests

from mlops import masking
from mlops.errors import one_line

logger = logging.getLogger(__name__)

SECONDS_TO_ANSWER = 10
TITLE, SLACK_TEXT = 150, 3000  # characters of a header and of a block of text in Slack
DISCORD_TEXT, CHAT_TEXT = 2000, 4000  # characters; the second for Telegram and Google Chat
OPSGENIE_TITLE, OPSGENIE_TEXT = 130, 15_000  # characters
TEAMS_TEXT = 6000  # characters of at most 4 bytes: a whole message has 28 kB
CUT = "\n... (cut; Mage's log has the whole text)"
_OPTIONS: Any = {"timeout": SECONDS_TO_ANSWER, "allow_redirects": False, "stream": True}


@dataclass(frozen=True)
class Message:
    """A subject line and a text.

    Parameters
    ----------
    title, text : str
    page : str
        Address of Mage's page about the run, if any: the only link in the message.
    key : str
        Which event it is about; `notifications.deliver` notes under this name who took it.
    again : bool
        Whether it may be sent again some time later.
    """

    title: str
    text: str
    page: str = ""
    key: str = ""
    again: bool = False

    @property
    def whole(self) -> str:
        """The text, and the link as text."""
        return f"{self.text}\nMage: {self.page}" if self.page else self.text


class _RefusedError(Exception):
    """A channel answered, but did not take the message; the text may be logged."""


@dataclass(frozen=True)
class Delivery:
    """What became of a message in one channel.

    Parameters
    ----------
    channel : str
    problem : str
        Why the channel did not take it, without any address; empty if it did.
    """

    channel: str
    problem: str = ""


def send(message: Message, config: Any, but: Collection[str] = ()) -> list[str]:
    """Names of the channels that took the message; a failure is logged, without any address.

    Parameters
    ----------
    message : Message
    config : NotificationConfig
        Mage's, from the project's metadata.yaml.
    but : collection of str
        Channels to leave out: they have it.
    """
    took = []
    for delivery in deliver(message, config, but):
        if delivery.problem:
            title = masking.clean(one_line(message.title))
            logger.warning("%s did not take the message %r: %s", delivery.channel, title, delivery.problem)
        else:
            took.append(delivery.channel)
    return took


def deliver(message: Message, config: Any, but: Collection[str] = ()) -> Iterator[Delivery]:
    """Send the message to one channel after the other, and say what became of it; as `send`."""
    masking.mask_logs()
    title, text, page = map(masking.clean, (one_line(message.title), message.text, message.page))
    shown = Message(title, text, page)
    for name, hand_over in _channels(config).items():
        if name not in but:
            yield Delivery(name, _problem(partial(hand_over, shown)))


def ask(url: str) -> str:
    """Ask for an address once, with GET; why it did not answer well, empty if it did.

    It may be a password, as a webhook's is: it is in no text, and not logged.
    """
    masking.mask_logs()
    masking.remember(url, is_webhook=True)
    return _problem(lambda: _require_taken(requests.get(url, **_OPTIONS)))


def _problem(act: Callable[[], None]) -> str:
    """Why an act fails; empty if it does not. A channel must not fail the run, nor the other channels."""
    try:
        act()
    except Exception as error:  # of any kind
        return _reason(error)
    return ""


def _channels(config: Any) -> dict[str, Callable[[Message], None]]:
    """The configured channels: a function for each that sends a message, and raises if it was not taken."""
    found: dict[str, Callable[[Message], None]] = {}
    for name, payload in WEBHOOKS.items():
        channel = getattr(config, f"{name}_config", None)
        if channel is not None and channel.is_valid:
            urls = channel.webhook_url
            found[name] = partial(_post, [urls] if isinstance(urls, str) else urls, payload)
    if config.email_config is not None:
        found["email"] = partial(_mail, config.email_config)
    if config.opsgenie_config is not None and config.opsgenie_config.is_valid:
        found["opsgenie"] = partial(_alert, config.opsgenie_config)
    return found


def _post(
    urls: list[str], payload: Callable[[Message], dict[str, Any]], message: Message, **headers: str
) -> None:
    """Send to the webhooks, of which any may refuse; a redirect is not followed: it may lead anywhere."""
    body = json.dumps(payload(message), ensure_ascii=False).encode()
    options = {**_OPTIONS, "headers": {"Content-Type": "application/json", **headers}}
    for url in urls:
        masking.remember(url, is_webhook=True)
        _require_taken(requests.post(url, data=body, **options))


def _require_taken(answer: requests.Response) -> None:
    with answer:
        if not 200 <= answer.status_code < 300:
            raise _RefusedError(f"it answered {answer.status_code}")


def _mail(config: Any, message: Message) -> None:
    mail = EmailMessage()  # it refuses a line end in a header
    mail["Subject"], mail["From"], mail["To"] = (
        message.title,
        config.smtp_mail_from,
        ", ".join(config.to_emails),
    )
    mail.set_content(message.whole)
    with smtplib.SMTP(config.smtp_host, int(config.smtp_port), timeout=SECONDS_TO_ANSWER) as server:
        if config.smtp_user and config.smtp_password:
            server.starttls()
            server.login(config.smtp_user, config.smtp_password)
        if refused := server.send_message(mail):
            raise _RefusedError(
                f"the mail server refuses {len(refused)} of {len(config.to_emails)} receivers"
            )


def _alert(config: Any, message: Message) -> None:
    """Open an alert of Opsgenie; its title and text are plain text."""
    payload = {
        "message": _cut(message.title, OPSGENIE_TITLE, str, "..."),
        "description": _cut(message.whole, OPSGENIE_TEXT, str),
        **{name: getattr(config, name) for name in ("priority", "responders", "tags", "details")},
    }
    _post([config.url], lambda _: payload, message, Authorization=f"GenieKey {config.api_key}")


def _reason(error: Exception) -> str:
    """Why a channel failed; never the error's own text, which may quote the webhook's URL."""
    if isinstance(error, _RefusedError):
        return str(error)
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail server answered {error.smtp_code}"
    if isinstance(error, requests.exceptions.SSLError):
        return "TLS fails"
    if isinstance(error, TimeoutError | requests.Timeout):
        return f"no answer within {SECONDS_TO_ANSWER} s"
    if isinstance(error, ValueError):  # also requests' errors about a URL
        return "its address or another value of its configuration is wrong"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"no connection ({type(error).__name__})"


def _cut(text: str, most: int, form: Callable[[str], str], note: str = CUT) -> str:
    """A text in this form, cut so that the result has at most `most` characters; then a note ends it."""
    if len(form(text)) <= most:
        return form(text)
    sizes = itertools.accumulate(len(form(character)) for character in text)
    room = most - len(form(note))
    kept = sum(1 for size in itertools.takewhile(lambda size: size <= room, sizes))
    return form(text[:kept] + note)


def _for_slack(message: Message) -> dict[str, Any]:
    """Blocks of plain text, in which Slack obeys no markup; it reads entities in all texts."""
    entities = partial(escape, quote=False)
    title = _cut(message.title, TITLE, entities, "...")
    text = _cut(message.text, SLACK_TEXT, entities)
    kinds = {"header": title, "section": text}
    blocks: list[dict[str, Any]] = [
        {"type": kind, "text": {"type": "plain_text", "text": shown, "emoji": False}}
        for kind, shown in kinds.items()
    ]
    if message.page:
        link = {"type": "mrkdwn", "text": f"Mage: <{entities(message.page)}>"}
        blocks.append({"type": "section", "text": link})
    return {"text": title, "blocks": blocks}


def _for_teams(message: Message) -> dict[str, Any]:
    title = _cut(message.title, TITLE, escape, "...")
    section = {
        "activityTitle": title,
        "activitySubtitle": _cut(message.whole.replace("](", "] ("), TEAMS_TEXT, escape),
        "markdown": False,
    }
    return {
        "@type": "MessageCard",
        "@context": "https://schema.org/extensions",
        "summary": title,
        "sections": [section],
    }


def _for_discord(message: Message) -> dict[str, Any]:
    def escaped(text: str) -> str:
        return re.sub(r"([\\*_~`|>\[\]()#<@:-])", r"\\\1", text)

    link = f"\nMage: {message.page}" if message.page else ""
    title = _cut(message.title, TITLE, escaped, "...")
    text = _cut(message.text, DISCORD_TEXT - len(title) - len(link) - len("****\n"), escaped)
    return {"content": f"**{title}**\n{text}{link}", "allowed_mentions": {"parse": []}}


def _for_telegram(message: Message) -> dict[str, Any]:
    """Without `parse_mode`, Telegram takes the text as it is."""
    return {
        "text": _cut(f"{message.title}\n\n{message.whole}", CHAT_TEXT, str),
        "disable_web_page_preview": True,
    }


def _for_google_chat(message: Message) -> dict[str, Any]:
    """A ``<`` begins each link and mention there, and cannot be escaped."""
    text = f"{message.title}\n{message.whole}".replace("<", "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}")
    return {"text": _cut(text, CHAT_TEXT, str)}


WEBHOOKS = {
    "slack": _for_slack,
    "teams": _for_teams,
    "discord": _for_discord,
    "telegram": _for_telegram,
    "google_chat": _for_google_chat,
}
"""For each channel of Mage's configuration that has a webhook, what is sent to it as JSON."""
