// The gallery: controls, and the units that fit them as cards or as a table. Called by main.js.
const listOf = (page, { facts, charts, texts, kinds, find, watch }) => {
  const { data, N, make, count } = page;
  const FIRST = { pictures: 12, table: 20, phone: 6 }; // items before all are asked for
  const MOST_CHIPS = 8, MOST_LAYERS = 400;
  const root = document.getElementById("browser"), status = document.getElementById("units-status");
  if (!root) return { show: () => {}, focus: () => false, search: () => {} }; // no unit is listed
  const cards = cardsOf(page, { facts, charts, texts, kinds }), rows = rowsOf();
  const { hasHuman } = cards;

  // ---------------------------------------------------------------- controls
  const option = (value, words) => make("option", { value }, words);
  const controls = {}; // by name of the address
  const labelled = (words, control) => make("label", {}, make("span", {}, words), control);
  const chooser = (name, words, entries) => {
    controls[name] = make("select", { onchange: (event) => page.go({ [name]: event.target.value, ...(name === "model" ? { layer: "" } : {}) }) },
      entries.map(([value, said]) => option(value, said)));
    return labelled(words, controls[name]);
  };
  const entry = (name, attributes) => {
    controls[name] = make("input", { ...attributes, oninput: (event) => page.go({ [name]: event.target.value }, true) });
    return controls[name];
  };
  const chips = (words, all) => {
    const buttons = all.map(([said, changes, row]) => [make("button", { type: "button", onclick: () => page.go(changes) }, row, said), changes]);
    return [make("div", { class: "chips", role: "group", "aria-label": words }, buttons.map(([button]) => button)), buttons];
  };
  const [orderChips, orders] = chips("Order", [
    ["Telling", { list: "", sort: "" }], ["Easiest", { list: "", sort: "-mis" }], ["Hardest", { list: "", sort: "mis" }],
    ...(data.missed.over.length + data.missed.under.length ? [["Missed by MIS", { list: "missed", sort: "" }]] : []),
    ...(texts.any ? [["Texts", { list: "texts", sort: "-text" }]] : []),
    ...(kinds.any ? [["Explained in several ways", { list: "kinds", sort: "" }]] : []),
  ]);
  const few = data.models.length <= MOST_CHIPS;
  const [networkChips, networks] = data.models.length > 1 && few ? chips("Network", [["All networks", { model: "", layer: "" }, null],
    ...data.models.map((name, at) => [name, { model: name, layer: "" }, make("span", { class: "dot", style: `--c:${page.colour(at)}` })])]) : [null, []];
  const sorts = Object.entries(find.SORTS).filter(([name]) => (hasHuman || !["his", "miss"].includes(name)) && (texts.any || name !== "text"));
  const named = Object.fromEntries(["natural", ...data.conditions].map((name) => [name, page.taskWords(name)]));
  const types = [...new Set(data.layers.map((each) => each[2]))].sort();
  const found = ["layer", "unit", "type", ...(page.anyPictures ? ["label"] : []), ...(texts.any ? ["text"] : [])].join(", ");
  const box = entry("q", { type: "search", placeholder: found, "aria-label": `Search units by ${found}`, autocomplete: "off", spellcheck: "false", "aria-keyshortcuts": "/" });
  const FURTHER = ["layer", "type", "condition", "from", "to"]; // behind the button, beside order and view
  const further = make("div", { class: "further", id: "further", hidden: true });
  const more = make("button", { type: "button", class: "quiet", "aria-expanded": "false", "aria-controls": "further", onclick: () => open(further.hidden) });
  let layersFor; // network whose layers the field offers
  const offerLayers = (model) => {
    if (layersFor === model || !controls.layer) return;
    layersFor = model;
    const names = [...new Set(data.layers.filter((each) => !model || data.models[each[0]] === model).map((each) => each[1]))];
    controls.layer.disabled = names.length > MOST_LAYERS;
    controls.layer.replaceChildren(...(names.length > MOST_LAYERS ? [option("", "of one network")] : [option("", "all"), ...names.map((name) => option(name, name))]));
  };
  const open = (wanted) => { // its fields are made when first opened
    if (wanted && !further.firstChild) {
      further.append(
        chooser("layer", "Layer", []),
        chooser("type", "Type", [["", "all"], ...types.map((type) => [type, type])]),
        ...(data.conditions.length > 1 ? [chooser("condition", "Tasks", [["", "natural"], ...data.conditions.filter((name) => name !== "natural").map((name) => [name, named[name]]), ["all", "all"]])] : []),
        make("div", { class: "range" },
          labelled("MIS from", entry("from", { type: "number", min: 0, max: 1, step: 0.05, inputmode: "decimal" })),
          labelled("to", entry("to", { type: "number", min: 0, max: 1, step: 0.05, inputmode: "decimal" }))),
        chooser("sort", "Order", [["", "telling"], ...sorts.flatMap(([name, [words]]) => [[`-${name}`, `${words}, high first`], [name, `${words}, low first`]])]),
        ...(page.anyPictures ? [chooser("view", "Show as", [["pictures", "cards"], ["table", "table"]])] : []));
      showControls(page.state());
    }
    further.hidden = !wanted;
    more.setAttribute("aria-expanded", String(wanted));
  };
  const showControls = (state) => {
    offerLayers(state.model);
    for (const [name, control] of Object.entries(controls)) if (control.value !== state[name]) control.value = state[name];
    const holds = (changes) => Object.entries(changes).every(([name, value]) => state[name] === value);
    for (const [button, changes] of orders) button.setAttribute("aria-pressed", String(holds(changes)));
    for (const [button, changes] of networks) button.setAttribute("aria-pressed", String(state.model === changes.model));
    const set = FURTHER.filter((name) => state[name] !== "").length;
    more.textContent = set ? `More filters (${set})` : "More filters";
    if (set && further.hidden && !further.firstChild) open(true);
  };

  // ---------------------------------------------------------------- the list
  const listing = document.getElementById("cards");
  const region = make("div", { class: "units-table scroll", role: "region", tabindex: "0", "aria-label": "Table: units" });
  const beside = make("div", { class: "beside", hidden: true }, region); // its shade says that more lies at the right
  const nothing = make("p", { class: "absent", hidden: true });
  const all = make("button", { type: "button", class: "btn", onclick: () => expand(true, true) });
  const fewer = make("button", { type: "button", class: "btn", onclick: () => expand(false) }, "Show the first ones alone");
  const end = make("p", { class: "end" }, all, make("span", { class: "stay" }, fewer, make("a", { class: "btn", href: "#results" }, "To the results ↓")));
  let shown = [], expanded = false, view = "";
  const rem = () => Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
  const ofCards = (width) => { // as the style sheet lays them out without a script
    const gap = 1.5 * rem(), columns = Math.max(1, Math.floor((width + gap) / (17 * rem() + gap)));
    return { columns, gap, width: (width - gap * (columns - 1)) / columns };
  };
  const sized = (width) => { // pictures of a card lie six to its width, with a gap between the sides
    const layout = ofCards(width);
    listing.style.setProperty("--side", `${(layout.width - 6) / 6}px`);
    return layout;
  };
  const ofTable = (width) => ({ columns: 1, gap: 0, width });
  const first = () => (view === "table" ? FIRST.table : ofCards(listing.clientWidth || root.clientWidth).columns === 1 ? FIRST.phone : FIRST.pictures);
  const place = () => {
    const part = expanded ? shown : shown.slice(0, first());
    listing.hidden = view === "table" || shown.length === 0;
    beside.hidden = view !== "table" || shown.length === 0;
    if (view === "table") {
      const body = make("div", { role: "rowgroup", class: "rows" });
      region.replaceChildren(make("div", { role: "table", "aria-label": "Units", "aria-rowcount": shown.length + 1, "aria-colcount": cards.columns, class: hasHuman ? "with-people" : null },
        make("div", { role: "rowgroup" }, cards.tableHead(page.state().sort)), body));
      rows.fill(body, part, cards.tableRow, ofTable, !expanded);
    } else {
      listing.classList.add("live");
      const card = cards.card(data.twins.length > 0, part.some(texts.has));
      rows.fill(listing, part, (row, at) => card(row, at, shown.length), sized, !expanded);
    }
    end.classList.toggle("open", expanded);
    all.hidden = expanded || part.length === shown.length;
    all.textContent = `Show all ${count(shown.length)}`;
    end.hidden = !expanded && all.hidden;
    end.lastChild.hidden = !expanded;
  };
  const expand = (wanted, keep) => {
    const at = keep ? Math.min(first(), shown.length) : 0;
    expanded = wanted;
    place();
    rows.focus(at); // the first one that has come, or the first of all
  };

  // ---------------------------------------------------------------- what is said of it
  const kindOfTasks = (state) => (state.condition === "" || state.condition === "natural" ? "" : state.condition === "all" ? ", once for each kind of its tasks" : ` under ${named[state.condition] || state.condition} tasks`);
  const unitOf = (row) => `${page.layerIndex(row)}/${data.unit[row]}`; // one unit under several kinds of tasks is one
  const tasksOf = (rows) => { // kinds of tasks of some rows in words, where there are several
    const kinds = new Set(rows.map(page.conditionIndex));
    return kinds.size > 1 ? [...kinds].map((at) => data.conditions[at]).sort((a, b) => (b === "natural") - (a === "natural") || (a < b ? -1 : 1)).map((name) => named[name]) : [];
  };
  const say = (state, selected, pictured, cardsShown) => {
    const turned = selected.filter(page.readOf).length, mixed = tasksOf(selected);
    const own = mixed.length ? new Set(selected.filter((row) => !page.readOf(row)).map(unitOf)).size : selected.length - turned;
    const counts = [[own, "unit"], [turned, "direction"]].filter(([n]) => n).map(([n, word]) => `${count(n)} ${word}${n === 1 ? "" : "s"}`);
    const told = [selected.length === 0 ? "No unit fits." : `${counts.join(" and ")}${mixed.length && state.condition !== "all" ? `, in ${mixed.join(" and ")} tasks` : kindOfTasks(state)}`];
    if (selected.length) {
      const different = find.distinct(selected).length;
      told.push(different < selected.length && !mixed.length ? `, ${count(different)} different ones` : "", ".");
      const without = selected.length - pictured.length;
      if (view === "pictures" && without) told.push(` ${count(without)} have no pictures here: `, make("button", { type: "button", class: "plain", onclick: () => page.go({ view: "table" }) }, "show all in a table"), ".");
      const limit = rows.most?.() ?? cardsShown;
      if (expanded && limit < cardsShown) told.push(` The first ${count(limit)} are shown; search to find others.`);
    }
    const side = { over: "MIS lies above", under: "MIS lies below", missed: "MIS lies furthest from" }[state.list];
    if (side && selected.length) told.push(` ${side} the share of right answers of ${data.people}, the clearest first.`);
    if (state.unit) told.unshift(`No unit listed here is called ${state.unit}. `);
    status.replaceChildren(...told);
  };
  const show = (state) => {
    view = state.view === "pictures" && page.anyPictures ? "pictures" : "table";
    showControls(state);
    const selected = find.select(state);
    const pictured = view === "pictures" ? selected.filter(page.hasPictures) : selected;
    shown = view === "pictures" ? find.distinct(pictured) : selected;
    nothing.hidden = shown.length > 0;
    nothing.textContent = selected.length ? "None of these units has pictures." : "No unit fits.";
    place();
    say(state, selected, pictured, shown.length);
  };

  // ---------------------------------------------------------------- focus and keys
  const focus = (row) => {
    let at = shown.indexOf(row);
    if (at < 0 && row !== undefined) at = shown.findIndex((other) => page.groupOf(other) >= 0 && page.groupOf(other) === page.groupOf(row));
    if (at < 0) return false;
    if (!expanded && at >= first()) {
      expanded = true;
      place();
    }
    return rows.focus(at);
  };
  const move = (event) => {
    const from = event.target.closest("[data-at]");
    const columns = rows.columns(), step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    if (!from || !step || event.ctrlKey || event.metaKey || event.altKey) return;
    if (view === "table" && columns === 1 && (event.key === "ArrowLeft" || event.key === "ArrowRight")) return; // they scroll it
    const to = Number(from.dataset.at) + step;
    if (to < 0 || to >= shown.length) return;
    event.preventDefault();
    focus(shown[to]);
  };
  const search = () => {
    box.focus();
    document.getElementById("units").scrollIntoView({ block: "start", behavior: "instant" });
  };

  root.append(...[
    make("div", { class: "seek" }, make("label", { class: "find" }, box, make("kbd", { "aria-hidden": "true" }, "/")), more),
    orderChips, networkChips, few ? null : chooser("model", "Network", [["", `all ${data.models.length}`], ...data.models.map((name) => [name, name])]),
    further,
  ].filter(Boolean));
  (listing || root).after(beside, nothing, end);
  watch(beside.parentElement);
  listing?.addEventListener("keydown", move);
  region.addEventListener("keydown", move);
  box.addEventListener("keydown", (event) => { // from the search into what was found
    if ((event.key === "Enter" || event.key === "ArrowDown") && shown.length) {
      event.preventDefault();
      rows.focus(0);
    }
  });
  return { show, focus, search };
};
