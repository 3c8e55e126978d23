// The page for riders: joins the fields, the map, the curves and the service.

import { better, button, caution, element, extremes, grounds, paragraph, parts } from "./answer.js";
import * as calls from "./calls.js";
import * as choice from "./choices.js";
import { Combobox } from "./combobox.js";
import { DayCurve } from "./curve.js";
import { ZoneMap } from "./map.js";
import { Week } from "./week.js";
import { SERVICES, capital, estimate, hour, longDay, minutes, shortDay, whole } from "./words.js";

const EXAMPLE = [132, 230]; // New York's largest airport, and its busiest square
const SLOW = 150; // milliseconds after which the page shows that it waits
const PATIENCE = 400; // milliseconds to wait for the number of rides
const TYPING = 600; // milliseconds in which a year may become one
const AGAIN = 5; // seconds until the page tries again by itself
const by = (id) => document.getElementById(id);
const on = (id, name, act) => by(id).addEventListener(name, act);
const ASKED = document.title;

let choices = choice.read(location.search);
let doubts = choice.misread(location.search); // sentences about a link
let models = []; // what answers: `service` and `model` of each
let zones = { zones: [] };
let round = 0; // counts questions, so that a late answer to an old one is dropped
let timer = 0;
let spokenTimer = 0;
let dayTimer = 0;

const speak = (text) => {
  clearTimeout(spokenTimer);
  spokenTimer = setTimeout(() => { by("spoken").textContent = text; }, 300);
};
const preview = (id) => map.mark(id);
const fields = {
  from: new Combobox(by("from"), { picked: (id) => change({ from: id }, "from"), preview, spoken: speak }),
  to: new Combobox(by("to"), { picked: (id) => change({ to: id }, "to"), preview, spoken: speak }),
};
const map = new ZoneMap(by("map-part"), {
  picked: pickOnMap, closer: () => speak("Closer. Tap the zone."),
});
const curve = new DayCurve(by("curve"), pickHour);
const week = new Week(by("week"), {
  picked: (day, number) => change({ at: choice.moment(day, number) }, "at"),
  read: (text) => { by("week-says").textContent = text || by("week-says").dataset.usual || ""; },
});

// Choices

function change(made, changed) {
  choices = { ...choices, ...made };
  choice.remember(choices, changed);
  showDoubts();
  if (changed === "service") loadOthers();
  show();
}

const loadOthers = () => loadZones().then((isLess) => isLess && show(), (trouble) => showTrouble(trouble, start));

function pickOnMap(id) {
  const end = document.querySelector("[name=picks]:checked").value;
  change({ [end]: id }, end);
  setPick(end === "from" ? "to" : "from");
}

const setPick = (end) => { document.querySelector(`[name=picks][value=${end}]`).checked = true; };

function listen() {
  on("ride", "submit", (event) => event.preventDefault());
  on("day", "change", () => {
    clearTimeout(dayTimer);
    if (choice.isDay(by("day").value)) pickDay(choice.moment(by("day").value, choice.hourOf(choices.at)), "day");
    else dayTimer = setTimeout(refuseDay, TYPING);
  });
  on("hour", "change", () => pickHour(Number(by("hour").value)));
  on("now", "click", () => pickDay(choice.now(), "now"));
  on("swap", "click", () => change({ from: choices.to, to: choices.from }, "swap"));
  on("miles", "change", pickMiles);
  on("zoom-in", "click", () => map.view.zoom(1.8));
  on("zoom-out", "click", () => map.view.zoom(1 / 1.8));
  on("zoom-all", "click", () => map.view.show(null));
  on("key-form", "submit", useKey);
  for (const end of ["from", "to"]) fields[end].input.addEventListener("focus", () => setPick(end));
  addEventListener("popstate", () => {
    const { service } = choices;
    choices = { ...choice.read(location.search) };
    choices.service ??= service;
    choice.forgetStep();
    showDoubts();
    setFault("day");
    setFault("miles");
    if (choices.service !== service) loadOthers();
    show();
  });
}

