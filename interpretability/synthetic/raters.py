"""Simulated raters, who say of an image whether it shows a text. Their ratings are always called simulated.

Two forms. `simulate_counts` draws how many of the anonymous raters of an image said yes, under a kind of `Errors`.
`simulate_ratings` draws a table of ratings by named raters, one honest, another lazy, in pages, as a rating service returns it.

What belongs to an image or a text and not to a rating (how hard the image is, how a text is misread) comes from keys, so that it
stays the same however often the image is rated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import betaincinv, logit

from interpretability import arguments
from interpretability.randomness import U64, combine, generator, key64, mix64, uniforms
from interpretability.synthetic.crowd_worlds import World

ERROR = 0.23  # error rate of a rating, Oikarinen et al. 2025, section 3.2
BETA = (0.75, 2.5)  # error rates of hard images: their Beta error model, appendix B.4
# seconds that a page of 15 images takes: the paper pays for 15; lazy raters take a tenth
SECONDS, SECONDS_SPREAD, HASTE = 15.0, 0.35, 0.1
PAGE = 15  # images a page
LAZY_PAGES = 0.8  # share of the pages that a lazy rater sends empty
LOGITS_TO_HIGHEST = 2.0  # logits above the prior at which look-alikes fool people most
KINDS = ("honest", "lazy", "inverted", "never", "always")


def _share(value: float, argument: str) -> None:
    if not 0 <= value <= 1:
        raise arguments.wrong(argument, "is {value!r}; it must lie in [0, 1]", value=value)


@dataclass(frozen=True)
class Errors:
    """How raters err.

    false_yes, false_no  chances of a yes for an image that does not show the text, and of a no for one that does
    beta                 (a, b): an own error rate of every (image, text), shared by all raters: hard images; not the two above
    by_text              (low, high): an own error rate of every text, uniform between them; not the two above
    look_alikes          (low, high): the chance of a false yes rises with the guide, from low where the guide is at its prior
                         or below to high where it is two logits above
    bad_share            share of the ratings that are given by tossing a coin
    """

    false_yes: float = ERROR
    false_no: float = ERROR
    beta: tuple[float, float] | None = None
    by_text: tuple[float, float] | None = None
    look_alikes: tuple[float, float] | None = None
    bad_share: float = 0.0

    def __post_init__(self) -> None:
        for name in ("false_yes", "false_no", "bad_share"):
            _share(getattr(self, name), name)
        if self.beta is not None and not min(self.beta) > 0:
            raise arguments.wrong("beta", "is {value!r}; both numbers must be above 0", value=self.beta)
        for name in ("by_text", "look_alikes"):
            for value in getattr(self, name) or ():
                _share(value, name)

    @property
    def never(self) -> bool:
        """Whether raters never err."""
        return self == Errors(0.0, 0.0)

    @property
    def mean(self) -> float:
        """Expected share of wrong ratings, where texts are shown and not shown equally often; look-alikes as by themselves."""
        if self.beta is not None:
            honest = self.beta[0] / sum(self.beta)
        else:
            honest = (self.false_yes + self.false_no) / 2 if self.by_text is None else sum(self.by_text) / 2
        return (1.0 - self.bad_share) * honest + self.bad_share / 2


ERRORS = {
    "constant": Errors(),
    "beta": Errors(beta=BETA),
    "unequal": Errors(false_yes=0.1, false_no=0.4),
    "bad": Errors(bad_share=0.1),
    "by_text": Errors(by_text=(0.13, 0.33)),
    "look_alikes": Errors(look_alikes=(0.15, 0.40)),
}


def error_rates(
    world: World, pair: NDArray[np.integer], image: NDArray[np.integer], errors: Errors
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Chances of a false yes and of a false no of each (pair, image), without the coins of bad raters.

    `pair` counts the world's units from 0. The same (world, pair, image) has the same rates in every call.
    """
    false_yes, false_no = np.full(len(pair), errors.false_yes), np.full(len(pair), errors.false_no)
    texts = combine(U64(key64("rater errors", world.seed, world.name)), np.asarray(pair + world.first_unit, dtype=U64))
    if errors.by_text is not None:
        low, high = errors.by_text
        false_yes = low + (high - low) * uniforms(texts)
        false_no = false_yes.copy()
    if errors.beta is not None:
        false_yes = betaincinv(*errors.beta, uniforms(combine(texts, np.asarray(image, dtype=U64))))
        false_no = false_yes.copy()
    if errors.look_alikes is not None:
        false_yes = _look_alikes(world, pair, image, errors.look_alikes)
    return false_yes, false_no


