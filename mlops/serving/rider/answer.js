// The answer in words: about how many minutes, a better hour nearby, and what it rests on.

import { dayOf, hourOf } from "./choices.js";
import { LONGEST, count, hour, minutes, months, month, range, rides, whole } from "./words.js";

const FEW = 30; // rides; with fewer, the model judges mostly by other zones
const NEAR = 2; // hours within which another departure is worth a thought
const LEAST_GAIN = 3; // minutes
const LEAST_SHARE = 0.1;

// An element with text and others inside.
export function element(name, attributes, ...inside) {
  const made = document.createElement(name);
  Object.assign(made, attributes);
  made.append(...inside);
  return made;
}

export const paragraph = (className, ...inside) => element("p", { className }, ...inside);

export function button(text, act) {
  const made = element("button", { type: "button", className: "quiet" }, text);
  made.addEventListener("click", act);
  return made;
}

const wide = (found) => Math.max(whole(found.high) * 1.15, 1);

// `between` is the answer of /rides, or null.
export function parts(found, between) {
  const warning = caution(found, between);
  const number = paragraph("about", found.outOfRange ? "perhaps " : "about ", element("strong", {}, String(whole(found.middle))), whole(found.middle) === 1 ? " minute" : " minutes");
  const spread = paragraph("spread", element("b", {}, range(found.low, found.high)), between?.rides === 0 ? ", judging by other rides" : " for 8 of 10 such rides");
  return [number, ...(warning ? [paragraph("warning", warning)] : []), bar(found), ...(found.outOfRange ? [] : [spread])];
}

// The caution that belongs to a number, or no text: the model has seen few such rides, or none.
export function caution({ outOfRange }, between) {
  const seen = between?.rides ?? FEW;
  if (outOfRange) return "A guess: the model knows no ride like this one.";
  if (seen >= FEW) return "";
  if (!seen) return "No ride between these zones was seen. Take it with care.";
  return `Only ${seen} such ${seen === 1 ? "ride is" : "rides are"} known. Take it with care.`;
}

function bar(found) {
  const bar = element("div", { className: found.outOfRange ? "bar is-guess" : "bar" }, element("i", {}), element("b", {}));
  bar.setAttribute("aria-hidden", "true");
  const share = (value) => `${(100 * Math.min(value / wide(found), 1)).toFixed(1)}%`;
  bar.style.setProperty("--low", share(found.low));
  bar.style.setProperty("--middle", share(found.middle));
  bar.style.setProperty("--high", share(found.high));
  return bar;
}

// The hour nearby that saves most, if it saves enough: { number, less }. Hours that are over are no advice, nor is a guess.
export function better(points, at, now) {
  const chosen = hourOf(at);
  const near = points.slice(0, 24).map((point, number) => ({ number, less: whole(points[chosen].middle) - whole(point.middle) }))
    .filter(({ number }) => Math.abs(number - chosen) <= NEAR && !points[number].outOfRange)
    .filter(({ number }) => dayOf(at) !== dayOf(now) || number >= hourOf(now) || chosen < hourOf(now));
  const best = near.sort((one, other) => other.less - one.less || Math.abs(one.number - chosen) - Math.abs(other.number - chosen))[0];
  return best?.less >= Math.max(LEAST_GAIN, LEAST_SHARE * points[chosen].middle) ? best : null;
}

export const extremes = (points) => {
  const day = points.slice(0, 24).map((point, number) => ({ number, middle: point.middle }));
  const sorted = day.sort((one, other) => one.middle - other.middle);
  const [fastest, slowest] = [sorted[0], sorted.at(-1)];
  if (whole(fastest.middle) === whole(slowest.middle)) return `About ${minutes(fastest.middle)} at any hour.`;
  return `Fastest at ${hour(fastest.number)}: ${whole(fastest.middle)} min. Slowest at ${hour(slowest.number)}: ${whole(slowest.middle)} min.`;
};

// What the answer rests on, as sentences; `between` is the answer of /rides, or null.
export function grounds({ service, miles, names, high }, model, between) {
  const found = [];
  if (between && between.rides !== null) found.push(seen(between.rides, service, names));
  if (model.trained_on) found.push(`It learnt from ${rides(service)} of ${months(model.trained_on)}. What has changed since then it does not know.`);
  if (model.tested_on && model.test_rmse) {
    found.push(`Tried on ${month(model.tested_on)}, which it had not seen, it was off by about ${minutes(model.test_rmse)}, with the distance known.`);
  }
  if (whole(high) >= LONGEST) found.push(`It learnt from no ride of more than ${LONGEST} minutes, so it never says more.`);
  if (!miles) found.push("Without the distance of the route, the range is wider.");
  found.push(`The model is ${model.name}, version ${model.version}.`);
  return found;
}

function seen(number, service, [from, to]) {
  const way = from === to ? `within ${from}` : `from ${from} to ${to}`;
  if (number === 0) return `It has seen no ride ${way}: it judges by other rides from and to these zones.`;
  const many = `${count(number)} ${number === 1 ? rides(service).replace(/s$/, "") : rides(service)} ${way}`;
  return number < FEW ? `It has seen only ${many}, so it judges mostly by others.` : `It has seen ${many}.`;
}
