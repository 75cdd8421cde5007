/** The rating page: a description, pictures to tick, and an explicit "none of them". */

import { button, drawn, el, mark, pressed, show } from "./dom.js";

/** {picked, none, seconds} of one page: `picked` are places from 0, `seconds` run from the second frame on. */
export async function rated(display, trial, stage) {
  const boxes = trial.images.map((image, place) => {
    image.alt = `Picture ${place + 1}`;
    return el("input", { type: "checkbox", "data-picture": place });
  });
  const cells = boxes.map((box, place) => el("label", { class: "pick" }, box, trial.images[place]));
  const none = el("input", { type: "checkbox", "data-none": true });
  const count = el("p", { class: "feedback", role: "status", "data-feedback": true });
  const send = button("Send", { class: "main", "data-send": true, disabled: true });
  const legend = el("legend", {}, "Tick every picture that shows it, even if only a part of the picture does.");
  const grid = el("fieldset", { class: "picks" }, legend, el("div", { class: "cells" }, cells));
  const nothing = el("label", { class: "nothing" }, none, el("span", {}, "None of them"));
  const picked = () => boxes.flatMap((box, place) => (box.checked ? [place] : []));
  const changed = (event) => {
    if (event.target === none && none.checked) for (const box of boxes) box.checked = false;
    else if (event.target.checked) none.checked = false;
    const number = picked().length;
    send.disabled = !number && !none.checked;
    count.textContent = none.checked ? "None of them" : number ? `${number} of ${boxes.length} ticked` : "";
  };
  const asked = el("p", { class: "asked" }, "Which pictures show this?");
  const text = el("h1", { class: "description", tabindex: "-1" }, trial.text);
  const end = el("div", { class: "sending" }, nothing, count, send);
  const area = el("section", { class: "rating", "aria-label": "Pictures to tick" }, asked, text, grid, end);
  area.addEventListener("change", changed);
  const sent = pressed(send); // heard from now on: the first frames of a slow page may take long
  mark(stage, trial.trial, true);
  show(display, area);
  const start = await drawn();
  await sent;
  const seconds = (performance.now() - start) / 1000;
  mark(stage, trial.trial, false);
  for (const box of [...boxes, none]) box.disabled = true;
  return { picked: picked(), none: none.checked, seconds };
}

/** What raters will do. */
export function explained(state) {
  return [
    el("p", { class: "lead" }, "Each page shows one short description and a set of pictures. You tick the pictures that show what is described."),
    el("ul", {},
      el("li", {}, "Read the description, then look at every picture."),
      el("li", {}, "Tick a picture if it shows what is described, even if only small or in a corner."),
      el("li", {}, "If no picture shows it, tick ", el("strong", {}, "None of them"), ". A page without any tick cannot be sent."),
      el("li", {}, `There are ${state.n_trials} such pages. There is no time limit.`),
      el("li", {}, "If the page is closed by accident, open it again in the same browser: you go on where you were.")),
  ];
}
