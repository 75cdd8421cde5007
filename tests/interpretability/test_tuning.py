"""Similarities tuned on answers: by hand, on planted weights, and on observers who give nothing to learn."""

import numpy as np
import pandas as pd
import pytest
from scipy import optimize
from scipy.special import expit

from interpretability.people import tuned_scores, tuning
from interpretability.people.resampling import resample_units
from interpretability.people.tuned_scores import Asked
from interpretability.people.tuning import Answers
from interpretability.randomness import generator
from interpretability.statistics import pearson
from interpretability.synthetic.draws import draw_factors
from interpretability.synthetic.factors import FACTOR_NAMES, factor_dimensions, factor_vectors
from interpretability.tasks import natural

N_IMAGES, N_TASKS, K = 1500, 12, 4
MODELS = ("a", "b", "c")


def scenes(seed=0):
    """Vectors of all factors of random scenes, and the factors."""
    factors = draw_factors(N_IMAGES, seed=seed, stream="tuning", n_categories=24)
    return factor_vectors(factors), factors


def tasks_of(vectors, n_units, seed=0):
    """Tasks of units that look at random directions of the factors, with some noise; and which network each is of."""
    draw = generator(seed, "tuning test", "units")
    # directions of a few factors each, so that units differ in what they show
    names = np.array(factor_dimensions())
    seen = np.array([np.isin(names, draw.choice(FACTOR_NAMES, 2, replace=False)) for _ in range(n_units)])
    values = (draw.standard_normal((n_units, vectors.shape[1])) * seen) @ vectors.T
    values += (
        values.std(axis=1, keepdims=True) * draw.uniform(0.2, 3.0, (n_units, 1)) * draw.standard_normal(values.shape)
    )
    order, n = np.argsort(values, axis=1, kind="stable"), N_TASKS * (K + 1)
    keys = draw.integers(0, 2**63, n_units).astype(np.uint64)
    tasks = natural.build(order[:, ::-1][:, :n].astype(np.int32), order[:, :n].astype(np.int32), keys, N_TASKS, K)
    units = pd.DataFrame(
        {"model": np.resize(MODELS, n_units), "layer": "conv", "unit": np.arange(n_units), "condition": "natural"}
    )
    return units, np.asarray(tasks)


def answered(units, evidence, n_answers, seed=0):
    """Answers of people who are right with probability sigmoid(evidence) (units, tasks)."""
    draw = generator(seed, "tuning test", "answers")
    n = np.zeros(evidence.shape, dtype=np.int64)
    np.add.at(n, (slice(None), np.arange(n_answers) % evidence.shape[1]), 1)
    right = draw.binomial(n, expit(evidence))
    his = right.sum(axis=1) / n.sum(axis=1)
    noise = his * (1 - his) / (n.sum(axis=1) - 1)
    table = units.assign(n_responses=n.sum(axis=1), his=his, noise_within=noise)
    return Asked(table, Answers(n, right), np.ones(n.shape, dtype=bool))


def margins_of(vectors, tasks):
    queries, explanations = tuning.task_sides(vectors, tasks, K)
    return (queries * explanations).sum(axis=2)


@pytest.fixture(scope="module")
def study():
    """150 units of known factors: vectors, scenes, units, tasks, and both sides of each task."""
    vectors, factors = scenes()
    units, tasks = tasks_of(vectors, 150)
    return vectors, factors, units, tasks, tuning.task_sides(vectors, tasks, K)


def test_sides_make_the_margin_one_would_write_down(study):
    vectors, _, _, tasks, (queries, explanations) = study
    whole = vectors.astype(np.float64)
    for unit, task in ((0, 0), (7, 3), (149, 11)):
        images = tasks[unit, task]
        sums = [
            np.mean([whole[query] @ whole[image] for image in side])
            for query in images[-2:]
            for side in (images[:K], images[K : 2 * K])
        ]
        margin = (sums[0] - sums[1]) - (sums[2] - sums[3])
        assert (queries[unit, task] * explanations[unit, task]).sum() == pytest.approx(margin, abs=1e-9)


