"""What the first screen says: the headline, the limits, and four numbers, each only as strong as the tables allow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from interpretability.analysis.training_series import ALL_SERIES
from interpretability.people.slope_status import CALIBRATED, PUBLISHED
from study.report.figures.base import Study
from study.report.figures.words import in_words
from study.report.page.cells import count, interval, number, percent
from study.report.page.distribution import GUESSING, Spread, colours_of

N_NUMBERS = 4
UNITS = "over units"
FEWEST_FOR_BEST = 3  # networks, so that one of them is "the easiest" and not just easier


@dataclass(frozen=True)
class Words:
    """A piece of the headline. colour: of a network's name, as CSS; bold: a number; wide: left out on a phone."""

    text: str
    colour: str = ""
    bold: bool = False
    wide: bool = False


@dataclass(frozen=True)
class Number:
    """A number with its interval, empty where the tables have none, what it is of, and what its interval is over."""

    value: str
    between: str
    of: str
    over: str = UNITS


@dataclass(frozen=True)
class First:
    """headline: its pieces; limits and limits_narrow: the line below it, for wide and narrow screens; failed: whether it
    names failed controls; by_convention: whether the level of scores means nothing by itself; untested: why the headline's
    two networks are not compared, in words; numbers: at most N_NUMBERS; intervals: what theirs are over, empty without any.
    """

    headline: tuple[Words, ...]
    limits: str
    limits_narrow: str
    failed: bool
    by_convention: bool
    untested: str
    numbers: tuple[Number, ...]
    intervals: str


def make_first(study: Study, facts: Mapping[str, Any], spread: Spread) -> First:
    """The words of the first screen; `facts` as `make_facts` gives them."""
    models = study.models()
    subjects, narrow = limits(study, facts)
    numbers = four_numbers(study, facts, spread)
    return First(
        headline=headline(study),
        limits=subjects,
        limits_narrow=narrow,
        failed=bool(facts["failed_controls"]),
        by_convention=not level_means_something(study),
        untested=untested(study) if len(models) > 1 else "",
        numbers=tuple(numbers),
        intervals=intervals_words(study, numbers),
    )


def level_means_something(study: Study) -> bool:
    """Whether the slope of the leading similarity was fitted and found, or published for it: else the level is a convention."""
    status = study.tables["calibration"].set_index("backend")["status"]
    return status.get(study.lead) in (CALIBRATED, PUBLISHED)


# ---------------------------------------------------------------- headline
@dataclass(frozen=True)
class _Measure:
    """How a headline says scores: what is said of one network and of two, and of guessing."""

    column: str
    write: Callable[[float], str]
    verb: str  # what units do, before a value
    guessing: str


def _measure(study: Study, rows: pd.DataFrame) -> _Measure:
    """By MIS where its level means something, else by the share of tasks that the machine solves, which needs no slope.

    Values that differ are written with one more digit where they would read alike.
    """
    if not level_means_something(study):
        alike = len({_share(value) for value in rows["accuracy_mean"]}) < len(rows)
        write = (lambda value: f"{100 * value:.1f} %") if alike else _share
        return _Measure("accuracy_mean", write, "", f", where guessing solves {_share(GUESSING)}")
    alike = len({number(2)(value) for value in rows["mis_mean"]}) < len(rows)
    return _Measure("mis_mean", number(3 if alike else 2), "score", f", where guessing scores {number(2)(GUESSING)}")


def headline(study: Study) -> tuple[Words, ...]:
    """The finding in a sentence. It ranks networks only as far as the tests between networks tell them apart."""
    models = study.models()
    if models.empty:
        return (Words("No unit was scored"),)
    if len(models) == 1:
        return _of_one(study, models)
    return _of_two(study, models)


