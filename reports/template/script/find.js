// Which units fit the address, and in which order. Called by main.js.
const findOf = (page, { texts, kinds }) => {
  const { data, N, SCORE } = page;
  const missedMost = ["over", "under"].flatMap((side) => data.missed[side]).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]) || a[0] - b[0]);
  const LISTS = { over: data.missed.over, under: data.missed.under, missed: missedMost }; // lists with an order of their own
  const natural = data.conditions.indexOf("natural");
  const layerText = data.layers.map((each) => `${data.models[each[0]]} ${each[1]} ${each[2]}`.toLowerCase());
  const labels = data.labels.map((label) => label.toLowerCase());

  // ---------------------------------------------------------------- orders
  const turned = (value, bits) => { // its bits backwards: ranks in this order spread over the whole range
    let out = 0;
    for (let bit = 0; bit < bits; bit++) out |= ((value >> bit) & 1) << (bits - 1 - bit);
    return out;
  };
  let tellingOf; // by row; computed when first asked for
  const telling = (row) => {
    if (tellingOf) return tellingOf[row];
    // those of the first screen, then networks in turn, each from all over its range of MIS, those with pictures first
    const networks = data.models.map(() => []);
    for (let each = 0; each < N; each++) networks[page.modelIndex(each)].push(each);
    tellingOf = new Float64Array(N);
    networks.forEach((rows, network) => {
      for (const pictured of [true, false]) {
        const ranked = rows.filter((each) => page.hasPictures(each) === pictured).sort((a, b) => data.mis[b] - data.mis[a] || a - b);
        const bits = Math.ceil(Math.log2(ranked.length || 1));
        const order = ranked.map((_, rank) => rank).sort((a, b) => turned(a, bits) - turned(b, bits));
        order.forEach((rank, turn) => { tellingOf[ranked[rank]] = (pictured ? 0 : N * data.models.length) + turn * data.models.length + network; });
      }
    });
    data.first.forEach((each, at) => { tellingOf[each] = at - data.first.length; });
    return tellingOf[row];
  };
  const SORTS = {
    mis: ["MIS", (row) => data.mis[row]],
    accuracy: ["tasks right", (row) => data.accuracy[row]],
    his: ["HIS", (row) => (data.human[row] ? data.human[row][0] : null)],
    miss: ["HIS minus MIS", (row) => (data.human[row] ? data.human[row][0] - data.mis[row] : null)],
    depth: ["place in the network", (row) => page.layer(row)[3]],
    text: ["text score", texts.best],
  };
  const ordered = (rows, value, sign) => {
    const values = rows.map(value);
    const order = rows.map((_, at) => at).sort((a, b) =>
      (values[a] === null) - (values[b] === null) || sign * (values[a] - values[b]) || a - b);
    return order.map((at) => rows[at]);
  };

  // ---------------------------------------------------------------- which units
  const wordsOf = (q) => q.toLowerCase().split(/\s+/).filter(Boolean).map((word) => ({
    word, layers: layerText.map((text) => text.includes(word)), labels: labels.map((label) => label.includes(word)),
  }));
  const says = (row, { word, layers, labels: fitting }) => layers[page.layerIndex(row)] || String(data.unit[row]) === word ||
    (texts.searched[row] || "").includes(word) || page.mostOf(row).some((id) => fitting[data.label[id]]);
  // rows in their order; units count once, in their natural tasks, unless the address asks for other tasks
  const select = (state) => {
    const words = wordsOf(state.q);
    const bound = (text, none) => (text === "" || Number.isNaN(Number(text)) ? none : Number(text) * SCORE);
    const from = bound(state.from, -Infinity), to = bound(state.to, Infinity);
    const fits = data.layers.map((each) => (!state.model || data.models[each[0]] === state.model) &&
      (!state.layer || each[1] === state.layer) && (!state.type || each[2] === state.type));
    const own = LISTS[state.list];
    const every = state.condition === "all" || (own && !state.condition); // people answered to harder tasks, too
    const tasks = state.condition ? data.conditions.indexOf(state.condition) : natural;
    const rows = [];
    const consider = (row) => {
      if (!fits[page.layerIndex(row)] || data.mis[row] < from || data.mis[row] > to) return;
      if (!every && page.conditionIndex(row) !== tasks) return;
      if (state.list === "texts" && !texts.has(row)) return;
      if (state.list === "kinds" && !kinds.has(row)) return;
      if (words.every((word) => says(row, word))) rows.push(row);
    };
    if (own) own.forEach(([row]) => consider(row));
    else for (let row = 0; row < N; row++) consider(row);
    const name = state.sort.replace(/^-/, "");
    if (name in SORTS) return ordered(rows, SORTS[name][1], state.sort.startsWith("-") ? -1 : 1);
    return own ? rows : ordered(rows, telling, 1);
  };
  // the same, each group of units with the same pictures once, by the first of them in this order
  const distinct = (rows) => {
    const seen = new Set();
    return rows.filter((row) => {
      const group = page.groupOf(row);
      if (group < 0) return true;
      return !seen.has(group) && Boolean(seen.add(group));
    });
  };
  return { select, distinct, SORTS };
};
