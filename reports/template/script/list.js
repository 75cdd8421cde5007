// Browser of units. The state is in the address after "#units?", so that back works and a unit can be linked.
// Everything shown is set as text, never as markup.
(() => {
  const root = document.getElementById("browser");
  if (!root) return;
  const data = JSON.parse(document.getElementById("unit-data").textContent);
  const SCORE = 1e6; // scores come as whole millionths
  const CARDS = 12, ROWS = 50; // of a page of results
  const N = data.unit.length, T = data.nTasks;
  const hasPictures = Object.keys(data.pictures).length > 0;
  const MADE = ["synthetic", "mixed"]; // tasks that made images explain
  const hasHuman = Object.keys(data.human).length > 0;
  const sections = document.getElementById("units");
  const strips = document.getElementById("strips");

  const spread = (runs) => {
    const out = new Uint32Array(N);
    let at = 0;
    for (const [value, length] of runs) out.fill(value, at, at += length);
    return out;
  };
  const layerOf = spread(data.layer), conditionOf = spread(data.condition);
  const packed = Uint8Array.from(atob(data.margins), (c) => c.charCodeAt(0));
  const steps = new DataView(packed.buffer);
  const margin = (row, task) => steps.getInt16(2 * (row * T + task), true) * data.marginStep;
  const slopeOf = (row) => data.slopes[data.conditions[conditionOf[row]]] || [data.slope, data.status];
  const probability = (row, m) => 1 / (1 + Math.exp(-slopeOf(row)[0] * m)); // as the score: sigmoid(slope * margin)
  const layer = (row) => data.layers[layerOf[row]];
  const model = (row) => data.models[layer(row)[0]];
  const key = (row) => [model(row), layer(row)[1], data.unit[row], data.conditions[conditionOf[row]]].join("/");
  const z = {};
  for (const side of ["over", "under"]) for (const [row, value] of data.missed[side]) z[row] = value;
  const layerText = data.layers.map((each) => `${data.models[each[0]]} ${each[1]} ${each[2]}`.toLowerCase());
  const labelText = {};
  for (const [row, shown] of Object.entries(data.pictures)) {
    labelText[row] = shown.most.map((id) => data.labels[data.label[id]]).join(" ").toLowerCase();
  }
  let rowByKey; // only a link needs it
  const rowOf = (name) => {
    rowByKey = rowByKey || new Map(Array.from({ length: N }, (_, each) => [key(each), each]));
    return rowByKey.get(name);
  };

  // ---------------------------------------------------------------- words and elements
  const score = (value) => (value === null || value === undefined ? "–" : (value / SCORE).toFixed(3));
  const signed = (value, digits) => value.toFixed(digits).replace("-", "−");
  const count = (value) => value.toLocaleString("en-US");
  const half = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(1)); // a tie is half a task
  const rightTasks = (row) => half(Math.round((2 * T * data.accuracy[row]) / SCORE) / 2);
  const make = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "style") element.style.cssText = value;
      else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  };
  const thumb = (id) => {
    const place = id % data.perSheet;
    const x = place % data.sheetColumns, y = Math.floor(place / data.sheetColumns);
    const label = data.labels[data.label[id]], value = data.kinds.values[id];
    return make("i", {
      class: `t s${Math.floor(id / data.perSheet)}`, style: `--x:${x};--y:${y}`,
      title: `${label ? `${label}: ` : ""}${data.path[id]}${value === undefined ? "" : `, value ${value}`}`,
    });
  };
  const labelWords = (ids) => {
    const counts = new Map();
    for (const id of ids) {
      const label = data.labels[data.label[id]];
      if (label) counts.set(label, (counts.get(label) || 0) + 1);
    }
    const top = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 3);
    return top.map(([label, n]) => `${n} × ${label}`).join(", ");
  };
  const grid = (ids, words, kind) => make(
    "div", { class: `thumbs ${kind}`, role: "img", "aria-label": `${words}: ${labelWords(ids) || `${ids.length} pictures`}` },
    ids.map(thumb),
  );

  const texts = textsOf(data, { make, thumb, score, signed, count });
  const kinds = kindsOf(data, { make, grid, score, signed });
  const FREE = ["", "texts", "kinds"]; // lists without an order of their own
  const condition = (row) => data.conditions[conditionOf[row]];
  const peopleOf = (row) => data.people + (data.through.includes(condition(row)) ? ", through the encoder" : "");

  // ---------------------------------------------------------------- state
  const DEFAULT = {
    view: hasPictures ? "pictures" : "table", q: "", model: "", layer: "", type: "", condition: "", from: "", to: "",
    list: "", sort: "-mis", page: "1", unit: "",
  };
  let state = { ...DEFAULT };
  const address = (changes) => {
    const next = new URLSearchParams();
    for (const [name, value] of Object.entries({ ...state, ...changes })) {
      if (name in DEFAULT && value !== DEFAULT[name]) next.set(name, value);
    }
    return `#units?${next}`;
  };
  let inside = false; // whether the address before named units
  const go = (changes, typing) => {
    const target = address({ page: "1", ...changes });
    inside = true; // who presses a button here is here
    if (typing) {
      history.replaceState(null, "", target);
      read();
    } else if (location.hash === target) read();
    else location.hash = target;
  };
  const read = () => {
    const hash = location.hash, linked = hash.startsWith("#units?");
    if (hash !== "" && hash !== "#units" && !linked) { // a place elsewhere on the page
      inside = false;
      return;
    }
    const before = state;
    state = { ...DEFAULT, ...Object.fromEntries(new URLSearchParams(hash.slice(7))) };
    render(before);
    if (linked && !inside) sections.scrollIntoView({ behavior: "instant" }); // no element has this name, so nothing else scrolls there
    inside = linked || hash === "#units";
  };

  // ---------------------------------------------------------------- which units
  const SORTS = {
    mis: ["MIS", (row) => data.mis[row]],
    accuracy: ["tasks right", (row) => data.accuracy[row]],
    his: ["HIS", (row) => (data.human[row] ? data.human[row][0] : null)],
    miss: ["HIS minus MIS", (row) => (data.human[row] ? data.human[row][0] - data.mis[row] : null)],
    depth: ["place in the network", (row) => layer(row)[3]],
    text: ["text score", texts.best],
  };
  const select = () => {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const from = state.from === "" ? -Infinity : Number(state.from) * SCORE;
    const to = state.to === "" ? Infinity : Number(state.to) * SCORE;
    const fits = data.layers.map((each, index) =>
      (!state.model || data.models[each[0]] === state.model) && (!state.layer || each[1] === state.layer) &&
      (!state.type || each[2] === state.type) && index >= 0);
    const tasks = state.condition ? data.conditions.indexOf(state.condition) : -1;
    const listed = !FREE.includes(state.list) ? data.missed[state.list]?.map(([row]) => row) || [] : null;
    const rows = [];
    const consider = (row) => {
      const at = layerOf[row];
      if (!fits[at] || data.mis[row] < from || data.mis[row] > to) return;
      if (state.condition && conditionOf[row] !== tasks) return;
      if (state.list === "texts" && !texts.has(row)) return;
      if (state.list === "kinds" && !kinds.has(row)) return;
      for (const word of words) {
        if (!layerText[at].includes(word) && String(data.unit[row]) !== word && !(labelText[row] || "").includes(word) &&
          !(texts.searched[row] || "").includes(word)) return;
      }
      rows.push(row);
    };
    if (listed) listed.forEach(consider);
    else for (let row = 0; row < N; row++) consider(row);
    const name = state.sort.replace(/^-/, "");
    if (SORTS[name] && !(listed && state.sort === DEFAULT.sort)) { // a list has an order of its own
      const sign = state.sort.startsWith("-") ? -1 : 1;
      const value = rows.map(SORTS[name][1]);
      const order = rows.map((_, place) => place).sort((a, b) =>
        (value[a] === null) - (value[b] === null) || sign * (value[a] - value[b]) || a - b);
      return order.map((place) => rows[place]);
    }
    return rows;
  };

  // ---------------------------------------------------------------- controls
  const option = (value, words) => make("option", { value }, words);
  const field = (words, control) => make("label", {}, make("span", {}, words), control);
  const chooser = (name, words, entries, any) => {
    const control = make("select", { onchange: (event) => go({ [name]: event.target.value, ...(name === "model" ? { layer: "" } : {}) }) },
      option("", any), entries.map((entry) => option(entry, entry)));
    controls[name] = control;
    return field(words, control);
  };
  const entry = (name, words, more) => {
    const control = make("input", { ...more, oninput: (event) => go({ [name]: event.target.value }, true) });
    controls[name] = control;
    return field(words, control);
  };
  const controls = {};
  const quick = [
    ["Easiest", { list: "", sort: "-mis" }], ["Hardest", { list: "", sort: "mis" }],
    ...(data.missed.over.length ? [["Overestimated", { list: "over", sort: "-mis" }]] : []),
    ...(data.missed.under.length ? [["Underestimated", { list: "under", sort: "-mis" }]] : []),
    ...(texts.any ? [["Texts", { list: "texts", sort: "-text" }]] : []),
    ...(kinds.any ? [["Explained in several ways", { list: "kinds", sort: "-mis" }]] : []),
  ];
  const buttons = quick.map(([words, changes]) =>
    [make("button", { type: "button", onclick: () => go({ ...changes, unit: "" }) }, words), changes]);
  const views = [["pictures", "Pictures"], ["table", "Table"]].map(([name, words]) =>
    [make("button", { type: "button", onclick: () => go({ view: name }) }, words), name]);
  const types = [...new Set(data.layers.map((each) => each[2]))].sort();
  const sorts = Object.entries(SORTS).filter(([name]) => (hasHuman || !["his", "miss"].includes(name)) && (texts.any || name !== "text"));
  const order = make("select", { onchange: (event) => go({ sort: event.target.value }) },
    sorts.flatMap(([name, [words]]) => [option(`-${name}`, `${words}, high first`), option(name, `${words}, low first`)]));
  const form = make("form", { class: "controls", role: "search", "aria-label": "Units", onsubmit: (event) => event.preventDefault() },
    make("div", { class: "buttons", role: "group", "aria-label": "One click" }, buttons.map(([button]) => button)),
    hasPictures ? make("div", { class: "buttons right", role: "group", "aria-label": "Show as" }, views.map(([button]) => button)) : null,
    make("div", { class: "fields" },
      entry("q", "Search", { type: "search", placeholder: ["layer", "unit", ...(hasPictures ? ["label"] : []), ...(texts.any ? ["text"] : [])].join(", "), autocomplete: "off", spellcheck: "false" }),
      data.models.length > 1 ? chooser("model", "Network", data.models, "all") : null,
      chooser("layer", "Layer", [], "all"),
      chooser("type", "Type", types, "all"),
      data.conditions.length > 1 ? chooser("condition", "Tasks", data.conditions, "all") : null,
      field("Order", order),
      entry("from", "MIS from", { type: "number", min: 0, max: 1, step: 0.05, inputmode: "decimal" }),
      entry("to", "to", { type: "number", min: 0, max: 1, step: 0.05, inputmode: "decimal" })));
  const status = make("p", { class: "status", role: "status" });
  const chart = make("div", { class: "histogram", "aria-hidden": "true" });
  const results = make("div", {});
  const detail = make("div", {});
  let layersFor; // network whose layers the field offers
  const showControls = () => {
    if (layersFor !== state.model) {
      layersFor = state.model;
      const names = [...new Set(data.layers.filter((each) => !state.model || data.models[each[0]] === state.model).map((each) => each[1]))];
      controls.layer.replaceChildren(option("", "all"), ...names.map((name) => option(name, name)));
    }
    for (const [name, control] of Object.entries(controls)) if (control.value !== state[name]) control.value = state[name];
    order.value = state.sort;
    order.disabled = !FREE.includes(state.list);
    for (const [button, changes] of buttons) {
      button.setAttribute("aria-pressed", String(changes.list === state.list && (state.list !== "" || changes.sort === state.sort)));
    }
    for (const [button, name] of views) button.setAttribute("aria-pressed", String(name === state.view));
  };

  // ---------------------------------------------------------------- list of units
  const link = (row, words) => make("a", { href: address({ unit: key(row) }), "data-row": row }, words);
  const unitName = (row) => {
    const tasks = condition(row) === "one_sided" ? "one-sided" : condition(row);
    return `${layer(row)[1]} ${readOf(row) ? "direction" : "unit"} ${data.unit[row]}${tasks === "natural" ? "" : `, ${tasks}`}`;
  };
  const facts = (row) => [
    `MIS ${score(data.mis[row])}`, data.human[row] ? `HIS ${score(data.human[row][0])}` : null,
    row in z ? `z ${signed(z[row], 1)}` : null,
  ].filter(Boolean).join(" · ");
  const card = (row) => {
    const shown = data.pictures[row];
    return make("li", { class: "card" },
      make("div", { class: "pair" },
        grid(shown.least.slice(0, 9), "Least exciting", "three"), grid(shown.most.slice(0, 9), "Most exciting", "three")),
      make("p", { class: "sides", "aria-hidden": "true" }, make("span", {}, "least exciting"), make("span", {}, "most exciting")),
      make("p", {}, link(row, unitName(row)), make("br"), `${model(row)} · ${facts(row)}`),
      texts.has(row) ? make("p", { class: "says" }, texts.line(row)) : null);
  };
  const table = (rows) => {
    const heads = [
      ["unit"], ["network"], ["type"], ["MIS", "mis"], ["±"], [`right of ${T}`, "accuracy"],
      ...(hasHuman ? [["HIS", "his"], ["HIS − MIS", "miss"]] : []),
    ];
    const head = ([words, name], place) => {
      const active = name && FREE.includes(state.list) && state.sort.replace(/^-/, "") === name;
      const falling = state.sort.startsWith("-");
      return make("th", { scope: "col", class: place > 2 ? "n" : null, "aria-sort": active ? (falling ? "descending" : "ascending") : null },
        name ? make("button", { type: "button", onclick: () => go({ list: FREE.includes(state.list) ? state.list : "", sort: active && falling ? name : `-${name}` }) },
          words, make("span", { "aria-hidden": "true" }, active ? (falling ? " ↓" : " ↑") : " ↕")) : words);
    };
    const body = rows.map((row) => {
      const human = data.human[row];
      return make("tr", {},
        make("th", { scope: "row" }, link(row, unitName(row)), row in data.pictures ? make("span", { class: "tag" }, "pictures") : null,
          texts.has(row) ? make("span", { class: "tag" }, "texts") : null,
          kinds.has(row) ? make("span", { class: "tag" }, "several ways") : null),
        make("td", {}, model(row)), make("td", {}, layer(row)[2]),
        [score(data.mis[row]), score(data.se[row]), rightTasks(row),
          ...(hasHuman ? [human ? score(human[0]) : "–", human ? signed((human[0] - data.mis[row]) / SCORE, 3) : "–"] : [])]
          .map((words) => make("td", { class: "n" }, words)));
    });
    return make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Table: units" },
      make("table", {}, make("caption", {}, "Units"), make("thead", {}, make("tr", {}, heads.map(head))), make("tbody", {}, body)));
  };
  const histogram = (rows) => {
    let low = SCORE, high = 0;
    for (const value of data.mis) { low = Math.min(low, value); high = Math.max(high, value); }
    const bins = 48, width = (high - low || 1) / bins;
    const tally = (each) => {
      const counts = new Array(bins).fill(0);
      for (const row of each) counts[Math.min(bins - 1, Math.floor((data.mis[row] - low) / width))]++;
      const top = Math.max(...counts, 1);
      return counts.map((n) => (n ? Math.max(6, (100 * n) / top) : 0));
    };
    const all = tally(data.mis.keys()), some = tally(rows);
    chart.replaceChildren(
      make("div", { class: "bars" }, all.map((height, bin) => make("i", { style: `--all:${height}%;--some:${some[bin]}%` }))),
      make("div", { class: "sides" }, make("span", {}, `MIS ${score(low)}`), make("span", {}, "grey: all listed units; blue: those found"), make("span", {}, score(high))));
  };
  const showList = () => {
    const rows = select();
    const shown = state.view === "pictures" ? rows.filter((row) => row in data.pictures) : rows;
    const size = state.view === "pictures" ? CARDS : ROWS;
    const pages = Math.max(1, Math.ceil(shown.length / size));
    const page = Math.min(pages, Math.max(1, Number.parseInt(state.page, 10) || 1));
    const part = shown.slice((page - 1) * size, page * size);
    const hidden = rows.length - shown.length;
    status.replaceChildren(...[
      `${count(rows.length)} of ${count(N)} units found`,
      state.view === "pictures" ? `, ${count(shown.length)} of them with pictures. ` : ". ",
      hidden ? make("button", { type: "button", class: "plain", onclick: () => go({ view: "table" }) }, "Show all in a table") : null,
      state.list === "over" ? ` MIS lies above the share of right answers of ${data.people}; the clearest first, z in standard errors.` : null,
      state.list === "under" ? ` MIS lies below the share of right answers of ${data.people}; the clearest first, z in standard errors.` : null,
    ].filter((each) => each !== null));
    histogram(rows);
    const nothing = rows.length ? "None of these units has pictures." : "No unit fits.";
    results.replaceChildren(part.length === 0 ? make("p", { class: "absent" }, nothing)
      : state.view === "pictures" ? make("ul", { class: "cards" }, part.map(card)) : table(part));
    if (pages > 1) {
      const turn = (to, words) => make("button", { type: "button", disabled: to < 1 || to > pages, onclick: () => go({ page: String(to) }) }, words);
      results.append(make("nav", { class: "pager", "aria-label": "Pages of units" },
        turn(page - 1, "← Previous"), make("span", {}, `Page ${page} of ${count(pages)}`), turn(page + 1, "Next →")));
    }
  };

  // ---------------------------------------------------------------- one unit
  const pair = (words, value, more) => make("div", {}, make("dt", {}, words), make("dd", {}, value, more ? make("small", {}, more) : null));
  const easierThan = (row) => {
    let same = 0, below = 0;
    for (let other = 0; other < N; other++) {
      if (layer(other)[0] !== layer(row)[0] || conditionOf[other] !== conditionOf[row] || other === row) continue;
      same++;
      if (data.mis[other] < data.mis[row]) below++;
    }
    return same ? `easier than ${below === same ? "all other" : `${Math.floor((100 * below) / same)} % of the`} units of its network listed here` : "";
  };
  const unitFacts = (row) => {
    const human = data.human[row], end = data.ends[row];
    const others = data.others.filter(([, values]) => values[row] !== null);
    return make("dl", { class: "facts" },
      pair(`MIS, ${data.lead}`, `${score(data.mis[row])}`, `± ${score(data.se[row])}${data.tasksAlone.includes(row) ? " (of its tasks alone)" : ""}; ${easierThan(row)}`),
      pair("Machine", `${rightTasks(row)} of ${T} right`, `slope ${slopeOf(row)[0].toPrecision(3)}, ${slopeOf(row)[1]}`),
      human ? pair(`HIS, ${peopleOf(row)}`, score(human[0]), `± ${score(human[1])}; ${human[2]} answers; HIS − MIS ${signed((human[0] - data.mis[row]) / SCORE, 3)}${row in z ? `, z ${signed(z[row], 1)}` : ""}`) : null,
      end ? pair(`Among the ${end[0]}`, `${Math.round((100 * end[2]) / SCORE)} %`, `probability that it belongs there; shrunken MIS ${score(end[1])}`) : null,
      others.length ? pair("MIS, other similarities", make("span", { class: "minor" }, others.map(([name, values]) => `${name} ${score(values[row])}`).join(", "))) : null);
  };
  // what a direction is, how often a latent is active, and which units its decoder lies nearest to
  const readOf = (row) => data.directions.read[layerOf[row]];
  const directionFacts = (row) => {
    const read = readOf(row);
    if (!read) return null;
    const [kind, pooling, base, unitsLayer, dead, sparse, total] = read;
    const firing = data.directions.firing[row], nearest = data.directions.nearest[row] || [];
    const near = nearest.flatMap(([unit, cosine], place) => {
      const name = [base, unitsLayer, unit, "natural"].join("/");
      const words = `unit ${unit}`, at = `${place ? ", " : ""}`, tail = ` (${signed(cosine / 100, 2)})`;
      return [at, base && rowOf(name) !== undefined ? make("a", { href: address({ unit: name }) }, words) : words, tail];
    });
    return make("dl", { class: "facts" },
      pair("Direction", kind, `of ${unitsLayer}${base ? ` of ${base}` : ""}, pooled by ${pooling}`),
      firing === undefined || firing === null ? null : pair("Firing rate", `${((100 * firing) / SCORE).toPrecision(2)} %`, "of all pictures"),
      total === null ? null : pair("Latents of the layer", count(total), `${count(sparse)} too sparse for tasks, ${count(dead)} dead: neither have scores`),
      near.length ? pair("Nearest units", make("span", { class: "minor" }, near), `of ${unitsLayer}, by the cosine with its decoder or axis`) : null);
  };
  const taskTable = (row) => {
    const shown = data.pictures[row], near = data.near[row] || [], answers = data.answers[row];
    const heads = ["task", ...(shown ? ["queries"] : []), "p(right)", "machine", ...(answers ? [peopleOf(row)] : []), "margin"];
    const body = [];
    for (let task = 0; task < T; task++) {
      const m = margin(row, task), p = probability(row, m);
      const left = near.includes(task) ? (data.dropNear ? "left out: near copy" : "near copy of an explanation") : "";
      const outcome = m > 0 ? "✓ right" : m < 0 ? "✗ wrong" : "tie";
      body.push(make("tr", { class: data.dropNear && left ? "left" : null },
        make("th", { scope: "row" }, String(task + 1)),
        shown ? make("td", {}, grid([shown.queries[2 * task + 1], shown.queries[2 * task]], "Less exciting and more exciting query", "two")) : null,
        make("td", {}, make("span", { class: "bar", "aria-hidden": "true" }, make("i", { style: `width:${(100 * p).toFixed(1)}%`, class: m > 0 ? null : "wrong" })), ` ${p.toFixed(3)}`),
        make("td", { class: m < 0 ? "bad" : null }, outcome, left ? make("small", {}, left) : null),
        answers ? make("td", {}, answers[2 * task] ? `${answers[2 * task + 1]} of ${answers[2 * task]} right` : "–") : null,
        make("td", { class: "n" }, signed(m, 3))));
    }
    return make("div", { class: "scroll tasks", role: "region", tabindex: "0", "aria-label": "Table: tasks of the unit" },
      make("table", {}, make("caption", {}, `Its ${T} tasks and the machine’s answers`),
        make("thead", {}, make("tr", {}, heads.map((words) => make("th", { scope: "col", class: words === "margin" ? "n" : null }, words)))),
        make("tbody", {}, body)));
  };
  const strip = (row, task) => {
    const shown = data.pictures[row], ids = shown.full[task], k = ids.length / 2;
    return make("li", {},
      make("div", { class: "strip" },
        grid(ids.slice(k), "Least exciting explanations", "grid"),
        grid([shown.queries[2 * task + 1], shown.queries[2 * task]], "Queries, the less exciting one first", "queries"),
        grid(ids.slice(0, k), "Most exciting explanations", "grid")),
      make("div", { class: "sides", "aria-hidden": "true" }, make("span", {}, "least exciting"), make("span", {}, `task ${task + 1}`), make("span", {}, "most exciting")));
  };
  const showUnit = (row) => {
    const rows = select(), shown = data.pictures[row];
    const at = rows.indexOf(row);
    const step = (to, words) => (at >= 0 && rows[to] !== undefined ? make("a", { href: address({ unit: key(rows[to]) }) }, words) : null);
    const each = layer(row), k = data.nExplanations;
    detail.replaceChildren(...[
      make("nav", { class: "pager", "aria-label": "Units" },
        make("a", { href: address({ unit: "" }), class: "back" }, "← Back to the list"), step(at - 1, "Previous unit"), step(at + 1, "Next unit")),
      make("h3", { tabindex: "-1" }, unitName(row)),
      make("p", { class: "note" }, `${model(row)} · ${each[2]} · ${each[3] === null ? "" : `depth ${each[3].toFixed(2)} (0 first, 1 last layer)`}`),
      unitFacts(row),
      directionFacts(row),
      shown ? make("div", { class: "sets" },
        make("div", {}, make("h4", {}, "Least exciting"), grid(shown.least, "Least exciting", "many"), make("p", { class: "note" }, labelWords(shown.least))),
        make("div", {}, make("h4", {}, "Most exciting"), grid(shown.most, "Most exciting", "many"), make("p", { class: "note" }, labelWords(shown.most))))
        : make("p", { class: "absent" }, "No pictures of this unit are in the report. python -m stages.tasks --export names all images of its tasks."),
      shown ? make("p", { class: "note" }, MADE.includes(condition(row)) ? "Each side: the explanations of the first task."
        : `Each side: the ${shown.most.length} most extreme pictures of the study, ${shown.ranked ? "the most extreme first" : "in no order"}.`) : null,
      ...kinds.part(MADE.includes(condition(row)) ? rowOf([model(row), layer(row)[1], data.unit[row], "natural"].join("/")) : row, model(row)),
      ...texts.part(row),
      taskTable(row),
      shown && shown.full.length ? make("h4", {}, `Tasks with their ${k} explanations a side`) : null,
      shown && shown.full.length ? make("ul", { class: "strips" }, shown.full.map((_, task) => strip(row, task))) : null,
    ].filter((part) => part !== null));
  };

  // ---------------------------------------------------------------- together
  const render = (before) => {
    let row;
    if (state.unit) {
      row = rowOf(state.unit);
    }
    const opened = row !== undefined;
    form.hidden = chart.hidden = results.hidden = opened;
    detail.hidden = !opened;
    if (opened) {
      showUnit(row);
      status.replaceChildren("");
      if (before.unit !== state.unit) {
        detail.querySelector("h3").focus({ preventScroll: true });
        sections.scrollIntoView({ behavior: "instant" });
      }
      return;
    }
    detail.replaceChildren();
    showControls();
    showList();
    if (state.unit) status.prepend(`No unit listed here is called ${state.unit}. `);
    if (before.unit && !state.unit) {
      const back = rowByKey && rowByKey.get(before.unit);
      const place = results.querySelector(`[data-row="${back}"]`);
      if (place) place.focus();
      else sections.scrollIntoView({ behavior: "instant" });
    } else if (before.page !== state.page) sections.scrollIntoView({ behavior: "instant" });
  };
  if (strips) strips.remove();
  root.append(form, status, chart, results, detail);
  addEventListener("hashchange", read);
  state = { ...DEFAULT };
  read();
  if (!root.querySelector("ul, table, h3")) render(state); // the page was opened at another place
})();
