/** Pages of text: before, between and after the trials. Each answers when the person went on. */

import { button, el, heading, pressed, sheet, show } from "./dom.js";

const TAGS = "p h2 h3 h4 ul ol li strong em code blockquote br hr a".split(" ");
const p = (...children) => el("p", {}, ...children);
const actions = (...buttons) => el("p", { class: "actions" }, buttons);
const next = (text) => button(text, { class: "main", "data-continue": true });

/** The researcher's text, element by element: what is not on the list stays as text, and no attribute but safe addresses
 * of links. The server wrote it from Markdown; nothing else gets into a page as HTML. */
function copied(node) {
  if (node.nodeType === Node.TEXT_NODE) return node.data;
  if (node.nodeType !== Node.ELEMENT_NODE) return null;
  const name = node.localName === "h1" ? "h2" : node.localName;
  const children = [...node.childNodes].map(copied);
  if (name === "script" || name === "style") return null;
  if (!TAGS.includes(name)) return el("span", {}, ...children);
  const link = name === "a" && safe(node.getAttribute("href"));
  return el(name, link ? { href: link, target: "_blank", rel: "noopener noreferrer" } : {}, ...children);
}

/** The address if it is one that may be followed, else null. */
const safe = (address) => (/^(https?:\/\/|mailto:)/i.test(address ?? "") ? address : null);

const parsed = (html) => [...new DOMParser().parseFromString(html, "text/html").body.childNodes].map(copied);

function money({ amount, currency }) {
  return new Intl.NumberFormat("en", { style: "currency", currency }).format(amount);
}

