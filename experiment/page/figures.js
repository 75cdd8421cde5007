// Small pieces of the researcher's page. Everything from the server becomes text nodes; nothing is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

const filled = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes))
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined).map((child) => child instanceof Node ? child : String(child)));
  return node;
};
export const el = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

export const number = (value, digits = 0) =>
  value === null || value === undefined ? "–" : value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
export const percent = (value) => (value === null || value === undefined ? "–" : `${number(100 * value)} %`);
export const share = (value) => number(value, 3);
export const money = (value, currency) => (value === null || value === undefined ? "–" : `${number(value, 2)} ${currency}`);
export const time = (seconds) => (seconds === null || seconds === undefined ? "–" : new Date(1000 * seconds).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }));

/** A section with a heading; `wide` takes the whole width. */
export const card = (title, attributes, ...children) => {
  const id = `card-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return el("section", { class: "card", "aria-labelledby": id, ...attributes }, el("h2", { id }, title), ...children);
};

/** Number and name, as in a list of figures. */
export const tiles = (...pairs) =>
  el("dl", { class: "tiles" }, pairs.map(([name, value, note, mark]) =>
    el("div", mark ? { class: mark } : {}, el("dt", {}, name), el("dd", {}, value), note ? el("dd", { class: "faint" }, note) : null)));

/** A table with a caption; heads are [text, class] or text; the first cell of a row is its heading. */
export const table = (caption, heads, rows, empty = "nothing yet") => {
  const cells = heads.map((head) => (Array.isArray(head) ? head : [head, ""]));
  const scope = (row) => row.map((cell, at) => at === 0
    ? el("th", { scope: "row", class: cells[at][1] || null }, cell)
    : el("td", { class: cells[at][1] || null }, cell));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {},
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, cells.map(([text, kind]) => el("th", { scope: "col", class: kind || null }, text)))),
      el("tbody", {}, rows.length ? rows.map((row) => el("tr", {}, scope(row)))
        : el("tr", {}, el("td", { colspan: String(heads.length), class: "faint" }, empty)))));
};

/** A share from 0 to 1 as a bar. */
export const bar = (value, label) => svg("svg", { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", role: "img", "aria-label": label },
  svg("rect", { class: "rail", width: 100, height: 8 }),
  svg("rect", { class: "fill", width: Math.max(0, Math.min(100, 100 * (value || 0))), height: 8 }));

/** A mean with its interval on a line from `from` to 1, with a mark at chance. */
export const interval = (mean, low, high, label, from = 0.4) => {
  const at = (value) => 100 * (Math.max(value, from) - from) / (1 - from);
  return svg("svg", { class: "strip", viewBox: "0 0 100 20", preserveAspectRatio: "none", role: "img", "aria-label": label },
    svg("line", { class: "axis", x1: 0, x2: 100, y1: 10, y2: 10 }),
    svg("line", { class: "chance", x1: at(0.5), x2: at(0.5), y1: 1, y2: 19 }),
    low === null ? null : svg("rect", { class: "range", x: at(low), width: Math.max(at(high) - at(low), 0.5), y: 5, height: 10 }),
    mean === null ? null : svg("rect", { class: "mean", x: at(mean) - 0.6, width: 1.2, y: 2, height: 16 }));
};

/** Counts as bars, each from `parts` [[class, height], ...] stacked; `line` is drawn at that height. */
export const columns = (stacks, label, line = null) => {
  const most = Math.max(1, line || 0, ...stacks.map((parts) => parts.reduce((sum, [, height]) => sum + height, 0)));
  const width = 100 / Math.max(stacks.length, 1);
  const gap = stacks.length > 60 ? 0 : width * 0.15;
  const bars = stacks.map((parts, at) => {
    let top = 50;
    return parts.map(([kind, height]) => {
      const high = 48 * height / most;
      top -= high;
      return height ? svg("rect", { class: kind, x: at * width + gap / 2, width: width - gap, y: top, height: high }) : null;
    });
  });
  return svg("svg", { class: "columns", viewBox: "0 0 100 50", preserveAspectRatio: "none", role: "img", "aria-label": label }, bars,
    svg("line", { class: "axis", x1: 0, x2: 100, y1: 50, y2: 50 }),
    line === null ? null : svg("line", { class: "wanted", x1: 0, x2: 100, y1: 50 - 48 * line / most, y2: 50 - 48 * line / most }));
};
