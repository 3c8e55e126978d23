"""`make editor` as a person starts it: in a checkout under git, with `.venv` in it."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import venv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mage_ai
import requests
import yaml
from support.doors import PIPELINE, PROJECT, Machine, end_group, wait_until, write_months
from support.stack_process import free_ports

from stack.yaml_texts import rewritten

OF_A_CHECKOUT = (
    "mlops", "stack", "pipelines", "data_loaders", "transformers", "data_exporters", "callbacks", "charts",
    "interactions", "Makefile", "metadata.yaml", "io_config.yaml", ".gitignore", "requirements.txt",
    "requirements-build.txt",
)  # fmt: skip
OF_A_PERSON = (
    "PATH", "HOME", "LANG", "TMPDIR", "MLOPS_STATE_DIR", "MAGE_DATA_DIR", "MLOPS_THREADS", "PYTHONUNBUFFERED",
    "PYTHONDONTWRITEBYTECODE", "COLUMNS",
)  # fmt: skip  # not those of the `make` or the test runner that runs the tests
METADATA = f"pipelines/{PIPELINE}/metadata.yaml"


@dataclass(frozen=True)
class Editor:
    """A running `make editor`, and a person who has opened its link.

    Parameters
    ----------
    checkout : Path
        Its folder; all in it is committed at the start.
    url : str
    log : Path
        What it writes into its terminal.
    process : Popen
    machine : Machine
        Holds all that it writes elsewhere.
    """

    checkout: Path
    url: str
    log: Path
    process: subprocess.Popen[bytes]
    machine: Machine
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def link(self) -> str:
        """What it prints for a person to open; empty until then."""
        printed = re.search(r"(?m)^open (\S+)$", self.log.read_text())
        return printed[1] if printed else ""

    @property
    def cookie(self) -> str:
        """The header of a browser that has opened the link."""
        return "; ".join(f"{name}={value}" for name, value in self.session.cookies.items())

    def call(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """The answer of Mage's API, which its pages use."""
        answer: dict[str, Any] = self.session.request(
            method, f"{self.url}/api/{path}", json=body or None, timeout=60
        ).json()
        assert "error" not in answer, answer
        return answer

    def answers(self) -> bool:
        """Whether its pages can be opened."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            return bool(self.link) and self.session.get(self.link, timeout=1).status_code == 200
        except requests.RequestException:
            return False

    def changed(self) -> dict[str, list[str]]:
        """Lines that were added to and removed from each file, and ignored files, as git sees them."""
        lines: dict[str, list[str]] = {}
        for line in git(self.checkout, "status", "--porcelain", "--ignored").splitlines():
            diff = git(self.checkout, "diff", "--unified=0", "--", line[3:]).splitlines()
            lines[line[3:]] = [said for said in diff if said[0] in "+-" and said[:3] not in ("+++", "---")]
        return lines


def git(checkout: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", *who, *words], cwd=checkout, capture_output=True, text=True, check=True)
    return done.stdout


def check_out(target: Path, settings: dict[str, Any]) -> Path:
    """A checkout with these settings in its pipeline, and with its own `.venv`, in which only Mage is a copy."""
    for source in (PROJECT / name for name in OF_A_CHECKOUT):
        if source.is_dir():
            shutil.copytree(source, target / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    metadata = target / METADATA
    text = metadata.read_text()
    said = yaml.safe_load(text)
    metadata.write_text(rewritten(text, yaml.safe_dump({**said, "variables": said["variables"] | settings})))
    git(target, "init", "--quiet")
    git(target, "add", ".")
    git(target, "commit", "--quiet", "--message", "Start")
    venv.create(target / ".venv", symlinks=True)
    packages, own = Path(mage_ai.__file__).parents[1], next((target / ".venv").glob("lib/*/site-packages"))
    for package in packages.iterdir():
        if package.name == "mage_ai":
            shutil.copytree(package, own / package.name)
        elif not package.name.startswith("__editable__"):
            (own / package.name).symlink_to(package)
    (own / "checkout.pth").write_text(str(target))
    (target / ".venv" / "installed").touch()
    return target


@contextlib.contextmanager
def open_editor(home: Path) -> Iterator[Editor]:
    """An editor over a checkout in this empty folder, until the end of the block."""
    (home / "checkout").mkdir()
    machine = Machine(home / "machine", write_months(home / "months"), {"PYTHONDONTWRITEBYTECODE": "1"})
    checkout = check_out(home / "checkout", machine.settings())
    (home / "machine" / "home").mkdir(parents=True)
    port, log = free_ports()["MAGE_PORT"], home / "log"
    environment = {name: value for name, value in machine.environment.items() if name in OF_A_PERSON}
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "editor", f"EDITOR_PORT={port}"],
            cwd=checkout, env=environment | {"OLDPWD": str(home)}, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    opened = Editor(checkout, f"http://127.0.0.1:{port}", log, process, machine)
    try:
        wait_until(opened.answers, 120, log.read_text)
        yield opened
    finally:
        end_group(process)
