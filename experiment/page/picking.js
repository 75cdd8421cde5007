/** Pages on which one thing is picked: a cell of a picture, or one of some texts. Only runs of such pages load this. */

import { button, drawn, el, mark, pressed, show } from "./dom.js";

const sheetOfStyles = el("link", { rel: "stylesheet", href: "/static/picking.css" });
const styled = new Promise((done) => ["load", "error"].forEach((name) => sheetOfStyles.addEventListener(name, done)));
document.head.append(sheetOfStyles);

/** Up and down in a grid of `side` cells a row; left and right are the browser's. */
function vertical(event, boxes, side) {
  const step = { ArrowUp: -side, ArrowDown: side }[event.key];
  const from = boxes.indexOf(event.target);
  if (!step || from < 0) return;
  event.preventDefault();
  const to = boxes[from + step];
  if (!to) return;
  to.focus();
  to.click();
}

/** {picked, none, seconds} of one page: `picked` holds one place from 0, `seconds` run from the second frame on. */
export async function rated(display, trial, stage) {
  await styled;
  const { side, texts } = trial;
  const images = [...trial.images];
  const query = side ? images.pop() : null;
  images.forEach((image, number) => (image.alt = `Example ${number + 1}`));
  const called = side ? Array.from({ length: side * side }, (_, place) => `Row ${Math.floor(place / side) + 1}, column ${(place % side) + 1}`) : texts;
  const boxes = called.map((name, place) => el("input", { type: "radio", name: "picked", "data-picture": place, "aria-label": side ? name : null }));
  const choices = boxes.map((box, place) => el("label", { class: side ? "cell" : "text" }, box, side ? null : el("span", {}, called[place])));
  const columns = images.length <= 3 ? 1 : images.length <= 4 ? 2 : 3;
  const examples = el("div", { class: "examples" }, images);
  examples.style.setProperty("--columns", columns);
  const legend = el("legend", {}, side ? "The new picture" : "Which words fit best?");
  const grid = el("div", { class: side ? "lattice" : "texts" }, choices);
  if (side) {
    query.alt = "The new picture, cut into cells";
    grid.style.setProperty("--side", side);
  }
  const asked = el("fieldset", { class: "one" }, legend, side ? el("div", { class: "over" }, query, grid) : grid);
  const said = el("p", { class: "feedback", role: "status", "data-feedback": true });
  const send = button("Send", { class: "main", "data-send": true, disabled: true });
  const title = el("h1", { tabindex: "-1" }, side ? "Where is what the unit likes?" : "What does the unit like?");
  const board = el("div", { class: "picking" }, el("section", { "aria-label": "Examples" }, el("h2", {}, "The unit likes these"), examples), asked);
  const area = el("section", { class: "rating", "aria-label": "One to pick" }, title, board, el("div", { class: "sending" }, send, said));
  const place = () => boxes.findIndex((box) => box.checked);
  area.addEventListener("change", () => {
    send.disabled = false;
    said.textContent = called[place()];
  });
  if (side) area.addEventListener("keydown", (event) => vertical(event, boxes, side));
  const sent = pressed(send); // heard from now on: the first frames of a slow page may take long
  mark(stage, trial.trial, true);
  show(display, area);
  const start = await drawn();
  await sent;
  const seconds = (performance.now() - start) / 1000;
  mark(stage, trial.trial, false);
  for (const box of boxes) box.disabled = true;
  return { picked: [place()], none: false, seconds };
}

/** What people will do. */
export function explained(state) {
  const li = (...children) => el("li", {}, ...children);
  const where = state.kind === "localize";
  return [
    el("p", { class: "lead" }, "A computer that recognises pictures has many small units. Each unit likes some pictures more than others. You find out what a unit likes from examples."),
    el("ul", {},
      li("Look at the examples: what do they share? It may be a thing, a part, a shape, a colour or a pattern."),
      where ? li("Beside them is a new picture, cut into cells. ", el("strong", {}, "Choose the cell where you think the unit finds most of what it likes.")) : null,
      where ? null : li("Beside them are some descriptions. ", el("strong", {}, "Choose the one that fits best what the examples share.")),
      li(where ? "With a keyboard: the tabulator leads into the picture, arrows choose a cell." : "With a keyboard: the tabulator leads to the descriptions, arrows choose one."),
      li("Every page is about another unit or another picture. Some are easy, some are hard; if nothing strikes you, follow your first impression."),
      li(`There are ${state.n_trials} such pages. There is no time limit.`),
      li("If the page is closed by accident, open it again in the same browser: you go on where you were.")),
  ];
}
