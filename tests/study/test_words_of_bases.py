"""What the page says of directions beside units, and of scores beside each other, from tables made by hand."""

import numpy as np
import pandas as pd
import pytest

from interpretability.schema import NATURAL, ONE_SIDED
from study.report.figures import bases, other_scores

# ---- directions minus units
FIELDS = ["layer", "difference", "low", "high", "sign", "n_clusters"]


def compared(*rows, condition=ONE_SIDED):
    return pd.DataFrame(rows, columns=FIELDS).assign(model="net-rotation", base="net", condition=condition)


def test_a_sign_over_layers_and_signs_of_single_layers():
    said = bases.over_layers_words(
        compared(
            ("", 0.0213, 0.011, 0.032, "above", 17.0),
            ("a", 0.05, 0.03, 0.07, "above", 1),
            ("b", 0.04, 0.02, 0.06, "above", 1),
            ("c", -0.03, -0.05, -0.01, "below", 1),
            ("d", 0.0, -0.02, 0.02, "", 1),
        )
    )
    assert said == [
        "net-rotation minus units of net, one-sided tasks: 0.021 (interval 0.011 to 0.032) over 17 clusters of layers, which "
        "lies above the units; of 4 single layers two above and one below, after Holm over them"
    ]


def test_no_sign_is_no_claim_even_where_the_interval_leaves_out_zero():
    said = bases.over_layers_words(
        compared(("", -0.003, -0.006, -0.001, "", 12.0), ("a", -0.003, -0.02, 0.01, "", 1), condition=NATURAL)
    )
    assert said == [
        "net-rotation minus units of net, natural tasks: −0.003 (interval −0.006 to −0.001) over 12 clusters of layers, which "
        "has no sign that can be told; of 1 single layer none with a sign of its own, after Holm over them"
    ]


def test_one_layer_has_no_interval_over_layers():
    (said,) = bases.over_layers_words(
        compared(("", 0.05, np.nan, np.nan, "", 1.0), ("a", 0.05, 0.03, 0.07, "above", 1))
    )
    assert "0.050 over 1 cluster of layers, which has no sign that can be told" in said
    assert "interval" not in said
    assert said.endswith("of 1 single layer one above, after Holm over them")


def test_nothing_compared_says_nothing():
    assert bases.over_layers_words(compared()) == []


# ---- features in superposition
def levels(**scores):
    rows = [(condition, layer, value) for condition, of in scores.items() for layer, value in of.items()]
    return pd.DataFrame(rows, columns=["condition", "layer", "mis_mean"])


def test_the_order_that_natural_tasks_turn_round_is_explained():
    said = bases.turned(
        levels(one_sided={"mixture": 0.578, "trained": 0.672}, natural={"mixture": 0.689, "trained": 0.679})
    )
    assert "scores 0.094 above the units that mix its features, in natural tasks 0.010 below them" in said
    assert "turns the order round" in said


@pytest.mark.parametrize("trained", [0.70, 0.66])
def test_an_order_that_stays_is_told_without_a_reason(trained):
    one = {"mixture": 0.68, "trained": trained}
    said = bases.turned(levels(one_sided=one, natural=one))
    assert said.count("above" if trained > 0.68 else "below") == 2
    assert "turns the order round" not in said


def test_one_kind_of_tasks_says_nothing_about_the_other():
    assert bases.turned(levels(natural={"mixture": 0.689, "trained": 0.679})) == ""
    assert bases.turned(levels()) == ""


# ---- raw monosemanticity and how often units fire
def shared(within, low, high, whole=0.1):
    rows = [("unit", "ms", "firing", whole, np.nan, np.nan), ("layer", "ms", "firing", within, low, high)]
    return pd.DataFrame(rows, columns=["level", "first", "second", "value", "low", "high"])


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((-0.87, -0.91, -0.83), "the raw score is mostly one of sparseness: rank correlation with the firing rate within layers "
                                "−0.87 (interval −0.91 to −0.83), 0.10 over all units"),
        ((-0.4, -0.5, -0.3), "the raw score is in part one of sparseness"),
        ((-0.1, -0.25, 0.05), "the raw score is not seen to follow sparseness"),
        ((0.05, -0.01, 0.11), "the raw score is not seen to follow sparseness"),
        ((0.3, 0.2, 0.4), "higher for units that fire more often, so it is not one of sparseness"),
        ((-0.87, np.nan, np.nan), "cannot be told from so few layers: rank correlation with the firing rate within layers −0.87"),
    ],
)  # fmt: skip
def test_what_is_said_of_raw_monosemanticity_depends_on_the_number(numbers, words):
    assert words in other_scores.sparseness_words(shared(*numbers))


def test_without_firing_rates_nothing_is_said_of_sparseness():
    assert other_scores.sparseness_words(shared(np.nan, np.nan, np.nan)) == ""
    assert other_scores.sparseness_words(shared(0, 0, 0).head(0)) == ""
