"""Variants of the noise ceiling."""

import numpy as np
import pandas as pd
import pytest

from interpretability.design import drawn_studies
from interpretability.people import ceiling, ceiling_shares, noise
from interpretability.people.ceiling_columns import leading_variant
from interpretability.people.noise import (
    analytic_ceiling,
    noise_within_tasks,
    simulated_correlations,
    spearman_brown,
    split_half,
)
from interpretability.randomness import generator
from interpretability.schema import KEY
from stages import ceiling as ceiling_stage
from study.files.tables import read_parquet, write_parquet
from tests.helpers import tiny_study
from tests.helpers.rules import ROOT


def beta_units(n, n_responses=30, seed=0, backend="b"):
    """Units whose true share of right answers is Beta(8, 2) and equals their MIS."""
    rng = np.random.default_rng(seed)
    p = rng.beta(8, 2, size=n)
    answers = np.broadcast_to(n_responses, n)
    return pd.DataFrame(
        {
            "model": "m",
            "layer": "l",
            "unit": np.arange(n),
            "condition": "natural",
            "backend": backend,
            "mis": p,
            "his": rng.binomial(answers, p) / answers,
            "n_responses": answers,
            "in_split": False,
        }
    )


# Beta(8, 2): mean .8, variance V = .8 * .2 / 11 = .0145455, E[p(1-p)] = .16 - V = .1454545. With 30 answers the
# recorded share has variance W = V + .1454545 / 30 = .0193939, and a share simulated from it
# X = W + (.1454545 * 29/30) / 30 = .0240808.
# V1 = sqrt(W / X), V2 = W / X, V3 = sqrt(V / X), V4 = V5 = sqrt(V / W).
# Random halves of 15 answers have variance V + .1454545 / 15 = .0242424: r = V / that = .6, sqrt(1.2 / 1.6) = V4.
EXPECTED = {"V1": 0.8974, "V2": 0.8054, "V3": 0.7772, "V4": 0.8660, "V5": 0.8660, "split_half": 0.8660}


def test_variants_of_a_known_population():
    table = ceiling.ceiling_table(beta_units(30_000), 0, 10, 0.95)
    easy = table[table["subset"] == "easy"].set_index("variant")
    for variant, expected in EXPECTED.items():
        assert easy.loc[variant, "mean"] == pytest.approx(expected, abs=0.006), variant
    assert easy["is_ceiling"].to_dict() == {name: name != "V3" for name in EXPECTED}
    assert (easy["n_units"] == 30_000).all()


def test_analytic_ceiling_is_the_correlation_of_truth_and_record():
    units = beta_units(20_000, n_responses=np.random.default_rng(1).integers(5, 60, size=20_000))
    analytic = analytic_ceiling(units["his"], units["n_responses"])
    assert analytic == pytest.approx(np.corrcoef(units["mis"], units["his"])[0, 1], abs=0.01)


def test_analytic_ceiling_by_hand():
    # his .5, 1, 1, 1 of 5 answers: noise .25 / 4 / 4 = .015625; variance (.375^2 + 3 * .125^2) / 3 = .0625
    assert analytic_ceiling([0.5, 1, 1, 1], [5, 5, 5, 5]) == pytest.approx(np.sqrt(0.75))


def test_analytic_ceiling_where_it_is_zero_or_undefined():
    # his .4, .5, .6 of 2 answers: noise about .25 exceeds the variance .01
    assert analytic_ceiling([0.4, 0.5, 0.6], [2, 2, 2]) == 0.0
    assert np.isnan(analytic_ceiling([0.5, 0.5, 0.5], [9, 9, 9]))
    assert np.isnan(analytic_ceiling([0.1, 0.5, 0.9], [9, 1, 9]))
    assert np.isnan(analytic_ceiling([0.1, 0.5], [9, 9]))


def test_every_unit_keeps_its_own_number_of_answers():
    # half the units have so many answers that their simulated share is the recorded one, the others have two
    his = np.tile([0.5, 0.9], 500)
    many, few = np.full(1000, 10**8), np.full(1000, 2)
    draw = generator(0, "test")
    assert simulated_correlations("V1", his, many, 5, draw).min() > 0.999
    # variance .04 of his, noise (.25 + .09) / 2 / 2 = .085: sqrt(.04 / .125) = .566
    two = simulated_correlations("V1", his, few, 200, draw)
    assert two.mean() == pytest.approx(np.sqrt(0.04 / 0.125), abs=0.01)