def test_low_rank_features_give_the_margin_under_the_matrix(study):
    _, _, _, _, sides = study
    directions = tuning.principal_directions(study[0], 5)
    assert directions.T @ directions == pytest.approx(np.eye(5), abs=1e-12)
    design = tuning.low_rank_design(*sides, directions)
    weights = generator(0, "low rank").standard_normal(len(design.names))
    departure = tuning.matrix_of(weights, 5) - weights[0] * np.eye(5)
    matrix = weights[0] * np.eye(len(directions)) + directions @ departure @ directions.T
    wanted = np.einsum("utd,de,ute->ut", sides[0], matrix, sides[1])
    assert design.evidence(weights) == pytest.approx(wanted, abs=1e-9)
    # what is penalised is the sum of squares of the departure, whatever directions span the space
    assert (weights[1:] ** 2).sum() == pytest.approx((departure**2).sum())


def test_positive_part_is_the_nearest_matrix_without_negative_eigenvalues():
    weights = np.array([1.0, -3.0, 0.5, 2.0])
    part = tuning.matrix_of(tuning.positive_part(weights, 2), 2)
    values, vectors = np.linalg.eigh(tuning.matrix_of(weights, 2))
    assert values[0] < 0
    assert part == pytest.approx(vectors[:, 1:] @ vectors[:, 1:].T * values[1], abs=1e-12)
    kept = np.array([5.0, 0.1, 0.2, 0.3])
    assert (tuning.positive_part(kept, 2) == kept).all()


@pytest.mark.parametrize("family", ["diagonal", "low_rank"])
def test_fit_is_where_a_slow_search_ends(study, family):
    vectors, _, units, _, (queries, explanations) = study
    few = slice(0, 20)
    if family == "diagonal":
        design = tuning.diagonal_design(queries[few, :, :6], explanations[few, :, :6])
    else:
        design = tuning.low_rank_design(queries[few], explanations[few], tuning.principal_directions(vectors, 2))
    asked = answered(units[few], 8 * design.margins, 24)
    n, right, strength = asked.answers.n, asked.answers.right, 0.1

    def loss(weights):
        evidence = np.einsum("utp,p->ut", design.features, weights)
        away = weights[1:] if design.rank else weights - weights.mean()
        return (n * np.log1p(np.exp(evidence)) - right * evidence).sum() + strength / 2 * (away @ away)

    bounds = [(0, None)] + [(None if design.rank else 0, None)] * (len(design.names) - 1)
    options = {"maxiter": 20000, "maxfun": 200000, "ftol": 1e-14, "gtol": 1e-9}
    slow = optimize.minimize(loss, design.untuned(5.0), method="L-BFGS-B", bounds=bounds, options=options)
    found = tuning.fitted(design, asked.answers, strength, design.untuned(5.0))
    assert loss(found) <= slow.fun + 1e-5
    assert found == pytest.approx(slow.x, abs=0.02)


def test_slope_of_the_untuned_similarity_is_the_likeliest(study):
    _, _, units, tasks, _ = study
    margins = margins_of(study[0], tasks)
    asked = answered(units, 6.25 * margins, 36)
    found = tuning.fitted_slope(margins, asked.answers)
    grid = np.linspace(0.8, 1.2, 401) * found
    likely = [asked.answers.log_likelihoods(slope * margins).sum() for slope in grid]
    assert grid[int(np.argmax(likely))] == pytest.approx(found, rel=2e-3)
    assert found == pytest.approx(6.25, rel=0.2)


def test_rows_of_one_unit_share_a_fold_and_order_plays_no_part():
    draw = generator(0, "folds")
    units = pd.DataFrame(
        {"model": draw.choice(MODELS, 90), "layer": draw.choice(["x", "y"], 90), "unit": np.arange(90)}
    )
    rows = pd.concat([units.assign(condition=name) for name in ("natural", "hard85")], ignore_index=True)
    fold = tuning.unit_folds(rows, seed=3)
    assert (rows.assign(fold=fold).groupby(["model", "layer", "unit"])["fold"].nunique() == 1).all()
    # dealt network by network: each fold has as many of each, give or take one
    counts = rows.assign(fold=fold).drop_duplicates("unit").groupby(["model", "fold"]).size().unstack()
    assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all()
    other = draw.permutation(len(rows))
    assert (tuning.unit_folds(rows.iloc[other].reset_index(drop=True), seed=3) == fold[other]).all()
    assert (tuning.unit_folds(rows, seed=4) != fold).any()


