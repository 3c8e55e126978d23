"""The running Mage: does its scheduler work, in which time zone, and can it send messages?"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

import jinja2
import yaml
from dateutil import tz

from mlops import config
from mlops.operations.doctor.finding import Finding, Findings, not_checked
from mlops.operations.doctor.mage_database import runs_schedules
from mlops.operations.doctor.stack import Mage

SECONDS_TO_ANSWER = 5
UNSET = (None, "", "None")  # docker-compose.yml passes the text None for a channel that is not set
VARIABLES = {"smtp_mail_from": "SMTP_FROM", "to_emails": "SMTP_TO"} | {
    name.lower(): name for name in ("SMTP_HOST", "SMTP_PORT", "SMTP_USER", "SMTP_PASSWORD")
}  # for keys of `notification_config`


def look_over(mage: Mage) -> Findings:
    """Findings about the scheduler and the messages of a Mage; none for one that runs no schedule."""
    if mage.is_stack or runs_schedules(mage):
        yield from _scheduler(mage)
    if runs_schedules(mage):
        yield from _channels(mage)


def offset(mage: Mage) -> timedelta:
    """Offset from UTC of the clock that this Mage goes by.

    Examples
    --------
    >>> from pathlib import Path
    >>> offset(Mage({"TZ": "Asia/Kolkata"}, Path()))
    datetime.timedelta(seconds=19800)
    """
    zone = tz.gettz(mage.variables.get("TZ") or "/etc/localtime") or tz.UTC
    return datetime.now(zone).utcoffset() or timedelta()


def _scheduler(mage: Mage) -> Findings:
    """Ask Mage's page for the state of its scheduler; it answers without a login."""
    host = mage.variables.get("MAGE_PUBLIC_HOST") or "http://localhost:6789"
    url = config.without_credentials(host)
    try:
        status = scheduler_status(host, SECONDS_TO_ANSWER)
    except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException) as error:
        # Where nothing listens, urllib raises another error.
        if mage.is_stack and isinstance(error, TimeoutError):
            act = "it is started, but hangs or is overloaded: if that lasts, make stack-stop stack"
            yield Finding(f"Mage at {url}: no answer within {SECONDS_TO_ANSWER} s; {act}", is_open=True)
        elif mage.is_stack:
            yield Finding(f"Mage at {url}: no answer ({error}); start it with make stack", is_open=True)
        else:
            why = f"{url} does not answer here ({error}); look at that page, or correct MAGE_PUBLIC_HOST"
            yield not_checked("Mage's scheduler", why)
        return
    if status == "running":
        yield Finding(f"Mage at {url}: its scheduler runs")
    else:
        act = "make stack-stop stack" if mage.is_stack else "restart Mage"
        yield Finding(f"Mage at {url}: its scheduler is {status}, so no trigger runs; {act}", is_open=True)


def scheduler_status(host: str, seconds: float) -> str:
    """State of the scheduler of the Mage at an address, as Mage says it: ``running`` if it starts what is due.

    Raises
    ------
    OSError, ValueError, LookupError, TypeError, http.client.HTTPException
        When there is no such answer within so many seconds.
    """
    opener = build_opener(ProxyHandler({}))
    with opener.open(f"{host}/api/status", timeout=seconds) as answer:
        return str(json.load(answer)["statuses"][0]["scheduler_status"])


def _channels(mage: Mage) -> Findings:
    """Can its channels for messages work? As Mage does, fill the environment into the project's metadata.yaml."""
    text = (mage.project / "metadata.yaml").read_text(encoding="utf-8")
    rendered = jinja2.Template(text).render(env_var=mage.variables.get)
    known = (yaml.safe_load(rendered) or {}).get("notification_config") or {}
    given = {name.removesuffix("_config"): keys for name, keys in known.items() if _is_given(name, keys)}
    secrets = config.state().stack / ".env"
    place = f"{secrets}, then make stack-stop stack" if mage.is_stack else "Mage's environment"
    for name, keys in given.items():
        if wrong := list(_faults(name, keys)):
            text = f"Mage: messages cannot go to {name}: {'; '.join(wrong)}; correct that in {place}"
            yield Finding(text, is_open=True)
        else:
            yield Finding(f"Mage: a channel for messages is set: {name}; nothing was sent to it")
    if not given:
        yield Finding(
            "Mage: no channel for messages is set, so nobody learns of a verdict or of a failed run; "
            f"set SLACK_WEBHOOK_URL, TEAMS_WEBHOOK_URL or SMTP_HOST, SMTP_FROM and SMTP_TO in {place}",
            is_open=True,
        )


def _is_given(name: str, keys: Mapping[str, Any]) -> bool:
    """Whether a part of `notification_config` is a channel that somebody set."""
    return name.endswith("_config") and any(_values(value) for value in keys.values())


def _faults(channel: str, keys: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a channel's values, without the values: they may be secret."""
    for key, value in keys.items():
        given = _values(value)
        variable = VARIABLES.get(key, f"{channel}_{key}".upper())  # for example SLACK_WEBHOOK_URL
        if not given:
            yield f"{variable} is not set"
        elif key == "webhook_url" and not all(map(_is_url, given)):
            yield f"{variable} is not an http(s) URL with a host"
        elif key in ("smtp_mail_from", "to_emails") and not all("@" in one for one in given):
            yield f"{variable} is not an address with an @"


def _values(value: Any) -> list[str]:
    return [str(one) for one in (value if isinstance(value, list) else [value]) if one not in UNSET]


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and value.split() == [value]
