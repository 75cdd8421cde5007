"""Fit of the slope."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from interpretability.design import drawn_studies
from interpretability.errors import InputError
from interpretability.mis import probabilities
from interpretability.people import agreement, calibration, calibration_splits, ceiling_shares
from interpretability.randomness import generator
from interpretability.schema import KEY
from stages import calibration as calibration_stage
from stages import human
from study.files.tables import read_json, read_parquet, write_parquet
from study.people import fitting
from tests.helpers import tiny_study
from tests.helpers.rules import ROOT


def annotated(n):
    return pd.DataFrame(
        {"model": "net", "layer": [f"l{i % 3}" for i in range(n)], "unit": range(n), "condition": "natural"}
    )


def noise_free(n_units=40, slope=6.25, seed=0):
    margins = np.random.default_rng(seed).normal(0.25, 0.2, size=(n_units, 20))
    return margins, probabilities(margins, slope).mean(axis=1)


@pytest.mark.parametrize("objective", calibration.OBJECTIVES)
def test_slope_of_noise_free_answers_is_found(objective):
    margins, his = noise_free()
    fit = calibration.fit_slope(margins, his, objective)
    assert fit.slope == pytest.approx(6.25, abs=1e-3)
    assert fit.loss == pytest.approx(0.0, abs=1e-12)
    assert (fit.n_units, fit.at_bound) == (40, False)


@pytest.mark.parametrize("objective", calibration.OBJECTIVES)
def test_scale_of_the_margins_cancels(objective):
    margins, his = noise_free()
    his = np.clip(his + np.random.default_rng(1).normal(0, 0.05, size=his.shape), 0, 1)
    plain = calibration.fit_slope(margins, his, objective)
    scaled = calibration.fit_slope(margins * 10, his, objective)
    assert scaled.slope == pytest.approx(plain.slope / 10, rel=1e-6)
    np.testing.assert_allclose(
        probabilities(margins * 10, scaled.slope), probabilities(margins, plain.slope), atol=1e-6
    )


@settings(max_examples=25, deadline=None)
@given(st.floats(0.05, 200), st.integers(0, 1000))
def test_any_slope_inside_the_bounds_is_recovered(slope, seed):
    # margins on the scale of 1 / slope, so that no probability saturates
    margins = np.random.default_rng(seed).normal(1.0, 1.0, size=(25, 10)) / slope
    fit = calibration.fit_slope(margins, probabilities(margins, slope).mean(axis=1), "squared_error")
    assert fit.slope == pytest.approx(slope, rel=1e-4)


def test_squared_error_is_that_of_the_units():
    # one unit at his .75, margin 1: best slope ln 3. A second one at .65 pulls to the mean: sigmoid(b) = .7
    fit = calibration.fit_slope(np.array([[1.0], [1.0]]), np.array([0.75, 0.65]), "squared_error")
    assert fit.slope == pytest.approx(np.log(7 / 3), rel=1e-5)
    assert fit.loss == pytest.approx(0.05**2)


def test_moments_match_mean_and_spread_whatever_the_pairing():
    margins, his = noise_free()
    shuffled = calibration.fit_slope(margins, his[::-1], "moments")
    assert shuffled.slope == pytest.approx(6.25, abs=1e-3)
    assert calibration.fit_slope(margins, his[::-1], "squared_error").slope != pytest.approx(6.25, abs=0.1)


@pytest.mark.parametrize(("his", "bound"), [(1.0, 1), (0.5, 0), (0.2, 0)])
def test_slope_at_a_bound_is_flagged(his, bound):
    # positive margins: answers all right ask for an infinite slope, answers at or below chance for none
    fit = calibration.fit_slope(np.full((3, 4), 0.01), np.full(3, his), "squared_error")
    assert fit.at_bound
    assert fit.slope == pytest.approx(calibration.SLOPE_BOUNDS[bound], rel=1e-3)


def test_margins_without_information_are_flagged():
    assert calibration.fit_slope(np.zeros((3, 4)), np.full(3, 0.8), "squared_error").at_bound


def test_loss_curve_has_its_minimum_at_the_fit():
    margins, his = noise_free()
    curve = calibration.loss_curve(margins, his, "squared_error")
    assert curve["slope"].iloc[[0, -1]].tolist() == pytest.approx(calibration.SLOPE_BOUNDS)
    best = curve["slope"][curve["loss"].idxmin()]
    step = curve["slope"][1] / curve["slope"][0]
    assert 1 / step < best / calibration.fit_slope(margins, his, "squared_error").slope < step


def test_interval_covers_the_slope_about_as_often_as_it_says():
    # 120 splits of 8 units with answers of 30 people: nominal 95 %, three standard errors are 6 %
    population = np.random.default_rng(3)
    covered = 0
    for repeat in range(120):
        margins = population.normal(population.gamma(2, 0.15, size=(8, 1)), 0.2, size=(8, 10))
        his = population.binomial(30, probabilities(margins, 6.25).mean(axis=1)) / 30
        low, high = calibration.slope_interval(margins, his, "squared_error", generator(repeat, "test"), 60, 0.95)
        covered += low <= 6.25 <= high
    assert covered / 120 >= 0.89


@pytest.mark.parametrize("objective", calibration.OBJECTIVES)
def test_bootstrap_equals_a_fit_of_every_sample(objective):
    margins, his = noise_free(12)
    his = np.random.default_rng(4).binomial(30, his) / 30
    low, high = calibration.slope_interval(margins, his, objective, generator(0, "test"), 40, 0.95)
    drawn = generator(0, "test").integers(12, size=(40, 12))
    fitted = [np.log(calibration.fit_slope(margins[rows], his[rows], objective).slope) for rows in drawn]
    reach = stats.t.ppf(0.975, 11) * np.std(fitted, ddof=1)
    centre = np.log(calibration.fit_slope(margins, his, objective).slope)
    # a parabola on the grid stands in for the polished minimum
    assert np.log([low, high]) == pytest.approx([centre - reach, centre + reach], abs=5e-3)


def test_interval_narrows_with_units_and_is_nan_for_one():
    margins, his = noise_free(80)
    noisy = np.random.default_rng(2).binomial(30, his) / 30
    widths = []
    for n in (10, 80):
        low, high = calibration.slope_interval(margins[:n], noisy[:n], "squared_error", generator(0, "test"), 200, 0.95)
        widths.append(np.log(high / low))
    assert widths[1] < widths[0] / 2
    single = calibration.slope_interval(margins[:1], his[:1], "squared_error", generator(0, "t"), 200, 0.95)
    assert np.isnan(single).all()


def test_split_is_a_share_of_the_units_and_ignores_their_order():
    units = annotated(400)
    mask = calibration.draw_split(units, 0.05, 0, 20, False)
    assert mask.sum() == 20
    shuffled = units.sample(frac=1, random_state=1)
    again = shuffled[calibration.draw_split(shuffled, 0.05, 0, 20, False)]
    assert set(again["unit"]) == set(units["unit"][mask])
    assert set(units["unit"][calibration.draw_split(units, 0.05, 1, 20, False)]) != set(units["unit"][mask])


def test_a_unit_is_drawn_with_all_its_conditions():
    natural = annotated(400)
    both = pd.concat([natural, natural[::2].assign(condition="hard85")], ignore_index=True)
    mask = calibration.draw_split(both, 0.05, 0, 20, False)
    drawn = set(both["unit"][mask])
    # the same 20 units as without the harder condition, whose rows come along
    assert drawn == set(natural["unit"][calibration.draw_split(natural, 0.05, 0, 20, False)])
    assert len(drawn) == 20
    assert mask.sum() == both["unit"].isin(drawn).sum() > 20


def test_split_of_too_few_units_names_the_parameters():
    with pytest.raises(InputError, match=r"^fraction 0.05.*min_units 20.*0.2.*allow_few"):
        calibration.draw_split(annotated(100), 0.05, 0, 20, False)
    assert calibration.draw_split(annotated(100), 0.05, 0, 20, True).sum() == 5
    with pytest.raises(InputError, match="annotate more units"):
        calibration.draw_split(annotated(10), 0.05, 0, 20, False)


def test_unknown_objective_and_wrong_shapes_are_errors():
    with pytest.raises(ValueError, match="allowed are squared_error, moments"):
        calibration.fit_slope(np.zeros((2, 2)), np.zeros(2), "median")
    with pytest.raises(ValueError, match="need margins"):
        calibration.fit_slope(np.zeros((2, 2)), np.zeros(3), "moments")
    with pytest.raises(ValueError, match="finite"):
        calibration.fit_slope(np.zeros((2, 2)), np.array([0.1, np.nan]), "moments")


def drawn_study(**changes):
    """A simulated study: margins (units, tasks) and its units."""
    study = drawn_studies.draw_study(
        drawn_studies.Design(**{"n_models": 3, "n_units": 30, **changes}), generator(0, "study")
    )
    return study.margins.reshape(-1, study.margins.shape[2]), drawn_studies.units_frame(study, 6.25)


def test_splits_are_random_sets_of_the_given_size():
    splits = calibration.draw_splits(30, 6, 2000, generator(0, "splits"))
    assert splits.shape == (2000, 30)
    assert (splits.sum(axis=1) == 6).all()
    # every unit in a fifth of the splits, standard error .009
    assert splits.mean(axis=0) == pytest.approx(np.full(30, 0.2), abs=0.04)
    assert len({tuple(split) for split in splits}) > 1900


@pytest.mark.parametrize("objective", calibration.OBJECTIVES)
def test_results_of_a_split_are_those_of_a_study_with_that_split(objective):
    margins, units = drawn_study()
    splits = calibration.draw_splits(len(units), 20, 4, generator(0, "splits"))
    found = calibration.split_results(margins, units, splits, objective)
    assert found["split"].tolist() == [0, 1, 2, 3]
    for row, split in zip(found.itertuples(), splits, strict=True):
        slope = calibration.fit_slope(margins[split], units["his"][split], objective).slope
        assert row.slope == pytest.approx(slope, rel=1e-2)
        scored = units.assign(mis=probabilities(margins, row.slope).mean(axis=1), in_split=split)
        table = agreement.agreement_table(scored, 0, 10, 0.95).set_index(["level", "units"])
        assert row.pearson == pytest.approx(table.loc[("unit", "outside_split"), "pearson"])
        assert row.spearman == pytest.approx(table.loc[("unit", "outside_split"), "spearman"])
        shares = ceiling_shares.share_table(scored, 0, 10, 0.95).set_index("subset")
        assert row.share_of_ceiling == pytest.approx(shares.loc["all", "share"])
        assert row.mis_mean == pytest.approx(scored.groupby("model", observed=True)["mis"].mean().mean())


def test_summary_of_splits_by_hand():
    values = {name: [1.0, 2.0, 3.0, np.nan] for name in calibration_splits.SPLIT_QUANTITIES}
    table = calibration_splits.split_summary(pd.DataFrame({"backend": "b", "split": range(4), **values}), 0.5)
    assert list(table.columns) == calibration_splits.SUMMARY_COLUMNS
    assert table["quantity"].tolist() == list(calibration_splits.SPLIT_QUANTITIES)
    # central half of 1, 2, 3
    assert table.iloc[0, 2:].tolist() == pytest.approx([2, 1, 1.5, 2.5, 3])


def test_larger_splits_agree_more():
    margins, units = drawn_study()
    spread = [
        calibration.split_results(
            margins, units, calibration.draw_splits(len(units), n, 60, generator(0, "splits")), "squared_error"
        )["slope"].std()
        for n in (10, 40)
    ]
    assert spread[1] < 0.6 * spread[0]


# ---- the stage


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    tiny_study.write_study(folder / "data")
    tiny_study.write_params(folder / "params.yaml", ROOT)
    data = folder / "data"
    places = {"tasks": data / "tasks", "images": data / "images", "roster": data / "models" / "roster.csv"}
    arguments = [f"--{name}={path}" for name, path in places.items()]
    places = {"params": folder / "params.yaml", "external": folder, "names": folder, "out": data / "human"}
    human.main([*(f"--{name}={path}" for name, path in places.items()), *arguments])
    return folder


def run_stage(study, out, people=None, **changes):
    tiny_study.write_params(out.parent / "params.yaml", ROOT, **changes)
    folders = {"scores": study / "data" / "scores", "human": people or study / "data" / "human", "out": out}
    calibration_stage.main(
        [f"--params={out.parent / 'params.yaml'}", *(f"--{name}={path}" for name, path in folders.items())]
    )
    return read_json(out / "slope.json")


def test_stage_fits_every_backend_on_one_split(study, tmp_path):
    slopes = run_stage(study, tmp_path / "calibration")
    assert set(slopes) == set(tiny_study.BACKENDS)
    oracle = slopes["oracle"]
    # a quarter of 24 units; of the null hardly any slope differs from another, of the oracle too many do
    assert [slopes[name]["n_units"] for name in tiny_study.BACKENDS] == [6, 6]
    assert [slopes[name]["status"] for name in tiny_study.BACKENDS] == ["not identified"] * 2
    assert oracle["ratio"] == pytest.approx(oracle["high"] / oracle["low"], rel=1e-4)
    assert oracle["reason"].startswith(f"the interval spans a factor of {oracle['ratio']:.3g} (below 5 is needed)")
    assert oracle["gain_t"] > 2
    assert oracle["low"] < oracle["slope"] < oracle["high"]
    assert oracle["temperature"] == pytest.approx(1 / oracle["slope"], rel=1e-4)
    split = read_parquet(tmp_path / "calibration" / "split.parquet")
    assert list(split.columns) == KEY
    assert len(split) == 6
    # the fit again, from the files
    units = read_parquet(study / "data" / "human" / "units.parquet").merge(split, on=KEY)
    scores = read_parquet(study / "data" / "scores" / "oracle.parquet").merge(units, on=KEY)
    fit = calibration.fit_slope(np.stack(scores["margins"]), scores["his"].to_numpy(), "squared_error")
    assert oracle["slope"] == pytest.approx(fit.slope, rel=1e-5)
    splits = read_parquet(tmp_path / "calibration" / "splits.parquet")
    assert splits.groupby("backend").size().to_dict() == dict.fromkeys(tiny_study.BACKENDS, 5)
    assert splits.loc[splits["backend"] == "oracle", "pearson"].between(0.2, 1).all()
    curve = read_parquet(tmp_path / "calibration" / "curve.parquet")
    assert curve["backend"].unique().tolist() == list(tiny_study.BACKENDS)


def test_stage_without_other_splits_says_nothing_of_them(study, tmp_path):
    run_stage(study, tmp_path / "out", calibration__n_splits=0)
    assert len(read_parquet(tmp_path / "out" / "splits.parquet")) == 0


def test_stage_without_people_takes_the_default_slope_and_says_so(study, tmp_path):
    people = tmp_path / "human"
    for name in ("units", "responses"):
        write_parquet(people / f"{name}.parquet", read_parquet(study / "data" / "human" / f"{name}.parquet").iloc[:0])
    slopes = run_stage(study, tmp_path / "out", people, calibration__default_slope=5.0)
    assert {entry["status"] for entry in slopes.values()} == {"not calibrated"}
    assert {entry["slope"] for entry in slopes.values()} == {5.0}
    for name in ("low", "high", "ratio", "gain_t"):
        assert slopes["oracle"][name] is None
    assert {entry["identified"] for entry in slopes.values()} == {False}
    assert slopes["oracle"]["reason"] == "no human answers to units that are scored"
    splits = ["backend", "split", *calibration_splits.SPLIT_QUANTITIES]
    for name, columns in (("curve", ["backend", "slope", "loss"]), ("split", KEY), ("splits", splits)):
        table = read_parquet(tmp_path / "out" / f"{name}.parquet")
        assert list(table.columns) == columns
        assert len(table) == 0


def test_default_slope_is_published_for_dreamsim_only():
    statuses = [
        fitting.unfitted_slope(name, 6.25)["status"] for name in ("dreamsim", "dreamsim-dino_vitb16", "lpips-alex")
    ]
    assert statuses == ["published", "published", "not calibrated"]
    published = fitting.unfitted_slope("dreamsim", 6.25)
    assert not published["identified"]
    assert published["reason"] == "no human answers to units that are scored; the published slope"


def test_many_units_in_the_split_tell_the_slope(study, tmp_path):
    slopes = run_stage(study, tmp_path / "out", calibration__fraction=1.0)
    assert (slopes["oracle"]["status"], slopes["oracle"]["identified"]) == ("calibrated", True)
    assert slopes["oracle"]["ratio"] < 5
    assert (slopes["null"]["status"], slopes["null"]["identified"]) == ("not identified", False)


def test_the_rule_does_not_follow_the_confidence_of_the_tables(study, tmp_path):
    slopes = [
        run_stage(study, tmp_path / f"{share}", calibration__fraction=1.0, stats__confidence=share)["oracle"]
        for share in (0.95, 0.5)
    ]
    assert slopes[1]["high"] / slopes[1]["low"] < 0.8 * slopes[1]["ratio"]
    assert slopes[0]["ratio"] == slopes[1]["ratio"]


def near_study(study, folder, emptied=0):
    """The study's scores with other near copies: the first `emptied` rows keep no task, the rest lose task 2."""
    for name in tiny_study.BACKENDS:
        table = read_parquet(study / "data" / "scores" / f"{name}.parquet")
        people = read_parquet(study / "data" / "human" / "units.parquet").head(emptied)
        gone = pd.MultiIndex.from_frame(table[KEY]).isin(pd.MultiIndex.from_frame(people[KEY]))
        table["near"] = [list(range(tiny_study.N_TASKS)) if each else [2] for each in gone]
        write_parquet(folder / "data" / "scores" / f"{name}.parquet", table)
    return folder


