"""What the scripted rider of `browse_rides` brings: scripts that read the page, and answers of known rides."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # without Playwright in the environment of the tests
    from playwright.sync_api import Route

KNOWN = {"out_of_range": False, "rides": 1234}
LABELS = "all => all.map(each => each.ariaLabel)"
WORDS = """async () => {
  const [words, choices] = [await import("/rider/words.js"), await import("/rider/choices.js")];
  const zone = words.searchable({name: "Times Sq/Théâtre District", area: "Manhattan", id: 230});
  const read = choices.read("?from=74&to=-3&at=2026-02-30T10:00&miles=0");
  const hours = choices.hoursOf(choices.weekOf("2026-11-29T05:00"));
  return {
    ranges: [[17.4, 28.2], [0.2, 0.4], [31, 59.8]].map(each => words.range(...each)),
    months: ["2022-07 to 2023-05", "2023-05"].map(words.months), fold: words.fold("Governor’s  Island/ÉLLIS"),
    fits: ["tim", "theatre d", "manhattan times", "times square", "230", "heatre", "gotham"]
      .map(each => words.fit(zone, each)),
    read, misread: choices.misread("?from=74&to=-3&at=2026-02-30T10:00&miles=0"), now: choices.now(),
    hours: [hours.length, hours[0], hours[167], hours[168]],
    kept: choices.read(choices.written({service: "green", from: 1, to: 2, at: "2026-11-27T08:00", miles: 2.5})),
    days: ["2008-12-31", "2009-01-01", "2099-12-31", "2026-02-29"].map(choices.isDay),
  };
}"""
EDGES = """async () => {
  const {zones} = await (await fetch("zones?service=sample")).json();
  const sorted = zones.filter(each => each.path).sort((one, other) => one.x - other.x);
  return [sorted[0].id, sorted.at(-1).id];
}"""
NAMES = """() => {
  const [map, zoom] = ["#map", ".zoom"].map(each => document.querySelector(each).getBoundingClientRect());
  return [...document.querySelectorAll("#map .pin-on-map")].map(each => {
    const [pin, name] = [each.firstChild, each.querySelector(".name")].map(part => part.getBoundingClientRect());
    const isSeen = pin.left + pin.width / 2 >= map.left && pin.left + pin.width / 2 <= map.right;
    return {
      seen: isSeen, inside: name.left >= map.left && name.right <= map.right,
      covered: name.right > zoom.left && name.bottom > zoom.top && name.top < zoom.bottom,
      moved: Math.abs(name.left + name.width / 2 - pin.left - pin.width / 2) > 3,
    };
  });
}"""
CARDS = """() => ["#map-part", "#week", ".rests", "#curve"].map(each => {
  const {left, top} = document.querySelector(each).getBoundingClientRect();
  return [left > innerWidth / 3, top > document.querySelector("#map").getBoundingClientRect().bottom];
})"""
TARGETS = """() => [...document.querySelectorAll('button, input, select, summary, a')]
  .filter(each => each.checkVisibility({visibilityProperty: true}) && !each.matches('.skip'))
  .map(each => [each.id || each.textContent || each.value, each.getBoundingClientRect()])
  .filter(([, box]) => Math.min(box.width, box.height) < 24).map(([name]) => name)"""


def in_range(route: Route) -> None:
    """What the service answers, as from a model that knows rides like these: the tests' model knows none."""
    answer = route.fetch()
    found = answer.json()
    for each in found if isinstance(found, list) else [found]:
        each.update({name: value for name, value in KNOWN.items() if name in each})
    route.fulfill(response=answer, json=found)