def test_blocks_do_not_change_the_number_of_simulations(monkeypatch):
    units = beta_units(50)
    monkeypatch.setattr(noise, "_BLOCK_VALUES", 120)
    values = simulated_correlations("V2", units["his"], units["n_responses"], 7, generator(0, "t"))
    assert values.shape == (7,)
    assert len(set(values)) == 7


def test_subsets_separate_easy_from_all_conditions():
    hard = beta_units(30, seed=1).assign(condition="hard95")
    units = pd.concat([beta_units(40), hard], ignore_index=True)
    table = ceiling.ceiling_table(units, 0, 50, 0.95)
    assert table.groupby("subset")["n_units"].unique().to_dict() == {"easy": [40], "all": [70]}
    order = ["V1", "V2", "V4", "split_half", "V3", "V5"]
    assert table["variant"].tolist() == order * 2
    assert table["backend"].tolist() == ["", "", "", "", "b", "b"] * 2
    rows = table.dropna()
    assert len(rows) == len(table)
    assert (rows["low"] <= rows["mean"]).all()
    assert (rows["mean"] <= rows["high"]).all()


def test_simulations_of_people_do_not_depend_on_the_backends():
    both = pd.concat([beta_units(30), beta_units(30).assign(backend="c", mis=0.5)], ignore_index=True)
    one = ceiling.ceiling_table(beta_units(30), 0, 50, 0.95)
    two = ceiling.ceiling_table(both, 0, 50, 0.95)
    pd.testing.assert_frame_equal(one, two[two["backend"].isin(["", "b"])].reset_index(drop=True))
    constant = two[(two["backend"] == "c") & (two["variant"] == "V5")]
    assert constant["mean"].isna().all()


def test_interval_of_the_analytic_ceiling_narrows_with_units():
    def width(n):
        table = ceiling.ceiling_table(beta_units(n), 0, 200, 0.95).set_index(["subset", "variant"])
        return table.loc[("easy", "V4"), "high"] - table.loc[("easy", "V4"), "low"]

    assert width(1600) < 0.5 * width(100)


def test_share_of_a_perfect_score_is_one_and_of_a_noisy_one_its_correlation_with_the_truth():
    units = beta_units(8_000)
    perfect = ceiling_shares.share_of_ceiling(units, "V4", 50, 0.95, generator(0, "t"))
    assert perfect["share"] == pytest.approx(1.0, abs=0.01)
    assert perfect["share_low"] < perfect["share"] < perfect["share_high"]
    # noise of the variance of the truth: correlation sqrt(1/2) with it
    noise = np.random.default_rng(5).normal(0, np.sqrt(0.16 / 11), size=len(units))
    noisy = ceiling_shares.share_of_ceiling(units.assign(mis=units["mis"] + noise), "V4", 50, 0.95, generator(0, "t"))
    assert noisy["share"] == pytest.approx(np.sqrt(0.5), abs=0.025)
    assert noisy["share"] == pytest.approx(noisy["agreement"] / noisy["ceiling"])


def test_joint_bootstrap_is_narrower_than_independent_ones():
    # Agreement and ceiling rise and fall together with the spread of the drawn units.
    units = beta_units(200, seed=3)
    joint = ceiling_shares.share_of_ceiling(units, "V4", 1000, 0.95, generator(0, "t"))
    table = ceiling.ceiling_table(units, 0, 1000, 0.95).set_index(["subset", "variant"])
    alone = table.loc[("easy", "V4"), "high"] - table.loc[("easy", "V4"), "low"]
    own = []
    for seed in range(200):
        sample = units.sample(frac=1, replace=True, random_state=seed)
        own.append(np.corrcoef(sample["mis"], sample["his"])[0, 1])
    apart = np.hypot(
        alone / table.loc[("easy", "V4"), "mean"],
        np.subtract(*np.quantile(own, [0.975, 0.025])) / np.mean(own),
    )
    assert joint["share_high"] - joint["share_low"] < apart


def test_share_table_leaves_the_split_out_and_survives_no_people():
    units = beta_units(40).assign(in_split=lambda table: table["unit"] < 10)
    table = ceiling_shares.share_table(units, 0, 100, 0.95).set_index(["subset", "backend"])
    assert table["n_units"].tolist() == [30, 30]
    rest = units[units["unit"] >= 10]
    assert table.loc[("easy", "b"), "agreement"] == pytest.approx(np.corrcoef(rest["mis"], rest["his"])[0, 1])
    assert list(ceiling_shares.share_table(units.iloc[:0], 0, 100, 0.95).columns) == ceiling_shares.SHARE_COLUMNS
    assert list(ceiling.ceiling_table(units.iloc[:0], 0, 100, 0.95).columns) == ceiling.COLUMNS