def _of_one(study: Study, models: pd.DataFrame) -> tuple[Words, ...]:
    row, how = models.iloc[0], _measure(study, models)
    name, guessing = Words(str(row["model"]), colours_of(1)[0]), Words(how.guessing, wide=True)
    if how.verb:
        median = Words(how.write(row["p50"]), bold=True)
        return Words("Half of the units of "), name, Words(" score above "), median, guessing
    solved = Words(how.write(row[how.column]), bold=True)
    return Words("The machine solves "), solved, Words(" of the tasks of units of "), name, guessing


def _of_two(study: Study, models: pd.DataFrame) -> tuple[Words, ...]:
    first, last = models.iloc[0], models.iloc[-1]
    how = _measure(study, models.iloc[[0, -1]])
    colours = colours_of(len(models))
    top, bottom = Words(str(first["model"]), colours[0]), Words(str(last["model"]), colours[-1])
    high, low = (how.write(row[how.column]) for row in (first, last))
    claim = _claim(study, models) if first[how.column] > last[how.column] else "none"
    guessing = Words(how.guessing, wide=True)
    if claim in ("none", "alike"):
        alike = Words("No network stands out: ") if claim == "alike" else None
        return (*([alike] if alike else []), *_plainly(how, (top, high), (bottom, low), begins=not alike), guessing)
    said = {
        "both": (
            Words("Units of "),
            top,
            Words(" are the easiest to understand, units of "),
            bottom,
            Words(" the hardest"),
        ),
        "top": (Words("Units of "), top, Words(" are the easiest to understand, ahead of "), bottom),
        "bottom": (Words("Units of "), bottom, Words(" are the hardest to understand, behind "), top),
        "pair": (Words("Units of "), top, Words(" are easier to understand than units of "), bottom),
    }[claim]
    values = (low, high) if claim == "bottom" else (high, low)
    if how.verb:
        return (*said, Words(": "), Words(" against ".join(values), bold=True), guessing)
    solved = Words(": the machine solves "), Words(values[0], bold=True), Words(" of their tasks against ")
    return (*said, *solved, Words(values[1], bold=True), guessing)


def _plainly(how: _Measure, *both: tuple[Words, str], begins: bool) -> tuple[Words, ...]:
    """Two networks and their numbers side by side, without a claim."""
    (top, high), (bottom, low) = both
    if how.verb:
        start = Words("Units of " if begins else "units of ")
        return (
            start,
            top,
            Words(" score "),
            Words(high, bold=True),
            Words(", units of "),
            bottom,
            Words(" "),
            Words(low, bold=True),
        )
    start = Words(f"{'The' if begins else 'the'} machine solves ")
    of_top = Words(" of the tasks of units of "), top, Words(", ")
    return start, Words(high, bold=True), *of_top, Words(low, bold=True), Words(" of those of "), bottom


def _claim(study: Study, models: pd.DataFrame) -> str:
    """What the tests between networks allow to say of the first and the last by rank.

    both, top, bottom: the first, the last or either differs from every other network; pair: they differ from each other;
    alike: all pairs were tested, and none differs; none: anything else.
    """
    names = [str(name) for name in models["model"]]
    first, last = names[0], names[-1]
    if _easier(study, first, last):
        best = len(names) >= FEWEST_FOR_BEST
        top = best and all(_easier(study, first, other) for other in names[1:])
        bottom = best and all(_easier(study, other, last) for other in names[:-1])
        return {(True, True): "both", (True, False): "top", (False, True): "bottom"}.get((top, bottom), "pair")
    rows = _tests(study)
    rows = rows[rows["first"].isin(names) & rows["second"].isin(names)]
    tested = rows["p_holm"].notna()
    every = len(names) * (len(names) - 1) // 2
    return "alike" if tested.sum() == every and (rows["stars"] == "NS").all() else "none"


def _tests(study: Study) -> pd.DataFrame:
    rows = study.tables["network_tests"]
    return rows[rows["backend"] == study.lead]


def _pair(study: Study, one: str, other: str) -> pd.DataFrame:
    rows = _tests(study)
    return rows[
        ((rows["first"] == one) & (rows["second"] == other)) | ((rows["first"] == other) & (rows["second"] == one))
    ]


