"""The crowd paper's simulations: beside a plain loop, and where the answer is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from interpretability.errors import InputError
from interpretability.explanations import aggregation as labels_of
from interpretability.explanations import fronts
from interpretability.explanations.correlation import correlation, standardised
from interpretability.explanations.estimates import importance, relative_error, self_normalised
from interpretability.explanations.experiment_curves import curves, rce
from interpretability.explanations.experiment_kernels import ESTIMATORS
from interpretability.explanations.experiments import (
    EXACT,
    EXACTLY,
    PUBLISHED_AGGREGATIONS,
    PUBLISHED_SAMPLERS,
    Aggregation,
    Plan,
    Sampler,
    deviations,
    keys,
    together,
)
from interpretability.explanations.sampling import keyed_draws, proposal, weights
from interpretability.randomness import U64, combine, uniforms
from interpretability.synthetic.crowd_worlds import crowd_world
from interpretability.synthetic.raters import ERRORS, Errors, error_rates

BETA = Aggregation("bragg", errors=(0.75, 2.5))
AGGREGATIONS = (*PUBLISHED_AGGREGATIONS, BETA, replace(BETA, prior="guide"))


def labels(aggregation, yes, m, guide):
    """Labels of images, each by the library's own call."""
    if aggregation.kind != "bragg":
        return {"average": labels_of.average, "majority": labels_of.majority}[aggregation.kind](yes, m)
    prior = labels_of.guide_prior(guide, aggregation.clip) if aggregation.prior == "guide" else aggregation.beta
    if aggregation.errors:
        return labels_of.bragg_beta(yes, m, prior, *aggregation.errors)
    return labels_of.bragg(yes, m, prior, eta=aggregation.eta)


def rated(world, plan, unit, draw, size, m, images, seed):
    """Numbers of yes to images, rating by rating."""
    _, rating_keys = keys(world, seed, unit, plan.n_draws)
    yes = np.zeros(size, dtype=int)
    for place in range(size):
        chance = 1 - plan.errors.false_no if world.concept[unit, images[place]] else plan.errors.false_yes
        for rater in range(m):
            counter = np.array([place * plan.raters[-1] + rater], dtype=U64)
            yes[place] += uniforms(combine(rating_keys[draw : draw + 1], counter))[0] < chance
    return yes


def test_every_budget_is_what_a_plain_loop_finds():
    """One budget after the other, one rating after the other; Eq. 7 to 9 by `estimates`, the slope by its own formula."""
    world = crowd_world("base", seed=1, n_units=2, n_images=300)
    samplers = (*PUBLISHED_SAMPLERS, Sampler("mg_is", gamma=0.0), Sampler("ag_is", gamma=0.5, alpha=1.0))
    plan = Plan(samplers, AGGREGATIONS, (1, 2, 5), (5, 24), 2, errors=Errors(0.2, 0.3))
    found = deviations(world, plan, 9)
    for unit, s in product(range(2), range(len(samplers))):
        guide = world.guide[unit].astype(float)
        abar = standardised(world.activations[unit])
        q = proposal(samplers[s].kind, world.activations[unit], guide, gamma=samplers[s].gamma, alpha=samplers[s].alpha)
        draw_keys, _ = keys(world, 9, unit, 2)
        for (a, aggregation), (m, n_raters), (b, budget) in product(
            enumerate(AGGREGATIONS), enumerate(plan.raters), enumerate(plan.budgets)
        ):
            size = budget // n_raters
            if size < 2:
                assert np.isnan(found.absolute[s, a, m, b, :, unit]).all()
                continue
            estimates = []
            for draw in range(2):
                images = keyed_draws(q[None], size, draw_keys[draw : draw + 1])[0]
                yes = rated(world, plan, unit, draw, size, n_raters, images, 9)
                label = labels(aggregation, yes, n_raters, guide[images])
                one, two = (call(label, weights(q)[images], abar[images]) for call in (importance, self_normalised))
                slope = two.rho / two.sd * np.sqrt(two.mean * (1 - two.mean)) if two.sd > 0 else np.nan
                estimates.append([one.rho, two.rho, slope])
            expected = np.array(estimates, dtype=float)
            undefined = np.isnan(expected)
            away = np.where(undefined, 0, expected) - world.rho[unit]
            got = [part[s, a, m, b, :, unit] for part in (found.absolute, found.signed, found.undefined, found.squared)]
            assert got[0] == pytest.approx(np.abs(away).mean(axis=0), abs=1e-9)
            assert got[1] == pytest.approx(away.mean(axis=0), abs=1e-9)
            assert got[2] == pytest.approx(undefined.mean(axis=0))
            assert got[3] == pytest.approx((away**2).mean(axis=0), abs=1e-9)


