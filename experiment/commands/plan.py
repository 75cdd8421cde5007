"""Plan what asking people costs: sessions, money, and how narrow the intervals of mean human scores will be.

Every session is paid whatever the checks say, so the share that passes them decides the price. Without a run the spread of
answers is that of IMI's easy natural condition; with --run it is the one seen so far in that run, as is the share that passes,
and what is not given on the line is taken from the run.

Examples
  python -m experiment plan --units 84 --answers 30 --trials 40 --pass 0.57 --fee 2.79 --experiments 23 --platform-share 0.25
  python -m experiment plan --units 84 --trials 40 --pass 76000/133310 --fee 2.79 --width 0.05
  python -m experiment plan --run RUN
  python -m experiment plan --pictures 180 --raters 3 --page 15 --fee 0.05 --platform-share 0.2
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from interpretability.design import price, widths
from interpretability.design.drawn_studies import Design
from study.errors import StudyError

UNITS, ANSWERS, TRIALS = 84, 30, 40  # IMI: section 3.1 and figure 3
FEE, CURRENCY = 2.79, "USD"
RATERS, PAGE, PAGE_FEE = 3, 15, 0.05  # crowd paper, section 3
PASS = price.PassShare(76_000 / 133_310, 76_000, 133_310)  # sessions of IMI's record that passed


@dataclass(frozen=True)
class Experiment:
    """One network in one condition: units that are asked, how, what answers vary by, and sessions that count already."""

    name: str
    n_units: int
    asked: widths.Asked
    spread: widths.Spread
    seen: bool  # whether the spread was seen here, and is not that of IMI
    accepted: int = 0


@dataclass(frozen=True)
class Plan:
    """Experiments, answers a unit, money for a session, share that passes (None: not known yet), sessions paid so far."""

    experiments: list[Experiment]
    answers: float
    fee: price.Fee
    currency: str
    share: price.PassShare | None
    paid: int = 0
    simulated: bool = False  # whether what was seen so far no person gave


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `python -m experiment plan` takes."""
    two = parser.add_argument_group("two alternatives")
    two.add_argument("--units", type=int, metavar="N", help=f"units of an experiment ({UNITS})")
    two.add_argument("--answers", type=float, metavar="N", help=f"answers to a unit that count ({ANSWERS})")
    two.add_argument(
        "--trials", type=int, metavar="N", help=f"answers of a session, catch trials not counted ({TRIALS})"
    )
    two.add_argument("--experiments", type=int, metavar="N", help="experiments of that size (1)")
    two.add_argument(
        "--pass",
        dest="passed",
        type=pass_share,
        metavar="SHARE",
        help="share of paid sessions that pass the checks, as 0.57 or as 76000/133310 seen in so many (IMI's: 0.570)",
    )
    two.add_argument(
        "--width", type=float, help="wanted whole width of the interval of the mean HIS: how many answers or units?"
    )
    pages = parser.add_argument_group("rating pages")
    pages.add_argument("--pictures", type=int, metavar="N", help="pictures to rate; plans rating pages")
    pages.add_argument("--raters", type=int, metavar="N", help=f"ratings of a picture ({RATERS})")
    pages.add_argument("--page", type=int, metavar="N", help=f"pictures on a page ({PAGE})")
    parser.add_argument("--fee", type=float, help=f"money for a session ({FEE}), or for a page ({PAGE_FEE})")
    parser.add_argument("--currency", help=f"its currency ({CURRENCY})")
    parser.add_argument(
        "--platform-share", type=float, help="what the platform takes on top, as a share of the fee (0)"
    )
    parser.add_argument(
        "--run", type=Path, metavar="RUN", help="run folder whose sessions so far tell the spread and the share"
    )
    parser.add_argument("--confidence", type=float, default=0.95, help="of all intervals (%(default)s)")


