"""The doctor beside a stack: its files, as the stack writes them, and shells that use it or not."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlops import config
from mlops.operations.doctor import checkup, stack
from mlops.operations.doctor.finding import Finding, not_checked
from mlops.registry import client, local_stack
from stack.secret_values import give_to_shells, write_env
from stack.supervision import Supervisord

URL = "http://127.0.0.1:1"  # where nothing listens


@dataclass(frozen=True)
class Beside:
    """A stack of this test's state folder, and a shell."""

    folder: Path
    variables: dict[str, str]
    monkeypatch: pytest.MonkeyPatch

    def source(self, **changed: str) -> None:
        """Give the shell the stack's variables, with changes."""
        for name, value in {**self.variables, **changed}.items():
            self.monkeypatch.setenv(name, value)

    def stop(self) -> None:
        (self.folder / "run" / "mage.json").unlink()

    @property
    def about(self) -> str:
        return f"stack in {self.folder}"

    @property
    def use(self) -> str:
        return f"set -a; . '{self.folder}/environment'; set +a"


@pytest.fixture
def beside(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Beside:
    """A started stack whose servers do not answer, except for Mage's database; the shell knows nothing of it."""
    monkeypatch.setenv("MLOPS_STATE_DIR", str(tmp_path / "my state"))
    folder = tmp_path / "my state" / "stack"
    folder.mkdir(parents=True)
    for name in ("ENV", "MAGE_DATABASE_CONNECTION_URL", client.USER, client.PASSWORD):
        monkeypatch.setenv(name, "")  # set first, so that a value set by a test is undone too
        monkeypatch.delenv(name)
    monkeypatch.setenv("MAGE_DATA_DIR", str(tmp_path / "desk"))
    variables = {
        "MLFLOW_TRACKING_URI": URL,
        client.USER: "owner",
        client.PASSWORD: "it's a $ecret",
        "LOCK_URL": "postgresql://mage@127.0.0.1:1/mage",
        "MAGE_DATABASE_CONNECTION_URL": f"sqlite:///{made}",
        "ENV": "prod",
    }
    write_env(folder / ".env", {"MAGE_PORT": "1"})
    give_to_shells(folder, variables)
    of_mage = {**variables, "MAGE_PUBLIC_HOST": URL, "TZ": "UTC"}
    Supervisord(folder).describe_launch("mage", ["mage"], of_mage, config.PROJECT)
    Supervisord(folder).describe_launch("serving", ["python", "--port", "1"], {}, config.PROJECT)
    return Beside(folder, variables, monkeypatch)


def look_over() -> tuple[Finding | None, bool]:
    """The finding, and whether the stack is started."""
    findings, checks = [], stack.look_over()
    while True:
        try:
            findings.append(next(checks))
        except StopIteration as end:
            assert len(findings) <= 1
            return (findings or [None])[0], end.value


def test_without_a_stack_there_is_nothing_to_say() -> None:
    assert look_over() == (None, False)


def test_a_shell_that_uses_it(beside: Beside) -> None:
    beside.source()
    assert look_over() == (Finding(f"{beside.about}: this shell uses it"), True)


def test_a_shell_that_does_not_use_it_and_has_no_store_of_its_own(beside: Beside) -> None:
    found, is_started = look_over()
    assert is_started
    assert found == Finding(
        f"{beside.about}: it is checked, and not the store sqlite:///{config.state().tracking_store}, which does "
        f"not exist; commands in this shell use that store, until {beside.use}"
    )


def test_a_store_that_the_shell_uses_beside_the_stack_is_not_checked(beside: Beside) -> None:
    config.state().tracking_store.touch()
    found, is_started = look_over()
    assert is_started
    assert found == not_checked(
        f"tracking store sqlite:///{config.state().tracking_store}",
        f"the {beside.about} is checked instead; commands in this shell use that store, until {beside.use}",
    )


def test_a_shell_that_uses_another_server(beside: Beside) -> None:
    beside.source(MLFLOW_TRACKING_URI="https://me:secret@mlflow.example")
    found, is_started = look_over()
    assert is_started
    assert found == not_checked(
        f"{beside.about}: its tracking server {URL}",
        f"MLFLOW_TRACKING_URI in this shell is https://mlflow.example; to check it, first {beside.use}",
    )
    with stack.used(True):
        assert os.environ["MLFLOW_TRACKING_URI"] == "https://me:secret@mlflow.example"


def test_a_shell_with_its_server_but_without_its_locks_is_open(beside: Beside) -> None:
    beside.source(LOCK_URL="")
    found, _ = look_over()
    assert found == Finding(
        f"{beside.about}: this shell has other values of LOCK_URL; run {beside.use}", is_open=True
    )
    with stack.used(True):
        assert os.environ["LOCK_URL"] == beside.variables["LOCK_URL"]


def test_its_variables_are_used_for_the_check_only(beside: Beside) -> None:
    before = dict(os.environ)
    with stack.used(True):
        used = {name: os.environ[name] for name in ("MLFLOW_TRACKING_URI", client.PASSWORD, "LOCK_URL")}
        assert used == {name: beside.variables[name] for name in used}
    with stack.used(False):
        assert dict(os.environ) == before
    assert dict(os.environ) == before


@pytest.mark.parametrize("sourced", [True, False])
def test_no_other_mage_is_looked_at_for_a_stopped_stack(sourced: bool, beside: Beside, made: Path) -> None:
    if sourced:
        beside.source()
    beside.stop()
    desk_s = config.state_dir() / "mage" / config.PROJECT.name / "mage-ai.db"
    desk_s.parent.mkdir(parents=True)
    shutil.copy(made, desk_s)
    beside.monkeypatch.delenv("MAGE_DATA_DIR")
    why = "its Mage, Mage's database and registry were not looked at"
    stopped = not_checked(beside.about, f"it is stopped, so {why}; start it with make stack")
    assert look_over() == (stopped, False)
    found = list(checkup.check_up(resume=False))
    assert [each for each in found if "Mage" in each.text or "time zone" in each.text] == [stopped]


def test_a_stack_of_another_user_says_who_can_check_it(beside: Beside) -> None:
    (beside.folder / "client" / ".env").unlink()
    found, is_started = look_over()
    assert not is_started
    assert found is not None
    assert found.label == "not checked"
    assert found.text.endswith("let make stack end, and run the doctor as the user who started it")


@pytest.mark.parametrize("sourced", [True, False])
def test_the_check_up_looks_at_the_stack_s_servers(sourced: bool, beside: Beside, made: Path) -> None:
    if sourced:
        beside.source()
    found = list(checkup.check_up(resume=False))
    texts = [finding.text for finding in found]
    assert f"Mage's database: sqlite:///{made} has all its tables" in texts
    opened = "\n".join(finding.text for finding in found if finding.is_open)
    assert "Mage: run 1 of training has status running for " in opened
    assert f"Mage at {URL}: no answer (" in opened
    assert "Mage: no channel for messages is set, so nobody learns" in opened
    assert (
        f"tracking server {URL}: no answer within 5 s (Connection refused). Start it (`make stack`)" in opened
    )
    assert f"online service at {URL}: no answer (" in opened
    assert not any("does not run here, because ENV is" in text for text in texts)
    assert not any("$ecret" in text for text in texts)


def test_another_server_is_not_started_with_make_stack(beside: Beside) -> None:
    assert local_stack.act_without_answer("http://localhost:1/", hangs=False) == "Start it (`make stack`)"
    assert local_stack.act_without_answer("http://127.0.0.1:2", hangs=False) == "Start it (`make mlflow`)"


def test_a_server_that_hangs_is_restarted_and_not_started(beside: Beside) -> None:
    hangs = "It is started, but hangs or is overloaded: if that lasts, restart it"
    assert local_stack.act_without_answer("http://127.0.0.1:2", hangs=True) == hangs
    of_the_stack = local_stack.act_without_answer("http://localhost:1/", hangs=True)
    assert of_the_stack == f"{hangs} (`make stack-stop stack`)"


def test_in_mages_container_the_served_copy_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stack.mage(is_started=False).project == config.PROJECT
    monkeypatch.setenv("MAGE_REPO_PATH", "/srv/trip_duration")  # set in docker-compose.yml
    assert stack.mage(is_started=False).project == Path("/srv/trip_duration")
