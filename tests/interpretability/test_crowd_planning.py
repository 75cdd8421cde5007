"""Planning ratings: what simulated studies of the latent model give, and who wins."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from interpretability.errors import InputError
from interpretability.explanations import planning
from interpretability.explanations.planning import Study
from interpretability.explanations.simulated_studies import Asked, simulated_study
from interpretability.synthetic.crowd_worlds import crowd_world
from interpretability.synthetic.raters import ERRORS


@pytest.fixture(scope="module")
def world():
    return crowd_world("embedded_like", seed=0, n_units=12, n_images=1500)


def test_a_study_is_drawn_by_keys(world):
    one, two = (simulated_study(world, Asked(40, 3, 6), ERRORS["constant"], 0) for _ in range(2))
    assert np.array_equal(one.rho, two.rho, equal_nan=True)
    other = simulated_study(world, Asked(40, 3, 6), ERRORS["constant"], 0, repeat=1)
    assert not np.array_equal(one.rho, other.rho, equal_nan=True)


def test_scores_come_near_the_truth_and_nearer_than_the_guide(world):
    scored = simulated_study(world, Asked(200, 3), ERRORS["constant"], 0)
    away = np.abs(np.nan_to_num(scored.rho) - world.rho).sum()
    assert away < 0.7 * np.abs(world.guide_rho - world.rho).sum()
    assert (scored.low < scored.high)[np.isfinite(scored.rho)].all()


def test_more_ratings_than_images_are_refused(world):
    with pytest.raises(InputError):
        simulated_study(world, Asked(1501, 3), ERRORS["constant"], 0)


def test_what_a_design_costs():
    """40 pairs of 60 x 3 ratings and 60 gold images of three: 7,380 ratings; 15 in 15 seconds are one a second."""
    study = Study(pairs=40, price=0.01, a_rater=100)
    found = planning.costs(study, Asked(60, 3, gold=30))
    assert found["ratings"] == 40 * 180 + 180
    assert found["raters"] == 74
    assert found["hours"] == pytest.approx(7380 / 3600)
    assert found["money"] == pytest.approx(73.80)
    assert planning.costs(Study(pairs=2), Asked(2, 9))["raters"] == 9, "nobody rates an image twice"
    # the paper's large study: 1,000 pairs of 180 x 3 for 2,160 dollars
    assert planning.costs(Study(pairs=1000), Asked(180, 3))["money"] == pytest.approx(2160)


def test_expectations_tell_what_simulated_studies_do():
    study = Study(pairs=8, setting="embedded_like", n_images=1000)
    row = planning.expected(study, Asked(30, 3, 2), n_studies=2)
    assert list(row) == planning.COLUMNS
    worlds = [crowd_world("embedded_like", seed=s, n_units=8, n_images=1000) for s in (0, 1)]
    scored = [simulated_study(w, Asked(30, 3, 2), ERRORS["constant"], 0, s) for s, w in enumerate(worlds)]
    errors = [np.abs(np.nan_to_num(s.rho) - w.rho).sum() / w.rho.sum() for s, w in zip(scored, worlds, strict=True)]
    assert row["rce"] == pytest.approx(np.mean(errors))
    assert row["rce_se"] == pytest.approx(abs(errors[0] - errors[1]) / 2)
    assert row["width"] == pytest.approx(np.nanmean([s.high - s.low for s in scored]))
    assert row["undefined_share"] == pytest.approx(np.mean([np.isnan(s.rho) for s in scored]))


def designs():
    rows = [(30, 3, 90, 10.0, 0.30), (60, 3, 180, 20.0, 0.15), (180, 1, 180, 20.0, 0.25), (120, 3, 360, 40.0, 0.2)]
    names = ["images", "raters_an_image", "ratings_a_pair", "money", "width"]
    return pd.DataFrame(rows, columns=names).assign(gold=60, rce=0.1)


def test_the_front_leaves_out_what_something_cheaper_beats():
    front = planning.front(designs(), "width")
    assert front["images"].tolist() == [30, 60]
    assert planning.front(designs(), "rce")["images"].tolist() == [30]


def test_what_a_width_takes_is_read_between_designs():
    """From .30 at 90 ratings to .15 at 180: .2121 is halfway on logarithmic scales, at 127.3: 43 images of three."""
    study = Study(pairs=40)
    found = planning.needed(study, designs(), "width", 0.3 / np.sqrt(2))
    assert (found["images"], found["raters_an_image"], found["ratings_a_pair"]) == (43, 3, 129)
    assert found["ratings"] == 40 * 43 * 3 + 60 * 3
    assert np.isnan(planning.needed(study, designs(), "width", 0.1)["ratings"])


def test_the_better_of_two_wins_as_often_as_the_normal_distribution_says():
    wins = planning.winning({"a": 0.2, "b": 0.25}, 50, 0.05, spread=0.1, alike=0.5, n_studies=20_000)
    expected = norm.cdf(0.05 / np.sqrt(2 * (0.1**2 * 0.5 + 0.05**2) / 50))
    assert wins["method"].tolist() == ["b", "a"]
    assert wins["wins"].tolist() == pytest.approx([expected, 1 - expected], abs=0.01)


def test_equal_methods_share_the_wins_and_have_no_sure_winner():
    wins = planning.winning({"a": 0.2, "b": 0.2, "c": 0.2}, 50, 0.05)
    assert wins["wins"].tolist() == pytest.approx([1 / 3] * 3, abs=0.03)
    still = planning.winning({"a": 0.2, "b": 0.2}, 5, 0.0, spread=0.0)
    assert still["wins"].tolist() == [0.5, 0.5]
    with pytest.raises(InputError, match="differ so little that 100,000 units do not tell the best one"):
        planning.units_for_winner({"a": 0.2, "b": 0.2}, 0.05)


def test_units_for_a_sure_winner():
    """.05 apart with a standard error of sqrt(2 (.005 + .0025) / n): 1.2816 of them at n = 9.9."""
    means = {"a": 0.2, "b": 0.25}
    units = planning.units_for_winner(means, 0.05, spread=0.1)
    assert units == pytest.approx(1.2816**2 * 2 * 0.0075 / 0.05**2, abs=1.2)
    assert planning.winning(means, units, 0.05, spread=0.1)["wins"].iloc[0] >= 0.9
    assert planning.winning(means, units - 1, 0.05, spread=0.1)["wins"].iloc[0] < 0.9


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: Study(pairs=1), "pairs is 1"),
        (lambda: Study(guide="clever"), "guide is 'clever'"),
        (lambda: Study(errors="none"), "errors is 'none'"),
        (lambda: Asked(1, 3), "images is 1"),
        (lambda: planning.winning({"a": 0.1}, 5, 0.1), "means names 1 methods; a comparison needs two"),
        (lambda: planning.needed(Study(), designs(), "width", 0.0), "target is 0.0"),
        (lambda: planning.front(designs(), "height"), "of is 'height'"),
    ],
)
def test_what_cannot_be_planned_is_refused(call, told):
    with pytest.raises(InputError) as error:
        call()
    assert told in str(error.value)
