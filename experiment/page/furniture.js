/** What stands around the pages: title, progress, the switch for keys, contact, the way out, and the wait for pictures. */

import { el, heading, sheet, show } from "./dom.js";

const SOON = 300; // ms before a wait is worth a page of its own
const at = (id) => document.getElementById(id);

/** Brings the frame of the page to a state. */
export function furniture(state) {
  at("title").textContent = state.title;
  at("title").lang = state.language;
  at("rehearsal").hidden = state.source !== "simulated";
  at("keys").hidden = state.stage !== "practice" && state.stage !== "main";
  at("contact").textContent = state.contact ? `Questions: ${state.contact}` : "";
  document.querySelector("[data-leave]").hidden = !state.session || state.stage === "end";
  at("progress").replaceChildren(...(state.trial ? progress(state) : []));
}

function progress({ stage, kind, block, blocks, trial }) {
  const part = stage === "practice" ? `Practice, block ${block} of at most ${blocks} · ` : "";
  const words = `${part}${kind === "ratings" ? "Page" : "Trial"} ${trial.number} of ${trial.of}`;
  const bar = el("progress", { max: trial.of, value: trial.number - 1, "aria-label": "Done so far" });
  return [bar, el("span", {}, words)];
}

/** A page for a wait that is not over soon; for pictures it says how many are there. */
export function waiting(display, title) {
  const said = el("p", { role: "status" }, "One moment, please.");
  const bar = el("progress", { max: 1, "aria-label": title });
  const timer = setTimeout(() => show(display, sheet(heading(title), bar, said)), SOON);
  return {
    progress(done, all) {
      bar.max = all;
      bar.value = done;
      said.textContent = `${done} of ${all} are there.`;
    },
    stop: () => clearTimeout(timer),
  };
}
