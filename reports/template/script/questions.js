/* What lies closed in questions, methods and records is kept in templates, out of the page. It is put in place when its line is
   opened, when a link leads into it, or by the button that opens everything. Tables that go on at the right say so. */
const questionsOf = () => {
  const study = document.getElementById("study");
  const WHOLE = "Open everything", CLOSED = "Close everything";

  const markTable = (box) => {
    const hidden = box.scrollWidth - box.clientWidth - box.scrollLeft;
    box.parentElement.toggleAttribute("data-more", hidden > 1);
  };
  // a table that is shown anew, or whose place changes its width, is looked at again
  const sizes = new ResizeObserver((entries) => entries.forEach((entry) => markTable(entry.target)));
  // tables of a part of the page that has just been made
  const watch = (part) => part.querySelectorAll(".beside > .scroll").forEach((box) => sizes.observe(box));

  const fill = (details) => {
    const held = details.querySelector(":scope > template");
    if (!held) return;
    held.replaceWith(held.content);
    watch(details);
  };
  const open = (details) => { fill(details); details.open = true; };

  /* The element with this id, taken out of the template that holds it; every line around it is opened. */
  const reveal = (id) => {
    const holds = (held) => held.content.getElementById(id);
    if (!document.getElementById(id)) {
      const held = [...study.querySelectorAll("template")].find(holds);
      if (held) fill(held.parentElement);
    }
    const found = document.getElementById(id);
    if (!found || !study.contains(found)) return false;
    for (let around = found.closest("details"); around; around = around.parentElement.closest("details")) open(around);
    found.scrollIntoView();
    return true;
  };
  const follow = () => {
    let id = location.hash.slice(1);
    try { id = decodeURIComponent(id); } catch { return; } // no place of this page is called so
    // back from a unit to the list: it has put the focus on the card of the unit, where the reader was
    if (id === "units" && document.activeElement?.closest("#units")) return;
    if (id && !id.includes("?")) reveal(id);
  };

  const every = () => [...study.querySelectorAll(".part details")];
  const toggleAll = (button) => {
    const opens = button.textContent === WHOLE;
    // what is opened may hold more of its kind
    if (opens) for (let closed = every(); closed.length; closed = every().filter((one) => !one.open)) closed.forEach(open);
    else every().forEach((one) => { one.open = false; });
    button.textContent = opens ? CLOSED : WHOLE;
  };

  const start = () => {
    study.addEventListener("toggle", (event) => { if (event.target.open) fill(event.target); }, true);
    document.addEventListener("scroll", (event) => { if (event.target.matches?.(".beside > .scroll")) markTable(event.target); }, true);
    // a link to the place that the address names already changes no address
    study.addEventListener("click", (event) => {
      const link = event.target.closest('a[href^="#"]');
      if (link && link.hash === location.hash) follow();
    });
    document.getElementById("open-all")?.addEventListener("click", (event) => toggleAll(event.currentTarget));
    addEventListener("hashchange", follow);
    watch(study);
    follow();
  };
  return { start, reveal, watch };
};