def test_answers_spread_evenly_over_unequal_tasks_vary_less_than_the_ceiling_assumes():
    # Half the tasks of a unit are sure, the others a coin flip or better; every task is answered equally often. The
    # true shares then agree with the recorded ones better than V4 says.
    rng = np.random.default_rng(0)
    easy, hard = np.ones(4000), rng.uniform(0.3, 0.9, size=4000)
    his = (rng.binomial(15, easy) + rng.binomial(15, hard)) / 30
    analytic = analytic_ceiling(his, np.full(4000, 30))
    assert analytic < np.corrcoef((easy + hard) / 2, his)[0, 1] - 0.02


def responses(correct_by_task, unit=0):
    """Answers of one unit: task -> list of 0 and 1."""
    rows = [(unit, task, bool(value)) for task, values in correct_by_task.items() for value in values]
    table = pd.DataFrame(rows, columns=["unit", "task", "correct"])
    return table.assign(model="m", layer="l", condition="natural")


def test_noise_within_tasks_by_hand():
    # task 0: 1, 0 has variance .5; task 1: 1, 1 has 0; task 2 with one answer takes their mean, .25:
    # (2 * .5 + 2 * 0 + 1 * .25) / 5^2 = .05
    found = noise_within_tasks(responses({0: [1, 0], 1: [1, 1], 2: [1]}))
    assert found["noise_within"].tolist() == pytest.approx([0.05])
    # without a task of two answers, or with answers whose task is not known, nothing can be said
    for unknown in ({0: [1], 1: [0]}, {-1: [1, 0], 1: [1, 1]}):
        assert noise_within_tasks(responses(unknown))["noise_within"].isna().all()
    assert noise_within_tasks(responses({0: [1]}).iloc[:0]).empty


def test_noise_within_one_task_is_the_binomial_one():
    # 3 of 4 right: .75 * .25 / 3
    assert noise_within_tasks(responses({0: [1, 1, 0, 1]}))["noise_within"][0] == pytest.approx(0.0625)


def unequal_tasks(n_units, n_tasks=11, n_responses=31, seed=0):
    """Units whose tasks differ in difficulty, answered in turn; with the true share over their tasks."""
    rng = np.random.default_rng(seed)
    p = np.clip(rng.beta(8, 2, size=(n_units, 1)) + rng.choice([-0.35, 0.2], size=(n_units, n_tasks)), 0.05, 1.0)
    task = np.arange(n_responses) % n_tasks
    correct = rng.random((n_units, n_responses)) < p[:, task]
    answers = pd.DataFrame(
        {
            "model": "m",
            "layer": "l",
            "unit": np.repeat(np.arange(n_units), n_responses),
            "condition": "natural",
            "task": np.tile(task, n_units),
            "correct": correct.ravel(),
        }
    )
    units = beta_units(n_units).assign(
        his=correct.mean(axis=1), n_responses=n_responses, p_true=p[:, task].mean(axis=1)
    )
    return units.merge(noise_within_tasks(answers), on=["model", "layer", "unit", "condition"])


def test_noise_within_tasks_gives_the_agreement_of_truth_and_record():
    table = ceiling.ceiling_table(unequal_tasks(20_000), 0, 10, 0.95)
    found = table[table["subset"] == "all"].set_index("variant")["mean"]
    assert found["V4w"] == pytest.approx(found["true"], abs=0.006)
    assert found["V4"] < found["true"] - 0.02
    assert table["variant"].tolist() == ["V1", "V2", "V4", "V4w", "true", "split_half", "V3", "V5"] * 2
    assert found["split_half"] == pytest.approx(found["V4"], abs=0.002)


def test_noise_within_tasks_equals_the_binomial_noise_for_equal_tasks():
    units = beta_units(30_000)
    rng = np.random.default_rng(7)
    right = rng.binomial(3, units["mis"].to_numpy()[:, None], size=(len(units), 10))
    spread = (right / 3 * (1 - right / 3) * 3 / 2).sum(axis=1) * 3 / 30**2
    units = units.assign(his=right.sum(axis=1) / 30, noise_within=spread)
    table = ceiling.ceiling_table(units, 0, 10, 0.95).set_index(["subset", "variant"])["mean"]
    assert table["all", "V4w"] == pytest.approx(EXPECTED["V4"], abs=0.006)
    assert table["all", "V4"] == pytest.approx(EXPECTED["V4"], abs=0.006)


