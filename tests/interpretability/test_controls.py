"""Planted and permuted units: what their scores must be, and when a control fails."""

import numpy as np
import pandas as pd
import pytest

from interpretability.analysis.controls import (
    CONTROL_COLUMNS,
    controls_summary,
    dose_response_rises,
    label_controls,
    spread_bounds,
)
from interpretability.mis import unit_scores
from tests.helpers.scored_units import scored


def labels(frame):
    return frame[["model", "layer", "unit"]].assign(label=frame.pop("label"))


def planted(mis_se=0.05, **layers):
    """Units of the network of planted units: layer -> list of (label, mis)."""
    rows = [
        scored("controls", [mis], layer=layer, mis_se=mis_se).assign(unit=unit, label=label)
        for layer, units in layers.items()
        for unit, (label, mis) in enumerate(units)
    ]
    frame = pd.concat(rows, ignore_index=True)
    return frame, labels(frame)


def judged(units, names, n_constant=0, permuted=None, untrained=None):
    controls = label_controls(units, ["controls"], permuted or {}, untrained or {}, names)
    table = controls_summary(controls, n_constant, 0.95)
    return table.set_index(["control", "factor"])


def chance(n, mean=0.5, seed=0):
    """Scores of n units at `mean` whose deviations are exactly their standard error 0.05 on either side."""
    return [("", mean + 0.05 * (-1) ** unit) for unit in range(n)]


def test_hash_units_pass_at_chance_only():
    fine = judged(*planted(hash=chance(100)))
    row = fine.loc[("hash", "")]
    # deviations +-1 standard error: sd over 100 units sqrt(100 / 99)
    assert row["z_sd"] == pytest.approx(np.sqrt(100 / 99))
    assert (row["passed"], row["missed"]) == (1, "")
    # sqrt(19 / 17), and three times sqrt((2 + 6 / 15) / 400) of it on either side
    assert row["expectation"] == "mean 0.5 within 3 standard errors; z_sd near 1.057 (0.812 to 1.303)"
    # standard error .05 / sqrt(99) = .00503; three of them are .0151
    assert judged(*planted(hash=chance(100, 0.514))).loc[("hash", ""), "passed"] == 1
    assert judged(*planted(hash=chance(100, 0.516))).loc[("hash", ""), "passed"] == 0
    assert judged(*planted(hash_rectified=chance(100, 0.48))).loc[("hash_rectified", ""), "passed"] == 0


def test_units_with_ends_exchanged_pass_at_chance_only():
    assert (
        judged(*planted(**{"extremes_exchanged_0.75": chance(100)})).loc[("extremes_exchanged_0.75", ""), "passed"] == 1
    )
    row = judged(*planted(**{"extremes_exchanged_0.75": chance(100, 0.52)})).loc[("extremes_exchanged_0.75", "")]
    assert (row["passed"], row["missed"]) == (0, "mean")


def test_units_with_the_extremes_of_a_mixture_have_its_score():
    def scores(mean):
        return [("colour:cos", mean + 0.01 * (-1) ** unit) for unit in range(100)]

    def row(redealt, mis_se=0.02):
        layers = {"mixture_0.75": scores(0.7), "middle_redealt_0.75": scores(redealt)}
        return judged(*planted(mis_se, **layers)).loc[("middle_redealt_0.75", "")]

    # standard error of the difference .02 sqrt(2 / 100) = .0028, three of them .0085: .01 is more
    assert (row(0.709)["passed"], row(0.691)["passed"], row(0.711)["passed"]) == (1, 1, 0)
    assert row(0.709)["expectation"] == "0.7, as mixture_0.75, within 0.01"
    # where the tasks say less: three times .05 sqrt(2 / 100)
    assert row(0.72, mis_se=0.05)["passed"] == 1
    assert row(0.72, mis_se=0.05)["expectation"] == "0.7, as mixture_0.75, within 0.021"


CHANCE_CONTROLS = {"hash": 200, "hash_rectified": 200, "mixture_0": 256, "mixture_rectified_0": 256}


def chance_study(seed, n_tasks=20, error=1.0):
    """Units at chance, solved task by task: their controls, with standard errors `error` times those of the score."""
    draw = np.random.default_rng(seed)
    parts = [scored("controls", [0.5] * n, layer=name).assign(label="") for name, n in CHANCE_CONTROLS.items()]
    units = pd.concat(parts, ignore_index=True)
    names = labels(units)
    own = unit_scores(draw.normal(0, 0.2, (len(units), n_tasks)), 6.25)
    units = units.assign(mis=own["mis"], mis_se=error * own["mis_se"], n_tasks=n_tasks)
    return judged(units, names)