def test_rating_every_image_is_what_a_plain_loop_finds():
    world = crowd_world("base", seed=1, n_units=2, n_images=80)
    plan = Plan((), AGGREGATIONS, (1, 4, 15), n_draws=2)
    found = deviations(world, plan, 9)
    for unit, (a, aggregation), (m, n_raters) in product(range(2), enumerate(AGGREGATIONS), enumerate(plan.raters)):
        estimates = []
        for draw in range(2):
            yes = rated(world, plan, unit, draw, 80, n_raters, np.arange(80), 9)
            label = labels(aggregation, yes, n_raters, world.guide[unit].astype(float))
            estimates.append(correlation(world.activations[unit], label))
        expected = np.array(estimates) - world.rho[unit]
        assert found.absolute[0, a, m, 0, 0, unit] == pytest.approx(np.abs(expected).mean(), abs=1e-9)
        assert found.signed[0, a, m, 0, 0, unit] == pytest.approx(expected.mean(), abs=1e-9)


def test_raters_of_all_kinds_are_simulated():
    """The share of yes to each image, from a thousand raters of every image, is what `error_rates` says, with coins."""
    world, images = crowd_world("embedded_like", "mediocre", seed=1, n_units=1), np.arange(4000)
    for kind, errors in ERRORS.items():
        plan = Plan((), EXACT, (400,), n_draws=2, errors=errors)
        false_yes, false_no = error_rates(world, np.zeros(4000, dtype=int), images, errors)
        chance = np.where(world.concept[0], 1 - false_no, false_yes) * (1 - errors.bad_share) + errors.bad_share / 2
        noise = (chance * (1 - chance)).mean() / 400
        kept = np.sqrt(chance.var() / (chance.var() + noise))
        expected = correlation(world.activations[0], chance) * kept - world.rho[0]
        assert deviations(world, plan, 0).signed.item() == pytest.approx(expected, abs=0.01), kind


def test_nearly_equal_labels_do_not_cancel():
    """51 ratings a label: those near 1 differ in their last bits alone."""
    world = crowd_world("rare", seed=0, n_units=2, n_images=100)
    plan = Plan(PUBLISHED_SAMPLERS, AGGREGATIONS, (1, 15, 51), (30, 150, 1000), 10)
    found = deviations(world, plan, 0)
    assert np.isfinite(found.absolute[:, :, :2]).all()
    assert found.undefined[:, 3, 0, 1].max() == 0, "labels with the guide as prior are never all equal"


def test_units_depend_on_themselves_alone():
    """Not on the others, on how many threads work, or on budgets and raters beside their own."""
    world = crowd_world("base", seed=1, n_units=4, n_images=300)
    plan = Plan(PUBLISHED_SAMPLERS, PUBLISHED_AGGREGATIONS, (1, 3), (30, 90), 3)
    whole = deviations(world, plan, 5)
    blocks = [crowd_world("base", seed=1, n_units=4, n_images=300, units=range(u, u + 2)) for u in (0, 2)]
    for other in (deviations(world, plan, 5, threads=3), together([deviations(block, plan, 5) for block in blocks])):
        for name in ("absolute", "signed", "undefined", "rho"):
            assert (getattr(whole, name) == getattr(other, name)).all()
    fewer = deviations(world, replace(plan, budgets=(90,), samplers=plan.samplers[2:]), 5)
    assert (fewer.absolute[0, :, :, 0] == whole.absolute[2, :, :, 1]).all()
    assert (deviations(world, plan, 6).absolute != whole.absolute).any()


def test_uniform_draws_of_many_images_come_to_the_truth():
    """Eq. 8 divides by one less than Eq. 1: drawn a hundred times each, images give rho sqrt((S-1)/S) and sampling noise."""
    world = crowd_world("base", seed=1, n_units=3, n_images=500)
    plan = Plan((Sampler("uniform"),), EXACT, (1,), (50_000,), 20, EXACTLY)
    found = deviations(world, plan, 0)
    assert np.abs(found.signed[0, 0, 0, 0]).max() < 0.004
    everything = deviations(world, Plan((), EXACT, (1,), n_draws=1, errors=EXACTLY), 0)
    assert np.abs(everything.absolute).max() < 1e-12


def explained(pi, table, eta):
    """Correlation of the truth and labels, by enumerating the ratings of an image."""
    m = len(table) - 1
    k = np.arange(m + 1)
    shown, not_shown = binom.pmf(k, m, 1 - eta), binom.pmf(k, m, eta)
    mean = pi * shown @ table + (1 - pi) * not_shown @ table
    square = pi * shown @ table**2 + (1 - pi) * not_shown @ table**2
    return (pi * shown @ table - pi * mean) / np.sqrt((square - mean**2) * pi * (1 - pi))


