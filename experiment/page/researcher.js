// The researcher's page: logs in with the token of the address, then shows the overview and keeps it fresh.

import { sections } from "./sections.js";

const EVERY = 10_000; // milliseconds between two looks
const QUIET = 60_000; // at least so long between two sentences for screen readers
const $ = (id) => document.getElementById(id);
let timer = null;
let drawn = {};
let told = { at: 0, text: "" };

const ask = async (path, body) => {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const reply = await fetch(`/api/researcher/${path}`, { credentials: "same-origin", cache: "no-store", ...options });
  const content = await reply.json();
  return { status: reply.status, content };
};

const trouble = (text) => { if ($("trouble").textContent !== text) $("trouble").textContent = text; };

const loggedOut = (message = "") => {
  clearTimeout(timer);
  drawn = {};
  $("sheet").replaceChildren();
  $("sheet").hidden = $("tools").hidden = true;
  $("simulated").hidden = true;
  $("login").hidden = false;
  trouble(message);
};

const login = async (token) => {
  const { status, content } = await ask("login", { token });
  if (status !== 200) return loggedOut(content.message);
  trouble("");
  return refresh();
};

/** Draws the sections whose data changed, so that focus and scroll stay where nothing did. */
const show = (found) => {
  $("login").hidden = true;
  $("sheet").hidden = $("tools").hidden = false;
  $("title").textContent = found.title;
  $("kind").textContent = { ratings: "Rating pages", localize: "Where in a picture", name: "Which words fit" }[found.kind] || "Which of two pictures";
  $("simulated").hidden = found.source !== "simulated";
  const sheet = $("sheet");
  for (const [name, data, draw] of sections(found)) {
    const text = JSON.stringify(data);
    if (drawn[name] === text) continue;
    const old = sheet.querySelector(`[data-section="${name}"]`);
    const fresh = draw(data);
    fresh.dataset.section = name;
    if (old) {
      const open = [...old.querySelectorAll("details")].map((each) => each.open);
      const scrolled = [...old.querySelectorAll(".scroll")].map((each) => [each.scrollTop, each.scrollLeft]);
      const focused = [...old.querySelectorAll(".scroll, summary, a")].indexOf(document.activeElement);
      old.replaceWith(fresh);
      fresh.querySelectorAll("details").forEach((each, at) => { each.open = Boolean(open[at]); });
      fresh.querySelectorAll(".scroll").forEach((each, at) => { if (scrolled[at]) [each.scrollTop, each.scrollLeft] = scrolled[at]; });
      if (focused >= 0) fresh.querySelectorAll(".scroll, summary, a")[focused]?.focus({ preventScroll: true });
    } else sheet.append(fresh);
    drawn[name] = text;
  }
  $("updated").textContent = `Updated ${new Date().toLocaleTimeString("en-GB")}`;
  const { accepted, running } = found.counts;
  const words = `${accepted} sessions count, ${running} running`;
  if (words !== told.text && Date.now() - told.at >= QUIET) {
    told = { at: Date.now(), text: words };
    $("news").textContent = words;
  }
};

const refresh = async () => {
  clearTimeout(timer);
  try {
    const { status, content } = await ask("overview");
    if (status === 401) return loggedOut("Please log in again.");
    if (status !== 200) trouble(content.message);
    else {
      show(content);
      trouble("");
    }
  } catch {
    trouble("The server does not answer. Trying again.");
  }
  if (!document.hidden) timer = setTimeout(refresh, EVERY);
};

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = $("token");
  const token = field.value.trim();
  field.value = "";
  login(token).catch(() => trouble("The server does not answer. Please try again."));
});
$("refresh").addEventListener("click", refresh);
$("logout").addEventListener("click", async () => {
  await ask("logout", {});
  loggedOut();
});
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden && !$("sheet").hidden) refresh();
});

/** The token of the address, which shall not stay there. */
const given = () => {
  const token = location.hash.slice(1);
  if (token) history.replaceState(null, "", location.pathname);
  return token;
};
const begin = async () => {
  const token = given();
  try {
    if (token) await login(token);
    else if ((await ask("state")).content.logged_in) await refresh();
    else loggedOut();
  } catch {
    loggedOut("The server does not answer. Please load this page again.");
  }
};
addEventListener("hashchange", () => { if (location.hash.length > 1) begin(); }); // the address was pasted into this very tab
begin();
