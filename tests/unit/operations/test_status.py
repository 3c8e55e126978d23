"""One look at registry, servers and disk: nothing waits for long, and nothing is changed."""

from __future__ import annotations

import hashlib
import json
import socket
import time
from pathlib import Path

import pytest
from support.failures import closed_port
from support.sound_versions import crown
from support.tracked import NAME

from mlops import config
from mlops.errors import command
from mlops.operations import status
from mlops.pipeline.checkpoint import PENDING, Checkpoint
from mlops.registry import state_disk
from mlops.registry.status_records import Status

SECONDS = 60.0  # so long that a busy machine answers, too


@pytest.fixture(autouse=True)
def _no_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ask no service that may run on this machine."""
    monkeypatch.delenv("MAGE_PUBLIC_HOST", raising=False)
    monkeypatch.setattr("mlops.operations.servers._DEFAULT_PORT", "1")


def look(seconds: float = SECONDS) -> Status:
    return status.look(seconds)


def kinds(found: Status) -> list[tuple[str, str]]:
    return [(each.kind, each.about) for each in found.attention]


def digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file, without SQLite's own and lock files."""
    kept = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".lock",)]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def test_all_is_well_with_a_sound_registry_which_is_not_changed(sound: Path) -> None:
    crown("3")
    before = digests(sound)
    found = look()
    assert (found.is_well, found.exit_status, found.attention) == (True, 0, ())
    assert [model.name for model in found.models] == [NAME]
    assert [(each.name, each.state) for each in found.servers] == [
        ("tracking store", "up"),
        ("online service", "off"),
    ]
    assert found.read_at is not None
    assert found.disk and found.disk.used_bytes and found.disk.folder == str(sound)
    assert digests(sound) == before


def test_where_nothing_is_trained_no_registry_is_made(tmp_path: Path) -> None:
    found = look()
    assert (kinds(found), found.exit_status) == ([("nothing_trained", "registry")], 1)
    assert found.servers[0].text == "it does not exist yet; a run makes it"
    assert not config.state_dir().exists()


def test_a_stopped_stack_is_not_taken_for_an_empty_registry() -> None:
    config.state().stack.mkdir(parents=True)
    (config.state().stack / ".env").touch()
    found = look()
    assert (found.exit_status, found.models) == (3, ())
    about = ["tracking store", "online service", "Mage"]
    assert kinds(found) == [("not_checked", each) for each in about]
    assert {each.act for each in found.attention} == {"make stack"}


def test_a_server_that_is_away_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_port() as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        found = look()
    assert (kinds(found), found.exit_status) == ([("service_down", "tracking store")], 1)
    assert found.read_at is None
    (one,) = found.attention
    assert one.text.startswith(f"tracking server http://127.0.0.1:{port}: no answer within")
    assert one.act == command("doctor")


def test_a_server_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        began = time.monotonic()
        found = look(1.0)
        assert time.monotonic() - began < 3
    assert found.exit_status in (1, 3) and found.models == ()
    assert [each.about for each in found.attention] == ["tracking store"]


def test_what_does_not_end_in_time_is_not_checked(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crown("3")
    monkeypatch.setattr("mlops.registry.status_reading.read", lambda *_: time.sleep(5))
    found = look(0.5)
    assert ("not_checked", "tracking store") in kinds(found)
    text = {each.about: each.text for each in found.attention}
    assert text["tracking store"] == "no complete answer within 0.5 s"


def test_a_mistake_in_one_part_leaves_the_others(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a bug")

    crown("3")
    monkeypatch.setattr("mlops.operations.servers.online_service", broken)
    monkeypatch.setattr(state_disk, "measure", broken)
    found = look()
    assert kinds(found) == [("not_checked", "online service"), ("not_checked", "disk")]
    assert found.attention[0].text == "a bug" and found.exit_status == 3
    assert [model.name for model in found.models] == [NAME]


def test_a_result_that_is_not_delivered(sound: Path) -> None:
    crown("3")
    Checkpoint.of(NAME, "k" * 64).note(PENDING, {"month": "2023-08"})
    Checkpoint.of(NAME, "l" * 64)  # an attempt without a result
    found = look()
    (one,) = found.attention
    assert (one.kind, one.about, one.act) == ("pending", NAME, command("doctor --resume"))
    assert "tested on 2023-08 is not delivered" in one.text


def test_a_started_stack_s_registry_is_read_although_the_shell_names_none(sound: Path) -> None:
    crown("3")
    stack = config.state().stack
    for name in ("run/mage", "client"):
        (stack / name).mkdir(parents=True)
    (stack / ".env").touch()
    other = sound / "other.db"
    (sound / "mlflow.db").rename(other)
    (stack / "client" / ".env").write_text(f"MLFLOW_TRACKING_URI='sqlite:///{other}'\n")
    (stack / "run" / "mage" / ".env").touch()
    (stack / "run" / "mage.json").write_text(json.dumps({"command": ["mage"], "cwd": str(stack)}))
    found = look()
    assert (found.servers[0].address, found.servers[0].state) == (f"sqlite:///{other}", "up")
    assert [model.name for model in found.models] == [NAME]
    assert ("service_down", "online service") in kinds(found)


# --- The disk -----------------------------------------------------------------------------------------------


def test_the_size_of_the_state_folder_is_on_the_disk(tmp_path: Path) -> None:
    config.state_dir().mkdir()
    (config.state_dir() / "months").mkdir()
    (config.state_dir() / "months" / "one").write_bytes(b"x" * 100_000)
    (config.state_dir() / "gone").symlink_to("nowhere")
    found = state_disk.measure(SECONDS)
    assert found.used_bytes and 100_000 <= found.used_bytes < 200_000
    assert state_disk.measure(0.0).used_bytes is None  # no time to count them


def test_a_state_folder_that_does_not_exist_yet_has_room(tmp_path: Path) -> None:
    found = state_disk.measure(SECONDS)
    assert found.free_bytes > 0 and found.used_bytes == 0
    assert not config.state_dir().exists()