def pass_share(text: str) -> price.PassShare:
    """The share that `--pass` names."""
    try:
        if "/" in text:
            passed, of = (int(part) for part in text.split("/", 1))
            return price.PassShare.seen(passed, of)
        return price.PassShare(float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no share such as 0.57 or 76000/133310: {error}") from None


def main(args: argparse.Namespace) -> None:
    _refuse_mixed(args)
    print("\n".join(_pages(args) if args.pictures is not None else _sessions(args)))


def _refuse_mixed(args: argparse.Namespace) -> None:
    """Raises StudyError where options of both kinds of question stand together, and for a width that no share can have."""
    rating = args.pictures is not None
    others = ("units", "answers", "trials", "experiments", "passed", "width", "run") if rating else ("raters", "page")
    if given := [f"--{name.replace('passed', 'pass')}" for name in others if getattr(args, name) is not None]:
        kind = (
            "--pictures plans rating pages" if rating else "without --pictures sessions of two alternatives are planned"
        )
        raise StudyError(f"{kind}; leave {', '.join(given)} out")
    if args.width is not None and not 0 < args.width <= 1:
        raise StudyError(
            f"--width is {args.width:g}; it is the whole width of an interval of shares, above 0 and at most 1"
        )


def _pages(args: argparse.Namespace) -> Iterator[str]:
    fee = price.Fee(PAGE_FEE if args.fee is None else args.fee, args.platform_share or 0.0)
    page, raters = PAGE if args.page is None else args.page, RATERS if args.raters is None else args.raters
    number = price.rating_pages(args.pictures, page, raters)
    yield f"{args.pictures} pictures, {page} a page, {raters} raters: {number // raters} pages x {raters} = {number} to pay"
    yield _money(fee, args.currency or CURRENCY, number, "page")


def _sessions(args: argparse.Namespace) -> Iterator[str]:
    plan = _imagined(args) if args.run is None else _of_run(args)
    answers = plan.answers
    if plan.simulated:
        yield f"{args.run} is simulated: what it shows so far no person gave"
    if args.width is not None:
        yield from _for_width(plan.experiments, answers, args.width)
        answers = _answers_for_width(plan.experiments, args.width) or answers
    yield from _widths(plan.experiments, answers)
    wanted = [price.accepted_sessions(each.n_units, answers, each.asked.n_trials) for each in plan.experiments]
    done = sum(min(each.accepted, number) for each, number in zip(plan.experiments, wanted, strict=True))
    made_of = f" = {len(wanted)} x {wanted[0]}" if args.run is None and len(wanted) > 1 else ""
    there = f", {done} of them are there" if args.run else ""
    yield f"sessions that count: {sum(wanted):,}{made_of}{there}"
    if plan.share is None:
        yield "sessions to pay: not known before a session passed the checks; give --pass to assume a share"
        return
    low, high = plan.share.interval(args.confidence)
    seen = f"seen {plan.share.passed:,} of {plan.share.of:,}, so between {low:.3f} and {high:.3f}"
    yield f"share that passes: {plan.share.value:.3f} ({seen if plan.share.of else 'assumed'})"
    more = price.sessions_to_pay(sum(wanted) - done, plan.share, args.confidence)
    sure = f"with {100 * args.confidence:g} % probability"
    word = "more sessions" if args.run else "sessions"
    yield f"{word} to pay: {more.expected:,} on average, {more.low:,} to {more.high:,} {sure}"
    yield _money(plan.fee, plan.currency, plan.paid + more.expected, "session")
    most = plan.paid + more.high
    whole = " with what the platform takes" if plan.fee.platform_share else ""
    yield f"to be safe: {most:,} sessions, {plan.fee.cost(most):,.2f} {plan.currency}{whole}"


def _money(fee: price.Fee, currency: str, number: int, word: str) -> str:
    total = f", {fee.cost(number):,.2f} {currency} with what the platform takes" if fee.platform_share else ""
    return f"money: {number:,} {word}s x {fee.pay:g} = {fee.paid(number):,.2f} {currency} for people{total}"


def _imagined(args: argparse.Namespace) -> Plan:
    design = Design(n_models=1)
    units = UNITS if args.units is None else args.units
    asked = widths.Asked(design.n_answered, TRIALS if args.trials is None else args.trials, args.confidence)
    number = 1 if args.experiments is None else args.experiments
    if number < 1:
        raise StudyError(f"--experiments is {number}; at least 1 is needed")
    planned = [Experiment(f"{units} units", units, asked, widths.spread_of(design), False)] * number
    answers = ANSWERS if args.answers is None else args.answers
    fee = price.Fee(FEE if args.fee is None else args.fee, args.platform_share or 0.0)
    return Plan(planned, answers, fee, args.currency or CURRENCY, args.passed or PASS)


def _of_run(args: argparse.Namespace) -> Plan:
    """What a run asks, with the spread and the share that its sessions show so far."""
    from experiment import progress, recorded
    from experiment.overview import judged, overview
    from experiment.settings import PAGED, RATINGS

    if args.units is not None or args.trials is not None or args.experiments is not None:
        raise StudyError("--units, --trials and --experiments are those of the run; leave them out, or leave out --run")
    found = recorded.read(args.run)
    if found.folder.kind in PAGED and found.folder.kind != RATINGS:
        raise StudyError(
            f"{args.run} asks picking pages ({found.folder.kind}), which this planner does not know; leave --run out"
        )
    if found.folder.kind in PAGED:
        raise StudyError(
            f"{args.run} asks rating pages, which need no checks: leave --run out, and give --pictures, --raters and --page"
        )
    shown = overview(found, time.time())
    planned = []
    for each, spread in zip(shown["experiments"], progress.spreads(found, judged(found)), strict=True):
        units, asked = progress.asked_of(found.folder, each["experiment"])
        asked = replace(asked, confidence=args.confidence)
        known = spread or widths.spread_of(Design(n_models=1))
        planned.append(Experiment(each["experiment"], len(units), asked, known, spread is not None, each["accepted"]))
    pay, passed = found.settings.pay, shown["pass_share"]
    seen = price.PassShare.seen(passed["passed"], passed["of"]) if passed["passed"] else None
    fee = price.Fee(
        pay.amount if args.fee is None else args.fee,
        pay.platform_share if args.platform_share is None else args.platform_share,
    )
    answers = float(found.folder.study["responses_a_unit"]) if args.answers is None else args.answers
    paid = shown["money"]["paid_sessions"]
    return Plan(
        planned, answers, fee, args.currency or pay.currency, args.passed or seen, paid, found.source == "simulated"
    )


def _different(planned: list[Experiment]) -> list[Experiment]:
    return list(dict.fromkeys(planned))


def _people(each: Experiment, answers: float) -> float:
    return max(each.n_units * answers / min(each.asked.n_trials, each.n_units), 2.0)


def _widths(planned: list[Experiment], answers: float) -> Iterator[str]:
    for each in _different(planned):
        width = widths.his_width(each.spread, each.asked, each.n_units, _people(each, answers))
        least = widths.narrowest(each.spread, each.asked, each.n_units)
        yield (
            f"{each.name}, {answers:.4g} answers a unit: interval of the mean HIS about {width:.3f} wide (+-{width / 2:.3f}), "
            f"{least:.3f} with endlessly many people; spread {'seen so far' if each.seen else 'of IMI'}"
        )


def _for_width(planned: list[Experiment], answers: float, width: float) -> Iterator[str]:
    for each in _different(planned):
        people = widths.people_for_width(each.spread, each.asked, each.n_units, width)
        units = widths.units_for_width(each.spread, each.asked, answers, width)
        by_people = (
            f"{people} sessions that count, {_answers(each, people):.4g} answers a unit"
            if people
            else f"no number of people ({each.n_units} units alone leave it wider)"
        )
        yield (
            f"{each.name}, no wider than {width:g}: {by_people}; or {units:,} units with {answers:g} answers each"
            if units
            else (
                f"{each.name}, no wider than {width:g}: {by_people}; no number of units with {answers:g} answers each"
            )
        )


def _answers(each: Experiment, people: int) -> float:
    return people * min(each.asked.n_trials, each.n_units) / each.n_units


def _answers_for_width(planned: list[Experiment], width: float) -> float | None:
    """Answers a unit with which every experiment gets as narrow, None where one cannot."""
    people = [widths.people_for_width(each.spread, each.asked, each.n_units, width) for each in planned]
    if None in people:
        return None
    return max(_answers(each, number) for each, number in zip(planned, people, strict=True) if number)
