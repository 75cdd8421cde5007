// Kinds of explanation of one unit, side by side. Called by main.js; everything is set as text.
const kindsOf = (data, { make, nine, score, signed }) => {
  const { names, synthetic, statuses, below, bound, of, made, outside } = data.kinds;
  const SIDES = ["Least exciting", "Most exciting"];
  const several = new Set(Object.values(of).flat().map((kind) => kind[1]).filter((set) => set >= 0)).size > 1;
  const hundredths = (value) => signed(value / 100, 2);

  const side = (groups, words, title) => {
    if (groups.length === 0) return make("p", { class: "nothing soft" }, "no image");
    const grids = groups.map((ids, place) =>
      nine(ids, `${title}, ${words}${groups.length > 1 ? `, topic ${place + 1}` : ""}`));
    return make("div", { class: "topics" }, grids);
  };
  // what the images made for a side reach: 1 is the most extreme natural picture, 0 the median
  const reached = ([, place, status, best, weakest, kept, atPlace]) => [
    [`${place ? "+" : "−"} ${status === below && best > 100 ? "not all beyond nature" : statuses[status]}`,
      best === null ? null : `${weakest === null ? "ratio" : "best"} ${hundredths(best)}`].filter(Boolean).join(": "),
    weakest === null ? null : `weakest ${hundredths(weakest)}`,
    kept === null ? null : `${kept} % kept after a shift of 3 px`,
    atPlace ? bound : null,
  ].filter(Boolean).join(", ");
  const card = (row, [kind, set, value, error, chosen, least, most]) => {
    const title = names[kind] + (set >= 0 && several ? `, set ${set + 1}` : "");
    const facts = [
      value === null ? "no score" : `MIS ${score(value)} ± ${score(error)}`,
      chosen === null || set > 0 ? null : `chosen in ${Math.round(chosen / 1e4)} % of the choices${set === 0 && several ? " (sets together)" : ""}`,
    ].filter(Boolean).join(" · ");
    const sides = kind === synthetic ? (made[row] || []).filter((each) => each[0] === set) : [];
    return make("li", {},
      make("h3", { class: "h" }, title),
      make("div", { class: "sides", "aria-hidden": "true" }, make("span", {}, "− least exciting"), make("span", {}, "most exciting +")),
      make("div", { class: "pair" }, side(least, SIDES[0].toLowerCase(), title), side(most, SIDES[1].toLowerCase(), title)),
      make("p", { class: "num" }, facts),
      sides.sort((a, b) => a[1] - b[1]).map((each) => make("p", { class: "small soft num" }, reached(each))));
  };
  const part = (row, model) => {
    const kinds = of[row];
    if (!kinds) return [];
    const note = [
      "Each kind shows the explanations of the unit’s first task; queries are the same natural pictures throughout.",
      made[row] ? "Ratio of a made image: 0 is a middling natural picture, 1 the most extreme one of its side." : null,
      made[row] && outside.models.includes(model) ? `A network with attention: ${outside.words}.` : null,
    ].filter(Boolean).join(" ");
    return [make("section", { class: "ways" }, make("h2", { class: "h" }, "Explained in several ways"), make("p", { class: "small soft" }, note),
      make("ul", { class: "kinds" }, kinds.map((kind) => card(row, kind))))];
  };
  return { any: Object.keys(of).length > 0, has: (row) => row in of, part };
};
