"""Keys: made, read, checked, and taken back."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.asgi_calls import Answer, answering, call, scope

from mlops.errors import ConfigError
from mlops.serving import keys
from mlops.serving.app import create_app
from mlops.serving.asgi import Scope
from mlops.serving.keys import HostCheck, KeyCheck, KeyFile, require_keys_or_loopback
from mlops.serving.models import Models
from mlops.serving.settings import ServeSettings

SHA256 = hashlib.sha256(b"trip_secret").hexdigest()
PLAIN = 'Bearer realm="trip durations"'
WRONG = 'Bearer realm="trip durations", error="invalid_token"'


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLOPS_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "keys"


def ask(check: KeyCheck, authorization: str | None, path: str = "/predict") -> Answer:
    headers = {} if authorization is None else {"authorization": authorization}
    return call(check, scope(path, **headers))


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


# --- The file -------------------------------------------------------------------------------------------------


def test_a_made_key_is_in_the_file_as_its_hash_only_and_nobody_else_can_read_it(path: Path) -> None:
    first, second = keys.add(path, "planner"), keys.add(path, "app.2")
    assert re.fullmatch(r"trip_[\w-]{43}", first)
    assert path.read_text() == (
        "# name  sha256 of the key\n"
        f"planner {hashlib.sha256(first.encode()).hexdigest()}\n"
        f"app.2 {hashlib.sha256(second.encode()).hexdigest()}\n"
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(keys.read(path)) == ["planner", "app.2"]


def test_a_file_of_a_person_keeps_its_lines(path: Path) -> None:
    write(path, f"  # ours\n\nplanner {'0' * 64} # since May")
    keys.add(path, "app")
    assert path.read_text().startswith(f"  # ours\n\nplanner {'0' * 64} # since May\napp ")
    assert keys.read(path)["planner"] == bytes(32)


def test_a_name_is_taken_once(path: Path) -> None:
    keys.add(path, "planner")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="there is a key of 'planner' already"):
        keys.add(path, "planner")
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir() if each.is_file()] == ["keys"]


@pytest.mark.parametrize("name", ["", "Planner", "a b", "a\nb", "#a", "x" * 41])
def test_a_name_has_no_odd_character(path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="key: expected a name of 1 to 40 lower-case letters"):
        keys.add(path, name)
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_file_that_others_can_read_or_change_is_refused(path: Path, mode: int) -> None:
    write(path, f"planner {'0' * 64}\n", mode)
    with pytest.raises(ConfigError, match=rf"\(mode 600\); got mode {mode:o}. Run: chmod 600 "):
        KeyFile(path)


@pytest.mark.parametrize(
    "line",
    [
        "planner",
        f"planner {'0' * 63}",
        f"planner {'0' * 64} more",
        f"Planner {'0' * 64}",
        f"planner {'G' * 64}",
    ],
)
def test_another_line_is_refused_without_showing_it(path: Path, line: str) -> None:
    write(path, f"# ours\n{line}\n")
    with pytest.raises(ConfigError) as refused:
        keys.read(path)
    assert str(refused.value) == (
        f"{path}: line 2: expected a name and the 64 hexadecimal digits of a sha256; got something else"
    )


def test_a_name_twice_and_no_file_are_refused(path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"cannot be read \(No such file or directory\). Make one: python -m"
    ):
        KeyFile(path)
    write(path, f"planner {'0' * 64}\nplanner {'1' * 64}\n")
    with pytest.raises(ConfigError, match="line 2: expected each name once; got 'planner' again"):
        KeyFile(path)
    path.unlink()
    os.mkfifo(path, 0o600)  # does not block
    with pytest.raises(ConfigError, match="expected a file that only its owner can read"):
        KeyFile(path)


# --- The check ------------------------------------------------------------------------------------------------


def test_a_key_opens_and_its_name_is_the_client(path: Path) -> None:
    made = {name: keys.add(path, name) for name in ("planner", "app")}
    seen: list[Scope] = []
    check = KeyCheck(answering(seen), KeyFile(path))
    for name, key in made.items():
        for scheme in ("Bearer", "bearer"):
            assert ask(check, f"{scheme} {key}").status == 200
            assert seen[-1]["state"]["client"] == name


@pytest.mark.parametrize(
    ("authorization", "got", "challenge"),
    [
        (None, "none", PLAIN),
        ("Basic cGxhbm5lcjpzZWNyZXQ=", "another scheme", PLAIN),
        ("Bearer", "another scheme", PLAIN),
        ("Bearer ", "one that is not in the file of keys", WRONG),
        ("Bearer x", "one that is not in the file of keys", WRONG),
        (f"Bearer {SHA256}", "one that is not in the file of keys", WRONG),
    ],
)
def test_without_a_key_nothing_is_answered(
    path: Path, authorization: str | None, got: str, challenge: str
) -> None:
    write(path, f"planner {SHA256}\n")
    seen: list[Scope] = []
    check = KeyCheck(answering(seen), KeyFile(path))
    for route in ("/predict", "/model", "/metrics", "/rider/", "/healthz/", "//healthz"):
        answer = ask(check, authorization, route)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == challenge
        assert answer.problem["detail"] == (
            f"expected the header 'Authorization: Bearer KEY' with a key of this service; got {got}."
        )
    assert seen == []
    assert ask(check, "Bearer trip_secret").status == 200


def test_probes_and_the_description_need_no_key(path: Path) -> None:
    keys.add(path, "planner")
    check = KeyCheck(answering(), KeyFile(path))
    for route in ("/healthz", "/readyz", "/docs", "/openapi.json"):
        assert ask(check, None, route).status == 200


# --- Changes --------------------------------------------------------------------------------------------------


@pytest.fixture
def changing(path: Path) -> Iterator[tuple[Path, list[float], KeyFile]]:
    now = [0.0]
    write(path, f"planner {hashlib.sha256(b'one').hexdigest()}\n")
    yield path, now, KeyFile(path, clock=lambda: now[0])


def test_a_changed_file_is_read_within_a_second(changing: tuple[Path, list[float], KeyFile]) -> None:
    path, now, known = changing
    write(path, f"app {hashlib.sha256(b'two').hexdigest()}\n")
    assert (known.owner(b"one"), known.owner(b"two")) == ("planner", None)
    now[0] += 1.0
    assert (known.owner(b"one"), known.owner(b"two")) == (None, "app")


def test_a_file_that_is_gone_has_no_keys(changing: tuple[Path, list[float], KeyFile]) -> None:
    path, now, known = changing
    path.unlink()
    now[0] += 1.0
    assert known.owner(b"one") is None


@pytest.mark.parametrize(("text", "mode"), [("planner half a li", 0o600), (f"app {'0' * 64}\n", 0o644)])
def test_while_a_file_cannot_be_used_the_keys_before_are_valid(
    changing: tuple[Path, list[float], KeyFile], text: str, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    path, now, known = changing
    write(path, text, mode)
    for _ in range(3):
        now[0] += 1.0
        assert known.owner(b"one") == "planner"
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert caplog.messages[0].startswith(f"the keys from before stay valid: {path}: ")
    write(path, "# nobody\n")
    now[0] += 1.0
    assert known.owner(b"one") is None


# --- Where the service may listen -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "[::]", "192.168.1.5", "host.example", "localhost.example", ""]
)
def test_without_keys_others_cannot_reach_it_unless_somebody_said_so(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"host: expected 127\.0\.0\.1 without a file of keys; got "):
        require_keys_or_loopback(host, None, without_keys=False)
    require_keys_or_loopback(host, None, without_keys=True)
    require_keys_or_loopback(host, tmp_path / "keys", without_keys=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"])
def test_on_this_machine_no_keys_are_needed(host: str) -> None:
    require_keys_or_loopback(host, None, without_keys=False)


# Names of hosts


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8000",
        "10.1.2.3",
        "[::1]:8000",
        "[::1]",
        "localhost",
        "LOCALHOST:80",
        "serving:8000",
        "Taxi.Example:80",
    ],
)
def test_addresses_and_own_names_may_ask_without_a_key(host: str) -> None:
    assert call(HostCheck(answering(), ["taxi.example"]), scope(host=host)).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example.:8000", "127.0.0.1.evil.example", "[evil.example]", "taxi.example.evil"],
)
def test_a_page_of_another_site_gets_no_answer(host: str) -> None:
    check = HostCheck(answering(), ["taxi.example"])
    answer = call(check, scope(host=host))
    assert answer.status == 403
    assert answer.problem["detail"] == (
        f"host: expected an address, or a name of this service; got {host!r}. If this name leads to it, "
        "start it with --host-names."
    )
    assert call(check, scope("/healthz", "GET", host=host)).status == 200


def test_the_service_checks_names_only_where_it_has_no_keys(path: Path) -> None:
    key = keys.add(path, "planner")
    for settings, status in ((ServeSettings(), 403), (ServeSettings(keys_file=path), 200)):
        request = scope("/model", "GET", host="evil.example", authorization=f"Bearer {key}")
        assert call(create_app(Models(), settings), request).status == status