def test_no_answer_to_a_unit_enters_its_own_score(study):
    _, _, units, _tasks, sides = study
    design = tuning.block_design(*sides, factor_dimensions())
    asked = answered(units, 8 * design.margins, 24)
    fold = tuning.unit_folds(asked.units, 0)
    before = tuning.cross_fit(design, asked.answers, fold)
    changed = asked.answers.right.copy()
    changed[fold == 2] = asked.answers.n[fold == 2] - changed[fold == 2]
    after = tuning.cross_fit(design, Answers(asked.answers.n, changed), fold)
    assert (before.evidence[fold == 2] == after.evidence[fold == 2]).all()
    assert (before.untuned[fold == 2] == after.untuned[fold == 2]).all()
    assert (before.weights[0] != after.weights[0]).any()


@pytest.mark.parametrize("ignored", FACTOR_NAMES)
def test_each_ignored_factor_is_found(study, ignored):
    """Observers see all factors but one: its weight is about 0, and those of the others are alike."""
    _, factors, units, tasks, sides = study
    design = tuning.block_design(*sides, factor_dimensions())
    seen = margins_of(factor_vectors(factors, ignore=(ignored,)), tasks)
    asked = answered(units, 9 * seen, 240)
    fold = tuning.unit_folds(asked.units, 0)
    weights = tuning.fit_all(design, asked.answers, tuning.chosen_strength(design, asked.answers, fold))
    at = design.names.index(ignored)
    others = np.delete(weights, at)
    assert weights[at] / others.mean() <= 0.12
    assert (others / others.mean() >= 0.80).all()
    assert (others / others.mean() <= 1.25).all()


def test_tuning_finds_what_observers_do_not_see_and_how_sure_that_is(study):
    _, factors, units, tasks, sides = study
    design = tuning.block_design(*sides, factor_dimensions())
    seen = margins_of(factor_vectors(factors, ignore=("frequency", "colour")), tasks)
    asked = answered(units, 8 * seen, 36)
    found = tuned_scores.tuned(asked, design, seed=0, n_bootstrap=300, confidence=0.95)
    row = found.row
    assert list(found.row)
    assert set(found.row) == set(tuned_scores.COLUMNS)
    assert (row["status"], row["reason"], row["n_answers"], row["n_units"]) == ("tuned", "", 150 * 36, 150)
    assert row["gain"] == pytest.approx(row["r_tuned"] - row["r_untuned"])
    assert row["gain_low"] > 0.02
    assert row["log_loss_gain"] == pytest.approx(row["log_loss_untuned"] - row["log_loss_tuned"])
    assert row["gain_networks"] > 0.02
    his = found.units["his"]
    assert pearson(found.units["mis_tuned"], his) == pytest.approx(row["r_tuned"])
    assert row["share_tuned"] == pytest.approx(row["r_tuned"] / row["ceiling"])
    again = tuned_scores.tuned(asked, design, seed=0, n_bootstrap=300, confidence=0.95)
    pd.testing.assert_frame_equal(found.units, again.units, check_exact=True)
    assert (found.final == again.final).all()


def test_weights_carry_over_to_other_images(study):
    """Likeness of pairs of other scenes, tuned, against what observers see: nearer than untuned."""
    vectors, factors, units, tasks, _sides = study
    mixed = np.linalg.qr(generator(0, "mixing").standard_normal((vectors.shape[1], vectors.shape[1])))[0]
    stretched = vectors * np.exp(generator(1, "mixing").normal(0, 0.8, vectors.shape[1]))
    lengths = np.linalg.norm(stretched, axis=1, keepdims=True)
    rows = (stretched / lengths) @ mixed  # an encoder that stretches what it sees and names no factor
    seen = margins_of(factor_vectors(factors, ignore=("frequency",)), tasks)
    asked = answered(units, 9 * seen, 60)
    directions = tuning.principal_directions(rows, 16)
    design = tuning.low_rank_design(*tuning.task_sides(rows, tasks, K), directions)
    weights = tuning.fit_all(design, asked.answers, 0.1)
    other, theirs = scenes(seed=1)
    other = other * np.exp(generator(1, "mixing").normal(0, 0.8, vectors.shape[1]))
    other = (other / np.linalg.norm(other, axis=1, keepdims=True)) @ mixed
    departure = tuning.matrix_of(tuning.positive_part(weights, 16), 16) - weights[0] * np.eye(16)
    own = factor_vectors(theirs, ignore=("frequency",))
    first, second = generator(0, "pairs").integers(0, N_IMAGES, (2, 3000))
    centred = other - other.mean(axis=0)
    x, y = centred[first], centred[second]
    likeness = (own[first] * own[second]).sum(axis=1)
    untuned = (x * y).sum(axis=1)
    tuned = weights[0] * untuned + ((x @ directions) @ departure * (y @ directions)).sum(axis=1)
    assert pearson(tuned, likeness) >= 0.70
    assert pearson(tuned, likeness) > pearson(untuned, likeness) + 0.03


