"""`make editor` as a person uses it: in a checkout under git, with `.venv` in it, and in a browser."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import websocket
from support.doors import PIPELINE
from support.editors import METADATA, Editor, open_editor
from support.strangers import foreign_page, knock, listening_ports, order, status
from support.visits import browse, require_browser

from mlops.registry import experiments
from stack.mage_terminal import WAY_ON

PAGE = f"pipelines/{PIPELINE}/edit"
MINE = "# a comment of my own"
ABOUT_TRIALS = "   # sets of parameters; 2 is quick"
pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    require_browser()
    with open_editor(tmp_path_factory.mktemp("editor")) as opened:
        yield opened


@pytest.fixture(scope="module")
def visited(editor: Editor, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a person saw who opened the page and ran two blocks; and what git saw then."""
    folder = tmp_path_factory.mktemp("visit")
    cookies = folder / "cookies.json"
    seen = browse(
        screenshots=str(folder),
        cookies=str(cookies),
        editor={"url": editor.link, "blocks": ["load_trips", "clean_trips"]},
    )
    assert not seen["stopped"], (seen, editor.log.read_text())
    return {**seen, "changed": editor.changed(), "cookies": cookies}


@pytest.fixture(scope="module")
def submitted(
    visited: dict[str, Any], editor: Editor, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What a person saw who started a run with the pipeline's form; and what git saw then."""
    folder = tmp_path_factory.mktemp("form")
    fields = {"Service": "green", "Trials": "1", "Experiment": "one trial", "Note": "Is one enough?"}
    seen = browse(
        screenshots=str(folder),
        cookies=str(shutil.copy(visited["cookies"], folder)),
        form={"url": f"{editor.url}/pipelines/{PIPELINE}/triggers", "name": "by form", "fields": fields},
    )
    assert not seen["stopped"], (seen, editor.log.read_text())
    return {**seen, "changed": editor.changed()}


@pytest.fixture(scope="module")
def attacked(
    visited: dict[str, Any], editor: Editor, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What a page of another port reports of its attempts, in the browser that has opened the editor's link."""
    folder = tmp_path_factory.mktemp("attack")
    planted = {"variable": {"name": "planted", "value": 1}}
    attempts = [
        ("socket", "/websocket/terminal", json.dumps({"command": ["stdin", f"touch {folder}/terminal\r"]})),
        ("socket", "/websocket/", json.dumps({"code": f"open('{folder}/kernel', 'w')", "uuid": "a"})),
        ("read", "/api/pipelines"),
        ("embed", "/api/pipelines"),
        ("post", f"/api/pipelines/{PIPELINE}/variables", json.dumps(planted)),
    ]
    with foreign_page(folder / "page", editor.url, attempts) as url:
        seen = browse(
            screenshots=str(folder),
            cookies=str(shutil.copy(visited["cookies"], folder)),
            pages=[{"name": "foreign", "url": url, "shows": ["the end"]}],
        )
    assert not seen["stopped"], seen
    return {"report": seen["texts"]["foreign"], "files": {path.name for path in folder.iterdir()}}


def test_the_terminal_shows_the_way_on_and_no_noise(visited: dict[str, Any], editor: Editor) -> None:
    editor.call("GET", "autocomplete_items")  # as the page does; for Mage's own, a reason for 29 tracebacks
    before, _, after = editor.log.read_text().partition(f"open {editor.link}\n")
    assert before.strip() == ""
    assert after.strip() == WAY_ON
    assert [complaint for complaint in visited["complaints"] if not complaint["harmless"]] == []


def test_opening_and_running_change_no_file_of_the_user(visited: dict[str, Any], editor: Editor) -> None:
    assert visited["changed"] == {".venv/": []}
    assert not list((editor.checkout.parent / "machine" / "home").glob(".git*"))


def test_it_knows_which_blocks_have_run(visited: dict[str, Any], editor: Editor) -> None:
    blocks = editor.call("GET", f"pipelines/{PIPELINE}")["pipeline"]["blocks"]
    assert [block["status"] for block in blocks] == ["executed", "executed", None, None]


def test_a_form_starts_a_run_with_its_values(
    submitted: dict[str, Any], visited: dict[str, Any], editor: Editor
) -> None:
    assert submitted["form"] == "Done"
    (run,) = editor.machine.parents()
    assert run.data.params["max_trials"] == "1"
    assert run.data.params["month"] == editor.machine.settings()["month"]  # from the pipeline's variables
    named = experiments.named("one trial", "Is one enough?")
    assert named.items() <= run.data.tags.items()
    assert submitted["changed"] == visited["changed"]
    assert editor.log.read_text().partition(f"open {editor.link}\n")[2].strip() == WAY_ON


def test_a_kernel_that_does_not_answer_is_not_taken_for_a_restarted_one(editor: Editor) -> None:
    (kernel,) = (
        process
        for process in psutil.Process(editor.process.pid).children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE and "ipykernel_launcher" in process.cmdline()
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
            f"-  max_trials: 2{ABOUT_TRIALS}",
            f"+  max_trials: 3{ABOUT_TRIALS}",
        ],
    }


def test_a_page_of_another_port_gets_nothing(
    attacked: dict[str, Any], visited: dict[str, Any], editor: Editor
) -> None:
    *lines, end = attacked["report"].splitlines()
    assert end == "the end"
    assert {line.rpartition(": ")[2] for line in lines} == {"refused"}
    assert not attacked["files"] & {"terminal", "kernel"}
    assert "planted" not in (editor.checkout / METADATA).read_text()


@pytest.mark.parametrize("path", ["terminal", "", "terminal?token=guessed"])
def test_a_stranger_opens_no_socket(path: str, editor: Editor) -> None:
    url = f"{editor.url}/websocket/{path}"
    assert knock(url) == 401
    assert knock(url, Cookie=editor.cookie.replace("=", "=x")) == 401
    assert knock(url, Cookie=editor.cookie, Origin="http://127.0.0.1:1") == 403
    assert knock(url, Cookie=editor.cookie, Host="elsewhere.example:6789") == 403


@pytest.mark.parametrize(
    "path",
    (
        "",
        PAGE,
        f"{PAGE}?token=guessed",
        "api/pipelines",
        "api/pipelines?token=TOKEN",
        "favicon.ico",
        "unknown",
    ),
)
def test_every_route_needs_the_cookie_of_the_link_and_the_own_address(path: str, editor: Editor) -> None:
    url = f"{editor.url}/{path.replace('TOKEN', editor.link.partition('token=')[2])}"
    for method in ("GET", "POST"):
        assert status(method, url) == 401
        assert status(method, url, Cookie=editor.cookie, Host="elsewhere.example") == 403  # DNS rebinding
        assert status(method, url, Cookie=editor.cookie, Origin="null") == 403
        assert status(method, url, Cookie=editor.cookie, Origin="http://localhost:1") == 403
    assert status("GET", editor.url, Cookie=editor.cookie, Origin=editor.url) == 200


def test_who_has_no_link_reads_where_it_is(editor: Editor) -> None:
    page = requests.get(editor.url, headers={"Accept": "text/html"}, timeout=60)
    assert "The terminal in which make editor runs shows the link" in page.text
    error = requests.get(f"{editor.url}/api/pipelines", timeout=60).json()["error"]
    assert error["code"] == 401
    assert "by its link only" in error["message"]


def test_the_token_is_in_the_link_and_the_cookie_only(visited: dict[str, Any], editor: Editor) -> None:
    address, token = editor.link.split("?token=")
    opened = requests.get(f"{editor.link}&tab=1", timeout=60, allow_redirects=False)
    assert (opened.status_code, opened.headers["Location"]) == (
        302,
        f"{address.removeprefix(editor.url)}?tab=1",
    )
    assert opened.headers["Set-Cookie"].endswith(f"={token}; HttpOnly; Path=/; SameSite=Strict")
    assert len(token) > 40
    assert editor.log.read_text().count(token) == 1
    assert token not in str([process.info for process in psutil.process_iter(["cmdline"])])


def test_answers_name_no_other_page_and_no_address(editor: Editor) -> None:
    for path in ("", "favicon.ico", "api/pipelines", "api/unknown"):
        headers = editor.session.get(f"{editor.url}/{path}", timeout=60).headers
        assert not [name for name in headers if name.startswith("Access-Control-")]
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Content-Security-Policy"] == "frame-ancestors 'self'"


def test_the_terminal_is_off_and_says_how_to_get_it(editor: Editor) -> None:
    socket = websocket.create_connection(
        f"{editor.url.replace('http', 'ws')}/websocket/terminal", cookie=editor.cookie, timeout=30
    )
    kind, text = json.loads(socket.recv())
    socket.close()
    assert (kind, "make editor TERMINAL=1" in text) == ("stdout", True)
    started = psutil.Process(editor.process.pid).children(recursive=True)
    assert "bash" not in {process.name() for process in started}


def test_the_kernel_takes_no_order_from_a_stranger(
    visited: dict[str, Any], editor: Editor, tmp_path: Path
) -> None:
    """Whatever listens is tried: Mage's kernel had five ports that took orders without a signature."""
    for port in listening_ports(psutil.Process(editor.process.pid)):
        order(port, f"open({str(tmp_path / 'planted')!r}, 'w')")
    assert not list(tmp_path.iterdir())
    kernel = editor.call("GET", "kernels")["kernels"][0]  # it still works
    assert kernel["alive"]
