"""How many images, ratings and people a study of texts needs: whole studies of the latent model simulated, as it would be run.

A plan is as good as its assumptions: how rare concepts are, how sharp the guide is and how raters err (`crowd_worlds`, `raters`).
Real guides may fail in ways that no setting has; plan with several of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from interpretability import arguments
from interpretability.explanations.fronts import PRICE, reached
from interpretability.explanations.simulated_studies import Asked, simulated_study
from interpretability.randomness import generator
from interpretability.synthetic.crowd_settings import GUIDES, SETTINGS
from interpretability.synthetic.crowd_worlds import crowd_world
from interpretability.synthetic.raters import ERRORS

TARGETS = {"width": "width of a score's interval", "rce": "relative correlation error"}
SIMULATED = 60  # pairs of a simulated study
A_RATER = 300  # ratings that one person gives: 20 pages of 15 images
A_PAGE, PAGE_SECONDS = 15, 15.0  # images of a page, and the time that it takes (paper, section 4)


@dataclass(frozen=True)
class Study:
    """A study to be planned.

    pairs        units times texts: all are rated by the same people and scored together
    setting, guide, errors   what to expect of concepts, of the guide and of raters
    n_images     of the probing set; None: as the setting has
    price        money a rating; a_rater: ratings that one person gives
    """

    pairs: int = 40
    setting: str = "mixed_guides"
    guide: str = "good"
    errors: str = "constant"
    n_images: int | None = None
    price: float = PRICE
    a_rater: int = A_RATER

    def __post_init__(self) -> None:
        arguments.count(self.pairs, "pairs", least=2)
        arguments.choice(self.setting, "setting", SETTINGS)
        arguments.choice(self.guide, "guide", GUIDES)
        arguments.choice(self.errors, "errors", ERRORS)
        arguments.count(self.a_rater, "a_rater")
        arguments.number(self.price, "price", least=0)


COLUMNS = [
    *(
        "setting",
        "guide",
        "errors",
        "pairs",
        "images",
        "raters_an_image",
        "ratings_a_pair",
        "gold",
        "ratings",
        "raters",
    ),
    *("hours", "money", "rce", "rce_se", "width", "coverage", "deviation", "undefined_share", "guide_only_rce"),
]


def expected(
    study: Study, asked: Asked, *, n_studies: int = 4, n_simulated: int = SIMULATED, seed: int = 0
) -> dict[str, object]:
    """What comes out of a design, over simulated studies with fresh units: one row with `COLUMNS`.

    n_simulated: pairs of a simulated study, at most; with more pairs than that the coefficients of raters and guide, which pairs
    share, are hardly better known. Gold is simulated in proportion.
    ratings, raters, hours, money   of the whole study, gold included; raters is at least the number of ratings an image
    rce         relative correlation error (undefined scores count as 0), with its standard error over studies
    width       mean full width of the 95 % intervals, NaN where no score is defined; coverage: share that hold the truth, an
                undefined score holding none
    deviation   root mean square of score less truth over pairs
    """
    arguments.count(n_studies, "n_studies", least=2)
    pairs = min(study.pairs, arguments.count(n_simulated, "n_simulated", least=2))
    rated = replace(asked, gold=-(-asked.gold * pairs // study.pairs))
    errors, alone, widths, covers, undefined, squares = [], [], [], [], [], []
    for number in range(n_studies):
        world = crowd_world(study.setting, study.guide, seed=seed + number, n_units=pairs, n_images=study.n_images)
        scored = simulated_study(world, rated, ERRORS[study.errors], seed, number)
        away = np.where(np.isnan(scored.rho), 0.0, scored.rho) - world.rho
        size = np.abs(world.rho).sum()
        errors.append(np.abs(away).sum() / size)
        alone.append(np.abs(world.guide_rho - world.rho).sum() / size)
        widths.append(scored.high - scored.low)
        covers.append((scored.low <= world.rho) & (world.rho <= scored.high))
        undefined.append(np.isnan(scored.rho))
        squares.append(away**2)
    width = np.concatenate(widths)
    return {
        "setting": study.setting,
        "guide": study.guide if asked.guided else "none",
        "errors": study.errors,
        **costs(study, asked),
        "rce": float(np.mean(errors)),
        "rce_se": float(np.std(errors, ddof=1) / np.sqrt(n_studies)),
        "width": float(np.nanmean(width)) if np.isfinite(width).any() else float("nan"),
        "coverage": float(np.mean(covers)),
        "deviation": float(np.sqrt(np.mean(squares))),
        "undefined_share": float(np.mean(undefined)),
        "guide_only_rce": float(np.mean(alone)),
    }


def costs(study: Study, asked: Asked) -> dict[str, float]:
    """What a design takes: images and ratings of a pair, gold, ratings, raters, hours of work and money of the whole study."""
    ratings = study.pairs * asked.ratings + 2 * asked.gold * asked.raters
    return {
        "pairs": study.pairs,
        "images": asked.images,
        "raters_an_image": asked.raters,
        "ratings_a_pair": asked.ratings,
        "gold": 2 * asked.gold,
        "ratings": ratings,
        "raters": max(asked.raters, -(-ratings // study.a_rater)),
        "hours": ratings / A_PAGE * PAGE_SECONDS / 3600,
        "money": ratings * study.price,
    }


def front(table: pd.DataFrame, of: str) -> pd.DataFrame:
    """Designs (rows of `expected`) that no other one of as little money beats in width or rce, cheapest first."""
    arguments.choice(of, "of", TARGETS)
    ordered = table.sort_values(["money", of], kind="stable").dropna(subset=[of])
    before = ordered[of].cummin().shift(fill_value=np.inf)
    return ordered[ordered[of] < before].reset_index(drop=True)


def needed(study: Study, table: pd.DataFrame, of: str, target: float) -> dict[str, float]:
    """Ratings of a pair, and what else they take, for a width or rce of `target`: read between designs of the front.

    NaN where none of the designs reaches it. The number of ratings an image is that of the design that reaches it first.
    """
    target = arguments.number(target, "target", above=0)
    best = front(table, of)
    ratings = reached(best["ratings_a_pair"], best[of], target)
    found = {"target": target, "ratings_a_pair": ratings}
    if not np.isfinite(ratings):
        return found | {
            name: float("nan") for name in ("images", "raters_an_image", "ratings", "raters", "hours", "money")
        }
    first = best[best[of] <= target].iloc[0]
    raters = int(first["raters_an_image"])
    images = int(np.ceil(ratings / raters))
    return found | costs(study, Asked(max(images, 2), raters, int(first["gold"]) // 2))


def winning(
    means: Mapping[str, float],
    n_units: int,
    deviation: float,
    *,
    spread: float = 0.15,
    alike: float = 0.5,
    n_studies: int = 4000,
    seed: int = 0,
) -> pd.DataFrame:
    """How often each method has the highest mean score in a study: columns method, mean, wins; the best true mean first.

    means      true mean score of each method over all units there are
    n_units    units of the study, each with a text of every method
    deviation  of an estimate from the truth (`expected`), taken as independent between texts, though what biases it is partly
               shared by methods and cancels
    spread     standard deviation of true scores over units; alike: their correlation between methods of the same unit

    A tie is shared. Raises InputError for fewer than two methods.
    """
    if len(means) < 2:
        raise arguments.wrong("means", "names {given} methods; a comparison needs two", given=len(means))
    arguments.count(n_units, "n_units")
    for value, name in ((deviation, "deviation"), (spread, "spread")):
        arguments.number(value, name, least=0)
    alike = arguments.number(alike, "alike", least=0, below=np.nextafter(1, 2))
    names = sorted(means, key=lambda name: (-means[name], name))
    true = np.array([means[name] for name in names])
    # what units share moves all methods alike and cancels; the rest is averaged over units
    noise = np.sqrt((spread**2 * (1.0 - alike) + deviation**2) / n_units)
    found = true + noise * generator(seed, "winning methods").standard_normal((n_studies, len(names)))
    top = found == found.max(axis=1, keepdims=True)
    wins = (top / top.sum(axis=1, keepdims=True)).mean(axis=0)
    return pd.DataFrame({"method": names, "mean": true, "wins": wins})


def units_for_winner(
    means: Mapping[str, float],
    deviation: float,
    *,
    sure: float = 0.9,
    most: int = 100_000,
    spread: float = 0.15,
    alike: float = 0.5,
    seed: int = 0,
) -> int:
    """Fewest units with which the truly best method comes out first with probability `sure`; see `winning`.

    Raises InputError where `most` units do not suffice, as for two methods that are equally good.
    """
    sure = arguments.number(sure, "sure", above=0, below=1)

    def enough(n_units: int) -> bool:
        table = winning(means, n_units, deviation, spread=spread, alike=alike, seed=seed)
        return float(table["wins"].iloc[0]) >= sure

    high = 1
    while not enough(high):
        if high >= most:
            raise arguments.wrong("means", "differ so little that {most:,} units do not tell the best one", most=most)
        high = min(2 * high, most)
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def search(
    study: Study,
    designs: Iterable[Asked],
    *,
    n_studies: int = 4,
    n_simulated: int = SIMULATED,
    seed: int = 0,
    seen: Callable[[dict[str, object]], None] = lambda row: None,
) -> pd.DataFrame:
    """`expected` of each design, one row each; `seen` is told each row as it is there."""
    rows = []
    for asked in designs:
        rows.append(expected(study, asked, n_studies=n_studies, n_simulated=n_simulated, seed=seed))
        seen(rows[-1])
    return pd.DataFrame(rows, columns=COLUMNS)
