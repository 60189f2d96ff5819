// Asks the node for this page and its picture and shows what the response fields say about where
// they came from. RFC 9211 describes Cache-Status, RFC 9111 Age, RFC 9110 ETag.

const subjects = [
  { name: "This page", url: location.pathname },
  { name: "The picture", url: "/horizon.svg" },
];

/** The parameters of the cache that answered us: the last member of the list. */
function cacheStatus(value) {
  const members = value.match(/(?:[^,"]|"(?:\\.|[^"\\])*")+/g) ?? [];
  const parts = (members.at(-1) ?? "").match(/(?:[^;"]|"(?:\\.|[^"\\])*")+/g) ?? [];
  const parameters = new Map();
  for (const part of parts.slice(1)) {
    const [name, ...rest] = part.trim().split("=");
    parameters.set(name, rest.length ? rest.join("=").replace(/^"|"$/g, "") : "yes");
  }
  return parameters;
}

/** Where a response came from, in a word and in a sentence. */
function verdict(response) {
  const value = response.headers.get("cache-status");
  if (!response.ok) return ["", `${response.status}`, "The node answered with an error."];
  if (!value) return ["", "unknown", "The response does not say where it came from."];
  const status = cacheStatus(value);
  const ttl = Number(status.get("ttl"));
  const left = ttl > 0 ? ` It stays fresh for another ${duration(ttl)}.` : "";
  if (status.has("hit")) {
    return ["cache", "from cache", `A copy in the cache answered; the store was not asked.${left}`];
  }
  const kept = status.has("stored") ? " and a copy was kept for the next visitor" : "";
  const why = status.get("fwd");
  const reasons = {
    "uri-miss": "The cache had no copy",
    "vary-miss": "The cache had no copy of this variant",
    miss: "The cache had no copy",
    stale: "The copy in the cache was too old",
    bypass: "The cache was passed by",
  };
  const reason = reasons[why] ?? `The cache did not answer itself (${why ?? "no reason given"})`;
  return ["store", "fetched", `${reason}, so the store was asked${kept}.${left}`];
}

function duration(seconds) {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} minutes`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} hours`;
  return `${Math.round(seconds / 86400)} days`;
}

/** A card for one subject, with what the node just said about it. */
async function card(subject) {
  const element = document.getElementById("card").content.cloneNode(true).firstElementChild;
  const put = (selector, text) => { element.querySelector(selector).textContent = text; };
  put("h3", subject.name);
  try {
    const began = performance.now();
    // The browser's own cache must not answer: we want the node's word.
    const response = await fetch(subject.url, { cache: "no-store" });
    await response.arrayBuffer();
    const took = performance.now() - began;
    const [from, badge, meaning] = verdict(response);
    const age = response.headers.get("age");
    element.dataset.from = from;
    put(".badge", badge);
    put(".meaning", meaning);
    put("[data-field=cache-status]", response.headers.get("cache-status") ?? "–");
    put("[data-field=age]", age === null ? "–" : `${age} s`);
    put("[data-field=etag]", response.headers.get("etag") ?? "–");
    put("[data-field=took]", `${took.toFixed(1)} ms, as your browser saw it`);
  } catch {
    put(".badge", "no answer");
    put(".meaning", "The node could not be reached. Is it still running?");
  }
  return element;
}

const button = document.getElementById("again");

async function ask() {
  button.setAttribute("aria-busy", "true");
  const cards = await Promise.all(subjects.map(card));
  document.getElementById("cards").replaceChildren(...cards);
  button.removeAttribute("aria-busy");
}

button.hidden = false;
document.getElementById("asked").hidden = false;
button.addEventListener("click", ask);
document.querySelector(".live").lastChild.textContent = ` ${location.host}`;
ask();
