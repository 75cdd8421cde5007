"""Groups of units chosen before people answer: who is in them, how their tasks are shown, what the answers say."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from interpretability.analysis import group_tests
from interpretability.design import intervention
from interpretability.randomness import unit_keys

N_TASKS, K = 6, 3


def units_of(**scores):
    n = len(next(iter(scores.values())))
    key = {"model": "net", "layer": "head", "unit": np.arange(n), "condition": "natural"}
    return pd.DataFrame({**key, **scores})


def test_extremes_come_from_the_units_that_the_random_group_leaves():
    table = units_of(mis=np.linspace(0, 1, 50))
    chosen = intervention.choose(table.sample(frac=1, random_state=0), 3, 5, seed=0)
    by_group = {name: part["unit"].tolist() for name, part in chosen.groupby("group")}
    left = [unit for unit in range(50) if unit not in by_group["random"]]
    assert len(by_group["random"]) == 5
    assert by_group["easiest"] == left[:-4:-1]
    assert by_group["hardest"] == left[:3]
    assert not chosen["unit"].duplicated().any()
    assert chosen["rank"].tolist() == [1, 2, 3, 1, 2, 3, 4, 5, 1, 2, 3]
    assert intervention.choose(table, 3, 5, seed=1)["unit"].tolist() != chosen["unit"].tolist()


def test_random_group_stands_for_the_network():
    table = units_of(mis=np.linspace(0, 1, 40))
    drawn = [
        intervention.choose(table, 4, 8, seed).query("group == 'random'")["unit"].to_numpy() for seed in range(400)
    ]
    # 400 draws of 8 of 40: each unit 80 times on average, sd 8
    assert np.abs(np.bincount(np.concatenate(drawn), minlength=40) - 80).max() < 32


def test_equal_scores_are_ordered_by_key_and_too_few_units_are_refused():
    chosen = intervention.choose(units_of(mis=[0.5, 0.5, 0.5, 0.5]), 1, 0, seed=0)
    assert chosen[["group", "unit"]].to_numpy().tolist() == [["easiest", 0], ["hardest", 3]]
    with pytest.raises(ValueError, match="4 candidates for groups of 2, 1 and 2 units"):
        intervention.choose(units_of(mis=[0.1, 0.2, 0.3, 0.4]), 2, 1, seed=0)


def test_of_units_that_repeat_one_another_one_is_drawn():
    table = pd.DataFrame({"layer": np.repeat(["conv", "norm", "head"], 100), "unit": np.tile(np.arange(100), 3)})
    keys = np.concatenate([unit_keys(0, "net", layer, np.arange(100)) for layer in ("conv", "norm", "head")])
    clusters = ["conv"] * 200 + ["head"] * 100
    kept = intervention.without_repeats(table, clusters, keys)
    assert kept[200:].all(), "what is not repeated stays"
    assert (kept[:100] ^ kept[100:200]).all(), "one of two"
    assert 30 < kept[:100].sum() < 70, "neither layer is preferred: 50, sd 5"
    turned = intervention.without_repeats(table[::-1], clusters[::-1], keys[::-1])
    assert (turned[::-1] == kept).all()


SCORES = {
    "mis": [0.75, 0.74, 0.25, 0.24],
    "mis_se": [0.05] * 4,
    "even": [0.9, 0.8, 0.2, 0.1],
    "odd": [0.6, 0.7, 0.3, 0.4],
    "even_se": [0.01, 0.04, 0.02, 0.06],
    "odd_se": [0.03, 0.05, 0.08, 0.06],
}


def test_expected_scores_come_from_tasks_that_did_not_choose():
    found = intervention.expected(units_of(**SCORES), 1, 0, seed=0).set_index("group")
    # even tasks choose unit 0, whose odd score is .6; odd tasks choose unit 1, whose even score is .8
    assert found.loc["easiest", ["chosen_by", "expected"]].tolist() == pytest.approx([0.75, 0.7])
    # unit 3 by even tasks: odd .4; unit 2 by odd tasks: even .2
    assert found.loc["hardest", ["chosen_by", "expected"]].tolist() == pytest.approx([0.24, 0.3])
    # errors .03 and .04 of two independent halves, of a mean of two: sqrt(.03^2 + .04^2) / 2
    assert found.loc["easiest", "expected_se"] == pytest.approx(0.025)
    # variance of the scores .08345 (ddof 1) less .0025, mean .495
    weight = (np.var(SCORES["mis"], ddof=1) - 0.0025) / np.var(SCORES["mis"], ddof=1)
    assert found.loc["easiest", "shrunken"] == pytest.approx(0.495 + weight * (0.75 - 0.495))


def test_held_out_tasks_score_the_units_that_the_even_ones_chose():
    found = intervention.expected(units_of(**SCORES), 1, 0, seed=0, held_out=True).set_index("group")
    assert found.loc["easiest", ["chosen_by", "expected", "expected_se"]].tolist() == pytest.approx([0.9, 0.6, 0.03])
    assert found.loc["hardest", ["chosen_by", "expected", "expected_se"]].tolist() == pytest.approx([0.1, 0.4, 0.06])


def shown(n_units=40, n_tasks=N_TASKS, numbers=None):
    tasks = np.arange(n_units * N_TASKS * (2 * K + 2), dtype=np.int32).reshape(n_units, N_TASKS, -1)[:, :n_tasks]
    keys = unit_keys(0, "net", "head", np.arange(n_units))
    return tasks, intervention.present(tasks, keys, np.arange(n_tasks) if numbers is None else numbers)


def test_every_image_keeps_its_role_and_the_strongest_explanation_comes_first():
    tasks, found = shown()
    assert (np.sort(found.most) == tasks[..., :K]).all()
    assert (np.sort(found.least) == tasks[..., K : 2 * K]).all()
    assert (found.most[..., 0] == tasks[..., 0]).all()
    assert (found.least[..., 0] == tasks[..., K]).all()
    orders = (found.most - tasks[..., :1])[..., 1:].reshape(-1, K - 1)
    assert {tuple(order) for order in orders} == {(1, 2), (2, 1)}
    assert ((found.most - found.least)[..., 1:] != -K).any(), "the two sides are shuffled on their own"


@pytest.mark.parametrize("n_tasks", [6, 5])
def test_right_query_is_on_top_in_half_of_the_tasks_of_a_unit(n_tasks):
    tasks, found = shown(n_tasks=n_tasks)
    on_top = found.right_on_top.sum(axis=1)
    assert set(on_top) == ({3} if n_tasks == 6 else {2, 3})
    assert (np.where(found.right_on_top, found.top, found.bottom) == tasks[..., -2]).all()
    assert (np.where(found.right_on_top, found.bottom, found.top) == tasks[..., -1]).all()
    assert 5 < found.right_on_top[:, 0].sum() < 35, "not the same tasks in every unit"


def test_places_of_explanations_do_not_hang_on_what_else_is_shown():
    tasks, whole = shown()
    keys = unit_keys(0, "net", "head", np.arange(40))
    part = intervention.present(tasks[7:9, [1, 4]], keys[7:9], np.array([1, 4]))
    assert (part.most == whole.most[7:9][:, [1, 4]]).all()
    assert (part.least == whole.least[7:9][:, [1, 4]]).all()


def answers(rows):
    table = pd.DataFrame(rows, columns=["group", "unit", "participant", "correct"])
    return table.assign(model="net", layer="head", condition="natural", correct=table["correct"].astype(bool))


CROSSED = answers(
    [
        *[("easiest", 0, "a", 1), ("easiest", 0, "b", 1), ("easiest", 1, "a", 1), ("easiest", 1, "b", 0)],
        *[("hardest", 2, "a", 0), ("hardest", 2, "b", 1), ("hardest", 3, "a", 0), ("hardest", 3, "b", 0)],
    ]
)


def test_interval_of_a_difference_clusters_units_and_people():
    """Shares .75 and .25. Parts of the answers, (correct - share) / 4 with the sign of the group: easiest .0625 thrice and
    -.1875 (unit 1, b); hardest .0625 thrice and -.1875 (unit 2, b). Units: +-.125 each, squares .0625. People: a .25, b
    -.25, squares .125. Answers: 6 * .0625^2 + 2 * .1875^2 = .09375. Variance max(.0625 + .125 - .09375, .0625, .125) = .125.
    """
    found = intervention.difference(CROSSED, "easiest", "hardest", 0.95)
    reach = stats.t.ppf(0.975, 1) * np.sqrt(0.125)
    assert found == pytest.approx((0.5, 0.5 - reach, 0.5 + reach))


def test_a_person_who_answers_both_groups_alike_does_not_widen_the_difference():
    rows = [
        (group, unit, person, right)
        for group, first in (("easiest", 0), ("hardest", 2))
        for unit in (first, first + 1)
        for person, right in (("good", 1), ("bad", unit == first))
    ]
    same = answers(rows)
    others = same.assign(participant=same["participant"] + same["group"])
    # Shares .75; parts +-.0625 (right) and -+.1875 (wrong). Clusters of units +-.125 each, squares .0625; people of both
    # groups cancel to 0, those of one group have +-.125, squares .0625; answers .09375, of which no less than .0625 is left
    reach = stats.t.ppf(0.975, 1)
    assert intervention.difference(same, "easiest", "hardest", 0.95)[2] == pytest.approx(reach * 0.25)
    more = (
        pd.concat([same, same.assign(unit=same["unit"] + 10)]),
        pd.concat([others, others.assign(unit=others["unit"] + 10)]),
    )
    # twice the units: parts halve, units 8 * .0625^2 = .03125, answers .046875; people 0, or 4 * .125^2 = .0625
    ends = [intervention.difference(each, "easiest", "hardest", 0.95) for each in more]
    degrees = [stats.t.ppf(0.975, 1), stats.t.ppf(0.975, 3)]
    assert [end[2] for end in ends] == pytest.approx([degrees[0] * 0.03125**0.5, degrees[1] * 0.0625**0.5])


def test_groups_without_any_spread_have_no_interval():
    found = intervention.difference(CROSSED.assign(correct=CROSSED["group"] == "easiest"), "easiest", "hardest", 0.95)
    assert found[0] == 1
    assert np.isnan(found[1:]).all()


def test_one_unit_a_group_has_no_interval():
    found = intervention.difference(CROSSED[CROSSED["unit"].isin([0, 2])], "easiest", "hardest", 0.95)
    assert found[0] == pytest.approx(0.5)
    assert np.isnan(found[1:]).all()


def test_groups_are_reported_from_easy_to_hard_beside_what_was_expected():
    others = [("random", 4 + unit, person, unit % 2) for unit in range(6) for person in "cd"]
    more = pd.concat([CROSSED, answers(others)])
    expectation = pd.DataFrame({"group": ["easiest", "hardest"], "expected": [0.9, 0.6]})
    expectation = expectation.assign(model="net", condition="natural")
    found = intervention.measured(more, expectation, 0, 200, 0.95)
    assert found["group"].tolist() == ["easiest", "random", "hardest"]
    assert found["his_mean"].tolist() == [0.75, 0.5, 0.25]
    assert found["n_responses"].tolist() == [4, 12, 4]
    assert found["n_participants"].tolist() == [2, 2, 2]
    assert found["expected"].tolist()[::2] == [0.9, 0.6]
    for interval in ("", "these_"):
        assert found[f"{interval}low"][1] < 0.5 < found[f"{interval}high"][1]
        assert found[f"{interval}low"].notna().tolist() == [False, True, False], "two units say nothing of others"
    alone = intervention.measured(more[more["participant"] != "d"], expectation, 0, 200, 0.95)
    assert np.isnan(alone["low"][1]), "one person says nothing of other people"
    assert alone["these_low"].notna()[1]


def test_conditions_of_a_network_are_told_and_compared_apart():
    harder = CROSSED.assign(condition="hard85", correct=~CROSSED["correct"], participant=CROSSED["participant"] + "2")
    both = pd.concat([harder, CROSSED])
    expectation = pd.DataFrame({"group": "easiest", "condition": ["natural", "hard85"], "expected": [0.9, 0.7]})
    found = intervention.measured(both, expectation.assign(model="net"), 0, 200, 0.95)
    assert found[["condition", "group"]].to_numpy().tolist() == [
        *(["hard85", "easiest"], ["hard85", "hardest"], ["natural", "easiest"], ["natural", "hardest"]),
    ]
    assert found["his_mean"].tolist() == [0.25, 0.75, 0.75, 0.25]
    assert found["expected"].tolist()[::2] == [0.7, 0.9]
    tests = intervention.compare_groups(both, 0.95)
    assert tests[["condition", "difference"]].to_numpy().tolist() == [["hard85", -0.5], ["natural", 0.5]]


def test_scores_to_expect_under_another_condition_are_those_of_its_own_tasks():
    chosen = intervention.choose(units_of(**SCORES), 1, 1, seed=0)
    units = chosen.set_index("group")["unit"]
    scores = units_of(
        mis=[0.6, 0.5, 0.4, 0.3], mis_se=[0.1, 0.2, 0.3, 0.4], odd=[0.1, 0.2, 0.3, 0.4], odd_se=[0.01] * 4
    )
    there = scores[scores["unit"] != units["random"]]  # without tasks for the random unit
    found = intervention.expected_elsewhere(chosen, there).set_index("group")
    assert found["n_units"].to_dict() == {"easiest": 1, "random": 0, "hardest": 1}
    own = {group: scores["mis"][units[group]] for group in ("easiest", "hardest")}
    assert found["expected"].dropna().to_dict() == own
    assert found.loc["easiest", "chosen_by"] == SCORES["mis"][units["easiest"]]
    assert found.loc["easiest", "expected_se"] == scores["mis_se"][units["easiest"]]
    held_out = intervention.expected_elsewhere(chosen, there, held_out=True).set_index("group")
    assert held_out.loc["easiest", ["chosen_by", "expected"]].tolist() == [
        *(SCORES["even"][units["easiest"]], scores["odd"][units["easiest"]]),
    ]


def test_groups_are_compared_by_the_test_of_imi_on_the_units_of_one_network():
    rng = np.random.default_rng(0)
    rows = [
        (group, place * 10 + unit, f"p{person}", rng.random() < p)
        for place, (group, p) in enumerate([("easiest", 0.95), ("random", 0.75), ("hardest", 0.55)])
        for unit in range(10)
        for person in range(20)
    ]
    one = answers(rows)
    other = one.assign(model="other", correct=True)
    found = intervention.compare_groups(pd.concat([one, other]), 0.95)
    assert found["model"].tolist() == ["net"] * 3 + ["other"] * 3
    shares = one.groupby(["group", "unit"])["correct"].mean()
    alone = group_tests.conover(shares.to_numpy(), shares.index.get_level_values("group").to_numpy(dtype=object))
    assert found["paper_p_holm"][:3].tolist() == pytest.approx(alone["p_holm"].tolist())
    assert "stars" not in found, "that test takes units for independent draws"
    assert found["paper_p"][3:].isna().all(), "where all is right nothing can be tested"
    pair = found.iloc[0]
    assert (pair["first"], pair["second"]) == ("easiest", "hardest")
    assert pair["difference"] == pytest.approx(shares["easiest"].mean() - shares["hardest"].mean())
    assert pair["low"] < pair["difference"] < pair["high"]