@pytest.mark.parametrize(
    ("aggregation", "three", "hundred"),
    [
        (Aggregation("average"), 0.070, 0.377),
        (Aggregation("majority"), 0.067, 1.000),
        (Aggregation("bragg", beta=0.001), 0.130, 1.000),
    ],
)
def test_attenuation_of_a_rare_concept(aggregation, three, hundred):
    """What a label explains of the truth at prevalence .001; of the average sqrt(u / (u + eta (1 - eta) / m))."""
    for m, expected in ((3, three), (101, hundred)):
        found = explained(0.001, aggregation.table(m), 0.23)
        assert found == pytest.approx(expected, abs=1e-3)
        if aggregation.kind == "average":
            u = (1 - 2 * 0.23) ** 2 * 0.001 * 0.999
            assert found == pytest.approx(np.sqrt(u / (u + 0.23 * 0.77 / m)), abs=1e-12)


def test_scores_are_attenuated_by_what_labels_explain():
    """However many images are rated: rho times the correlation of truth and label."""
    world = crowd_world("base", seed=2, n_units=12)
    plan = Plan((), PUBLISHED_AGGREGATIONS[:3], (3, 9), n_draws=10)
    found = deviations(world, plan, 0)
    for (a, aggregation), (m, n_raters) in product(enumerate(plan.aggregations), enumerate(plan.raters)):
        kept = np.array([explained(pi, aggregation.table(n_raters), 0.23) for pi in world.prevalence])
        assert found.signed[0, a, m, 0, 0] == pytest.approx(world.rho * (kept - 1), abs=0.015)


def test_relative_error_is_a_ratio_of_sums():
    """T10: units estimated twice, .2 and .4 beside .3, -.1 and .1 beside .1, give .5."""
    estimates, rho = np.array([[0.2, -0.1], [0.4, 0.1]]), np.array([0.3, 0.1])
    ratio, spread = rce(np.abs(estimates - rho).mean(axis=0), rho)
    assert float(ratio) == pytest.approx(0.5, abs=1e-12)
    assert float(ratio) == pytest.approx(relative_error(estimates, rho), abs=1e-12)
    # both units deviate by .1 where .15 and .05 are expected
    assert float(spread) == pytest.approx(np.sqrt(2 * 0.05**2 * 2 / 1) / 0.4, abs=1e-12)


def test_standard_errors_of_the_relative_error_hold_over_units():
    """Their mean is about the spread over groups of 30 units drawn from 900."""
    world = crowd_world("mixed_guides", seed=0, n_units=900, n_images=400)
    plan = Plan((Sampler("mg_is"),), PUBLISHED_AGGREGATIONS[1:2], (3,), (180,), 3)
    found = deviations(world, plan, 0)
    groups = np.random.default_rng(0).permutation(900).reshape(30, 30)
    rows = [rce(found.absolute[0, 0, 0, 0, 0, group], found.rho[group]) for group in groups]
    ratios, errors = np.array(rows).T
    assert 0.75 < errors.mean() / ratios.std(ddof=1) < 1.33


@pytest.fixture(scope="module")
def acceptance():
    """Eight worlds of the kind of the embedded study, one seed each; RCE by method and ratings."""
    tables = []
    for seed in range(8):
        world = crowd_world("embedded_like", seed=seed)
        exact = Plan(PUBLISHED_SAMPLERS, EXACT, (1,), (183,), 10, EXACTLY)
        noisy = Plan(PUBLISHED_SAMPLERS, PUBLISHED_AGGREGATIONS, (3,), (549,), 10)
        parts = [curves(deviations(world, p, 0), p, name) for p, name in ((exact, "sampling"), (noisy, "setting_1"))]
        tables.append(pd.concat(parts).set_index("method")["rce"])
    return pd.DataFrame(tables).reset_index(drop=True)


def test_guided_sampling_and_priors_pay_in_the_embedded_world(acceptance):
    """With exact labels MG-IS keeps below .75 of the error of uniform draws at 183 images; with raters its BRAgg below .25."""
    assert (acceptance["mg_is+exact"] / acceptance["uniform+exact"]).max() < 0.75
    assert acceptance["mg_is+bragg_guide"].max() < 0.25
    assert acceptance["mg_is+majority"].min() > 0.45


def test_an_independent_simulation_found_the_same(acceptance):
    """Its figures of one seed; ours are means over eight, .05 is allowed."""
    expected = {
        "uniform+exact": 0.217,
        "ag_is+exact": 0.114,
        "mg_is+exact": 0.115,
        "mg_is+majority": 0.574,
        "mg_is+bragg_uniform": 0.435,
        "mg_is+bragg_guide": 0.166,
    }
    assert acceptance.mean()[list(expected)].to_dict() == pytest.approx(expected, abs=0.05)