def test_variants_of_other_columns_leave_the_others_as_they_are():
    units = unequal_tasks(60)
    more = ceiling.ceiling_table(units, 0, 50, 0.95)
    less = ceiling.ceiling_table(units.drop(columns=["noise_within", "p_true"]), 0, 50, 0.95)
    others = more[~more["variant"].isin(ceiling.NEEDS)].reset_index(drop=True)
    pd.testing.assert_frame_equal(others.drop(columns="leads"), less.drop(columns="leads"))
    assert less["variant"].tolist() == ["V1", "V2", "V4", "split_half", "V3", "V5"] * 2
    half = units.assign(noise_within=units["noise_within"].where(units["unit"] < 40))
    table = ceiling.ceiling_table(half, 0, 50, 0.95).set_index(["subset", "variant"])
    assert table.loc[("all", "V4w"), "n_units"] == 40
    assert table.loc[("all", "V4"), "n_units"] == 60


def test_table_with_shares_keeps_the_ceilings_first():
    units = beta_units(40)
    table = ceiling_shares.ceiling_and_shares(
        ceiling.ceiling_table(units, 0, 20, 0.95), ceiling_shares.share_table(units, 0, 20, 0.95)
    )
    assert table["units"].tolist() == ["all"] * 12 + ["outside_split"] * 2
    shares = table[table["share"].notna()]
    assert shares["variant"].tolist() == ["V4", "V4"]
    assert shares["backend"].tolist() == ["b", "b"]
    np.testing.assert_allclose(shares["mean"], analytic_ceiling(units["his"], units["n_responses"]))


def test_v4w_leads_where_every_answer_carries_its_task_and_else_v4():
    units = unequal_tasks(60)
    unknown = units.assign(noise_within=units["noise_within"].where(units["unit"] != 7))
    assert leading_variant(units) == "V4w"
    for less in (unknown, units.drop(columns="noise_within"), units.iloc[:0]):
        assert leading_variant(less) == "V4"
    for known, variant in ((units, "V4w"), (unknown, "V4")):
        ceilings, shares = ceiling.ceiling_table(known, 0, 20, 0.95), ceiling_shares.share_table(known, 0, 20, 0.95)
        table = ceiling_shares.ceiling_and_shares(ceilings, shares)
        assert set(table.loc[table["leads"], "variant"]) == set(shares["variant"]) == {variant}
        # once a subset among the ceilings, and in every row with a share
        assert table["leads"].sum() == 2 + len(shares)
        of_all = ceilings[(ceilings["subset"] == "all") & ceilings["leads"]]["mean"].iloc[0]
        assert shares.set_index("subset").loc["all", "ceiling"] == pytest.approx(of_all)
    assert ceilings.loc[~ceilings["calibrated"], "variant"].drop_duplicates().tolist() == ["V1", "V2", "V3", "V5"]


def test_share_of_v4w_is_the_share_of_the_true_ceiling():
    units = unequal_tasks(20_000)
    noise = np.random.default_rng(5).normal(0, 0.1, size=len(units))
    units = units.assign(mis=units["p_true"] + noise)
    agreed, true = (np.corrcoef(units[name], units["his"])[0, 1] for name in ("mis", "p_true"))
    found = {name: ceiling_shares.share_of_ceiling(units, name, 20, 0.95, generator(0, "t")) for name in ("V4", "V4w")}
    assert found["V4w"]["share"] == pytest.approx(agreed / true, abs=0.006)
    assert found["V4"]["share"] > agreed / true + 0.02


def test_halves_drawn_anew_do_not_widen_the_interval():
    # V4 and split_half estimate one thing from the same units: so do their intervals
    table = ceiling.ceiling_table(beta_units(300), 0, 1000, 0.95)
    width = table[table["subset"] == "all"].set_index("variant").eval("high - low")
    assert width["split_half"] == pytest.approx(width["V4"], rel=0.15)


def test_score_of_few_tasks_reaches_less():
    # truth + noise of variance V / 3, known as mis_se: reliability 3/4; correlation with the record sqrt(.75) V4. MIS is
    # a linear function of it, inside [0, 1]
    units = beta_units(30_000)
    sd = np.sqrt(0.16 / 11 / 3)
    noisy = units["mis"] + np.random.default_rng(3).normal(0, sd, size=len(units))
    units = units.assign(mis=0.2 + noisy / 2, mis_se=sd / 2)
    table = ceiling.ceiling_table(units, 0, 10, 0.95)
    found = table[table["subset"] == "all"].set_index(["variant", "backend"])["mean"]
    assert found["V4b", "b"] == pytest.approx(np.sqrt(0.75) * EXPECTED["V4"], abs=0.008)
    assert found["V4b", "b"] == pytest.approx(np.corrcoef(units["mis"], units["his"])[0, 1], abs=0.012)
    assert table["variant"].tolist() == ["V1", "V2", "V4", "split_half", "V3", "V5", "V4b"] * 2


