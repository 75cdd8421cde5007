// A unit as a card and as a row of the table. Called by the list.
const cardsOf = (page, { facts, charts, texts, kinds }) => {
  const { data, T, SCORE, make, nine, score, signed } = page;
  const hasHuman = Object.keys(data.human).length > 0;
  const playedOf = new Map(data.play.map(([row, task]) => [row, task]));
  const link = (row) => {
    const [start, end, number] = page.nameParts(row);
    return make("a", { href: page.address({ unit: page.key(row) }), "data-row": row, title: page.unitName(row), "aria-label": page.unitName(row) },
      make("span", {}, start), make("span", {}, end), make("span", {}, number));
  };
  const dot = (row) => make("span", { class: "dot", style: `--c:${page.colour(page.modelIndex(row))}` });
  const tasksAlone = new Set(data.tasksAlone);
  const observed = (row) => {
    const human = page.human(row);
    if (tasksAlone.has(row)) return `± of its tasks alone, not of the luck of made images`;
    return human ? `${page.peopleSaid(row)} right in ${human.right} of ${human.n}` : `machine right in ${facts.rightWords(row)} tasks`;
  };
  const same = (row) => { // units with the same pictures, which this card stands for, too
    const names = page.twins(row).map((other) => (page.layer(other)[1] === page.layer(row)[1] ? `unit ${data.unit[other]}` : page.unitName(other)));
    return names.length ? `Same pictures: ${names[0]}${names.length > 1 ? ` and ${names.length - 1} more` : ""}` : "";
  };
  const sides = (row) => facts.leastWords(row).replace(/^./, (first) => first.toUpperCase());
  // every card has the same lines, so that all are equally high; a line without words stays empty
  const line = (words, kind) => make("p", { class: kind, title: words || null }, words);
  const card = (withTwins, withTexts) => (row, at, size) => {
    const tasks = page.tasksOf(row), { most, least } = page.taskOf(row, playedOf.get(row) ?? tasks[0]);
    return make("li", { class: "card", "aria-posinset": at + 1, "aria-setsize": size },
      make("div", { class: "pics" }, nine(least, sides(row)), nine(most, "Most exciting")),
      make("div", { class: "lr", "aria-hidden": "true" }, make("span", {}, `− ${facts.leastWords(row)}`), make("span", {}, "most exciting +")),
      make("div", { class: "body" },
        make("p", { class: "mis" }, score(data.mis[row]), make("small", {}, `± ${score(data.se[row])}`)), charts.strip(row, 104, 32),
        make("p", { class: "who" }, link(row)),
        make("p", { class: "more" }, dot(row), ` ${page.model(row)}, ${page.easier(row)}`),
        line(observed(row), "more"),
        withTwins ? line(same(row), "more") : null,
        withTexts ? line(texts.has(row) ? texts.line(row) : "", "more says") : null));
  };

  // ---------------------------------------------------------------- the table: heading, order it sorts by, cell
  const human = (row) => data.human[row];
  const COLUMNS = [
    ["unit", "", (row) => [link(row), page.anyPictures && !page.hasPictures(row) ? make("span", { class: "tag" }, "no pictures") : null,
      texts.has(row) ? make("span", { class: "tag" }, "texts") : null, kinds.has(row) ? make("span", { class: "tag" }, "several ways") : null]],
    ["MIS", "mis", (row) => score(data.mis[row])],
    ["±", "", (row) => score(data.se[row])],
    ["network", "", (row) => [dot(row), ` ${page.model(row)}`]],
    ["type", "", (row) => page.layer(row)[2]],
    [`right of ${T}`, "accuracy", page.rightTasks],
    ...(hasHuman ? [
      ["HIS", "his", (row) => (human(row) ? score(human(row)[0]) : "–")],
      ["HIS − MIS", "miss", (row) => (human(row) ? signed((human(row)[0] - data.mis[row]) / SCORE, 3) : "–")],
    ] : []),
  ];
  const cell = ([heading, name], role, ...children) => make("div", { role, class: name || heading === "±" ? "n" : null }, children);
  const tableRow = (row, at) => make("div", { role: "row", "aria-rowindex": at + 2, class: "row" },
    COLUMNS.map((column, place) => cell(column, place ? "cell" : "rowheader", column[2](row))));
  // `sort`: what the address says; pressing a heading sorts high first, again low first
  const tableHead = (sort) => make("div", { role: "row", "aria-rowindex": 1, class: "row" }, COLUMNS.map((column) => {
    const [heading, name] = column, active = name && sort.replace(/^-/, "") === name, falling = sort.startsWith("-");
    const made = cell(column, "columnheader", name ? make("button", { type: "button", onclick: () => page.go({ sort: active && falling ? name : `-${name}` }) },
      heading, make("span", { "aria-hidden": "true" }, active ? (falling ? " ↓" : " ↑") : " ↕")) : heading);
    if (active) made.setAttribute("aria-sort", falling ? "descending" : "ascending");
    return made;
  }));
  return { card, tableRow, tableHead, columns: COLUMNS.length, hasHuman };
};
