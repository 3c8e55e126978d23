"""A running Mage as it may answer, played by a small HTTP server, and the project's own channels for messages."""

from __future__ import annotations

import json
import socket
from contextlib import AbstractContextManager

import pytest
from support.small_server import answering_with

from mlops import config
from mlops.operations.doctor import mage_service
from mlops.operations.doctor.finding import Finding
from mlops.operations.doctor.stack import Mage

SLACK = {"SLACK_WEBHOOK_URL": "https://hooks.example/T0"}
NONE = dict.fromkeys(("SLACK_WEBHOOK_URL", "TEAMS_WEBHOOK_URL", "SMTP_HOST", "SMTP_FROM", "SMTP_TO"), "None")
MAIL = {"SMTP_HOST": "mail.example", "SMTP_FROM": "mage@example.org", "SMTP_TO": "team@example.org"}


def answering(body: object) -> AbstractContextManager[str]:
    """Address of a server that answers every request with this JSON."""
    return answering_with(lambda asked: (200, json.dumps(body)))


def service(url: str = "http://127.0.0.1:1", *, is_stack: bool = True, **changed: str) -> list[Finding]:
    variables = {"ENV": "prod", "MAGE_PUBLIC_HOST": url, **NONE, **changed}
    return list(mage_service.look_over(Mage(variables, config.PROJECT, is_stack)))


def test_a_scheduler_that_runs_and_a_channel() -> None:
    with answering({"statuses": [{"scheduler_status": "running"}]}) as url:
        assert service(url, **SLACK) == [
            Finding(f"Mage at {url}: its scheduler runs"),
            Finding("Mage: a channel for messages is set: slack; nothing was sent to it"),
        ]


@pytest.mark.parametrize(("is_stack", "act"), [(True, "make stack-stop stack"), (False, "restart Mage")])
def test_a_scheduler_that_stopped_is_open(is_stack: bool, act: str) -> None:
    with answering({"statuses": [{"scheduler_status": "stopped"}]}) as url:
        found, _ = service(url, is_stack=is_stack)
    assert found == Finding(
        f"Mage at {url}: its scheduler is stopped, so no trigger runs; {act}", is_open=True
    )


@pytest.mark.parametrize("body", [{"error": {"code": 500}}, {"statuses": []}, [], None])
def test_another_answer_is_no_answer(body: object) -> None:
    with answering(body) as url:
        found, _ = service(url)
    assert found.is_open
    assert found.text.startswith(f"Mage at {url}: no answer (")
    assert found.text.endswith("; start it with make stack")


def test_a_mage_that_hangs_is_started_and_must_be_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mage_service, "SECONDS_TO_ANSWER", 0.2)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        found, _ = service(url)
    assert found == Finding(
        f"Mage at {url}: no answer within 0.2 s; it is started, but hangs or is overloaded: if that lasts, "
        "make stack-stop stack",
        is_open=True,
    )


def test_a_mage_elsewhere_that_this_machine_cannot_ask_is_not_checked() -> None:
    found, _ = service(is_stack=False)
    assert found.label == "not checked"
    assert found.text.startswith("Mage's scheduler: http://127.0.0.1:1 does not answer here (")
    assert found.text.endswith("; look at that page, or correct MAGE_PUBLIC_HOST")


def test_a_mage_that_runs_no_schedule_need_not_run() -> None:
    assert service(is_stack=False, ENV="dev") == []


@pytest.mark.parametrize(
    ("variables", "channels"),
    [
        (SLACK, ["slack"]),
        ({"TEAMS_WEBHOOK_URL": "http://10.0.0.1:8080/1"}, ["teams"]),
        (MAIL, ["email"]),
        ({**MAIL, **SLACK}, ["slack", "email"]),
    ],
)
def test_channels_of_the_project_s_metadata(variables: dict[str, str], channels: list[str]) -> None:
    _, *found = service(**variables)
    assert found == [
        Finding(f"Mage: a channel for messages is set: {name}; nothing was sent to it") for name in channels
    ]


@pytest.mark.parametrize(
    ("variables", "channel", "wrong"),
    [
        *(
            ({"SLACK_WEBHOOK_URL": value}, "slack", "SLACK_WEBHOOK_URL is not an http(s) URL with a host")
            for value in (
                "hooks.example/T0",
                "https://",
                "https:///T0",
                "http://[",
                "https://hooks example/T0",
            )
        ),
        ({"TEAMS_WEBHOOK_URL": "off"}, "teams", "TEAMS_WEBHOOK_URL is not an http(s) URL with a host"),
        ({**MAIL, "SMTP_FROM": "mage"}, "email", "SMTP_FROM is not an address with an @"),
        ({**MAIL, "SMTP_TO": "team"}, "email", "SMTP_TO is not an address with an @"),
        ({**MAIL, "SMTP_TO": "None"}, "email", "SMTP_TO is not set"),
        ({**MAIL, "SMTP_USER": "mage"}, "email", "SMTP_PASSWORD is not set"),
    ],
)
def test_a_value_that_cannot_be_a_channel_is_open(
    variables: dict[str, str], channel: str, wrong: str
) -> None:
    _, found = service(**variables)
    assert found == Finding(
        f"Mage: messages cannot go to {channel}: {wrong}; correct that in {config.state().stack}/.env, then "
        "make stack-stop stack",
        is_open=True,
    )


def test_a_wrong_channel_beside_a_right_one_is_open_too() -> None:
    _, *found = service(**MAIL, SLACK_WEBHOOK_URL="off")
    assert [finding.label for finding in found] == ["OPEN", "ok"]


@pytest.mark.parametrize("variables", [{}, {"SLACK_WEBHOOK_URL": ""}, {"SMTP_TO": "team@example.org"}])
def test_without_a_channel_somebody_must_set_one(variables: dict[str, str]) -> None:
    _, found = service(**variables)
    assert found.is_open
    assert found.text.startswith(
        "Mage: no channel for messages is set, so nobody learns of a verdict or of a failed"
    )
    assert found.text.endswith(f"SMTP_TO in {config.state().stack}/.env, then make stack-stop stack")


@pytest.mark.parametrize(("zone", "hours"), [("UTC", 0), ("Asia/Tokyo", 9), ("JST-9", 9)])
def test_its_clock_is_in_the_zone_of_its_environment(zone: str, hours: int) -> None:
    offset = mage_service.offset(Mage({"TZ": zone}, config.PROJECT))
    assert offset.total_seconds() == hours * 3600
