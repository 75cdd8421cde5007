"""Tests between groups on a hundred small studies; benchmarks/family_wise.py tries them on thousands."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks import family_wise
from interpretability.analysis import answer_tests

N = 100
MOST = stats.binom.ppf(0.999, N, 0.05) / N  # at a true 5 % more are seen once in a thousand times


@cache
def found(name, n=N):
    (setting,) = [each for each in family_wise.SETTINGS if each.name == name]
    return pd.DataFrame(family_wise.rows_of(setting, n)).set_index("test")


@pytest.mark.parametrize(
    ("name", "papers"),
    [
        ("layers alike and people differ, 4 networks", 0.05),
        ("4 networks, 28 layers of 16 to 192 units, correlation .4", 0.8),
        ("4 networks, 28 layers, norms repeat convolutions", 0.8),
        ("4 families of 3 networks share effects of types", 0.0),
    ],
)
def test_tests_err_seldom_where_they_are_meant_to_be_used(name, papers):
    rows = found(name)
    (ours,) = rows.index[rows["meant"] == "yes"]
    assert rows.loc[ours, "error"] <= MOST
    assert rows.loc[ours, "tested"] == 1
    assert rows.loc[family_wise.PAPERS, "error"] >= papers, "the null is one that units fail in"


def test_what_is_no_cluster_or_block_errs_often():
    copies = found("4 networks, 28 layers, norms repeat convolutions")["error"]
    families = found("4 families of 3 networks share effects of types")["error"]
    assert min(copies[family_wise.LAYERWISE], families[family_wise.ALONE]) > MOST


@pytest.mark.parametrize(
    "name",
    [
        "4 networks, 3 layers of 16 to 192 units, correlation .4",
        "layers alike and people differ, 4 networks of 3 layers",
        "3 networks, 3 types",
    ],
)
def test_fewer_than_four_clusters_or_blocks_are_never_told_apart(name):
    rows = found(name, 10)
    (ours,) = rows.index[rows["meant"] == "yes"]
    assert rows.loc[ours, ["tested", "error"]].tolist() == [0, 0]


def test_power_is_that_of_the_pairs_with_the_shifted_group():
    row = found("4 networks, 28 layers of 16 to 192 units, correlation .4").loc[family_wise.OURS[family_wise.MIS]]
    assert row["effect"] == 0.6
    assert row["power"] > 0.5 > row["error"]
    assert row["n_power"] == N // 4


def test_drawn_answers_have_the_effect_that_is_asked_for():
    for differ in (False, True):
        experiment = family_wise.Experiment(n_networks=2, differ=differ)
        shift = family_wise.margin_for(0.045, experiment.population)
        draws = [experiment.answers(np.random.default_rng(seed), shift)[1].mean(axis=1) for seed in range(150)]
        # 150 studies of 2 x 2,520 answers: the standard error of the difference is below .002
        assert np.mean([first - second for first, second in draws]) == pytest.approx(0.045, abs=0.007)


def test_drawn_answers_go_together_by_layer_and_by_person():
    def spread(**how):
        experiment = family_wise.Experiment(n_networks=200, **how)
        return experiment.answers(np.random.default_rng(0))[1].mean(axis=1).var(ddof=1)

    alone = spread()
    assert spread(alike=0.2) > 1.2 * alone
    assert spread(differ=True) > 1.1 * alone
    matched = family_wise.Experiment(n_networks=6, matched=True).answers(np.random.default_rng(0))[1]
    assert np.corrcoef(matched)[0, 1] > 0.5 > np.corrcoef(matched)[0, 3]


def test_answers_of_people_and_layers_belong_to_one_network():
    answers, _ = family_wise.BOTH.answers(np.random.default_rng(0))
    assert isinstance(answers, answer_tests.Answers)
    for codes, each in ((answers.layer, 21), (answers.person, 63)):
        owners = pd.DataFrame({"code": codes, "network": answers.network}).drop_duplicates()
        assert owners["code"].is_unique
        assert (owners.groupby("network").size() == each).all()
