"""Tables of texts: means and tests by method against sums by hand, statuses, and nothing where there is nothing."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from study.tabulating import texts
from study.tabulating.facts import Facts

KEY = ["model", "layer", "unit", "method", "text"]


def automatic(rows):
    """scores.parquet of `explanations` from (model, unit, method, rho, recall)."""
    table = pd.DataFrame(rows, columns=["model", "unit", "method", "rho", "recall"])
    return table.assign(layer="l", text=table["method"], control_rho=0.01, simulated=False)


def crowd(rows):
    """scores.parquet of `crowd` from (unit, method, estimator, raters, rho, status)."""
    table = pd.DataFrame(rows, columns=["unit", "method", "estimator", "raters", "rho", "status"])
    known = {
        "pair": 2 * table["unit"] + (table["method"] == "b"),
        "rho_guide_only": 0.2,
        "rho_true": 0.4,
        "n_ratings": 180,
        "simulated": True,
    }
    return table.assign(model="net", layer="l", text=table["method"], **known)


def pairs(units=range(8), methods=("a", "b")):
    rows = [("net", "l", unit, name, 0.4) for unit in units for name in methods]
    return pd.DataFrame(rows, columns=["model", "layer", "unit", "text", "rho_true"])


A = [0.5, 0.4, 0.45, 0.6, 0.3, 0.55, 0.52, 0.41]
B = [0.4, 0.38, 0.3, 0.5, 0.31, 0.45, 0.5, 0.35]


@pytest.fixture
def scores():
    plain = automatic(
        [
            ("net", unit, name, rho[unit], share)
            for unit in range(8)
            for name, rho, share in (("a", A, 0.5), ("b", B, 0.9))
        ]
    )
    rows = []
    for unit in range(8):
        for raters, away in (("kept", 0.0), ("all", 0.1)):
            rows.append((unit, "a", "latent", raters, A[unit] - away, "calibrated under the model"))
            rows.append(
                (
                    unit,
                    "b",
                    "latent",
                    raters,
                    np.nan if unit == 7 else B[unit] - away,
                    "not calibrated: skewed" if unit else "calibrated under the model",
                )
            )
            rows.append((unit, "a", "majority", raters, A[unit] / 2, "as published, no interval"))
    return texts.unit_scores(plain, pairs(), crowd(rows))


def test_means_are_those_of_the_units(scores):
    table = texts.methods_table(scores, 0.95).set_index(["score", "method"])
    assert table.index.tolist() == [
        ("automatic", "a"),
        ("automatic", "b"),
        ("latent", "a"),
        ("latent", "b"),
        ("majority", "a"),
    ]
    row = table.loc[("automatic", "a")]
    mean, se = np.mean(A), np.std(A, ddof=1) / np.sqrt(8)
    assert row["rho_mean"] == pytest.approx(mean)
    assert row["rho_se"] == pytest.approx(se)
    reach = stats.t.ppf(0.975, 7) * se
    assert (row["low"], row["high"]) == pytest.approx((mean - reach, mean + reach))
    assert (row["recall_mean"], row["control_mean"], row["true_mean"]) == pytest.approx((0.5, 0.01, 0.4))
    assert row["error_mean"] == pytest.approx(np.mean(np.abs(np.array(A) - 0.4)))
    assert np.isnan(row["guide_only_mean"])
    assert row["n_ratings"] == 0
    assert not row["simulated"]


def test_what_people_say_stands_beside_the_guide_and_all_raters(scores):
    table = texts.methods_table(scores, 0.95).set_index(["score", "method"])
    row = table.loc[("latent", "b")]
    assert (row["n_units"], row["n_undefined"], row["n_common"]) == (7, 1, 7)
    assert row["rho_mean"] == pytest.approx(np.mean(B[:7]))
    assert row["all_raters_mean"] == pytest.approx(np.mean(B[:7]) - 0.1)
    assert row["guide_only_mean"] == pytest.approx(0.2)
    assert row["recall_mean"] == pytest.approx(0.9)
    assert row["n_ratings"] == 7 * 180
    assert row["status"] == "not calibrated: 7 of 8 units"
    assert row["simulated"]
    # means that may be compared are over the units that both have
    assert table.loc[("latent", "a"), "mean_common"] == pytest.approx(np.mean(A[:7]))
    assert table.loc[("latent", "a"), "status"] == "calibrated under the model"


def test_published_scores_have_no_interval(scores):
    for table in (texts.methods_table(scores, 0.95), texts.compared_table(scores, 0.95)):
        published = ~table["score"].isin(["automatic", "latent"])
        assert table.loc[published, ["low", "high"]].isna().all(axis=None)
        assert table.loc[~published, ["low", "high"]].notna().all(axis=None)


def test_methods_are_compared_on_the_same_units(scores):
    table = texts.compared_table(scores, 0.95).set_index("score")
    assert table.index.tolist() == ["automatic", "latent"]
    row = table.loc["automatic"]
    difference = np.array(A) - np.array(B)
    assert (row["first"], row["second"], row["n"]) == ("a", "b", 8)
    assert row["difference"] == pytest.approx(difference.mean())
    assert row["p_wilcoxon"] == pytest.approx(stats.wilcoxon(difference).pvalue)
    assert row["p_t"] == pytest.approx(stats.ttest_rel(A, B).pvalue)
    assert row["p_holm"] == max(row["p_wilcoxon"], row["p_t"])  # one pair
    assert row["stars"] == "*"
    assert row["published_t_p"] == pytest.approx(stats.ttest_ind(A, B, alternative="greater").pvalue)
    assert table.loc["latent", "n"] == 7


def test_nothing_gives_columns_without_rows():
    none = texts.unit_scores(automatic([]), pairs(range(0)), crowd([]))
    assert texts.methods_table(none, 0.95).columns.tolist() == texts.METHODS
    assert texts.compared_table(none, 0.95).columns.tolist() == texts.TESTS
    assert none.empty
    assert texts.check_table({"verdict": "no ratings"}).columns.tolist() == texts.CHECK


def test_rejected_ratings_are_counted_by_file_and_reason():
    rows = pd.DataFrame({"file": list("baa"), "row": [9, 7, 5], "reason": ["x", "y", "y"], "count": [1, 3, 1]})
    assert texts.rejected_table(rows).to_numpy().tolist() == [["a", "y", 4, 5], ["b", "x", 1, 9]]


def test_raters_are_summed_up_by_whether_they_count():
    columns = [name for name in texts.RATERS if name not in ("group", "n_raters", "n_ratings")]
    raters = pd.DataFrame(
        {"rater": list("pqr"), "n": [10, 30, 60], "excluded": [0, 0, 1], **dict.fromkeys(columns, np.nan)}
    )
    raters["yes_share"] = [0.1, 0.5, 0.9]
    table = texts.raters_table(raters).set_index("group")
    assert table["n_raters"].to_dict() == {"all": 3, "kept": 2, "left out": 1}
    assert table["n_ratings"].to_dict() == {"all": 100, "kept": 40, "left out": 60}
    assert table["yes_share"].to_dict() == pytest.approx({"all": 0.7, "kept": 0.4, "left out": 0.9})
    assert table["false_yes"].isna().all()


def test_the_check_is_a_table_of_its_verdict_and_figures():
    check = {
        "verdict": "not calibrated: x; y",
        "reasons": ["x", "y"],
        "figures": {"largest_z": 3.5},
        "n_pairs": 9,
        "n_undefined": 1,
        "n_calibrated": 0,
        "rhat_largest": 1.01,
        "raters": {"false_yes": {"mean": 0.2, "sd": 0.01}},
    }
    table = texts.check_table(check)
    assert table.loc[table["part"] == "reason", "words"].tolist() == ["x", "y"]
    assert table["words"][0] == "not calibrated: x; y"
    figure = table[table["name"] == "largest_z"].iloc[0]
    assert (figure["part"], figure["value"]) == ("figure", 3.5)
    rates = table[table["part"] == "raters"].iloc[0]
    assert (rates["name"], rates["value"], rates["sd"]) == ("false_yes", 0.2, 0.01)


def test_headline_numbers_are_of_studied_networks_and_of_known_truth(scores):
    methods = texts.methods_table(scores, 0.95)
    found = texts.text_numbers(methods, ["net"])
    assert found["text_score_best"] == pytest.approx(np.mean(A[:7]))
    off = np.concatenate([np.array(A), np.array(B[:7])]) - 0.4
    assert found["text_score_error"] == pytest.approx(np.abs(off).mean())
    assert np.isnan(texts.text_numbers(methods, ["other"])["text_score_best"])
    alone = methods[methods["score"] == "automatic"]
    assert texts.text_numbers(alone, ["net"]) == {"text_score_best": pytest.approx(np.mean(A))}


def test_methods_are_ranked_by_either_guide(scores):
    rng = np.random.default_rng(0)
    methods = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4, "e": 0.5}
    rows = [
        ("net", layer, unit, name, mean + 0.01 * rng.normal(), mean + (0.15 if name in "ad" else 0.0), True)
        for name, mean in methods.items()
        for layer in ("l", "m")
        for unit in range(4)
    ]
    rows += [("small", "l", unit, name, 0.1 * unit, 0.2, False) for name in "abcd" for unit in range(6)]
    rows += [("net", "l", 9, "few", 0.9, 0.0, True)]  # the method of one unit has no rank
    table = pd.DataFrame(rows, columns=["model", "layer", "unit", "method", "rho", "rho_second", "simulated"])
    table.loc[table["unit"].eq(3) & table["method"].eq("a") & table["model"].eq("net"), "rho_second"] = np.nan
    found = texts.guides_table(table, facts_with([], {})).set_index(["model", "method"])
    assert [*found.index.names, *found.columns] == texts.GUIDES
    own = table[(table["model"] == "net") & (table["method"] == "a")].dropna()
    first = found.loc[("net", "a")]
    assert (first["n_units"], first["n_clusters"]) == (6, 6)
    assert first["guide_mean"] == pytest.approx(own["rho"].mean())
    assert first["second_mean"] == pytest.approx(0.25)
    assert first["guide_se"] == pytest.approx(own["rho"].std(ddof=1) / np.sqrt(6))
    assert first["difference"] == pytest.approx(0.25 - own["rho"].mean())
    # a passes b, d passes e: 1 - 6 * 4 / (5 * 24)
    assert found.loc["net", "spearman"].to_numpy() == pytest.approx(np.full(6, 0.8))
    assert found.loc["small", "spearman"].isna().all(), "four methods"
    assert found.loc["net", "simulated"].all()
    assert not found.loc["small", "simulated"].any()
    none = texts.guides_table(table.head(0), facts_with([], {}))
    assert none.empty
    assert list(none.columns) == texts.GUIDES


def facts_with(labels, clusters):
    """Facts as far as clusters of units need them."""
    table = pd.DataFrame(labels, columns=["model", "layer", "unit", "label"])
    return cast(Facts, SimpleNamespace(labels=table, clusters=clusters))


def test_units_that_move_together_are_one_cluster():
    planted = [("controls", "mixture_0.5", unit, f"shape:{unit % 2}") for unit in range(4)]
    layers = [f"l{number}" for number in range(10)]
    units = pd.DataFrame(
        [row[:3] for row in planted]
        + [("deep", layer, 0) for layer in layers]
        + [("flat", "l", unit) for unit in range(3)],
        columns=["model", "layer", "unit"],
    )
    found = texts.clusters_of(units, facts_with(planted, {("deep", "l1"): "l0"}))
    assert found[:4].tolist() == ["shape:0", "shape:1", "shape:0", "shape:1"]
    assert found[4:14].tolist() == ["l0", "l0", *layers[2:]]
    assert found[14:].tolist() == ["l/0", "l/1", "l/2"]


def test_joint_draws_belong_to_scores_of_the_joint_fit_alone(scores):
    rows = [(draw, pair, float(pair)) for draw in range(4) for pair in range(15)]
    drawn = pd.DataFrame(rows, columns=["draw", "pair", "rho"])
    draws = texts.joint_draws(scores, drawn)
    ours = (scores["score"] == "latent").to_numpy()
    assert np.isnan(draws[~ours]).all()
    assert draws[ours, 0].tolist()[:2] == scores.loc[ours, "pair"].tolist()[:2]
    assert np.isnan(draws[(scores["pair"] == 15).to_numpy()]).all()
    assert texts.joint_draws(scores, drawn[:0]).shape == (len(scores), 0)
