// What is said of one unit in words, wherever it is shown: its tasks, its error, the people who answered, the units beside it.
const factsOf = (page) => {
  const { data, T, score, count, signed } = page;
  const SCORE = 1e6;
  const MADE = ["synthetic", "mixed"]; // tasks that made images explain
  const isMade = (row) => MADE.includes(page.condition(row));
  // what the other side of a task shows: one-sided tasks have pictures drawn at random in its place
  const leastWords = (row) => (page.condition(row) === "one_sided" ? "drawn at random" : "least exciting");

  // ---------------------------------------------------------------- tasks
  const percent = (p) => (p > 0.995 ? "> 99" : p < 0.005 ? "< 1" : String(Math.round(100 * p))); // nothing is certain
  const nearOf = (row) => data.near[row] || []; // tasks whose query nearly equals one of their explanations
  const leftOut = (row) => (data.dropNear ? nearOf(row) : []);
  const outcome = (row, at) => {
    const m = page.margin(row, at), near = nearOf(row).includes(at);
    return {
      m, p: page.probability(row, m), words: m > 0 ? "right" : m < 0 ? "wrong" : "tie", mark: m > 0 ? "✓ " : m < 0 ? "✗ " : "",
      near: !near ? "" : data.dropNear ? "left out: near copy of an explanation" : "near copy of an explanation",
    };
  };
  // how many of its scored tasks the machine has right; a tie is half a task
  const rightOf = (row) => {
    const left = new Set(leftOut(row));
    let right = 0;
    for (let at = 0; at < T; at++) {
      const m = page.margin(row, at);
      if (!left.has(at)) right += m > 0 ? 1 : m === 0 ? 0.5 : 0;
    }
    return { right, of: T - left.size };
  };
  const rightWords = (row) => {
    const { right, of } = rightOf(row);
    return `${right} of ${count(of)}`;
  };
  const list = (places) => {
    const names = places.map((at) => String(at + 1));
    return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
  };
  const nearWords = (row) => {
    const near = nearOf(row);
    if (!near.length) return null;
    const tasks = near.length === 1 ? `Task ${list(near)}` : `Tasks ${list(near)}`, one = near.length === 1;
    return data.dropNear ? `${tasks} ${one ? "is" : "are"} left out of the score: a query is a near copy of an explanation.`
      : `${tasks}: a query is a near copy of an explanation.`;
  };

  // ---------------------------------------------------------------- score and people
  // what intervals of all similarities are over
  const intervalWords = (row) => {
    const tasks = `over its ${count(rightOf(row).of)} tasks`;
    if (!isMade(row)) return tasks;
    return data.tasksAlone.includes(row) ? `${tasks} alone` : `${tasks}, of ${data.lead} over the luck of made images, too`;
  };
  // what ± is over: tasks, and the luck of the images that were made where it is known
  const errorWords = (row) => {
    const over = `over its ${count(rightOf(row).of)} tasks`;
    if (!isMade(row)) return over;
    return data.tasksAlone.includes(row) ? `${over} alone: how much the luck of made images changes it is not known` : `${over} and the luck of made images`;
  };
  const people = (row) => page.peopleSaid(row);
  // the interval of a share of right answers: Wilson's, which has a width where all are right, too
  const shareEnds = ({ right, n }) => {
    const p = right / n, z2 = data.z ** 2, middle = (p + z2 / (2 * n)) / (1 + z2 / n);
    const reach = (data.z * Math.sqrt((p * (1 - p)) / n + z2 / (4 * n * n))) / (1 + z2 / n);
    return [Math.max(0, middle - reach), Math.min(1, middle + reach)];
  };
  const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);
  const peopleWords = (row) => {
    const human = page.human(row);
    if (!human) return null;
    const gap = (human.his - data.mis[row]) / SCORE, apart = Math.abs(gap).toFixed(3);
    const beside = Number(apart) === 0 ? "as MIS" : `MIS ${gap < 0 ? "above" : "below"} it by ${apart}`;
    const z = row in page.missed ? ` (z ${signed(page.missed[row], 1)}: among the units that MIS misses most)` : "";
    return `${capital(people(row))} were right in ${count(human.right)} of ${count(human.n)} answers: HIS ${score(human.his)} (${shareEnds(human).map((end) => end.toFixed(3)).join(" to ")}), ${beside}${z}.`;
  };
  // machine and people in one line
  const shortWords = (row) => {
    const human = page.human(row);
    return `machine right in ${rightWords(row)} tasks${human ? `, ${people(row)} in ${count(human.right)} of ${count(human.n)} answers` : ""}`;
  };
  const endWords = (row) => {
    const end = data.ends[row];
    return end ? `Among the ${end[0]} units of its network with probability ${Math.round((100 * end[2]) / SCORE)} %; shrunken MIS ${score(end[1])}.` : null;
  };
  const slopeWords = (row) => `Slope ${page.slopeOf(row)[0].toPrecision(3)}, ${page.slopeOf(row)[1]}.`;

  // ---------------------------------------------------------------- the units beside it
  const tasksOf = (row) => (page.condition(row) === "natural" ? "" : `, ${page.unitName(row).split(", ").at(-1)}`);
  const besideWords = (row) => `${count(page.place(row).nNetwork)} units of ${page.model(row)}${tasksOf(row)}`;
  const placeWords = (row) => {
    const { network, nNetwork } = page.place(row), units = besideWords(row);
    if (nNetwork === 1) return `The only one of ${units.replace(/^1 units/, "1 unit")}.`;
    if (network === 100) return `Easiest of the ${units}.`;
    // shares are rounded down: in so small a network, 0 % is no other unit
    if (network === 0 && nNetwork <= 100) return `Hardest of the ${units}.`;
    return capital(`${page.easier(row)} of the ${units}.`);
  };
  const naturalOf = (row) => page.rowOf([page.model(row), page.layer(row)[1], data.unit[row], "natural"].join("/"));
  // the same unit in its other tasks, as far as they are listed
  const otherTasks = (row) => data.conditions
    .map((condition) => page.rowOf([page.model(row), page.layer(row)[1], data.unit[row], condition].join("/")))
    .filter((other) => other !== undefined && other !== row);

  return {
    percent, isMade, leastWords, naturalOf, otherTasks, outcome, rightWords, nearWords, shareEnds, errorWords, intervalWords, peopleWords, shortWords, endWords, slopeWords, besideWords, placeWords,
  };
};
