// The map: a shape for each zone. A click picks a zone; the fields offer the same zones to the keyboard.

import { label, make } from "./curve.js";
import { View } from "./view.js";
import { listen } from "./words.js";

const SMALL = 22; // pixels: a finger cannot pick a smaller zone, so the first tap comes closer
const BUTTONS = { wide: 68, high: 190 }; // pixels that the zoom takes in its corner
const HOLD = 450; // milliseconds until a finger that rests shows a name

export class ZoneMap {
  constructor(box, { picked, closer }) {
    this.svg = box.querySelector("svg");
    this.tip = box.querySelector(".tip");
    Object.assign(this, { box, picked, closer, shapes: new Map(), ride: "" });
    this.view = new View(this.svg, (scale) => this.scaled(scale));
    listen(this.svg, {
      click: (event) => this.click(event),
      pointermove: (event) => event.pointerType === "mouse" && this.name(event),
      pointerdown: (event) => this.hold(event),
      pointerup: () => this.release(),
      pointercancel: () => this.release(),
      pointerleave: () => this.release(),
    });
  }

  draw({ width, height, zones }) {
    this.zones = new Map(zones.filter((zone) => zone.path).map((zone) => [zone.id, zone]));
    const land = make("g", { class: "land" });
    this.shapes = new Map([...this.zones.values()].map((zone) => {
      const shape = make("path", { d: zone.path, class: "zone" });
      shape.zone = zone;
      return [zone.id, shape];
    }));
    land.append(...this.shapes.values());
    this.way = make("path", { class: "way" });
    this.top = make("g", { class: "top" });
    this.names = make("g", { class: "areas" });
    this.names.append(...areas([...this.zones.values()]));
    this.ring = make("circle", { class: "ring", r: 16 });
    this.ring.at = { x: -9999, y: -9999 };
    this.svg.replaceChildren(land, this.names, this.way, this.ring, this.top);
    this.ride = "";
    this.view.setSize(width, height);
  }

  clear() {
    this.shapes = new Map();
  }

  get isDrawn() {
    return this.shapes.size > 0;
  }

  // Marks where the ride starts (A) and ends (B), and shows both.
  setRide(from, to) {
    if (!this.isDrawn) return;
    for (const [id, shape] of this.shapes) {
      shape.classList.toggle("is-from", id === from);
      shape.classList.toggle("is-to", id === to);
    }
    const ends = [["a", this.zones.get(from)], ["b", this.zones.get(to)]].filter(([, zone]) => zone);
    const isSame = from === to;
    this.top.replaceChildren(...ends.map(([letter, zone], number) => pin(letter, zone, ends[1 - number]?.[1])));
    this.way.setAttribute("d", ends.length === 2 && !isSame ? arc(ends[0][1], ends[1][1]) : "");
    this.scaled(this.view.now.scale);
    if (this.ride === `${from} ${to}`) return; // the reader's own view stays
    this.ride = `${from} ${to}`;
    if (ends.length === 2) this.view.show(around(ends.map(([, zone]) => this.shapes.get(zone.id).getBBox())));
    else if (!ends.length) this.view.show(null);
  }

  mark(id) {
    this.svg.querySelector(".is-marked")?.classList.remove("is-marked");
    this.shapes.get(id)?.classList.add("is-marked");
    if (!this.ring) return;
    this.ring.at = this.zones.get(id) ?? { x: -9999, y: -9999 };
    this.scaled(this.view.now.scale);
  }

  // Marks and names keep their size on the screen.
  scaled(scale) {
    for (const each of this.svg.querySelectorAll(".pin-on-map, .area, .ring")) {
      each.setAttribute("transform", `translate(${each.at.x} ${each.at.y}) scale(${1 / scale})`);
    }
    for (const name of this.svg.querySelectorAll(".name")) this.keepInside(name, scale);
    this.names?.classList.toggle("is-far", scale > this.view.least * 1.5);
  }

