"""`make editor` as a person uses it: in a checkout under git, with `.venv` in it, and in a browser."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mage_ai
import psutil
import pytest
import requests
import yaml
from support.doors import PIPELINE, PROJECT, Machine, end_group, wait_until, write_months
from support.stack_process import free_ports
from support.visits import browse, require_browser

from stack.yaml_texts import rewritten

OF_A_CHECKOUT = (
    "mlops", "stack", "pipelines", "data_loaders", "transformers", "data_exporters", "callbacks",
    "Makefile", "metadata.yaml", "io_config.yaml", ".gitignore", "requirements.txt",
)  # fmt: skip
METADATA = f"pipelines/{PIPELINE}/metadata.yaml"
MINE = "# a comment of my own"
pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


@dataclass(frozen=True)
class Editor:
    """A running `make editor`.

    Parameters
    ----------
    checkout : Path
        Its folder; all in it is committed at the start.
    url : str
    log : Path
        What it writes into its terminal.
    process : Popen
    """

    checkout: Path
    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def call(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """The answer of Mage's API, which its pages use."""
        answer: dict[str, Any] = requests.request(
            method, f"{self.url}/api/{path}", json=body or None, timeout=60
        ).json()
        assert "error" not in answer, answer
        return answer

    def answers(self) -> bool:
        """Whether its pages can be opened."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            return requests.get(self.url, timeout=1).status_code == 200
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


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    require_browser()
    home = tmp_path_factory.mktemp("editor")
    (home / "checkout").mkdir()
    machine = Machine(home / "machine", write_months(home / "months"), {"PYTHONDONTWRITEBYTECODE": "1"})
    checkout = check_out(home / "checkout", machine.settings())
    (home / "machine" / "home").mkdir(parents=True)
    port, log = free_ports()["MAGE_PORT"], home / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "editor", f"EDITOR_PORT={port}"],
            cwd=checkout, env=machine.environment, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    opened = Editor(checkout, f"http://127.0.0.1:{port}", log, process)
    try:
        wait_until(opened.answers, 120, log.read_text)
        yield opened
    finally:
        end_group(process)


@pytest.fixture(scope="module")
def visited(editor: Editor, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a person saw who opened the page and ran two blocks; and what git saw then."""
    folder = tmp_path_factory.mktemp("visit")
    page = f"{editor.url}/pipelines/{PIPELINE}/edit"
    seen = browse(
        screenshots=str(folder),
        cookies=str(folder / "cookies.json"),
        editor={"url": page, "blocks": ["load_trips", "clean_trips"]},
    )
    assert not seen["stopped"], (seen, editor.log.read_text())
    return {**seen, "changed": editor.changed()}


def test_the_terminal_shows_no_traceback(visited: dict[str, Any], editor: Editor) -> None:
    assert "GET /api/autocomplete_items" in editor.log.read_text()
    assert "Traceback" not in editor.log.read_text()
    assert [complaint for complaint in visited["complaints"] if not complaint["harmless"]] == []


def test_opening_and_running_change_no_file_of_the_user(visited: dict[str, Any], editor: Editor) -> None:
    assert visited["changed"] == {".venv/": []}
    assert not list((editor.checkout.parent / "machine" / "home").glob(".git*"))


def test_it_knows_which_blocks_have_run(visited: dict[str, Any], editor: Editor) -> None:
    blocks = editor.call("GET", f"pipelines/{PIPELINE}")["pipeline"]["blocks"]
    assert [block["status"] for block in blocks] == ["executed", "executed", None, None]


def test_a_kernel_that_does_not_answer_is_not_taken_for_a_restarted_one(editor: Editor) -> None:
    (kernel,) = (
        process
        for process in psutil.Process(editor.process.pid).children(recursive=True)
        if "ipykernel_launcher" in process.cmdline()
    )
    assert Path(kernel.cmdline()[0]) == editor.checkout / ".venv" / "bin" / "python"
    os.kill(kernel.pid, signal.SIGSTOP)
    try:
        usage = editor.call("GET", "kernels")["kernels"][0]["usage"]
    finally:
        os.kill(kernel.pid, signal.SIGCONT)
    assert usage["pid"] == kernel.pid
    assert usage["kernel_memory"] > 10**7


def test_what_a_user_changes_reaches_the_checkout_and_nothing_else(
    visited: dict[str, Any], editor: Editor
) -> None:
    """The requests are those of the page: a block and its edges, an edge, a variable, code."""
    pipeline = f"pipelines/{PIPELINE}"
    made = {"name": "nights", "type": "transformer", "language": "python", "content": "import pandas\n"}
    editor.call("POST", f"{pipeline}/blocks", block={**made, "upstream_blocks": ["clean_trips"]})
    edges = {"upstream_blocks": ["clean_trips", "nights"]}
    editor.call("PUT", f"{pipeline}/blocks/build_features", block=edges)
    editor.call("POST", f"{pipeline}/variables", variable={"name": "max_trials", "value": 3})
    known = editor.call("GET", f"{pipeline}?include_content=true")["pipeline"]["blocks"]
    code = {block["uuid"]: block["content"] for block in known}
    code["clean_trips"] += f"{MINE}\n"
    blocks = [{"uuid": name, "content": content} for name, content in code.items()]
    editor.call("PUT", f"{pipeline}?update_content=true", pipeline={"blocks": blocks})
    assert editor.changed() == {
        **visited["changed"],
        "transformers/clean_trips.py": [f"+{MINE}"],
        "transformers/nights.py": [],
        METADATA: [
            "-  downstream_blocks: [build_features]",
            "+  downstream_blocks: [build_features, nights]",
            "-  upstream_blocks: [clean_trips]",
            "+  upstream_blocks: [clean_trips, nights]",
            "+- executor_type: local_python",
            "+  has_callback: false",
            "+  name: nights",
            "+  language: python",
            "+  type: transformer",
            "+  upstream_blocks:",
            "+  - clean_trips",
            "+  uuid: nights",
            "+  downstream_blocks:",
            "+  - build_features",
            "-  max_trials: 2",
            "+  max_trials: 3",
        ],
    }
