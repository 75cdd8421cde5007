"use strict";
// What every part of the page reads: numbers of units, their pictures, words, elements, and the address.
// Everything from data is set as text or attribute, never as markup.
const pageOf = (data) => {
  const SCORE = 1e6; // scores come as whole millionths
  const SVG = ["http:", "", "www.w3.org", "2000", "svg"].join("/"); // the name of a kind of element: nothing is fetched
  const N = data.unit.length, T = data.nTasks, K = data.nExplanations;

  // ---------------------------------------------------------------- packed columns
  const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const unpack = ([width, base64]) => { // whole numbers of 1, 2 or 4 bytes, the lowest first
    const bytes = bytesOf(base64), out = new Uint32Array(bytes.length / width);
    for (let at = 0; at < out.length; at++) for (let byte = width - 1; byte >= 0; byte--) out[at] = out[at] * 256 + bytes[at * width + byte];
    return out;
  };
  const spread = (runs) => {
    const out = new Uint32Array(N);
    let at = 0;
    for (const [value, length] of runs) out.fill(value, at, at += length);
    return out;
  };
  const layerOf = spread(data.layer), conditionOf = spread(data.condition);
  const steps = new DataView(bytesOf(data.margins).buffer);
  const margin = (row, task) => steps.getInt16(2 * (row * T + task), true) * data.marginStep;

  // ---------------------------------------------------------------- a unit
  const layer = (row) => data.layers[layerOf[row]]; // number of the network, name, type, depth
  const modelIndex = (row) => layer(row)[0];
  const model = (row) => data.models[modelIndex(row)];
  const condition = (row) => data.conditions[conditionOf[row]];
  const key = (row) => [model(row), layer(row)[1], data.unit[row], condition(row)].join("/");
  const slopeOf = (row) => data.slopes[condition(row)] || [data.slope, data.status];
  const probability = (row, m) => 1 / (1 + Math.exp(-slopeOf(row)[0] * m)); // as the score: sigmoid(slope * margin)
  let rowByKey; // only a link needs it
  const rowOf = (name) => {
    rowByKey = rowByKey || new Map(Array.from({ length: N }, (_, row) => [key(row), row]));
    return rowByKey.get(name);
  };
  // tasks by their condition in words, wherever they are named: a direction or a level alone, or with what explains it
  const TASKS = { natural: "natural", one_sided: "one-sided", synthetic: "made images", mixed: "natural and made images" };
  const taskWords = (name) => {
    if (name in TASKS) return TASKS[name];
    const [level, ...others] = name.split("_"), rest = others.join("_");
    return rest ? `${level}, ${TASKS[rest] || rest.replace("_", " ")}` : level;
  };
  const readOf = (row) => data.directions.read[layerOf[row]]; // what a direction is, or nothing
  const nameParts = (row) => { // of its layer the start and the end, then what must never be cut: its number and its tasks
    const whole = unitName(row), own = layer(row)[1], at = Math.max(0, own.length - 8);
    return [own.slice(0, at), own.slice(at), whole.slice(own.length)];
  };
  const unitName = (row) => {
    const tasks = condition(row);
    return `${layer(row)[1]} · ${readOf(row) ? "direction " : ""}${data.unit[row]}${tasks === "natural" ? "" : `, ${taskWords(tasks)} tasks`}`;
  };
  const human = (row) => {
    const own = data.human[row];
    return own ? { his: own[0], se: own[1], n: own[2], right: Math.round((own[0] * own[2]) / SCORE) } : null;
  };
  const peopleOf = (row) => data.people + (data.through.includes(condition(row)) ? ", through the encoder" : "");
  const peopleSaid = (row) => peopleOf(row).replace(/, .*$/, "$&,"); // within a sentence
  const half = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(1)); // a tie is half a task
  const rightTasks = (row) => half(Math.round((2 * T * data.accuracy[row]) / SCORE) / 2);
  const missed = {}; // by row: how many standard errors HIS lies from MIS, of the units that MIS misses most
  for (const side of ["over", "under"]) for (const [row, z] of data.missed[side]) missed[row] = z;

  // ---------------------------------------------------------------- its place, its twins, its neighbours
  const percent = { network: unpack(data.place.network), layer: unpack(data.place.layer) };
  const place = (row) => ({
    network: percent.network[row], nNetwork: data.place.nNetwork[conditionOf[row]][modelIndex(row)],
    layer: percent.layer[row], nLayer: data.place.nLayer[conditionOf[row]][layerOf[row]],
  });
  const groupOf = new Int32Array(N).fill(-1);
  data.twins.forEach((rows, group) => rows.forEach((row) => { groupOf[row] = group; }));
  const twins = (row) => (groupOf[row] < 0 ? [] : data.twins[groupOf[row]].filter((other) => other !== row));
  const nearest = { rows: unpack(data.neighbours.rows), shares: unpack(data.neighbours.shares), each: data.neighbours.each };
  const near = (row) => { // units that share most explanations, with the share of them; a share of 0 fills up
    const out = [];
    for (let at = row * nearest.each; at < (row + 1) * nearest.each; at++) {
      if (nearest.shares[at]) out.push([nearest.rows[at], nearest.shares[at] * 1000]);
    }
    return out;
  };

  // ---------------------------------------------------------------- its pictures
  // Units whose pictures are in the page anyway: by row what `parts` hold of it, ids of `width` pictures each.
  const WIDTH = 2 * K + 2;
  const spreadOut = (width, ...parts) => {
    const out = new Map();
    for (const part of parts) {
      const rows = unpack(part.rows), tasks = part.tasks ? unpack(part.tasks) : null, ids = unpack(part.ids);
      rows.forEach((row, at) => {
        if (!out.has(row)) out.set(row, []);
        out.get(row).push([tasks ? tasks[at] : 0, ids.subarray(at * width, (at + 1) * width)]);
      });
    }
    return out;
  };
  const packed = spreadOut(WIDTH, data.packed, data.further), packedEnds = spreadOut(2 * T, data.extremes);
  const anyPictures = packed.size > 0 || Object.keys(data.pictures).length > 0;
  const hasPictures = (row) => row in data.pictures || packed.has(row);
  const tasksOf = (row) => { // tasks whose explanations and queries are in the page, that of its card first
    if (row in data.pictures) return Object.keys(data.pictures[row].full).map(Number);
    return (packed.get(row) || []).map(([task]) => task);
  };
  const taskOf = (row, task) => {
    const shown = data.pictures[row];
    if (shown) {
      const ids = shown.full[task];
      return ids ? { most: ids.slice(0, K), least: ids.slice(K, 2 * K), queries: shown.queries.slice(2 * task, 2 * task + 2) } : null;
    }
    const found = (packed.get(row) || []).find(([own]) => own === task);
    if (!found) return null;
    const ids = Array.from(found[1]);
    return { most: ids.slice(0, K), least: ids.slice(K, 2 * K), queries: ids.slice(2 * K) };
  };
  const queriesOf = (row, task) => { // the exciting one, the other one
    const shown = data.pictures[row];
    return shown ? shown.queries.slice(2 * task, 2 * task + 2) : taskOf(row, task)?.queries ?? null;
  };
  const extremes = (row) => {
    const shown = data.pictures[row], found = packedEnds.get(row);
    if (shown) return { most: shown.most, least: shown.least, ranked: shown.ranked };
    if (!found) return null;
    const ids = Array.from(found[0][1]);
    return { most: ids.slice(0, T), least: ids.slice(T), ranked: true };
  };
  const mostOf = (row) => { // pictures by whose labels a unit is found
    if (row in data.pictures) return data.pictures[row].most;
    return packed.has(row) ? packed.get(row)[0][1].subarray(0, K) : [];
  };

  // ---------------------------------------------------------------- words and elements
  const score = (value) => (value === null || value === undefined ? "–" : (value / SCORE).toFixed(3));
  const signed = (value, digits) => value.toFixed(digits).replace("-", "−");
  const count = (value) => value.toLocaleString("en-US");
  const fill = (element, attributes, children) => {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "style") element.style.cssText = value;
      else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  };
  const make = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const draw = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
  const nameOf = (id) => data.labels[data.label[id]];
  const thumb = (id) => {
    const at = id % data.perSheet, label = nameOf(id), value = data.kinds.values[id];
    return make("i", {
      class: `t s${Math.floor(id / data.perSheet)}`,
      style: `--x:${at % data.sheetColumns};--y:${Math.floor(at / data.sheetColumns)}`,
      title: `${label ? `${label}: ` : ""}${data.path[id]}${value === undefined ? "" : `, value ${value}`}`,
    });
  };
  const labelWords = (ids) => {
    const counts = new Map();
    for (const id of ids) {
      const label = nameOf(id);
      if (label) counts.set(label, (counts.get(label) || 0) + 1);
    }
    const top = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 3);
    return top.map(([label, n]) => `${n} × ${label}`).join(", ");
  };
  const grid = (ids, words, kind) => make("div",
    { class: kind, role: "img", "aria-label": `${words}: ${labelWords(ids) || `${ids.length} pictures`}` }, Array.from(ids, thumb));
  const nine = (ids, words) => grid(ids, words, "nine");
  const colours = new Map(data.nets.map((net) => [net.name, net.colour]));
  const colour = (index) => colours.get(data.models[index]) ?? "var(--soft)"; // those read as directions have none
  const easier = (row) => { // its place among all scored units of its network, in words
    const share = place(row).network;
    if (share === 100) return "easier than all others";
    return share >= 50 ? `easier than ${Math.min(share, 99)} %` : `harder than ${Math.min(100 - share, 99)} %`;
  };

  // ---------------------------------------------------------------- the address: "#units?name=value", only what differs from the start
  const START = {
    view: anyPictures ? "pictures" : "table", q: "", model: "", layer: "", type: "", condition: "", from: "", to: "",
    list: "", sort: "", unit: "",
  };
  let state = { ...START }, follow = () => {}, begin = () => {};
  const address = (changes) => {
    const next = new URLSearchParams();
    for (const [name, value] of Object.entries({ ...state, ...changes })) {
      if (name in START && value !== START[name]) next.set(name, value);
    }
    return next.size ? `#units?${next}` : "#units";
  };
  const go = (changes, typing) => {
    const target = address(changes);
    begin();
    // not by location.hash, which would scroll to the start of the list: who presses something in it is there already
    if (typing) history.replaceState(null, "", target);
    else if (location.hash !== target) history.pushState(null, "", target);
    follow();
  };
  const read = () => { // takes the state from the address; names of old addresses that mean nothing now are passed over
    const named = [...new URLSearchParams(location.hash.startsWith("#units?") ? location.hash.slice(7) : "")];
    state = { ...START, ...Object.fromEntries(named.filter(([name]) => name in START)) };
    return state;
  };

  const close = () => { // the address names another place: the list stays as it is
    state = { ...state, unit: "" };
    return state;
  };

  return {
    data, N, T, K, SCORE, START,
    make, draw, thumb, grid, nine, nameOf, labelWords, score, signed, count, colour, easier,
    key, rowOf, nameParts, taskWords, model, modelIndex, layer, layerIndex: (row) => layerOf[row], condition, conditionIndex: (row) => conditionOf[row], unitName, readOf,
    margin, probability, slopeOf, rightTasks, human, peopleOf, peopleSaid, missed,
    place, twins, near, groupOf: (row) => groupOf[row],
    anyPictures, hasPictures, tasksOf, taskOf, queriesOf, extremes, mostOf,
    address, go, read, close, state: () => state, onChange: (listener, first) => { [follow, begin] = [listener, first]; },
  };
};