def _easier(study: Study, one: str, other: str) -> bool:
    """Whether the test marks a difference between two networks, and one is the easier by what it compares."""
    rows = _pair(study, one, other)
    if rows.empty or pd.isna(rows["p_holm"].iloc[0]) or rows["stars"].iloc[0] == "NS":
        return False
    gain = float(rows["difference"].iloc[0])  # first minus second
    return gain > 0 if rows["first"].iloc[0] == one else gain < 0


def untested(study: Study) -> str:
    """Why the first and the last network by rank are not tested against each other; empty where they are."""
    names = [str(name) for name in study.models()["model"]]
    rows = _pair(study, names[0], names[-1])
    if rows.empty:
        return "no test between networks was made"
    return str(rows["reason"].iloc[0]) if pd.isna(rows["p_holm"].iloc[0]) else ""


# ---------------------------------------------------------------- limits
def limits(study: Study, facts: Mapping[str, Any]) -> tuple[str, str]:
    """The subjects of the line below the headline, for wide and for narrow screens."""
    n, generated = facts["n_models"], facts["generated"]
    own = n - sum(study.itself(name) != name for name in study.models()["model"])
    sizes = " at several sizes of input" if own < n else ""
    networks = f"{in_words(own)} {'small ' if generated else ''}network{'' if own == 1 else 's'}{sizes}"
    pictures = "generated pictures" if generated else f"{count(facts['images']['n'])} pictures"
    answers = (
        (study.people if study.simulated else f"answers of {study.people}")
        if facts["has_human"]
        else "no human answers"
    )
    failed = len(facts["failed_controls"])
    lost = f"{count(failed)} of {count(facts['n_judged'])} controls failed" if failed else ""
    level = "" if level_means_something(study) or n == 0 else "level of scores by convention"
    wide = [lost, networks, pictures, answers, level]
    narrow = [lost or ("small networks" if generated else networks), answers]
    return _sentence(wide), _sentence(narrow)


def _sentence(parts: Sequence[str]) -> str:
    words = ", ".join(part for part in parts if part)
    return f"{words[:1].upper()}{words[1:]}."


# ---------------------------------------------------------------- four numbers
def four_numbers(study: Study, facts: Mapping[str, Any], spread: Spread) -> list[Number]:
    """The first N_NUMBERS of what this study has to say, the most telling first."""
    spreading = (_middle, _solved) if level_means_something(study) else (_solved, _middle)
    sources = (_level, _gain, _agreement, _share_of_ceiling, *spreading, _controls, _constant, _scored)
    found = [source(study, facts, spread) for source in sources] if len(study.models()) else []
    return [each for each in found if each is not None][:N_NUMBERS]


def _level(study: Study, facts: Mapping[str, Any], spread: Spread) -> Number | None:
    if not level_means_something(study):
        return None
    models = study.models()
    mean, low, high = _pooled(models["mis_mean"], models["mis_low"], models["mis_high"], models["n_units"])
    of = f"mean MIS of {count(facts['n_units'])} units; guessing scores {number(3)(GUESSING)}"
    by_units, by_slope = _between(low, high, 3), _between(*_ends_of_slope(study), 3)
    if not by_slope:
        return Number(number(3)(mean), by_units, of)
    alone = f", {by_units} over units alone" if by_units else ""
    return Number(number(3)(mean), by_slope, of, f"over the interval of the slope (mean MIS{alone})")


def _ends_of_slope(study: Study) -> tuple[float, float]:
    """The mean at the ends of the interval of the leading slope, which is far wider than that over units."""
    fits = study.tables["calibration"].set_index("backend")
    low, high = (
        fits[f"mis_slope_{end}"].get(study.lead) if f"mis_slope_{end}" in fits else None for end in ("low", "high")
    )
    return (math.nan, math.nan) if low is None or high is None else (float(low), float(high))


