// The day's curve: a line of minutes by the hour, with the band of 8 rides of 10. It is also a slider for the hour.

import { estimate, hour, isShortcut, listen, whole } from "./words.js";

const HEIGHT = 190;
const EDGE = { left: 30, right: 12, top: 34, bottom: 24 };

export class DayCurve {
  // `picked` gets an hour from 0 to 23.
  constructor(svg, picked) {
    Object.assign(this, { svg, points: [], chosen: 0, shown: null });
    this.picked = (number) => number !== this.chosen && picked(number);
    new ResizeObserver(() => this.draw()).observe(svg.parentElement);
    listen(svg, {
      pointermove: (event) => this.point(event),
      pointerleave: () => { this.shown = null; this.cursor(); },
      click: (event) => this.picked(this.hourAt(event)),
      keydown: (event) => this.key(event),
    });
  }

  // `points`: one for each hour from 0 to 24, with `middle`, `low` and `high` in minutes.
  show(points, chosen, title) {
    Object.assign(this, { points, chosen, title, shown: null });
    this.draw();
  }

  draw() {
    const width = this.svg.parentElement.clientWidth;
    if (!this.points.length || !width) return;
    this.width = width;
    const most = Math.max(...this.points.map((point) => point.high));
    this.step = most > 75 ? 30 : most > 40 ? 20 : most > 20 ? 10 : 5;
    this.most = Math.ceil(most / this.step) * this.step;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.marks = make("g", {});
    this.svg.replaceChildren(...this.grid(), this.band(), this.line(), this.marks);
    this.cursor();
  }

  x(number) {
    return EDGE.left + (number / 24) * (this.width - EDGE.left - EDGE.right);
  }

  y(value) {
    return HEIGHT - EDGE.bottom - (value / this.most) * (HEIGHT - EDGE.top - EDGE.bottom);
  }

  grid() {
    const rows = Array.from({ length: this.most / this.step + 1 }, (_, number) => number * this.step);
    const lines = rows.flatMap((value) => [
      make("line", { class: "grid", x1: EDGE.left, x2: this.width - EDGE.right, y1: this.y(value), y2: this.y(value) }),
      label(value, { x: EDGE.left - 8, y: this.y(value) + 4, "text-anchor": "end" }),
    ]);
    const hours = [0, 6, 12, 18, 24].map((number) => label(
      hour(number), { x: this.x(number), y: HEIGHT - 6, "text-anchor": { 0: "start", 24: "end" }[number] ?? "middle" },
    ));
    return [...lines, ...hours];
  }

  band() {
    const high = this.points.map((point, number) => [this.x(number), this.y(point.high)]);
    const low = this.points.map((point, number) => [this.x(number), this.y(point.low)]);
    return make("path", { class: "band", d: `${smooth(high)}L${smooth(low.reverse()).slice(1)}Z` });
  }

  line() {
    return make("path", { class: "line", d: smooth(this.points.map((point, number) => [this.x(number), this.y(point.middle)])) });
  }

  cursor() {
    if (!this.marks) return;
    const number = this.shown ?? this.chosen;
    const point = this.points[number];
    const [x, y] = [this.x(number), this.y(point.middle)];
    const text = label(`${hour(number)} · ${whole(point.middle)} min`, {
      x: Math.min(Math.max(x, EDGE.left + 44), this.width - 52), y: 15, "text-anchor": "middle", class: "reading",
    });
    this.marks.replaceChildren(
      make("line", { class: "cursor", x1: x, x2: x, y1: 22, y2: HEIGHT - EDGE.bottom }),
      make("line", { class: "spread", x1: x, x2: x, y1: this.y(point.high), y2: this.y(point.low) }),
      make("circle", { class: "dot", cx: x, cy: y, r: 6 }), text,
    );
    this.svg.setAttribute("aria-valuenow", number);
    this.svg.setAttribute("aria-valuetext", `${hour(number)}: ${estimate(point)}`);
  }

  hourAt({ clientX }) {
    const box = this.svg.getBoundingClientRect();
    const share = (clientX - box.left - EDGE.left) / (box.width - EDGE.left - EDGE.right);
    return Math.min(Math.max(Math.round(share * 24), 0), 23);
  }

  point(event) {
    if (!this.points.length) return;
    if (event.buttons) this.picked(this.hourAt(event));
    this.shown = this.hourAt(event);
    this.cursor();
  }

  key(event) {
    const to = {
      ArrowRight: this.chosen + 1, ArrowUp: this.chosen + 1, ArrowLeft: this.chosen - 1, ArrowDown: this.chosen - 1,
      PageUp: this.chosen + 3, PageDown: this.chosen - 3, Home: 0, End: 23,
    }[event.key];
    if (to === undefined || isShortcut(event)) return;
    event.preventDefault();
    this.picked(Math.min(Math.max(to, 0), 23));
  }
}

export function make(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

export function label(text, attributes) {
  const element = make("text", attributes);
  element.textContent = text;
  return element;
}

// A smooth line through the points that never rises above or falls below two neighbours.
function smooth(points) {
  const slope = (one, other) => (other[1] - one[1]) / (other[0] - one[0]);
  const slopes = points.slice(1).map((point, number) => slope(points[number], point));
  const at = points.map((_, number) => {
    const [before, after] = [slopes[number - 1], slopes[number]];
    if (before === undefined || after === undefined) return before ?? after;
    return before * after <= 0 ? 0 : (2 * before * after) / (before + after);
  });
  const parts = points.slice(1).map((point, number) => {
    const from = points[number];
    const third = (point[0] - from[0]) / 3;
    const pairs = [[from[0] + third, from[1] + at[number] * third], [point[0] - third, point[1] - at[number + 1] * third], point];
    return `C${pairs.map((pair) => pair.map((value) => value.toFixed(1)).join(" ")).join(" ")}`;
  });
  return `M${points[0].map((value) => value.toFixed(1)).join(" ")}${parts.join("")}`;
}
