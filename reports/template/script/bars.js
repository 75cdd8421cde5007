// The tasks of one unit: a bar each, whose height is how sure the machine is of the right picture, and a table of the same.
const barsOf = (page, { facts }) => {
  const { data, T, make, signed, count } = page;
  const PER_LINE = [20, 10]; // bars side by side at most, on wide screens and on phones
  const lined = (most) => Math.ceil(T / Math.ceil(T / most));

  const said = (row, at, shown) => {
    const { p, words, near } = facts.outcome(row, at);
    return [`Task ${at + 1}: ${words}, probability of the right picture ${p.toFixed(2)}`, near, shown ? "" : "pictures not in the page"].filter(Boolean).join("; ");
  };
  const kindOf = (row, at, shown) => {
    const { words, near } = facts.outcome(row, at);
    return [words, near && data.dropNear ? "out" : "", shown ? "" : "bare"].filter(Boolean).join(" ");
  };
  const legend = (row, shown) => {
    const all = Array.from({ length: T }, (_, at) => facts.outcome(row, at));
    return ["Height: probability that the machine gives the right answer. Dashed: guessing.",
      all.some((each) => each.words === "wrong") ? "Hatched: wrong." : null,
      all.some((each) => each.words === "tie") ? "Outlined, at the dashed line: a tie, half a task." : null,
      shown.size === T ? null : shown.size ? "Pale: pictures are not in the page." : null,
      facts.nearWords(row)].filter(Boolean).join(" ");
  };
  // Bars of a unit and the way to mark one of them as shown. `pick(task)` is called for tasks with pictures; arrows go from bar
  // to bar, and one bar alone is a stop of the tab key.
  const bars = (row, pick) => {
    const shown = new Set(page.tasksOf(row));
    const buttons = Array.from({ length: T }, (_, at) => make("button", {
      type: "button", class: kindOf(row, at, shown.has(at)), tabindex: "-1", "aria-disabled": shown.has(at) ? null : "true",
      "aria-label": said(row, at, shown.has(at)), title: said(row, at, shown.has(at)), onclick: () => (shown.has(at) ? pick(at) : null),
    }, make("i", { style: `--p:${(100 * facts.outcome(row, at).p).toFixed(1)}%` })));
    const stop = (at) => buttons.forEach((button, place) => { button.tabIndex = place === at ? 0 : -1; });
    const STEPS = { ArrowLeft: (at) => at - 1, ArrowRight: (at) => at + 1, Home: () => 0, End: () => T - 1 };
    const onkeydown = (event) => {
      const to = STEPS[event.key]?.(buttons.indexOf(event.target));
      if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault(); // the page goes to no other unit meanwhile
      if (!buttons[to]) return;
      stop(to);
      buttons[to].focus();
      if (shown.has(to)) pick(to);
    };
    const mark = (at) => {
      buttons.forEach((button, place) => (place === at ? button.setAttribute("aria-current", "true") : button.removeAttribute("aria-current")));
      stop(at);
    };
    stop(0);
    const box = make("section", { class: "its-tasks" },
      make("h2", { class: "h" }, `Its ${count(T)} tasks: the machine is right in ${facts.rightWords(row)}`),
      make("div", { class: "bars", role: "group", "aria-label": `The ${count(T)} tasks, arrows go on`, style: `--wide:${lined(PER_LINE[0])};--phone:${lined(PER_LINE[1])}`, onkeydown }, buttons),
      make("p", { class: "small soft" }, legend(row, shown)));
    return { box, mark };
  };

  // ---------------------------------------------------------------- the same as a table
  const table = (row) => {
    const answers = data.answers[row], queries = page.queriesOf(row, 0) !== null && row in data.pictures;
    const heads = ["task", ...(queries ? ["queries"] : []), "p(right)", "machine", ...(answers ? [page.peopleOf(row)] : []), "margin"];
    const lines = Array.from({ length: T }, (_, at) => {
      const { m, p, words, mark, near } = facts.outcome(row, at);
      return make("tr", { class: near && data.dropNear ? "left" : null },
        make("th", { scope: "row" }, String(at + 1)),
        queries ? make("td", {}, page.grid([...page.queriesOf(row, at)].reverse(), "Less exciting and more exciting query", "two")) : null,
        make("td", { class: "n" }, p.toFixed(3)),
        make("td", { class: m < 0 ? "bad" : null }, `${mark}${words}`, near ? make("small", {}, near) : null),
        answers ? make("td", {}, answers[2 * at] ? `${answers[2 * at + 1]} of ${answers[2 * at]} right` : "–") : null,
        make("td", { class: "n" }, signed(m, 3)));
    });
    return make("details", { class: "numbers" }, make("summary", {}, `Table of its ${count(T)} tasks`),
      make("div", { class: "part beside" }, make("div", { class: "scroll tasks", role: "region", tabindex: "0", "aria-label": "Table: tasks of the unit" },
        make("table", {}, make("caption", {}, make("span", {}, `Its ${count(T)} tasks and the machine’s answers`)),
          make("thead", {}, make("tr", {}, heads.map((words) => make("th", { scope: "col", class: ["margin", "p(right)"].includes(words) ? "n" : null }, words)))),
          make("tbody", {}, lines)))));
  };
  return { bars, table };
};
