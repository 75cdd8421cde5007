// The first screen: one task after another, in the order of the rule that chose them, and where each unit lies in the spread.
const firstOf = (page, task) => {
  const { data, make } = page;
  const box = document.getElementById("hero");
  const PERCENT = 100;

  // ---------------------------------------------------------------- the mark of the unit asked about
  const rows = [...document.querySelectorAll("#spread [data-net]")];
  const [start, width] = data.bins;
  const mark = (row) => {
    const net = page.modelIndex(row), mis = data.mis[row] / page.SCORE;
    const top = Math.max(...rows.map((each) => Math.max(...data.nets[each.dataset.net].h) / data.nets[each.dataset.net].n));
    for (const each of rows) {
      const own = each.querySelector(".here"), counts = data.nets[each.dataset.net];
      own.hidden = Number(each.dataset.net) !== net;
      if (own.hidden) continue;
      const bin = Math.min(counts.h.length - 1, Math.max(0, Math.floor((mis - start) / width)));
      own.style.setProperty("--at", (PERCENT * (mis - start)) / (1 - start));
      own.style.setProperty("--up", (0.9 * PERCENT * counts.h[bin]) / counts.n / top); // as high as the outline there
      own.firstElementChild.textContent = mis.toFixed(2);
    }
  };

  // ---------------------------------------------------------------- the tasks
  const turns = data.play.filter(([row, at]) => page.taskOf(row, at));
  const tally = { n: 0, you: 0, machine: 0 };
  const link = (row) => make("span", { class: "unit-name" },
    make("a", { href: page.address({ unit: page.key(row) }) }, `${page.model(row)} ${page.unitName(row)}`));
  const ask = (at, focus) => {
    if (at === turns.length) { // the first again
      at = 0;
      Object.assign(tally, { n: 0, you: 0, machine: 0 });
    }
    const [row, number] = turns[at];
    task.play(box, {
      row, task: number, note: link(row),
      next: () => ask(at + 1, true),
      after: (won, machine) => {
        tally.n += 1;
        tally.you += won ? 1 : 0;
        tally.machine += machine ? 1 : 0;
        // beside the verdict, so that the name of the unit keeps its room
        box.querySelector(".verdict ul").append(make("li", { class: "tally soft" }, `So far: you ${tally.you} of ${tally.n}, machine ${tally.machine}`));
      },
    });
    mark(row);
    if (focus) box.querySelector(".q").focus({ preventScroll: true });
  };
  return { start: () => { if (box && turns.length) ask(0, false); } };
};