  // Moves a name sideways where the map ends or the zoom buttons begin.
  keepInside(name, scale) {
    const { clientWidth: width, clientHeight: height } = this.svg;
    const { x, y } = this.view.now;
    const { at } = name.parentNode;
    const [left, top] = [(at.x - x) * scale + width / 2, (at.y - y) * scale + height / 2];
    name.half ||= name.getComputedTextLength() / 2;
    const [least, most] = [name.half + 8, width - name.half - (top > height - BUTTONS.high ? BUTTONS.wide : 8)];
    name.setAttribute("x", left < 0 || left > width ? 0 : Math.max(Math.min(left, most), least) - left);
  }

  click(event) {
    const zone = event.target.zone;
    if (!zone || this.view.moved || this.isHeld) return;
    const { width, height } = event.target.getBBox();
    const isSmall = Math.min(width, height) * this.view.now.scale < SMALL;
    if (event.pointerType === "touch" && isSmall && this.view.now.scale < this.view.least * 4) {
      this.view.zoom(4, this.view.place(event));
      this.closer();
    } else {
      this.hide();
      this.picked(zone.id);
    }
  }

  name(event) {
    const zone = event.target.zone;
    if (!zone || this.view.moved && event.buttons) return this.hide();
    const box = this.box.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    this.tip.replaceChildren(zone.name, Object.assign(document.createElement("small"), { textContent: zone.area ?? "" }));
    this.tip.hidden = false;
    const left = Math.min(Math.max(x - this.tip.offsetWidth / 2, 6), box.width - this.tip.offsetWidth - 6);
    const above = y - this.tip.offsetHeight - 14;
    this.tip.style.transform = `translate(${left}px, ${above < 4 ? y + 22 : above}px)`;
    return undefined;
  }

  hide() {
    this.tip.hidden = true;
  }

  hold(event) {
    this.isHeld = false;
    if (event.pointerType === "mouse") return;
    this.timer = setTimeout(() => {
      if (this.view.moved) return;
      this.isHeld = true;
      this.name(event);
    }, HOLD);
  }

  release() {
    clearTimeout(this.timer);
    this.hide();
  }
}

// A round mark for the start, a square one for the end; side by side where both are one zone. The name is on the
// side that is away from the other mark.
function pin(letter, zone, other) {
  const isSame = zone === other;
  const group = make("g", { class: `pin-on-map pin-${letter}` });
  group.at = zone;
  const x = isSame ? (letter === "a" ? -13 : 13) : 0;
  const shape = letter === "a" ? make("circle", { cx: x, r: 12 }) : make("rect", { x: x - 11.5, y: -11.5, width: 23, height: 23, rx: 5 });
  group.append(shape, label(letter.toUpperCase(), { x, y: 5 }));
  if (!isSame || letter === "a") group.append(label(zone.name.split("/")[0], { class: "name", y: other && other.y > zone.y ? -19 : 30 }));
  return group;
}

// A bow from A to B, which says which two belong together; it is no route.
function arc(one, other) {
  const [across, down] = [other.x - one.x, other.y - one.y];
  const bend = across >= 0 ? -0.18 : 0.18;
  const [x, y] = [(one.x + other.x) / 2 - down * bend * -1, (one.y + other.y) / 2 + across * bend];
  return `M${one.x} ${one.y}Q${x} ${y} ${other.x} ${other.y}`;
}

function around(boxes) {
  const [x, y] = [Math.min(...boxes.map((box) => box.x)), Math.min(...boxes.map((box) => box.y))];
  const right = Math.max(...boxes.map((box) => box.x + box.width));
  const bottom = Math.max(...boxes.map((box) => box.y + box.height));
  return { x, y, width: right - x, height: bottom - y };
}

// The name of each area, in the middle of its zones.
function areas(zones) {
  const names = [...new Set(zones.map((zone) => zone.area))].filter(Boolean);
  return names.map((name) => [name, zones.filter((zone) => zone.area === name)]).filter(([, group]) => group.length > 3).map(([name, group]) => {
    const text = label(name, { class: "area" });
    const middle = (axis) => group.reduce((sum, zone) => sum + zone[axis], 0) / group.length;
    text.at = { x: middle("x"), y: middle("y") };
    return text;
  });
}
