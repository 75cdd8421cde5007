// The page of one unit, shown instead of the study. Called by main.js; everything is set as text.
const unitOf = (page, { texts, kinds }) => {
  const { data, T, SCORE, make, grid, score, signed, count, labelWords } = page;
  const MADE = ["synthetic", "mixed"]; // tasks that made images explain
  const pair = (words, value, more) => make("div", {}, make("dt", {}, words), make("dd", {}, value, more ? make("small", {}, more) : null));
  const unitFacts = (row) => {
    const human = page.human(row), end = data.ends[row];
    const others = data.others.filter(([, values]) => values[row] !== null);
    return make("dl", { class: "facts" },
      pair(`MIS, ${data.lead}`, score(data.mis[row]), `± ${score(data.se[row])}${data.tasksAlone.includes(row) ? " (of its tasks alone)" : ""}; ${page.easier(row)} of its network`),
      pair("Machine", `${page.rightTasks(row)} of ${T} right`, `slope ${page.slopeOf(row)[0].toPrecision(3)}, ${page.slopeOf(row)[1]}`),
      human ? pair(`HIS, ${page.peopleOf(row)}`, score(human.his), `± ${score(human.se)}; ${human.n} answers; HIS − MIS ${signed((human.his - data.mis[row]) / SCORE, 3)}${row in page.missed ? `, z ${signed(page.missed[row], 1)}` : ""}`) : null,
      end ? pair(`Among the ${end[0]}`, `${Math.round((100 * end[2]) / SCORE)} %`, `probability that it belongs there; shrunken MIS ${score(end[1])}`) : null,
      others.length ? pair("MIS, other similarities", make("span", { class: "minor" }, others.map(([name, values]) => `${name} ${score(values[row])}`).join(", "))) : null);
  };
  // what a direction is, how often a latent is active, and which units its decoder lies nearest to
  const directionFacts = (row) => {
    const read = page.readOf(row);
    if (!read) return null;
    const [kind, pooling, base, unitsLayer, dead, sparse, total] = read;
    const firing = data.directions.firing[row], nearest = data.directions.nearest[row] || [];
    const near = nearest.flatMap(([unit, cosine], place) => {
      const name = [base, unitsLayer, unit, "natural"].join("/");
      const words = `unit ${unit}`, at = `${place ? ", " : ""}`, tail = ` (${signed(cosine / 100, 2)})`;
      return [at, base && page.rowOf(name) !== undefined ? make("a", { href: page.address({ unit: name }) }, words) : words, tail];
    });
    return make("dl", { class: "facts" },
      pair("Direction", kind, `of ${unitsLayer}${base ? ` of ${base}` : ""}, pooled by ${pooling}`),
      firing === undefined || firing === null ? null : pair("Firing rate", `${((100 * firing) / SCORE).toPrecision(2)} %`, "of all pictures"),
      total === null ? null : pair("Latents of the layer", count(total), `${count(sparse)} too sparse for tasks, ${count(dead)} dead: neither have scores`),
      near.length ? pair("Nearest units", make("span", { class: "minor" }, near), `of ${unitsLayer}, by the cosine with its decoder or axis`) : null);
  };
  const taskTable = (row) => {
    const near = data.near[row] || [], answers = data.answers[row], shown = row in data.pictures;
    const heads = ["task", ...(shown ? ["queries"] : []), "p(right)", "machine", ...(answers ? [page.peopleOf(row)] : []), "margin"];
    const body = [];
    for (let task = 0; task < T; task++) {
      const m = page.margin(row, task), p = page.probability(row, m);
      const left = near.includes(task) ? (data.dropNear ? "left out: near copy" : "near copy of an explanation") : "";
      const outcome = m > 0 ? "✓ right" : m < 0 ? "✗ wrong" : "tie";
      body.push(make("tr", { class: data.dropNear && left ? "left" : null },
        make("th", { scope: "row" }, String(task + 1)),
        shown ? make("td", {}, grid([...page.queriesOf(row, task)].reverse(), "Less exciting and more exciting query", "two")) : null,
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
    const { most, least, queries } = page.taskOf(row, task);
    return make("li", {},
      make("div", { class: "strip" },
        grid(least, "Least exciting explanations", "grid"),
        grid([...queries].reverse(), "Queries, the less exciting one first", "queries"),
        grid(most, "Most exciting explanations", "grid")),
      make("div", { class: "sides", "aria-hidden": "true" }, make("span", {}, "least exciting"), make("span", {}, `task ${task + 1}`), make("span", {}, "most exciting")));
  };
  // `rows`: the list that this unit was opened from, in its order
  const show = (box, row, rows) => {
    const at = rows.indexOf(row), ends = page.extremes(row), tasks = page.tasksOf(row);
    const step = (to, rel, words) => (at >= 0 && rows[to] !== undefined ? make("a", { href: page.address({ unit: page.key(rows[to]) }), rel }, words) : null);
    const each = page.layer(row);
    box.replaceChildren(...[
      make("nav", { class: "pager", "aria-label": "Units" },
        make("a", { href: page.address({ unit: "" }), class: "back" }, "← All units"), step(at - 1, "prev", "Previous unit"), step(at + 1, "next", "Next unit")),
      make("h1", { tabindex: "-1" }, page.unitName(row)),
      make("p", { class: "note" }, `${page.model(row)} · ${each[2]} · ${each[3] === null ? "" : `depth ${each[3].toFixed(2)} (0 first, 1 last layer)`}`),
      unitFacts(row),
      directionFacts(row),
      ends ? make("div", { class: "sets" },
        make("div", {}, make("h4", {}, "Least exciting"), grid(ends.least, "Least exciting", "many"), make("p", { class: "note" }, labelWords(ends.least))),
        make("div", {}, make("h4", {}, "Most exciting"), grid(ends.most, "Most exciting", "many"), make("p", { class: "note" }, labelWords(ends.most)))) : null,
      ends ? make("p", { class: "note" }, MADE.includes(page.condition(row)) ? "Each side: the explanations of the first task."
        : `Each side: the ${ends.most.length} most extreme pictures of the study, ${ends.ranked ? "the most extreme first" : "in no order"}.`) : null,
      page.hasPictures(row) ? null : make("p", { class: "absent" }, "No pictures of this unit are in the report. python -m stages.tasks --export names all images of its tasks."),
      ...kinds.part(MADE.includes(page.condition(row)) ? page.rowOf([page.model(row), each[1], data.unit[row], "natural"].join("/")) : row, page.model(row)),
      ...texts.part(row),
      taskTable(row),
      tasks.length ? make("h4", {}, `Tasks with their ${page.K} explanations a side`) : null,
      tasks.length ? make("ul", { class: "strips" }, tasks.map((task) => strip(row, task))) : null,
    ].filter((part) => part !== null));
  };
  return { show };
};
