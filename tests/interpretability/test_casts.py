"""Whether numbers fit a smaller type, and columns of any type of pandas as the values they stand for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import interpretability as it
from interpretability.casts import fits, narrowed
from interpretability.errors import InputError
from interpretability.randomness import unit_keys

EDGES = {
    np.int8: ([-128, 127], [-129, 128]),
    np.int16: ([-32768, 32767], [-32769, 32768, 40_000]),
    np.int32: ([-(2**31), 2**31 - 1], [-(2**31) - 1, 2**31]),
    np.uint64: ([0, 2**63 - 1], [-1]),
    np.bool_: ([0, 1], [-1, 2]),
}


@pytest.mark.parametrize("kind", EDGES)
def test_whole_numbers_fit_up_to_the_bounds_and_no_further(kind):
    inside, outside = EDGES[kind]
    assert narrowed(np.array(inside), kind, "x").tolist() == inside
    assert narrowed(np.array(inside), kind, "x").dtype == kind
    for value in outside:
        assert fits(np.array([inside[0], value]), kind).tolist() == [True, False]
        with pytest.raises(InputError, match=rf"x holds {value} at \[1\]"):
            narrowed(np.array([inside[0], value]), kind, "x")


@pytest.mark.parametrize(
    ("values", "kind", "right"),
    [
        ([0.0, 3.0, -3.0], np.int16, [True, True, True]),
        ([0.5, np.nan, np.inf, -np.inf], np.int32, [False] * 4),
        ([2.0**63, -(2.0**63), 1e30], np.int64, [False, True, False]),
        ([2.0**64, 2.0**63, -1.0], np.uint64, [False, True, False]),
        ([1e300, -1e300, 3e38, np.inf, np.nan], np.float32, [False, False, True, True, True]),
        ([65504.0, 65505.0, -7e4], np.float16, [True, False, False]),
        ([0.0, 1.0, 0.5, np.nan], np.bool_, [True, True, False, False]),
    ],
)
def test_floating_numbers_fit_where_they_stay_what_they_are(values, kind, right):
    assert fits(np.array(values), kind).tolist() == right


def test_the_largest_unsigned_numbers_are_not_taken_for_negative_ones():
    top = np.array([2**64 - 1], dtype=np.uint64)
    assert not fits(top, np.int64).any()
    assert fits(top, np.uint64).all()


def test_an_array_of_the_type_is_not_copied():
    values = np.arange(3, dtype=np.int32)
    assert narrowed(values, np.int32, "x") is values
    assert narrowed(np.array([], dtype=np.float64), np.int16, "x").dtype == np.int16
    assert narrowed(np.array(7), np.int16, "x") == 7


def test_units_that_are_no_numbers_from_zero_have_no_keys():
    with pytest.raises(InputError, match=r"units holds -1 at \[0\]"):
        unit_keys(0, "net", "layer", np.array([-1]))
    with pytest.raises(InputError, match=r"units holds 0\.5 at \[1\]"):
        unit_keys(0, "net", "layer", np.array([1.0, 0.5]))
    assert unit_keys(0, "net", "layer", np.array([1.0])) == unit_keys(0, "net", "layer", np.array([1]))


ANSWERS = pd.DataFrame(
    {"model": "net", "layer": "conv", "unit": [0, 0, 1, 1], "condition": "natural", "correct": [1, 0, 1, 1]}
)


@pytest.mark.parametrize(
    "unit", ["int64", "int8", "uint64", "float32", "Int64", "category", "object", "int64[pyarrow]"]
)
@pytest.mark.parametrize("correct", ["bool", "int64", "float64", "boolean", "Int8", "object", "category"])
@pytest.mark.parametrize("text", ["str", "object", "category", "string"])
def test_types_of_columns_change_nothing(unit, correct, text):
    table = ANSWERS.astype({"unit": unit, "correct": correct, "model": text, "layer": text, "condition": text})
    found = it.human_scores(table)
    assert found[["unit", "n_responses", "his"]].to_numpy().tolist() == [[0, 2, 0.5], [1, 2, 1.0]]
    assert found["unit"].dtype == np.int64


def test_answers_without_a_person_are_nobody_s_second_answer():
    units = pd.DataFrame({"model": "net", "layer": "conv", "unit": range(4), "mis": [0.5, 0.6, 0.7, 0.8]})
    answers = pd.concat([ANSWERS, ANSWERS.assign(unit=ANSWERS["unit"] + 2)]).assign(task=0, participant=None)
    assert it.compare_with_people(units, answers, n_bootstrap=10)["n"].max() == 4
