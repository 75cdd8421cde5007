// The sections of the researcher's page: [name, what it is drawn from, drawing].

import { bar, card, columns, el, interval, money, number, percent, share, table, tiles, time } from "./figures.js";

const RIGHT = "right";
const CHECKS = {
  demo_trials: ["Blocks of practice", (value) => number(value)],
  catch_trials: ["Obvious trials right", percent],
  total_response_time: ["Whole session", (value) => `${number(value / 60, value % 60 && value < 3600 ? 1 : 0)} min`],
  row_variability: ["Answers in the rarer row", (value) => number(value)],
  instruction_time: ["Time on the instructions", (value) => `${number(value)} s`],
};
const STAGES = { complete: "complete", practice: "practice failed", left: "left", time: "timed out", before: "turned away" };

const counts = ({ counts: of, pass_share: passed, minutes, started }) => card("People", { class: "card wide" },
  tiles(
    ["Arrived", number(of.arrived), started === null ? "" : `since ${time(started)}`],
    ["Running", number(of.running)],
    ["Count", number(of.accepted), !passed || passed.value === null ? "" : `${percent(passed.value)} of the paid (${percent(passed.low)} to ${percent(passed.high)})`, "good"],
    ["Refused by a check", number(of.refused), of.practice ? `${number(of.practice)} of them in practice` : ""],
    ["Complete", number(of.complete), minutes.median === null ? "" : `${number(minutes.median, 1)} min at the median`],
    ["Left", number(of.left)], ["Timed out", number(of.time)], ["Turned away", number(of.before)]));

const cost = (of) => card("Money", { class: "card wide sums" },
  tiles(
    ["Spent", money(of.spent, of.currency), `${number(of.paid_sessions)} sessions at ${money(of.amount, of.currency)}${of.platform_share ? ` and ${percent(of.platform_share)} for the platform` : ""}`],
    ["Promised", money(of.promised, of.currency), "to those who are here"],
    ["At the end", of.forecast ? money(of.forecast.expected, of.currency) : "–", of.forecast
      ? `${money(of.forecast.low, of.currency)} to ${money(of.forecast.high, of.currency)}: ${number(of.more_sessions.expected)} more sessions (${number(of.more_sessions.low)} to ${number(of.more_sessions.high)})`
      : "known once a session counts"]));

const when = ({ date }) => (!date || date.from === null ? null
  : el("span", { class: "faint" }, date.to === null ? `from ${time(date.from)} on, no latest day known` : `${time(date.from)} to ${time(date.to)}`));

const scores = (experiments) => card("Mean human score so far", { class: "card wide" },
  el("p", { class: "faint" }, "Share of right answers, averaged over units; chance is 0.5. Intervals of 95 % are for other units and other people. ",
    "The width is a reason to stop, the score itself is none."),
  table("Score, interval and forecast of each experiment", ["Experiment", ["Sessions that count", RIGHT], ["Score", RIGHT], ["Interval", "strip-cell"], ["Width", RIGHT], ["Wanted", RIGHT], ["At the end of the plan", RIGHT], ["When it is narrow enough", "words"]],
    experiments.map(({ experiment, accepted, planned_sessions: planned, his, forecast }) => [
      experiment, `${number(accepted)} of ${number(planned)}`, share(his.mean),
      his.low === null ? el("span", { class: "faint" }, his.why) : [interval(his.mean, his.low, his.high, `from ${share(his.low)} to ${share(his.high)}`), el("span", { class: "faint" }, `${share(his.low)} to ${share(his.high)}`)],
      share(his.width), share(forecast.wanted), share(forecast.at_end),
      [el("span", { class: `state ${forecast.state === "reached" ? "good" : forecast.state === "not at this design" ? "bad" : ""}` }, forecast.state), " ", forecast.words, " ", when(forecast)],
    ])));

const units = (experiments) => card("Answers to each unit", { class: "card wide" }, experiments.map(({ experiment, units: of }) =>
  el("figure", {},
    el("figcaption", {}, el("strong", {}, experiment), ` ${number(of.all)} units, ${number(of.min)} to ${number(of.max)} answers that count (median ${number(of.median, of.median % 1 ? 1 : 0)}), wanted ${number(of.wanted)}`),
    columns(of.answers.map(({ answers }) => [["fill", answers]]), `Answers to each of ${of.all} units of ${experiment}, from ${of.min} to ${of.max}; the line is the wanted number, ${of.wanted}`, of.wanted))));

