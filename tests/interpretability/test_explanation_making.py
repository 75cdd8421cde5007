"""Texts made here: each method beside a slow obvious form of itself, and on units whose text is known."""

from itertools import product

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, LinearRegression
from sklearn.metrics import roc_auc_score

from interpretability.errors import InputError
from interpretability.explanations.correlation import correlation
from interpretability.explanations.formulas import And, Concept, Linear, Not, Or, concepts, predict
from interpretability.explanations.making import best, dissect, invert, linear
from interpretability.randomness import generator

N = 1500


def world(n=N, n_concepts=12, seed=0):
    """Concepts of different prevalence, as 0 and 1."""
    draw = generator(seed, "concepts")
    share = draw.uniform(0.03, 0.4, (n_concepts, 1))
    presence = (draw.random((n_concepts, n)) < share).astype(float)
    return presence, [f"concept {number}" for number in range(n_concepts)]


def noise(scale, n=N, seed=0):
    return scale * generator(seed, "noise").standard_normal(n)


PRESENCE, NAMES = world()
BY_NAME = dict(zip(NAMES, PRESENCE, strict=True))


# --------------------------------------------------------------------------- the best correlation


def test_the_best_concept_is_that_of_a_loop():
    units = np.stack(
        [PRESENCE[3] * 2 + noise(0.5), PRESENCE[7] + PRESENCE[1] * 0.3 + noise(1, seed=1), noise(1, seed=2)]
    )
    found = best.best_texts(units, PRESENCE, NAMES)
    for values, made in zip(units, found, strict=True):
        scores = {name: correlation(values, shown) for name, shown in BY_NAME.items()}
        assert made.formula == Concept(max(scores, key=scores.get))
        assert made.value == max(scores.values())
    assert [made.formula.text for made in found[:2]] == ["concept 3", "concept 7"]


# --------------------------------------------------------------------------- INVERT


@pytest.mark.parametrize("digits", [None, 0])
def test_areas_are_those_of_scikit_learn_also_with_ties(digits):
    values = PRESENCE[2] + noise(1)
    values = values if digits is None else values.round(digits)
    wanted = [roc_auc_score(shown, values) for shown in PRESENCE]
    assert invert.area_under_curve(values, PRESENCE).tolist() == pytest.approx(wanted, abs=1e-12)
    assert np.isnan(invert.area_under_curve(values, np.zeros((1, N)))).all()


def every_formula(names, length):
    """All formulas that the search could find: a literal, joined with further ones by AND or OR."""
    atoms = [part for name in names for part in (Concept(name), Not(Concept(name)))]
    level = list(atoms)
    found = list(atoms)
    for _ in range(1, length):
        level = [kind((first, atom)) for first, atom, kind in product(level, atoms, (And, Or))]
        found += level
    return found


@pytest.mark.parametrize("length", [1, 2])
def test_with_a_wide_beam_the_best_formula_of_all_is_found(length):
    presence, names = world(400, 5, seed=3)
    values = np.stack([presence[0] * (1 - presence[1]), np.maximum(presence[2], presence[3])]) + noise(
        0.7, 800
    ).reshape(2, 400)
    shown = dict(zip(names, presence, strict=True))
    for own, made in zip(values, invert.invert_texts(values, presence, names, length=length, beam=200), strict=True):
        areas = []
        for formula in every_formula(names, length):
            true = predict(formula, shown)
            if 10 <= true.sum() <= 200:
                areas.append(roc_auc_score(true, own))
        assert made.value == pytest.approx(max(areas), abs=1e-12)
        assert roc_auc_score(predict(made.formula, shown), own) == pytest.approx(made.value, abs=1e-12)


