"""Receivers of messages, and triggers, as Mage reads both from their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Template
from mage_ai.data_preparation.models.triggers import Trigger, load_trigger_configs
from mage_ai.data_preparation.shared.utils import get_template_vars
from mage_ai.orchestration.notification.config import AlertOn, NotificationConfig
from support.doors import MAINTENANCE, PIPELINE, PROJECT

from mlops.config import Settings
from mlops.operations import channel_settings, channels
from mlops.operations.channels import Message

MAIL = {"SMTP_HOST": "mail.example.org", "SMTP_FROM": "model@example.org", "SMTP_TO": "operator@example.org"}
NAMES = (
    "SLACK_WEBHOOK_URL",
    "TEAMS_WEBHOOK_URL",
    "SMTP_HOST",
    "SMTP_PORT",
    "SMTP_USER",
    "SMTP_PASSWORD",
    "SMTP_FROM",
    "SMTP_TO",
)


def read(monkeypatch: pytest.MonkeyPatch, **environment: str) -> NotificationConfig:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    text = Template((PROJECT / "metadata.yaml").read_text()).render(**get_template_vars())
    return NotificationConfig.load(config=yaml.safe_load(text)["notification_config"])


@pytest.mark.parametrize("nowhere", [{}, dict.fromkeys(NAMES, "None")])
def test_messages_go_nowhere_by_default(nowhere: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    config = read(monkeypatch, **nowhere)
    assert not config.slack_config.is_valid
    assert not config.teams_config.is_valid
    assert config.email_config is None
    assert config.alert_on == [AlertOn.PIPELINE_RUN_PASSED_SLA]


def test_messages_go_to_every_configured_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = {"SLACK_WEBHOOK_URL": "https://slack.example/1", "TEAMS_WEBHOOK_URL": "https://teams.example/2"}
    config = read(monkeypatch, **hooks, **MAIL)
    assert (config.slack_config.webhook_url, config.teams_config.webhook_url) == (
        "https://slack.example/1",
        ["https://teams.example/2"],
    )
    mail = config.email_config
    assert (mail.smtp_host, mail.smtp_port, mail.to_emails) == (
        "mail.example.org",
        "587",
        ["operator@example.org"],
    )
    assert mail.smtp_user is None
    known = read(monkeypatch, **MAIL, SMTP_USER="me", SMTP_PASSWORD="secret").email_config
    assert (known.smtp_user, known.smtp_password) == ("me", "secret")


OF_ALL_KINDS = """
notification_config:
  slack_config: {webhook_url: "{{ env_var('SLACK_WEBHOOK_URL') }}"}
  teams_config: {webhook_url: ["https://teams.example/1", "{{ env_var('TEAMS_WEBHOOK_URL') }}"]}
  discord_config: {webhook_url: https://discord.example/1}
  telegram_config: {webhook_url: None}
  google_chat_config: {}
  opsgenie_config: {url: https://opsgenie.example, api_key: "{{ env_var('SMTP_PASSWORD') }}"}
  email_config: {smtp_host: mail.example.org, smtp_mail_from: a@example.org, to_emails: [b@example.org]}
"""


@pytest.mark.parametrize("text", [(PROJECT / "metadata.yaml").read_text(), OF_ALL_KINDS], ids=["ours", "all"])
@pytest.mark.parametrize(
    "environment",
    [
        {},
        dict.fromkeys(NAMES, "None"),
        dict.fromkeys(NAMES, ""),
        {"SLACK_WEBHOOK_URL": "https://slack.example/1"},
        {"TEAMS_WEBHOOK_URL": "https://teams.example/2", "SMTP_PASSWORD": "secret"},
        MAIL,
        {**MAIL, "SMTP_USER": "me", "SMTP_PASSWORD": "secret", "SMTP_PORT": "2525"},
    ],
    ids=lambda given: ",".join(given) or "nothing",
)
def test_a_test_message_goes_to_the_same_channels_as_mage_s_own(
    text: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`notify --test` reads the configuration without Mage."""
    (tmp_path / "metadata.yaml").write_text(text)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    rendered = Template(text).render(**get_template_vars())
    theirs = NotificationConfig.load(config=yaml.safe_load(rendered)["notification_config"])
    ours = channel_settings.load(tmp_path, environment)
    assert sent_with(ours, monkeypatch) == sent_with(theirs, monkeypatch)


def sent_with(configuration: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a configuration lets us send, and the names of its channels."""
    sent: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(channels.requests, "post", lambda *given, **how: sent.append((given, how)))
        patch.setattr(channels, "_mail", lambda *given: sent.append(shown(given[0])))
        return [sent, [each.channel for each in channels.deliver(Message("title", "text"), configuration)]]


def shown(mail: Any) -> dict[str, Any]:
    """What is used of the configuration of a mail server."""
    used = ("smtp_host", "smtp_mail_from", "smtp_user", "smtp_password", "to_emails")
    return {"smtp_port": int(mail.smtp_port), **{name: getattr(mail, name) for name in used}}


def triggers(pipeline: str) -> list[Trigger]:
    """The triggers as Mage reads them; it skips a trigger that it cannot read, with a line in its log."""
    text = (PROJECT / "pipelines" / pipeline / "triggers.yaml").read_text()
    found = load_trigger_configs(text, pipeline_uuid=pipeline, repo_path=str(PROJECT), raise_exception=True)
    assert len(found) == len(yaml.safe_load(text)["triggers"])
    return list(found)


def test_the_schedule_is_as_documented() -> None:
    found = {trigger.name: trigger for trigger in triggers(PIPELINE)}
    assert list(found) == ["green_daily_check", "yellow_daily_check", "fhvhv_daily_check"]
    assert [trigger.status.value for trigger in found.values()] == ["active", "inactive", "inactive"]
    for trigger in found.values():
        assert (trigger.schedule_interval, trigger.envs) == ("@daily", ["prod"])
        assert trigger.token is None
        settings = Settings.parse(trigger.variables)
        assert (settings.is_next, settings.source) == (True, "tlc")
        assert trigger.name == f"{settings.service}_daily_check"
        assert trigger.sla < trigger.settings["timeout"]
        assert settings.source_patience + settings.tracking_patience < trigger.sla


def test_maintenance_is_weekly() -> None:
    (trigger,) = triggers(MAINTENANCE)
    assert (trigger.schedule_interval, trigger.status.value, trigger.envs) == ("@weekly", "active", ["prod"])
    assert trigger.token is None
