/** Building pages: every text goes in as text, never as HTML. */

/** A new element. Attributes that are true stand without a value, those that are false or null are left out. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child != null));
  return node;
}

/** A heading that can take the focus, so that a screen reader starts with it. */
export const heading = (text) => el("h1", { tabindex: "-1" }, text);

/** Puts a page on the display and the focus on its heading. */
export function show(display, ...children) {
  display.replaceChildren(...children);
  const title = display.querySelector("h1");
  document.title = `${title.textContent} · ${document.getElementById("title").textContent}`;
  scrollTo(0, 0);
  title.focus({ preventScroll: true });
}

/** A page of text in a column of readable width. */
export const sheet = (...children) => el("div", { class: "sheet" }, ...children);

/** A button. A key that is held down presses it once: the page after it may have its button under the same key. */
export function button(text, attributes = {}) {
  const node = el("button", { type: "button", ...attributes }, text);
  node.addEventListener("keydown", (event) => event.repeat && event.preventDefault());
  return node;
}

/** Which of the buttons was pressed first; none works after it. */
export function pressed(...buttons) {
  return new Promise((resolve) => {
    for (const one of buttons) {
      one.addEventListener("click", () => {
        for (const other of buttons) other.disabled = true;
        resolve(one);
      });
    }
  });
}

/** When the second frame from now is drawn: what was put on the page is visible then (milliseconds). */
export async function drawn() {
  await new Promise(requestAnimationFrame);
  return new Promise(requestAnimationFrame);
}

/** What tests and rehearsals read: the stage, the trial that is shown, and whether its buttons work. */
export function mark(stage, trial, ready) {
  const marks = document.documentElement.dataset;
  for (const [name, value] of Object.entries({ stage, trial, ready: ready ? "1" : undefined })) {
    if (value === undefined) delete marks[name];
    else marks[name] = value;
  }
}
