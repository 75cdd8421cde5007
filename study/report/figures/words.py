"""Words that several figures share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from interpretability.schema import HARD, NATURAL, ONE_SIDED, SYNTHETIC
from interpretability.statistics import FEWEST_CORRELATED

# easy, medium, hard, very hard in the words of the IMI paper; then the same with synthetic explanations
LEVELS = (NATURAL, *HARD, SYNTHETIC, *(f"{name}_{SYNTHETIC}" for name in HARD), ONE_SIDED)
_IN_THE_PAPER = dict(zip(HARD, ("medium", "hard", "very hard"), strict=True))
UNIDENTIFIED = "slope not identified"  # beside a level of MIS that compares with no other
THROUGH = "through the encoder"  # beside answers to tasks with made images
HIS = ("his_mean", "his_low", "his_high")


def task_words(condition: str) -> str:
    """`hard95` -> `hard95 (hard)`."""
    return f"{condition} ({_IN_THE_PAPER[condition]})" if condition in _IN_THE_PAPER else condition_words(condition)


def condition_words(condition: str) -> str:
    """`hard95_synthetic` -> `hard95, synthetic`; `one_sided` -> `one-sided`."""
    return condition.replace(ONE_SIDED, "one-sided").replace("_", ", ")


def condition_order(condition: str) -> tuple[int, str]:
    return (LEVELS.index(condition) if condition in LEVELS else len(LEVELS), condition)


def clean(value: object, most: int = 26) -> str:
    """A name from the data as one short printable line: SVG allows no control characters."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
    if len(text) <= most:
        return text
    return text[: (most - 1) // 2 + 1] + "…" + text[len(text) - (most - 1) // 2 :]


def signed(value: float, digits: int = 2) -> str:
    """A correlation or difference in words, with a true minus sign and no negative zero; a dash where it is not defined."""
    return "–" if np.isnan(value) else f"{value:z.{digits}f}".replace("-", "−")


def between(low: float, high: float, digits: int = 2) -> str:
    """An interval in words, or nothing where there is none."""
    return "" if np.isnan(low) or np.isnan(high) else f" (interval {signed(low, digits)} to {signed(high, digits)})"


def of_rows(frame: pd.DataFrame, words: Callable[[Any], str], joint: str = "; ") -> str:
    """What `words` says of every row, a named tuple."""
    return joint.join(words(row) for row in frame.itertuples())


def of_parts(frame: pd.DataFrame, by: str | list[str], words: Callable[[Any, pd.DataFrame], str]) -> str:
    """What `words` says of every group of rows: its name (a tuple for several columns) and its rows."""
    return "; ".join(words(name, part) for name, part in frame.groupby(by, sort=False))


NO_CORRELATION = f"no correlation over networks, which are fewer than {FEWEST_CORRELATED} or do not differ"


def both_correlations(row: pd.Series) -> str:
    return f"Pearson {signed(row['pearson'])}, Spearman {signed(row['spearman'])}"


def correlations(frame: pd.DataFrame, by: str) -> str:
    """Both correlations of each group, which stand in all its rows."""
    return of_parts(frame, by, lambda name, part: f"{name} {both_correlations(part.iloc[0])}")


def rank_correlations(frame: pd.DataFrame, tail: Callable[[pd.DataFrame], str] = lambda part: "") -> str:
    """The rank correlation of each network, which stands in all its rows; `tail` says more of it."""
    return of_parts(frame, "model", lambda model, part: f"{model} {signed(part['spearman'].iloc[0])}{tail(part)}")


def of_pairs(frame: pd.DataFrame, words: Callable[[Any], str], joint: str = "; ") -> str:
    """What `words` says of the rows of pairs, after the names of both."""
    return of_rows(frame, lambda row: f"{row.first} and {row.second} {words(row)}", joint)


_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_MOST_PAIRS = 8  # pairs that a sentence names


def in_words(n: int) -> str:
    """A small whole number as people write it."""
    return _NUMBERS[n] if n < len(_NUMBERS) else f"{n:,}"


def differing(pairs: pd.DataFrame) -> str:
    """Which groups differ, in words, from a table of a test of ours (first, second, p_holm, stars, reason); nothing for none."""
    tested = pairs[pairs["p_holm"].notna()]
    rest = len(pairs) - len(tested)
    if pairs.empty:
        return ""
    reasons = " or ".join(dict.fromkeys(pairs.loc[pairs["p_holm"].isna(), "reason"]))
    if tested.empty:
        return f"no pair is tested ({reasons})"
    words = _of_tested(tested)
    return f"{words}; {in_words(rest)} of {len(pairs)} pairs not tested ({reasons})" if rest else words


def _of_tested(tested: pd.DataFrame) -> str:
    found = tested[tested["stars"] != "NS"]
    partners: dict[str, list[str]] = {}
    for first, second in zip(found["first"], found["second"], strict=True):
        partners.setdefault(first, []).append(second)
        partners.setdefault(second, []).append(first)
    n, n_found, n_groups = len(tested), len(found), len({*tested["first"], *tested["second"]})
    if n_found == 0:
        return f"no difference is found in {f'any of the {n} pairs' if n > 1 else 'the one pair'}"
    if n_found == n and n > 1:
        return f"all {n} pairs differ"
    rest = f"; no difference is found in the other {in_words(n - n_found)}" if n_found < n else ""
    names = sorted(partners, key=lambda name: -len(partners[name]))
    if n_groups > 3 and n_found == n_groups - 1 == len(partners[names[0]]):
        return f"{names[0]} differs from the {in_words(n_groups - 1)} others{rest}"
    if n_found > _MOST_PAIRS:
        return f"{n_found} of {n} pairs differ{rest}"
    parts, named = [], set[frozenset[str]]()
    for name in names:
        others = [other for other in partners[name] if frozenset((name, other)) not in named]
        named |= {frozenset((name, other)) for other in others}
        if others:
            parts.append(f"{name} {'' if parts else 'differs '}from {' and '.join(others)}")
    return ", ".join(parts) + rest


def courses(frame: pd.DataFrame, by: str, along: str, called: str) -> str:
    """Mean MIS of each group in its first and in its last row, with the values of the column `along` there."""

    def ends(name: str, part: pd.DataFrame) -> str:
        start, end = (f"{row['mis_mean']:.3f} at {called} {row[along]:g}" for row in (part.iloc[0], part.iloc[-1]))
        return f"{name} from {start} to {end}"

    return of_parts(frame, by, ends)


# methods of explanations.make; a number at the end is how many concepts a text may have
_METHODS = {
    "best": "the best single concept",
    "invert": "INVERT",
    "clip_dissect": "CLIP-Dissect",
    "le_label": "linear explanations from labels",
    "le_guide": "linear explanations from a guide",
}


def method_words(method: str) -> str:
    """`le_label_1` -> `linear explanations from labels, one concept (le_label_1)`; names of other methods stay."""
    name, _, most = method.rpartition("_")
    if method in _METHODS:
        return f"{_METHODS[method]} ({method})"
    if name in _METHODS and most.isdigit():
        return f"{_METHODS[name]}, {in_words(int(most))} concept{'' if most == '1' else 's'} ({method})"
    return method
