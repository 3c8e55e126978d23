"""A scripted browser in Prefect's pages: logs in, starts a run with the form, looks at runs and artefacts.

Run it in .venv-browser with a JSON object on stdin: ``screenshots``, ``url`` and ``login`` of the server, ``form``
with the ``url`` of a deployment's form and ``fields``, and ``pages`` as `browse.Visit` has them. It prints as JSON
what was shown, and the addresses on other hosts that the pages asked for.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from browse import Person, Visit


class Reader(Person):
    """A person who reads Prefect's pages."""

    foreign: list[str]

    def watch(self, url: str) -> None:
        """Record the requests to other hosts."""
        self.foreign = []
        own = (url, url.replace("http", "ws", 1), "data:", "blob:")
        self.page.on("request", lambda asked: asked.url.startswith(own) or self.foreign.append(asked.url))

    def log_in(self, url: str, login: str) -> None:
        """Log in with the text that `make prefect` names."""
        with self.at("login"):
            self.page.goto(url)
            self.page.get_by_placeholder("admin:pass").fill(login)
        with self.at("dashboard"):
            self.page.get_by_role("button", name="Login").click()
            self.page.get_by_text("Automations").first.wait_for()

    def submit(self, url: str, fields: dict[str, str]) -> None:
        """Start a run with the form of a deployment: fill in these fields, by their titles."""
        with self.at("form"):
            self.page.goto(url)
            for title, value in fields.items():
                named = self.page.get_by_text(title, exact=True)
                labelled = self.page.locator(".p-label").filter(has=named).last  # the innermost
                labelled.locator("input, textarea").first.fill(value)
        with self.at("submitted"):
            self.page.get_by_role("button", name=re.compile("^(Submit|Run)$")).last.click()
            self.page.get_by_text(re.compile("scheduled", re.IGNORECASE)).first.wait_for()


def go(asked: dict[str, Any], executable: str) -> dict[str, Any]:
    """What was shown, and the exception that ended the visit, if any."""
    from playwright.sync_api import Error, sync_playwright

    stopped, folder = "", asked["screenshots"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        person = Reader(browser, Visit(folder, str(Path(folder, "cookies.json"))))
        person.watch(asked["url"])
        try:
            person.log_in(asked["url"], asked["login"])
            if asked.get("form"):
                person.submit(**asked["form"])
            for page in asked["pages"]:
                person.look(**page)
        except Error as error:
            stopped = f"{person.where}: {error}"
        browser.close()
    return {"texts": person.texts, "foreign": person.foreign, "stopped": stopped}


if __name__ == "__main__":
    json.dump(go(json.load(sys.stdin), sys.argv[1]), sys.stdout)
