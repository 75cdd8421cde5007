/** The run through a session. The server's state says what comes next, after every answer and every load of the page. */

import { mark } from "./dom.js";
import { furniture, waiting } from "./furniture.js";
import { Net, Refused, pause } from "./net.js";
import { closed, commented, consented, ended, instructed, message } from "./pages.js";
import { arrived, forget } from "./person.js";
import { Pictures } from "./pictures.js";
import { Trial } from "./trial.js";
import { wide } from "./width.js";

const VERSION = "1.0.0";
const ALIVE = 60_000; // ms between two signs of life
const net = new Net(document.querySelector("[data-net]"));
const pictures = new Pictures(net);
const person = arrived();
const main = document.getElementById("main");
let state = null;
let introduced = 0; // the practice block that was announced

/** The state that counts from now on. */
function enter(next) {
  state = next;
  net.session = next.session ?? null;
  mark(next.stage);
  furniture(next);
}

async function tell(path, body) {
  enter((await net.post(path, body)).state);
}

/** A plugin of jsPsych whose trial is `run`, and its place on the timeline: only in these stages. */
function step(name, stages, run) {
  class Plugin {
    static info = { name, version: VERSION, parameters: {}, data: {} };
    trial(display) {
      main.tabIndex = -1; // jsPsych makes it a stop of the tabulator, without a name
      return guarded(() => run(display), display);
    }
  }
  return { timeline: [{ type: Plugin }], conditional_function: () => stages.includes(state.stage) };
}

/** Goes on with the server's state where what the page wanted is not its turn; what else goes wrong ends on a page. */
async function guarded(run, display) {
  try {
    await run();
  } catch (error) {
    if (error instanceof Refused && [404, 409].includes(error.status)) {
      await pause(1);
      return enter(await net.get("/api/state"));
    }
    mark("trouble");
    if (error.status === 401) {
      await closed(display, "This session has ended", "The server does not know it any more. Load this page again to start anew.");
    }
    closed(display, "Something went wrong", `Please load this page again. ${error.message}`);
    throw error;
  }
}

/** No session yet: one starts, unless the study is closed. */
async function arrive(display) {
  if (!state.open) {
    await closed(display, "This study is closed", state.message ?? "It takes no more people at the moment.");
  }
  if (!navigator.cookieEnabled) {
    await closed(display, "This page needs a cookie", "One cookie says which answers are yours. Please allow it and load this page again.");
  }
  await wide(display, state.narrow);
  const wait = waiting(display, state.title);
  await begin().finally(wait.stop);
}

/** A session for this person, or the one that the browser has already. */
async function begin() {
  const { platform, person: id } = person;
  const reply = await net.post("/api/session", { platform, person: id, screen: { width: screen.width, height: screen.height } });
  enter(reply.state ?? reply); // the state itself, or beside the reason of a refusal
  forget();
}

async function consent(display) {
  await tell("/api/consent", { agreed: await consented(display, state) });
}

/** The script of pages of one kind, which other kinds never load. */
const own = () => import(`/static/${state.script}.js`);

async function instructions(display) {
  pictures.first(state.first);
  const explained = state.script && (await own()).explained(state);
  await tell("/api/instructions", { seconds: await instructed(display, state, explained) });
}

async function ready(display) {
  pictures.first(state.first);
  const words = ["You had a whole block right.", `Now the study begins: ${state.n_trials} trials like those of the practice.`];
  if (state.n_explanations === 0) words.push("From now on there are no examples on the sides: choose the picture that you think the unit likes.");
  if (state.feedback !== "all") words.push("You no longer see whether an answer was right.");
  await message(display, "Now the real ones", words, "Go on");
  await tell("/api/ready", {});
}

/** Another block of practice is announced before its first trial. */
async function announce(display) {
  const { block, blocks, trial } = state;
  if (state.stage !== "practice" || block === 1 || trial.number > 1 || introduced === block) return;
  introduced = block;
  pictures.first(trial.trial);
  const words = ["Not every answer of the last block was right, so here is another one.", `This is block ${block} of at most ${blocks}.`];
  await message(display, "Another round of practice", words, "Go on");
}

/** The trial of the state, complete. */
async function present(display) {
  await wide(display, state.narrow);
  const wait = waiting(display, "Loading pictures");
  try {
    const trial = await pictures.present(state.trial.trial, wait.progress);
    pictures.ahead(trial);
    return trial;
  } finally {
    wait.stop();
  }
}

const key = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

async function choose(display) {
  await announce(display);
  const trial = await present(display);
  const page = new Trial(trial, { wait: state.wait, stage: state.stage, keys: () => document.querySelector("[data-keys]").checked, randomLeft: state.random_left });
  const answer = await page.answered(display);
  const reply = await net.post("/api/answer", { trial: trial.trial, key: key(), ...answer });
  if (!reply.conflict && reply.right !== null) await page.feedback(reply.right);
  enter(reply.state);
}

async function rate(display) {
  const trial = await present(display);
  const rating = await (await own()).rated(display, trial, state.stage);
  await tell("/api/rating", { trial: trial.trial, key: key(), ...rating });
}

async function comment(display) {
  await tell("/api/comment", { text: await commented(display) });
}

async function end(display) {
  await ended(display, state);
  await begin(); // raters may come again
}

/** A sign of life while a person does something. */
function alive() {
  let active = false;
  for (const name of ["pointermove", "pointerdown", "keydown", "scroll"]) addEventListener(name, () => (active = true), { passive: true });
  setInterval(() => {
    if (!active || !net.session || state.stage === "end") return;
    active = false;
    net.post("/api/alive", {}).catch((error) => {
      if (!(error instanceof Refused)) throw error; // a refused answer shows itself where it matters
    });
  }, ALIVE);
}

/** Stopping for good, after a question. */
function leaving() {
  const dialog = document.getElementById("leaving");
  document.querySelector("[data-leave]").addEventListener("click", () => dialog.showModal());
  dialog.querySelector("[data-stay]").addEventListener("click", () => dialog.close());
  dialog.querySelector("[data-leave-now]").addEventListener("click", async () => {
    await net.post("/api/leave", {}).finally(() => location.reload());
  });
}

addEventListener("pageshow", (event) => event.persisted && location.reload()); // the page as it was is not the state as it is
leaving();
alive();
enter(await net.get("/api/state"));
if (state.stage === "end" && person.fresh) await begin(); // again by the platform's link: the server says what that means
const steps = [
  step("arrival", ["none"], arrive),
  step("consent", ["consent"], consent),
  step("instructions", ["instructions"], instructions),
  step("two-alternative", ["practice", "main"], choose),
  step("ready", ["ready"], ready),
  step("rating", ["rating"], rate),
  step("comment", ["comment"], comment),
  step("end", ["end"], end),
];
await initJsPsych({ display_element: main }).run([{ timeline: steps, loop_function: () => true }]);
