"""Nothing is installed but what the locks name, by its hash: packages, build requirements, images."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from mlops.config import PROJECT

LOCKS = sorted(PROJECT.glob("requirements*.txt"))
PINNED = r"[\w.-]+(\[[\w, -]+\])?==\S+( ;[^\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+"
FLOWS = tuple(f".venv-{name}/installed" for name in ("prefect", "airflow", "kfp"))
INSTALLS = ("install", ".venv/dev-installed", "docs", "bench", "test-long", "lock", *FLOWS)
SHARED = PROJECT / "requirements-library.in"  # a part of others, and no environment of its own
OWN = {"--no-index", "--no-deps", "--no-build-isolation", "--editable"}


def dry_run(*words: str) -> str:
    """Every command of a make that takes nothing for built."""
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", *words],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.replace("\\\n", "")


def installs(text: str) -> list[list[str]]:
    """Words of each command that installs packages."""
    return [shlex.split(found) for found in re.findall(r"pip install ([^&\n]*)", text)]


# The locks


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_package_in_a_lock_has_a_version_and_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    packages = re.findall(r"(?m)^\w(?:.*\\\n)*.*", text)
    assert packages
    assert [package for package in packages if not re.fullmatch(PINNED, package)] == []
    assert "://" not in text
    assert not re.search(r"(?m)^-", text)


def test_make_lock_makes_every_lock_with_hashes() -> None:
    command = dry_run("lock")
    made = re.search(r"for name in (.*?);.*uv pip compile (.*)", command)
    assert made
    assert sorted(f"{name}.txt" for name in made[1].split()) == [lock.name for lock in LOCKS]
    assert {*(lock.with_suffix(".in") for lock in LOCKS), SHARED} == {*PROJECT.glob("requirements*.in")}
    assert {"--generate-hashes", "--no-strip-extras", "--universal", "--no-emit-index-url"} <= set(
        made[2].split()
    )


def test_what_builds_the_project_is_what_the_lock_has() -> None:
    requires = re.search(r"(?m)^requires = \[(.*)\]", (PROJECT / "pyproject.toml").read_text())
    assert requires
    needed, locked = re.findall(r'"(.+?)"', requires[1]), (PROJECT / "requirements-build.txt").read_text()
    assert needed
    assert [name for name in needed if not re.search(rf"(?m)^{re.escape(name)} ", locked)] == []


# The commands


@pytest.mark.parametrize("uv", ["", "uv"])
def test_make_installs_nothing_without_its_hash(uv: str) -> None:
    found = installs(dry_run(*INSTALLS, f"UV={uv}"))
    own = [words for words in found if set(words) >= OWN]
    assert len(own) == 1
    locks = {
        words[words.index("-r") + 1] for words in found if words not in own and "--require-hashes" in words
    }
    assert sorted(locks) == [lock.name for lock in LOCKS]
    assert len(found) == len(LOCKS) + 2  # no other command installs; two environments have the build lock
    from_sources = [words for words in found if "--only-binary" not in words and words not in own]
    assert [words[-1] for words in from_sources] == ["requirements.txt", "requirements-kfp.txt"]
    assert all("--no-build-isolation" in words for words in from_sources)


@pytest.mark.parametrize("name", ["mage", "mlflow", "serving"])
def test_images_install_nothing_without_its_hash(name: str) -> None:
    text = (PROJECT / "docker" / f"{name}.Dockerfile").read_text().replace("\\\n", "")
    found = installs(text)
    assert len(found) == {"mage": 3, "mlflow": 1, "serving": 1}[name]
    for words in found:
        assert "--require-hashes" in words or set(words) >= OWN
        assert "--only-binary" in words or "--no-build-isolation" in words


# The attack: another file under a locked name


@pytest.fixture(params=["pip", "uv"])
def tool(request: pytest.FixtureRequest) -> str:
    """The path of uv, or nothing for pip."""
    if request.param == "pip":
        return ""
    found = shutil.which("uv", path=f"{PROJECT / '.venv-lock' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return found or pytest.skip("uv is not there: `make .venv-lock/installed` gets it")


@pytest.fixture
def checkout(tool: str, tmp_path: Path) -> Path:
    """A folder with the Makefile, an empty environment, and an index with one wheel and one source archive."""
    made = tmp_path
    shutil.copy(PROJECT / "Makefile", made)
    venv.create(made / ".venv-tiny", with_pip=not tool, symlinks=True)
    index = made / "index"
    index.mkdir()
    with zipfile.ZipFile(index / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "")
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr(
            "tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")
    source = made / "built-1.0"
    source.mkdir()
    (source / "setup.py").write_text(
        f"open({str(made / 'ran')!r}, 'w')\nimport setuptools; setuptools.setup()\n"
    )
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: built\nVersion: 1.0\n")
    with tarfile.open(index / "built-1.0.tar.gz", "w:gz") as archive:
        archive.add(source, source.name)
    return made


def install(checkout: Path, lock: str, uv: str) -> tuple[bool, str]:
    """Whether `make` installs this lock into an environment of its own, and what it says."""
    (checkout / "requirements-tiny.txt").write_text(lock)
    (checkout / ".venv-tiny" / "installed").unlink(missing_ok=True)
    index = str(checkout / "index")
    own = {name: text for name, text in os.environ.items() if not name.startswith(("PIP_", "UV_", "MAKE"))}
    own |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": index, "PIP_CONFIG_FILE": os.devnull}
    own |= {
        "UV_OFFLINE": "1",
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": index,
        "UV_CACHE_DIR": str(checkout / "cache"),
    }
    done = subprocess.run(
        ["make", ".venv-tiny/installed", f"UV={uv}", "environment=true", f"PYTHON={sys.executable}"],
        cwd=checkout, env=own, capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode == 0, done.stderr


def hash_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_file_that_is_not_the_locked_one_is_refused(tool: str, checkout: Path) -> None:
    good = hash_of(checkout / "index" / "tiny-1.0-py3-none-any.whl")
    source = hash_of(checkout / "index" / "built-1.0.tar.gz")
    refused = {
        f"tiny==1.0 --hash=sha256:{source}\n": "(?i)hash(es)? .*mismatch|do not match",
        "tiny==1.0\n": "(?i)hash",
        f"built==1.0 --hash=sha256:{source}\n": "(?i)no matching distribution|no usable wheels",
    }
    for lock, says in refused.items():
        installed, said = install(checkout, lock, tool)
        assert not installed, lock
        assert re.search(says, said), said
    assert not (checkout / "ran").exists()  # no code of the archive
    assert install(checkout, f"tiny==1.0 --hash=sha256:{good}\n", tool)[0]