def test_tasks_that_are_left_out_of_scores_are_left_out_of_the_fit(study, tmp_path):
    other = near_study(study, tmp_path / "near")
    people = study / "data" / "human"
    dropped = run_stage(other, tmp_path / "drop", people, mis__drop_near_duplicates=True)["oracle"]
    kept = run_stage(other, tmp_path / "keep", people)["oracle"]
    plain = run_stage(study, tmp_path / "plain")["oracle"]
    assert kept == plain
    assert dropped["slope"] != pytest.approx(plain["slope"], rel=1e-3)
    # the fit again, from the files, over the tasks that count
    split = read_parquet(tmp_path / "drop" / "split.parquet")
    units = read_parquet(people / "units.parquet").merge(split, on=KEY)
    scores = read_parquet(study / "data" / "scores" / "oracle.parquet").merge(units, on=KEY)
    margins = np.delete(np.stack(scores["margins"]), 2, axis=1)
    fit = calibration.fit_slope(margins, scores["his"].to_numpy(), "squared_error")
    assert dropped["slope"] == pytest.approx(fit.slope, rel=1e-5)
    assert dropped["loss"] == pytest.approx(fit.loss, rel=1e-4)
    curve = read_parquet(tmp_path / "drop" / "curve.parquet").query("backend == 'oracle'")["loss"]
    expected = calibration.loss_curve(margins, scores["his"].to_numpy(), "squared_error")["loss"]
    assert curve.tolist() == pytest.approx(expected.tolist())
    others = [read_parquet(tmp_path / name / "splits.parquet")["pearson"] for name in ("drop", "keep")]
    assert (others[0] != others[1]).all()