def test_curves_name_what_they_show():
    world = crowd_world(seed=0, n_units=3, n_images=200)
    plan = Plan(PUBLISHED_SAMPLERS, PUBLISHED_AGGREGATIONS, (1, 3), (4, 60), 2)
    table = curves(deviations(world, plan, 0), plan, "setting_1", estimators=ESTIMATORS)
    # 4 ratings pay for one image with three raters, which is none
    assert len(table) == 3 * 4 * 3 * 3
    row = table[(table["method"] == "ag_is+bragg_uniform+slope") & (table["raters"] == 3)].iloc[0]
    assert row[["sampler", "aggregation", "estimator", "images", "ratings", "budget"]].tolist() == [
        *("ag_is", "bragg_uniform", "slope"),
        *(20, 60, 60),
    ]
    assert row[["gamma", "alpha", "beta", "eta", "eta_assumed"]].tolist() == pytest.approx([0.2, 2, 0.05, 0.23, 0.23])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"raters": (3, 1)}, "raters is (3, 1); it must ascend"),
        ({"budgets": (0, 5)}, "budgets is 0"),
        ({"budgets": ()}, "needs aggregations, raters, and both or none of samplers and budgets"),
        ({"n_draws": 0}, "n_draws is 0"),
    ],
)
def test_what_is_no_plan_is_refused(given, told):
    with pytest.raises(InputError) as error:
        Plan(**{"samplers": PUBLISHED_SAMPLERS, "aggregations": EXACT, "raters": (1,), "budgets": (5,), **given})
    assert told in str(error.value)
    with pytest.raises(InputError):
        Sampler("thompson")
    with pytest.raises(InputError):
        Aggregation("bragg", prior="mine")


def points(method, part="setting_1", world="w", raters=1, **errors):
    return pd.DataFrame(
        [
            {
                "world": world,
                "part": part,
                "method": method,
                "budget": int(b),
                "ratings": int(b),
                "raters": raters,
                "rce": e,
            }
            for b, e in ((name.removeprefix("at_"), value) for name, value in errors.items())
        ]
    )


def test_the_front_has_the_best_number_of_raters_of_each_budget():
    table = pd.concat(
        [points("a", at_10=0.9, at_100=0.5, at_1000=0.6), points("a", raters=3, at_10=0.8, at_100=0.7, at_1000=0.6)]
    )
    front = fronts.pareto(table)
    assert front["rce"].tolist() == [0.8, 0.5, 0.6]
    assert front["raters"].tolist() == [3, 1, 1]
    assert front["front"].tolist() == [True, True, False]


def test_costs_are_read_between_budgets():
    """Halfway on logarithmic scales from .4 at 100 to .1 at 10,000: .2 at 1,000."""
    table = pd.concat(
        [
            points("mg_is+bragg_guide", at_100=0.4, at_10000=0.1),
            points("uniform+majority", at_100=0.9, at_10000=0.3),
            points("mg_is+majority", at_100=0.15, at_10000=0.1),
            points("latent", at_50=0.4, at_200=0.1),
            points("guide_only", at_0=0.19),
            points("mg_is+exact", "sampling", at_100=0.4, at_10000=0.1),
            points("uniform+exact", "sampling", at_1000=0.4, at_100000=0.1),
        ]
    )
    costs = fronts.costs(table, levels=[0.2]).set_index(["part", "method"])
    ratings = costs["ratings"]
    assert ratings["setting_1", "mg_is+bragg_guide"] == pytest.approx(1000)
    assert ratings["setting_1", "latent"] == pytest.approx(100)
    assert ratings["setting_1", "guide_only"] == 0
    assert np.isnan(ratings["setting_1", "uniform+majority"])
    assert costs["least_rce"]["setting_1", "uniform+majority"] == 0.3
    assert costs["at_most"].to_dict()["setting_1", "mg_is+majority"]
    assert costs["at_most"].sum() == 1
    assert costs["ratio_to_ours"]["setting_1", "mg_is+bragg_guide"] == pytest.approx(10)
    assert costs["ratio"]["setting_1", "latent"] == pytest.approx(0.1)
    assert costs["ratio"]["sampling", "uniform+exact"] == pytest.approx(10)
    assert costs[["published_ratings", "published_ratio"]].isna().all().all(), "the paper has no figures at this level"
    assert costs["money"]["setting_1", "latent"] == pytest.approx(0.4)
    both = fronts.costs(table, levels=[0.275, 0.2]).set_index(["part", "method", "level"])
    assert both["ratings"]["setting_1", "latent", 0.2] == ratings["setting_1", "latent"]
    assert both["published_ratio"]["sampling", "uniform+exact", 0.275] == 15
    assert both["published_ratio"]["setting_1", "uniform+majority", 0.275] == pytest.approx(41.018182)
