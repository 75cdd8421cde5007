/** Pictures of the trial on screen and of the next two, complete before they are shown. */

import { sha256 } from "./digest.js";
import { Refused, attempt, passing, pause } from "./net.js";

const FOR_PICTURE = 15_000; // ms for one picture, then again
const SAY_AFTER = 3; // attempts for one picture until the person is told
const AT_ONCE = 6; // requests at a time, what a browser opens to one host
const AHEAD = 4; // for trials to come: the answer of the present one must not wait behind them
const DISTANCE = 2; // trials ahead

export class Pictures {
  #net;
  #waiting = [];
  #running = 0;
  #limit = AT_ONCE;
  #sound = new Map(); // address -> promise that its bytes are what the server says
  #trials = new Map(); // index -> promise of a loaded trial

  constructor(net) {
    this.#net = net;
  }

  /** The trial of this index, as the server describes it, with `images` for its places. All of them are loaded, as long as
   * the server says, of its digest, and decoded; `progress(done, all)` is called on the way. Refused: no such trial now. */
  async present(index, progress) {
    this.#limit = AT_ONCE;
    const loading = this.#load(index);
    loading.watch(progress);
    const trial = await loading.trial;
    this.#limit = AHEAD;
    for (const other of this.#trials.keys()) if (other < index) this.#trials.delete(other);
    return trial;
  }

  /** Starts to load what follows a complete trial within its part. What goes wrong shows when it is waited for. */
  ahead(trial) {
    const left = trial.of - trial.number;
    for (let step = 1; step <= Math.min(DISTANCE, left); step++) this.#load(trial.trial + step);
  }

  /** Starts to load the first trial of a part that comes next, and then what follows it. */
  first(index) {
    this.#load(index).trial.then((trial) => this.ahead(trial), () => {});
  }

  #load(index) {
    const known = this.#trials.get(index);
    if (known) return known;
    const watchers = [];
    const loading = { watch: (progress) => watchers.push(progress) };
    loading.trial = this.#complete(index, (done, all) => watchers.forEach((watcher) => watcher(done, all)));
    loading.trial.catch(() => this.#trials.delete(index));
    this.#trials.set(index, loading);
    return loading;
  }

  async #complete(index, progress) {
    const trial = await this.#net.get(`/api/trial/${index}`);
    let done = 0;
    const one = async (picture) => {
      const image = await this.#image(picture);
      progress(++done, all.length);
      return image;
    };
    const all = trial.pictures ?? [...trial.left, trial.top, trial.bottom, ...trial.right];
    progress(0, all.length);
    return { ...trial, images: await Promise.all(all.map(one)) };
  }

  /** The very image that will be shown. */
  async #image(picture) {
    for (let number = 0; ; number++) {
      if (!this.#sound.has(picture.src)) this.#sound.set(picture.src, this.#check(picture));
      try {
        await this.#sound.get(picture.src);
        const image = new Image();
        image.src = picture.src; // from the browser's cache, where the checked bytes lie
        image.draggable = false;
        await Promise.race([image.decode(), late()]);
        return image;
      } catch (error) {
        this.#sound.delete(picture.src);
        if (error instanceof Refused) throw error;
        await pause(number);
      }
    }
  }

  async #check(picture) {
    for (let number = 0; ; number++) {
      await this.#turn();
      try {
        // what lies in the cache after a failure may be the failure itself
        const options = { cache: number ? "reload" : "default" };
        if (await attempt(picture.src, options, FOR_PICTURE, (reply) => sound(reply, picture))) {
          if (number >= SAY_AFTER) this.#net.tell("");
          return;
        }
      } catch (error) {
        if (error instanceof Refused) throw error;
        // fetch throws without a net, and where the body ends too early
      } finally {
        this.#done();
      }
      if (number + 1 >= SAY_AFTER) this.#net.lost();
      await pause(number);
    }
  }

  /** Waits for a free place among the requests. */
  #turn() {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#next();
    });
  }

  #done() {
    this.#running--;
    this.#next();
  }

  #next() {
    while (this.#running < this.#limit && this.#waiting.length) {
      this.#running++;
      this.#waiting.shift()();
    }
  }
}

/** Whether the body has the length and the digest that the server told. */
async function sound(reply, picture) {
  if (!reply.ok && !passing(reply.status)) throw new Refused(reply.status, {});
  const bytes = await reply.arrayBuffer();
  return reply.ok && bytes.byteLength === picture.bytes && sha256(bytes) === picture.sha256;
}

const late = () => new Promise((_, reject) => setTimeout(reject, FOR_PICTURE, new Error("not decoded in time")));