const bounds = ({ low, high }, words) => (low !== null && high !== null ? `${words(low)} to ${words(high)} pass`
  : low !== null ? `${words(low)} and more pass` : `at most ${words(high)} pass`);

/** The values at both ends of a histogram. */
const ends = (bins, words) => {
  const known = bins.filter(({ low }) => low !== null);
  if (!known.length) return null;
  const [first, last] = [known[0], known[known.length - 1]];
  const texts = first.value === null ? [words(first.low), words(last.high)] : known.length > 1 ? [words(first.value), words(last.value)] : [words(first.value)];
  return el("p", { class: "ends faint", "aria-hidden": "true" }, texts.map((text) => el("span", {}, text)));
};

const checks = (found) => card("Checks so far", { class: "card wide" },
  el("p", { class: "faint" }, found.length ? "Sessions by what each check looks at: blue ones pass, red ones fail." : "No session has come to its end yet."), el("div", { class: "grid" }, found.map((check) => {
  const [name, plain] = CHECKS[check.check];
  // a practice that failed is kept as one block more than there may be
  const words = (value) => (check.check === "demo_trials" && value > check.high ? `more than ${plain(check.high)}` : plain(value));
  const rows = check.bins.map(({ low, high, value, passed, failed }) => [
    low === null ? "not known" : value !== null ? words(value) : `${words(low)} to ${words(high)}`, number(passed), number(failed)]);
  return el("figure", {},
    el("figcaption", {}, el("strong", {}, name), ` ${bounds(check, words)}; ${number(check.failed)} of ${number(check.passed + check.failed)} failed`),
    columns(check.bins.map(({ passed, failed }) => [["fill", passed], ["fail", failed]]), `${name}: ${check.passed} sessions passed, ${check.failed} failed`),
    ends(check.bins, words),
    el("details", {}, el("summary", {}, "Numbers"), table(`${name}: sessions by value`, ["Value", ["Passed", RIGHT], ["Failed", RIGHT]], rows)));
})));

const answers = ({ times, confidence, practice, most }) => card("Answers", {},
  tiles(["Time of an answer", times.median === null ? "–" : `${number(times.median, 1)} s`, times.low === null ? "" : `${number(times.low, 1)} to ${number(times.high, 1)} s in 8 of 10 of ${number(times.answers)} answers`]),
  table("Right answers by confidence, sessions that count", ["Confidence", ["Answers", RIGHT], ["Right", RIGHT], ["Share", "bar-cell"]],
    confidence.map(({ confidence: level, answers: n, right }) => [String(level), number(n), percent(right), right === null ? "" : bar(right, percent(right))])),
  table("Blocks of practice, sessions that ended by themselves", ["Blocks", ["Sessions", RIGHT]], practice.map(({ blocks, sessions }) => [blocks > most ? `more than ${most}: failed` : String(blocks), number(sessions)])));

const ratings = (of) => card("Pages and agreement", { class: "card wide" },
  tiles(
    ["Pages answered", `${number(of.pages.answered)} of ${number(of.pages.wanted)}`, `${number(of.pages.all)} pages for ${number(of.pages.raters)} raters each; ${number(of.pages.min)} to ${number(of.pages.max)} so far`],
    ["Ticked", percent(of.yes_share), "of the pictures"], ["None of them", percent(of.none_share), "of the pages"],
    ["Time of a page", of.seconds_page === null ? "–" : `${number(of.seconds_page, 1)} s`, "at the median"],
    ["Fleiss' kappa", share(of.agreement.kappa), `${number(of.agreement.pictures)} pictures with two ratings or more`],
    ["Krippendorff's alpha", share(of.agreement.alpha), "1: all agree, 0: as by chance"]),
  el("figure", {}, el("figcaption", {}, el("strong", {}, "Raters of each page"), ` wanted ${number(of.pages.raters)}`),
    columns(of.pages.counts.map(({ raters }) => [["fill", raters]]), `Raters of each of ${of.pages.all} pages, from ${of.pages.min} to ${of.pages.max}`, of.pages.raters)));