def test_planted_formulas_come_back():
    planted = [
        And((Concept("concept 4"), Not(Concept("concept 5")))),
        Or((Concept("concept 1"), Concept("concept 9"))),
        And((Or((Concept("concept 1"), Concept("concept 9"))), Not(Concept("concept 5")))),
    ]
    for formula, length in zip(planted, (2, 2, 3), strict=True):
        values = predict(formula, BY_NAME) + noise(0.2)
        (made,) = invert.invert_texts(values[None], PRESENCE, NAMES, length=length)
        assert np.array_equal(predict(made.formula, BY_NAME), predict(formula, BY_NAME))
        assert set(concepts(made.formula)) == set(concepts(formula))
        assert made.value > 0.99


def test_longer_formulas_are_better_or_the_same():
    units = np.stack([PRESENCE[0] + PRESENCE[1] - PRESENCE[2] + noise(0.8), PRESENCE[5] + noise(0.1, seed=4)])
    short, middle, long = (invert.invert_texts(units, PRESENCE, NAMES, length=length) for length in (1, 2, 3))
    for each in zip(short, middle, long, strict=True):
        assert each[0].value <= each[1].value <= each[2].value
        assert all(len(concepts(made.formula)) <= length for made, length in zip(each, (1, 2, 3), strict=True))


def test_formulas_that_few_or_most_images_show_are_not_taken():
    shown = np.zeros((3, 100))
    shown[0, :5], shown[1, :60], shown[2, :30:2] = 1, 1, 1
    values = np.arange(100.0)[::-1][None]
    names = ["first five", "most", "some"]
    assert invert.invert_texts(values, shown, names)[0].formula == Concept("some")
    assert invert.invert_texts(values, shown, names, least_images=5)[0].formula == Concept("first five")
    assert invert.invert_texts(-values, shown, names)[0].formula == Not(Concept("most"))
    with pytest.raises(InputError, match="no concept that 41 to 50"):
        invert.invert_texts(values, shown, names, least_images=41)
    with pytest.raises(InputError, match="at most 3"):
        invert.invert_texts(values, shown, names, length=4)


def test_presence_counts_from_a_half_on():
    soft = np.where(PRESENCE > 0, 0.5, 0.49)
    values = (PRESENCE[3] + noise(0.3))[None]
    assert invert.invert_texts(values, soft, NAMES) == invert.invert_texts(values, PRESENCE, NAMES)


# --------------------------------------------------------------------------- CLIP-Dissect


def wpmi(units, presence, top, sharpness, weight):
    """Soft WPMI, image by image."""
    log_p = np.zeros((len(units), len(presence)))
    for k, values in enumerate(units):
        for place, image in enumerate(np.argsort(-values, kind="stable")[:top]):
            soft = np.exp(sharpness * presence[:, image])
            soft /= soft.sum()
            p = 0.998 - place / top * (0.998 - 0.97)
            log_p[k] += np.log(1 + p * (soft - 1) + 1e-7)
    return log_p - weight * np.log(np.exp(log_p - log_p.max(0)).mean(0)) - weight * log_p.max(0)


def test_dissection_is_that_of_a_loop_and_finds_what_the_top_shows():
    draw = generator(0, "guide")
    soft = np.clip(PRESENCE * 0.8 + 0.1 * draw.random(PRESENCE.shape), 0, 1)
    units = np.stack([PRESENCE[k] + noise(0.2, seed=k) for k in range(6)])
    found = dissect.dissect_texts(units, soft, NAMES, top=50)
    wanted = wpmi(units, soft, 50, 10, 1)
    assert [made.value for made in found] == pytest.approx(wanted.max(axis=1).tolist(), abs=1e-9)
    assert [made.formula.text for made in found] == NAMES[:6]
    assert [NAMES[k] for k in wanted.argmax(axis=1)] == NAMES[:6]


def test_what_all_units_share_is_taken_away():
    """Every top image shows concept 0 more strongly than the unit's own concept."""
    units = np.stack([PRESENCE[k] + noise(0.01, seed=k) for k in range(1, 6)])
    soft = PRESENCE * 0.8
    soft[0] = 1.0
    assert {made.formula.text for made in dissect.dissect_texts(units, soft, NAMES, top=30, weight=0)} == {"concept 0"}
    assert [made.formula.text for made in dissect.dissect_texts(units, soft, NAMES, top=30)] == NAMES[1:6]