def test_units_that_keep_no_task_take_no_part(study, tmp_path, caplog):
    other, people = near_study(study, tmp_path / "near", emptied=4), study / "data" / "human"
    slopes = run_stage(
        other,
        tmp_path / "out",
        people,
        mis__drop_near_duplicates=True,
        calibration__fraction=1.0,
        calibration__n_splits=0,
    )
    assert slopes["oracle"]["n_units"] == 20
    assert "4 of 24 annotated units keep no task where those with a near copy are left out" in caplog.text
    assert len(read_parquet(tmp_path / "out" / "split.parquet")) == 20
    every = near_study(study, tmp_path / "every", emptied=24)
    slopes = run_stage(every, tmp_path / "none", people, mis__drop_near_duplicates=True)
    assert slopes["oracle"]["status"] == "not calibrated"


def test_stage_names_what_is_missing(study, tmp_path):
    with pytest.raises(InputError, match=r"pixel.parquet: no such file, but scores.backends names pixel"):
        run_stage(study, tmp_path / "out", scores__backends=["pixel"])
    people = tmp_path / "human"
    for name in ("units", "responses"):
        write_parquet(people / f"{name}.parquet", read_parquet(study / "data" / "human" / f"{name}.parquet"))
    scores = tmp_path / "scores"
    for name in tiny_study.BACKENDS:
        table = read_parquet(study / "data" / "scores" / f"{name}.parquet")
        write_parquet(scores / f"{name}.parquet", table if name == "oracle" else table[table["layer"] == "gone"])
    (tmp_path / "other" / "data").mkdir(parents=True)
    scores.rename(tmp_path / "other" / "data" / "scores")
    with pytest.raises(InputError, match=r"null.parquet has no margins of 24 annotated units, first: model "):
        run_stage(tmp_path / "other", tmp_path / "out", people)
