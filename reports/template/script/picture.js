// A task of a unit as a picture for slides, 1600 x 900, in the page's colours. The page's policy allows it as it is: sheets of
// pictures are data: addresses, which img-src names; a canvas, the clipboard and a download of a blob ask the policy for nothing.
const pictureOf = (page, { facts, charts, task }) => {
  const { data, make } = page;
  const W = 1600, H = 900, SIDE = 80, GRID = 447, QUERY = 224, GAP = 20, TOP = 250;
  const SQUARE = TOP + (GRID - QUERY) / 2; // where queries begin: in the middle of the grids

  // ---------------------------------------------------------------- sheets
  const sheets = new Map(); // decoded once
  const urlOf = (sheet) => {
    const probe = make("i", { class: `t s${sheet}`, hidden: true });
    document.body.append(probe);
    const url = getComputedStyle(probe).backgroundImage.replace(/^url\("?/, "").replace(/"?\)$/, "");
    probe.remove();
    return url;
  };
  const decoded = async (sheet) => {
    const image = new Image();
    image.src = urlOf(sheet);
    await image.decode();
    return image;
  };
  const sheetsOf = async (ids) => {
    for (const id of ids) {
      const sheet = Math.floor(id / data.perSheet);
      if (!sheets.has(sheet)) sheets.set(sheet, await decoded(sheet));
    }
  };

  // ---------------------------------------------------------------- pens
  const penOf = (canvas) => {
    const context = canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement), family = getComputedStyle(document.body).fontFamily;
    const colour = (value) => (value.startsWith("var(") ? style.getPropertyValue(value.slice(4, -1)).trim() : value);
    context.imageSmoothingQuality = "high";
    const font = (weight, size) => { context.font = `${weight} ${size}px ${family}`; };
    // words in one line of at most `most` pixels: the end of what is longer is left out, and a mark says so
    const fitted = (words, most) => {
      if (context.measureText(words).width <= most) return words;
      let n = words.length - 1;
      while (n > 1 && context.measureText(`${words.slice(0, n)}…`).width > most) n--;
      return `${words.slice(0, n)}…`;
    };
    const say = (words, x, y, { weight = 400, size = 28, ink = "var(--ink)", align = "left", most = W - 2 * SIDE } = {}) => {
      font(weight, size);
      context.fillStyle = colour(ink);
      context.textAlign = align;
      const line = fitted(words, most);
      context.fillText(line, x, y);
      return context.measureText(line).width;
    };
    const box = (x, y, w, h, ink) => { context.fillStyle = colour(ink); context.fillRect(x, y, w, h); };
    const ring = (x, y, side, width, ink) => {
      context.strokeStyle = colour(ink);
      context.lineWidth = width;
      context.strokeRect(x - width, y - width, side + 2 * width, side + 2 * width);
    };
    const thumb = (id, x, y, side) => {
      const image = sheets.get(Math.floor(id / data.perSheet)), own = image.naturalWidth / data.sheetColumns;
      const place = id % data.perSheet, column = place % data.sheetColumns, row = Math.floor(place / data.sheetColumns);
      context.drawImage(image, column * own, row * own, own, own, x, y, side, side);
    };
    return { context, colour, say, box, ring, thumb };
  };
  const grid = (pen, ids, x) => {
    const columns = Math.ceil(Math.sqrt(ids.length)), step = GRID / columns;
    ids.forEach((id, at) => pen.thumb(id, x + (at % columns) * step, TOP + Math.floor(at / columns) * step, step - 3));
  };

  // ---------------------------------------------------------------- parts
  const queries = (pen, row, at, shown, answered) => {
    const right = task.side(row, at), from = (W - 2 * QUERY - GAP) / 2;
    const ids = right ? [shown.queries[1], shown.queries[0]] : shown.queries;
    ids.forEach((id, place) => {
      const x = from + place * (QUERY + GAP), middle = x + QUERY / 2;
      pen.ring(x, SQUARE, QUERY, answered && place === right ? 7 : 2, answered && place === right ? "var(--right)" : "var(--edge)");
      pen.thumb(id, x, SQUARE, QUERY);
      const words = !answered ? "AB"[place] : place === right ? "✓ excites it more" : "less";
      pen.say(words, middle, SQUARE + QUERY + 44, { weight: 700, size: answered ? 24 : 30, align: "center", ink: answered && place === right ? "var(--right)" : "var(--ink)" });
    });
    if (!answered) return;
    const p = page.probability(row, page.margin(row, at)), shares = right ? [1 - p, p] : [p, 1 - p], width = 2 * QUERY + GAP;
    const percent = shares.map((share) => `${facts.percent(share)} %`), y = SQUARE + QUERY + 100;
    pen.say(`machine: A ${percent[0]}`, from, y - 12, { size: 22, ink: "var(--soft)" });
    pen.say(`${percent[1]} B`, from + width, y - 12, { size: 22, ink: "var(--soft)", align: "right" });
    pen.box(from, y, width, 12, "var(--line)");
    pen.box(right ? from + width * shares[0] : from, y, width * p, 12, "var(--accent)");
  };
  const density = (pen, row) => {
    const width = 420, x0 = W - SIDE - width, y = 828, height = 84, { context } = pen, counts = charts.beside(row);
    const x = (value) => x0 + charts.across(value) * width;
    context.fillStyle = pen.colour(page.colour(page.modelIndex(row)));
    context.globalAlpha = 0.5;
    context.fill(new Path2D(charts.area(counts, x, y, height)));
    context.globalAlpha = 1;
    pen.box(x0, y, width, 1.5, "var(--edge)");
    pen.box(x(data.mis[row] / 1e6) - 2.5, y - height - 6, 5, height + 6, "var(--ink)");
    const ends = charts.ends.map((value) => String(Number(value.toFixed(4)))).join(" to ");
    const wide = pen.say(`MIS ${ends}`, W - SIDE, y + 32, { size: 22, ink: "var(--soft)", align: "right" });
    pen.say(facts.besideWords(row), x0, y + 32, { size: 22, ink: "var(--soft)", most: width - wide - GAP });
  };
  // The picture of task number `at` of a unit. `answered`: it shows which query is right and what the machine says; else it asks.
  const drawn = async (row, at, answered) => {
    const shown = page.taskOf(row, at), canvas = make("canvas", { width: W, height: H });
    await sheetsOf([...shown.most, ...shown.least, ...shown.queries]);
    const pen = penOf(canvas), left = W - 2 * SIDE - 460;
    pen.box(0, 0, W, H, "var(--page)");
    pen.say("Which picture excites this unit more: A or B?", SIDE, 112, { weight: 700, size: 46 });
    pen.context.beginPath();
    pen.context.arc(SIDE + 11, 151, 11, 0, 2 * Math.PI);
    pen.context.fillStyle = pen.colour(page.colour(page.modelIndex(row)));
    pen.context.fill();
    pen.say(`${page.model(row)} ${page.unitName(row)}, task ${at + 1} of ${page.T}`, SIDE + 34, 161, { ink: "var(--soft)" });
    pen.say(`− ${facts.leastWords(row)}`, SIDE, TOP - 16, { weight: 600, size: 26 });
    pen.say("most exciting +", W - SIDE, TOP - 16, { weight: 600, size: 26, align: "right" });
    grid(pen, shown.least, SIDE);
    grid(pen, shown.most, W - SIDE - GRID);
    queries(pen, row, at, shown, answered);
    const wide = pen.say(page.score(data.mis[row]), SIDE, 800, { weight: 700, size: 56 });
    pen.say(`MIS ± ${page.score(data.se[row])}, guessing scores 0.5`, SIDE + wide + 18, 800, { ink: "var(--soft)", most: left - wide });
    pen.say(facts.shortWords(row), SIDE, 846, { size: 26, ink: "var(--soft)", most: left });
    return canvas;
  };
  const picture = async (row, at, answered) => {
    const canvas = await drawn(row, at, answered);
    density(penOf(canvas), row);
    return new Promise((done, fail) => canvas.toBlob((blob) => (blob ? done(blob) : fail(new Error("no picture came out"))), "image/png"));
  };

  // ---------------------------------------------------------------- where it goes
  const save = (blob, name) => {
    const url = URL.createObjectURL(blob);
    make("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser reads it after the click
  };
  // Put the picture on the clipboard, or into a file where the clipboard refuses; gives words that say which. The promise is
  // handed over as it is: a clipboard that waits for the picture still knows that a person pressed a button.
  const copy = async (row, at, answered) => {
    const made = picture(row, at, answered);
    made.catch(() => null); // told below, whoever takes it first
    try {
      await navigator.clipboard.write([new ClipboardItem({ "image/png": made })]);
      return "Picture copied";
    } catch {
      save(await made, `${page.key(row).replace(/[^\p{L}\p{N}._-]+/gu, "_")}_task${at + 1}.png`);
      return "Picture saved as a file";
    }
  };
  return { picture, copy };
};