function pickHour(number) {
  change({ at: choice.moment(choice.dayOf(choices.at), number) }, "at");
}

function pickDay(at, changed) {
  setFault("day");
  change({ at }, changed);
}

function refuseDay() {
  if (choice.isDay(by("day").value)) return; // another choice came first
  setFault("day", "Pick a day of the years 2009 to 2099.");
  show();
}

function pickMiles() {
  const { value, validity } = by("miles");
  const miles = value && choice.distance(String(Number(Number(value).toFixed(2))));
  const isWrong = validity.badInput || miles === null;
  setFault("miles", isWrong ? "A distance is 0.1 to 200 miles. This one is not used." : "");
  change({ miles: isWrong ? null : miles || null }, "miles");
}

// A sentence at a field that has no use for what is in it; what is in it stays.
function setFault(name, text = "") {
  by(name).setAttribute("aria-invalid", Boolean(text));
  by(`${name}-fault`).textContent = text;
}

const hasFault = (name) => by(name).getAttribute("aria-invalid") === "true";

// What the page shows

function show() {
  showFields();
  map.setRide(choices.from, choices.to);
  if (!models.length) return; // `start` goes on trying
  clearTimeout(timer);
  if (hasFault("day") || choices.from === null || choices.to === null) showPrompt();
  else ask();
}

function showFields() {
  for (const end of ["from", "to"]) fields[end].setValue(zones.zones.some((zone) => zone.id === choices[end]) ? choices[end] : null);
  if (!hasFault("day")) by("day").value = choice.dayOf(choices.at);
  by("hour").value = choice.hourOf(choices.at);
  by("weekday").textContent = longDay(choices.at);
  by("weekday").parentElement.hidden = hasFault("day");
  if (!hasFault("miles")) by("miles").value = choices.miles ?? "";
  if (choices.miles) by("miles").closest("details").open = true;
  for (const radio of by("services").querySelectorAll("input")) radio.checked = radio.value === choices.service;
}

function showDoubts(texts = []) {
  doubts = texts;
  by("doubts").hidden = !doubts.length;
  by("doubts").replaceChildren(...doubts.map((text) => paragraph("", text)));
}

function showPrompt() {
  round += 1;
  hideTrouble();
  by("answer").classList.remove("is-waiting");
  hideResults();
  const where = map.isDrawn ? ", by name or on the map" : " by name";
  const { from, to } = choices;
  const missing = from === null && to === null ? `Pick where the ride starts and ends${where}.`
    : from === null ? `Pick where it starts${where}.` : to === null ? `Now pick where it ends${where}.` : "No answer without a day.";
  by("says").replaceChildren(paragraph("prompt", missing), ...example());
  setPick(from === null ? "from" : "to");
}

// A ride that shows a newcomer what the page does.
function example() {
  const ends = EXAMPLE.map((id) => zones.zones.find((zone) => zone.id === id));
  if (choices.from !== null || choices.to !== null || !ends.every(Boolean)) return [];
  const take = button(ends.map((zone) => zone.name.split("/")[0]).join(" to "), () => {
    change({ from: EXAMPLE[0], to: EXAMPLE[1] }, "example");
    by("answer").focus();
  });
  return [paragraph("example", "For example: ", take)];
}

async function ask() {
  const mine = (round += 1);
  const asked = { ...choices };
  const model = models.find((each) => each.service === asked.service)?.model;
  if (!model) return;
  const slow = setTimeout(showWaiting, SLOW);
  try {
    const days = choice.weekOf(asked.at);
    const rides = calls.rides(asked).catch(() => null);
    const found = await calls.predictions(asked, choice.hoursOf(days), asked.at);
    const early = await Promise.race([rides, new Promise((done) => setTimeout(done, PATIENCE))]);
    if (mine !== round) return;
    hideTrouble();
    showAnswer(asked, days, found, early);
    const between = await rides;
    if (mine !== round) return;
    if (early === undefined) say(asked, point(found.get(asked.at)), between);
    showGrounds({ ...asked, high: point(found.get(asked.at)).high }, model, between);
  } catch (trouble) {
    if (mine === round) showTrouble(trouble, ask);
  } finally {
    clearTimeout(slow);
    if (mine === round) by("answer").classList.remove("is-waiting");
  }
}

