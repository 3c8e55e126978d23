"""Take the pictures of docs/images from a running editor and a running MLflow. Run it in .venv-browser.

In three terminals, with an empty state folder for all of them, so that the editor trains:

    export MLOPS_STATE_DIR=/tmp/pictures
    make editor
    make mlflow  # then, for its password: set -a; . $MLOPS_STATE_DIR/mlflow/.env; set +a
    .venv-browser/bin/python tests/support/pictures.py docs/images --mage 'the link that make editor prints'

The page for riders needs the service with a champion of New York's green taxis only:

    make serve SERVE_PORT=8000 ARGS="--services green"
    .venv-browser/bin/python tests/support/pictures.py docs/images --only rider --service http://127.0.0.1:8000

Look at every picture before you commit it.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # pytest imports this file to look for doctests, in an environment without Playwright
    from playwright.sync_api import Browser, Locator, Page

BLOCKS = ("load_trips", "clean_trips", "build_features", "train_and_register")
MODEL = "trip-duration-sample"
WIDTH, HEIGHT, BLOCK_HEIGHT, REGISTRY_HEIGHT = 1280, 960, 780, 560
EDITOR_HEIGHT, CARD_HEIGHT, FORM_HEIGHT = 800, 665, 760
RIDE = "?service=green&from=74&to=138&at=2023-11-03T17:00"
FORM = ("2023-06", "sample", "2", "two trials")  # month, source, trials, experiment
SECONDS_FOR_A_PAGE, SECONDS_FOR_A_BLOCK = 120, 600
SETTLE_MS = 2500  # pages of both programs draw in several steps
PLAY = 'button:has(svg path[d^="M8 4.13397"])'  # the triangle in a block's header, which has no name
NO_ASSISTANT = {
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
}
PANELS = {"before": "pipeline_editor_before_hidden", "after": "pipeline_editor_after_hidden"}


def new_page(browser: Browser, stored: dict[str, str] | None = None) -> Page:
    """Return a page of the pictures' width, with these values in its local storage."""
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("USERNAME", "PASSWORD"))
    login: Any = {"username": user, "password": password} if user else None
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, http_credentials=login)
    page.set_default_timeout(SECONDS_FOR_A_PAGE * 1000)
    for name, value in (stored or {}).items():
        page.add_init_script(f"localStorage.setItem({name!r}, {value!r})")
    return page


def top(height: float) -> dict[str, float]:
    """Return the upper part of a page."""
    return {"x": 0, "y": 0, "width": WIDTH, "height": height}


def header(page: Page, name: str) -> Locator:
    """Return the header of a block in the editor."""
    link = page.get_by_role("link", name=name, exact=True)
    return page.locator(".code-block-header-sticky").filter(has=link)


def run_block(page: Page, name: str) -> None:
    """Run one block by its button and wait until its test has passed."""
    block = header(page, name).locator("xpath=../../..")
    header(page, name).locator(PLAY).click()
    alone = page.get_by_text("Execute block", exact=True)  # a menu opens where blocks before it have run
    passed = block.get_by_text("1/1 tests passed.")
    alone.or_(passed).first.wait_for(timeout=SECONDS_FOR_A_BLOCK * 1000)
    if alone.is_visible():
        alone.click()
    passed.wait_for(timeout=SECONDS_FOR_A_BLOCK * 1000)
    page.wait_for_timeout(SETTLE_MS)


def open_editor(browser: Browser, mage: str, hidden: tuple[str, ...]) -> Page:
    """Return the editor's page, these side panels closed, when its kernel is ready."""
    stored = {"hide_kernel_warning": "1", "pipeline_editor_after_width": "400"}
    page = new_page(browser, stored | {PANELS[panel]: "true" for panel in hidden})
    page.goto(mage)
    header(page, BLOCKS[-1]).wait_for()
    page.get_by_text(re.compile(r"Memory: [1-9]")).wait_for()
    page.wait_for_timeout(SETTLE_MS)
    return page


