// Texts of units: what they say, how well, and what raters saw. Called by main.js; everything is set as text.
const textsOf = (data, { make, draw, thumb, score, signed, count }) => {
  const SCORE = 1e6;
  const all = data.texts.of;
  // a text as data.texts.of holds it, by name
  const FACTS = ["rho", "se", "recall", "control", "rated", "low", "high", "guide", "known", "n"];
  const read = ([word, method, kind, status, ...facts]) => ({
    words: data.texts.words[word], method: data.texts.methods[method], kind: data.texts.kinds[kind],
    status: data.texts.statuses[status],
    ...Object.fromEntries(FACTS.map((name, place) => [name, facts[place]])),
  });
  const of = (row) => (all[row] || []).map(read);
  const rho = (value) => (value === null || value === undefined ? "–" : signed(value / SCORE, 3));
  const best = (row) => {
    const first = all[row] && read(all[row][0]);
    return first ? first.rated ?? first.rho : null;
  };
  const short = (words, most) => (words.length > most ? `${words.slice(0, most - 1)}…` : words);
  const line = (row) => {
    const first = read(all[row][0]);
    return `“${short(first.words, 60)}” ρ ${rho(first.rated ?? first.rho)}`;
  };
  const searched = Object.fromEntries(Object.entries(all).map(([row, texts]) =>
    [row, texts.map(([word, method]) => `${data.texts.words[word]} ${data.texts.methods[method]}`).join(" ").toLowerCase()]));

  // ---------------------------------------------------------------- scores of the texts of a unit
  const within = (t) => (t.low === null || t.high === null ? "" : ` (${rho(t.low)} to ${rho(t.high)})`);
  const COLUMNS = [
    ["automatic", "rho", (t) => `${rho(t.rho)}${t.se === null ? "" : ` ± ${score(t.se)}`}`],
    ["of other units", "control", (t) => rho(t.control)],
    ["top pictures alone", "recall", (t) => rho(t.recall)],
    ["from ratings", "rated", (t) => `${rho(t.rated)}${within(t)}`],
    ["guide alone", "guide", (t) => rho(t.guide)],
    ["known", "known", (t) => rho(t.known)],
    ["ratings", "n", (t) => (t.n === null ? "–" : count(t.n))],
  ];
  const table = (texts) => {
    const shown = COLUMNS.filter(([, name]) => texts.some((t) => t[name] !== null));
    return make("div", { class: "part beside" }, make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Table: texts of the unit" },
      make("table", { class: "said" }, make("caption", {}, make("span", {}, "Correlation of the unit with what each text predicts")),
        make("thead", {}, make("tr", {}, ["text", "method"].map((words) => make("th", { scope: "col" }, words)),
          shown.map(([words]) => make("th", { scope: "col", class: "n" }, words)))),
        make("tbody", {}, texts.map((t) => make("tr", {}, make("th", { scope: "row" }, t.words), make("td", {}, t.method),
          shown.map(([, , words]) => make("td", { class: "n" }, words(t)))))))));
  };

  // ---------------------------------------------------------------- one text
  const numbers = ([low, high, steps]) => Array.from(atob(steps), (c) => low + ((high - low) * c.charCodeAt(0)) / 255);
  const scatter = (points, place, words) => {
    const values = numbers(points.values), predicted = numbers(points.of[place]);
    const [left, top, width, height] = [52, 8, 240, 170];
    const span = (own) => [Math.min(...own), Math.max(...own)];
    const [fromX, toX] = span(predicted), [fromY, toY] = span(values);
    const few = new Set(predicted).size <= 2; // marks of two columns are spread within them
    const x = (value, at) => left + 12 + ((width - 24) * (value - fromX)) / (toX - fromX || 1) + (few ? 20 * (((at * 0.618034) % 1) - 0.5) : 0);
    const y = (value) => top + height - 6 - ((height - 12) * (value - fromY)) / (toY - fromY || 1);
    const label = (at, up, anchor, text) => draw("text", { x: at, y: up, "text-anchor": anchor }, text);
    const plain = (value) => String(Number(value.toPrecision(2))).replace("-", "−");
    const middle = (value) => x(value, 0.5 / 0.618034); // of marks that are spread
    const range = (low, high) => (low === high ? plain(low) : `${plain(low)} to ${plain(high)}`);
    return draw("svg", {
      class: "scatter", viewBox: "0 0 300 214", role: "img",
      "aria-label": `What “${words}” predicts (${range(fromX, toX)}) against what the unit does (${range(fromY, toY)}), ${values.length} pictures`,
    },
    draw("path", { d: `M${left} ${top}V${top + height}H${left + width}`, class: "axes" }),
    draw("g", { class: "points" }, ...values.map((value, at) => draw("circle", { cx: x(predicted[at], at).toFixed(1), cy: y(value).toFixed(1), r: 2.6 }))),
    label(middle(fromX), top + height + 15, "middle", plain(fromX)),
    ...(toX === fromX ? [] : [label(middle(toX), top + height + 15, "middle", plain(toX))]),
    label(left - 5, top + height - 2, "end", plain(fromY)), label(left - 5, top + 10, "end", plain(toY)),
    label(left + width / 2, top + height + 32, "middle", "predicted by the text"),
    draw("text", { x: -(top + height / 2), y: 14, transform: "rotate(-90)", "text-anchor": "middle" }, "activation"));
  };
  const pictures = (rated) => make("ul", { class: "rated" }, rated.map(([id, yes, n, posterior]) => {
    const words = `${yes} of ${n}`;
    const label = data.labels[data.label[id]];
    return make("li", {}, make("span", { role: "img", "aria-label": `${label || "picture"}: ${words} yes` }, thumb(id)),
      make("span", { class: yes * 2 > n ? "yes" : "no" }, words), posterior === null ? null : make("small", {}, `P ${posterior} %`));
  }));
  // a block for each text, whatever number of methods say it: points and pictures stand at its first place
  const one = (row, place, text, methods, open) => {
    const points = data.texts.points[row], rated = (data.texts.rated[row] || {})[place];
    const drawn = points && place in points.of;
    if (!drawn && !rated) return null;
    return make("details", { open, class: "one" },
      make("summary", {}, make("b", {}, `“${text.words}”`), `, ${methods.join(", ")}: ρ ${rho(text.rated ?? text.rho)}`),
      make("div", { class: "text" },
        drawn ? make("figure", {}, scatter(points, place, text.words), make("figcaption", { class: "small soft" }, sample)) : null,
        rated ? make("div", {}, make("p", { class: "small soft" }, `How many ${data.texts.raters} say that a picture shows it: ${rated.shown.length === rated.of ? `all ${rated.of}` : `${rated.shown.length} of ${rated.of}`} rated pictures, the most exciting ones first. P: probability that a picture shows it, by all ratings and the guide.`), pictures(rated.shown)) : null));
  };
  const sample = `The ${Math.min(data.texts.nTop, data.texts.nImages)} most exciting of ${count(data.texts.nImages)} pictures, and others evenly spaced along the activation.`;
  const part = (row) => {
    const texts = of(row);
    if (texts.length === 0) return [];
    const said = data.texts.rated[row] || {}, firstRated = Object.keys(said)[0]; // keys ascend
    const blocks = texts.map((text, place) => {
      const methods = texts.filter((other) => other.words === text.words && other.kind === text.kind).map((other) => other.method);
      return one(row, place, text, methods, place === 0 || String(place) === firstRated);
    }).filter(Boolean);
    const status = [...new Set(texts.map((text) => text.status).filter(Boolean))];
    return [make("section", { class: "says-of-it" },
      make("h2", { class: "h" }, "What texts say of it"), table(texts),
      make("p", { class: "small soft" }, [`Automatic: on pictures that no text was made from, by ${data.texts.predictedBy}.`, ...(row in data.texts.left ? [`${data.texts.left[row]} more texts of lower scores are in data/explanations/scores.parquet.`] : []), ...status.map((words) => `Scores from ratings: ${words}.`)].join(" ")),
      blocks)];
  };
  return { any: Object.keys(all).length > 0, has: (row) => row in all, best, line, part, searched };
};
