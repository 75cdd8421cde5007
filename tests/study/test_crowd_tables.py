"""Tables of texts: means and tests by method against sums by hand, statuses, and nothing where there is nothing."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from study.tabulating import texts
from study.tabulating.text_means import Draws, p_of, widened

KEY = ["model", "layer", "unit", "method", "text"]


def automatic(rows):
    """scores.parquet of `explanations` from (model, unit, method, rho, recall)."""
    table = pd.DataFrame(rows, columns=["model", "unit", "method", "rho", "recall"])
    return table.assign(layer="l", text=table["method"], control_rho=0.01, simulated=False)


def crowd(rows):
    """scores.parquet of `crowd` from (unit, method, estimator, raters, rho, status)."""
    table = pd.DataFrame(rows, columns=["unit", "method", "estimator", "raters", "rho", "status"])
    known = {"rho_guide_only": 0.2, "rho_true": 0.4, "n_ratings": 180, "simulated": True}
    pair = table["unit"] * 2 + (table["method"] == "b")
    return table.assign(model="net", layer="l", text=table["method"], pair=pair, **known)


def drawn(spread=0.0, n=200):
    """Draws of 16 pairs that err all together, by `spread` times a normal number."""
    common = spread * np.random.default_rng(0).standard_normal(n)
    return Draws(
        pd.DataFrame(
            {"draw": np.repeat(np.arange(n), 16), "pair": np.tile(np.arange(16), n), "rho": np.repeat(common, 16)}
        )
    )


def pairs(units=range(8), methods=("a", "b")):
    rows = [("net", "l", unit, name, 0.4) for unit in units for name in methods]
    return pd.DataFrame(rows, columns=["model", "layer", "unit", "text", "rho_true"])


NOBODY = Draws(pd.DataFrame({"draw": [], "pair": [], "rho": []}))
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
    table = texts.methods_table(scores, drawn(), 0.95).set_index(["score", "method"])
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
    table = texts.methods_table(scores, drawn(), 0.95).set_index(["score", "method"])
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
    for table in (texts.methods_table(scores, drawn(), 0.95), texts.tests_table(scores, drawn(), 0.95)):
        published = ~table["score"].isin(["automatic", "latent"])
        assert table.loc[published, ["low", "high"]].isna().all(axis=None)
        assert table.loc[~published, ["low", "high"]].notna().all(axis=None)


def test_methods_are_compared_on_the_same_units(scores):
    table = texts.tests_table(scores, drawn(), 0.95).set_index("score")
    assert table.index.tolist() == ["automatic", "latent"]
    row = table.loc["automatic"]
    difference = np.array(A) - np.array(B)
    assert (row["first"], row["second"], row["n"]) == ("a", "b", 8)
    assert row["difference"] == pytest.approx(difference.mean())
    assert row["p_wilcoxon"] == pytest.approx(stats.wilcoxon(difference).pvalue)
    assert row["p_t"] == pytest.approx(stats.ttest_rel(A, B).pvalue)
    assert row["p_holm"] == row["p_wilcoxon"]  # one pair
    assert np.isnan(row["p_scores"])
    assert row["stars"] == "*"
    assert row["published_t_p"] == pytest.approx(stats.ttest_ind(A, B, alternative="greater").pvalue)
    assert table.loc["latent", "n"] == 7


def test_nothing_gives_columns_without_rows():
    none = texts.unit_scores(automatic([]), pairs(range(0)), crowd([]))
    assert texts.methods_table(none, NOBODY, 0.95).columns.tolist() == texts.METHODS
    assert texts.tests_table(none, NOBODY, 0.95).columns.tolist() == texts.TESTS
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


def test_what_our_scores_err_together_widens_the_interval_of_their_mean(scores):
    alone, together = (
        texts.methods_table(scores, drawn(spread), 0.95).set_index(["score", "method"]) for spread in (0.0, 0.05)
    )
    row = together.loc[("latent", "a")]
    sd = np.std(0.05 * np.random.default_rng(0).standard_normal(200), ddof=1)
    reach = np.hypot(stats.t.ppf(0.975, 7) * np.std(A, ddof=1) / np.sqrt(8), 2.3 * sd)
    assert (row["low"], row["high"]) == pytest.approx((np.mean(A) - reach, np.mean(A) + reach))
    assert (alone.loc["automatic"] == together.loc["automatic"]).loc[:, ["low", "high"]].all(axis=None)


def test_an_error_that_two_methods_share_leaves_their_difference(scores):
    shared = texts.tests_table(scores, drawn(0.5), 0.95).set_index("score").loc["latent"]
    alone = texts.tests_table(scores, drawn(), 0.95).set_index("score").loc["latent"]
    assert (shared["low"], shared["high"]) == pytest.approx((alone["low"], alone["high"]))
    # one that they do not share does not
    rng = np.random.default_rng(1)
    own = pd.DataFrame({"draw": np.repeat(np.arange(200), 16), "pair": np.tile(np.arange(16), 200)})
    of_method = 0.2 * rng.standard_normal((200, 2))
    own["rho"] = of_method[own["draw"], own["pair"] % 2]
    apart = texts.tests_table(scores, Draws(own), 0.95).set_index("score").loc["latent"]
    assert apart["low"] < 0 < apart["high"]
    assert apart["p_scores"] > 0.5
    assert apart["p_holm"] == apart["p_scores"] > apart["p_wilcoxon"]
    assert apart["stars"] == "NS"


def test_widened_intervals_keep_their_middle_and_have_no_end_where_there_was_none():
    middle, low, high = np.array([0.5, 0.0, 0.5]), np.array([0.47, -0.3, np.nan]), np.array([0.53, 0.3, np.nan])
    first, last = widened(middle, low, high, np.array([0.0, 0.4 / 2.3, 0.1]))
    np.testing.assert_allclose(first, [0.47, -0.5, np.nan])
    np.testing.assert_allclose(last, [0.53, 0.5, np.nan])
    # 1.96 standard errors of units, or 2.3 of scores, are p = .05
    np.testing.assert_allclose(
        p_of(np.array([1.959964, 2.3]), np.array([1.0, 0.0]), np.array([0.0, 1.0])), 0.05, rtol=1e-6
    )


def test_headline_numbers_are_of_studied_networks_and_of_known_truth(scores):
    methods = texts.methods_table(scores, drawn(), 0.95)
    found = texts.text_numbers(methods, ["net"])
    assert found["text_score_best"] == pytest.approx(np.mean(A))
    off = np.concatenate([np.array(A), np.array(B[:7])]) - 0.4
    assert found["text_score_error"] == pytest.approx(np.abs(off).mean())
    assert "text_score_best" not in texts.text_numbers(methods, ["other"])
    alone = methods[methods["score"] == "automatic"]
    assert texts.text_numbers(alone, ["net"]) == {"text_score_best": pytest.approx(np.mean(A))}
