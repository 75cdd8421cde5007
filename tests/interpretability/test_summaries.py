"""Summary tables of scored units."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy import stats
from scipy.special import expit

from interpretability import schema, statistics
from interpretability.analysis import (
    bases,
    conditions,
    correlates,
    families,
    group_tests,
    headline,
    likeness,
    machine_beside_human,
    map_correlations,
    profiles,
    ranking,
    similarities,
    training_series,
)
from interpretability.analysis.controls import CONTROL_COLUMNS
from interpretability.analysis.levels import RANGE_COLUMNS
from interpretability.analysis.networks import (
    LAYER_COLUMNS,
    LAYER_TYPE_COLUMNS,
    MODEL_COLUMNS,
    SIZE_COLUMNS,
    Networks,
    layer_summary,
    layer_type_summary,
    model_summary,
    networks_of,
)
from interpretability.errors import InputError
from interpretability.mis import unit_scores
from interpretability.people import agreement_differences, single_answers
from interpretability.people.calibration_splits import SUMMARY_COLUMNS
from stages import calibration, ceiling, human, mis
from stages import stats as stats_stage
from study.crowd.checks import AGREEMENT
from study.files.tables import read_csv, read_json, read_parquet
from study.images.made import UNIT_SCHEMA
from study.tabulating import kinds, made_slopes, texts
from tests.helpers import tiny_study
from tests.helpers.rules import ROOT
from tests.helpers.scored_units import scored


def roster(**rows):
    frame = pd.DataFrame({"name": list(rows), **{key: [row.get(key, "") for row in rows.values()] for key in ROSTER}})
    return frame.astype({"step": object})


ROSTER = ("role", "series", "step", "last", "top1", "n_params", "input_size")


# ---- means and networks


def test_interval_of_a_mean_is_that_of_student():
    values = np.array([0.5, 0.6, 0.8, 0.9])
    low, high = statistics.mean_interval([values.mean()], [values.std(ddof=1)], [4], 0.95)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert [low[0], high[0]] == pytest.approx([expected.low, expected.high])
    for few, spread in ((1, np.nan), (statistics.FEWEST - 1, 0.1)):
        assert np.isnan(statistics.mean_interval([0.5], [spread], [few], 0.95)).all()


def test_interval_of_scores_stays_inside_and_needs_five():
    # mean .9, sd .1, five scores: t(4) = 2.776445; on the scale of the logit divided by .9 * .1
    low, high = statistics.share_interval(0.9, 0.1, 5, 0.95)
    reach = 2.776445 * 0.1 / np.sqrt(5) / 0.09
    assert (low, high) == pytest.approx(tuple(expit(np.log(9) + np.array([-reach, reach]))), rel=1e-6)
    several = statistics.share_interval([0.9, 0.9, 0.9, 1.0], [0.1, 0.1, 0.0, 0.0], [5, 4, 50, 50], 0.95)
    assert several[1][0] == high < 1
    assert np.isnan(several[0][1:]).all()


def test_table_of_networks():
    units = pd.concat(
        [scored("late", [0.2, 0.4, 0.2, 0.4, 0.3]), scored("early", np.arange(101) / 100)], ignore_index=True
    )
    table = model_summary(
        units,
        roster(
            early={"role": "study", "top1": 50.0, "n_params": 7, "input_size": 64, "last": 1},
            failed={"role": "study"},
            late={"role": "study", "last": 1},
        ),
        pd.Series(["early", "early"]),
        0.05,
        0.95,
    )
    assert table["model"].tolist() == ["early", "late"]
    early, late = table.iloc[0], table.iloc[1]
    # 0, .01, ..., 1: the percentiles are their own names
    assert early[["p5", "p25", "p50", "p75", "p95"]].tolist() == pytest.approx([0.05, 0.25, 0.5, 0.75, 0.95])
    assert (early["n_units"], early["n_constant"], early["params"], early["top1"]) == (101, 2, 7, 50.0)
    assert late["mis_mean"] == pytest.approx(0.3)
    assert late["mis_sd"] == pytest.approx(0.1)
    # t quantile .975 with four degrees of freedom is 2.776445; sd / sqrt 5 / (.3 * .7) = .2129589
    assert late["mis_high"] == pytest.approx(expit(np.log(0.3 / 0.7) + 2.776445 * 0.2129589), rel=1e-5)
    assert late["n_constant"] == 0
    assert list(table.columns) == MODEL_COLUMNS


def test_layers_and_layer_types_weigh_units():
    units = pd.concat(
        [
            scored("m", [0.5, 0.7], layer="a"),
            scored("m", [0.9], layer="b", layer_index=2),
            scored("m", [0.4], layer="c", layer_type="Linear"),
        ],
        ignore_index=True,
    )
    layers = layer_summary(units, 0.95).set_index("layer")
    assert layers["mis_mean"].tolist() == pytest.approx([0.6, 0.9, 0.4])
    assert layers.loc["a", "mis_se"] == pytest.approx(0.1)  # sd .1414 / sqrt 2
    assert np.isnan(layers.loc["b", "mis_se"])
    types = layer_type_summary(units, 0.95).set_index("layer_type")
    assert types.loc["Conv", "mis_mean"] == pytest.approx(0.7)
    assert types.loc["Conv", "n_units"] == 3


def test_spread_of_margins_is_over_all_tasks():
    rng = np.random.default_rng(0)
    margins = rng.normal(size=(6, 4)) + np.arange(6)[:, None]
    units = scored("m", rng.random(6), n_tasks=4, margin_mean=margins.mean(1), margin_sd=margins.std(1, ddof=1))
    fit = {"slope": 2.0, "low": 1.0, "high": 3.0, "status": "calibrated"}
    # in two parts, as if two networks had them
    totals = pd.DataFrame([similarities.backend_totals(part) for part in (units.iloc[:4], units.iloc[4:])])
    assert list(totals.columns.sort_values()) == sorted(similarities.TOTAL_COLUMNS)
    row = similarities.backend_summary("b", totals, None, fit, {"n_forwards": 7, "n_pairs": 9}).iloc[0]
    assert row["margin_sd"] == pytest.approx(margins.std(ddof=1))
    assert row["margin_mean"] == pytest.approx(margins.mean())
    assert row["spearman_lead"] == pytest.approx(1.0)
    assert row["slope_low"] == 1.0
    assert (row["n_forwards"], row["n_pairs"]) == (7, 9)


def pair(first, second):
    return similarities.backend_agreement("a", "b", [(first, second)], 0.95).iloc[0]


def test_backends_are_compared_unit_by_unit():
    lead = scored("m", [0.1, 0.2, 0.3, 0.4])
    other = scored("m", [0.8, 0.6, 0.4, 0.2])
    assert pair(other, lead)["spearman"] == pytest.approx(-1.0)
    # the same units in another order, and one of them missing
    assert pair(other.iloc[[2, 0, 3]], lead)["spearman"] == pytest.approx(-1.0)
    assert np.isnan(pair(scored("m", [0.5] * 4), lead)["spearman"])
    assert np.isnan(pair(other.iloc[:2], lead)["spearman"])
    # second minus first: .7, .4, .1, -.2
    row = pair(lead, other)
    assert (row["mean_diff"], row["mean_abs_diff"]) == pytest.approx((0.25, 0.35))
    expected = stats.ttest_1samp([0.7, 0.4, 0.1, -0.2], 0).confidence_interval(0.95)
    assert (row["mean_diff_low"], row["mean_diff_high"]) == pytest.approx((expected.low, expected.high))


def test_networks_are_ranked_together():
    rng = np.random.default_rng(0)
    parts = [(scored(m, rng.random(30).round(1)), scored(m, rng.random(30).round(1))) for m in ("m", "n")]
    found = similarities.backend_agreement("a", "b", parts, 0.95).iloc[0]
    first, second = (pd.concat([part[place] for part in parts])["mis"] for place in (0, 1))
    assert found["n_units"] == 60
    assert found["spearman"] == pytest.approx(stats.spearmanr(first, second).statistic)
    empty = similarities.backend_agreement("a", "b", [], 0.95)
    assert list(empty.columns) == similarities.AGREEMENT_COLUMNS
    assert empty["n_units"].tolist() == [0]


def test_ranks_do_not_depend_on_the_size_of_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    first, second = rng.random(500).round(2), rng.random(500).round(2)
    whole = similarities.rank_correlation(first.copy(), second.copy())
    monkeypatch.setattr(similarities, "_BLOCK", 37)
    assert similarities.rank_correlation(first.copy(), second.copy()) == whole
    assert whole == pytest.approx(stats.spearmanr(first, second).statistic)


def test_backends_stand_beside_their_agreement_with_people():
    backends = pd.DataFrame({"backend": ["a", "b"]}).reindex(columns=similarities.BACKEND_COLUMNS)
    agreed = pd.DataFrame(
        {
            "backend": ["a", "b"],
            "level": "unit",
            "units": "outside_split",
            "n": 50,
            "pearson": [0.8, 0.5],
            "spearman": [0.7, 0.4],
        }
    )
    row = {"first": "a", "second": "b", "level": "unit", "units": "outside_split", "coefficient": "pearson"}
    differences = pd.DataFrame([row | {"difference": 0.3, "low": 0.1, "high": 0.4}])
    table = similarities.with_people(backends, agreed, differences)
    assert list(table.columns) == similarities.BACKEND_COLUMNS
    assert table["pearson_his"].tolist() == [0.8, 0.5]
    ends = ["pearson_his_minus_lead", "pearson_his_minus_lead_low", "pearson_his_minus_lead_high"]
    assert table.loc[1, ends].tolist() == [-0.3, -0.4, -0.1]
    assert table.loc[0, ends].isna().all()


def test_training_rows_and_gain():
    rows = {
        "net-step0": {"role": "study", "series": "net", "step": 0, "top1": 4.0},
        "net": {"role": "study", "series": "net", "step": 2, "last": 1, "top1": 60.0},
        "net-step1": {"role": "study", "series": "net", "step": 1},
        "alone": {"role": "study", "step": np.nan},
    }
    units = pd.concat(
        [
            scored("net", [0.8, 0.9]),
            scored("net-step0", [0.5, 0.6]),
            scored("net-step1", [0.95, 0.95]),
            scored("alone", [0.1]),
        ],
        ignore_index=True,
    )
    models = model_summary(units, roster(**rows), pd.Series([], dtype=object), 0.05, 0.95)
    training = training_series.training_summary(models)
    assert training["model"].tolist() == ["net-step0", "net-step1", "net"]


def test_gain_of_training_is_paired_by_unit():
    fresh, last = scored("net-step0", [0.5, 0.6, 0.7]), scored("net", [0.8, 0.9, 1.0])
    last.loc[2, "unit"] = 99  # constant untrained, say: not the same unit, so no pair
    other = [scored("b-step0", [0.5, 0.5]), scored("b", [0.6, 0.8])]
    networks = Networks([], [], [], {}, {"net-step0": "net", "b-step0": "b"}, {"net": "net", "b": "b"})
    table = training_series.training_gain(pd.concat([fresh, last, *other]), networks, "x", 0.95).set_index("series")
    # both units of net gain exactly .3; those of b gain .1 and .3: mean .2, sd sqrt(.02), s.e. .1
    assert table.loc["net", "n_units"] == 2
    assert tuple(table.loc["net", ["difference", "low", "high"]]) == pytest.approx((0.3, 0.3, 0.3))
    # t with one degree of freedom: 12.7062
    reach = 0.1 * 12.7062
    assert tuple(table.loc["b", ["difference", "low", "high"]]) == pytest.approx(
        (0.2, 0.2 - reach, 0.2 + reach), abs=1e-4
    )
    # unweighted mean of both, s.e. half of .1; net adds no variance, so the degrees of freedom are those of b
    both = table.loc[training_series.ALL_SERIES]
    ends = 0.25, 0.25 - reach / 2, 0.25 + reach / 2
    assert tuple(both[["difference", "low", "high"]]) == pytest.approx(ends, abs=1e-4)


def test_gain_without_untrained_networks_is_an_empty_table():
    networks = Networks([], [], [], {}, {}, {})
    assert training_series.training_gain(scored("net", [0.5]), networks, "x", 0.95).empty


# ---- roster and headline numbers


def test_roster_rows_by_what_they_are_for():
    rows = pd.DataFrame(
        [
            ("net-step0", "timm", "", "study", "net", 0, 0),
            ("net", "timm", "", "study", "net", 3, 1),
            ("alone", "timm", "", "study", "", None, 1),
            ("encoder", "timm", "", "similarity", "", None, 1),
            ("controls", "control:planted", "", "control", "", None, 1),
            ("shuffled", "control:permuted", '{"of": "net"}', "control", "", None, 1),
        ],
        columns=["name", "constructor", "kwargs", "role", "series", "step", "last"],
    ).astype({"step": "Int64"})
    found = networks_of(rows)
    assert found.study == ["net-step0", "net", "alone"]
    assert found.ranked == ["net", "alone"]
    assert found.planted == ["controls"]
    assert found.permuted == {"shuffled": "net"}
    assert found.untrained == {"net-step0": "net"}


def test_headline_numbers_leave_out_what_is_not_defined():
    empty = pd.DataFrame(columns=["units", "level", "backend", "pearson"])
    tables = {
        "controls": pd.DataFrame(columns=CONTROL_COLUMNS),
        "noise_ceiling": pd.DataFrame(columns=["subset", "backend", "leads", "mean", "share"]),
        "agreement": empty,
        "calibration": fits("bcdefg", "", slope=6.25, mis_slope_low=np.nan, mis_slope_high=np.nan),
        "failures": pd.DataFrame({"model": ["x"]}),
        "training": pd.DataFrame(columns=training_series.TRAINING_COLUMNS),
        "training_gain": pd.DataFrame(columns=training_series.GAIN_COLUMNS),
    }
    found = headline.headline(tables, list("bcdefg"), headline.overview([np.arange(101) / 100]), 4000)
    assert found.pop("mis_p5") == pytest.approx(0.05)
    assert found.pop("mis_p95") == pytest.approx(0.95)
    assert found.pop("mis_mean") == pytest.approx(0.5)
    assert found == {
        "n_images": 4000,
        "n_models": 1,
        "n_units": 101,
        "n_failed": 1,
        "slopes_identified": 0,
    }


def fits(backends, identified, **more):
    """The table of slopes, of which some are identified."""
    marks = [int(name in identified) for name in backends]
    return pd.DataFrame({"backend": list(backends), "identified": marks, **more})


@pytest.mark.parametrize(("identified", "named"), [("bcdef", "bc"), ("bd", "bd"), ("def", "de"), ("f", "f"), ("", "")])
def test_headline_numbers_of_a_whole_study_are_at_most_25(identified, named):
    agreed = pd.DataFrame(
        [("outside_split", level, backend, 0.5) for level in ("unit", "unit_within") for backend in "bcdef"],
        columns=["units", "level", "backend", "pearson"],
    )
    controls = pd.DataFrame(
        [
            ("b", "hash", "", 0.51, 1.05, 1),
            ("c", "hash", "", 0.9, 9.0, 0),
            ("b", "mixture_1", "", 0.9, 2.0, 1),
            ("b", "chance_pooled", "", 0.5, 1.07, 1),
            ("c", "chance_pooled", "", 0.5, 3.0, 0),
        ],
        columns=["backend", "control", "factor", "mis_mean", "z_sd", "passed"],
    )
    ceilings = pd.DataFrame(
        [
            ("all", "", "V4", False, 0.7, np.nan),
            ("all", "", "V4w", True, 0.8, np.nan),
            ("easy", "b", "V4w", True, 0.7, 0.1),
            ("all", "b", "V4w", True, 0.7, 0.6),
        ],
        columns=["subset", "backend", "variant", "leads", "mean", "share"],
    )
    tables = {
        "controls": controls,
        "noise_ceiling": ceilings,
        "agreement": agreed,
        "calibration": fits("bcdef", identified, slope=2.0, mis_slope_low=0.51, mis_slope_high=0.59),
        "failures": pd.DataFrame({"model": []}),
        "training_gain": pd.DataFrame(
            {"backend": "b", "series": training_series.ALL_SERIES, "difference": [0.3], "low": [0.2], "high": [0.4]}
        ),
    }
    found = headline.headline(tables, list("bcdef"), headline.overview([np.array([0.5, 0.6])]), 10)
    assert len(found) <= 25
    assert (found["hash_mis"], found["hash_z_sd"], found["chance_z_sd"]) == (0.51, 1.05, 1.07)
    assert (found["ceiling"], found["share_of_ceiling"]) == (0.8, 0.6)
    assert (found["controls_failed"], found["dose_response_rising"]) == (2, 1)
    assert found["trained_minus_untrained"] == pytest.approx(0.3)
    # no slope that answers do not tell, nor agreement under it
    assert {name for name in found if name.startswith("slope_")} == {f"slope_{name}" for name in named}
    of_units = {name for name in found if name.startswith("pearson_unit_")}
    assert of_units == {f"pearson_unit_{name}" for name in named} | ({"pearson_unit_within"} if "b" in named else set())
    assert found["slopes_identified"] == len(identified)
    assert (found["mis_mean_low"], found["mis_mean_high"]) == (0.51, 0.59)


# ---- the stage


TABLES = {
    "units_or_directions": bases.COLUMNS,
    "models": [*MODEL_COLUMNS, *RANGE_COLUMNS, "slope_status"],
    "layers": LAYER_COLUMNS,
    "layer_types": [*LAYER_TYPE_COLUMNS, "slope_status"],
    "backends": [*similarities.BACKEND_COLUMNS, *RANGE_COLUMNS],
    "backend_agreement": similarities.AGREEMENT_COLUMNS,
    "controls": [*CONTROL_COLUMNS, "condition", "slope_status"],
    "training": [*training_series.TRAINING_COLUMNS, "slope_status"],
    "training_gain": [*training_series.GAIN_COLUMNS, "slope_status"],
    "his_models": machine_beside_human.HIS_COLUMNS,
    "conditions": conditions.DIFFICULTY_COLUMNS,
    "agreement_differences": agreement_differences.COLUMNS,
    "residuals": agreement_differences.RESIDUAL_COLUMNS,
    "correlations": correlates.COLUMNS,
    "trials": single_answers.COLUMNS,
    "ranking": ranking.COLUMNS,
    "extreme_units": ranking.EXTREME_COLUMNS,
    "trial_calibration": single_answers.CALIBRATION_COLUMNS,
    "family_bootstrap": families.COLUMNS,
    "difficulty": conditions.PAIR_COLUMNS,
    "natural_synthetic": conditions.PAIR_COLUMNS,
    "confidence": conditions.CONFIDENCE_COLUMNS,
    "kruskal": ["backend", "condition", "groups", *group_tests.KRUSKAL_COLUMNS],
    "calibration_splits": SUMMARY_COLUMNS,
    "layer_bins": profiles.BIN_COLUMNS,
    "layer_change": profiles.CHANGE_COLUMNS,
    "convergence": profiles.CONVERGENCE_COLUMNS,
    "unit_points": machine_beside_human.UNIT_COLUMNS,
    "model_points": machine_beside_human.POINT_COLUMNS,
    "his_bins": machine_beside_human.BIN_COLUMNS,
    "groups": machine_beside_human.GROUP_COLUMNS,
    "group_tests": machine_beside_human.GROUP_TEST_COLUMNS,
    "his_layers": machine_beside_human.LAYER_COLUMNS,
    "his_depth": machine_beside_human.DEPTH_COLUMNS,
    "his_pairs": machine_beside_human.PAIR_COLUMNS,
    "map_correlations": map_correlations.CORRELATION_COLUMNS,
    "explanation_methods": texts.METHODS,
    "likeness": likeness.COLUMNS,
    "likeness_networks": likeness.NETWORK_COLUMNS,
    "input_sizes": SIZE_COLUMNS,
    "explanation_kinds": [*kinds.COLUMNS, "slope_status"],
    "explanation_kinds_units": [*kinds.UNIT_COLUMNS, "slope_status"],
    "made_images": UNIT_SCHEMA.names,
    "made_slopes": made_slopes.COLUMNS,
    "explanation_guides": texts.GUIDES,
    "explanation_tests": texts.TESTS,
    "explanation_agreement": AGREEMENT,
    "explanation_raters": texts.RATERS,
    "explanation_check": texts.CHECK,
    "explanation_rejected": texts.REJECTED,
}
OTHERS = {
    *(
        "agreement",
        "difficulty_by_gap",
        "noise_ceiling",
        "layer_type_tests",
        "network_tests",
        "network_clusters",
        "calibration",
        "sensitivity",
    ),
    *(
        "constant_units",
        "left_out_layers",
        "failures",
        "rejected_images",
        "exclusions",
        "checks",
        "map_units",
        "activation_histograms",
        "crowd_curves",
        "crowd_pareto",
        "crowd_costs",
        "sparse_codes",
        "scores_compared",
        "label_free",
        "judged_pairs",
        "tuning",
        "tuning_weights",
        "tuning_plan",
    ),
}


def run_all(folder, **changes):
    """Every stage from the answers to the tables, in `folder`, which holds a tiny study."""
    data = folder / "data"
    tiny_study.write_params(folder / "params.yaml", ROOT, **changes)
    given = {"params": folder / "params.yaml"} | {name: data / name for name in stats_stage.FOLDERS}

    def call(main, out, *names, **others):
        places = {name: given[name] for name in ("params", *names)} | {"out": data / out} | others
        main([f"--{name}={place}" for name, place in places.items()])

    call(human.main, "human", "tasks", "images", roster=data / "models" / "roster.csv", external=folder, names=folder)
    call(calibration.main, "calibration", "scores", "human")
    call(mis.main, "mis", "scores", "calibration")
    call(ceiling.main, "ceiling", "human", "mis")
    run_stats(folder)


def run_stats(folder):
    data, results = folder / "data", folder / "results"
    given = {"params": folder / "params.yaml"} | {name: data / name for name in stats_stage.FOLDERS}
    given |= {"roster": data / "models", "tables": results / "tables"}
    given |= {name: results / f"{name}.json" for name in ("metrics", "provenance")}
    stats_stage.main([f"--{name}={place}" for name, place in given.items()])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    tiny_study.write_study(folder / "data")
    run_all(folder)
    return folder


def table_of(folder, name):
    return read_csv(folder / "results" / "tables" / f"{name}.csv")


def test_stage_writes_every_table_with_its_columns(finished):
    names = {path.stem for path in (finished / "results" / "tables").iterdir()}
    assert names == set(TABLES) | OTHERS
    for name, columns in TABLES.items():
        assert list(table_of(finished, name).columns) == columns


def test_harder_tasks_enter_agreement_and_no_summary(finished, tmp_path_factory):
    with_hard, plain = tmp_path_factory.mktemp("hard"), tmp_path_factory.mktemp("plain")
    tiny_study.write_study(with_hard / "data", hard=("net", "other"))
    tiny_study.write_study(plain / "data")
    for folder in (with_hard, plain):
        run_all(folder, human__source="none")
    # without answers the slopes are the same, and so is every table but those that compare conditions
    for path in (plain / "results" / "tables").iterdir():
        if path.stem not in ("conditions", "difficulty", "difficulty_by_gap"):
            assert path.read_bytes() == (with_hard / "results" / "tables" / path.name).read_bytes(), path.stem
    run_all(with_hard)
    rows = table_of(with_hard, "conditions").query("backend == 'oracle'").set_index(["model", "condition"])
    assert rows["n_units"].tolist() == [24] * 4
    assert rows["n_annotated"].tolist() == [12] * 4
    hard = rows.xs("hard85", level="condition")
    assert (hard[["mis_drop_low", "his_drop"]] > 0).all(axis=None)
    natural = rows.xs("natural", level="condition")
    by_hand = natural["mis_mean"] - hard["mis_mean"]
    assert hard["mis_drop"].to_numpy() == pytest.approx(by_hand.to_numpy(), abs=1e-5)
    assert hard["his_drop"].to_numpy() == pytest.approx((natural["his_mean"] - hard["his_mean"]).to_numpy(), abs=1e-5)
    agreed = table_of(with_hard, "agreement").query("level == 'unit' and backend == 'oracle'").set_index("units")["n"]
    # 24 units under two conditions; 6 of them, under both, fit the slope
    assert agreed.to_dict() == {"all": 48, "outside_split": 36}
    assert table_of(with_hard, "his_models")["condition"].tolist() == ["hard85", "natural"] * 2


@pytest.mark.parametrize("names", [["net", "controls", "shuffled"], ["controls"]])
def test_a_similarity_may_lack_networks(tmp_path, names):
    whole, kept = tmp_path / "whole", tmp_path / "kept"
    for folder in (whole, kept):
        tiny_study.write_study(folder / "data")
    path = kept / "data/scores/null.parquet"
    table = pq.read_table(path)
    named = pc.is_in(table["model"], pa.array(names, table.schema.field("model").type))
    pq.write_table(table.filter(named), path)
    for folder in (whole, kept):
        run_all(folder, human__source="none")
    models = table_of(kept, "models")
    assert models.loc[models["backend"] == "null", "model"].tolist() == names
    lead = [table.query("backend == 'oracle'").reset_index(drop=True) for table in (models, table_of(whole, "models"))]
    pd.testing.assert_frame_equal(*lead)
    # pairs of similarities hold what both have scored
    pairs = [table_of(folder, "backend_agreement")["n_units"].tolist() for folder in (whole, kept)]
    assert pairs == [[48], [24 if "net" in names else 0]]


def test_one_sided_tasks_enter_no_table_but_that_of_conditions(tmp_path):
    both, plain = tmp_path / "both", tmp_path / "plain"
    tiny_study.write_study(both / "data", one_sided=("net", "controls"))
    tiny_study.write_study(plain / "data")
    for folder in (both, plain):
        run_all(folder)
    for path in (plain / "results" / "tables").iterdir():
        if path.stem != "conditions":
            assert path.read_bytes() == (both / "results" / "tables" / path.name).read_bytes(), path.stem
    for name in ("metrics.json",):
        assert (plain / "results" / name).read_bytes() == (both / "results" / name).read_bytes()
    rows = table_of(both, "conditions").query("backend == 'oracle' and model == 'net'").set_index("condition")
    assert rows["n_units"].tolist() == [24, 24]
    assert rows.loc["one_sided", "n_annotated"] == 0
    means = rows["mis_mean"]
    assert rows.loc["one_sided", "mis_drop"] == pytest.approx(means["natural"] - means["one_sided"], abs=1e-5)


def test_layers_of_other_types_enter_agreement_alone(finished, tmp_path):
    (tmp_path / "data").symlink_to(finished / "data")
    tiny_study.write_params(tmp_path / "params.yaml", ROOT, units__layer_types=["Conv"])
    run_stats(tmp_path)
    models = table_of(tmp_path, "models").query("backend == 'oracle'").set_index("model")["n_units"]
    whole = table_of(finished, "models").query("backend == 'oracle'").set_index("model")["n_units"]
    # 8 of 24 units are in the linear layer; planted controls have no listed type and stay
    assert models[["net", "other", "shuffled"]].tolist() == [16, 16, 16]
    assert models["controls"] == whole["controls"]
    assert set(table_of(tmp_path, "layers")["layer_type"]) == {"Conv"}
    agreed = (table_of(folder, "agreement") for folder in (tmp_path, finished))
    pd.testing.assert_frame_equal(*agreed)


def test_rankings_and_agreement_leave_steps_and_controls_out(finished):
    for name in ("layer_types", "network_tests"):
        table = table_of(finished, name)
        column = "model" if name == "layer_types" else "first"
        assert set(table[column]) <= {"net", "other"}
    agreed = table_of(finished, "agreement")
    assert agreed.loc[agreed["level"] == "unit", "n"].tolist() == [24, 18] * 2
    assert set(table_of(finished, "layers")["model"]) == {"net-step0", "net", "other"}
    models = table_of(finished, "models")
    assert models["model"].drop_duplicates().tolist() == ["net-step0", "net", "other", "controls", "shuffled"]
    assert models.loc[models["model"] == "controls", "n_constant"].tolist() == [2, 2]
    assert table_of(finished, "network_tests")["backend"].tolist() == ["oracle", "null", "human"]


def test_planted_truth_is_found(finished):
    controls = table_of(finished, "controls").set_index(["backend", "control", "factor"])
    for backend in tiny_study.BACKENDS:
        assert controls.loc[(backend, "hash", ""), "passed"] == 1
        assert controls.loc[(backend, "constant", ""), "passed"] == 1
        assert controls.loc[(backend, "permuted:net", ""), "passed"] == 1
    assert controls.loc[("oracle", "mixture_1", ""), "mis_mean"] > 0.6
    assert controls.loc[("oracle", "duplicate", ""), "passed"] == 1
    assert controls.loc[("null", "mixture_1", ""), "expectation"] == "none: the backend sees 0 of 8 factors"
    training = table_of(finished, "training")
    assert training["model"].tolist() == ["net-step0", "net"] * 2
    metrics = read_json(finished / "results" / "metrics.json")
    assert metrics["trained_minus_untrained"] > 0.05
    # six units tell no slope, but the agreement is there
    assert metrics["slopes_identified"] == 0
    agreed = table_of(finished, "agreement").query("level == 'unit' and units == 'outside_split'")
    assert agreed.set_index("backend")["pearson"]["oracle"] > 0.5
    assert metrics["n_failed"] == 1
    assert isinstance(metrics["n_units"], int)


def test_scores_of_extreme_units_are_those_of_the_study(finished):
    extreme = table_of(finished, "extreme_units")
    assert extreme.groupby(["backend", "model", "end"]).size().tolist() == [3] * 8
    scores = read_parquet(finished / "data" / "mis" / "units.parquet").astype({"layer": object})
    extreme["layer"] = extreme["layer"].map(lambda name: "0.10" if name == 0.1 else str(name))
    joined = extreme.merge(scores, on=["backend", "model", "layer", "unit", "condition"], suffixes=("", "_scored"))
    assert len(joined) == len(extreme)
    assert joined["mis"].tolist() == pytest.approx(joined["mis_scored"].tolist(), rel=1e-5)
    ranked = table_of(finished, "ranking")
    assert ranked["group"].tolist() == list(schema.GROUPS) * 4


def test_answers_of_simulated_observers_meet_the_margins_of_their_tasks(finished):
    table = table_of(finished, "trials").set_index("backend")
    assert set(table["margin_of"]) == {"task"}
    assert table["n"].tolist() == [2 * 12 * 20] * 2
    people = read_parquet(finished / "data" / "human" / "responses.parquet")
    assert set(people["task"]) == set(range(tiny_study.N_TASKS))
    key = ["model", "layer", "unit", "condition"]
    for backend in tiny_study.BACKENDS:
        margins = read_parquet(finished / "data" / "scores" / f"{backend}.parquet", [*key, "margins"])
        joined = people.merge(margins, on=key)
        own = [row[task] for row, task in zip(joined["margins"], joined["task"], strict=True)]
        expected = stats.pointbiserialr(joined["correct"], own).statistic
        assert table.loc[backend, "point_biserial"] == pytest.approx(expected, rel=1e-4)


def test_side_tables_pass_through_as_they_are(finished):
    folder = finished / "results" / "tables"
    assert (folder / "failures.csv").read_text() == "model,stage,reason\nlost,models,no weights\n"
    assert (folder / "rejected_images.csv").read_text() == "path,reason\nbroken.png,empty file\n"
    # a layer called 0.10 keeps its name
    assert "net,oracle,0.10,Conv" in (folder / "layers.csv").read_text()


def test_stage_writes_the_same_bytes_again(finished, tmp_path):
    results = finished / "results"
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    run_stats(finished)
    assert before == {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}


def test_study_without_people_has_every_table(tmp_path):
    tiny_study.write_study(tmp_path / "data")
    run_all(tmp_path, human__source="none")
    for name in ("agreement", "noise_ceiling", "his_models", "calibration_splits"):
        assert len(table_of(tmp_path, name)) == 0
    assert set(table_of(tmp_path, "backends")["status"]) == {"not calibrated"}
    metrics = read_json(tmp_path / "results" / "metrics.json")
    assert "pearson_unit_oracle" not in metrics
    assert metrics["slopes_identified"] == 0
    assert "slope_oracle" not in metrics
    # without answers all levels are a convention, and stand as they are
    assert table_of(tmp_path, "backends")["mis_mean"].notna().all()
    assert table_of(tmp_path, "backend_agreement")["mean_diff"].notna().all()


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """The study with so many units in the split that answers tell the slope of the oracle; near copies are left out."""
    folder = tmp_path_factory.mktemp("calibrated")
    tiny_study.write_study(folder / "data")
    run_all(folder, calibration__fraction=0.8, calibration__n_splits=40, mis__drop_near_duplicates=True)
    return folder


def test_levels_have_ranges_where_the_slope_is_identified(calibrated):
    fitted = table_of(calibrated, "calibration").set_index("backend")
    assert fitted["status"].tolist() == ["calibrated", "not identified"]
    assert fitted["identified"].tolist() == [1, 0]
    models = table_of(calibrated, "models").set_index(["backend", "model"])
    assert set(models["slope_status"]["oracle"]) == {"calibrated"}
    assert models.loc["null", RANGE_COLUMNS].isna().all(axis=None)
    splits = read_parquet(calibrated / "data/calibration/splits.parquet").query("backend == 'oracle'")["slope"]
    ends = {"slope": fitted.loc["oracle", ["low", "high"]], "splits": np.quantile(splits, [0.025, 0.975])}
    scores = read_parquet(calibrated / "data/scores/oracle.parquet")
    levels = {}
    for model, units in scores.groupby("model", observed=True):
        near = np.zeros((len(units), tiny_study.N_TASKS), dtype=bool)
        for row, tasks in enumerate(units["near"]):
            near[row, np.asarray(tasks, int)] = True
        for kind, slopes in ends.items():
            for end, slope in zip(("low", "high"), slopes, strict=True):
                levels[model, f"mis_{kind}_{end}"] = unit_scores(np.stack(units["margins"]), slope, near, True)[
                    "mis"
                ].mean()
    for model in ("net-step0", "net", "other"):
        for column in RANGE_COLUMNS:
            assert models.loc[("oracle", model), column] == pytest.approx(levels[model, column], abs=1e-5)
    # both ranked networks have 24 units
    for column in RANGE_COLUMNS:
        pooled = (levels["net", column] + levels["other", column]) / 2
        assert fitted.loc["oracle", column] == pytest.approx(pooled, abs=1e-5)
    metrics = read_json(calibrated / "results" / "metrics.json")
    assert metrics["mis_mean_low"] < metrics["mis_mean"] < metrics["mis_mean_high"]
    assert metrics["mis_mean_low"] == pytest.approx(fitted.loc["oracle", "mis_slope_low"], rel=1e-5)
    assert metrics["slope_oracle"] == pytest.approx(fitted.loc["oracle", "slope"], rel=1e-5)
    assert not {"slope_null", "pearson_unit_null"} & set(metrics)


def test_no_level_without_a_slope_is_compared(calibrated):
    backends = table_of(calibrated, "backends").set_index("backend")
    compared = ["mis_mean", "mean_diff_lead", "mean_abs_diff_lead"]
    assert backends.loc["oracle", compared].notna().all()
    assert backends.loc["null", compared].isna().all()
    assert backends.loc["null", ["accuracy_mean", "margin_mean", "spearman_lead"]].notna().all()
    pair = table_of(calibrated, "backend_agreement").iloc[0]
    assert np.isfinite(pair["spearman"])
    assert (pair[["mean_diff", "mean_diff_low", "mean_diff_high", "mean_abs_diff"]] == "").all()


def test_agreement_stands_beside_a_slope_as_a_mark_of_its_own(calibrated):
    fitted = table_of(calibrated, "calibration").set_index("backend")
    agreed = (
        table_of(calibrated, "agreement").query("level == 'unit' and units == 'outside_split'").set_index("backend")
    )
    columns = ["pearson", "pearson_low", "pearson_high"]
    np.testing.assert_array_equal(fitted[columns].to_numpy(float), agreed.loc[fitted.index, columns].to_numpy(float))
    by_hand = pd.DataFrame({"backend": list("abcd"), "level": "unit", "units": "outside_split", "pearson": 0.3})
    by_hand = by_hand.assign(pearson_low=[0.1, -0.1, -0.5, np.nan], pearson_high=[0.5, 0.5, -0.2, np.nan])
    marks = similarities.with_second_mark(pd.DataFrame({"backend": list("abcde")}), by_hand)["agrees"]
    # an interval below 0 excludes it, but is no agreement
    assert marks.tolist() == [1, 0, 0, pd.NA, pd.NA]


def test_human_means_of_networks_are_those_of_their_units(finished):
    table = table_of(finished, "his_models").set_index("model")
    assert table["n_units"].to_dict() == {"net": 12, "other": 12}
    units = read_parquet(finished / "data" / "human" / "units.parquet")
    for model, rows in units.groupby("model"):
        assert table.loc[model, "his_mean"] == pytest.approx(rows["his"].mean(), rel=1e-5)
        for interval in ("", "these_", "bca_"):
            ends = table.loc[model, [f"{interval}low", f"{interval}high"]]
            assert ends.iloc[0] < table.loc[model, "his_mean"] < ends.iloc[1]


def people_table(folder, model, units):
    """A table of answers to units of one network, natural and synthetic, 20 a unit."""
    rng = np.random.default_rng(0)
    rows = [
        (model, layer, unit, condition, f"p{person}", person % 5, bool(rng.random() < 0.8))
        for layer, unit in units
        for condition in ("natural", "synthetic")
        for person in range(20)
    ]
    names = ["model", "layer", "unit", "condition", "participant", "task", "correct"]
    pd.DataFrame(rows, columns=names).to_csv(folder / "answers.csv", index=False)


def test_people_who_answered_other_units_leave_the_study_running(tmp_path, caplog):
    tiny_study.write_study(tmp_path / "data")
    people_table(tmp_path, "inception_v1", [("4e, 3x3", unit) for unit in range(30)])
    run_all(tmp_path, human__source="table", human__table__file="answers.csv", images__source="folder")
    text = "60 of 60 units with human answers have no score and are left out: inception_v1 natural 30, inception_v1 synthetic 30"
    assert caplog.text.count(text) == 2  # ceiling, stats
    assert (
        "30 of 30 units with human answers have no score and are left out: inception_v1 natural 30\n" in caplog.text
    )  # calibration
    assert "no annotated unit has a score: slopes are not calibrated" in caplog.text
    assert set(table_of(tmp_path, "backends")["status"]) == {"not calibrated"}
    assert len(table_of(tmp_path, "agreement").dropna()) == 0
    assert table_of(tmp_path, "his_models")["condition"].tolist() == ["natural", "synthetic"]


def test_people_some_of_whose_units_are_scored_calibrate_on_those(tmp_path, caplog):
    tiny_study.write_study(tmp_path / "data")
    people_table(tmp_path, "net", [(layer, unit) for layer in ("0.10", "0.2", "gone") for unit in range(8)])
    run_all(
        tmp_path,
        human__source="table",
        human__table__file="answers.csv",
        images__source="folder",
        calibration__fraction=0.5,
    )
    # 16 of the units have tasks, with natural explanations alone
    assert "32 of 48 units with human answers have no score and are left out" in caplog.text
    split = read_parquet(tmp_path / "data" / "calibration" / "split.parquet")
    assert len(split) == 8
    assert set(split["condition"]) == {"natural"}
    assert table_of(tmp_path, "calibration")["n_units"].tolist() == [8, 8]
    agreed = table_of(tmp_path, "agreement")
    assert agreed.loc[agreed["level"] == "unit", "n"].tolist() == [16, 8] * 2
    assert "V4w" in set(table_of(tmp_path, "noise_ceiling")["variant"])
    # people saw other tasks than those scored here, although theirs have numbers too
    assert table_of(tmp_path, "trials")["margin_of"].tolist() == ["unit", "unit"]
    assert set(table_of(tmp_path, "trial_calibration")["margin_of"]) == {"unit"}
    assert table_of(tmp_path, "his_models")["n_units"].tolist() == [24, 24]


def test_interval_of_a_human_mean_is_that_of_scipy_and_does_not_depend_on_the_order():
    rng = np.random.default_rng(0)
    people = pd.DataFrame({"model": "m", "condition": "natural", "his": rng.beta(8, 2, 80)})
    table = machine_beside_human.his_summary(people, 0, 2000, 0.95)
    again = machine_beside_human.his_summary(people.sample(frac=1, random_state=1), 0, 2000, 0.95)
    pd.testing.assert_frame_equal(table, again)
    row = table.iloc[0]
    # a normal interval of 80 units; BCa leans a little to the side of the longer tail
    reach = 1.96 * people["his"].std() / np.sqrt(80)
    assert row["bca_high"] - row["bca_low"] == pytest.approx(2 * reach, rel=0.1)
    assert row["bca_low"] == pytest.approx(row["his_mean"] - reach, abs=0.005)
    # t(79) = 1.990450, on the scale of the logit
    mean = row["his_mean"]
    wide = 1.990450 * people["his"].std() / np.sqrt(80) / (mean * (1 - mean))
    ends = expit(np.log(mean / (1 - mean)) + np.array([-wide, wide]))
    assert row[["these_low", "these_high"]].tolist() == pytest.approx(ends.tolist(), rel=1e-6)
    # other people are known from answers alone
    assert row[["low", "high"]].isna().all()


def test_human_means_without_spread_or_units_have_no_interval():
    people = pd.DataFrame({"model": ["a"] * 5 + ["b"] * 2, "condition": "natural", "his": [0.8] * 5 + [0.5, 0.7]})
    table = machine_beside_human.his_summary(people, 0, 100, 0.95)
    assert table["his_mean"].tolist() == pytest.approx([0.8, 0.6])
    assert table[["low", "these_low", "bca_low"]].isna().all().all()
    assert (
        list(machine_beside_human.his_summary(people.iloc[:0], 0, 100, 0.95).columns)
        == machine_beside_human.HIS_COLUMNS
    )


def test_missing_side_file_is_named(finished):
    for name in ("tasks/constant_units.csv", "models/failures.csv", "sensitivity/settings.parquet"):
        path = finished / "data" / name
        hidden = path.rename(path.with_suffix(".hidden"))
        try:
            with pytest.raises(InputError, match=f"{path.name}: no such file"):
                run_stats(finished)
        finally:
            hidden.rename(path)