def yes_chances(
    world: World, pair: NDArray[np.integer], image: NDArray[np.integer], errors: Errors
) -> NDArray[np.float64]:
    """Chance that one anonymous rater says yes to each (pair, image), whoever it is."""
    return (1.0 - errors.bad_share) * _honest(world, pair, image, errors) + errors.bad_share / 2


def _honest(world: World, pair: NDArray[np.integer], image: NDArray[np.integer], errors: Errors) -> NDArray[np.float64]:
    false_yes, false_no = error_rates(world, pair, image, errors)
    return np.where(world.concept[pair, image], 1.0 - false_no, false_yes)


def simulate_counts(
    world: World,
    pair: NDArray[np.integer],
    image: NDArray[np.integer],
    n_raters: int | NDArray[np.integer],
    errors: Errors,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """How many of n_raters said yes to each (pair, image): arrays of one length, pairs being the world's units from 0."""
    yes = _honest(world, pair, image, errors)
    if not errors.bad_share:
        return rng.binomial(n_raters, yes)
    bad = rng.binomial(n_raters, np.full(len(pair), errors.bad_share))
    return rng.binomial(n_raters - bad, yes) + rng.binomial(bad, 0.5)


@dataclass(frozen=True)
class Rater:
    """A simulated rater.

    kind  honest    errs as `errors` say
          lazy      sends most pages with nothing selected, in haste; on the others errs as the errors say
          inverted  says the opposite of what an honest rater would
          never     selects no image, at an honest pace
          always    selects every image
    """

    name: str
    kind: str = "honest"
    false_yes: float = ERROR
    false_no: float = ERROR

    def __post_init__(self) -> None:
        arguments.choice(self.kind, "kind", KINDS)
        for name in ("false_yes", "false_no"):
            _share(getattr(self, name), name)


def crowd(n_raters: int, *, special: Sequence[str] = (), errors: Errors | None = None) -> list[Rater]:
    """Raters called simulated-001 and so on: the last ones of the `special` kinds, all others honest.

    Raises InputError where there are more special ones than raters.
    """
    if len(special) > arguments.count(n_raters, "n_raters"):
        raise arguments.wrong(
            "special", "names {names} raters, but there are {n_raters}", names=len(special), n_raters=n_raters
        )
    errors = errors or Errors()
    kinds = ["honest"] * (n_raters - len(special)) + list(special)
    return [
        Rater(f"simulated-{number:03d}", kind, errors.false_yes, errors.false_no)
        for number, kind in enumerate(kinds, start=1)
    ]


def simulate_ratings(
    questions: pd.DataFrame,
    raters: Sequence[Rater],
    *,
    n_raters: int,
    seed: int,
    hard: tuple[float, float] | None = None,
    shared: float = 0.0,
    page: int = PAGE,
) -> pd.DataFrame:
    """Ratings of images by named raters: columns rater, text, image, rating, seconds, page.

    questions  columns text, image (unique together) and present (whether the image shows the text); with a column page, of one
               text each, they are asked in these pages and this order
    n_raters   raters of each page, chosen by keys, each at most once a page
    hard       (a, b): errors of honest work are Beta(a, b) of every (image, text), shared by raters, instead of the raters' own
    shared     w >= 0: a rater's error rate m is only the mean over images; that of one (image, text) is Beta(m / w, (1 - m) / w),
               at the same quantile for all raters. 0: the same on all images; 4/13 is as uneven as BETA
    page       images a page, where questions has no pages

    Without pages, the images of a text come in keyed order. `seconds` is the time a rater took for the whole page. Rows are
    ordered by page, rater and place on the page; pages are numbered by text. A rating depends on seed, rater, text and image
    alone, but for the pages that a lazy rater leaves empty.
    Raises InputError for repeated questions, a page of several texts, fewer raters than n_raters, or a negative `shared`.
    """
    arguments.table(questions, "questions", ("text", "image", "present"), empty=True)
    if questions.duplicated(["text", "image"]).any():
        raise arguments.wrong("questions", "holds an image of a text twice")
    if "page" in questions and questions.groupby("page")["text"].nunique().gt(1).any():
        raise arguments.wrong("questions", "holds a page of several texts")
    arguments.count(n_raters, "n_raters", most=len(raters))
    arguments.number(shared, "shared", least=0)
    asked = _paged(questions, seed, arguments.count(page, "page"))
    shares = _dealt(asked, raters, n_raters, seed)
    question = np.concatenate([np.arange(share.first, share.last) for share in shares] or [np.empty(0, dtype=np.int64)])
    by = np.repeat(np.arange(len(shares)), [share.last - share.first for share in shares])
    rater = np.array([share.rater for share in shares], dtype=np.int64)[by]
    said = np.empty(len(question), dtype=np.int64)
    for number, each in enumerate(raters):
        own = np.flatnonzero(rater == number)
        rows = asked.iloc[question[own]]
        hasty = np.array([share.hasty for share in shares], dtype=bool)[by[own]]
        present, keys = rows["present"].to_numpy(dtype=bool), rows["key"].to_numpy(dtype=U64)
        said[own] = np.where(hasty, 0, _said(each, present, keys, hard, shared))
    return pd.DataFrame(
        {
            "rater": pd.Series([raters[number].name for number in rater], dtype=object),
            "text": asked["text"].to_numpy()[question],
            "image": asked["image"].to_numpy()[question],
            "rating": said,
            "seconds": np.array([share.seconds for share in shares], dtype=np.float64)[by],
            "page": asked["page"].to_numpy(dtype=np.int64)[question],
        }
    )


@dataclass(frozen=True)
class _Share:
    """A page in the hands of a rater: questions first to last - 1, the seconds taken, whether it was sent empty in haste."""

    first: int
    last: int
    rater: int
    seconds: float
    hasty: bool


def _paged(questions: pd.DataFrame, seed: int, page: int) -> pd.DataFrame:
    """Questions in order of pages, with the columns page, place (of the page among those of its text) and key (of text and
    image)."""
    keys = [
        key64(seed, "rated", str(text), str(image))
        for text, image in zip(questions["text"], questions["image"], strict=True)
    ]
    keyed = questions.assign(key=np.array(keys, dtype=U64))
    if "page" in keyed:
        ordered = keyed.sort_values("page", kind="stable")
        return ordered.assign(place=ordered.groupby("text")["page"].rank("dense").to_numpy(dtype=np.int64) - 1)
    ordered = keyed.iloc[np.argsort(mix64(keyed["key"].to_numpy()), kind="stable")].sort_values("text", kind="stable")
    place = ordered.groupby("text", sort=False).cumcount().to_numpy()
    return ordered.assign(page=np.cumsum(place % page == 0) - 1, place=place // page)


def _dealt(asked: pd.DataFrame, raters: Sequence[Rater], n_raters: int, seed: int) -> list[_Share]:
    """Who gets which page, ordered by page and rater."""
    pages, texts, places = asked["page"].to_numpy(), asked["text"].to_numpy(), asked["place"].to_numpy()
    starts = np.flatnonzero(np.diff(pages, prepend=pages[:1] - 1))
    shares: list[_Share] = []
    for first, last in zip(starts, np.append(starts[1:], len(pages))[: len(starts)], strict=True):
        name = (str(texts[first]), int(places[first]))
        chosen = np.sort(generator(seed, "raters of a page", *name).permutation(len(raters))[:n_raters])
        for number in chosen:
            draw = generator(seed, "pace", raters[number].name, *name)
            seconds = SECONDS * (last - first) / PAGE * np.exp(SECONDS_SPREAD * draw.standard_normal())
            hasty = raters[number].kind == "lazy" and draw.random() < LAZY_PAGES
            taken = round(float(seconds) * (HASTE if hasty else 1.0), 1)
            shares.append(_Share(int(first), int(last), int(number), taken, hasty))
    return shares


def _said(
    rater: Rater,
    present: NDArray[np.bool_],
    keys: NDArray[np.uint64],
    hard: tuple[float, float] | None,
    shared: float,
) -> NDArray[np.int64]:
    """0 or 1 for each question, from keys of (text, image)."""
    if rater.kind in ("never", "always"):
        return np.full(len(keys), int(rater.kind == "always"))
    wrong = np.where(present, rater.false_no, rater.false_yes)
    place = uniforms(combine(keys, key64("hard")))
    if hard is not None:
        wrong = betaincinv(*hard, place)
    elif shared:
        wrong = np.where((wrong > 0) & (wrong < 1), betaincinv(wrong / shared, (1 - wrong) / shared, place), wrong)
    errs = uniforms(combine(keys, key64("rating", rater.name))) < wrong
    return ((present != errs) != (rater.kind == "inverted")).astype(np.int64)


def _look_alikes(
    world: World, pair: NDArray[np.integer], image: NDArray[np.integer], bounds: tuple[float, float]
) -> NDArray[np.float64]:
    """Chances of a false yes that rise with the logit of the guide."""
    low, high = bounds
    pairs, place = np.unique(pair, return_inverse=True)
    prior = logit(np.array([world.guide[each].mean(dtype=np.float64) for each in pairs]))
    above = logit(np.clip(world.guide[pair, image].astype(np.float64), 1e-6, 1 - 1e-6)) - prior[place]
    return low + (high - low) * np.clip(above / LOGITS_TO_HIGHEST, 0.0, 1.0)