function showWaiting() {
  by("answer").classList.add("is-waiting");
  if (!by("says").querySelector(".about")) by("says").replaceChildren(paragraph("prompt", "One moment …"));
}

const point = (answer) => ({
  middle: answer.duration_minutes, low: answer.low_80_minutes, high: answer.high_80_minutes, outOfRange: answer.out_of_range === true,
});

// The slider speaks for itself; a cell of the week needs its name.
function say(asked, chosen, between) {
  const warning = caution(chosen, between);
  by("says").replaceChildren(...parts(chosen, between));
  const words = estimate(chosen);
  const when = `${shortDay(asked.at)}, ${hour(choice.hourOf(asked.at))}`;
  if (document.activeElement !== by("curve")) speak(`${by("week").contains(document.activeElement) ? `${when}: ${words}` : capital(words)}. ${warning}`.trim());
  else if (by("spoken").textContent !== warning) speak(warning);
  else clearTimeout(spokenTimer);
  const [from, to] = ["from", "to"].map((end) => fields[end].nameOf(asked[end]));
  document.title = `${capital(words.replace("about ", ""))}: ${from} to ${to}, ${when.replace(", ", " ")}`;
}

function showAnswer(asked, days, found, between) {
  say(asked, point(found.get(asked.at)), between);
  by("times").hidden = false;
  const hasCurves = found.size > 1;
  for (const part of by("times").querySelectorAll("section:not(.rests)")) part.hidden = !hasCurves;
  by("advice").hidden = true;
  if (hasCurves) showCurves(asked, days, choice.hoursOf(days).map((when) => point(found.get(when))));
}

function showCurves(asked, days, points) {
  const row = days.indexOf(choice.dayOf(asked.at));
  const day = points.slice(24 * row, 24 * row + 25);
  by("day-title").textContent = `Through ${longDay(asked.at).split(",")[0].split(" ")[0]}`;
  by("day-says").textContent = extremes(day);
  curve.show(day, choice.hourOf(asked.at));
  const { least, most } = week.show(days, days.map((_, number) => points.slice(24 * number, 24 * number + 24)), [row, choice.hourOf(asked.at)]);
  by("week-says").dataset.usual = `${shortDay(days[0])} to ${shortDay(days[6])}, New York time`;
  if (!by("week").contains(document.activeElement)) by("week-says").textContent = by("week-says").dataset.usual;
  by("scale-low").textContent = `${whole(least)} min`;
  by("scale-high").textContent = `${whole(most)} min`;
  showAdvice(better(day, asked.at, choice.now()));
}

function showAdvice(best) {
  by("advice").hidden = !best;
  if (!best) return;
  const { number, less } = best;
  const take = button(`Leave at ${hour(number)}`, () => { pickHour(number); by("answer").focus(); });
  by("advice").replaceChildren(take, element("span", {}, `saves ${minutes(less)}`));
}

function showGrounds(asked, model, between) {
  const known = between ? { ...model, ...between, version: between.model_version, name: model.name } : model;
  by("rests").replaceChildren(...grounds({ ...asked, names: [asked.from, asked.to].map((id) => fields.from.nameOf(id)) }, known, between).map((text) => element("li", {}, text)));
}

// What is wrong, and the next act

const WRONG = {
  away: () => "The service cannot be reached. Is this device online, and the service running?",
  busy: () => "The service has too many questions at this moment.",
  model: () => "No model answers yet. Somebody must train one, or the service is still loading it.",
  refused: (detail) => `The service cannot answer this: ${detail}`,
  missing: () => "This service is older than this page. Load the page again.",
  failed: () => "The service failed. Its log says why.",
};

