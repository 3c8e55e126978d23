"""An archive that somebody made or changed: it is refused before anything of it is unpacked or run."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from support.archives import USERS, bomb, file, pack, sign, special

from stack import archive
from stack.archive import KEY, unpack, write
from stack.backup import back_up, restore
from stack.compose import StackError
from stack.stack import Stack

OURS, THEIRS = "5" * 64, "6" * 64


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with a key."""
    state = tmp_path / "state"
    state.mkdir()
    put_key(state, OURS)
    return state


def put_key(state: Path, key: str) -> None:
    (state / KEY).touch(0o600)
    (state / KEY).write_text(f"{key}\n")


def files_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def refused(source: Path, state: Path) -> str:
    """The message of a restore that leaves nothing behind."""
    (state / "stack.lock").touch()
    before = files_below(state.parent)
    with pytest.raises(StackError) as caught:
        restore(state / "stack", source)
    assert files_below(state.parent) == before
    return str(caught.value)


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """What a backup writes."""
    for path, content in {
        "artifacts/1/model.json": "{}",
        "project/blocks/__pycache__/load.pyc": "code",
        "project/blocks/load.py": "# mine",
        "told/green": "sent",
        "months/tlc/replaced/green_2023-01.parquet": "former",
        "serving/requests/2026-11-27T08-30-00-abcdabcd.parquet": "asked",
        "serving/keys": "planner 5feceb66",
        "registry.key": "secret",
        "mage.dump": "M",
        "mlflow.dump": "L",
    }.items():
        (tmp_path / "made" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "made" / path).write_text(content)
    named = ("artifacts", "project", "mage.dump", "mlflow.dump")
    of_state = ("told", "months/tlc/replaced", "serving/requests", "serving/keys", "registry.key")
    made = tmp_path / "made"
    return {name: made / name for name in named} | {f"state/{name}": made / name for name in of_state}