def test_bounds_of_the_spread_are_those_of_students_t():
    # sqrt(19 / 17) times 1 -+ 3 sqrt((2 + 6 / 15) / (4 n))
    assert spread_bounds([20] * 200) == pytest.approx((0.883, 1.231), abs=5e-4)
    assert spread_bounds([20] * 912) == pytest.approx((0.976, 1.139), abs=6e-4)
    assert np.isnan(spread_bounds([5, 20])).all()
    assert np.isnan(spread_bounds([])).all()
    # half of the units with 10 tasks, half with 20: moments of the mixture by simulation
    draw = np.random.default_rng(0)
    z = np.concatenate([draw.standard_t(n - 1, (2000, 100)) for n in (10, 20)], axis=1).std(axis=1, ddof=1)
    low, high = spread_bounds([10] * 100 + [20] * 100)
    assert (low + high) / 2 == pytest.approx(z.mean(), rel=0.01)
    assert (high - low) / 6 == pytest.approx(z.std(), rel=0.1)


def test_sound_scores_leave_the_bounds_in_about_four_of_a_thousand_studies():
    draw = np.random.default_rng(0)
    low, high = spread_bounds([20] * 912)
    outside = {1.0: 0, 0.9: 0, 0.8: 0}
    for _ in range(10):
        own = unit_scores(draw.normal(0, 0.08, (200 * 912, 20)), 6.25)
        z = ((own["mis"] - 0.5) / own["mis_se"]).to_numpy().reshape(200, 912).std(axis=1, ddof=1)
        for error in outside:
            outside[error] += int(((z / error < low) | (z / error > high)).sum())
    # .4 % of 2,000 studies are 8 (sd 2.8); standard errors 10 % too small are found in most, 20 % in all
    assert 1 <= outside[1.0] <= 16
    assert outside[0.9] > 1600
    assert outside[0.8] == 2000


def test_standard_errors_that_are_too_small_fail_in_the_pooled_control():
    sound, wrong = chance_study(0), chance_study(0, error=0.8)
    pooled = ("chance_pooled", "")
    assert sound.loc[pooled, ["n_units", "n_z", "passed", "missed"]].tolist() == [912, 912, 1, ""]
    assert (sound["passed"].dropna() == 1).all()
    assert wrong.loc[pooled, ["passed", "missed"]].tolist() == [0, "z_sd"]
    assert wrong.loc[pooled, "z_sd"] == pytest.approx(sound.loc[pooled, "z_sd"] / 0.8)
    # the same units: what is wrong with the errors is not said of the mean
    assert wrong.loc[pooled, "mis_mean"] == sound.loc[pooled, "mis_mean"]
    assert (chance_study(0, error=1.3).loc[pooled, ["passed", "missed"]] == [0, "z_sd"]).all()


def test_a_missed_mean_and_a_missed_spread_are_told_apart():
    names = ("", 0.5), ("", 0.5)
    moved = chance(100, 0.52)
    assert judged(*planted(hash=moved)).loc[("hash", ""), "missed"] == "mean"
    assert judged(*planted(0.02, hash=moved)).loc[("hash", ""), "missed"] == "mean and z_sd"
    # one control alone is not pooled with itself
    assert "chance_pooled" not in judged(*planted(hash=names)).index.get_level_values("control")


def test_units_without_a_spread_count_in_the_mean_alone():
    flat = chance_study(0).loc[("hash", "")]
    units, names = planted(hash=[*chance(50), ("", 0.5), ("", 0.5)])
    units.loc[50, "mis_se"], units.loc[51, "mis_se"] = 0.0, np.nan
    row = judged(units, names).loc[("hash", "")]
    assert (row["n_units"], row["n_z"], row["passed"]) == (52, 50, 1)
    assert row["mis_mean"] == pytest.approx(0.5)
    assert (row["z_low"], row["z_high"]) == pytest.approx(spread_bounds([20] * 50))
    assert flat["n_z"] == flat["n_units"]
    none = judged(units.assign(mis_se=0.0, mis=0.5), names).loc[("hash", "")]
    assert none["passed"] == 1
    assert none["expectation"].endswith("z_sd not checked, as no unit has a spread over more than 5 tasks")


def test_few_or_sure_tasks_leave_the_spread_unchecked():
    few = chance_study(0, n_tasks=5).loc[("chance_pooled", "")]
    assert few[["z_sd", "z_low", "z_high"]].isna().all()
    assert few["expectation"].endswith("z_sd not checked, as no unit has a spread over more than 5 tasks")
    assert chance_study(0, n_tasks=6).loc[("chance_pooled", ""), "z_low"] > 0
    # two of a hundred units are sure of all their tasks, where their errors are next to nothing
    units, names = planted(hash=chance(100))
    units.loc[:1, "mis"], units.loc[:1, "mis_se"] = [1.0, 0.0], 1e-80
    row = judged(units, names).loc[("hash", "")]
    assert (row["n_z"], row["passed"]) == (98, 1)
    assert row["expectation"].endswith("z_sd not checked, as 2 of the units are sure of every task")


