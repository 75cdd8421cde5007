// A long list in the flow of the page of which only what can be seen, and what has the focus, is in the document.
// Called by the list. All items are equally high.
const rowsOf = () => {
  const MOST = 12e6; // pixels: what every browser scrolls through
  let box, items = [], make, layout, whole = false, shown = new Map(), wait = 0;

  // how many stand beside each other, how far apart, how high: of the first, as it is drawn
  const measure = () => {
    const { columns, width, gap } = layout.measure(box.clientWidth);
    layout = { ...layout, columns, width, gap };
    const probe = shown.get(0) || box.appendChild(make(items[0], 0));
    probe.style.cssText = `position:absolute;width:${width}px`;
    layout.height = probe.getBoundingClientRect().height + gap;
    if (!shown.has(0)) probe.remove();
    const rows = Math.min(Math.ceil(items.length / columns), Math.floor(MOST / layout.height));
    layout.most = Math.min(items.length, rows * columns);
    box.style.height = `${rows * layout.height - gap}px`;
  };
  const stand = (element, at) => {
    const { columns, width, gap, height } = layout;
    element.style.cssText = `position:absolute;left:${(at % columns) * (width + gap)}px;top:${Math.floor(at / columns) * height}px;width:${width}px`;
  };
  const draw = () => {
    wait = 0;
    if (!box || items.length === 0) return;
    const { columns, height, most } = layout, top = box.getBoundingClientRect().top, more = innerHeight / 2;
    const from = whole ? 0 : Math.max(0, Math.floor((-top - more) / height)) * columns;
    const to = whole ? most : Math.min(most, Math.max(0, Math.ceil((innerHeight - top + more) / height)) * columns);
    const focused = box.contains(document.activeElement) ? Number(document.activeElement.closest("[data-at]").dataset.at) : -1;
    for (const [at, element] of shown) {
      if ((at < from || at >= to) && at !== focused) {
        element.remove();
        shown.delete(at);
      }
    }
    for (let at = from; at < to; at++) {
      if (shown.has(at)) continue;
      const element = make(items[at], at);
      element.dataset.at = at;
      stand(element, at);
      let after = at + 1; // the order in the document is that on the page
      while (after < to && !shown.has(after)) after++;
      const next = shown.get(after) || (focused >= to ? shown.get(focused) : null);
      box.insertBefore(element, next || null);
      shown.set(at, element);
    }
  };
  const later = () => { wait = wait || requestAnimationFrame(draw); };
  const again = () => {
    if (!box || items.length === 0) return;
    measure();
    for (const [at, element] of shown) stand(element, at);
    draw();
  };
  // items in `into`, one element each from `element(item, at)`; `measured(width)` gives columns, width of one and gap;
  // `all`: a short list, which is there as a whole, so that it is found and printed
  const fill = (into, list, element, measured, all) => {
    if (box && box !== into) box.style.cssText = "";
    [box, items, make, whole, shown] = [into, list, element, all, new Map()];
    layout = { measure: measured };
    box.replaceChildren();
    if (items.length === 0) box.style.height = "";
    else again();
  };
  // brings item `at` into view and gives the focus to its link; false where it is not in the list
  const focus = (at) => {
    if (!(at >= 0 && at < layout.most)) return false;
    const top = box.getBoundingClientRect().top + Math.floor(at / layout.columns) * layout.height;
    if (top < 0 || top + layout.height > innerHeight) {
      const nearer = top < 0 ? top - 8 : top + layout.height - innerHeight + 8;
      scrollBy({ top: Math.abs(nearer) > layout.height * 2 ? top - (innerHeight - layout.height) / 2 : nearer, behavior: "instant" });
    }
    draw();
    shown.get(at).querySelector("a").focus({ preventScroll: true });
    return true;
  };
  addEventListener("scroll", later, { passive: true });
  addEventListener("resize", () => { if (box && box.clientWidth) again(); });
  return { fill, focus, again, columns: () => layout.columns, most: () => layout.most };
};
