// Words and numbers for people.

export const SERVICES = {
  green: "Green taxi", yellow: "Yellow taxi", fhvhv: "App ride", sample: "Sample city",
};
const RIDES = { green: "green taxi rides", yellow: "yellow taxi rides", fhvhv: "app rides", sample: "made-up rides" };
const ABBREVIATED = { sq: "square", hts: "heights", st: "saint", jfk: "kennedy", ewr: "newark" };
export const LONGEST = 60; // minutes: models learn from no longer ride, and never answer more
const ENGLISH = "en-GB";

export const listen = (target, acts) => {
  for (const [name, act] of Object.entries(acts)) target.addEventListener(name, act);
};

export const isShortcut = (event) => event.ctrlKey || event.metaKey || event.altKey;

export const whole = (minutes) => Math.max(1, Math.round(minutes));

export const minutes = (count) => `${whole(count)} ${whole(count) === 1 ? "minute" : "minutes"}`;

export function range(low, high) {
  const [least, most] = [whole(low), whole(high)];
  return `${least === most ? least : `${least} to ${most}`}${most >= LONGEST ? " or more" : ""}`;
}

// An estimate in words. Of a guess, the range would look too sure.
export const estimate = ({ middle, low, high, outOfRange }) => (
  outOfRange ? `perhaps ${minutes(middle)}` : `about ${minutes(middle)}, ${range(low, high)}`
);

export const capital = (text) => text[0].toUpperCase() + text.slice(1);

export const hour = (number) => `${String(number % 24).padStart(2, "0")}:00`;

export const count = (number) => number.toLocaleString("en-US");

export const rides = (service) => RIDES[service] ?? `${service} rides`;

// A moment is text such as 2026-11-27T08:00: New York's wall clock, wherever the reader is.
const date = (moment) => new Date(`${moment.slice(0, 10)}T00:00Z`);

const formatted = (moment, parts) => new Intl.DateTimeFormat(ENGLISH, { timeZone: "UTC", ...parts }).format(date(moment));

export const longDay = (moment) => formatted(moment, { weekday: "long", day: "numeric", month: "long", year: "numeric" });

export const shortDay = (moment) => formatted(moment, { weekday: "short", day: "numeric", month: "short" });

export const weekday = (moment) => formatted(moment, { weekday: "long" });

export const month = (text) => formatted(`${text}-01`, { month: "long", year: "numeric" });

// "2022-07 to 2023-05" as the service writes it.
export function months(text) {
  const [first, last] = text.split(" to ");
  return last && last !== first ? `${month(first)} to ${month(last)}` : month(first);
}

// What counts when a name is compared: no capitals, no accents, no punctuation.
export function fold(text) {
  const plain = text.normalize("NFKD").replace(/[\u0300-\u036f'’`]/g, "").toLowerCase();
  return plain.replace(/[^\p{L}\p{N}]+/gu, " ").trim();
}

// The words by which a zone is found.
export function searchable(zone) {
  const name = fold(zone.name);
  const words = `${name} ${fold(zone.area ?? "")} ${zone.id}`.split(" ");
  return { name, words: [...words, ...words.map((word) => ABBREVIATED[word]).filter(Boolean)] };
}

// How well a zone fits what was typed: 0 is best; null if it does not fit.
export function fit(found, typed) {
  if (found.name.startsWith(typed)) return 0;
  if (found.name.includes(` ${typed}`)) return 1;
  if (typed.split(" ").every((part) => found.words.some((word) => word.startsWith(part)))) return 2;
  return found.name.includes(typed) ? 3 : null;
}
