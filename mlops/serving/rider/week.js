// The week as a table of 7 days and 24 hours, darker where a ride takes longer. A cell picks its day and hour.

import { estimate, hour, isShortcut, listen, shortDay, weekday, whole } from "./words.js";

const STEPS = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0], Home: [0, -24], End: [0, 24] };
const within = (value, most) => Math.min(Math.max(value, 0), most);

export class Week {
  // `picked` gets a day and an hour; `read` gets a sentence about the cell that is pointed at, or nothing.
  constructor(table, { picked, read }) {
    Object.assign(this, { table, picked, read, cells: [], days: [] });
    this.build();
    listen(table, {
      click: (event) => this.pick(event.target),
      pointermove: (event) => this.point(event.target),
      pointerleave: () => this.read(""),
      focusin: (event) => this.point(event.target),
      focusout: () => this.read(""),
      keydown: (event) => this.key(event),
    });
  }

  build() {
    const head = this.table.createTHead().insertRow();
    head.append(document.createElement("td"));
    for (let number = 0; number < 24; number += 1) head.append(heading("col", number % 6 ? "" : hour(number), hour(number)));
    const body = this.table.createTBody();
    this.names = [];
    this.cells = Array.from({ length: 7 }, (_, row) => {
      const line = body.insertRow();
      this.names[row] = heading("row", "");
      line.append(this.names[row]);
      return Array.from({ length: 24 }, (_, column) => {
        const cell = line.insertCell();
        cell.setAttribute("role", "gridcell");
        cell.tabIndex = -1;
        cell.place = [row, column];
        return cell;
      });
    });
  }

  // `points`: seven lists of 24, with `middle`, `low` and `high` in minutes; `chosen` is [row, column].
  show(days, points, chosen) {
    Object.assign(this, { days, points });
    const all = points.flat().map((point) => point.middle);
    const [least, most] = [Math.min(...all), Math.max(...all)];
    days.forEach((day, row) => {
      this.names[row].textContent = shortDay(day).split(/[ ,]/)[0];
      this.names[row].classList.toggle("is-chosen", row === chosen[0]);
      points[row].forEach((point, column) => this.fill(this.cells[row][column], point, (point.middle - least) / (most - least || 1)));
    });
    this.choose(chosen);
    return { least, most };
  }

  fill(cell, point, share) {
    const [row, column] = cell.place;
    cell.style.setProperty("--share", share.toFixed(3));
    cell.setAttribute("aria-label", `${weekday(this.days[row])} ${hour(column)}, ${whole(point.middle)} minutes`);
  }

  choose([row, column]) {
    const chosen = this.cells[row][column];
    for (const cell of this.cells.flat()) {
      cell.tabIndex = -1;
      cell.setAttribute("aria-selected", cell === chosen);
    }
    (this.table.contains(document.activeElement) ? document.activeElement : chosen).tabIndex = 0;
  }

  point(target) {
    if (!target.place || !this.points) return;
    const [row, column] = target.place;
    this.read(`${shortDay(this.days[row])}, ${hour(column)}: ${estimate(this.points[row][column])}`);
  }

  pick(target) {
    if (!target.place || !this.points) return;
    const [row, column] = target.place;
    this.picked(this.days[row], column);
  }

  key(event) {
    const { place } = event.target;
    if (!place || isShortcut(event)) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.pick(event.target);
    } else if (STEPS[event.key]) {
      event.preventDefault();
      const [down, right] = STEPS[event.key];
      const next = this.cells[within(place[0] + down, 6)][within(place[1] + right, 23)];
      event.target.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    }
  }
}

function heading(scope, shown, spoken = "") {
  const cell = document.createElement("th");
  cell.scope = scope;
  cell.textContent = shown;
  if (spoken && !shown) cell.setAttribute("aria-label", spoken);
  return cell;
}