function showTrouble(trouble, again) {
  if (!(trouble instanceof calls.Trouble)) throw trouble;
  if (trouble.kind === "key") return askForKey();
  const isPassing = ["away", "busy", "model"].includes(trouble.kind);
  const seconds = Math.max(trouble.after, AGAIN);
  const text = `${(WRONG[trouble.kind] ?? WRONG.failed)(trouble.message)}${isPassing ? ` Trying again every ${seconds} seconds.` : ""}`;
  if (by("notice").firstChild?.textContent !== text) by("notice").replaceChildren(paragraph("", text), button("Try again now", again));
  by("notice").hidden = false;
  hideResults();
  by("answer").hidden = true;
  clearTimeout(timer);
  if (isPassing) timer = setTimeout(again, 1000 * seconds);
  return undefined;
}

function hideResults() {
  by("times").hidden = true;
  by("advice").hidden = true;
  document.title = ASKED;
}

function hideTrouble() {
  by("notice").hidden = true;
  by("notice").replaceChildren();
  by("answer").hidden = false;
}

function askForKey() {
  const wasWrong = calls.hasKey();
  calls.dropKey();
  hideTrouble();
  by("key-form").hidden = false;
  by("answer").hidden = true;
  if (wasWrong) by("key-says").textContent = "The service does not know this key. Type it again, or ask for one who runs the service.";
  by("key").value = "";
  by("key").focus();
}

function useKey(event) {
  event.preventDefault();
  calls.useKey(by("key").value.trim());
  by("key-form").hidden = true;
  by("answer").hidden = false;
  start();
}

// The beginning

function showServices() {
  const names = models.map((each) => each.service);
  by("whose").textContent = names.length === 1 ? SERVICES[names[0]] ?? names[0] : "";
  by("services").hidden = names.length < 2;
  const radios = names.map((name) => {
    const radio = element("input", { type: "radio", name: "service", value: name });
    radio.addEventListener("change", () => change({ service: name }, "service"));
    return element("label", {}, radio, element("span", {}, SERVICES[name] ?? name));
  });
  by("services").replaceChildren(by("services").firstElementChild, ...radios);
}

async function loadZones() {
  const { service } = choices;
  const found = await calls.zones(service);
  if (service !== choices.service) return false;
  zones = found.zones.length ? found : { ...found, zones: numbered() };
  for (const field of Object.values(fields)) field.setZones(zones.zones);
  const unknown = ["from", "to"].filter((end) => choices[end] !== null && !zones.zones.some((zone) => zone.id === choices[end]));
  for (const end of unknown) {
    doubts.push(`${capital(end)}: zone ${choices[end]} is not known here. Pick another.`);
    choices[end] = null;
  }
  showMap(Boolean(zones.width));
  showFields();
  showDoubts(doubts);
  if (doubts.length) choice.correct(choices);
  return unknown.length > 0;
}

function showMap(isKnown) {
  by("map-part").hidden = !isKnown;
  document.body.classList.toggle("has-map", isKnown);
  if (isKnown) map.draw(zones);
  else map.clear();
  map.setRide(choices.from, choices.to);
}

const numbered = () => Array.from({ length: 263 }, (_, number) => ({ id: number + 1, name: `Zone ${number + 1}`, area: "" }));

async function start() {
  try {
    const report = await calls.services();
    models = report.services.filter((each) => each.model);
    const names = models.map((each) => each.service);
    choices.service ??= choice.read(location.search).service;
    if (!names.includes(choices.service)) {
      const [first = null] = names;
      if (choices.service && first) doubts.push(choice.unclear("service", choices.service, `${SERVICES[first] ?? first} is used`));
      choices.service = first;
    }
    showServices();
    if (models.length) await loadZones();
    else {
      await loadZones().catch(() => null); // the fields can be filled in meanwhile
      throw new calls.Trouble("model");
    }
    hideTrouble();
    show();
  } catch (trouble) {
    if (!zones.zones.length) showMap(false);
    showTrouble(trouble, start);
  }
}

for (let number = 0; number < 24; number += 1) by("hour").append(new Option(hour(number), number));
listen();
showFields();
if (choices.from !== null && choices.to !== null) showWaiting();
start();
