// The page of one unit, shown instead of the study. Called by main.js; everything is set as text.
const unitOf = (page, { facts, charts, task, bars, picture, texts, kinds, watch }) => {
  const { data, K, SCORE, make, score, signed, count } = page;
  const MOST_LINKS = 6; // twins named in the line of facts; the others open
  const EXPORT = "python -m stages.tasks --export FILE.parquet --model";

  const linkTo = (row, words) => make("a", { href: page.address({ unit: page.key(row) }) }, words);
  const commas = (links) => links.flatMap((link, at) => (at ? [", ", link] : [link]));
  const headed = (words, ...children) => make("section", {}, make("h2", { class: "h" }, words), children);
  const small = (...words) => make("p", { class: "small soft" }, words);
  const pair = (words, ...value) => make("div", {}, make("dt", {}, words), make("dd", {}, value));

  // ---------------------------------------------------------------- its name, and what can be done with it
  const places = (row, rows) => {
    const at = rows.indexOf(row);
    return at < 0 ? [undefined, undefined] : [rows[at - 1], rows[at + 1]];
  };
  const copyLink = (said) => {
    const refused = () => said.replaceChildren(`The clipboard refuses; the link is in the address line of the browser`);
    if (!navigator.clipboard) return refused();
    return navigator.clipboard.writeText(location.href).then(() => said.replaceChildren("Link copied"), refused);
  };
  const copyPicture = (row, shown, said) => {
    said.replaceChildren("Drawing …");
    return picture.copy(row, shown.at, shown.answered()).then((words) => said.replaceChildren(words),
      (error) => said.replaceChildren(`No picture: ${error.message}`));
  };
  const crumb = (row, rows, shown) => {
    const [before, after] = places(row, rows), said = make("span", { class: "soft", role: "status" });
    const wide = (words) => make("span", { class: "wide" }, words); // phones have room for the rest alone
    const step = (to, rel, name, ...words) => (to === undefined ? null : make("a", { class: "btn", href: page.address({ unit: page.key(to) }), rel, "aria-label": name }, words));
    const button = (what, onclick) => make("button", { class: "btn", type: "button", "aria-label": `Copy ${what}`, onclick }, wide(`Copy ${what.startsWith("as") ? "as " : ""}`), what.replace(/^as /, ""));
    return make("nav", { class: "crumb", "aria-label": "Unit" },
      make("a", { href: page.address({ unit: "" }), class: "back" }, "← All units"),
      make("span", { class: "does" }, said, step(before, "prev", "Previous unit", "←", wide(" Previous")), step(after, "next", "Next unit", wide("Next "), "→"), button("link", () => copyLink(said)),
        shown ? button("as PNG", () => copyPicture(row, shown, said)) : null));
  };
  const twinWords = (row) => {
    const twins = page.twins(row);
    if (!twins.length) return null;
    const links = twins.map((other) => linkTo(other, page.unitName(other)));
    const more = links.length > MOST_LINKS ? make("details", { class: "inline" },
      make("summary", {}, `and ${links.length - MOST_LINKS} more`), commas(links.slice(MOST_LINKS))) : null;
    return [" Same pictures: ", commas(links.slice(0, MOST_LINKS)), more ? " " : ".", more];
  };
  const head = (row) => {
    const [, , type, depth] = page.layer(row), others = facts.otherTasks(row);
    return make("div", { class: "named" },
      make("h1", { tabindex: "-1" }, make("span", { class: "dot", style: `--c:${page.colour(page.modelIndex(row))}` }), ` ${page.model(row)} ${page.unitName(row)}`),
      make("p", { class: "soft" }, `${type}${depth === null ? "" : `, depth ${depth.toFixed(2)}`}. ${facts.placeWords(row)}`, twinWords(row),
        others.length ? [" Its other tasks: ", commas(others.map((other) => linkTo(other, page.condition(other) === "natural" ? "natural" : page.unitName(other).split(", ").at(-1)))), "."] : null));
  };

  // ---------------------------------------------------------------- its tasks
  // Box of the task that is shown, its bars, and which one it is. `answered`: whether its reader has answered.
  const tasks = (row) => {
    const numbers = page.tasksOf(row), box = make("section", { class: "task", id: "one" });
    const shown = { at: numbers[0], answered: () => box.classList.contains("done") };
    const pick = (at) => {
      shown.at = at;
      own.mark(at);
      const next = numbers.length > 1 ? () => {
        pick(numbers[(numbers.indexOf(at) + 1) % numbers.length]);
        box.querySelector("button").focus({ preventScroll: true });
      } : null;
      task.play(box, { row, task: at, note: `task ${at + 1} of ${count(page.T)}`, next, other: "Another task" });
    };
    const own = bars.bars(row, pick), any = numbers.length > 0;
    const asked = data.play.find(([other, at]) => other === row && numbers.includes(at));
    if (any) pick(asked ? asked[1] : numbers[0]);
    return [make("div", { class: "left" }, any ? box : absent(row), own.box, page.extremes(row) || !any ? null : absent(row), bars.table(row)), any ? shown : null];
  };
  const absent = (row) => {
    const n = page.tasksOf(row).length;
    return make("p", { class: n ? "without small soft" : "without" },
      n ? `Of this unit the page has the pictures of ${n === 1 ? "one task" : `${count(n)} tasks`}, and not its extremes. ` : "No pictures of this unit are in the page. ",
      make("code", {}, `${EXPORT} ${page.model(row)}`), " names all images of its tasks.");
  };

  // ---------------------------------------------------------------- its score
  const scores = (row) => {
    const every = charts.scoresOf(row), confidence = `${Math.round(100 * data.confidence)} %`;
    const note = [`Intervals: ± ${data.z.toFixed(2)} standard errors ${facts.intervalWords(row)}.`,
      every.some((each) => each.human) ? `Open square: ${page.peopleOf(row)}; Wilson’s interval over ${count(page.human(row).n)} answers.` : null,
      every.some((each) => each.value === null) ? "–: not scored in these tasks." : null,
      every.some((each) => each.unclear) ? "*: the slope is not identified, so this level compares with no other." : null].filter(Boolean).join(" ");
    return make("div", { class: "scores" },
      make("p", { class: "big" }, make("b", {}, score(data.mis[row])), make("span", { class: "soft" }, `MIS, ± ${score(data.se[row])} ${facts.errorWords(row)}`)),
      headed(`Score by each similarity, ${confidence} interval`, charts.scores(row), small(note)),
      headed("Easier than", charts.ranks(row)),
      facts.peopleWords(row) ? make("p", { class: "soft" }, facts.peopleWords(row)) : null,
      facts.endWords(row) ? make("p", { class: "soft" }, facts.endWords(row)) : null,
      small(facts.slopeWords(row)),
      direction(row));
  };
  // what a direction is, how often a latent is active, and which units its decoder lies nearest to
  const direction = (row) => {
    const read = page.readOf(row);
    if (!read) return null;
    const [kind, pooling, base, layer, dead, sparse, total] = read;
    const firing = data.directions.firing[row], nearest = data.directions.nearest[row] || [];
    const near = nearest.map(([unit, cosine]) => {
      const other = base ? page.rowOf([base, layer, unit, "natural"].join("/")) : undefined, words = `${layer} · ${unit}`;
      return make("li", {}, other === undefined ? words : linkTo(other, words), ` ${signed(cosine / 100, 2)}`);
    });
    return headed("The direction", make("dl", { class: "about" },
      pair("What", `${kind} of ${layer}${base ? ` of ${base}` : ""}, pooled by ${pooling}`),
      firing === undefined || firing === null ? null : pair("Firing rate", `${((100 * firing) / SCORE).toPrecision(2)} % of all pictures`),
      total === null ? null : pair("Latents of the layer", `${count(total)}; ${count(sparse)} too sparse for tasks, ${count(dead)} dead: neither have scores`),
      near.length ? pair("Nearest units", make("ul", {}, near), small("by the cosine with its decoder or axis")) : null));
  };

  // ---------------------------------------------------------------- its pictures
  // Pictures in their order; the rank shows where the mouse or the focus is, and arrows go from one to the next.
  const ranked = (ids, words, isRanked) => {
    const cells = ids.map((id, at) => {
      const name = page.nameOf(id), place = isRanked ? `rank ${at + 1} of ${ids.length}` : `picture ${at + 1} of ${ids.length}`;
      const cell = make("span", { role: "img", tabindex: at ? "-1" : "0", "aria-label": `${place}${name ? `: ${name}` : ""}`, "data-rank": isRanked ? String(at + 1) : null }, page.thumb(id));
      cell.firstChild.title = `${place}, ${cell.firstChild.title}`;
      return cell;
    });
    const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -ids.length, End: ids.length };
    const onkeydown = (event) => {
      const step = STEPS[event.key], from = cells.indexOf(event.target);
      if (!step || from < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      const to = cells[Math.max(0, Math.min(cells.length - 1, from + step))];
      event.target.tabIndex = -1;
      to.tabIndex = 0;
      to.focus();
    };
    return make("div", { class: "many", role: "group", "aria-label": `${words}: ${page.labelWords(ids) || `${ids.length} pictures`}`, onkeydown }, cells);
  };
  const extremes = (row) => {
    const ends = page.extremes(row);
    if (!ends) return null;
    const made = facts.isMade(row);
    const side = (ids, which) => {
      const words = made ? `Explanations of its first task: ${which}` : `The ${count(ids.length)} ${which} pictures`;
      const order = made ? "" : ends.ranked ? `In order of rank, the ${which} first. ` : "In no order. ", labels = page.labelWords(ids);
      return headed(words, ranked(ids, words, ends.ranked && !made), small(order, labels ? `Labels: ${labels}.` : ""));
    };
    return make("div", { class: "lower" }, side(ends.least, "least exciting"), side(ends.most, "most exciting"));
  };
  const neighbours = (row) => {
    const near = page.near(row);
    if (!near.length) return null;
    return headed("Neighbours: units whose explanations share the most pictures", make("ul", { class: "near" }, near.map(([other, share]) => {
      const number = page.tasksOf(other)[0], shown = number === undefined ? null : page.taskOf(other, number).most.slice(0, 6);
      return make("li", {}, shown ? make("div", { class: "six", "aria-hidden": "true" }, shown.map(page.thumb)) : null,
        make("p", {}, linkTo(other, page.unitName(other))),
        make("p", { class: "soft num" }, `${page.model(other)} · shares ${Math.round((100 * share) / SCORE)} % · MIS ${score(data.mis[other])}`));
    })));
  };

  // ---------------------------------------------------------------- together
  // Fill the box with the page of a unit. `rows`: the list that it was opened from, in its order. Keys press its links: .back,
  // and those whose rel is prev or next.
  const show = (box, row, rows) => {
    const [left, shown] = tasks(row), top = crumb(row, rows, shown), own = facts.isMade(row) ? facts.naturalOf(row) : row;
    box.replaceChildren(top, head(row), make("div", { class: "unit" }, left, scores(row)),
      ...[extremes(row), neighbours(row), ...kinds.part(own, page.model(row)), ...texts.part(row)].filter(Boolean));
    watch(box);
  };
  return { show };
};
