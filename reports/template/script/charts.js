// Small charts of one unit: inline SVG in the page's type and colours, so that one drawing serves light, dark, print and phone.
const chartsOf = (page, facts) => {
  const { data, draw } = page;
  const SCORE = 1e6, GUESSING = 0.5;
  const [binsFrom, binWidth] = data.bins;
  const binsTo = (n) => binsFrom + binWidth * n;

  // ---------------------------------------------------------------- densities
  // Outline of a histogram, through the middle of each bin, from the line y up to `height` above it where a bin holds `top`.
  const area = (counts, x, y, height, top = Math.max(...counts)) => {
    const steps = counts.map((n, bin) =>
      `L${x(binsFrom + binWidth * (bin + 0.5)).toFixed(1)} ${(y - (height * n) / (top || 1)).toFixed(1)}`);
    return `M${x(binsFrom).toFixed(1)} ${y}${steps.join("")}L${x(binsTo(counts.length)).toFixed(1)} ${y}Z`;
  };
  const nets = new Map(data.nets.map((net) => [net.name, net.h]));
  const nBins = data.nets.length ? data.nets[0].h.length : Math.round((1 - binsFrom) / binWidth);
  const binOf = (value) => Math.max(0, Math.min(nBins - 1, Math.floor((value - binsFrom) / binWidth)));
  const listed = new Map(); // histograms of listed units, made when first asked for
  const tally = (row) => {
    const counts = new Array(nBins).fill(0);
    for (let other = 0; other < page.N; other++) {
      if (page.modelIndex(other) !== page.modelIndex(row) || page.condition(other) !== page.condition(row)) continue;
      counts[binOf(data.mis[other] / SCORE)]++;
    }
    return counts;
  };
  // Histogram of the units beside a unit: all scored ones of its network, or, of harder tasks and of directions, the listed ones.
  const beside = (row) => {
    const own = page.condition(row) === "natural" && nets.get(page.model(row));
    if (own) return own;
    const name = `${page.condition(row)}/${page.model(row)}`;
    if (!listed.has(name)) listed.set(name, tally(row));
    return listed.get(name);
  };
  const within = (value) => Math.max(binsFrom, Math.min(binsTo(nBins), value));
  const across = (value) => (within(value) - binsFrom) / (binWidth * nBins); // where a score stands in a histogram, from 0 to 1
  // Where a unit stands among the others of its network; what it says is said in words beside it.
  const strip = (row, w, h) => {
    const x = (value) => w * across(value), at = x(data.mis[row] / SCORE).toFixed(1);
    return draw("svg", { class: "strip", viewBox: `0 0 ${w} ${h}`, width: w, height: h, "aria-hidden": "true" },
      draw("path", { d: area(beside(row), x, h - 1, h - 8), fill: page.colour(page.modelIndex(row)), "fill-opacity": 0.45 }),
      draw("path", { d: `M0 ${h - 0.5}H${w}`, class: "base" }), draw("path", { d: `M${at} 2V${h}`, class: "mark" }));
  };

  // ---------------------------------------------------------------- scores
  const number = (value, digits = 2) => value.toFixed(digits);
  const short = (words, most) => (words.length > most ? `${words.slice(0, Math.ceil(most / 2) - 1)}…${words.slice(-Math.floor(most / 2))}` : words);
  // Every score of a unit between 0 and 1 with its standard error: the leading similarity, the others, people.
  const scoresOf = (row) => {
    const plain = (value) => (value === null || value === undefined ? null : value / SCORE);
    const unclear = new Set(data.unidentified), human = page.human(row);
    return [
      { name: data.lead, value: plain(data.mis[row]), se: plain(data.se[row]), leads: true, unclear: unclear.has(data.lead) },
      ...data.others.map(([name, values], at) => ({
        name, value: plain(values[row]), se: plain(data.othersSe[at][row]), unclear: unclear.has(name),
      })),
      ...(human ? [{ name: data.people, value: plain(human.his), span: facts.shareEnds(human), human: true }] : []),
    ];
  };
  const ends = ({ value, se, span = null }) => span ?? (value === null || se === null ? null : [Math.max(0, value - data.z * se), Math.min(1, value + data.z * se)]);
  const told = (each) => {
    const span = ends(each), name = each.name + (each.unclear ? " (slope not identified)" : "");
    if (each.value === null) return `${name}: not scored`;
    return `${name}: ${number(each.value, 3)}${span ? ` (${number(span[0], 3)} to ${number(span[1], 3)})` : ""}`;
  };
  const W = 372, LEFT = 152, RIGHT = 44, LINE = 30;
  const label = (at, y, words, more) => draw("text", { x: at, y, ...more }, words);
  const name = (y, words, bold, most = 20) => {
    const cut = short(words, most);
    return label(0, y + 5, cut, { class: bold ? "name lead" : "name" }, cut === words ? null : draw("title", {}, words));
  };
  const mark = ({ human }, at, y, colour) => (human
    ? draw("rect", { x: (at - 5).toFixed(1), y: y - 5, width: 10, height: 10, class: "people" })
    : draw("circle", { cx: at.toFixed(1), cy: y, r: 5.5, fill: colour }));
  const scores = (row) => {
    const all = scoresOf(row);
    const lowest = Math.min(0.4, ...all.flatMap((each) => ends(each) || [each.value ?? 1]));
    const from = Math.max(0, Math.floor(10 * lowest) / 10), bottom = all.length * LINE;
    const x = (value) => LEFT + ((W - LEFT - RIGHT) * (value - from)) / (1 - from);
    const ticks = (from < 0.25 ? [0, GUESSING, 1] : [GUESSING, 0.75, 1]).map((value) => [ // as many as have room for their words
      draw("path", { d: `M${x(value).toFixed(1)} 0V${bottom}`, class: value === GUESSING ? "guess" : "tick" }),
      label(x(value).toFixed(1), bottom + 16, value === GUESSING ? "0.5 guessing" : String(value), { "text-anchor": "middle", class: "s" }),
    ]);
    const lines = all.map((each, at) => {
      const y = at * LINE + LINE / 2, span = ends(each), colour = each.leads ? page.colour(page.modelIndex(row)) : "var(--ink)";
      return draw("g", {}, draw("title", {}, told(each)), [
        name(y, each.name + (each.unclear ? "*" : ""), each.leads),
        span ? draw("path", { d: `M${x(span[0]).toFixed(1)} ${y}H${x(span[1]).toFixed(1)}`, class: "span", stroke: colour }) : null,
        each.value === null ? null : mark(each, x(each.value), y, colour),
        label(W, y + 5, each.value === null ? "–" : number(each.value), { "text-anchor": "end", class: each.leads ? "name lead" : "name" }),
      ]);
    });
    return draw("svg", { class: "scores-chart", viewBox: `0 0 ${W} ${bottom + 22}`, role: "img", "aria-label": all.map(told).join("; ") }, ticks, lines);
  };

  // ---------------------------------------------------------------- ranks
  const ranks = (row) => {
    const { network, nNetwork, layer, nLayer } = page.place(row);
    const lines = [["its layer", layer, nLayer], ["its network", network, nNetwork]];
    const x = (percent) => LEFT + 6 + ((W - LEFT - RIGHT - 12) * percent) / 100;
    const words = lines.map(([place, percent, n]) => (n > 1 ? `easier than ${percent} % of the ${page.count(n)} units of ${place}` : `the only unit of ${place}`)).join(", ");
    return draw("svg", { class: "ranks-chart", viewBox: `0 0 ${W} ${lines.length * LINE}`, role: "img", "aria-label": words },
      lines.map(([place, percent, n], at) => {
        const y = at * LINE + LINE / 2;
        return [
          name(y, `${place} (${page.count(n)})`, false),
          draw("path", { d: `M${x(0)} ${y}H${x(100)}`, class: "track" }),
          n > 1 ? draw("circle", { cx: x(percent).toFixed(1), cy: y, r: 6, fill: page.colour(page.modelIndex(row)) }) : null,
          label(W, y + 5, n > 1 ? `${percent} %` : "alone", { "text-anchor": "end", class: "name" }),
        ];
      }));
  };
  return { ends: [binsFrom, binsTo(nBins)], area, across, beside, strip, scores, scoresOf, ranks };
};
