"""A scripted rider: opens the service's page in Chromium and reports what it shows.

Run it in .venv-browser with JSON on stdin: `url` of a service, `locked` and `key` of one without a model, and the
folder `screenshots`. It prints as JSON what each scene saw.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rider_scripts import (  # beside this file, which runs as a program
    CARDS,
    EDGES,
    LABELS,
    NAMES,
    TARGETS,
    WORDS,
    in_range,
)

if TYPE_CHECKING:  # pytest imports this file to look for doctests, in an environment without Playwright
    from playwright.sync_api import Browser, Page, Route

DESK, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
RIDE = "?service=sample&from=74&to=75&at=2023-06-01T08:00"
MOST_TABS, MOST_WAITS, SERIOUS = 40, 50, ("serious", "critical")


class Rider:
    """One window of the browser, and what went wrong in it.

    Parameters
    ----------
    browser : Browser
    url : str
        The service.
    looks : dict
        Options of Playwright's context.
    """

    def __init__(self, browser: Browser, url: str, **looks: Any) -> None:
        context = browser.new_context(**{"viewport": DESK, "timezone_id": "Asia/Tokyo", **looks})
        context.set_default_timeout(10_000)
        self.url, self.page = url, context.new_page()
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.lists: list[int] = []  # lengths of the lists that /predict was asked
        self.miles: float | None = None  # the distance that it was asked with
        for path in ("predict", "rides?*"):
            self.page.route(f"**/{path}", in_range)
        self.page.on("console", lambda each: self.complaints.append(f"{each.type}: {each.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)
        self.pending = 0  # requests without an answer
        self.page.on("requestfinished", self._ended)
        self.page.on("requestfailed", self._ended)

    def _ended(self, request: Any) -> None:
        self.pending -= 1

    def _asked(self, request: Any) -> None:
        self.pending += 1
        if not request.url.startswith("data:"):
            self.hosts.add("/".join(request.url.split("/")[:3]))
        if request.url.endswith("/predict"):
            asked = request.post_data_json
            self.lists.append(len(asked) if isinstance(asked, list) else 1)
            self.miles = (asked[0] if isinstance(asked, list) else asked).get("distance_miles")

    def open(self, query: str = "") -> Page:
        """Open the page, and wait until it has its zones."""
        self.page.goto(f"{self.url}/{query}")
        self.page.wait_for_load_state("networkidle")
        return self.page

    def answered(self) -> dict[str, Any]:
        """The answer that is shown, its curves and what it rests on."""
        self.page.locator("#says .about").wait_for()
        self.page.wait_for_load_state("networkidle")
        for _ in range(MOST_WAITS):  # the state stays idle, once it was, whatever a choice asks later
            before = self.pending
            self.page.wait_for_timeout(100)
            if before <= 0 and self.pending <= 0:
                break
        return self.seen()

    def spoke(self) -> dict[str, Any]:
        """The same, once it was spoken."""
        self.answered()
        self.page.wait_for_timeout(400)
        return self.seen()

    def seen(self) -> dict[str, Any]:
        """What is shown now."""
        page = self.page
        return {
            "spoken": page.locator("#spoken").inner_text(),
            "says": "\n".join(page.locator("#says:visible").all_inner_texts()), "title": page.title(),
            "url": page.url, "advice": page.locator("#advice").inner_text(), "miles": self.miles,
            "from": page.locator("#from-text").input_value(), "to": page.locator("#to-text").input_value(),
            "rests": page.locator("#rests li").all_inner_texts(), "notice": page.locator("#notice").inner_text(),
            "hour": page.locator("#curve").get_attribute("aria-valuetext"), "lists": list(self.lists),
            "map": page.locator("#map").is_visible(), "curve": page.locator("#curve").is_visible(),
            "drawn": page.locator("#map .zone").count(),
            "chosen": page.locator("#week [aria-selected=true]").evaluate_all(LABELS),
        }  # fmt: skip

    def violations(self) -> list[str]:
        """Serious findings of axe-core, each with the elements."""
        import axe_playwright_python

        script = Path(axe_playwright_python.__file__).parent / "axe.min.js"
        self.page.evaluate(script.read_text(encoding="utf-8"))
        found = self.page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        return [
            f"{each['id']}: {[node['html'][:120] for node in each['nodes']]}"
            for each in found
            if each["impact"] in SERIOUS
        ]

    def tab_to(self, selector: str) -> int:
        """Press Tab until this element has the focus; how often."""
        for presses in range(1, MOST_TABS):
            self.page.keyboard.press("Tab")
            if self.page.evaluate(f"document.activeElement.matches({selector!r})"):
                return presses
        raise AssertionError(f"Tab does not reach {selector}")

    def close(self) -> None:
        """Close the window."""
        self.page.context.close()


def by_map(rider: Rider) -> dict[str, Any]:
    """Click two zones on the map; the better hour, the history and a reload."""
    page = rider.open("?at=2026-11-28T08:00")
    before = rider.seen()
    empty = rider.violations()
    zones = page.locator("#map .zone")
    for number in (40, 41):
        zones.nth(number).dispatch_event("click")
    first = rider.answered()
    page.locator("#hour").select_option("3")
    later = rider.answered()
    page.go_back()
    back = rider.answered()
    page.go_back()
    page.get_by_text("Now pick where it ends").wait_for()
    half = rider.seen()
    page.go_forward()
    page.reload()
    again = rider.answered()
    found = rider.violations()
    return {
        "before": before, "first": first, "later": later, "back": back, "half": half, "again": again,
        "violations": empty + found,
    }  # fmt: skip


def in_words(rider: Rider) -> dict[str, Any]:
    """What the functions of the page make of numbers, names and moments."""
    found: dict[str, Any] = rider.open().evaluate(WORDS)
    return found


def by_pointer(rider: Rider) -> dict[str, Any]:
    """A real click on the map, whose zone is named while the mouse is over it; then the zoom."""
    page = rider.open()
    box = page.locator("#map .zone").nth(100).bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = page.locator("#tip").inner_text()
    page.mouse.down()
    page.mouse.up()
    start = page.locator("#from-text").input_value()
    wide = page.locator("#map").get_attribute("viewBox")
    page.locator("#zoom-in").click()
    page.wait_for_timeout(500)
    close = page.locator("#map").get_attribute("viewBox")
    return {"tip": tip, "from": start, "wide": wide, "close": close}


def by_keyboard(rider: Rider) -> dict[str, Any]:
    """Choose everything without a mouse: names by their parts, an hour on the curve, a cell of the week."""
    page = rider.open()
    keys = page.keyboard
    rider.tab_to("#from-text")
    keys.type("airp")
    offered = page.locator("#from-list [role=option]").all_inner_texts()
    active = page.locator("#from-text").get_attribute("aria-activedescendant")
    keys.press("ArrowDown")
    keys.press("Enter")
    rider.tab_to("#to-text")
    keys.type("CENTRE 1")
    rider.tab_to("#swap")  # leaving the field takes the marked option
    first = rider.answered()
    keys.press("Enter")
    swapped = rider.answered()
    rider.tab_to("#curve")
    keys.press("Home")
    for _ in range(3):
        keys.press("ArrowRight")
    hour = rider.spoke()
    rider.tab_to("#week td")
    keys.press("ArrowDown")
    keys.press("End")
    read = page.locator("#week-says").inner_text()
    keys.press("Enter")
    cell = rider.spoke()
    return {
        "offered": offered, "active": active, "first": first, "swapped": swapped, "hour": hour, "read": read,
        "cell": cell,
    }  # fmt: skip


def on_a_phone(rider: Rider) -> dict[str, Any]:
    """A shared address on a phone, in the dark: nothing is cut off or too small, and a tap comes closer first."""
    page = rider.open(RIDE)
    shown = rider.answered()
    found = {
        "shown": shown, "violations": rider.violations(), "small": page.evaluate(TARGETS),
        "wide": page.evaluate("document.documentElement.scrollWidth"),
        "back": page.evaluate("getComputedStyle(document.body).backgroundColor"),
    }  # fmt: skip
    rider.open()
    box = page.locator("#map .zone").nth(100).bounding_box()
    assert box
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_timeout(500)
    return {**found, "closer": page.locator("#map.is-zoomed").count(), "tapped": rider.seen()["from"]}


def without_shapes(rider: Rider) -> dict[str, Any]:
    """Lists only, where the service knows no shapes."""

    def flat(route: Route) -> None:
        found = route.fetch().json()
        zones = [{**zone, "path": None, "x": None, "y": None} for zone in found["zones"]]
        route.fulfill(json={**found, "width": None, "height": None, "zones": zones, "problem": "no shapes"})

    rider.page.route("**/zones*", flat)
    page = rider.open()
    prompt = rider.seen()
    rider.open(RIDE)
    shown, violations = rider.answered(), rider.violations()
    page.locator("#advice button").click()
    earlier = rider.answered()
    page.get_by_text("Do you know the distance?").click()
    page.locator("#miles").fill("9.5")
    page.keyboard.press("Tab")
    page.wait_for_load_state("networkidle")
    far = rider.answered()
    page.locator("#miles").fill("900")
    page.keyboard.press("Tab")
    page.locator("#miles-fault").get_by_text("0.1 to 200").wait_for()
    farther = {**rider.answered(), "field": page.locator("#miles").input_value()}
    violations += rider.violations()
    return {
        "prompt": prompt, "shown": shown, "earlier": earlier, "far": far, "farther": farther,
        "violations": violations,
    }  # fmt: skip


def several(rider: Rider) -> dict[str, Any]:
    """Two services: the choice is in the address, and a refusal is shown in words."""

    def twice(route: Route) -> None:
        (found,) = route.fetch().json()["services"]
        other = {**found, "service": "green", "model": {**found["model"], "service": "green"}}
        route.fulfill(json={"services": [other, found], "problem": ""})

    rider.page.route("**/model", twice)
    rider.page.route("**/zones?service=green", lambda route: route.fulfill(response=route.fetch(
        url=route.request.url.replace("green", "sample"))))  # fmt: skip
    page = rider.open(RIDE)
    names = page.locator("#services label").all_inner_texts()
    rider.answered()
    page.locator("#services input").first.check()
    page.locator("#notice p").wait_for()
    return {"names": names, "refused": rider.seen()}


def in_trouble(rider: Rider) -> dict[str, Any]:
    """The service is away, busy, or fails; afterwards the page goes on by itself."""
    answers: dict[str, Callable[[Route], None]] = {
        "cannot be reached": lambda route: route.abort(),
        "too many": lambda route: route.fulfill(
            status=429, headers={"retry-after": "7"}, json={"detail": "too many"}
        ),
        "No model": lambda route: route.fulfill(status=503, json={"detail": "no model is loaded"}),
        "failed": lambda route: route.fulfill(status=500, json={}),
    }
    left = list(answers.values())
    rider.page.route("**/predict", lambda route: left.pop(0)(route) if left else route.fallback())
    page, notices, violations = rider.open(RIDE), list[str](), list[str]()
    for text in answers:
        page.locator("#notice").get_by_text(text).wait_for()
        notices.append(page.locator("#notice").inner_text())
        violations += rider.violations()
        page.get_by_role("button", name="Try again now").click()
    return {"notices": notices, "violations": violations, "shown": rider.answered()}


def with_short_lists(rider: Rider) -> dict[str, Any]:
    """A service that takes no list so long still answers, without the curves; here, a long ride that is rare."""

    def short(route: Route) -> None:
        if isinstance(route.request.post_data_json, list):
            route.fulfill(status=422, json={"detail": "body: expected at most 50 requests"})
        else:
            route.fulfill(json={**route.fetch().json(), "high_80_minutes": 60.0, "out_of_range": False})

    rider.page.route("**/predict", short)
    few = [5, 0]
    rider.page.route(
        "**/rides?*", lambda route: route.fulfill(json={**route.fetch().json(), "rides": few.pop(0)})
    )
    rider.open(RIDE)
    shown = rider.answered()
    rider.open(RIDE)
    return {"shown": shown, "never": rider.spoke()}


def guesses(rider: Rider) -> dict[str, Any]:
    """Rides that the model knows nothing like: a guess, and no advice that looks sure."""
    rider.page.unroute("**/predict")
    rider.open(RIDE)
    shown, violations = rider.spoke(), rider.violations()
    rider.page.locator("#curve").press("ArrowRight")
    return {"shown": shown, "violations": violations, "later": rider.spoke()}


def wrong_words(rider: Rider) -> dict[str, Any]:
    """Addresses and days that mean nothing: each is named, and nothing is answered for it."""
    links = []
    for query in ("?service=mars&from=74&to=75&at=hello&miles=999", "?from=74&to=999", "?from=0&to=75"):
        page = rider.open(query)
        page.locator("#doubts p").first.wait_for()
        links.append({**rider.seen(), "doubts": page.locator("#doubts p").all_inner_texts()})
    page = rider.open(RIDE)
    rider.answered()
    days, violations = [], list[str]()
    for day in ("1999-06-01", ""):
        page.locator("#day").fill(day)
        page.locator("#day-fault").get_by_text("2009 to 2099").wait_for()
        page.locator("#says .prompt").wait_for()
        looks = page.locator("#day").evaluate(
            "each => [each.value, each.ariaInvalid, each.getAttribute('aria-describedby')]"
        )
        days.append({**rider.seen(), "looks": looks, "clock": page.locator(".clock").is_visible()})
        violations += rider.violations()
        page.locator("#now").click()
        rider.answered()
        days[-1]["mended"] = page.locator("#day").get_attribute("aria-invalid")
    return {"links": links, "days": days, "violations": violations}


def at_the_edge(rider: Rider) -> dict[str, Any]:
    """Zones at both edges of the map, zoomed until their names would leave it; and where the cards are."""
    page = rider.open()
    left, right = page.evaluate(EDGES)
    rider.open(f"?from={left}&to={right}&at=2023-06-01T08:00")
    rider.answered()
    cards = page.evaluate(CARDS)
    names: list[dict[str, bool]] = []

    def middle(selector: str) -> tuple[float, float]:
        box = page.locator(selector).first.bounding_box()
        assert box
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    for side in "ab":
        page.locator("#zoom-all").click()
        page.mouse.move(*middle(f".pin-{side} :first-child"))
        page.mouse.wheel(0, -600)
        page.wait_for_timeout(300)
        at, box = middle(f".pin-{side} :first-child"), page.locator("#map").bounding_box()
        assert box
        page.mouse.move(*at)
        page.mouse.down()
        page.mouse.move(box["x"] + (6 if side == "a" else box["width"] - 6), at[1], steps=5)
        page.mouse.up()
        names += page.evaluate(NAMES)
    return {"names": names, "cards": cards}


def locked(rider: Rider, key: str) -> dict[str, Any]:
    """A service that needs a key, and has no model."""
    page = rider.open()
    page.locator("#key").wait_for()
    violations = rider.violations()
    page.locator("#key").fill("trip_wrong")
    page.locator("#key-form button").click()
    page.get_by_text("does not know this key").wait_for()
    page.locator("#key").fill(key)
    page.keyboard.press("Enter")
    page.locator("#notice p").wait_for()
    violations += rider.violations()
    with page.expect_request("**/model"):  # a choice does not end the tries
        page.locator("#hour").select_option("3")
    return {"violations": violations, "shown": rider.seen()}


def scenes(browser: Browser, url: str, locked_url: str, key: str, folder: str) -> dict[str, Any]:
    """What each scene saw, with complaints of the console and the hosts that were asked."""
    phone = {"viewport": PHONE, "color_scheme": "dark", "has_touch": True, "is_mobile": True}
    play: dict[str, tuple[Callable[[Rider], dict[str, Any]], str, dict[str, Any]]] = {
        "map": (by_map, url, {}),
        "words": (in_words, url, {}),
        "pointer": (by_pointer, url, {}),
        "keyboard": (by_keyboard, url, {"reduced_motion": "reduce"}),
        "phone": (on_a_phone, url, phone),
        "lists": (without_shapes, url, {}),
        "several": (several, url, {}),
        "trouble": (in_trouble, url, {}),
        "short": (with_short_lists, url, {}),
        "guesses": (guesses, url, {}),
        "wrong": (wrong_words, url, {}),
        "edge": (at_the_edge, url, {"reduced_motion": "reduce"}),
        "locked": (lambda rider: locked(rider, key), locked_url, {"color_scheme": "dark"}),
    }
    report = {}
    for name, (scene, address, looks) in play.items():
        rider = Rider(browser, address, **looks)
        try:
            report[name] = {**scene(rider), "complaints": rider.complaints, "hosts": sorted(rider.hosts)}
        except Exception as error:  # the other scenes are played all the same
            report[name] = {"stopped": f"{type(error).__name__}: {error}", "complaints": rider.complaints}
        rider.page.screenshot(path=Path(folder, f"{name}.png"), full_page=True)
        rider.close()
    return report


def main() -> None:
    """Play all scenes."""
    from playwright.sync_api import sync_playwright

    given = json.load(sys.stdin)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=sys.argv[1], args=["--no-sandbox"])
        report = scenes(browser, given["url"], given["locked"], given["key"], given["screenshots"])
        browser.close()
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