/** Whether the person agrees. */
export async function consented(display, state) {
  const facts = [
    ["Time", `about ${Math.max(1, Math.round(state.minutes))} minutes`],
    ["Pay", state.pay.amount > 0 ? money(state.pay) : "none"],
    [state.kind === "ratings" ? "Pages" : "Trials", `${state.n_trials}`],
  ];
  const list = el("dl", { class: "facts" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  const yes = button("I agree and take part", { class: "main", "data-agree": true });
  const no = button("I do not agree", { "data-disagree": true });
  const text = el("section", { class: "consent", "aria-label": "Consent", lang: state.language }, parsed(state.consent_html));
  show(display, sheet(heading(state.title), list, text, actions(yes, no)));
  return (await pressed(yes, no)) === yes;
}

/** Seconds that the person spent on the instructions: `own`, where a kind of page brings some. */
export async function instructed(display, state, own) {
  const on = next(own ? "Start" : "Start the practice");
  show(display, sheet(heading("What you will do"), ...(own || trialInstructions(state)), actions(on)));
  const start = performance.now();
  await pressed(on);
  return (performance.now() - start) / 1000;
}

function trialInstructions(state) {
  const step = (number, title, ...children) =>
    el("section", { class: "step" }, el("h2", {}, el("span", { class: "number", "aria-hidden": "true" }, number), title), ...children);
  const example = el("img", {
    src: "/static/example.svg",
    width: 720,
    height: 276,
    alt: "A drawn trial. Left: nine pictures with stripes. Right: nine with dots. In the middle: above one with stripes, below one with dots.",
  });
  const alone = state.n_explanations === 0;
  const random = state.random_left; // one-sided tasks
  return [
    el("p", { class: "lead" }, `A computer that recognises pictures has many small units. Each unit likes some pictures ${random ? "more than others" : "and dislikes others"}. You find out what a unit likes from examples.`),
    el("figure", { class: "example" }, example, el("figcaption", {}, "Here the unit likes dots, so the answer is the lower picture.")),
    step(1, "Look at both sides", p(el("strong", {}, "Left"), ` are pictures ${random ? "drawn at random" : "that one unit dislikes"}, `, el("strong", {}, "right"), " are pictures that the unit likes. Look for what those on the right share and those on the left lack: a thing, a part, a shape, a colour, a pattern or a background.")),
    step(2, "Choose one of the two in the middle", p("One of the two pictures in the middle is liked by this unit too: it goes with the right side. ", random ? "The other one was drawn at random. " : "The other one is disliked and goes with the left side. ", el("strong", {}, "Which one goes with the right?"))),
    step(3, "Say how sure you are", p("Under each picture are three buttons: ", el("strong", {}, "1"), " for a guess, ", el("strong", {}, "2"), " for fairly sure, ", el("strong", {}, "3"), " for very sure. One press gives both, the picture and how sure you are. The buttons start to work ", seconds(state.wait), " after the pictures have appeared; from then on take the time that you need."), p("With a keyboard: ", keys(1, 2, 3), " for the upper picture, ", keys(4, 5, 6), " for the lower one.")),
    el("section", { class: "card" }, el("h2", {}, "Good to know"), el("ul", {},
      el("li", {}, "Every trial is about another unit, so look at both sides afresh."),
      el("li", {}, "Some are easy, some are hard. If nothing strikes you, follow your first impression."),
      el("li", {}, `You begin with practice in blocks, with the right answer after each trial. The study goes on once a whole block is right; there are at most ${state.max_blocks} blocks.`),
      alone ? el("li", {}, "After the practice there are no examples: only the two pictures in the middle.") : null,
      el("li", {}, "If the page is closed by accident, open it again in the same browser: you go on where you were."))),
  ];
}

const seconds = (number) => (number === 1 ? "one second" : `${number} seconds`);
const keys = (...names) => names.flatMap((name, place) => [place ? " " : null, el("kbd", {}, name)]);

/** A page with one button. */
export async function message(display, title, words, label) {
  const on = next(label);
  show(display, sheet(heading(title), ...words.map((text) => p(text)), actions(on)));
  await pressed(on);
}

/** What the person wants to add, perhaps nothing. */
export async function commented(display) {
  const field = el("textarea", { id: "comment", rows: 5, maxlength: 2000, "data-comment": true });
  const label = el("label", { for: "comment" }, "Was anything unclear or out of order? You may leave this empty.");
  const on = next("Finish");
  show(display, sheet(heading("Almost done"), label, field, actions(on)));
  await pressed(on);
  return field.value.trim();
}

const ENDS = { complete: "Thank you", practice: "The study ends here", left: "You have stopped", time: "The time is over", before: "You were here before" };

/** The last page. It stays, unless the person may and will go on with another session. */
export function ended(display, state) {
  const again = state.again ? button("Go on with more pages", { "data-again": true }) : null;
  const parts = [p(state.message ?? "That was the last one. All your answers have arrived.")];
  if (state.code) parts.push(code(state.code));
  if (safe(state.link)) parts.push(actions(el("a", { class: "button main", href: state.link, rel: "noreferrer", "data-link": true }, "Back to the platform")));
  if (again) parts.push(actions(again));
  show(display, sheet(heading(ENDS[state.outcome]), ...parts));
  return again ? pressed(again) : new Promise(() => {});
}

function code(text) {
  const shown = el("output", { class: "code", "data-code": true }, text);
  const copy = button("Copy", { "data-copy": true });
  const said = el("span", { role: "status" });
  copy.addEventListener("click", async () => {
    getSelection().selectAllChildren(shown);
    // the clipboard is there under TLS and on this machine only
    const done = navigator.clipboard ? await navigator.clipboard.writeText(text).then(() => true, () => false) : document.execCommand("copy");
    said.textContent = done ? "Copied" : "Selected: copy it with your keyboard";
  });
  return el("section", { class: "card", "aria-label": "Your code" }, p("Your code, to paste where you came from:"), el("p", { class: "copying" }, shown, copy, said));
}

/** A page without a way on; the promise is never kept. */
export function closed(display, title, words) {
  show(display, sheet(heading(title), p(words)));
  return new Promise(() => {});
}
