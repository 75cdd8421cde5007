"""Explanations as formulas: read, written, told in words, and what they predict."""

import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interpretability.errors import InputError
from interpretability.explanations import formulas
from interpretability.explanations.formulas import And, Cluster, Clustered, Concept, Linear, Not, Or
from interpretability.randomness import generator

DOG, CAT, RED = Concept("dog"), Concept("cat"), Concept("red")
PRESENCE = {
    "dog": np.array([1.0, 0.5, 0.0, 0.2]),
    "cat": np.array([0.0, 0.4, 1.0, 0.3]),
    "red": np.array([1.0, 1.0, 0.0, 0.5]),
}
LOGIC = st.recursive(
    st.sampled_from([DOG, CAT, RED]),
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=4).map(lambda parts: And(tuple(parts))),
        st.lists(inner, min_size=2, max_size=4).map(lambda parts: Or(tuple(parts))),
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("kind", "text", "formula", "wanted"),
    [
        ("simple", "dog", "", [1, 0.5, 0, 0.2]),
        ("linear", "", '[{"weight": 3, "text": "dog"}, {"weight": -2, "text": "cat"}]', [3, 0.7, -2, 0]),
        ("linear", "", '[{"intercept": 5}, {"weight": 3, "text": "dog"}]', [3, 1.5, 0, 0.6]),
        ("compositional", "", '"dog"', [1, 0.5, 0, 0.2]),
        ("compositional", "", '{"and": ["dog", "cat"]}', [0, 0.2, 0, 0.06]),
        ("compositional", "", '{"or": ["dog", "cat"]}', [1, 0.7, 1, 0.44]),
        ("compositional", "", '{"not": "dog"}', [0, 0.5, 1, 0.8]),
        ("compositional", "", '{"and": ["dog", {"not": {"or": ["cat", "red"]}}]}', [0, 0, 0, 0.2 * 0.7 * 0.5]),
        # both ranges are true in the first picture: their middles 1 and 6 are added
        (
            "clustered",
            "",
            '[{"low": 0, "high": 2, "formula": "red"}, {"low": 4, "high": 8, "formula": {"not": "cat"}}]',
            [7, 1 + 6 * 0.6, 0, 0.5 + 6 * 0.7],
        ),
    ],
)
def test_what_formulas_predict(kind, text, formula, wanted):
    found = formulas.predict(formulas.parse(kind, text, formula), PRESENCE)
    assert found.dtype == np.float64
    assert found.tolist() == pytest.approx(wanted, abs=1e-15)


def true(formula, shown):
    if isinstance(formula, Concept):
        return shown[formula.text]
    if isinstance(formula, Not):
        return not true(formula.part, shown)
    return (all if isinstance(formula, And) else any)(true(part, shown) for part in formula.parts)


@given(LOGIC)
def test_logic_of_zeros_and_ones_is_logic(formula):
    worlds = list(product([0, 1], repeat=3))
    presence = dict(zip(("dog", "cat", "red"), np.array(worlds).T, strict=True))
    wanted = [true(formula, dict(zip(presence, world, strict=True))) for world in worlds]
    assert formulas.predict(formula, presence).tolist() == [float(value) for value in wanted]


@given(LOGIC)
def test_what_is_written_is_read_again(formula):
    if isinstance(formula, Concept):
        assert formulas.to_json(formula) == ""
        assert formulas.parse("simple", formula.text, "") == formula
    else:
        assert formulas.parse("compositional", "", formulas.to_json(formula)) == formula
    ranges = Clustered((Cluster(-1.5, 2.25, formula), Cluster(2.25, 1e9, DOG)))
    assert formulas.parse("clustered", "", formulas.to_json(ranges)) == ranges


@given(
    st.lists(
        st.tuples(st.floats(-1e6, 1e6).filter(bool), st.text(max_size=20).map(lambda end: f"a{end}")),
        min_size=1,
        max_size=5,
    )
)
def test_weights_come_back_to_the_last_bit(terms):
    kept = Linear(tuple({text: (weight, text) for weight, text in terms}.values()))
    assert formulas.parse("linear", "", formulas.to_json(kept)) == kept


