// The start of the page: what the address says is shown, and keys are heard. Called last; it calls every other part.
(() => {
  const block = document.getElementById("unit-data");
  if (!block) return;
  const page = pageOf(JSON.parse(block.textContent));
  const study = document.getElementById("study"), opened = document.getElementById("unit"), units = document.getElementById("units");
  const facts = factsOf(page), charts = chartsOf(page, facts), task = taskOf(page, facts), questions = questionsOf();
  const texts = textsOf(page.data, page), kinds = kindsOf(page.data, page);
  const find = findOf(page, { texts, kinds });
  const list = listOf(page, { facts, charts, texts, kinds, find, watch: questions.watch });
  const bars = barsOf(page, { facts }), picture = pictureOf(page, { facts, charts, task });
  const unit = unitOf(page, { facts, charts, task, bars, picture, texts, kinds, watch: questions.watch });

  // ---------------------------------------------------------------- address
  const { title } = document; // of the study
  let before = page.state(), inside = false; // whether the address before named units
  let listed = false;
  const show = () => {
    const hash = location.hash, linked = hash.startsWith("#units?"), here = linked || hash === "#units" || hash === "";
    const state = here ? page.read() : page.close();
    const row = state.unit ? page.rowOf(state.unit) : undefined;
    const was = opened.hidden ? "" : before.unit;
    opened.hidden = row === undefined;
    study.hidden = row !== undefined;
    document.title = row === undefined ? title : `${page.model(row)} ${page.unitName(row)} | ${title}`;
    if (row !== undefined) {
      unit.show(opened, row, find.select(state));
      if (was !== state.unit) {
        scrollTo({ top: 0, behavior: "instant" });
        opened.querySelector("h1").focus({ preventScroll: true });
      }
    } else {
      opened.replaceChildren();
      if (here || was || !listed) list.show(state);
      listed = true;
      if (was && here) { // back to its card; another place of the page is shown by the listener of the questions
        if (!list.focus(page.rowOf(was))) units.scrollIntoView({ behavior: "instant" });
      } else if (linked && !inside) units.scrollIntoView({ behavior: "instant" }); // no element has such a name, so nothing else scrolls
    }
    before = state;
    inside = here && hash !== "";
  };
  page.onChange(show, () => { inside = true; }); // who presses something in the list is there already
  addEventListener("hashchange", show);

  // ---------------------------------------------------------------- keys
  const STORED = "shortcuts";
  const store = { // pages from a file may have no storage: then the choice holds until the page is closed
    read: () => { try { return localStorage.getItem(STORED); } catch { return null; } },
    write: (value) => { try { localStorage.setItem(STORED, value); } catch { return; } },
  };
  const button = document.getElementById("keys");
  let keys = store.read() !== "off";
  const showKeys = () => {
    button.setAttribute("aria-pressed", String(keys));
    button.textContent = keys ? "Shortcuts on" : "Shortcuts off";
  };
  if (button) {
    button.parentElement.hidden = false; // keys do nothing without a script
    showKeys();
    button.addEventListener("click", () => { keys = !keys; store.write(keys ? "on" : "off"); showKeys(); });
  }
  addEventListener("keydown", (event) => {
    if (!keys || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("input, select, textarea")) return;
    if (!opened.hidden) {
      const to = { Escape: ".back", ArrowLeft: "[rel=prev]", ArrowRight: "[rel=next]" }[event.key];
      // what scrolls sideways keeps its arrows
      if (to && !(event.key !== "Escape" && event.target.closest?.(".scroll"))) opened.querySelector(to)?.click();
    } else if (event.key === "/") {
      event.preventDefault();
      list.search();
    }
  });
  show();
  firstOf(page, task).start();
  questions.start(); // after the listener above: a place inside is looked for once the study shows again
})();