const picks = (of) => card("Pages and right answers", { class: "card wide" },
  tiles(
    ["Pages answered", `${number(of.pages.answered)} of ${number(of.pages.wanted)}`, `${number(of.pages.all)} pages about ${number(of.units)} units, each for ${number(of.pages.raters)} people; ${number(of.pages.min)} to ${number(of.pages.max)} so far`],
    ["Right", percent(of.right), of.chance === null ? "" : `${percent(of.chance)} by chance`],
    ["Time of a page", of.seconds_page === null ? "–" : `${number(of.seconds_page, 1)} s`, "at the median"]),
  el("figure", {}, el("figcaption", {}, el("strong", {}, "Answers to each page"), ` wanted ${number(of.pages.raters)}`),
    columns(of.pages.counts.map(({ raters }) => [["fill", raters]]), `Answers to each of ${of.pages.all} pages, from ${of.pages.min} to ${of.pages.max}`, of.pages.raters)));

const raters = (found) => card("Raters", {},
  table("What each rater did", ["Rater", ["Pages", RIGHT], ["Ticked", RIGHT], ["Seconds a page", RIGHT], ["Known pictures wrong", RIGHT]],
    found.map((of) => [of.rater, number(of.pages), percent(of.yes_share), number(of.seconds_page, 1), `${number(of.gold_wrong)} of ${number(of.gold)}`])));

const comments = ({ all, newest }) => card("Comments", {}, all > newest.length ? el("p", { class: "faint" }, `The newest ${number(newest.length)} of ${number(all)}.`) : null,
  newest.length ? el("ul", { class: "comments", tabindex: "0", "aria-label": "Comments, newest first" }, newest.map(({ number: of, text }) => el("li", {}, el("span", { class: "faint" }, `Session ${of}`), el("p", {}, text))))
    : el("p", { class: "faint" }, "Nobody wrote anything yet."));

const REPEATED = { multi_participation: "came before" };
const verdict = (reasons) => reasons.split("; ").map((reason) => (CHECKS[reason] ? CHECKS[reason][0].toLowerCase() : REPEATED[reason] || reason)).join("; ");

const sessions = ({ all, newest }) => card("Sessions", { class: "card wide" }, all > newest.length ? el("p", { class: "faint" }, `The newest ${number(newest.length)} of ${number(all)}; the downloads have all.`) : null,
  table("Sessions, newest first", [["Number", RIGHT], "Experiment", "Stage", ["Trials", RIGHT], ["Minutes", RIGHT], ["Verdict", "words"]],
    newest.map((of) => [number(of.number), of.experiment, of.running ? `${of.stage}${of.silent > 120 ? `, silent for ${number(of.silent / 60)} min` : ""}` : STAGES[of.stage] || of.stage,
      number(of.trials), number(of.minutes, 1), el("span", { class: of.verdict === "counts" ? "good" : of.running ? null : "bad" }, verdict(of.verdict))])));

const downloads = ({ forms, source }) => card("Downloads", { class: "card wide" },
  el("p", { class: "faint" }, "Answers without the ids that platforms gave.", source === "simulated" ? " They are marked as simulated." : ""),
  el("ul", {}, forms.map(({ form, words }) => el("li", {}, el("a", { href: `/researcher/answers/${form}.csv`, download: true }, `${form}.csv`), `: ${words}`))));

/** What to draw for this overview, in the order of the page. */
export const sections = (found) => {
  const head = [["counts", { counts: found.counts, pass_share: found.pass_share, minutes: found.minutes, started: found.started }, counts]];
  const own = found.picks ? [["picks", found.picks, picks]] : !found.ratings
    ? [["scores", found.experiments, scores], ["units", found.experiments, units], ["checks", found.checks, checks],
      ["answers", { times: found.times, confidence: found.confidence, practice: found.practice, most: found.checks.find(({ check }) => check === "demo_trials")?.high }, answers]]
    : [["ratings", { ...found.ratings, raters: null }, ratings], ["raters", found.ratings.raters, raters]];
  return [...head, ["money", found.money, cost], ...own, ["comments", found.comments, comments], ["sessions", found.sessions, sessions],
    ["downloads", { forms: found.downloads, source: found.source }, downloads]];
};