def test_random_halves_are_halves_of_the_answers():
    # two of two right, one of three: halves (1, 1) and (1 answer, 2 answers) with one right answer among them
    draw = generator(0, "halves")
    his, answers = np.tile([1.0, 1 / 3, 0.0], (500, 1)), np.tile([2, 3, 4], (500, 1))
    values = split_half(his, answers, draw)
    # the one right answer is in the half of one (1, 0) or of two (0, .5): r of (1, 1, 0) with (1, 0, 0) or (1, 0, 0)
    # with (1, .5, 0)
    possible = [np.corrcoef([1, 1, 0], [1, 0, 0])[0, 1], np.corrcoef([1, 0, 0], [1, 0.5, 0])[0, 1]]
    assert np.unique(values.round(12)).tolist() == pytest.approx(sorted(possible))
    assert np.mean(np.isclose(values, possible[0])) == pytest.approx(1 / 3, abs=0.07)
    assert np.isnan(split_half([0.0, 1.0, 0.5], [1, 1, 2], draw))


def test_halves_without_agreement_give_no_ceiling():
    assert spearman_brown(np.array([-0.2, 0.0, 0.5, 1.0])) == pytest.approx([0, 0, np.sqrt(2 / 3), 1])


def test_answers_with_known_tasks_add_the_mixed_variant():
    study = drawn_studies.draw_study(drawn_studies.Design(n_models=3, n_units=50), generator(0, "study"))
    units, answers = drawn_studies.units_frame(study, 6.25), drawn_studies.responses_frame(study)
    table = ceiling.ceiling_table(units, 0, 20, 0.95, answers)
    assert table["variant"].tolist() == ["V1", "V2", "V4", "true", "split_half", "mixed", "V3", "V5", "V4b"] * 2
    mixed = table[table["variant"] == "mixed"].iloc[0]
    assert mixed["low"] < mixed["mean"] < mixed["high"]
    assert (mixed["n_units"], mixed["n_simulations"]) == (150, 0)
    # units whose tasks are not known take no part; without any, the variant is left out
    some = answers.assign(task=answers["task"].where(answers["unit"] < 30, -1))
    table = ceiling.ceiling_table(units, 0, 20, 0.95, some).set_index(["variant", "subset"])
    assert table.loc[("mixed", "all"), "n_units"] == 90
    assert "mixed" not in set(ceiling.ceiling_table(units, 0, 20, 0.95, answers.assign(task=-1))["variant"])


# ---- the stage


def run_stage(folder, people, scores):
    tiny_study.write_params(folder / "params.yaml", ROOT, scores__backends=["pixel"])
    write_parquet(folder / "human" / "units.parquet", people)
    keys = people[KEY]
    write_parquet(folder / "human" / "responses.parquet", keys.assign(task=-1, correct=True))
    write_parquet(folder / "human" / "truth.parquet", keys.iloc[:0].assign(p_true=0.0))
    write_parquet(folder / "mis" / "units.parquet", scores.assign(mis_se=0.01))
    names = {"params": "params.yaml", "human": "human", "mis": "mis", "out": "ceiling"}
    ceiling_stage.main([f"--{name}={folder / place}" for name, place in names.items()])
    return read_parquet(folder / "ceiling" / "ceiling.parquet")


def test_stage_joins_people_and_scores_by_unit(tmp_path):
    units = beta_units(40, backend="pixel")
    people = units[["model", "layer", "unit", "condition", "his", "n_responses"]]
    extra = pd.concat([units, units.assign(model="other")], ignore_index=True).sample(frac=1, random_state=0)
    table = run_stage(tmp_path, people, extra)
    answers = people[KEY].assign(task=-1, correct=True)
    expected = ceiling.ceiling_table(
        units.assign(mis_se=0.01), 0, tiny_study.PARAMS["ceiling.n_simulations"], 0.95, answers
    )
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)


def test_stage_leaves_units_without_score_out_and_says_so(tmp_path, caplog):
    units = beta_units(40, backend="pixel")
    people = units[["model", "layer", "unit", "condition", "his", "n_responses"]]
    table = run_stage(tmp_path, people, units[units["unit"] > 2])
    assert set(table["n_units"]) == {37}
    assert "3 of 40 units with human answers have no score and are left out: m natural 3" in caplog.text


def test_stage_without_people_writes_a_header(tmp_path):
    units = beta_units(3, backend="pixel")
    table = run_stage(tmp_path, units.iloc[:0][["model", "layer", "unit", "condition", "his", "n_responses"]], units)
    assert list(table.columns) == ceiling.COLUMNS
    assert len(table) == 0
