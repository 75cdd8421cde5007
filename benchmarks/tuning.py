"""How often ranges of a tuned similarity cover what its weights give on other units of the same networks.

    python -m benchmarks.tuning [--studies 1000]

`tuning.csv`, a row a setting: units of three networks whose evidence lies in eight blocks, of which observers see seven, or all,
as the untuned similarity does (seen 8: nothing to find); 12 tasks a unit. Weights are fitted and judged as in the stage `tuning`.
The truth of a study is what the weights of its five folds give on average over 5,000 other units: how much likelier an answer is
than under the untuned similarity (in nats), Pearson's r untuned and tuned, and the difference of the two. Beside the means: the
share of ranges of 95 %, over resampled units, that cover, and that of studies which the rule of the stage accepts.

They cover too seldom, .85 to .93, since answers of one fold also chose the weights of the others: the tables call them ranges.
Aim: where nothing is to be found, at most .025 accepted.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from benchmarks.harness import report
from interpretability.people import tuned_scores, tuning
from interpretability.people.resampling import resample_units
from interpretability.people.tuned_scores import Asked
from interpretability.people.tuning import Answers, Design
from interpretability.randomness import generator
from interpretability.statistics import pearson

SETTINGS = ((60, 30, 7), (200, 30, 7), (60, 30, 8))  # units, answers a unit, blocks that observers see
N_BLOCKS, N_TASKS, N_POOL, SLOPE, N_BOOTSTRAP = 8, 12, 5_000, 7.0, 400
QUANTITIES = ("r_untuned", "r_tuned", "gain", "log_loss_gain")


def pool(n_units: int, draw: np.random.Generator) -> Design:
    """Units with loadings on a few blocks, easy and hard ones, whose tasks scatter around them."""
    loading = draw.dirichlet(np.full(N_BLOCKS, 0.5), n_units) * draw.uniform(0.0, 0.5, (n_units, 1))
    features = loading[:, None, :] + 0.04 * draw.standard_normal((n_units, N_TASKS, N_BLOCKS))
    return Design(features, tuple(map(str, range(N_BLOCKS))), features.sum(axis=2))


def asked_of(design: Design, seen: int, n_answers: int, draw: np.random.Generator) -> Asked:
    """Answers of observers who see the first blocks."""
    evidence = SLOPE * design.features[..., :seen].sum(axis=2)
    n = np.full(evidence.shape, n_answers // N_TASKS)
    n[:, : n_answers % N_TASKS] += 1
    right = draw.binomial(n, 1 / (1 + np.exp(-evidence)))
    number = np.arange(len(n))
    units = pd.DataFrame(
        {"model": [f"net {i % 3}" for i in number], "layer": "", "unit": number, "condition": "natural"}
    )
    return Asked(units.assign(his=right.sum(axis=1) / n.sum(axis=1)), Answers(n, right), np.ones(n.shape, dtype=bool))


def truths(design: Design, asked: Asked, fit: tuning.CrossFit) -> dict[str, float]:
    """What the weights of the folds give over all units of the pool, on average."""
    his, found = asked.units["his"].to_numpy(), []
    for weights, slope in zip(fit.weights, fit.slopes, strict=True):
        tuned, untuned = design.evidence(weights), slope * design.margins
        before, after = (pearson(tuned_scores.scores(each, asked.used), his) for each in (untuned, tuned))
        likelier = (
            asked.answers.log_likelihoods(tuned) - asked.answers.log_likelihoods(untuned)
        ).sum() / asked.answers.n.sum()
        found.append((before, after, after - before, likelier))
    return dict(zip(QUANTITIES, np.mean(found, axis=0).tolist(), strict=True))


def row(n_units: int, n_answers: int, seen: int, n_studies: int) -> dict[str, float]:
    """One setting: how often each range covers, and what is accepted."""
    draw = generator(0, "tuned ranges", n_units, n_answers, seen)
    world = pool(N_POOL, draw)
    everybody = asked_of(world, seen, n_answers, draw)
    covered: dict[str, int] = dict.fromkeys(QUANTITIES, 0)
    values: dict[str, float] = dict.fromkeys(QUANTITIES, 0.0)
    accepted = 0
    for number in range(n_studies):
        design = pool(n_units, draw)
        asked = asked_of(design, seen, n_answers, draw)
        fit = tuning.cross_fit(design, asked.answers, tuning.unit_folds(asked.units, number))
        drawn = resample_units(asked.units, N_BOOTSTRAP, draw)
        ranges = tuned_scores.score_gain(asked, fit, drawn, tuned_scores.CONFIDENCE)
        ranges["log_loss_gain"] = tuned_scores.answer_gain(asked, fit, drawn, tuned_scores.CONFIDENCE)
        accepted += ranges["log_loss_gain"][1] > 0
        for name, truth in truths(world, everybody, fit).items():
            value, low, high = ranges[name]
            covered[name] += low <= truth <= high
            values[name] += value
    shares = {f"{name}_covered": covered[name] / n_studies for name in QUANTITIES}
    means = {name: values[name] / n_studies for name in QUANTITIES}
    sizes = {"n_units": n_units, "n_answers": n_answers, "seen": seen, "n_studies": n_studies}
    return {**sizes, **means, **shares, "accepted": accepted / n_studies}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    args = parser.parse_args(argv)
    report("tuning", f"{args.studies} simulated studies a row", [row(*setting, args.studies) for setting in SETTINGS])


if __name__ == "__main__":
    main()
