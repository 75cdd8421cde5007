"""Do the intervals of the latent model cover true scores? Thousands of simulated pairs, beside the guide alone and the paper.

    nice -n 10 python -m benchmarks.crowd_coverage                     # 2,000 pairs a cell, hours of one core
    python -m benchmarks.crowd_coverage --pairs 200 --cells good       # a first look at one cell, into MIS_BENCHMARKS

A cell is a world (its guide, its units), raters, a design and a number of ratings a pair; a row of the table, appended when the
cell is done. Cells that the table has already with as many pairs are left out, so a run that was stopped goes on. Study s of a
cell has seed s in every cell, so cells share worlds where they can: rows are not independent of each other, studies are.

fixed       images by systematic sampling with the design of the model, three ratings each
adaptive    half of the ratings on as many images, then four waves, each of an eighth
gold        100 images that show the concept and 100 that do not, a study, three ratings each, on top; `-` without
guide       correlation of activation and guide, no rating
paper       MG-IS, three ratings a drawn image, BRAgg with the guide as prior (.001 to .999), Eq. 7 to 9, and 1.96 standard
            errors by the delta method, which the paper does not have

rce        sum of |estimate - true| over sum of |true|; ours counts pairs without a score as 0, as the paper's
coverage   share of the pairs with a score whose interval holds the true one: ours at 2.3 standard errors; low, middle, high:
           in thirds of prevalence; se over studies, whose pairs share raters
above      share of the pairs with a score whose interval lies above the true one
undefined  share of the pairs without a score
flags      share of the studies in which a check of the self-check raised its flag: bins or agreement (raters), gold errors, gold
           seen; without the bootstrap, which is left out here
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, replace
from time import process_time
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.harness import RESULTS
from interpretability.explanations import aggregation, estimates, sampling
from interpretability.explanations.correlation import correlation, standardised
from interpretability.explanations.latent import adaptive, design
from interpretability.explanations.latent.fit import LatentFit, latent_scores
from interpretability.explanations.latent.given import GoldImages, RatedPairs
from interpretability.explanations.latent.self_check import GOLD_TAIL, LARGEST_Z, SEEN_TAIL
from interpretability.randomness import combine, generator, key64
from interpretability.synthetic.crowd_worlds import World, crowd_world
from interpretability.synthetic.raters import ERRORS, Errors, simulate_counts
from study.files.tables import write_csv

GOLD = 100  # images with the concept, and as many without, a study
RATERS, WAVES, QUANTILE_OF_PAPER = 3, 4, 1.96
IN_WAVES = {
    *((name, "constant") for name in ("good", "mediocre", "random", "blind", "broad", "rectified")),
    ("good", "beta"),
    ("mediocre", "beta"),
}
WITHOUT_GOLD = {("good", "constant"), ("mediocre", "constant"), ("mediocre", "beta"), ("mediocre", "unequal")}


@dataclass(frozen=True)
class Cell:
    """A world, raters, a design and a budget. `units`: activations as drawn, or skewed: log(1 + exp(2 a))^2."""

    name: str
    guide: str = "good"
    raters: str = "constant"
    ratings: int = 550
    design: str = "fixed"
    setting: str = "mixed_guides"
    gold: bool = True
    world: dict[str, Any] = field(default_factory=dict)
    units: str = "as drawn"

    def title(self) -> dict[str, object]:
        gold = GOLD if self.gold else 0
        return {"cell": self.name, "raters": self.raters, "design": self.design, "ratings": self.ratings, "gold": gold}


def cells() -> list[Cell]:
    """All cells: worlds and raters at 180 and 550 ratings a pair, some in waves, some without gold or guide."""
    kinds = [
        Cell("good"),
        Cell("mediocre", "mediocre"),
        Cell("overconfident", "overconfident"),
        Cell("shifted", "shifted"),
        Cell("random", "random"),
        Cell("blind", "blind"),
        Cell("leak", "leak"),
        Cell("good", raters="beta"),
        Cell("mediocre", "mediocre", "beta"),
        Cell("mediocre", "mediocre", "unequal"),
        Cell("mediocre", "mediocre", "bad"),
        Cell("mediocre", "mediocre", "by_text"),
        Cell("mediocre", "mediocre", "look_alikes"),
        Cell("broad", "broad"),
        Cell("rectified", "mediocre", world={"rectified": True}),
        Cell("half wrong", world={"half_wrong": True}),
        Cell("skewed", "mediocre", units="skewed"),
        Cell("base", setting="base"),
        Cell("eight pairs", "mediocre", world={"n_units": 8}),
        Cell("no guide"),
        Cell("rare", setting="rare"),
    ]
    fixed = [replace(kind, ratings=ratings) for ratings in (180, 550) for kind in kinds]
    waves = [replace(each, design="adaptive") for each in fixed if (each.name, each.raters) in IN_WAVES]
    bare = [replace(each, gold=False) for each in fixed if (each.name, each.raters) in WITHOUT_GOLD]
    return fixed + waves + bare


def world_of(cell: Cell, seed: int) -> tuple[World, NDArray[np.float64]]:
    """The world of a study, and true scores of its units: those of the activations as they are, or transformed."""
    world = crowd_world(cell.setting, cell.guide, seed=seed, **cell.world)
    if cell.units == "as drawn":
        return world, world.rho
    values = np.logaddexp(0.0, 2.0 * world.activations.astype(np.float64)) ** 2
    rho = np.array([correlation(a, c) for a, c in zip(values, world.concept, strict=True)])
    return replace(world, activations=values.astype(np.float32), rho=rho), rho


def gold_of(world: World, errors: Errors, draw: np.random.Generator) -> GoldImages:
    """GOLD images that show a concept and as many that do not: the pair at random, then the image uniformly among its own."""
    pair = draw.integers(len(world.concept), size=2 * GOLD)
    present = np.repeat([1, 0], GOLD)
    image = np.array([draw.choice(np.flatnonzero(world.concept[p] == c)) for p, c in zip(pair, present, strict=True)])
    rows = np.unique(np.stack([pair, image]), axis=1)
    counts = simulate_counts(world, rows[0], rows[1], RATERS, errors, draw)
    shown = world.concept[rows[0], rows[1]].astype(np.int64)
    return GoldImages(rows[0], rows[1], shown, np.full(len(counts), RATERS), counts, drawn_uniformly=True)


def ours(cell: Cell, world: World, seed: int) -> LatentFit:
    """Our scores of a study."""
    errors, draw = ERRORS[cell.raters], generator(seed, "crowd coverage", *map(str, cell.title().values()))
    keys = np.array([key64("unit", unit) for unit in range(len(world.rho))], np.uint64)
    drawn = combine(keys, key64(seed, "images"))
    guide = None if cell.name == "no guide" else world.guide
    gold = gold_of(world, errors, draw) if cell.gold else None
    if cell.design == "fixed":
        images = design.drawn_images(world.activations, guide, cell.ratings // RATERS, drawn)
        ratings = rated(world, images, RATERS, errors, draw)
    else:
        images = adaptive.first_wave(world.activations, guide, cell.ratings, drawn)
        ratings = rated(world, images, 1, errors, draw)
        for _ in range(WAVES):
            size = cell.ratings // adaptive.WAVE
            more = adaptive.next_wave(world.activations, guide, ratings, size, gold=gold, keys=keys)
            ratings = added(ratings, rated(world, more, 1, errors, draw))
    return latent_scores(world.activations, guide, ratings, gold=gold, seed=seed, keys=keys)


def rated(
    world: World, images: list[NDArray[np.int64]], n: int, errors: Errors, draw: np.random.Generator
) -> RatedPairs:
    """`n` ratings of each of the images of each pair."""
    pair, image = np.repeat(np.arange(len(images)), [len(each) for each in images]), np.concatenate(images)
    return RatedPairs(pair, image, np.full(len(pair), n), simulate_counts(world, pair, image, n, errors, draw))


def added(first: RatedPairs, second: RatedPairs) -> RatedPairs:
    """Ratings of two waves, those of an image added up."""
    both = [np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("pair", "image", "n", "yes")]
    table = pd.DataFrame(dict(zip(("pair", "image", "n", "yes"), both, strict=True)))
    total = table.groupby(["pair", "image"], sort=True).sum().reset_index()
    return RatedPairs(*(total[name].to_numpy() for name in ("pair", "image", "n", "yes")), adaptive=True)


def of_paper(cell: Cell, world: World, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The paper's estimates of a study, with standard errors by the delta method."""
    errors, draw = ERRORS[cell.raters], generator(seed, "crowd coverage, paper", *map(str, cell.title().values()))
    abar = standardised(world.activations)
    q = sampling.proposal("mg_is", world.activations, world.guide)
    keys = np.array([key64(seed, "paper", unit) for unit in range(len(q))], np.uint64)
    drawn = sampling.keyed_draws(q, cell.ratings // RATERS, keys)
    rows = np.arange(len(q))[:, None]
    # an image that was drawn twice is rated once
    pairs, place = np.unique(np.broadcast_to(rows, drawn.shape) * abar.shape[1] + drawn, return_inverse=True)
    pair, image = pairs // abar.shape[1], pairs % abar.shape[1]
    yes = simulate_counts(world, pair, image, RATERS, errors, draw)
    prior = np.clip(world.guide[pair, image].astype(np.float64), aggregation.CLIP, 1 - aggregation.CLIP)
    labels = aggregation.bragg(yes, RATERS, prior)[place.reshape(drawn.shape)]
    parts = labels, np.take_along_axis(sampling.weights(q), drawn, axis=1), np.take_along_axis(abar, drawn, axis=1)
    return estimates.importance(*parts).rho, estimates.delta_se(*parts)


def row_of(cell: Cell, n_pairs: int) -> dict[str, object]:
    """The row of a cell, from as many studies as hold n_pairs."""
    begin, parts, flags, seed = process_time(), [], [], 0
    while sum(map(len, parts)) < n_pairs:
        world, rho = world_of(cell, seed)
        fit, (paper, paper_se) = ours(cell, world, seed), of_paper(cell, world, seed)
        columns = {
            "study": seed,
            "rho": rho,
            "ours": fit.rho,
            "reach": (fit.high - fit.low) / 2,
            "mean": fit.draws.mean(axis=0),
            "guide": world.guide_rho,
            "paper": paper,
            "paper_reach": QUANTILE_OF_PAPER * paper_se,
            "prevalence": world.prevalence,
            "rhat": fit.rhat,
        }
        parts.append(pd.DataFrame(columns))
        flags.append(flags_of(fit))
        seed += 1
    return {
        **cell.title(),
        "pairs": sum(map(len, parts)),
        "studies": seed,
        **figures(pd.concat(parts, ignore_index=True)),
        **pd.DataFrame(flags).mean().to_dict(),
        "seconds": (process_time() - begin) / seed,
    }


def figures(found: pd.DataFrame) -> dict[str, float]:
    """Errors, coverage and widths of all pairs of a cell."""
    scored = found[found["ours"].notna()]
    off = scored["ours"] - scored["rho"]
    hit = off.abs() <= scored["reach"]
    by_study = hit.groupby(scored["study"]).mean()
    third = scored["prevalence"].rank(pct=True)
    thirds = zip(
        ("low", "middle", "high"), (third <= 1 / 3, third.between(1 / 3, 2 / 3, "right"), third > 2 / 3), strict=True
    )
    truth = found["rho"].to_numpy()
    return {
        "rce": estimates.relative_error(found["ours"], truth),
        "rce_guide": estimates.relative_error(found["guide"], truth),
        "rce_paper": estimates.relative_error(found["paper"], truth),
        "bias": off.sum() / scored["rho"].sum(),
        "coverage": hit.mean(),
        "coverage_se": by_study.std() / np.sqrt(len(by_study)),
        **{f"coverage_{name}": hit[part].mean() for name, part in thirds},
        "above": (off > scored["reach"]).mean(),
        "width": 2 * scored["reach"].mean(),
        "undefined": 1 - len(scored) / len(found),
        "coverage_paper": ((found["paper"] - found["rho"]).abs() <= found["paper_reach"]).mean(),
        "width_paper": 2 * found["paper_reach"].mean(),
        "rhat": found["rhat"].max(),
    }


def flags_of(fit: LatentFit) -> dict[str, bool]:
    """Which checks of a study say that something is wrong."""
    check = fit.check
    return {
        "flags_bins": check.largest_z > LARGEST_Z,
        "flags_agreement": abs(check.agreement_z) > LARGEST_Z,
        "flags_gold": min(check.gold_yes, check.gold_no) < GOLD_TAIL,
        "flags_seen": check.gold_seen < SEEN_TAIL,
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2000, help="pairs of each cell, at least")
    parser.add_argument("--cells", nargs="*", default=[], help="names of cells; all where none is given")
    args = parser.parse_args(argv)
    path = RESULTS / "crowd_coverage.csv"
    for cell in cells():
        if args.cells and cell.name not in args.cells:
            continue
        known = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=[*cell.title(), "pairs"])
        same = np.all([known[name] == value for name, value in cell.title().items()], axis=0)
        if (known["pairs"][same] >= args.pairs).any():
            continue
        row = row_of(cell, args.pairs)
        table = pd.concat([known[~same], pd.DataFrame([row])], ignore_index=True) if len(known) else pd.DataFrame([row])
        write_csv(path, table)
        print(pd.Series(row).to_string(), flush=True)


if __name__ == "__main__":
    main()