def test_long_formulas_of_many_pictures_are_those_of_each_picture():
    draw = generator(0, "long")
    names = [f"concept {number}" for number in range(300)]
    presence = {name: draw.random(70_000).astype(np.float32) ** 8 for name in names}
    formula = Or(tuple(And((Concept(a), Not(Concept(b)))) for a, b in zip(names[::2], names[1::2], strict=True)))
    left = np.ones(70_000)
    for a, b in zip(names[::2], names[1::2], strict=True):
        left *= 1 - presence[a].astype(float) * (1 - presence[b].astype(float))
    assert np.abs(formulas.predict(formula, presence) - (1 - left)).max() < 1e-12
    assert len(formulas.concepts(formula)) == 300


def test_concepts_and_words():
    formula = And((DOG, Not(Or((CAT, RED))), DOG))
    assert formulas.concepts(formula) == ("dog", "cat", "red")
    assert formulas.describe(formula) == "dog AND NOT (cat OR red) AND dog"
    assert formulas.describe(Linear(((3, "dog"), (-2.34567, "cat")))) == "3 x dog + -2.35 x cat"
    assert formulas.describe(Clustered((Cluster(0, 2, Not(DOG)),))) == "0 to 2: NOT dog"
    assert formulas.concepts(Linear(((3, "dog"), (2, "cat")))) == ("dog", "cat")


@pytest.mark.parametrize(
    ("kind", "text", "formula", "message"),
    [
        ("sentence", "dog", "", "allowed: simple, linear"),
        ("simple", " ", "", "empty text"),
        ("simple", "\u200b\ufeff", "", "empty text"),
        ("compositional", "", '{"and": ["dog", "\\ud800"]}', "surrogate"),
        ("simple", None, "", "where a text must stand"),
        ("simple", "dog", '"dog"', "has a text alone"),
        ("linear", "", "", "formula is empty"),
        ("linear", "", None, "formula is empty"),
        ("linear", "", '[{"weight": 3, "text": "dog"}', "not closed"),
        ("linear", "", '{"weight": 3, "text": "dog"}', "must be a list"),
        ("linear", "", "[]", "must be a list"),
        ("linear", "", '[{"weight": 3}]', "with the keys weight, text"),
        ("linear", "", '[{"weight": 3, "text": "dog", "sign": 1}]', "with the keys weight, text"),
        ("linear", "", '[{"weight": "3", "text": "dog"}]', "weight '3'; it must be a finite number"),
        ("linear", "", '[{"weight": true, "text": "dog"}]', "weight True"),
        ("linear", "", '[{"weight": NaN, "text": "dog"}]', "holds NaN"),
        ("linear", "", '[{"weight": 1e999, "text": "dog"}]', "weight inf"),
        ("linear", "", '[{"weight": 1' + "0" * 400 + ', "text": "dog"}]', "weight inf"),
        ("linear", "", '[{"weight": -1' + "0" * 5000 + ', "text": "dog"}]', "weight -inf"),
        ("linear", "", '[{"weight": 0, "text": "dog"}]', "no weight other than 0"),
        ("linear", "", '[{"intercept": 1}]', "no weight other than 0"),
        ("linear", "", '[{"intercept": "a"}, {"weight": 1, "text": "dog"}]', "intercept 'a'"),
        ("linear", "", '[{"weight": 1, "text": ""}]', "empty text"),
        ("linear", "", '[{"weight": 1, "text": "a"}, {"weight": 1, "text": "a"}]', "'a' twice"),
        ("linear", "", '[{"weight": 1, "weight": 2, "text": "a"}]', "key 'weight' twice"),
        ("compositional", "", '{"and": ["dog", "cat"}', "not closed"),
        ("compositional", "", '{"and": ["dog"]}', "not balanced: and takes"),
        ("compositional", "", '{"or": "dog"}', "not balanced: or takes"),
        ("compositional", "", '{"not": ["dog", "cat"]}', "not takes one part"),
        ("compositional", "", '{"xor": ["dog", "cat"]}', "one of and, or, not"),
        ("compositional", "", '{"and": ["a", "b"], "or": ["a", "b"]}', "one of and, or, not"),
        ("compositional", "", "{}", "one of and, or, not"),
        ("compositional", "", '{"and": ["dog", 3]}', "holds 3 where a text must stand"),
        ("compositional", "", '{"and": ["dog", ""]}', "empty text"),
        ("compositional", "", '{"not": ' * 60 + '"a"' + "}" * 60, "deeper than 50"),
        *(("compositional", "", opened * 10_000, "deeper than 50") for opened in ("[", '{"not": ', '{"and": ["a", ')),
        ("compositional", "", "[" * 200_000, "deeper than 50|no JSON"),
        ("clustered", "", '[{"low": 2, "high": 1, "formula": "dog"}]', "from 2 to 1; low must be below high"),
        ("clustered", "", '[{"low": 1, "high": 1, "formula": "dog"}]', "low must be below high"),
        ("clustered", "", '[{"low": 1, "high": null, "formula": "dog"}]', "high None"),
        ("clustered", "", '[{"low": 1, "high": 2}]', "with the keys low, high, formula"),
    ],
)
def test_formulas_that_are_refused(kind, text, formula, message):
    with pytest.raises(InputError, match=message):
        formulas.parse(kind, text, formula)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["and", "or", "not", "weight", "text", "low", "high", "formula"]), inner, max_size=3
            )
        ),
        max_leaves=8,
    ),
    st.sampled_from(formulas.KINDS),
)
def test_whatever_is_given_is_a_formula_or_an_input_error(value, kind):
    try:
        found = formulas.parse(kind, "dog", json.dumps(value))
    except InputError:
        return
    assert formulas.parse(kind, "dog", formulas.to_json(found) or json.dumps(value)) == found


