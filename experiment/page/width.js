/** Windows that are too narrow for the two sides. */

import { closed } from "./pages.js";

const WIDTH = 800; // CSS pixels

/** Enlarged text makes a window narrow too, and must not shut anyone out: its outer width stays. */
const narrow = () => Math.max(innerWidth, outerWidth) < WIDTH;

/** Waits until the window is wide enough, where the study demands it. */
export async function wide(display, rule) {
  if (rule !== "refuse" || !narrow()) return;
  document.documentElement.dataset.narrow = "1";
  closed(display, "This window is too narrow", `The pictures need at least ${WIDTH} pixels. Make the window wider, turn your tablet, or use a computer: this page goes on by itself.`);
  await new Promise((resolve) => {
    const check = () => {
      if (narrow()) return;
      removeEventListener("resize", check);
      resolve();
    };
    addEventListener("resize", check);
  });
  delete document.documentElement.dataset.narrow;
}