def test_coin_answers_are_refused(study):
    _, _, units, _tasks, sides = study
    design = tuning.block_design(*sides, factor_dimensions())
    found = tuned_scores.tuned(answered(units, 0 * design.margins, 36), design, 0, 100, 0.95)
    assert found.row["status"] == "not tuned"
    assert found.final is None
    assert "not surely likelier" in found.row["reason"]


def test_observers_who_are_the_untuned_similarity_are_refused(study):
    """40 sets of 50 units and 1,500 answers: with nothing to find, one in 40 may be taken for something."""
    _, _, _, _, (queries, explanations) = study
    design = tuning.block_design(queries, explanations, factor_dimensions())
    accepted = 0
    for number in range(40):
        chosen = generator(number, "untuned observers").permutation(len(design.margins))[:50]
        part = design.of(np.sort(chosen))
        asked = answered(study[2].iloc[np.sort(chosen)].reset_index(drop=True), 7 * part.margins, 30, seed=number)
        fit = tuning.cross_fit(part, asked.answers, tuning.unit_folds(asked.units, number))
        drawn = resample_units(asked.units, 500, generator(number, "rule"))
        accepted += tuned_scores.answer_gain(asked, fit, drawn, tuned_scores.CONFIDENCE)[1] > 0
    assert accepted <= 1


def test_too_few_answers_or_units_are_refused_with_both_numbers(study):
    _, _, units, _, sides = study
    design = tuning.block_design(*sides, factor_dimensions())
    for n_units, n_answers in ((40, 60), (60, 24)):
        rows = np.arange(n_units)
        asked = answered(units.iloc[rows], design.margins[rows], n_answers)
        found = tuned_scores.tuned(asked, design.of(rows), 0, 100, 0.95)
        assert found.row["status"] == "not tuned"
        assert found.row["reason"].startswith(
            f"{n_units * n_answers} answers to {n_units} units; it takes 1500 answers and 50"
        )
        assert (found.row["n_answers"], found.row["n_units"]) == (n_units * n_answers, n_units)


def test_two_networks_have_no_correlation_across_networks(study):
    _, _, units, _, sides = study
    design = tuning.block_design(*sides, factor_dimensions())
    asked = answered(units.assign(model=np.resize(["a", "b"], len(units))), 8 * design.margins, 24)
    assert np.isnan(tuned_scores.tuned(asked, design, 0, 100, 0.95).row["gain_networks"])


def test_many_networks_are_parted_into_five_groups(study, monkeypatch):
    _, _, units, _, sides = study
    design = tuning.block_design(*sides, factor_dimensions())
    asked = answered(units.assign(model=np.resize([f"net{at}" for at in range(7)], len(units))), 8 * design.margins, 24)
    parted, fit = [], tuning.cross_fit

    def noted(design, answers, fold):
        parted.append(pd.Series(fold).groupby(asked.units["model"]).unique().tolist())
        return fit(design, answers, fold)

    monkeypatch.setattr(tuning, "cross_fit", noted)
    assert np.isfinite(tuned_scores.tuned(asked, design, 0, 100, 0.95).row["gain_networks"])
    assert [of.tolist() for of in parted[1]] == [[0], [0], [1], [2], [2], [3], [4]]


def test_plan_says_what_fewer_units_give(study):
    _, factors, units, tasks, sides = study
    design = tuning.block_design(*sides, factor_dimensions())
    seen = margins_of(factor_vectors(factors, ignore=("frequency", "colour")), tasks)
    plan = tuned_scores.plan_table(answered(units, 8 * seen, 36), design, seed=0, n_draws=3)
    assert plan["n_units"].tolist() == [50, 100]  # of 150, of which 50 are left over
    assert plan["n_answers"].tolist() == [1800, 3600]
    assert (plan["gain"] > 0).all()
    assert tuned_scores.plan_table(answered(units, 8 * seen, 36), design, 0, 0).empty


def test_dimensions_of_factors_are_named_in_order():
    names = factor_dimensions()
    assert len(names) == scenes()[0].shape[1]
    assert tuple(dict.fromkeys(names)) == FACTOR_NAMES