def test_presences_that_do_not_fit_are_refused():
    formula = And((DOG, CAT))
    with pytest.raises(InputError, match="lacks the concept 'cat'"):
        formulas.predict(formula, {"dog": PRESENCE["dog"]})
    with pytest.raises(InputError, match="3 images for 'cat' and 4 for 'dog'"):
        formulas.predict(formula, PRESENCE | {"cat": np.zeros(3)})
    with pytest.raises(InputError, match="probabilities lie between 0 and 1"):
        formulas.predict(formula, PRESENCE | {"cat": np.array([0, 0.1, 2, 0])})


@pytest.mark.parametrize("depth", [60, 400, 900, 960, 990, 1500, 10_000])
@pytest.mark.parametrize(("kind", "opened", "closed"), [("linear", "[", "]"), ("compositional", '{"not": [', "]}")])
def test_errors_about_deep_or_long_formulas_stay_short(kind, opened, closed, depth):
    for formula in (opened * depth + closed * depth, "[" + "[1]," * depth + "[1]]"):
        with pytest.raises(InputError) as error:
            formulas.parse(kind, "", formula)
        assert len(str(error.value)) < 500


def test_many_terms_are_read_once_each():
    terms = [{"weight": 1, "text": str(number)} for number in range(50_000)]
    assert len(formulas.parse("linear", "", json.dumps(terms)).terms) == 50_000
    with pytest.raises(InputError, match="'7' twice"):
        formulas.parse("linear", "", json.dumps([*terms, terms[7]]))


def test_predictions_are_finite_or_refused():
    presence = {"dog": np.array([0.0, 1.0]), "cat": np.array([0.0, 1.0])}
    range_ = Clustered((Cluster(1e308, 1.7e308, DOG),))
    assert formulas.predict(range_, presence).tolist() == [0, 1.35e308]
    with pytest.raises(InputError, match="beyond double precision"):
        formulas.predict(Linear(((1.7e308, "dog"), (1e308, "cat"))), presence)
