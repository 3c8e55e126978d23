"""A scripted browser: signs in to Mage, runs a pipeline's blocks, fills in its form, opens pages.

Run it in .venv-browser with a JSON object (`Visit`) on stdin. It prints as JSON what was shown, and which
errors occurred on which page.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # pytest imports this file to look for doctests, in an environment without Playwright
    from playwright.sync_api import Browser, Locator

SECONDS_FOR_A_PAGE, SECONDS_FOR_A_BLOCK = 60, 240
PLAY = 'button:has(svg path[d^="M8 4.13397"])'  # the triangle in a block's header, which has no name
SWITCH = "label:has(input[type=checkbox]) span"  # of the form's last page, which has one and gives it no name
ENDED = re.compile("^(Done|Failed|Cancelled)$")  # what Mage calls a run that has ended
QUIET_MS = 1000  # a page fails soon after it shows the expected texts, or not at all

HARMLESS = {
    "left the page": r"net::ERR_ABORTED$",
    "asked before the login": r"\b401 .*/api/projects\?",
    "sign-in asked for twice": r'^Error: Abort fetching component for route: "/sign-in"',
    "layout in two steps": r"ResizeObserver loop completed with undelivered notifications",
}
"""Harmless errors, by name.

The browser cancels a page's open requests when it leaves the page (Mage's pages request their status without
end). The page that leads to the sign-in page asks for the project first, and is refused. Mage redirects to the
sign-in page a second time while that page is being fetched. The browser reports an error when a table of MLflow
gets its layout in two steps.
"""


@dataclass(frozen=True)
class Visit:
    """The steps of one visit.

    Parameters
    ----------
    screenshots : str
        Folder.
    number : int
        Number of the first screenshot.
    cookies : str
        File that keeps the cookies between visits.
    mage : dict, optional
        ``url``, ``email``, ``password`` to sign in first.
    editor : dict, optional
        ``url`` of a pipeline's edit page, names of its ``blocks``: run them one after the other. ``shows``, if
        given, is a text that each shows at its end.
    form : dict, optional
        ``url`` of a pipeline's triggers, ``name`` of the trigger to make, and ``fields``: values by title.
    pages : list of dict
        ``name``, ``url``, and ``shows``, texts to wait for.
    credentials : dict, optional
        ``username``, ``password`` and ``origin`` of basic authentication.
    """

    screenshots: str
    cookies: str
    number: int = 1
    mage: dict[str, str] | None = None
    editor: dict[str, Any] | None = None
    form: dict[str, Any] | None = None
    pages: list[dict[str, Any]] = field(default_factory=list)
    credentials: dict[str, str] | None = None


class Person:
    """The user of the browser; records every error of the current page.

    Parameters
    ----------
    browser : Browser
    visit : Visit
    """

    def __init__(self, browser: Browser, visit: Visit) -> None:
        self.visit, self.number, self.where = visit, visit.number, "start"
        self.complaints: list[dict[str, str]] = []
        self.texts: dict[str, str] = {}
        known = visit.cookies if Path(visit.cookies).exists() else None
        self.page = browser.new_page(
            viewport={"width": 1600, "height": 1200},
            http_credentials=visit.credentials,
            storage_state=known,
        )
        self.page.set_default_timeout(SECONDS_FOR_A_PAGE * 1000)
        self.page.on("pageerror", lambda error: self.note("page error", str(error)))
        self.page.on(
            "console",
            lambda said: said.type == "error" and self.note("console", f"{said.text} {said.location}"),
        )
        self.page.on("requestfailed", lambda asked: self.note("no answer", f"{asked.url}: {asked.failure}"))
        self.page.on(
            "response",
            lambda got: (
                got.status >= 400 and self.note("HTTP", f"{got.status} {got.request.method} {got.url}")
            ),
        )

    def note(self, kind: str, text: str) -> None:
        """Record an error; a harmless one gets its name from `HARMLESS`."""
        known = [name for name, pattern in HARMLESS.items() if re.search(pattern, text)]
        self.complaints.append(
            {"page": self.where, "kind": kind, "text": text, "harmless": "".join(known[:1])}
        )

    @contextmanager
    def at(self, name: str) -> Iterator[None]:
        """Record errors under a page's name; take a screenshot at the end, even after a failure."""
        self.where = name
        try:
            yield
            self.page.wait_for_timeout(QUIET_MS)
        finally:
            self.texts[name] = self.page.locator("body").inner_text()
            self.page.screenshot(path=Path(self.visit.screenshots, f"{self.number:02}-{name}.png"))
            self.number += 1

    def sign_in(self, url: str, email: str, password: str) -> None:
        """Sign in with Mage's form; then Mage shows the page that was asked for, or its overview."""
        with self.at("login"):
            self.page.goto(url)
            self.page.get_by_placeholder("Email").fill(email)
            self.page.get_by_placeholder("Password").fill(password)
        with self.at("signed-in"):
            self.page.get_by_role("button", name="Sign into Mage").click()
            self.page.get_by_text(re.compile(r"Pipeline run metrics|Memory: ")).first.wait_for()

    def run_blocks(
        self, url: str, blocks: list[str], shows: str = "1/1 tests passed."
    ) -> dict[str, dict[str, Any]]:
        """Run each block of the pipeline by its button until it shows this text; return what is shown under it."""
        with self.at("editor"):
            self.page.goto(url)
            for name in blocks:
                self.header(name).wait_for()
            self.page.get_by_text(re.compile(r"Memory: [1-9]")).wait_for()
        return {name: self.run_block(name, shows) for name in blocks}

    def run_block(self, name: str, shows: str) -> dict[str, Any]:
        """Table and text below one block."""
        header = self.header(name)
        block = header.locator("xpath=../../..")
        with self.at(name):
            header.locator(PLAY).click()
            alone = self.page.get_by_text("Execute block", exact=True)
            table = block.get_by_role("table")
            # If earlier blocks have run, the button opens a menu.
            alone.or_(block.get_by_text(shows)).or_(table).first.wait_for()
            if alone.is_visible():
                alone.click()
            end = block.get_by_text(shows)
            end.wait_for(timeout=SECONDS_FOR_A_BLOCK * 1000)
            (table if table.count() else end).scroll_into_view_if_needed()
        return {"table": read(table) if table.count() else [], "text": block.inner_text()}

    def header(self, name: str) -> Locator:
        """The header of a block in the editor."""
        link = self.page.get_by_role("link", name=name, exact=True)
        return self.page.locator(".code-block-header-sticky").filter(has=link)

    def send_form(self, url: str, name: str, fields: dict[str, str]) -> str:
        """Start a run with the pipeline's form; return what its page calls the run when it has ended."""
        with self.at("form"):
            self.page.goto(url)
            self.page.get_by_text("Create trigger with no-code").click()
            self.page.get_by_role("heading", name="Schedule").click()
            self.page.get_by_placeholder("Name this trigger").fill(name)
            self.page.locator("select").select_option("@once")
            self.page.get_by_text("Next: Customize").click()
            for title, value in fields.items():
                self.fill(title, value)
        with self.at("review"):
            self.page.get_by_text("Next: Review").click()
            self.page.locator(SWITCH).click()
        with self.at("run"):
            self.page.get_by_role("button", name="Create trigger").click()
            ended = self.page.get_by_text(ENDED).filter(visible=True).first  # a menu has them, too
            ended.wait_for(timeout=SECONDS_FOR_A_BLOCK * 1000)
        return ended.inner_text()

    def fill(self, title: str, value: str) -> None:
        """Fill in the form's field with this title."""
        inside = self.page.locator("div").filter(has=self.page.get_by_text(title, exact=True))
        field = inside.filter(has=self.page.locator("input, select, textarea")).last.locator(
            "input, select, textarea"
        )
        if field.evaluate("it => it.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)

    def look(self, name: str, url: str, shows: list[str]) -> None:
        """Open a page and wait until it shows all expected texts."""
        with self.at(name):
            self.page.goto(url)
            for text in shows:
                self.page.get_by_text(text).filter(visible=True).first.wait_for()


def read(table: Locator) -> list[dict[str, str]]:
    """Rows of a table as Mage draws it, by column, without the row number."""
    names = table.get_by_role("columnheader").all_inner_texts()[1:]
    rows = [row.get_by_role("cell").all_inner_texts()[1:] for row in table.get_by_role("row").all()[1:]]
    return [dict(zip(names, row, strict=True)) for row in rows]


def go(visit: Visit, executable: str) -> dict[str, Any]:
    """What was shown: tables, texts, errors of pages; and the exception that ended the visit, if any."""
    from playwright.sync_api import Error, sync_playwright

    blocks: dict[str, Any] = {}
    stopped = ended = ""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        person = Person(browser, visit)
        try:
            if visit.mage:
                person.sign_in(**visit.mage)
            if visit.editor:
                blocks = person.run_blocks(**visit.editor)
            if visit.form:
                ended = person.send_form(**visit.form)
            for page in visit.pages:
                person.look(**page)
        except Error as error:
            stopped = f"{person.where}: {error}"
        person.page.context.storage_state(path=visit.cookies)
        browser.close()
    return {
        "blocks": blocks, "form": ended, "texts": person.texts, "complaints": person.complaints,
        "stopped": stopped, "next_number": person.number,
    }  # fmt: skip


if __name__ == "__main__":
    json.dump(go(Visit(**json.load(sys.stdin)), sys.argv[1]), sys.stdout)