def contents(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_an_archive_brings_back_what_was_written(
    state: Path, places: dict[str, Path], tmp_path: Path
) -> None:
    target = tmp_path / "backup.tar.gz"
    assert write(target, places, {"users": USERS}, state) == []
    assert target.stat().st_mode & 0o777 == 0o600
    assert unpack(target, tmp_path / "unpacked", state, trust=False) == USERS
    found = contents(tmp_path / "unpacked")
    assert found.pop("manifest.json")
    expected = {**contents(places["artifacts"].parent)}
    expected.pop("project/blocks/__pycache__/load.pyc")
    for name in (
        "told/green", "months/tlc/replaced/green_2023-01.parquet", "serving/keys", "registry.key",
        "serving/requests/2026-11-27T08-30-00-abcdabcd.parquet",
    ):  # fmt: skip
        expected[f"state/{name}"] = expected.pop(name)
    assert found == expected
    for program in (["gzip", "--test"], ["tar", "--list", "--gzip", "--file"]):
        done = subprocess.run([*program, target], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    assert OURS not in done.stdout
    assert KEY not in done.stdout


def test_a_backup_makes_a_key_and_leaves_out_what_is_no_file(places: dict[str, Path], tmp_path: Path) -> None:
    blocks, state = places["project"] / "blocks", tmp_path / "new"
    state.mkdir()
    (blocks / "passwd").symlink_to("/etc/passwd")
    os.mkfifo(blocks / "pipe")
    (blocks / "odd\nname.py").write_text("")
    os.link(blocks / "load.py", blocks / "same.py")
    left_out = write(tmp_path / "backup.tar.gz", places, {"users": USERS}, state)
    assert sorted(left_out) == [f"project/blocks/{name}" for name in ("odd\nname.py", "passwd", "pipe")]
    assert (state / KEY).stat().st_mode & 0o777 == 0o600
    unpack(tmp_path / "backup.tar.gz", tmp_path / "unpacked", state, trust=False)
    assert (tmp_path / "unpacked" / "project" / "blocks" / "same.py").read_text() == "# mine"


def test_a_backup_is_written_through_no_link(state: Path, places: dict[str, Path], tmp_path: Path) -> None:
    victim, laid = tmp_path / "victim", tmp_path / "backup.tar.gz"
    laid.symlink_to(victim)
    with pytest.raises(FileExistsError):
        write(laid, places, {"users": USERS}, state)
    with pytest.raises(StackError, match="this file exists, and a backup overwrites no file"):
        back_up(Stack(state / "stack", {}), laid)
    assert not victim.exists()


@pytest.mark.parametrize("where", [0, 12, 0.5, -70, -20])
def test_an_archive_with_one_changed_byte_is_refused(state: Path, tmp_path: Path, where: float) -> None:
    source = sign(pack(tmp_path / "backup.tar.gz"), OURS)
    changed = bytearray(source.read_bytes())
    changed[int(where * len(changed)) if isinstance(where, float) else where] ^= 1
    source.write_bytes(changed)
    said = refused(source, state)
    assert said.startswith(
        f"{source}: its HMAC was made with another key, or it was changed afterwards. An archive"
    )


def test_an_archive_of_another_key_needs_that_key_or_trust(state: Path, tmp_path: Path) -> None:
    source = sign(pack(tmp_path / "backup.tar.gz"), THEIRS)
    assert "its HMAC was made with another key" in refused(source, state)
    (state / KEY).unlink()
    said = refused(source, state)
    assert said.startswith(
        f"{source}: there is no key here to check its HMAC with. An archive has Python code"
    )
    assert f"copy `backup.key` of that folder to {state / KEY} and restore again" in said
    assert said.endswith("trust it: make restore FROM=... TRUST=1")
    assert unpack(source, tmp_path / "trusted", state, trust=True) == USERS
    put_key(state, THEIRS)
    assert unpack(source, tmp_path / "known", state, trust=False) == USERS


def test_an_archive_of_an_older_version_needs_trust(state: Path, tmp_path: Path) -> None:
    source = pack(tmp_path / "backup.tar.gz", format=1, contents=None)
    assert "it has no HMAC at its end, so an older version made it, or it is not complete" in refused(
        source, state
    )
    assert unpack(source, tmp_path / "trusted", state, trust=True) == USERS


LINK = special("artifacts/1", tarfile.SYMTYPE, "/tmp")


@pytest.mark.parametrize(
    "members",
    [
        [file("../outside")],
        [file("/tmp/outside")],
        [file("artifacts/../../outside")],
        [file("artifacts//outside")],
        [LINK, file("artifacts/1/outside")],
        [special("artifacts/inside", tarfile.SYMTYPE, "model.json")],
        [special("artifacts/passwd", tarfile.LNKTYPE, "mage.dump")],
        [special("artifacts/pipe", tarfile.FIFOTYPE)],
        [special("artifacts/disk", tarfile.BLKTYPE)],
        [file("stack/.env")],
        [file("state/backup.key")],
        [file("state/prepared/trips.parquet")],
        [file("state/serving/models/trip-duration-green.json")],
        [special("state/serving/keys", tarfile.DIRTYPE)],
        [special("state/registry.key", tarfile.DIRTYPE), file("state/registry.key/told")],
        [file("state/months/replaced/x")],
        [file("artifacts/two\nlines")],
        [file("mage.dump")],
    ],
    ids=lambda members: members[-1][0].name,
)
def test_a_name_or_kind_that_no_backup_writes_is_refused(members: Any, state: Path, tmp_path: Path) -> None:
    source = sign(pack(tmp_path / "backup.tar.gz", *members), OURS)
    said = refused(source, state)
    assert said.startswith(f"{source}: expected an archive made by `make backup`; got: ")
    assert "which is neither a file nor a folder" in said or "a name that no backup writes" in said


@pytest.mark.parametrize(
    ("users", "named"),
    [
        ({**USERS, "SLACK_WEBHOOK_URL": "x"}, "got 'SLACK_WEBHOOK_URL'"),
        ({**USERS, "PATH": "/tmp"}, "got 'PATH'"),
        ({"A=b\nDEFAULT_OWNER_EMAIL": "x"}, r"got 'A=b\nDEFAULT_OWNER_EMAIL'"),
        ({"DEFAULT_OWNER_EMAIL": "x\nPOSTGRES_PASSWORD=known"}, r"got 'x\nPOSTGRES_PASSWORD=known'"),
        ({"DEFAULT_OWNER_EMAIL": "x=y"}, "got 'x=y'"),
        ({"DEFAULT_OWNER_USERNAME": "$(id)"}, "got '$(id)'"),
        ({"DEFAULT_OWNER_USERNAME": ""}, "got ''"),
        ({"DEFAULT_OWNER_USERNAME": ["x"]}, "got ['x']"),
        (["x"], "got list"),
        (None, "got NoneType"),
    ],
)
def test_the_manifest_names_the_first_users_and_sets_nothing_else(
    users: Any, named: str, state: Path, tmp_path: Path
) -> None:
    said = refused(sign(pack(tmp_path / "backup.tar.gz", users=users), OURS), state)
    assert "expected an archive made by `make backup`; got: manifest.json, users: " in said
    assert named in said


@pytest.mark.parametrize(
    ("manifest", "named"),
    [
        (
            {"contents": {"mage.dump": 4, "mlflow.dump": 5}},
            "other files, or of other sizes, than manifest.json lists",
        ),
        ({"contents": {"mage.dump": 4}}, "other files, or of other sizes, than manifest.json lists"),
        ({"format": 3}, "format '3' instead of 2; restore with the code that wrote it"),
        ({"dumps": {"mlflow.dump": b""}}, "no mage.dump in it"),
    ],
)
def test_the_manifest_lists_every_file_with_its_size(
    manifest: Any, named: str, state: Path, tmp_path: Path
) -> None:
    assert named in refused(sign(pack(tmp_path / "backup.tar.gz", **manifest), OURS), state)


def test_an_archive_that_does_not_fit_the_disk_is_refused(state: Path, tmp_path: Path) -> None:
    source = sign(pack(tmp_path / "backup.tar.gz", bomb("artifacts/bomb", 2**60)), OURS)
    assert "artifacts/bomb' of 1,152,921,504,606,846,976 bytes, for which there is no room" in refused(
        source, state
    )


def test_an_old_python_is_refused(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(tarfile, "data_filter")
    said = refused(sign(pack(tmp_path / "backup.tar.gz"), OURS), state)
    assert (
        "cannot unpack an archive safely (it has no tarfile.data_filter); expected 3.10.12, 3.11.4 or" in said
    )


@pytest.mark.parametrize("laid", ["told", "told/green", "months", "stack", "stack.part"])
def test_a_restore_writes_through_no_link(laid: str, state: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    members = [file("state/told/green"), file("state/months/tlc/replaced/green.parquet")]
    source = sign(pack(tmp_path / "backup.tar.gz", *members), OURS)
    (state / laid).parent.mkdir(exist_ok=True)
    (state / laid).symlink_to(outside)
    with pytest.raises((StackError, FileExistsError), match=rf"{laid}: this is a link|File exists.*{laid}"):
        restore(state / "stack", source)
    assert list(outside.iterdir()) == []
    assert (state / laid).is_symlink()


def test_a_restore_leaves_no_other_key_for_the_versions(state: Path, tmp_path: Path) -> None:
    (state / "registry.key").write_text(OURS)
    source = sign(pack(tmp_path / "backup.tar.gz", file("state/registry.key", THEIRS.encode())), OURS)
    assert f"{state / 'registry.key'}: the archive has another key" in refused(source, state)


def test_what_was_checked_is_what_is_unpacked(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody changes the file after its HMAC was found right."""
    source = sign(pack(tmp_path / "backup.tar.gz", file("artifacts/1", b"checked")), OURS)
    take = archive._take

    def and_then_change(*given: Any) -> str:
        said = take(*given)
        pack(source, file("artifacts/1", b"changed"))
        return said

    monkeypatch.setattr(archive, "_take", and_then_change)
    unpack(source, tmp_path / "unpacked", state, trust=False)
    assert (tmp_path / "unpacked" / "artifacts" / "1").read_text() == "checked"
