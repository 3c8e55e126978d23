"""The files of the page for riders, and how they are sent."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from support.asgi_calls import call, scope

from mlops.serving import keys, limits, rider
from mlops.serving.app import create_app
from mlops.serving.asgi import App
from mlops.serving.models import Models
from mlops.serving.settings import ServeSettings

FOLDER = Path(rider.__file__).parent
MOST_BYTES, MOST_PACKED = 84_000, 30_000  # of all files together: below a second on a slow phone


@pytest.fixture(scope="module")
def app() -> App:
    return create_app(Models(), ServeSettings())


def test_every_file_is_served_and_none_is_missing() -> None:
    assert sorted(rider.FILES) == sorted(
        path.name for path in FOLDER.iterdir() if path.suffix in (".html", ".css", ".js")
    )
    assert set(rider.read()) == set(rider.PATHS)


def test_the_page_asks_for_its_own_files_only() -> None:
    html = (FOLDER / rider.PAGE).read_text(encoding="utf-8")
    linked = re.findall(r'(?:href|src)="([^"#]+)"', html)
    own = {each.removeprefix("/") for each in rider.PATHS} | {"docs"}
    assert [each for each in linked if each not in own and not each.startswith("data:image/svg+xml,")] == []
    imported = {
        f"rider/{name[2:]}"
        for path in FOLDER.glob("*.js")
        for name in re.findall(r'from "(\./[^"]+)"', path.read_text())
    }
    assert imported | {"rider/page.js", "rider/page.css"} == {
        each for each in linked if each.startswith("rider/")
    }


def test_nothing_of_the_page_names_another_host() -> None:
    for name in rider.FILES:
        text = (FOLDER / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "//" not in re.sub(r"(^|\s)//\s", "", text, flags=re.M), name


def test_nothing_is_inline() -> None:
    html = (FOLDER / rider.PAGE).read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", html)


def test_the_files_are_small() -> None:
    files = rider.read().values()
    assert sum(len(file.plain) for file in files) < MOST_BYTES
    assert sum(len(file.packed) for file in files) < MOST_PACKED


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "text/html"), ("/rider/page.css", "text/css"), ("/rider/page.js", "text/javascript")],
)
def test_a_file_has_its_type_its_tag_and_the_policy(path: str, kind: str, app: App) -> None:
    answer = call(app, scope(path, "GET"))
    assert (answer.status, answer.headers["content-type"]) == (200, f"{kind}; charset=utf-8")
    assert answer.body == (FOLDER / rider.PATHS[path]).read_bytes()
    assert answer.headers["content-security-policy"] == rider.POLICY
    assert answer.headers["cache-control"] == "no-cache"
    again = call(app, scope(path, "GET", if_none_match=answer.headers["etag"]))
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == answer.headers["etag"]
    assert call(app, scope(path, "GET", if_none_match='"other"')).status == 200


def test_a_browser_gets_it_compressed_under_a_tag_of_its_own(app: App) -> None:
    plain, packed = (call(app, scope("/", "GET", accept_encoding=each)) for each in ("identity", "gzip, br"))
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == packed.headers["vary"] == "accept-encoding"
    assert plain.headers["etag"] != packed.headers["etag"]


def test_the_policy_lets_in_no_other_host_and_nothing_inline() -> None:
    rules = dict(each.split(" ", 1) for each in rider.POLICY.split("; "))
    assert rules["default-src"] == "'none'"
    assert {rules[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert "unsafe" not in rider.POLICY


def test_other_methods_are_refused(app: App) -> None:
    answer = call(app, scope("/", "POST"))
    assert answer.status == 405
    assert answer.problem["detail"] == "method: expected GET or HEAD for /; got POST"
    assert call(app, scope("/", "HEAD")).status == 200


def test_the_page_needs_no_key_and_has_no_limit() -> None:
    assert rider.PATHS.keys() <= keys.WITHOUT_KEY
    assert rider.PATHS.keys() <= limits.WITHOUT_LIMIT
    assert "/predict" not in limits.WITHOUT_LIMIT | keys.WITHOUT_KEY


def test_a_missing_file_is_an_error_at_the_start() -> None:
    def load(name: str) -> bytes:
        raise FileNotFoundError(name)

    with pytest.raises(FileNotFoundError, match=r"index\.html"):
        rider.read(load)
