/** Who comes from which platform. The ids leave the address at once and wait in this tab until the server has them. */

const PLATFORMS = { prolific: "PROLIFIC_PID", mturk: "workerId" };
const NAME = "person";
const store = navigator.cookieEnabled ? sessionStorage : null; // where cookies are off, touching it is an error

/** {platform, person} of the address, or of an earlier load of this tab; `fresh` if the address had it. */
export function arrived() {
  const query = new URLSearchParams(location.search);
  if (location.search || location.hash) history.replaceState(null, "", location.pathname);
  for (const [platform, key] of Object.entries(PLATFORMS)) {
    const person = query.get(key);
    if (person) {
      store?.setItem(NAME, JSON.stringify({ platform, person }));
      return { platform, person, fresh: true };
    }
  }
  const kept = store?.getItem(NAME);
  return { ...(kept ? JSON.parse(kept) : { platform: "direct", person: null }), fresh: false };
}

export const forget = () => store?.removeItem(NAME);