def show_output(page: Page, name: str, height: float) -> dict[str, float]:
    """Scroll a block's output to the top, below its header, and return that part of the page."""
    block = header(page, name).locator("xpath=../../..")
    passed = block.get_by_text("1/1 tests passed.")  # a page that is opened again shows the table only
    below = passed if passed.count() else block.get_by_role("table").first
    below.evaluate("it => {it.style.scrollMarginTop = '70px'; it.scrollIntoView({block: 'start'})}")
    page.wait_for_timeout(SETTLE_MS)
    box = header(page, name).bounding_box()
    assert box
    return {"x": box["x"], "y": box["y"], "width": box["width"], "height": height}


def photograph_editor(browser: Browser, mage: str, folder: Path) -> None:
    """Run the blocks one after the other: a picture of each output, then one of the whole editor."""
    page = open_editor(browser, mage, hidden=("before", "after"))
    for name in BLOCKS:
        run_block(page, name)
        page.screenshot(path=folder / f"block_{name}.png", clip=show_output(page, name, BLOCK_HEIGHT))
    page.close()
    page = open_editor(browser, mage, hidden=("before",))
    show_output(page, BLOCKS[-1], HEIGHT)
    page.screenshot(path=folder / "editor.png", clip=top(EDITOR_HEIGHT))
    page.close()


def photograph_form(browser: Browser, mage: str, folder: Path) -> None:
    """Take a picture of the form that starts a run, with an experiment filled in."""
    page = open_editor(browser, mage, hidden=("before", "after"))
    page.goto(re.sub(r"/edit.*", "/triggers", mage))
    page.get_by_text("Create trigger with no-code").click()
    page.get_by_text("Next: Customize").click()
    page.locator("select").select_option("green")
    for field, value in zip(page.locator("input:visible").all(), FORM, strict=True):
        field.fill(value)
    page.locator("textarea").fill("Are two trials enough?")
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=folder / "form.png", clip=top(FORM_HEIGHT))
    page.close()


def photograph_mlflow(browser: Browser, mlflow: str, folder: Path) -> None:
    """Take pictures of the registered model and of its first version's model card."""
    page = new_page(browser, NO_ASSISTANT)
    page.goto(f"{mlflow}/#/models/{MODEL}")
    page.get_by_text("@ champion").filter(visible=True).first.wait_for()
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=folder / "registry.png", clip=top(REGISTRY_HEIGHT))
    asked = f"{mlflow}/ajax-api/2.0/mlflow/model-versions/get?name={MODEL}&version=1"
    run_id = page.request.get(asked).json()["model_version"]["run_id"]
    card = page.request.get(f"{mlflow}/get-artifact?run_uuid={run_id}&path=model_card.html")
    page.set_content(card.text())
    page.screenshot(path=folder / "model_card.png", clip=top(CARD_HEIGHT))
    page.close()


def photograph_rider(browser: Browser, service: str, folder: Path) -> None:
    """Take a picture of the page for riders, with an answer."""
    page = new_page(browser)
    page.goto(f"{service}/{RIDE}")
    page.locator("#says .about").wait_for()
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=folder / "rider.png", clip=top(HEIGHT))
    page.close()


def main(arguments: list[str] | None = None) -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description="Take the pictures of docs/images.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mage", help="the editor's link with its token; not needed for --only mlflow")
    parser.add_argument("--mlflow", default="http://127.0.0.1:5000")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument(
        "--only", choices=("mage", "mlflow", "rider"), help="take the pictures of one program"
    )
    parser.add_argument("--service", default="http://127.0.0.1:8000")
    options: Any = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        if options.only == "rider":
            photograph_rider(browser, options.service, options.folder)
        if options.only not in ("mlflow", "rider"):
            photograph_editor(browser, options.mage, options.folder)
            photograph_form(browser, options.mage, options.folder)
        if options.only not in ("mage", "rider"):
            photograph_mlflow(browser, options.mlflow, options.folder)
        browser.close()


if __name__ == "__main__":
    main()