def intervals_words(study: Study, numbers: Sequence[Number]) -> str:
    """What the intervals of the four numbers are over; '' where none has one."""
    over = list(dict.fromkeys(each.over for each in numbers if each.between))
    return f"Intervals: {100 * study.confidence:g} %, {', the others '.join(over)}." if over else ""


def _gain(study: Study, facts: Mapping[str, Any], spread: Spread) -> Number | None:
    rows = study.tables["training_gain"]
    rows = rows[(rows["backend"] == study.lead) & (rows["series"] == ALL_SERIES) & rows["difference"].notna()]
    if rows.empty or not level_means_something(study):
        return None
    row = rows.iloc[0]
    return Number(_signed(row["difference"]), _between(row["low"], row["high"], 3), "gained by training, unit by unit")


def _agreement(study: Study, facts: Mapping[str, Any], spread: Spread) -> Number | None:
    row = facts["agreement"]
    if not facts["has_human"] or row is None or math.isnan(row["pearson"]):
        return None
    between = _between(row["pearson_low"], row["pearson_high"], 2)
    return Number(number(2)(row["pearson"]), between, f"correlation with {study.people}, {count(row['n'])} units")


def _share_of_ceiling(study: Study, facts: Mapping[str, Any], spread: Spread) -> Number | None:
    row, ceiling = facts["share"], facts["ceiling"]
    if not facts["has_human"] or row is None or math.isnan(row["share"]):
        return None
    known = not (math.isnan(row["share_low"]) or math.isnan(row["share_high"]))
    between = f"{100 * row['share_low']:.0f} to {_share(row['share_high'])}" if known else ""
    # a ceiling that errs low flatters every share of it
    most = "at most, " if ceiling is not None and ceiling["variant"] == "V4" else ""
    answers = "simulated answers" if study.simulated else "answers"
    return Number(_share(row["share"]), between, f"{most}of the correlation that noise in {answers} allows")


def _solved(study: Study, facts: Mapping[str, Any], spread: Spread) -> Number | None:
    models = study.models()
    share = float((models["accuracy_mean"] * models["n_units"]).sum() / models["n_units"].sum())
    return Number(_share(share), "", f"of tasks solved by the machine; guessing solves {_share(GUESSING)}")


def _middle(study: Study, facts: Mapping[str, Any], spread: Spread) -> Number | None:
    if level_means_something(study):
        return Number(interval(*spread.mis, 2), "", "MIS of the middle half of all units")
    low, high = spread.accuracy
    return Number(f"{100 * low:.0f} to {_share(high)}", "", "tasks solved of the middle half of all units")


def _controls(study: Study, facts: Mapping[str, Any], spread: Spread) -> Number | None:
    if not facts["n_judged"]:
        return None
    return Number(f"{count(facts['n_passed'])} of {count(facts['n_judged'])}", "", "controls came out as they should")


def _constant(study: Study, facts: Mapping[str, Any], spread: Spread) -> Number | None:
    models = study.models()
    constant, scored = models["n_constant"].sum(), models["n_units"].sum()
    return Number(percent(constant / (constant + scored)), "", "of units never change, so they have no score")


def _scored(study: Study, facts: Mapping[str, Any], spread: Spread) -> Number | None:
    n = facts["n_models"]
    return Number(count(facts["n_units"]), "", f"units scored, of {in_words(n)} network{'' if n == 1 else 's'}")


def _pooled(means: pd.Series, lows: pd.Series, highs: pd.Series, sizes: pd.Series) -> tuple[float, float, float]:
    """Mean over the units of all groups with its interval, from those of the groups, whose units are drawn apart.

    An interval of equal reach either side, as those of the groups are; NaN where one of these is missing.
    """
    shares = sizes.astype(float) / float(sizes.sum())
    mean = float((means * shares).sum(skipna=False))
    reach = math.sqrt(float((((highs - lows) / 2 * shares) ** 2).sum(skipna=False)))
    return mean, mean - reach, mean + reach


def _between(low: float, high: float, digits: int) -> str:
    known = interval(low, high, digits)
    return "" if known == "–" else known


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{number(3)(value)}"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"
