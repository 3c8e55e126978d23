// Which part of the map is seen: zoom and movement by wheel, fingers, buttons, and onto given places.

import { listen } from "./words.js";

const MOST_ZOOM = 14;
const TWEEN = 280; // milliseconds
const isCalm = matchMedia("(prefers-reduced-motion: reduce)");
const between = (low, value, high) => Math.min(Math.max(value, low), high);

export class View {
  constructor(svg, changed) {
    Object.assign(this, { svg, changed, size: { width: 1000, height: 1000 }, pointers: new Map(), moved: false, frame: 0 });
    this.now = { x: 500, y: 500, scale: 1 };
    new ResizeObserver(() => this.resize()).observe(svg);
    svg.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    const up = (event) => this.pointers.delete(event.pointerId);
    listen(svg, {
      pointerdown: (event) => this.down(event), pointermove: (event) => this.move(event),
      pointerup: up, pointercancel: up, pointerleave: up,
    });
  }

  setSize(width, height) {
    this.size = { width, height };
    this.resize();
  }

  get box() {
    return [this.svg.clientWidth, this.svg.clientHeight];
  }

  // Pixels per unit at which the whole city is seen.
  get least() {
    const [wide, high] = this.box;
    return 0.94 * Math.min(wide / this.size.width, high / this.size.height);
  }

  get isZoomed() {
    return this.now.scale > this.least * 1.02;
  }

  resize() {
    if (!this.svg.clientWidth) return;
    const goal = this.goal;
    this.jump(this.limited(goal ? this.around(goal) : this.all()));
  }

  all() {
    return { x: this.size.width / 2, y: this.size.height / 2, scale: this.least };
  }

  // The view of a box, with room around it; never closer than a few neighbourhoods.
  around({ x, y, width, height }) {
    const [wide, high] = this.box;
    const room = Math.max(0.05 * this.size.width, 0.3 * Math.max(width, height));
    const scale = Math.min(wide / (width + 2 * room), high / (height + 2 * room));
    return { x: x + width / 2, y: y + height / 2, scale };
  }

  show(box) {
    this.goal = box;
    if (this.svg.clientWidth) this.go(box ? this.around(box) : this.all());
  }

  limited({ x, y, scale }) {
    const [wide, high] = this.box;
    const { width, height } = this.size;
    const size = between(this.least, scale, this.least * MOST_ZOOM);
    const [across, down] = [wide / 2 / size, high / 2 / size];
    const inside = (half, place, whole) => between(Math.min(half, whole / 2), place, Math.max(whole - half, whole / 2));
    return { x: inside(across, x, width), y: inside(down, y, height), scale: size };
  }

  jump(view) {
    this.now = view;
    const [wide, high] = this.box;
    const [width, height] = [wide / view.scale, high / view.scale];
    this.svg.setAttribute("viewBox", `${view.x - width / 2} ${view.y - height / 2} ${width} ${height}`);
    this.svg.classList.toggle("is-zoomed", this.isZoomed);
    this.changed(view.scale);
  }

  go(view) {
    cancelAnimationFrame(this.frame);
    const [start, end, began] = [this.now, this.limited(view), performance.now()];
    if (isCalm.matches) return this.jump(end);
    const step = (time) => {
      const share = between(0, (time - began) / TWEEN, 1);
      const eased = 1 - (1 - share) ** 3;
      const mix = (one, other) => one + (other - one) * eased;
      this.jump({ x: mix(start.x, end.x), y: mix(start.y, end.y), scale: start.scale * (end.scale / start.scale) ** eased });
      if (share < 1) this.frame = requestAnimationFrame(step);
    };
    return step(began);
  }

  zoom(factor, at = null, isSmooth = true) {
    this.goal = null;
    const { x, y, scale } = this.now;
    const goal = between(this.least, scale * factor, this.least * MOST_ZOOM);
    const kept = 1 - scale / goal;
    const view = at ? { x: x + (at.x - x) * kept, y: y + (at.y - y) * kept, scale: goal } : { x, y, scale: goal };
    return isSmooth ? this.go(view) : this.jump(this.limited(view));
  }

  // A place of the screen in the map's units.
  place({ clientX, clientY }) {
    const box = this.svg.getBoundingClientRect();
    const { x, y, scale } = this.now;
    return { x: x + (clientX - box.left - box.width / 2) / scale, y: y + (clientY - box.top - box.height / 2) / scale };
  }

  wheel(event) {
    const isOut = event.deltaY > 0;
    if (isOut && !this.isZoomed) return; // the page scrolls
    event.preventDefault();
    cancelAnimationFrame(this.frame);
    this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), this.place(event), false);
  }

  down(event) {
    if (!this.pointers.size) this.moved = false;
    this.pointers.set(event.pointerId, event);
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const others = [...this.pointers.values()].filter((each) => each.pointerId !== event.pointerId);
    const far = Math.hypot(event.clientX - before.clientX, event.clientY - before.clientY);
    if (!this.moved && far < 5) return;
    this.moved = true;
    cancelAnimationFrame(this.frame);
    this.svg.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event);
    if (others.length) this.pinch(before, event, others[0]);
    else if (this.isZoomed) this.drag(before, event);
  }

  drag(before, event) {
    this.goal = null;
    const { x, y, scale } = this.now;
    this.jump(this.limited({
      x: x - (event.clientX - before.clientX) / scale, y: y - (event.clientY - before.clientY) / scale, scale,
    }));
  }

  pinch(before, event, other) {
    const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
    const middle = { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 };
    this.zoom(apart(event) / apart(before), this.place(middle), false);
  }
}
