"""Intervals cover what they are meant to, on sixty small studies; benchmarks/coverage.py does it on thousands."""

import numpy as np
import pytest
from scipy import stats

from benchmarks import coverage, covered, covered_parts
from benchmarks.shown_intervals import MARKED, NOT_MEANT
from interpretability.design import drawn_studies
from interpretability.people import agreement
from interpretability.randomness import generator

N = 60


@pytest.fixture
def small(monkeypatch):
    """Fewer resamples, and truths from smaller studies: still forty times as large as the studies."""
    for module in (covered, covered_parts):
        monkeypatch.setattr(module, "N_BOOTSTRAP", 60)
    monkeypatch.setattr(coverage, "LARGE", 40_000)
    monkeypatch.setattr(covered, "LARGE_SLOPE", 10_000)
    monkeypatch.setattr(covered, "SPLITS", (10, 40))


def test_intervals_of_sixty_studies_cover(small):
    table = coverage.coverage("small", "these", N).set_index("quantity")
    assert set(table.index[table["meant"] == "no"]) <= NOT_MEANT
    meant = table[(table["meant"] == "yes") & ~table.index.isin(MARKED)]
    # a lapse at the end of its range has no interval, nor has a group whose units are all alike
    rare = ["single answers, lapse", "mean HIS, easiest units", f"mean HIS, {covered.FEW} units"]
    assert (meant.drop(index=rare)["n_intervals"] >= N - 2).all()
    assert (meant.loc[rare, "n_intervals"] >= N // 2).all()
    # an interval that covers in 93 % of all studies does so in fewer than this share of sixty once in a thousand times
    fewest = stats.binom.ppf(0.001, N, 0.93) / N
    assert fewest == pytest.approx(0.8167, abs=1e-4)
    assert meant["coverage"].min() >= fewest, meant["coverage"]
    # the mean over studies errs by no more than four standard errors, the truth's own error included
    unbiased = table.loc[["pearson, unit", "spearman, unit_within", "mixed", "V4w", "mean HIS, logit t, these people"]]
    assert (unbiased["bias"].abs() <= 4 * unbiased["sd"] / np.sqrt(N) + 0.008).all(), unbiased["bias"]


def test_intervals_over_networks_cover_other_networks(small):
    table = coverage.coverage("small", "others", N).set_index("quantity")
    assert set(table.index) == {"pearson, model", "spearman, model"}
    assert (table["n_intervals"] == N).all()
    assert table["coverage"].min() >= stats.binom.ppf(0.001, N, 0.93) / N


def test_intervals_of_layers_families_and_planted_units_cover(small, monkeypatch):
    monkeypatch.setattr(covered_parts, "LARGE_NETWORKS", 1000)
    table = coverage.coverage("imi", "parts", N).set_index("quantity")
    meant = table[table["meant"] == "yes"]
    assert (meant["n_intervals"] == N).all()
    assert meant["coverage"].min() >= stats.binom.ppf(0.001, N, 0.93) / N, meant["coverage"]
    # units of a layer are alike, and an interval over units does not know
    assert table.loc["mean MIS, network, other layers", "coverage"] < stats.binom.ppf(0.999, N, 0.87) / N


def test_expected_share_of_the_people_of_a_study_is_the_mean_over_very_many_of_their_answers():
    design = drawn_studies.Design(n_models=1, n_units=40_000, n_responses=4, n_trials=10_000)
    study = drawn_studies.draw_study(design, generator(0, "people"), np.array([[0.3], [0.3]]))
    his = drawn_studies.human_arrays(study)[0].mean()
    # 16 people answer 10,000 units each: standard error of all 160,000 answers .001
    assert covered.share_of_people(study, 0.3) == pytest.approx(his, abs=0.005)
    hard = covered.harder_tasks(study, 0)
    lower = drawn_studies.human_arrays(hard)[0].mean()
    assert covered.share_of_people(hard, 0.3 - covered.HARDER) == pytest.approx(lower, abs=0.005)
    assert lower < his - 0.05


def test_means_in_a_range_by_hand():
    curve = covered.Curve.of(np.array([3.0, 1.0, 2.0, 4.0]), np.array([1, 0, 1, 0]))
    assert curve.between(1.0, 2.0) == 0.5
    assert curve.between(1.5, 3.5) == 1.0
    assert np.isnan(curve.between(5.0, 6.0))


def test_fewer_networks_than_spearman_needs_are_made_up_for(small):
    assert coverage.SETTINGS["small"].n_models < agreement.MIN_RANKED
    study = drawn_studies.draw_study(drawn_studies.Design(n_models=6, n_units=10), generator(0, "six"))
    found = coverage.intervals_over_networks(study, 6.25, 0, 5)
    units = drawn_studies.units_frame(study, 6.25)
    five = units[units["model"] != "network-5"]
    assert found["pearson, model"][0] == agreement.model_agreement(five, 2, 0.95, generator(0, "a"))["pearson"]
    assert found["spearman, model"][0] == agreement.model_agreement(units, 2, 0.95, generator(0, "a"))["spearman"]
