"""Simulated people."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from interpretability.errors import InputError
from interpretability.people import human_scores
from interpretability.randomness import generator
from interpretability.schema import KEY
from interpretability.synthetic import observers
from stages import human
from study.files import schemas
from study.files.tables import read_csv, read_parquet, write_parquet
from tests.helpers import tiny_study
from tests.helpers.rules import ROOT

PEOPLE = observers.Population(slope=6.25, slope_spread=0.3, lapse=0.05)


def test_chosen_units_are_drawn_layer_first():
    # a layer of 2 and one of 998 units: with equal units 0.4 of 200 draws would hit the small layer
    layers = np.array(["small"] * 2 + ["large"] * 998, dtype=object)
    hits = [np.isin(observers.choose_units(layers, 1, seed, "net"), [0, 1]).sum() for seed in range(200)]
    # layer drawn uniformly: half of the first draws, standard error sqrt(.25 / 200) = .035
    assert np.mean(hits) == pytest.approx(0.5, abs=0.14)


def test_chosen_units_are_distinct_sorted_and_repeatable():
    layers = np.repeat(np.array(["a", "b", "c"], dtype=object), [5, 50, 100])
    chosen = observers.choose_units(layers, 100, 3, "net")
    assert len(np.unique(chosen)) == 100
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, observers.choose_units(layers, 100, 3, "net"))
    assert not np.array_equal(chosen, observers.choose_units(layers, 100, 3, "other net"))
    np.testing.assert_array_equal(observers.choose_units(layers, 155, 3, "net"), np.arange(155))


def test_more_units_than_there_are_is_an_error():
    with pytest.raises(InputError, match=r"^n_units is 4, but network net has 3 units"):
        observers.choose_units(np.array(["a"] * 3, dtype=object), 4, 0, "net")


def test_default_design_is_that_of_the_study():
    # 100 units * 30 answers / 40 trials = 75 people; 30 answers over 20 tasks: tasks 0-9 twice, 10-19 once
    design = observers.assign(100, 30, 40, 20, generator(0, "design"))
    assert design["person"].nunique() == 75
    assert (design.groupby("person").size() == 40).all()
    assert (design.groupby("unit").size() == 30).all()
    per_task = design.groupby(["unit", "task"]).size().unstack()
    assert (per_task[list(range(10))] == 2).all().all()
    assert (per_task[list(range(10, 20))] == 1).all().all()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 9), st.data())
def test_design_is_balanced_for_any_numbers(n_units, n_responses, data):
    n_trials = data.draw(st.integers(1, n_units))
    n_tasks = data.draw(st.integers(1, 5))
    design = observers.assign(n_units, n_responses, n_trials, n_tasks, generator(0, "design"))
    assert (design.groupby("unit").size() == n_responses).all()
    assert design["unit"].nunique() == n_units
    assert not design.duplicated(["person", "unit"]).any()
    trials = design.groupby("person").size()
    assert trials.max() <= n_trials
    assert (trials.iloc[:-1] == n_trials).all()
    answers = design.groupby(["unit", "task"]).size().unstack(fill_value=0)
    assert (answers.max(axis=1) - answers.min(axis=1) <= 1).all()


def test_more_trials_than_units_is_an_error():
    with pytest.raises(InputError, match=r"^n_trials is 5; allowed are 1 to the 4 units"):
        observers.assign(4, 10, 5, 20, generator(0, "design"))


def test_people_have_the_slopes_and_lapses_of_their_population():
    slopes, lapses = observers.draw_people(40_000, PEOPLE, generator(1, "people"))
    logs = np.log(slopes)
    assert logs.mean() == pytest.approx(np.log(6.25), abs=4 * 0.3 / 200)
    assert logs.std() == pytest.approx(0.3, rel=0.02)
    # Beta(1, 19): mean .05, sd sqrt(.05 * .95 / 21) = .0476
    assert lapses.mean() == pytest.approx(0.05, abs=4 * 0.0476 / 200)
    assert lapses.std() == pytest.approx(0.0476, rel=0.05)
    assert observers.draw_people(3, observers.Population(1.0, 0.0, 0.0), generator(1, "p"))[1].tolist() == [
        0,
        0,
        0,
    ]


def test_true_probability_without_spread_by_hand():
    # lapse .1: .05 + .9 * mean(sigmoid(0), sigmoid(2 ln 3)) = .05 + .9 * (.5 + .9) / 2 = .68
    margins = np.array([[0.0, np.log(3)]])
    truth = observers.true_probabilities(margins, observers.Population(2.0, 0.0, 0.1))
    assert truth[0] == pytest.approx(0.68)


def test_true_probability_is_the_mean_over_the_population():
    margins = np.array([[0.3], [-0.1], [2.0]])
    slopes, lapses = observers.draw_people(400_000, PEOPLE, generator(2, "people"))
    answers = lapses / 2 + (1 - lapses) * expit(slopes * margins)
    # standard error of the sample mean: at most .06 / sqrt(400,000) = .0001
    np.testing.assert_allclose(
        observers.true_probabilities(margins, PEOPLE), answers.mean(axis=1), atol=5 * answers.std() / 632
    )


def test_answers_follow_the_true_probabilities():
    rng = np.random.default_rng(0)
    margins = rng.normal(0.2, 0.2, size=(60, 10))
    # 1,000 answers a unit, all tasks equally often: the binomial error of a unit is at most .016
    responses = observers.simulate_responses(margins, PEOPLE, 1000, 40, 5, "net")
    his = responses.groupby("unit")["correct"].mean()
    truth = observers.true_probabilities(margins, PEOPLE)
    deviation = (his - truth) / np.sqrt(truth * (1 - truth) / 1000)
    assert np.abs(deviation).max() < 4.5
    assert deviation.std() == pytest.approx(1.0, abs=0.35)
    assert responses["participant"].nunique() == 1500


def test_lapses_are_guesses_and_not_errors():
    # margins so large that every other answer is right: half the trials are guesses, half of those right
    people = observers.Population(slope=6.25, slope_spread=0.3, lapse=0.5)
    margins = np.full((40, 5), 100.0)
    responses = observers.simulate_responses(margins, people, 500, 20, 5, "net")
    # 1,000 people with Beta(10, 10) lapses (sd .11) of 20 answers each: standard error of the mean below .004
    assert responses["correct"].mean() == pytest.approx(0.75, abs=0.016)
    assert observers.true_probabilities(margins, people)[0] == pytest.approx(0.75)


def test_answers_depend_on_seed_and_network_only():
    margins = np.zeros((4, 3))
    first = observers.simulate_responses(margins, PEOPLE, 6, 3, 5, "net")
    assert first.equals(observers.simulate_responses(margins, PEOPLE, 6, 3, 5, "net"))
    other = observers.simulate_responses(margins, PEOPLE, 6, 3, 5, "other")
    assert not first["correct"].equals(other["correct"])
    assert set(first["participant"]).isdisjoint(other["participant"])


def test_human_score_of_a_unit_by_hand():
    responses = pd.DataFrame(
        {
            "model": "m",
            "layer": "l",
            "unit": [1, 1, 1, 1, 0],
            "condition": "natural",
            "correct": [True, True, True, False, True],
        }
    )
    units = human_scores.human_scores(responses)
    assert units["unit"].tolist() == [0, 1]
    assert units["n_responses"].tolist() == [1, 4]
    assert units["his"].tolist() == [1.0, 0.75]
    assert np.isnan(units["his_se"][0])
    assert units["his_se"][1] == pytest.approx(0.25)  # sqrt(.75 * .25 / 3)


# ---- the stage


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    tiny_study.write_study(folder / "data")
    return folder


def run_human(study, out, **changes):
    tiny_study.write_params(study / "params.yaml", ROOT, **changes)
    data = study / "data"
    roster = data / "models" / "roster.csv"
    folders = {
        "tasks": data / "tasks",
        "images": data / "images",
        "roster": roster,
        "external": study,
        "names": study,
        "out": out,
    }
    arguments = [f"--{name}={path}" for name, path in folders.items()]
    human.main([f"--params={study / 'params.yaml'}", *arguments])


def test_stage_asks_simulated_people_about_studied_networks_at_their_last_step(study, tmp_path):
    run_human(study, tmp_path / "human")
    units = read_parquet(tmp_path / "human" / "units.parquet")
    # 12 units of each of two networks, 20 answers each, 8 trials a person: 30 people a network
    assert units["model"].value_counts().to_dict() == {"net": 12, "other": 12}
    assert set(units["source"]) == {"simulated"}
    responses = read_parquet(tmp_path / "human" / "responses.parquet")
    assert len(responses) == 2 * 12 * 20
    assert responses["participant"].nunique() == 60
    again = human_scores.human_scores(responses)
    pd.testing.assert_frame_equal(again, units.drop(columns="source"))
    truth = read_parquet(tmp_path / "human" / "truth.parquet").merge(units, on=KEY)
    assert len(truth) == 24
    assert np.corrcoef(truth["p_true"], truth["his"])[0, 1] > 0.5


def test_stage_asks_other_people_about_harder_tasks_of_the_same_units(study, tmp_path):
    tiny_study.write_study(tmp_path / "data", hard=("net",))
    run_human(study, tmp_path / "easy")
    run_human(tmp_path, tmp_path / "both")
    easy, both = (read_parquet(tmp_path / name / "responses.parquet") for name in ("easy", "both"))
    natural, hard = (both[(both["condition"] == "hard85") == flag] for flag in (False, True))
    pd.testing.assert_frame_equal(natural.reset_index(drop=True), easy)
    # 12 units of one network, 20 answers each
    assert len(hard) == 12 * 20
    units = ["model", "layer", "unit"]
    assert set(map(tuple, hard[units].values)) == set(map(tuple, natural.loc[natural["model"] == "net", units].values))
    assert not set(hard["participant"]) & set(natural["participant"])
    truth = read_parquet(tmp_path / "both" / "truth.parquet").pivot_table(
        "p_true", ["model", "layer", "unit"], "condition"
    )
    assert (truth["natural"] - truth["hard85"]).mean() > 0.02


def test_harder_tasks_of_fewer_units_than_trials_are_all_a_person_answers(study, tmp_path):
    tiny_study.write_study(tmp_path / "data", hard=("net",))
    path = tmp_path / "data" / "tasks" / "net"
    table = read_parquet(path.with_suffix(".parquet"))
    keep = (table["condition"] == "natural") | ((table["layer"] == "head") & (table["unit"] < 4))
    write_parquet(path.with_suffix(".parquet"), table[keep])
    np.save(path.with_suffix(".npy"), np.load(path.with_suffix(".npy"))[keep])
    run_human(tmp_path, tmp_path / "human", human__simulated__n_units=24)
    hard = read_parquet(tmp_path / "human" / "responses.parquet").query("condition == 'hard85'")
    assert len(hard) == 4 * 20
    assert hard.groupby("participant").size().tolist() == [4] * 20


def test_stage_writes_the_same_bytes_again(study, tmp_path):
    for name in ("first", "second"):
        run_human(study, tmp_path / name)
    for file in ("responses.parquet", "units.parquet", "truth.parquet", "exclusions.csv"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_careless_people_are_refused_and_change_nothing(study, tmp_path):
    run_human(study, tmp_path / "usual")
    run_human(study, tmp_path / "none", human__simulated__careless=0.0)
    for name in ("responses", "units", "truth"):
        found, without = ((tmp_path / folder / f"{name}.parquet").read_bytes() for folder in ("usual", "none"))
        assert found == without
    left_out = read_csv(tmp_path / "usual" / "exclusions.csv")
    # 60 sessions and 43 % of all that came: 23 a network, of 8 answers each
    assert left_out["n_participants"].sum() == 2 * 23
    assert left_out["n_responses"].sum() == 2 * 23 * 8
    assert set(left_out["source"]) == {"simulated"}
    assert read_csv(tmp_path / "none" / "exclusions.csv").empty
    checks = read_csv(tmp_path / "usual" / "checks.csv")
    assert (checks.groupby("check")[["n_passed", "n_failed"]].sum().sum(axis=1) == 60 + 46).all()
    assert set(checks["source"]) == {"simulated"}


def test_milder_bounds_let_the_careless_in(study, tmp_path):
    run_human(study, tmp_path / "usual")
    bounds = {"max_demo_blocks": 99, "min_catch_share": 0.0, "min_seconds": 0.0, "max_seconds": 1e6, "min_row": 0}
    bounds |= {"min_instruction_seconds": 0.0, "multi_participation": "ignore"}
    run_human(study, tmp_path / "mild", **{f"human__checks__{name}": value for name, value in bounds.items()})
    usual, mild = (read_parquet(tmp_path / name / "responses.parquet") for name in ("usual", "mild"))
    assert len(mild) == len(usual) + 2 * 23 * 8
    careless = mild["participant"].str.contains("careless")
    assert careless.sum() == 2 * 23 * 8
    pd.testing.assert_frame_equal(mild[~careless].reset_index(drop=True), usual)


def test_bounds_that_nobody_passes_are_named(study, tmp_path):
    message = r"none of the 106 simulated sessions passes human.checks.*total_response_time.*human.simulated.minutes 60"
    with pytest.raises(InputError, match=message):
        run_human(study, tmp_path / "human", human__simulated__minutes=60.0, human__checks__max_seconds=200.0)


def test_ignored_factor_changes_the_answers(study, tmp_path):
    run_human(study, tmp_path / "one")
    run_human(study, tmp_path / "two", human__simulated__ignored_factor="")
    truths = [read_parquet(tmp_path / name / "truth.parquet")["p_true"] for name in ("one", "two")]
    assert not np.allclose(*truths)
    with pytest.raises(InputError, match=r"ignored_factor is 'smell'"):
        run_human(study, tmp_path / "three", human__simulated__ignored_factor="smell")


def test_stage_without_people_writes_headers_only(study, tmp_path):
    run_human(study, tmp_path / "human", human__source="none")
    for file, schema in (("responses", schemas.RESPONSES), ("units", schemas.UNITS), ("truth", schemas.TRUTH)):
        table = read_parquet(tmp_path / "human" / f"{file}.parquet")
        assert len(table) == 0
        assert list(table.columns) == schema.names
    headers = {
        "exclusions": "reason,n_responses,n_participants",
        "crosstab": "experiment,model,mode,condition,status,n_rows,n_sessions",
        "verdicts": "check,n_sessions,n_agree,n_stricter,n_milder",
        "unmatched": "imi_model,imi_layer,model,reason,n_units,n_responses",
    }
    for name, header in headers.items():
        assert (tmp_path / "human" / f"{name}.csv").read_text() == header + ",source\n"


def test_sources_that_cannot_be_read_are_errors(study, tmp_path):
    with pytest.raises(InputError, match=r"responses_main.csv: no such file. human.source is imi"):
        run_human(study, tmp_path / "human", human__source="imi")
    with pytest.raises(InputError, match=r"answers.csv: no such file. human.source is table"):
        run_human(study, tmp_path / "human", human__source="table", human__table__file="answers.csv")
    factors = study / "data" / "images" / "factors.parquet"
    hidden = factors.rename(factors.with_suffix(".hidden"))
    try:
        with pytest.raises(InputError, match=r"factors.parquet does not exist.*human.source to none"):
            run_human(study, tmp_path / "human")
    finally:
        hidden.rename(factors)
