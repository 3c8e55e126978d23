// A field that offers zones while part of a name is typed: the combobox of WAI-ARIA's patterns, with a list box.

import { fit, fold, isShortcut, listen, searchable } from "./words.js";

const MOST_SHOWN = 300;
const USUAL = {
  role: "combobox", "aria-autocomplete": "list", "aria-expanded": false, spellcheck: false, autocapitalize: "none", enterkeyhint: "done", placeholder: "Part of a name",
};

export class Combobox {
  // `picked` gets a zone's id or null; `preview` gets the id of the option that is marked, or null.
  constructor(root, { picked, preview, spoken }) {
    this.input = root.querySelector("input");
    this.list = root.querySelector("ul");
    this.clear = root.querySelector(".clear");
    for (const [name, value] of Object.entries({ ...USUAL, "aria-controls": this.list.id })) this.input.setAttribute(name, value);
    Object.assign(this, { picked, preview, spoken, zones: [], offered: [], shown: [], active: -1, value: null, isMeant: false });
    listen(this.input, {
      input: () => { this.isMeant = true; this.open(); },
      click: () => this.open(true),
      keydown: (event) => this.key(event),
      focus: () => this.input.select(),
      blur: () => this.leave(),
    });
    this.clear.addEventListener("click", () => { this.choose(null); this.input.focus(); });
    listen(this.list, {
      pointerdown: (event) => event.preventDefault(), // keeps the focus in the field
      click: (event) => this.click(event),
      pointermove: (event) => this.hover(event),
    });
  }

  setZones(zones) {
    this.zones = [...zones].sort((one, other) => one.name.localeCompare(other.name, "en", { numeric: true }))
      .map((zone) => ({ ...zone, found: searchable(zone) }));
    this.offered = this.zones.filter((zone, place, all) => (zone.path || zone.area) && zone === meant(all, zone.name));
    if (!this.offered.length) this.offered = this.zones; // neither shapes nor boroughs are known
  }

  setValue(id) {
    this.value = id;
    if (!this.isMeant) this.input.value = this.nameOf(id); // else somebody is typing
    this.clear.hidden = id === null;
  }

  nameOf(id) {
    return this.zones.find((zone) => zone.id === id)?.name ?? "";
  }

  matching(typed) {
    if (!typed) return this.offered;
    const scored = this.offered.map((zone) => ({ zone, score: fit(zone.found, typed) }));
    const fitting = scored.filter(({ score }) => score !== null);
    return fitting.sort((one, other) => one.score - other.score).map(({ zone }) => zone);
  }

  open(all = false) {
    if (all && !this.list.hidden) return;
    const text = all ? "" : this.input.value.trim();
    const typed = fold(text);
    this.shown = this.matching(typed).slice(0, MOST_SHOWN);
    const options = this.shown.map((zone, number) => this.option(zone, number, text));
    this.list.replaceChildren(...(options.length ? options : [nothing(this.zones.length)]));
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.list.scrollTop = 0;
    const chosen = this.shown.findIndex((zone) => zone.id === this.value);
    this.mark(typed ? 0 : chosen);
    this.spoken(options.length ? `${options.length} ${options.length === 1 ? "zone" : "zones"}` : "No zone has such a name");
  }

  option(zone, number, text) {
    const option = document.createElement("li");
    option.id = `${this.list.id}-${number}`;
    option.role = "option";
    option.dataset.number = number;
    option.setAttribute("aria-selected", zone.id === this.value);
    const name = document.createElement("span");
    name.append(...highlighted(zone.name, text));
    const area = document.createElement("small");
    area.textContent = zone.area ?? "";
    option.append(name, area);
    return option;
  }

  mark(number) {
    this.list.querySelector(".is-active")?.classList.remove("is-active");
    this.active = this.shown.length ? Math.min(number, this.shown.length - 1) : -1;
    const option = this.list.children[this.active];
    if (this.active < 0 || !option) this.input.removeAttribute("aria-activedescendant");
    else {
      option.classList.add("is-active");
      option.scrollIntoView({ block: "nearest" });
      this.input.setAttribute("aria-activedescendant", option.id);
    }
    this.preview(this.shown[this.active]?.id ?? null);
  }

  close() {
    this.list.hidden = true;
    this.isMeant = false;
    this.active = -1;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
    this.preview(null);
  }

  choose(id) {
    this.close();
    const isNew = id !== this.value;
    this.setValue(id);
    if (isNew) this.picked(id);
  }

  // Who leaves the field means the marked option, if one was sought; an empty field is no zone.
  leave() {
    const marked = this.isMeant ? this.shown[this.active]?.id : undefined;
    this.choose(fold(this.input.value) ? marked ?? this.value : null);
  }

  click(event) {
    const option = event.target.closest("[data-number]");
    if (option) this.choose(this.shown[option.dataset.number].id);
  }

  hover(event) {
    const option = event.target.closest("[data-number]");
    this.preview(option ? this.shown[option.dataset.number].id : null);
  }

  key(event) {
    const isOpen = !this.list.hidden;
    const last = this.shown.length - 1;
    const steps = {
      ArrowDown: () => (isOpen ? this.mark(this.active >= last ? 0 : this.active + 1) : this.open(true)),
      ArrowUp: () => (isOpen ? this.mark(this.active <= 0 ? last : this.active - 1) : this.open(true)),
      PageDown: () => isOpen && this.mark(Math.min(last, this.active + 8)),
      PageUp: () => isOpen && this.mark(Math.max(0, this.active - 8)),
      Enter: () => isOpen && this.active >= 0 && this.choose(this.shown[this.active].id),
      Escape: () => this.choose(isOpen ? this.value : null),
    };
    if (!steps[event.key] || isShortcut(event)) return;
    event.preventDefault();
    this.isMeant ||= event.key.startsWith("Arrow") || event.key.startsWith("Page");
    steps[event.key]();
  }
}

// Of zones that share a name, the one that has a shape; TLC lists some twice.
function meant(zones, name) {
  const same = zones.filter((zone) => zone.name === name);
  return same.find((zone) => zone.path) ?? same[0];
}

function nothing(isKnown) {
  const item = document.createElement("li");
  item.className = "nothing";
  item.role = "option";
  item.setAttribute("aria-disabled", "true");
  item.setAttribute("aria-selected", "false");
  item.textContent = isKnown ? "No zone has such a name" : "The zones are not here yet";
  return item;
}

// The name, with the part that was typed in bold.
function highlighted(name, typed) {
  const at = typed ? name.toLowerCase().indexOf(typed.toLowerCase()) : -1;
  if (at < 0) return [name];
  const mark = document.createElement("b");
  mark.textContent = name.slice(at, at + typed.length);
  return [name.slice(0, at), mark, name.slice(at + typed.length)];
}