def test_few_images_and_odd_options():
    assert len(dissect.dissect_texts(PRESENCE[:2, :20] + noise(1, 20), PRESENCE[:, :20], NAMES)) == 2
    with pytest.raises(InputError, match="sharpness"):
        dissect.dissect_texts(PRESENCE[:2], PRESENCE, NAMES, sharpness=0)


# --------------------------------------------------------------------------- linear explanations


def judging(n=N, seed=0):
    return generator(seed, "linear explanations").random(n) < 0.25


def slow_linear(values, presence, names, most=10, tolerance=0.02):
    """The method with scikit-learn's own fits on the images themselves."""
    judge = judging(len(values))
    x, y = presence[:, ~judge].T, values[~judge]
    standard = (x - x.mean(0)) / x.std(0)
    net = ElasticNet(alpha=0.05, l1_ratio=0.99, fit_intercept=False, tol=1e-10, max_iter=100_000)
    weights = net.fit(standard, (y - y.mean()) / y.std()).coef_
    order = [k for k in np.argsort(-weights, kind="stable") if weights[k] > 0]
    chosen, dropped, reached = [], set(), -np.inf
    while len(chosen) < most:
        step = []
        for k in [k for k in order if k not in chosen and k not in dropped][:10]:
            fit = LinearRegression().fit(x[:, [*chosen, k]], y)
            rho = np.corrcoef(fit.predict(presence[:, judge].T[:, [*chosen, k]]), values[judge])[0, 1]
            if chosen and rho - reached < tolerance:
                dropped.add(k)
            else:
                step.append((rho, k, dict(zip([names[j] for j in [*chosen, k]], fit.coef_, strict=True))))
        if not step:
            break
        reached, k, terms = max(step, key=lambda each: each[0])
        chosen.append(k)
    return reached, terms


def test_linear_explanations_are_those_of_scikit_learn():
    units = np.stack(
        [
            3 * PRESENCE[0] + 2 * PRESENCE[4] + noise(0.5),
            PRESENCE[1] + 0.9 * PRESENCE[2] + 0.8 * PRESENCE[3] + 0.2 * PRESENCE[5] + noise(0.4, seed=1),
            PRESENCE[8] - PRESENCE[9] + noise(1, seed=2),
        ]
    )
    for values, made in zip(units, linear.linear_texts(units, PRESENCE, NAMES), strict=True):
        rho, terms = slow_linear(values, PRESENCE, NAMES)
        assert made.value == pytest.approx(rho, abs=1e-9)
        assert {text: weight for weight, text in made.formula.terms} == pytest.approx(terms, abs=1e-7)
        judge = judging()
        predicted = predict(made.formula, BY_NAME)
        assert made.value == pytest.approx(np.corrcoef(predicted[judge], values[judge])[0, 1], abs=1e-9)


def test_weights_and_length_of_a_planted_sum_come_back():
    values = (3 * PRESENCE[0] + 2 * PRESENCE[4] + noise(0.3))[None]
    (made,) = linear.linear_texts(values, PRESENCE, NAMES)
    assert [text for _, text in made.formula.terms] == ["concept 0", "concept 4"]
    assert [weight for weight, _ in made.formula.terms] == pytest.approx([3, 2], abs=0.1)
    (short,) = linear.linear_texts(values, PRESENCE, NAMES, most=1)
    assert short.formula == Concept("concept 0")
    assert short.value < made.value
    (long,) = linear.linear_texts(values, PRESENCE, NAMES, tolerance=0)
    assert len(long.formula.terms) >= 2


