// What the page asks the service, and what is wrong when there is no answer.

const FRESH = 10 * 60_000; // an answer is kept this long: the champion may change
const MOST_KEPT = 40;
const KEY = "trip-durations-key";
const kept = new Map();
const storage = ownStorage();
const refused = new Set(); // lists that the service did not take

// `kind` is one of key, away, model, busy, refused, failed; `after` is seconds.
export class Trouble extends Error {
  constructor(kind, detail = "", after = 0) {
    super(detail);
    this.kind = kind;
    this.after = after;
  }
}

const KINDS = { 401: "key", 403: "refused", 404: "missing", 413: "long", 422: "refused", 429: "busy", 503: "model" };

export const useKey = (key) => storage.setItem(KEY, key);
export const hasKey = () => Boolean(storage.getItem(KEY));
export const dropKey = () => storage.removeItem(KEY);

export const services = () => call("model");
export const zones = (service) => call(service ? `zones?service=${service}` : "zones");
export const rides = ({ service, from, to }) => keep(`rides ${service} ${from} ${to}`, () => (
  call(`rides?service=${service}&pickup_zone=${from}&dropoff_zone=${to}`)
));

// Predictions for a ride at each of these moments, in one request. Where the service takes no list so long, or one
// of the moments is none that it answers for, there is only that for the chosen moment.
export function predictions(choices, moments, chosen) {
  const { service, from, to, miles } = choices;
  const asked = (when) => ({
    service, pickup_at: `${when}:00`, pickup_zone: from, dropoff_zone: to, ...(miles && { distance_miles: miles }),
  });
  const ask = async () => {
    const found = await post(moments.map(asked));
    return new Map(moments.map((when, place) => [when, found[place]]));
  };
  const name = `${service} ${from} ${to} ${miles} ${moments[0]}`;
  const alone = () => keep(`${name} ${chosen}`, async () => new Map([[chosen, await post(asked(chosen))]]));
  if (refused.has(name)) return alone();
  return keep(name, ask).catch((trouble) => {
    if (trouble.kind !== "refused" && trouble.kind !== "long") throw trouble;
    refused.add(name);
    return alone();
  });
}

const post = (body) => call("predict", {
  method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" },
});

async function call(path, options = {}) {
  const key = storage.getItem(KEY);
  const headers = { ...options.headers, ...(key && { authorization: `Bearer ${key}` }) };
  const answer = await fetch(path, { ...options, headers }).catch(() => { throw new Trouble("away"); });
  if (answer.ok) return answer.json();
  const problem = await answer.json().catch(() => ({}));
  const after = Number(answer.headers.get("retry-after")) || 0;
  throw new Trouble(KINDS[answer.status] ?? "failed", problem.detail ?? "", after);
}

// The tab's own storage; where the browser forbids it, a key is kept until the page is left.
function ownStorage() {
  try {
    sessionStorage.getItem(KEY);
    return sessionStorage;
  } catch {
    const values = new Map();
    return { getItem: (name) => values.get(name) ?? null, setItem: (name, value) => values.set(name, value), removeItem: (name) => values.delete(name) };
  }
}

// What `make` gives, from the last minutes if it was asked then. What failed is not kept.
function keep(name, make) {
  const before = kept.get(name);
  if (before && Date.now() - before.at < FRESH) return before.promise;
  const promise = make();
  promise.catch(() => kept.delete(name));
  kept.delete(name);
  kept.set(name, { at: Date.now(), promise });
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
  return promise;
}
