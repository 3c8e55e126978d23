"""A scripted browser in Mage's editor: takes one step after the other, and reads blocks and charts.

Run it in .venv-browser with a JSON object on stdin: the fields of `browse.Visit`, and ``steps``, a list of lists
that each begin with a key of `STEPS`. It prints as JSON what each step saw, and the errors of each page.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from browse import Person, Visit, read

WIDTH_OF_CHARTS = "localStorage.setItem('pipeline_editor_after_width', '760')"
AREAS = "bars => bars.map(bar => bar.getAttribute('height') * bar.getAttribute('width'))"
SECONDS_TO_DRAW = 8
LINES = "lines => lines.map(line => line.getAttribute('d').split('L').length)"


class Student(Person):
    """A person who runs blocks, looks at charts, and restarts the kernel."""

    def open(self, url: str) -> None:
        """Open the editor, with charts beside the blocks, and wait for its kernel."""
        self.page.add_init_script(WIDTH_OF_CHARTS)
        with self.at("opened"):
            self.page.goto(url)
            self.page.get_by_text(re.compile(r"Memory: [1-9]")).wait_for()

    def run(self, name: str, shows: str) -> dict[str, Any]:
        """Run a block until it shows a text; its table and text."""
        return self.run_block(name, shows)

    def restart(self) -> None:
        """Restart the kernel by the menu."""
        with self.at("restarted"):
            self.page.get_by_text("Run", exact=True).first.click()
            self.page.get_by_text("Restart kernel", exact=True).click()
            self.page.get_by_role(
                "button", name="Close"
            ).click()  # the page says that the kernel has restarted
            self.page.get_by_text(re.compile(r"Memory: [1-9]")).wait_for()

    def charts(self, names: list[str]) -> dict[str, dict[str, Any]]:
        """What each of these charts beside the blocks shows, once it has been drawn after its block."""
        with self.at("charts"):
            self.page.wait_for_timeout(SECONDS_TO_DRAW * 1000)
            return {name: self.chart(name) for name in names}

    def chart(self, name: str) -> dict[str, Any]:
        """Text, rows, areas of bars and numbers of points of lines of a chart, and its picture in a file."""
        box = self.page.locator("[class*=ChartBlockStyle]").filter(
            has=self.page.get_by_role("link", name=name)
        )
        box.scroll_into_view_if_needed()
        box.screenshot(path=Path(self.visit.screenshots, f"chart-{name}.png"))
        table = box.get_by_role("table")
        return {
            "text": box.inner_text(),
            "rows": read(table) if table.count() else [],
            "bars": box.locator("svg rect[rx='4']").evaluate_all(AREAS),
            "lines": box.locator("svg path[fill=transparent]").evaluate_all(LINES),
        }


STEPS = {"open": Student.open, "run": Student.run, "restart": Student.restart, "charts": Student.charts}


def go(visit: Visit, steps: list[list[Any]], executable: str) -> dict[str, Any]:
    """What each step saw, the errors of pages, and the exception that ended the visit, if any."""
    from playwright.sync_api import Error, sync_playwright

    seen: list[Any] = []
    stopped = ""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        person = Student(browser, visit)
        try:
            for step, *arguments in steps:
                seen.append(STEPS[step](person, *arguments))
        except Error as error:
            stopped = f"{person.where}: {error}"
        person.page.context.storage_state(path=visit.cookies)
        browser.close()
    return {"seen": seen, "texts": person.texts, "complaints": person.complaints, "stopped": stopped}


if __name__ == "__main__":
    given = json.load(sys.stdin)
    steps = given.pop("steps")
    json.dump(go(Visit(**given), steps, sys.argv[1]), sys.stdout)
