"""Which texts people are asked about, and which images are drawn for each: pairs of unit and text, and their draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.explanations import sampling
from interpretability.explanations.formulas import SIMPLE
from interpretability.explanations.latent import design
from interpretability.explanations.paired import paired_scores
from interpretability.randomness import U64, key64
from interpretability.schema import UNIT
from study.errors import StudyError
from study.explanations.images import Probing
from study.explanations.matrices import Matrix
from study.log import logger

log = logger("explanations")

NOBODY, ADAPTIVE = "none", "adaptive"
PAIR_COLUMNS = ["pair", *UNIT, "text", "rho_true", "rho_guide_only", "reason"]
DRAW_COLUMNS = ["pair", "draw", "image", "q", "weight"]
_ROWS = 64  # pairs whose rows are in memory at once


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Which images are rated, of `crowd`; none where its source is none."""

    source: str
    design: str
    n_images: int
    n_raters: int
    gamma: float
    alpha: float
    page: int
    methods: tuple[str, ...]
    n_gold: int
    price: float


def number_pairs(texts: pd.DataFrame, methods: Sequence[str]) -> tuple[pd.DataFrame, NDArray[np.int32]]:
    """Pairs (pair, model, layer, unit, text) of all texts of one concept whose method is among `methods` (all, where empty), and
    the pair of each text, -1 where it is none. The same text of two methods is one pair.

    Raises StudyError for a method that no text has.
    """
    if unknown := [method for method in methods if method not in set(texts["method"])]:
        raise StudyError(
            f"crowd.methods names {', '.join(unknown)}, but no text is of that method; there are "
            f"{', '.join(sorted(set(texts['method']))) or 'no texts at all'}"
        )
    asked = (texts["kind"] == SIMPLE) & (texts["method"].isin(methods) if methods else True)
    pairs = (
        texts.loc[asked, [*UNIT, "text"]]
        .drop_duplicates()
        .sort_values([*UNIT, "text"], kind="stable", ignore_index=True)
    )
    number = pd.MultiIndex.from_frame(pairs).get_indexer(pd.MultiIndex.from_frame(texts[[*UNIT, "text"]]))
    pairs.insert(0, "pair", np.arange(len(pairs), dtype=np.int32))
    return pairs, np.where(asked, number, -1).astype(np.int32)


@dataclass(frozen=True)
class Rows:
    """What is known of pairs over all probing images, some of them at a time.

    values    (units, n); units: row of each pair; reasons (units,): why a unit has no scores, empty where it has
    presence, guide   (concepts, n), None where there is none; concepts: row of each pair
    """

    values: NDArray[np.float32]
    units: NDArray[np.int64]
    reasons: NDArray[np.object_]
    presence: Matrix | None
    guide: Matrix | None
    concepts: NDArray[np.int64]

    def live(self) -> NDArray[np.int64]:
        """Pairs whose unit can have a score."""
        return np.flatnonzero(self.reasons[self.units] == "")

    def score(self, matrix: Matrix | None) -> NDArray[np.float64]:
        """Correlation of every pair's unit with a row of a matrix; NaN where there is none or it is undefined."""
        found = np.full(len(self.units), np.nan)
        if matrix is not None:
            live = self.live()
            for start in range(0, len(live), _ROWS):
                rows = live[start : start + _ROWS]
                found[rows] = paired_scores(self.values[self.units[rows]], matrix[self.concepts[rows]]).rho
        return found


def described(pairs: pd.DataFrame, rows: Rows, *, exact: bool) -> pd.DataFrame:
    """Pairs with their true score (`exact`: presence is the truth) and the score that the guide alone gives."""
    return pairs.assign(
        rho_true=rows.score(rows.presence) if exact else np.nan,
        rho_guide_only=rows.score(rows.guide),
        reason=rows.reasons[rows.units],
    )[PAIR_COLUMNS]


def draw_images(pairs: pd.DataFrame, rows: Rows, asking: Asking, images: Probing, seed: int) -> pd.DataFrame:
    """Images of every pair, DRAW_COLUMNS: image is a row of the manifest, q the chance of a draw, weight 1 / (n q). There are
    none where nobody is asked.

    systematic  different images, n_images of them (design D of the latent model); q is the chance of inclusion over their number
    adaptive    its first wave: as many images as half of all ratings, to be rated once each; later waves are chosen from these
    others      draws with replacement, as published; an image that is drawn twice stands there twice
    """
    parts, n, asked = [pd.DataFrame(columns=DRAW_COLUMNS)], len(images), rows.live()
    if asking.source == NOBODY:
        asked = asked[:0]
    size = asking.n_images if asking.design != ADAPTIVE else max(asking.n_images * asking.n_raters // 2, 1)
    replacing = asking.design in sampling.SAMPLERS
    if not replacing and size > n and len(asked):
        raise StudyError(
            f"crowd.n_images is {asking.n_images} with crowd.design {asking.design}, which takes {size} different "
            f"images, but texts are judged on {n}; lower it, or raise explanations.n_images"
        )
    keys = pair_keys(pairs, seed)
    for number in asked:
        values = rows.values[rows.units[number]]
        guide = None if rows.guide is None else rows.guide[int(rows.concepts[number])]
        if replacing:
            q = _published(asking, values, guide)
            places = sampling.keyed_draws(q[None], size, keys[number : number + 1])[0]
        else:
            unsure = 1.0 if asking.design == ADAPTIVE and guide is not None else design.UNSURE
            chance = design.inclusion(design.design_proposal(values, guide, unsure=unsure), size)
            places, q = design.draw(chance, int(keys[number])), chance / size
        parts.append(
            pd.DataFrame(
                {
                    "pair": number,
                    "draw": np.arange(len(places)),
                    "image": images.rows[places],
                    "q": q[places],
                    "weight": 1.0 / (n * q[places]),
                }
            )
        )
    table = pd.concat(parts, ignore_index=True)
    return table.astype({"pair": np.int32, "draw": np.int32, "image": np.int32, "q": np.float64, "weight": np.float64})


def pair_keys(pairs: pd.DataFrame, seed: int) -> NDArray[np.uint64]:
    """Keys of pairs: of their unit and text, and not of their number."""
    return np.array(
        [
            key64("explanations", "draws", seed, *map(str, row))
            for row in pairs[[*UNIT, "text"]].itertuples(index=False)
        ],
        dtype=U64,
    )


def _published(asking: Asking, values: NDArray[np.float32], guide: NDArray[np.float32] | None) -> NDArray[np.float64]:
    """Proposal of a published sampler. A guide that is alike everywhere tells nothing, so images are drawn by activation."""
    sampler = asking.design
    if sampler == sampling.MODEL_GUIDED:
        if guide is None:
            raise StudyError(
                "crowd.design is mg_is, which draws by a guide, but explanations.guide.source is none; take ag_is or systematic"
            )
        if np.ptp(guide) == 0:
            sampler = sampling.ACTIVATION_GUIDED
    return sampling.proposal(sampler, values, guide, gamma=asking.gamma, alpha=asking.alpha)
