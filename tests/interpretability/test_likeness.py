"""Likeness to human decisions, against the same by loops over pairs of decisions."""

import itertools

import numpy as np
import pandas as pd
import pytest

from interpretability.analysis import likeness
from interpretability.errors import InputError
from interpretability.people import agreement

CLASSES = ("dog", "cat", "car")
CONDITIONS = {"contrast": ("c100", "c50", "c30"), "rotation": ("0", "90"), "sketch": ("",), "cue-conflict": ("",)}
SUBJECTS = ("subject-01", "subject-02", "alpha", "beta", "gamma")


def decisions(seed=0, n=12, conditions=CONDITIONS, subjects=SUBJECTS):
    """Each subject decides on all pictures, in an order of its own."""
    draw, rows = np.random.default_rng(seed), []
    skill = dict(zip(subjects, (0.9, 0.8, 0.7, 0.5, 0.6), strict=True))
    for dataset, names in conditions.items():
        for condition, subject in itertools.product(names, subjects):
            for i in draw.permutation(n):
                shape, texture = CLASSES[i % 3], CLASSES[(i // 3) % 3]
                response = shape if draw.random() < skill[subject] else CLASSES[draw.integers(3)]
                picture = f"{shape}{i}-{texture}{i}.png"
                rows.append((dataset, condition, subject, subject.startswith("subject-"), picture, shape, response))
    return pd.DataFrame(rows, columns=likeness.DECISION_COLUMNS)


def kappa(a, b):
    """Cohen's kappa from the four counts of two lists of right and wrong."""
    n = {(x, y): sum(1 for pair in zip(a, b, strict=True) if pair == (x, y)) for x in (0, 1) for y in (0, 1)}
    total = len(a)
    same = (n[0, 0] + n[1, 1]) / total
    chance = sum((n[x, 0] + n[x, 1]) * (n[0, x] + n[1, x]) for x in (0, 1)) / total**2
    return 1.0 if same == 1 else (same - chance) / (1 - chance)


def by_hand(table, network):
    """The measures of one network by loops."""
    measures = {name: [] for name in ("accuracy_difference", "observed_consistency", "error_consistency")}
    shares = []
    for dataset, part in table.groupby("dataset"):
        part = part[[c not in likeness.LEFT_OUT.get(dataset, ()) for c in part["condition"]]]
        own = part[part["subject"] == network]
        shares.append((own["response"] == own["category"]).mean())
        of_people = {name: [] for name in measures}
        for person in sorted(part.loc[part["person"], "subject"].unique()):
            of_conditions = {name: [] for name in measures}
            for condition in part["condition"].unique():
                both = []
                for subject in (network, person):
                    rows = part[(part["subject"] == subject) & (part["condition"] == condition)].sort_values("image")
                    both.append((rows["response"] == rows["category"]).to_numpy())
                a, b = both
                of_conditions["accuracy_difference"].append((a.mean() - b.mean()) ** 2)
                of_conditions["observed_consistency"].append((a == b).mean())
                of_conditions["error_consistency"].append(kappa(a, b))
            for name, values in of_conditions.items():
                of_people[name].append(np.mean(values))
        for name, values in of_people.items():
            measures[name].append(np.mean(values))
    return {"ood_accuracy": np.mean(shares)} | {name: np.mean(values) for name, values in measures.items()}


def test_measures_are_those_of_loops():
    table = decisions()
    found = likeness.decision_measures(table)
    assert list(found.index) == ["alpha", "beta", "gamma"]
    for network in found.index:
        for name, value in by_hand(table, network).items():
            assert found.loc[network, name] == pytest.approx(value, abs=1e-12), (network, name)
    ranks = [found["accuracy_difference"].rank(), *(found[n].rank(ascending=False) for n in likeness.MEASURES[2:4])]
    assert found["mean_rank"].tolist() == pytest.approx((sum(ranks) / 3).tolist())
    pd.testing.assert_frame_equal(found, likeness.decision_measures(table.sample(frac=1, random_state=1)))


def test_shape_bias_counts_pictures_with_a_conflict_alone():
    table = pd.DataFrame(
        {
            "image": ["dog1-cat2.png", "dog1-cat3.png", "cat2-car10.png", "car1-car1.png", "dog2-car1.png"],
            "category": ["dog", "dog", "cat", "car", "dog"],
            "response": ["dog", "cat", "cat", "car", "bird"],
        }
    )
    assert likeness.shape_bias(table) == pytest.approx(2 / 3)
    assert np.isnan(likeness.shape_bias(table.tail(2)))


def test_a_network_is_like_itself_and_one_that_guesses_is_not():
    right = np.random.default_rng(0).random((3, 40_000)) < [[0.9], [0.5], [0.7]]
    kappa = likeness.consistencies(right, right)["error_consistency"]
    assert np.diag(kappa).tolist() == [1.0] * 3
    assert np.abs(kappa[~np.eye(3, dtype=bool)]).max() < 0.02
    always = np.ones((1, 5), dtype=bool)
    assert likeness.consistencies(always, always)["error_consistency"] == 1.0
    assert likeness.consistencies(always, ~always)["error_consistency"] == 0.0


def test_conditions_without_distortion_do_not_count():
    table = decisions()
    clean = (table["dataset"] == "contrast") & (table["condition"] == "c100")
    other = table.assign(response=table["response"].mask(clean, "nothing"))
    pd.testing.assert_frame_equal(likeness.decision_measures(table), likeness.decision_measures(other))
    spoilt = table.assign(response=table["response"].mask(table["condition"] == "c50", "nothing"))
    assert not likeness.decision_measures(spoilt).equals(likeness.decision_measures(table))


def test_a_network_without_a_data_set_or_a_condition_has_no_number_that_others_have():
    table = decisions()
    for lacking in ((table["dataset"] == "rotation"), (table["condition"] == "c30")):
        found = likeness.decision_measures(table[~(lacking & (table["subject"] == "beta"))])
        assert found.loc["beta", ["error_consistency", "mean_rank"]].isna().all()
        assert found.loc["beta", "shape_bias"] == likeness.decision_measures(table).loc["beta", "shape_bias"]
        assert sorted(found["mean_rank"].dropna()) != []
        assert found.loc[["alpha", "gamma"]].notna().all(axis=None)


def test_other_pictures_and_data_sets_without_people_are_refused():
    table = decisions()
    renamed = table.assign(
        image=table["image"].mask((table["subject"] == "beta") & (table["condition"] == "90"), "x.png")
    )
    with pytest.raises(
        InputError, match=r"rotation, condition 90: beta and subject-01 did not see the same pictures; "
    ):
        likeness.decision_measures(renamed)
    nobody = table[~(table["person"] & (table["dataset"] == "sketch"))]
    with pytest.raises(InputError, match="sketch has no decisions of people"):
        likeness.decision_measures(nobody)


def points(values, means, **more):
    rows = pd.DataFrame({"model": [f"n{i}" for i in range(len(values))], "value": values, "mean": means})
    filled = {"source": "f", "measure": "m", "score": "mis", "backend": "b", "condition": "natural", "called": "c"}
    return rows.assign(**filled, low=0.0, high=1.0, **more)[likeness.NETWORK_COLUMNS]


def test_correlations_are_those_of_agreement_and_few_networks_have_none():
    draw = np.random.default_rng(3)
    values, means = draw.random(9), draw.random(9)
    (row,) = likeness.likeness(points(values, means), 0.95).to_dict("records")
    assert row["n_networks"] == 9
    for name, value in agreement.network_correlations(values, means, 9, 0.95).items():
        assert row[name] == value
    assert row["pearson"] == pytest.approx(np.corrcoef(values, means)[0, 1])
    z = np.arctanh(row["pearson"]) + np.array([-1, 1]) * 1.959963984540054 / np.sqrt(6)
    assert [row["pearson_low"], row["pearson_high"]] == pytest.approx(np.tanh(z).tolist())
    five = likeness.likeness(points(values[:5], means[:5]), 0.95).iloc[0]
    assert np.isfinite(five["spearman"])
    assert np.isnan(five["spearman_low"])
    values[4:] = np.nan  # four that have a value
    four = likeness.likeness(points(values, means), 0.95).iloc[0]
    assert four["n_networks"] == 4
    assert four[list(agreement.CORRELATIONS)].isna().all()
    assert list(likeness.likeness(points([], []), 0.95).columns) == likeness.COLUMNS
