// A task of a unit, to be answered before the machine's answer shows. Nothing in it tells the answer beforehand: the side is a
// hash, both queries are alike but for their picture, and neither carries the name of its file.
const taskOf = (page, facts) => {
  const { make } = page;
  const LETTERS = ["A", "B"];

  // on which side the more exciting query stands: FNV-1a (32 bits) of "key/task", mixed as MurmurHash3 ends, the highest bit
  const side = (row, task) => {
    let mixed = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(`${page.key(row)}/${task}`)) mixed = Math.imul(mixed ^ byte, 0x01000193);
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
    return Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35) >>> 31;
  };

  // row, task: what is asked. note: stands in the heading. next: what "Next task" does, a button that says `other`
  // before the answer; without it there is no such button.
  // after(won, machine): called once answered, with whether the reader was right, and the machine: true, false, null for a tie.
  const play = (box, { row, task, note, next, after, other = "Another unit" }) => {
    const { most, least, queries } = page.taskOf(row, task);
    const right = side(row, task), { m, p, near } = facts.outcome(row, task);
    const shown = right === 0 ? queries : [queries[1], queries[0]];
    const chance = right === 0 ? [p, 1 - p] : [1 - p, p]; // that the machine gives A and B
    const machine = m === 0 ? null : m > 0;

    const query = (id, which) => {
      const picture = page.thumb(id), label = page.nameOf(id);
      const title = picture.getAttribute("title");
      picture.removeAttribute("title");
      const words = make("span", {}, make("span", { class: "key" }, LETTERS[which]));
      const button = make("button", {
        class: "q", type: "button", "aria-label": `Picture ${LETTERS[which]}${label ? `, ${label}` : ""}: excites the unit more`,
        onclick: () => answer(which),
      }, picture, words);
      const reveal = () => {
        if (title) picture.setAttribute("title", title);
        button.classList.toggle("yes", which === right);
        button.setAttribute("aria-disabled", "true");
        button.setAttribute("aria-label", `Picture ${LETTERS[which]}${label ? `, ${label}` : ""}: excites it ${which === right ? "more" : "less"}`);
        words.replaceChildren(which === right ? make("b", {}, "✓ ", make("span", { class: "wide" }, "excites it "), "more") : "less");
      };
      return { button, reveal };
    };
    const both = shown.map(query);

    const sure = make("div", { class: "sure" });
    const showSure = (words, parts) => sure.replaceChildren(
      make("span", {}, `machine: A ${words[0]} %`), make("span", {}, `${words[1]} % B`), make("div", { "aria-hidden": "true" }, parts));
    showSure(["?", "?"], []);

    const said = make("div", { role: "status" }, make("p", { class: "soft" }, "Choose A or B. Then the machine’s answer shows."));
    const go = next ? make("button", { class: "btn", type: "button", onclick: () => next() }, other) : null;
    const verdict = make("div", { class: "verdict" }, said, go);
    const line = (who, won) => make("li", {},
      make("b", { class: won === null ? null : won ? "ok" : "no" }, won === null ? who : `${won ? "✓" : "✗"} ${who}`), won === null ? " undecided" : won ? " right" : " wrong");
    const answer = (mine) => {
      if (box.classList.contains("done")) return;
      box.classList.add("done");
      for (const { reveal } of both) reveal();
      showSure(chance.map(facts.percent), chance.map((share, which) =>
        make("i", { style: `--w:${100 * share}%;--a:${which === right ? "var(--accent)" : "var(--edge)"}` })));
      const his = page.human(row);
      said.replaceChildren(make("ul", {}, line("You", mine === right), line("Machine", machine),
        his ? make("li", {}, make("b", {}, `${page.count(his.right)} of ${page.count(his.n)}`), ` answers of ${page.peopleSaid(row)} to this unit are right`) : null,
        near ? make("li", { class: "soft" }, near) : null));
      if (after) after(mine === right, machine);
      if (go) {
        go.textContent = "Next task →";
        go.classList.add("main");
        go.focus({ preventScroll: true });
      }
    };

    const title = `${box.id || "task"}-title`, leastWords = facts.leastWords(row);
    box.className = "task";
    box.setAttribute("aria-labelledby", title);
    box.replaceChildren(
      make("header", {}, make("h2", { id: title }, "Which picture excites this unit more: A or B?"), make("p", { class: "asked" }, note)),
      make("div", { class: "play" },
        make("div", { class: "side least" }, make("p", { "aria-hidden": "true" }, `− ${leastWords}`), page.nine(least, `${leastWords[0].toUpperCase()}${leastWords.slice(1)}`)),
        make("div", { class: "ask", role: "group", "aria-label": "Two new pictures" }, both.map(({ button }) => button), sure),
        make("div", { class: "side most" }, make("p", { "aria-hidden": "true" }, "most exciting +"), page.nine(most, "Most exciting"))),
      verdict);
    box.onkeydown = (event) => {
      const which = LETTERS.indexOf(event.key.toUpperCase());
      if (which < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      answer(which);
    };
  };
  return { play, side };
};
