"""A test message goes where messages about unattended runs go, and each channel's answer is shown."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.beats import SECRET, Beats, watching
from support.failures import closed_port
from support.inbox import TOKEN, Inbox, receiving

from mlops import config
from mlops.__main__ import main
from mlops.errors import MlopsError
from mlops.operations import channel_settings

CHANNELS = (
    "SLACK_WEBHOOK_URL", "TEAMS_WEBHOOK_URL", "SMTP_HOST", "SMTP_PORT", "SMTP_FROM", "SMTP_TO", "SMTP_USER",
    "SMTP_PASSWORD", "HEARTBEAT_URL", "MAGE_REPO_PATH",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CHANNELS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with receiving() as inbox:
        yield inbox


@pytest.fixture
def beats() -> Iterator[Beats]:
    with watching() as beats:
        yield beats


def tried(capsys: pytest.CaptureFixture[str], status: int) -> list[str]:
    """Lines that the command prints; it ends with this status."""
    assert main(["notify", "--test"]) == status
    out, err = capsys.readouterr()
    assert TOKEN not in out + err
    assert SECRET not in out + err
    return out.splitlines() + err.splitlines()


def a_stack(started: bool, **variables: str) -> None:
    """The files that `make stack` writes: of a stack that is started, or was."""
    folder = config.state().stack
    folder.mkdir(parents=True)
    lines = "".join(f"{name}='{value}'\n" for name, value in variables.items())
    (folder / ".env").write_text("" if started else lines)
    if started:
        shutil.copytree(config.PROJECT / "callbacks", folder / "project")
        shutil.copy(config.PROJECT / "metadata.yaml", folder / "project")
        (folder / "client").mkdir()
        (folder / "client" / ".env").write_text("LOCK_URL='postgresql://127.0.0.1/x'\n")
        (folder / "run" / "mage").mkdir(parents=True)
        (folder / "run" / "mage" / ".env").write_text(lines)
        (folder / "run" / "mage.json").write_text(json.dumps({"cwd": str(folder / "project")}))


def test_each_channel_says_whether_it_took_the_message(
    inbox: Inbox, beats: Beats, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK_URL", inbox.url)
    monkeypatch.setenv("HEARTBEAT_URL", beats.url)
    assert tried(capsys, 0) == ["slack       took it", "heartbeat   took it: as after a check that went well"]
    ((title, text),) = inbox.messages
    assert title == "trip-duration: a test message"
    assert text.startswith("Messages about judged months and failed runs come here. Sent on 20")
    assert text.endswith(" with `notify --test`.")
    assert beats.asked == ["GET "]


def test_a_channel_that_refuses_is_named_with_the_reason_and_the_others_get_it(
    inbox: Inbox, beats: Beats, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    beats.status = 404
    monkeypatch.setenv("SLACK_WEBHOOK_URL", inbox.url)
    monkeypatch.setenv("HEARTBEAT_URL", beats.url)
    with closed_port() as port:
        monkeypatch.setenv("TEAMS_WEBHOOK_URL", f"http://127.0.0.1:{port}/services/{TOKEN}")
        for name in ("SMTP_HOST", "SMTP_FROM", "SMTP_TO"):
            monkeypatch.setenv(name, "127.0.0.1" if name == "SMTP_HOST" else "a@b.example")
        monkeypatch.setenv("SMTP_PORT", str(port))
        found = tried(capsys, 1)
    assert found == [
        "slack       took it",
        "teams       did not take it: no connection (ConnectionError)",
        "email       did not take it: Connection refused",
        "heartbeat   did not take it: it answered 404",
    ]
    assert len(inbox.posted) == 1


def test_without_a_channel_the_command_says_how_to_set_one(
    beats: Beats, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    how = "SLACK_WEBHOOK_URL, TEAMS_WEBHOOK_URL, or SMTP_HOST, SMTP_FROM and SMTP_TO in Mage's environment"
    error = (
        f"error: no channel for messages is set, so nobody learns of a verdict or of a failed run. Set {how}"
    )
    assert tried(capsys, 1) == [error]
    monkeypatch.setenv("HEARTBEAT_URL", beats.url)
    assert tried(capsys, 1) == ["heartbeat   took it: as after a check that went well", error]


def test_an_address_with_a_place_for_the_check_is_not_asked_for(
    inbox: Inbox, beats: Beats, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK_URL", inbox.url)
    monkeypatch.setenv("HEARTBEAT_URL", f"{beats.url}/{{check}}")
    assert tried(capsys, 0) == [
        "slack       took it",
        "heartbeat   not tried: its address has {check}, so only a check can fill it in",
    ]
    assert beats.asked == []


@pytest.mark.parametrize("started", [True, False])
def test_a_stack_counts_and_not_the_shell(
    started: bool, inbox: Inbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEAMS_WEBHOOK_URL", "None")
    a_stack(started, SLACK_WEBHOOK_URL=inbox.url, HEARTBEAT_URL="None")
    before = dict(os.environ)
    assert tried(capsys, 0) == ["slack       took it"]
    assert inbox.titles == ["trip-duration: a test message"]
    assert dict(os.environ) == before


def test_a_stopped_stack_counts_with_its_copy_of_the_project(
    inbox: Inbox, capsys: pytest.CaptureFixture[str]
) -> None:
    a_stack(False, SLACK_WEBHOOK_URL="None", OWN_HOOK=inbox.url)
    copy = config.state().stack / "trip_duration"
    copy.mkdir()
    hook = "{{ env_var('OWN_HOOK') }}"
    (copy / "metadata.yaml").write_text(f'notification_config: {{teams_config: {{webhook_url: "{hook}"}}}}')
    assert tried(capsys, 0) == ["teams       took it"]


def test_a_stack_without_a_channel_names_its_file(capsys: pytest.CaptureFixture[str]) -> None:
    a_stack(True, SLACK_WEBHOOK_URL="None", TEAMS_WEBHOOK_URL="None")
    (error,) = tried(capsys, 1)
    assert error.endswith(f"SMTP_TO in {config.state().stack}/.env, then run make stack-stop stack")


def test_the_stack_of_another_user_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    a_stack(True, SLACK_WEBHOOK_URL="None")
    (config.state().stack / "run" / "mage" / ".env").unlink()
    (error,) = tried(capsys, 1)
    assert error == (
        f"error: {config.state().stack}: the variables of this stack's Mage cannot be read; run this as the user "
        "who started it"
    )


def test_without_its_option_the_command_sends_nothing(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK_URL", inbox.url)
    assert main(["notify"]) == 2
    assert (
        capsys.readouterr().err
        == "error: notify: expected --test, which sends the test message; got no option\n"
    )
    assert inbox.posted == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "[Errno 2] No such file or directory"),
        ("notification_config: {a: [", "ParserError"),
        ("{% if %}", "TemplateSyntaxError"),
        ("notification_config: 7", "TypeError"),
        ("- a", "AttributeError"),
    ],
)
def test_settings_that_cannot_be_read_are_refused_without_their_text(
    text: str | None, why: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "metadata.yaml").write_text(text)
    with pytest.raises(MlopsError) as error:
        channel_settings.load(tmp_path, {"SLACK_WEBHOOK_URL": f"https://hooks.example/{TOKEN}"})
    path = tmp_path / "metadata.yaml"
    assert str(error.value).startswith(f"{path}: Mage's settings cannot be read ({why}")
    assert str(error.value).endswith("); correct notification_config")
