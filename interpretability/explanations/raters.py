"""How well raters agree, and what each of them did: agreement beyond chance, a table a rater, rules that flag some of them.

Tables of ratings have a row a rating: rater, text, image, rating (1: the image shows what the text says, 0: not), and, where they
are known, page (a number or id of the page that it was given on, unique within a rater; "" where it is not known) and seconds
(how long that page took, the same in all of its rows; NaN where it is not known).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit

from interpretability import arguments, columns
from interpretability.explanations.aggregation import BETA, checked_ratings, error_rates, priors_of
from interpretability.randomness import generator

PAIR = ["text", "image"]
RATER_COLUMNS = [
    "rater",
    "n",
    "n_texts",
    "yes_share",
    "pages",
    "seconds_page",
    "all_no_pages",
    "all_yes_pages",
    "gold_present",
    "gold_false_no",
    "gold_absent",
    "gold_false_yes",
    "n_with_others",
    "agreement",
    "agreement_expected",
    "agreement_limit",
    "flags",
]
_HONEST = 2000  # simulated honest raters behind the limit of a rater's agreement
_AT_ONCE = 1024  # of their ratings, simulated at a time


@dataclass(frozen=True)
class Agreement:
    """Fleiss' kappa of a table of ratings, and what it is made of.

    kappa      1: all agree, 0: as by chance; NaN where all ratings are the same, or no image has two
    bound      the highest kappa of raters with the assumed error rates who err independently: above it, raters share errors
               (hard images, texts that are read in two ways), or the assumed rates are too high
    n_images   pairs of image and text with at least two ratings; n_ratings: theirs; yes_share: share of yes among these
    """

    kappa: float
    bound: float
    n_images: int
    n_ratings: int
    yes_share: float


def agreement(
    ratings: pd.DataFrame, *, eta: float | None = None, false_yes: float | None = None, false_no: float | None = None
) -> Agreement:
    """Agreement of raters beyond chance (crowd paper, C.7); eta, or false_yes and false_no, as for `aggregation.bragg`."""
    counts = checked_ratings(ratings).groupby(PAIR, observed=True)["rating"].agg(["sum", "size"])
    wrong_yes, wrong_no = error_rates(eta, false_yes, false_no)
    bound = kappa_bound(float(wrong_yes), float(wrong_no))
    yes, n = (counts[name].to_numpy(np.float64) for name in ("sum", "size"))
    kept = n >= 2
    yes, n = yes[kept], n[kept]
    if not kept.any():
        return Agreement(float("nan"), bound, 0, 0, float("nan"))
    return Agreement(fleiss_kappa(yes, n), bound, len(n), int(n.sum()), float(yes.sum() / n.sum()))


def fleiss_kappa(yes: NDArray[np.floating], n: NDArray[np.floating]) -> float:
    """Fleiss' kappa of images with `yes` of n ratings each, n at least 2 and not always the same. NaN without a no or a yes.

    >>> round(fleiss_kappa(np.array([3, 3, 0, 1, 2, 0]), np.full(6, 3)), 6)
    0.555556
    """
    yes, n = np.asarray(yes, np.float64), np.asarray(n, np.float64)
    share = yes.sum() / n.sum()
    chance = share**2 + (1 - share) ** 2
    alike = np.mean((yes * (yes - 1) + (n - yes) * (n - yes - 1)) / (n * (n - 1)))
    return float((alike - chance) / (1 - chance)) if 0 < share < 1 else float("nan")


def kappa_bound(false_yes: float, false_no: float) -> float:
    """The highest kappa, at whatever prevalence, of raters with these error rates who err independently given the truth.

    (1 - 2 eta)^2 for one rate eta. In general (1 - fy - fn)^2 / (sqrt((1 - fy) (1 - fn)) + sqrt(fy fn))^2, where the odds of the
    concept are sqrt(fy (1 - fy) / (fn (1 - fn))).
    """
    scale = sqrt((1 - false_yes) * (1 - false_no)) + sqrt(false_yes * false_no)
    return ((1 - false_yes - false_no) / scale) ** 2


@dataclass(frozen=True)
class Rules:
    """Who is flagged. All rules are off (None) by default, as in the paper, which reports no exclusions.

    seconds_page       a rater whose median page took less (3 is a proposal)
    constant_pages     a rater who sent at least as many pages (3), all of them without a yes, or all without a no
    agreement_quantile a rater whose agreement with the others is below this quantile (.01) of honest raters of the same images
    gold_error         a rater whose share of wrong answers to gold images is above this
    """

    seconds_page: float | None = None
    constant_pages: int | None = None
    agreement_quantile: float | None = None
    gold_error: float | None = None


def rater_table(
    ratings: pd.DataFrame,
    *,
    gold: Mapping[tuple[str, int], bool] | None = None,
    prior: float | Mapping[tuple[str, int], float] = BETA,
    eta: float | None = None,
    false_yes: float | None = None,
    false_no: float | None = None,
    rules: Rules | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """What each rater did: a row a rater, sorted, RATER_COLUMNS.

    gold     labels of some (text, image) that are known; prior, eta, false_yes, false_no: as for `aggregation.bragg`
    Columns  n, n_texts, yes_share; pages, seconds_page (median), all_no_pages, all_yes_pages (NaN without pages; a page without
             a yes is nothing unusual where concepts are rare); gold_present and gold_absent (numbers rated), gold_false_no and
             gold_false_yes (shares answered wrong); n_with_others (ratings of images that others rated too); agreement (mean
             probability, by the posterior from all others, that the rating is right), agreement_expected (that of an honest
             rater with these error rates on the same images), agreement_limit (the quantile of `rules`, by simulation);
             flags (reasons by `rules`, separated by "; ", empty without)
    Nobody is left out here: that is up to whoever reads the flags.
    """
    table = _with_pages(checked_ratings(ratings))
    wrong = error_rates(eta, false_yes, false_no)
    rules = rules or Rules()
    table = table.sort_values(["rater", *PAIR], kind="stable", ignore_index=True)
    table = table.assign(others=_by_others(table, prior, wrong), gold=_gold(table, gold or {}))
    rows = [
        _row(str(rater), own, wrong, rules, seed) for rater, own in table.groupby("rater", sort=True, observed=True)
    ]
    return pd.DataFrame(rows, columns=RATER_COLUMNS)


def _with_pages(table: pd.DataFrame) -> pd.DataFrame:
    """Pages and seconds checked, or filled with what says that they are not known."""
    if "page" not in table.columns:
        return table.assign(page="", seconds=np.nan)
    if table["page"].isna().any():
        row = table.index[table["page"].isna()][0]
        raise arguments.wrong("ratings", "holds no page in row {row}", row=row)
    if "seconds" not in table.columns:
        return table.assign(seconds=np.nan)
    known = table.assign(seconds=columns.scores(table, "ratings", "seconds"))
    if (known["seconds"] < 0).any():
        row = known.index[known["seconds"] < 0][0]
        raise arguments.wrong("ratings", "holds a negative time in the column seconds, row {row}", row=row)
    spread = known.groupby(["rater", "page"], observed=True)["seconds"].nunique(dropna=False)
    if (spread > 1).any():
        rater, page = spread.index[spread > 1][0]
        raise arguments.wrong(
            "ratings",
            "holds different seconds for page {page!r} of rater {rater!r}; they are those of the page",
            page=page,
            rater=rater,
        )
    return known


def _by_others(
    table: pd.DataFrame,
    prior: float | Mapping[tuple[str, int], float],
    wrong: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """For each rating the posterior of its image from the ratings of all others; NaN where there are none."""
    wrong_yes, wrong_no = wrong
    said = table["rating"].to_numpy(np.float64)
    groups = table.groupby(PAIR, sort=True, observed=True)
    number = groups.ngroup().to_numpy()
    yes, n = np.bincount(number, said)[number] - said, np.bincount(number)[number] - 1
    before = priors_of(prior, groups.size().index)[number]
    odds = logit(before) + yes * np.log((1 - wrong_no) / wrong_yes) + (n - yes) * np.log(wrong_no / (1 - wrong_yes))
    return np.where(n > 0, expit(odds), np.nan)


def _gold(table: pd.DataFrame, gold: Mapping[tuple[str, int], bool]) -> NDArray[np.float64]:
    """Known labels of the rated images, NaN where none is."""
    if other := [pair for pair, label in gold.items() if label not in (0, 1)]:
        text, image = other[0]
        raise arguments.wrong("gold", "of text {text!r}, image {image} is neither 0 nor 1", text=text, image=image)
    pairs = zip(table["text"], table["image"].tolist(), strict=True)
    return np.array([gold.get(pair, np.nan) for pair in pairs], dtype=np.float64)


def _row(
    rater: str, own: pd.DataFrame, wrong: tuple[NDArray[np.float64], NDArray[np.float64]], rules: Rules, seed: int
) -> dict[str, object]:
    said = own["rating"].to_numpy(np.float64)
    row: dict[str, object] = {"rater": rater, "n": len(own), "n_texts": own["text"].nunique(), "yes_share": said.mean()}
    row |= _pages(own)
    label = own["gold"].to_numpy(np.float64)
    for name, error, value in (("present", "false_no", 1), ("absent", "false_yes", 0)):
        of = said[label == value]
        row |= {f"gold_{name}": len(of), f"gold_{error}": float(np.mean(of != value)) if len(of) else np.nan}
    row |= _beside_others(rater, said, own["others"].to_numpy(np.float64), wrong, rules.agreement_quantile, seed)
    return row | {"flags": "; ".join(_flags(row, rules))}


def _pages(own: pd.DataFrame) -> dict[str, object]:
    """What a rater did by page; ratings whose page is not known ("") are left out here."""
    placed = own[own["page"] != ""]
    if placed.empty:
        return {"pages": np.nan, "seconds_page": np.nan, "all_no_pages": np.nan, "all_yes_pages": np.nan}
    pages = placed.groupby("page", observed=True).agg(share=("rating", "mean"), seconds=("seconds", "first"))
    known = pages["seconds"].dropna()
    return {
        "pages": len(pages),
        "seconds_page": float(known.median()) if len(known) else np.nan,
        "all_no_pages": int((pages["share"] == 0).sum()),
        "all_yes_pages": int((pages["share"] == 1).sum()),
    }


def _beside_others(
    rater: str,
    said: NDArray[np.float64],
    others: NDArray[np.float64],
    wrong: tuple[NDArray[np.float64], NDArray[np.float64]],
    quantile: float | None,
    seed: int,
) -> dict[str, object]:
    """How well a rater agrees with the posterior of all others, and how well an honest one would on the same images."""
    there = ~np.isnan(others)
    q, said = others[there], said[there]
    lost = dict.fromkeys(("agreement", "agreement_expected", "agreement_limit"), np.nan)
    if not len(q):
        return {"n_with_others": 0, **lost}
    says_yes = q * (1 - wrong[1]) + (1 - q) * wrong[0]
    limit = np.nan
    if quantile is not None:
        quantile = arguments.number(quantile, "agreement_quantile", above=0, below=1)
        limit = float(np.quantile(_honest(q, says_yes, generator(seed, "honest rater", rater)), quantile))
    return {
        "n_with_others": len(q),
        "agreement": float(np.mean(np.where(said == 1, q, 1 - q))),
        "agreement_expected": float(np.mean(says_yes * q + (1 - says_yes) * (1 - q))),
        "agreement_limit": limit,
    }


def _honest(q: NDArray[np.float64], says_yes: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Agreement of honest raters who say yes with these probabilities, where the others say yes with q."""
    total = np.zeros(_HONEST)
    for start in range(0, len(q), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        chance = rng.random((_HONEST, len(q[part])))
        total += np.where(chance < says_yes[part], q[part], 1 - q[part]).sum(axis=1)
    return total / len(q)


def _flags(row: Mapping[str, object], rules: Rules) -> list[str]:
    value = {name: float(number) for name, number in row.items() if isinstance(number, int | float)}
    found = []
    if rules.seconds_page is not None and value["seconds_page"] < rules.seconds_page:
        found.append(f"{value['seconds_page']:.3g} s a page, below {rules.seconds_page:g}")
    if rules.constant_pages is not None and value["pages"] >= rules.constant_pages:
        for name, word in (("all_no_pages", "no"), ("all_yes_pages", "yes")):
            if value[name] == value["pages"]:
                found.append(f"always {word}, over {value['pages']:.0f} pages")
    if rules.agreement_quantile is not None and value["agreement"] < value["agreement_limit"]:
        found.append(f"agreement {value['agreement']:.3f}, below {value['agreement_limit']:.3f} of honest raters")
    if rules.gold_error is not None:
        present, absent = value["gold_present"], value["gold_absent"]
        missed = present * value["gold_false_no"] if present else 0.0
        invented = absent * value["gold_false_yes"] if absent else 0.0
        if present + absent and (share := (missed + invented) / (present + absent)) > rules.gold_error:
            found.append(f"{share:.3f} of the gold images wrong, above {rules.gold_error:g}")
    return found
