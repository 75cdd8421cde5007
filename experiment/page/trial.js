/** The two-alternative trial: explanations on both sides, two queries between them, three buttons under each. */

import { button, drawn, el, heading, mark, pressed, show } from "./dom.js";

const PLACES = ["Upper", "Lower"];
const LEVELS = 3;

/** Shows one trial and answers {button, rt} as soon as one was chosen; `rt` in ms from the second frame that shows the
 * pictures. `task` is what the page asks for, `wait` the seconds before buttons work, `keys()` whether digits do,
 * `randomLeft` whether the left side is random. */
export class Trial {
  #area;
  #status;
  #queries;
  #buttons = [];
  #shown = 0;
  #open = false;
  #answer;

  constructor(trial, { wait, stage, keys, randomLeft }) {
    this.trial = trial;
    this.wait = wait;
    this.stage = stage;
    this.keys = keys;
    const { left, right } = trial;
    this.onLeft = randomLeft ? "Pictures drawn at random" : "The unit dislikes these";
    const images = [...trial.images];
    const sides = [this.#side("left", images.splice(0, left.length)), null];
    this.#queries = images.splice(0, 2).map((image, row) => this.#query(image, row));
    sides[1] = this.#side("right", images.splice(0, right.length));
    this.#status = el("p", { class: "feedback", role: "status", "data-feedback": true });
    const board = el("div", { class: left.length ? "board" : "board alone" });
    board.append(...[sides[0], el("div", { class: "queries" }, this.#queries), sides[1]].filter(Boolean));
    const asked = left.length ? "Which picture goes with those on the right?" : "Which picture does the unit like more?";
    // the area itself takes the focus when someone clicks beside the buttons, so that keys go on working
    this.#area = el("section", { class: "trial", tabindex: "-1", "aria-label": "Trial" }, heading(asked), board, el("div", { class: "below" }, this.#status));
    this.#area.addEventListener("keydown", (event) => this.#key(event));
  }

  /** {button, rt} of the first press after the wait. */
  async answered(display) {
    const answer = new Promise((resolve) => (this.#answer = resolve));
    mark(this.stage, this.trial.trial, false);
    show(display, this.#area);
    this.#shown = await drawn();
    setTimeout(() => this.#start(), this.wait * 1000);
    return answer;
  }

  /** Says whether it was right, in words and with a frame, until the person goes on. */
  async feedback(right) {
    const chosen = this.#queries.findIndex((query) => query.dataset.chosen);
    const liked = right ? chosen : 1 - chosen;
    if (!right) this.#queries[chosen].classList.add("wrong");
    this.#queries[liked].classList.add("right");
    this.#status.classList.add(right ? "right" : "wrong");
    const on = button("Continue", { class: "main", "data-continue": true });
    this.#area.classList.add("told");
    const words = `${right ? "✓ Right" : "✗ Not right"}: the ${PLACES[liked].toLowerCase()} picture is the one that the unit likes.`;
    this.#status.textContent = words;
    this.#status.after(on);
    on.focus();
    await pressed(on);
  }

  #side(name, images) {
    if (!images.length) return null;
    const columns = images.length <= 3 ? 1 : images.length <= 6 ? 2 : 3;
    const grid = el("div", { class: "grid" }, images);
    grid.style.setProperty("--columns", columns);
    grid.style.setProperty("--rows", Math.ceil(images.length / columns));
    const place = name === "left" ? "Left" : "Right";
    images.forEach((image, number) => (image.alt = `${place}, ${number + 1}`));
    return el("div", { class: `side ${name}` }, el("h2", {}, name === "left" ? this.onLeft : "The unit likes these"), grid);
  }

  #query(image, row) {
    image.alt = `${PLACES[row]} picture`;
    const buttons = Array.from({ length: LEVELS }, (_, level) => {
      const number = row * LEVELS + level;
      const name = `${PLACES[row]} picture, confidence ${level + 1} of ${LEVELS}`;
      const one = button(level + 1, { "aria-label": name, "aria-pressed": "false", "data-button": number, disabled: true });
      one.addEventListener("click", (event) => this.#choose(number, event));
      return one;
    });
    this.#buttons.push(...buttons);
    const levels = el("div", { class: "levels" }, buttons);
    const scale = el("p", { class: "scale", "aria-hidden": "true" }, el("span", {}, "guess"), el("span", {}, "sure"));
    return el("fieldset", { class: "query" }, el("legend", { class: "unseen" }, `${PLACES[row]} picture`), image, levels, scale);
  }

  #start() {
    for (const one of this.#buttons) one.disabled = false;
    this.#area.classList.add("open");
    this.#open = true;
    mark(this.stage, this.trial.trial, true);
  }

  #key(event) {
    const digit = /^(?:Digit|Numpad)([1-6])$/.exec(event.code);
    if (!digit || event.repeat || event.ctrlKey || event.altKey || event.metaKey || !this.keys()) return;
    event.preventDefault();
    this.#choose(digit[1] - 1, event);
  }

  #choose(number, event) {
    if (!this.#open) return;
    this.#open = false;
    mark(this.stage, this.trial.trial, false);
    const one = this.#buttons[number];
    for (const other of this.#buttons) other.setAttribute("aria-disabled", "true");
    one.setAttribute("aria-pressed", "true");
    this.#area.classList.replace("open", "sent");
    this.#queries[Math.floor(number / LEVELS)].dataset.chosen = "1";
    this.#answer({ button: number, rt: event.timeStamp - this.#shown });
  }
}
