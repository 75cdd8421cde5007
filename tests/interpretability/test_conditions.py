"""Units under several conditions, and confidence."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from interpretability.analysis import conditions
from interpretability.people import two_way


def units(model, condition, scores):
    """scores: unit -> his."""
    return pd.DataFrame(
        {"model": model, "layer": "l", "unit": list(scores), "condition": condition, "his": list(scores.values())}
    )


def test_conditions_are_joined_on_the_unit():
    natural = units("m", "natural", {0: 0.9, 1: 0.8, 2: 0.7, 3: 0.6, 4: 0.95, 5: 1.0})
    # another order, one unit that has no partner
    synthetic = units("m", "synthetic", {3: 0.5, 2: 0.5, 1: 0.7, 0: 0.9, 9: 0.1, 5: 0.9})
    row = conditions.natural_synthetic(pd.concat([natural, synthetic]), "his", "human", 0.95).iloc[0]
    change = np.array([-0.1, -0.2, -0.1, 0.0, -0.1])
    ends = stats.ttest_1samp(change, 0).confidence_interval(0.95)
    assert (row["n_units"], row["mean"], row["base_mean"]) == pytest.approx((5, 0.7, 0.8))
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((-0.1, ends.low, ends.high))
    expected = stats.spearmanr([0.5, 0.5, 0.7, 0.9, 0.9], [0.6, 0.7, 0.8, 0.9, 1.0])
    assert (row["spearman"], row["spearman_p"]) == pytest.approx((expected.statistic, expected.pvalue))
    # four units: the difference, and no correlation
    few = conditions.natural_synthetic(pd.concat([natural.head(4), synthetic]), "his", "human", 0.95).iloc[0]
    assert few["n_units"] == 4
    assert np.isfinite(few["low"])
    assert few[["pearson", "spearman", "spearman_p"]].isna().all()


def test_every_difficulty_level_is_held_against_its_easy_condition():
    parts = [
        units("m", name, {unit: level + unit / 100 for unit in range(6)})
        for name, level in (
            ("natural", 0.9),
            ("hard99", 0.8),
            ("hard95", 0.7),
            ("synthetic", 0.6),
            ("hard95_synthetic", 0.5),
            ("one_sided", 0.4),
        )
    ]
    table = conditions.difficulty(pd.concat([*parts, units("n", "natural", {0: 0.5})]), "his", "human", 0.95)
    assert table[["condition", "base"]].to_numpy().tolist() == [
        ["hard95", "natural"],
        ["hard95_synthetic", "synthetic"],
        ["hard99", "natural"],
    ]
    assert table["difference"].tolist() == pytest.approx([-0.2, -0.1, -0.1])
    assert set(table["model"]) == {"m"}


def test_one_condition_gives_an_empty_table():
    for function in (conditions.difficulty, conditions.natural_synthetic):
        table = function(units("m", "natural", {0: 0.5, 1: 0.6}), "his", "human", 0.95)
        assert list(table.columns) == conditions.PAIR_COLUMNS
        assert len(table) == 0


def test_confidence_is_averaged_over_units():
    # unit 0: three sure answers, two right; unit 1: one sure answer, right; one unsure answer to each
    rows = [(0, 3, True), (0, 3, True), (0, 3, False), (1, 3, True), (0, 1, False), (1, 1, True), (1, None, True)]
    responses = pd.DataFrame(rows, columns=["unit", "confidence", "correct"]).assign(
        model="m", layer="l", condition="natural", participant=["p", "q", "r", "p", "p", "q", "r"]
    )
    responses["confidence"] = responses["confidence"].astype("Int8")
    table = conditions.confidence_table(responses, 0.95)
    assert table["confidence"].tolist() == [1, 2, 3]
    assert table["n_responses"].tolist() == [2, 0, 4]
    assert table["share"].tolist() == pytest.approx([2 / 6, 0, 4 / 6])
    assert table["correct"].tolist()[::2] == pytest.approx([0.5, (2 / 3 + 1) / 2])
    assert table[["low", "high"]].isna().all().all()  # two units are too few


def test_confidence_interval_is_for_other_units_and_people():
    rng = np.random.default_rng(0)
    responses = pd.DataFrame(
        {
            "model": "m",
            "layer": "l",
            "unit": np.repeat(np.arange(60), 10),
            "condition": "natural",
            "participant": np.tile(np.arange(10), 60),
            "confidence": 3,
            "correct": rng.random(600) < np.repeat(rng.beta(8, 2, 60), 10),
        }
    )
    row = conditions.confidence_table(responses, 0.95).iloc[2]
    expected = two_way.means_of_units(responses, 0.95, logit=True).iloc[0]
    assert row[["correct", "low", "high"]].tolist() == expected[["mean", "low", "high"]].tolist()


def test_answers_without_confidence_give_an_empty_table():
    responses = pd.DataFrame({"confidence": pd.array([pd.NA], dtype="Int8"), "model": "m", "condition": "natural"})
    table = conditions.confidence_table(responses, 0.95)
    assert list(table.columns) == conditions.CONFIDENCE_COLUMNS
    assert len(table) == 0


def test_mixed_tasks_are_no_level_of_difficulty():
    assert [conditions.is_level(name) for name in ("mixed", "synthetic", "natural", "hard85", "hard85_synthetic")] == [
        *(False, False, False),
        *(True, True),
    ]


def test_made_explanations_are_compared_by_network_and_over_all():
    """Two networks have a layer and unit of the same name, which are not the same unit."""
    shifts = {("a", "synthetic"): [-0.1, -0.2], ("a", "mixed"): [0.0, -0.1], ("b", "synthetic"): [-0.3, -0.4]}
    rows = [(model, "x", unit, "natural", 0.8 + 0.01 * unit) for model in "ab" for unit in range(3)]
    rows += [
        (model, "x", unit, condition, 0.8 + 0.01 * unit + shift)
        for (model, condition), of_units in shifts.items()
        for unit, shift in enumerate(of_units)
    ]
    scores = pd.DataFrame(rows, columns=["model", "layer", "unit", "condition", "mis"])
    own = conditions.natural_synthetic(scores, "mis", "encoder", 0.95).set_index(["model", "condition"])
    assert own["n_units"].to_dict() == {("a", "synthetic"): 2, ("b", "synthetic"): 2, ("a", "mixed"): 2}
    assert own.loc[("b", "synthetic"), "difference"] == pytest.approx(-0.35)
    pooled = conditions.of_all_networks(scores, "mis", "encoder", 0.95)
    assert pooled[["model", "condition", "base", "n_units"]].values.tolist() == [["", "synthetic", "natural", 4]]
    assert pooled["difference"].item() == pytest.approx(-0.25)
    low, high = pooled[["low", "high"]].iloc[0]
    reach = 3.182446 * np.std([-0.1, -0.2, -0.3, -0.4], ddof=1) / 2  # t of 3 degrees of freedom
    assert (low, high) == (pytest.approx(-0.25 - reach), pytest.approx(-0.25 + reach))


def test_the_curve_of_a_network_is_of_units_that_have_every_level():
    rows = [
        *(("a", 0, "natural", 0.9), ("a", 1, "natural", 0.8), ("a", 2, "natural", 0.1), ("a", 3, "natural", np.nan)),
        *(("a", 0, "hard85", 0.6), ("a", 1, "hard85", 0.5), ("a", 3, "hard85", 0.2)),
        *(("a", 0, "hard99", 0.8), ("a", 1, "hard99", 0.7), ("a", 3, "hard99", 0.3), ("a", 0, "one_sided", 0.99)),
    ]
    units = pd.DataFrame(rows, columns=["layer", "unit", "condition", "mis"]).assign(model="net")
    found = conditions.by_gap(units, "encoder", 0.0001)
    assert found.columns.tolist() == conditions.GAP_COLUMNS
    assert found["condition"].tolist() == ["natural", "hard99", "hard85"], "the easiest first"
    assert found["gap"].tolist() == pytest.approx([99.98, 98, 70])
    assert found["mis_mean"].tolist() == pytest.approx([0.85, 0.75, 0.55])
    assert (found["n_units"] == 2).all()
    assert (found[["backend", "model"]] == ["encoder", "net"]).all(axis=None)
    # where the explanations take more than 1 percent of the images, hard99 would be the easier one
    assert conditions.by_gap(units, "encoder", 0.045)["condition"].tolist() == ["hard99", "natural", "hard85"]


@pytest.mark.parametrize("condition", ["natural", "hard85", "one_sided"])
def test_one_level_alone_is_no_curve(condition):
    units = pd.DataFrame({"model": "net", "layer": "a", "unit": range(3), "condition": condition, "mis": 0.7})
    assert conditions.by_gap(units, "encoder", 0.05).empty
