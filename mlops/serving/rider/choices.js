// What the reader has chosen, and the address that says so. Times are New York's wall clock.

import { hour } from "./words.js";

const DAY = 86_400_000;
const MOMENT = /^(\d{4}-\d\d-\d\d)T(\d\d)/;
const INSTEAD = {
  from: ["start", "pick one"], to: ["end", "pick one"], at: ["time", "this hour is used"], miles: ["distance", "none is used"],
};
let lastChanged = "";

const iso = (time) => new Date(time).toISOString().slice(0, 10);
const midnight = (moment) => Date.parse(`${moment.slice(0, 10)}T00:00Z`);

export const dayOf = (moment) => moment.slice(0, 10);
export const hourOf = (moment) => Number(moment.slice(11, 13));
export const moment = (day, number) => `${day}T${hour(number)}`;

// Whether a text is a day that the service can answer for.
export function isDay(text) {
  const time = Date.parse(`${text}T00:00Z`);
  return !Number.isNaN(time) && iso(time) === text && text >= "2009-01-01" && text <= "2099-12-31";
}

export function now() {
  const parts = new Intl.DateTimeFormat("en-CA", {
    timeZone: "America/New_York", hourCycle: "h23",
    year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit",
  }).formatToParts(new Date());
  const { year, month, day, hour: number } = Object.fromEntries(parts.map((part) => [part.type, part.value]));
  return moment(`${year}-${month}-${day}`, Number(number));
}

// The seven days of a moment's week, from Monday.
export function weekOf(when) {
  const day = midnight(when);
  const monday = day - ((new Date(day).getUTCDay() + 6) % 7) * DAY;
  return Array.from({ length: 7 }, (_, number) => iso(monday + number * DAY));
}

// Every hour of these days, and the midnight that ends the last one.
export function hoursOf(days) {
  const all = days.flatMap((day) => Array.from({ length: 24 }, (_, number) => moment(day, number)));
  return [...all, moment(iso(midnight(days.at(-1)) + DAY), 0)];
}

function momentIn(text) {
  const [, day, number] = MOMENT.exec(text ?? "") ?? [];
  return day && isDay(day) && Number(number) < 24 ? moment(day, Number(number)) : null;
}

const positive = (text) => (/^\d{1,4}(\.\d{1,2})?$/.test(text ?? "") && Number(text) > 0 ? Number(text) : null);

export function distance(text) {
  const miles = positive(text);
  return miles >= 0.1 && miles <= 200 ? miles : null;
}

export function read(search) {
  const asked = new URLSearchParams(search);
  return {
    service: asked.get("service"),
    from: positive(asked.get("from")),
    to: positive(asked.get("to")),
    at: momentIn(asked.get("at")) ?? now(),
    miles: distance(asked.get("miles")),
  };
}

// What of an address was not understood: sentences that say what is used instead.
export function misread(search) {
  const asked = new URLSearchParams(search);
  const found = { ...read(search), at: momentIn(asked.get("at")) };
  return Object.keys(INSTEAD).filter((name) => asked.get(name) && found[name] === null)
    .map((name) => unclear(INSTEAD[name][0], asked.get(name), INSTEAD[name][1]));
}

export const unclear = (what, text, instead) => `In the link, the ${what} “${text.slice(0, 40)}” was not understood: ${instead}.`;

export function written(choices) {
  const given = Object.entries(choices).filter(([, value]) => value !== null && value !== undefined);
  return `?${given.map(([name, value]) => `${name}=${value}`).join("&")}`;
}

// A new entry of the history for each choice; steps of the same kind in a row share one.
export function remember(choices, changed) {
  const address = written(choices);
  if (address === location.search) return;
  const steps = changed === lastChanged && changed === "at";
  history[steps ? "replaceState" : "pushState"](null, "", address);
  lastChanged = changed;
}

export const correct = (choices) => history.replaceState(null, "", written(choices));

export function forgetStep() {
  lastChanged = "";
}