def mixtures(*means, factor="colour:cos", family="mixture"):
    rhos = ("0", "0.25", "0.5", "0.75", "1")
    return {
        f"{family}_{rho}": [(factor, mean + 0.01), (factor, mean - 0.01)] for rho, mean in zip(rhos, means, strict=True)
    }


def test_mixtures_must_rise_with_rho():
    table = judged(*planted(**mixtures(0.5, 0.6, 0.7, 0.8, 0.9)))
    pooled = table[table.index.get_level_values("factor") == ""]
    assert pooled["rho"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert pooled["passed"].tolist() == [pd.NA, 1, 1, 1, 1]
    assert dose_response_rises(table.reset_index(), "b") is True

    flat = judged(*planted(**mixtures(0.5, 0.6, 0.6, 0.8, 0.9)))
    assert flat.loc[("mixture_0.5", ""), "passed"] == 0
    assert flat.loc[("mixture_0.5", "colour"), "passed"] == 1  # one factor: only a clear fall counts
    assert dose_response_rises(flat.reset_index(), "b") is False

    # standard errors .01 a unit, .0071 for two: a fall of .04 is more than 3 * .01, one of .02 is not
    means = (0.5, 0.7, 0.66, 0.8, 0.78)
    fallen = judged(*planted(0.01, **mixtures(*means)))
    assert fallen.loc[("mixture_0.5", "colour"), "passed"] == 0
    assert fallen.loc[("mixture_1", "colour"), "passed"] == 1
    assert fallen.loc[("mixture_1", ""), "passed"] == 0


def test_mixtures_of_an_unseen_factor_are_not_judged():
    table = judged(*planted(**mixtures(0.5, 0.51, 0.49, 0.5, 0.505)))
    assert table["passed"].isna().all()
    assert table["expectation"].str.startswith("none: the backend").all()
    assert dose_response_rises(table.reset_index(), "b") is None


def test_seen_and_unseen_factors_are_told_apart_and_pooled():
    seen = mixtures(0.5, 0.6, 0.7, 0.8, 0.9)
    seen = {layer: [*units, ("shape:star", units[0][1])] for layer, units in seen.items()}
    unseen = mixtures(0.5, 0.5, 0.5, 0.5, 0.5, factor="frequency")
    table = judged(*planted(**{layer: seen[layer] + unseen[layer] for layer in seen}))
    assert table.loc[("mixture_1", "colour"), "passed"] == 1
    assert table.loc[("mixture_1", "frequency"), "passed"] is pd.NA
    assert table.loc[("mixture_1", ""), "mis_mean"] == pytest.approx((2 * 0.9 + 0.91 + 2 * 0.5) / 5)
    assert table.loc[("mixture_1", ""), "n_units"] == 5
    assert "2 of 3 factors" in table.loc[("mixture_1", ""), "expectation"]
    # what happens to an unseen factor does not count: over all units (2 * .7 + .71 + 2 * .5) / 5 = .622 follows
    # (2 * .6 + .61 + 2 * .7) / 5 = .642 here
    fallen = mixtures(0.5, 0.7, 0.5, 0.5, 0.5, factor="frequency")
    table = judged(*planted(**{layer: seen[layer] + fallen[layer] for layer in seen}))
    assert table.loc[("mixture_0.5", ""), "mis_mean"] < table.loc[("mixture_0.25", ""), "mis_mean"]
    assert table.loc[("mixture_0.5", ""), "passed"] == 1


def test_pooled_mixtures_are_judged_only_where_most_factors_are_seen():
    # few units of one factor would turn noise into a failed control
    seen, unseen = mixtures(0.5, 0.7, 0.69, 0.8, 0.9), mixtures(0.5, 0.5, 0.5, 0.5, 0.5, factor="frequency")
    table = judged(*planted(**{layer: seen[layer] + unseen[layer] for layer in seen}))
    assert table.loc[("mixture_0.5", ""), "passed"] is pd.NA
    assert table.loc[("mixture_0.5", ""), "expectation"] == "none: the backend sees 1 of 2 factors"
    assert table.loc[("mixture_0.5", "colour"), "passed"] == 1
    assert dose_response_rises(table.reset_index(), "b") is None


def test_spread_in_standard_errors_is_given_at_chance_only():
    table = judged(*planted(**mixtures(0.5, 0.6, 0.7, 0.8, 0.9), hash=chance(10), factor=[("count", 0.9)] * 2))
    given = table[table["z_sd"].notna()].index.get_level_values("control")
    assert set(given) == {"mixture_0", "hash", "chance_pooled"}
    # a bound is stated only where it is judged
    bounded = table[table["z_low"].notna()]
    assert set(bounded.index.get_level_values("control")) == {"hash", "chance_pooled"}
    assert bounded["passed"].notna().all()
    assert table.loc[("mixture_0", ""), "expectation"] == "none: judged in chance_pooled"


def test_rectified_mixtures_are_a_family_of_their_own():
    table = judged(
        *planted(
            **mixtures(0.5, 0.6, 0.7, 0.8, 0.9),
            **mixtures(0.5, 0.7, 0.6, 0.8, 0.9, family="mixture_rectified"),
        )
    )
    assert table.loc[("mixture_rectified_0.5", ""), "passed"] == 0
    assert table.loc[("mixture_0.5", ""), "passed"] == 1
    assert dose_response_rises(table.reset_index(), "b") is True


def test_copies_are_held_against_the_units_they_copy():
    sources = {
        "factor": [("colour:cos", 0.9), ("shape:star", 0.6)],
        # four draws share a label, the first of them was copied
        "mixture_0.5": [("count", 0.7), ("count", 0.1)],
    }
    copied = [("factor/colour:cos", 0.9), ("factor/shape:star", 0.6), ("mixture_0.5/count", 0.7)]
    # standard errors .05 each: the mean of three differences within 3 * sqrt(6 * .05^2) / 3 = .1225
    fine = judged(*planted(**sources, duplicate=[(name, mis + 0.12) for name, mis in copied]))
    assert fine.loc[("duplicate", ""), "passed"] == 1
    assert fine.loc[("duplicate", ""), "expectation"].startswith("0.733")  # (.9 + .6 + .7) / 3
    off = judged(*planted(**sources, negated=[(name, mis - 0.125) for name, mis in copied]))
    assert off.loc[("negated", ""), "passed"] == 0
    assert fine.loc[("factor", "shape"), "mis_mean"] == pytest.approx(0.6)
    assert fine.loc[("factor", ""), "passed"] is pd.NA


def test_constant_unit_must_not_be_scored():
    table = judged(*planted(hash=chance(10)), n_constant=1)
    assert table.loc[("constant", ""), "passed"] == 1
    assert table.loc[("constant", ""), "n_units"] == 0
    scored_anyway = judged(*planted(hash=chance(10), constant=[("", 0.5)]), n_constant=0)
    assert scored_anyway.loc[("constant", ""), "passed"] == 0
    assert scored_anyway.loc[("constant", ""), "n_units"] == 1


def test_permuted_and_untrained_networks_are_named_after_their_origin():
    units, names = planted(polysemantic=[("colour:cos|shape:star", 0.7), ("colour:sin|count", 0.8)])
    shuffled = scored("resnet-permuted", [mis for _, mis in chance(60)])
    fresh = scored("resnet-step0", [0.6, 0.61])
    ignored = scored("resnet", [0.9, 0.91])
    table = judged(
        pd.concat([units, shuffled, fresh, ignored], ignore_index=True),
        names,
        permuted={"resnet-permuted": "resnet"},
        untrained={"resnet-step0": "resnet"},
    )
    assert set(table.index) == {("polysemantic", ""), ("permuted:resnet", ""), ("untrained:resnet", "")}
    assert table.loc[("permuted:resnet", ""), "passed"] == 1
    assert table.loc[("untrained:resnet", ""), "passed"] is pd.NA
    assert table.loc[("polysemantic", ""), "mis_mean"] == pytest.approx(0.75)


def test_every_backend_is_judged_for_itself():
    units, names = planted(hash=chance(100))
    other = units.assign(backend="c", mis=units["mis"] + 0.1)
    table = controls_summary(
        label_controls(pd.concat([units, other], ignore_index=True), ["controls"], {}, {}, names),
        1,
        0.95,
    )
    passed = table.set_index(["backend", "control"])["passed"]
    assert passed.to_dict() == {
        ("b", "hash"): 1,
        ("b", "constant"): 1,
        ("c", "hash"): 0,
        ("c", "constant"): 1,
    }
    assert list(table.columns) == CONTROL_COLUMNS


def test_no_controls_give_an_empty_table():
    units, names = planted(hash=chance(2))
    controls = label_controls(units.iloc[:0], ["controls"], {}, {}, names)
    assert list(controls_summary(controls, 0, 0.95).columns) == CONTROL_COLUMNS