def test_a_unit_without_any_concept_gets_the_nearest_one():
    values = noise(1, seed=9)[None]
    (made,) = linear.linear_texts(values, PRESENCE, NAMES, penalty=0.9)
    fitted = ~judging()
    scores = [np.corrcoef(values[0, fitted], shown[fitted])[0, 1] for shown in PRESENCE]
    assert isinstance(made.formula, Linear)
    assert made.formula.terms[0][1] == NAMES[int(np.argmax(scores))]


def test_a_unit_that_no_concept_goes_with_gets_a_formula_all_the_same():
    judging = generator(0, "linear explanations").random(N) < linear.VALIDATION
    fitting = np.flatnonzero(~judging)
    unit, concept = (judging * generator(0, name).integers(0, 2, N).astype(float) for name in ("unit", "concept"))
    places = np.arange(len(fitting) // 4 * 4)
    unit[fitting] = concept[fitting] = 0.5
    unit[fitting[places]], concept[fitting[places]] = places % 2, places // 2 % 2  # a covariance of exactly 0
    (made,) = linear.linear_texts(unit[None], concept[None], ["dog"])
    assert made.formula == Linear(((1.0, "dog"),))
    assert made.value == pytest.approx(np.corrcoef(unit[judging], concept[judging])[0, 1])


def test_concepts_that_no_image_shows_clearly_are_left_out():
    faint = PRESENCE * 0.4
    faint[5] = PRESENCE[5]
    (made,) = linear.linear_texts((PRESENCE[3] + noise(0.1))[None], faint, NAMES)
    assert concepts(made.formula) == ("concept 5",)
    with pytest.raises(InputError, match="no concept that some images show clearly"):
        linear.linear_texts((PRESENCE[3] + noise(0.1))[None], PRESENCE * 0.4, NAMES)


def test_the_same_concept_under_two_names_does_no_harm():
    twice = np.concatenate([PRESENCE, PRESENCE[:1]])
    (made,) = linear.linear_texts((3 * PRESENCE[0] + noise(0.3))[None], twice, [*NAMES, "again"])
    assert len(made.formula.terms) == 1


# --------------------------------------------------------------------------- all of them

METHODS = {
    "best": best.best_texts,
    "invert": lambda *given: invert.invert_texts(*given, length=3),
    "linear": linear.linear_texts,
}


@pytest.mark.parametrize("name", METHODS)
def test_a_unit_has_its_text_whatever_stands_beside_it(name):
    units = np.stack([PRESENCE[k] + 0.5 * PRESENCE[k + 1] + noise(0.6, seed=k) for k in range(5)])
    found = METHODS[name](units, PRESENCE, NAMES)
    assert METHODS[name](units[[3, 1]], PRESENCE, NAMES) == [found[3], found[1]]
    assert (
        METHODS[name](units[2:3].astype(np.float32), PRESENCE.astype(np.float32), NAMES)[0].formula
        == METHODS[name](units[2:3].astype(np.float32), PRESENCE.astype(bool), NAMES)[0].formula
    )


@pytest.mark.parametrize("method", [*METHODS.values(), dissect.dissect_texts])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": NAMES[:3]}, "holds 3 names"),
        ({"names": ["same"] * 12}, "1 of them different"),
        ({"presence": PRESENCE * 2}, "between 0 and 1"),
        ({"presence": np.where(PRESENCE > 0, np.nan, 0)}, "between 0 and 1"),
        ({"presence": PRESENCE[:, :9]}, "presence has 9"),
        ({"units": np.full((1, N), np.nan)}, "activations holds nan"),
    ],
)
def test_what_does_not_fit_is_refused(method, change, message):
    given = {"units": PRESENCE[:1] + noise(1), "presence": PRESENCE, "names": NAMES} | change
    with pytest.raises(InputError, match=message):
        method(given["units"], given["presence"], given["names"])


def test_a_constant_unit_has_no_text():
    for method in (*METHODS.values(), dissect.dissect_texts):
        with pytest.raises(InputError, match="constant in row 0"):
            method(np.ones((1, N)), PRESENCE, NAMES)
