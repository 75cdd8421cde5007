/** Requests to our server, repeated until they are answered. */

const PAUSES = [250, 500, 1000, 2000]; // ms between attempts; the last one stays, so that a page is back within 3 s
const FOR_ANSWER = 10_000; // ms for one answer
const LOST = "No connection at the moment. Nothing is lost: this page keeps trying and goes on by itself.";

/** The server will not do it, however often it is asked. */
export class Refused extends Error {
  constructor(status, body) {
    super(body.message ?? `The server answered ${status}.`);
    this.status = status;
    this.error = body.error;
    this.state = body.state;
  }
}

/** Waits, but not longer than until the net is back. */
export function pause(attempt) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, PAUSES[Math.min(attempt, PAUSES.length - 1)]);
    addEventListener("online", done);
  });
}

/** One attempt that ends after some time, or when the net is back: what hung before would go on hanging. Returns what
 * `read` makes of the response. */
export async function attempt(address, options, patience, read) {
  const stop = new AbortController();
  const abort = () => stop.abort();
  const timer = setTimeout(abort, patience);
  addEventListener("online", abort);
  try {
    return await read(await fetch(address, { credentials: "same-origin", ...options, signal: stop.signal }));
  } finally {
    clearTimeout(timer);
    removeEventListener("online", abort);
  }
}

/** Whether asking again may help. */
export const passing = (status) => status >= 500 || status === 408 || status === 429;

export class Net {
  /** `line` is the element that says what is wrong with the net. */
  constructor(line) {
    this.line = line;
    this.session = null;
  }

  /** Says what is wrong, or that nothing is. */
  tell(trouble) {
    if (this.line.textContent !== trouble) this.line.textContent = trouble;
  }

  lost() {
    this.tell(LOST);
  }

  get(path) {
    return this.#ask(path, { cache: "no-store" });
  }

  /** The answer to a POST. A conflict (another tab was first) that comes with a state is an answer too. */
  async post(path, body) {
    const headers = { "Content-Type": "application/json" };
    if (this.session) headers["X-Session"] = this.session;
    try {
      return await this.#ask(path, { method: "POST", headers, body: JSON.stringify(body) });
    } catch (error) {
      if (error instanceof Refused && error.status === 409 && error.state) return { state: error.state, conflict: error };
      throw error;
    }
  }

  async #ask(path, options) {
    for (let number = 0; ; number++) {
      try {
        const [status, body] = await attempt(path, options, FOR_ANSWER, async (reply) => [reply.status, await reply.json()]);
        if (status < 300) {
          this.tell("");
          return body;
        }
        if (!passing(status)) throw new Refused(status, body);
        if (status !== 429) this.tell(body.message ?? LOST);
      } catch (error) {
        if (error instanceof Refused) throw error;
        this.lost(); // no net, no server, an answer cut short: fetch and json() throw
      }
      await pause(number);
    }
  }
}
