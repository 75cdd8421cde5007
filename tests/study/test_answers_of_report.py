"""The answer to each question in a line: numbers of the tables, and no claim beyond their tests and intervals."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from interpretability.analysis.explanation_kinds import CHOSEN
from interpretability.analysis.training_series import ALL_SERIES
from interpretability.schema import NATURAL
from study.report.figures.base import SECTIONS
from study.report.figures.registry import FIGURES
from study.report.figures.words import method_words
from study.report.page import lacking, sections
from study.report.page.answers import answers, with_range
from tests.study.test_figures import study_in

KEYS = [key for key, _ in SECTIONS]
ABOUT_PEOPLE = ("people", "ceiling", "scores", "human")
LEAD = "encoder"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return study_in(tmp_path_factory.mktemp("study"), made=True)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return study_in(tmp_path_factory.mktemp("bare"), human=False)


def changed(study, name, **columns):
    return replace(study, tables={**study.tables, name: study.tables[name].assign(**columns)})


def told(value, low, high, digits=3):
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})".replace("-", "−")


def test_every_question_is_answered_and_answers_of_a_study_without_data_are_empty(study, bare):
    assert all(answers(study)[key].endswith(".") for key in KEYS)
    found = answers(bare)
    assert [key for key in KEYS if found[key]] == ["ranking", "layers", "robust"]
    empty = replace(bare, tables={name: table.head(0) for name, table in bare.tables.items()})
    assert set(answers(empty).values()) == {""}


def test_no_answer_says_that_a_number_is_missing(study, bare):
    for sentence in [*answers(study).values(), *answers(bare).values()]:
        assert "nan" not in sentence
        assert "None" not in sentence
        assert "–" not in sentence


def test_simulated_observers_are_called_so_in_every_answer_about_them(study):
    found = answers(study)
    assert all("simulated observers" in found[key] for key in ABOUT_PEOPLE)
    assert "simulated" in found["bases"]
    real = answers(replace(study, simulated=False))
    assert all("simulated" not in real[key] and "people" in real[key] for key in ABOUT_PEOPLE)


def test_networks_stand_in_order_with_their_intervals(study, bare):
    rows = study.models()
    wanted = ", ".join(f"{row.model} {told(row.mis_mean, row.mis_low, row.mis_high)}" for row in rows.itertuples())
    assert answers(study)["ranking"].startswith(f"Mean MIS: {wanted}.")
    # a level that hangs on a slope of nobody's answers says so
    assert answers(bare)["ranking"].endswith("The slope is not calibrated, so the level is a convention.")
    assert "slope" not in answers(study)["ranking"]


@pytest.mark.parametrize(
    ("p", "sentence"),
    [
        (0.01, "All 6 pairs differ."),
        (0.5, "No difference is found in any of the 6 pairs."),
        (np.nan, "No pair is tested (too few)."),
    ],
)
def test_networks_differ_as_far_as_the_test_says(study, p, sentence):
    table = study.tables["network_tests"]
    own = table[table["backend"] == "human"].assign(
        backend=LEAD, p_holm=p, stars="*" if p < 0.05 else "NS", reason="too few"
    )
    found = replace(study, tables={**study.tables, "network_tests": own})
    assert answers(found)["ranking"].endswith(f" {sentence}")
    one = own.assign(p_holm=[0.01, *[0.5] * 5], stars=["**", *["NS"] * 5])
    first, second = one.iloc[0][["first", "second"]]
    words = answers(replace(study, tables={**study.tables, "network_tests": one}))["ranking"]
    assert f"By the test of pairs {first} differs from {second}; no difference is found in the other five." in words


def test_one_network_has_no_ranking_and_many_are_not_all_named(tmp_path):
    one = study_in(tmp_path / "one", human=False, networks=("resnet",))
    row = one.models().iloc[0]
    words = answers(one)["ranking"]
    assert words.startswith(
        f"resnet has a mean MIS of {told(row['mis_mean'], row['mis_low'], row['mis_high'])} over 108 units"
    )
    assert f"{row['p25']:.3f} to {row['p75']:.3f}" in words
    many = study_in(tmp_path / "many", networks=tuple(f"net{i}" for i in range(9)))
    ranked = many.models()
    words = answers(many)["ranking"]
    assert words.count("net") == 3  # the first, the last, and their number
    assert f"{ranked['model'].iloc[0]} " in words
    assert f"to {ranked['model'].iloc[-1]} " in words
    assert "over 9 networks" in words
    row = (
        many.tables["correlations"]
        .query("backend == @LEAD and level == 'layer' and layer_type == '' and x == 'depth'")
        .iloc[0]
    )
    assert (
        f"Correlation with depth: {with_range(row['pearson'], row['low'], row['high'], 2)}" in answers(many)["layers"]
    )


def test_layers_run_from_the_lowest_to_the_highest_mean(study):
    rows = study.tables["layers"]
    rows = rows[(rows["backend"] == LEAD) & rows["model"].isin(study.models()["model"])].sort_values("mis_mean")
    ends = [f"{row['mis_mean']:.3f} in {row['model']} {row['layer']}" for row in (rows.iloc[0], rows.iloc[-1])]
    assert answers(study)["layers"].startswith(
        f"Mean MIS of a layer runs from {ends[0]} to {ends[1]}, {len(rows)} layers."
    )


def test_agreement_is_claimed_as_far_as_its_interval_goes(study):
    rows = study.tables["agreement"]
    unit = (rows["backend"] == LEAD) & (rows["level"] == "unit") & (rows["units"] == "outside_split")
    row = rows[unit].iloc[0]
    level = told(row["pearson"], row["pearson_low"], row["pearson_high"], 2)
    assert answers(study)["people"].startswith(
        f"It goes with the answers of simulated observers: r = {level} over {row['n']} units"
    )
    for ends, claim in (((-0.1, 0.4), "No agreement can be told with"), ((-0.4, -0.1), "It goes against")):
        other = changed(study, "agreement", pearson=0.1, pearson_low=ends[0], pearson_high=ends[1])
        assert answers(other)["people"].startswith(claim)
    # without an interval nothing is claimed
    assert answers(changed(study, "agreement", pearson_low=np.nan, pearson_high=np.nan))["people"].startswith(
        "No agreement"
    )


def test_the_ceiling_is_a_lower_bound_where_v4_leads(study):
    rows = study.tables["noise_ceiling"]
    leads = rows[(rows["leads"] == 1) & (rows["backend"] == "") & (rows["subset"] == "all")].iloc[0]
    words = answers(study)["ceiling"]
    assert f"reach r = {told(leads['mean'], leads['low'], leads['high'], 2)}" in words
    share = rows[(rows["backend"] == LEAD) & rows["share"].notna()].iloc[0]
    assert (
        f"MIS reaches {100 * share['share']:.0f} % ({100 * share['share_low']:.0f} to {100 * share['share_high']:.0f} %)"
        in words
    )
    v4 = replace(
        study,
        tables={
            **study.tables,
            "noise_ceiling": rows[rows["variant"] != "V4w"].assign(leads=lambda t: (t["variant"] == "V4").astype(int)),
        },
    )
    assert "reach at least r = " in answers(v4)["ceiling"]


def test_other_scores_are_better_only_where_the_test_says_so(study):
    table = study.tables["scores_compared"]
    others = (table["part"] == "people") & (table["first"] != "mis")
    for p, difference, words in (
        (0.5, 0.3, "of ten other scores none agrees better and none worse, and for ten no difference is found"),
        (0.01, 0.3, "of ten other scores ten agree better and none worse (p after Holm)"),
        (0.01, -0.3, "of ten other scores none agrees better and ten worse (p after Holm)"),
    ):
        changes = {
            "p_holm": table["p_holm"].where(~others, p),
            "difference": table["difference"].where(~others, difference),
        }
        assert words in answers(changed(study, "scores_compared", **changes))["scores"]
    mis = table[
        (table["part"] == "people")
        & (table["first"] == "mis")
        & (table["level"] == "unit")
        & (table["backend"] == LEAD)
    ]
    row = mis[mis["coefficient"] == "spearman"].iloc[0]
    assert told(row["value"], row["low"], row["high"], 2) in answers(study)["scores"]


def test_texts_are_told_apart_only_by_their_test(study):
    rows = study.tables["explanation_methods"]
    rows = rows[(rows["score"] == "automatic") & rows["model"].isin(study.models()["model"])]
    words = answers(study)["texts"]
    for _, own in rows.groupby("model"):
        best = own.sort_values("rho_mean").iloc[-1]
        assert f"{best['model']} {told(best['rho_mean'], best['low'], best['high'])}" in words
        assert method_words(best["method"]) in words
    assert words.endswith("; four of four differ from the second best by test.")
    unsure = changed(study, "explanation_tests", p_holm=0.2)
    assert answers(unsure)["texts"].endswith("; none of them differs from the second best by test.")
    untested = replace(study, tables={**study.tables, "explanation_tests": study.tables["explanation_tests"].head(0)})
    assert "test" not in answers(untested)["texts"]
    # where texts were only rated, ratings lead, and simulated raters are called so
    methods = study.tables["explanation_methods"]
    rated = replace(study, tables={**study.tables, "explanation_methods": methods[methods["score"] != "automatic"]})
    assert answers(rated)["texts"].startswith("Highest by ratings of simulated raters: ")


def test_kinds_of_explanation_differ_only_where_their_interval_holds_no_zero(study):
    table = study.tables["explanation_kinds"]
    kinds = ~table["kind"].isin([NATURAL, CHOSEN])
    unsure = changed(
        study, "explanation_kinds", low=table["low"].where(~kinds, -0.1), high=table["high"].where(~kinds, 0.1)
    )
    words = answers(unsure)["kinds"]
    # made images are named whatever came out, and counted with those that cannot be told apart
    made = table.set_index(["backend", "model", "kind"])["difference"][LEAD, "", "synthetic"]
    among = f"made images {made:+.3f} (-0.100 to 0.100) among them.".replace("-", "−")
    assert words.startswith(f"Of four kinds none can be told from natural explanations of the same units, {among}")
    mixed = table["kind"] == "mixed"
    rows = unsure.tables["explanation_kinds"].assign(low=lambda each: each["low"].mask(mixed, 0.01))
    some = answers(replace(unsure, tables={**unsure.tables, "explanation_kinds": rows}))["kinds"]
    assert some.startswith("Against natural explanations of the same units: natural and made ")
    assert f"; of three other kinds no difference can be told, {among[:-1]}, each by its own interval." in some
    # too few units for an interval: no claim either way
    few = rows.assign(low=rows["low"].mask(mixed), high=rows["high"].mask(mixed))
    alone = answers(replace(unsure, tables={**unsure.tables, "explanation_kinds": few}))["kinds"]
    assert alone.startswith("Of three kinds none can be told")
    assert re.search(r" Without an interval: natural and made [+−]0\.\d{3} over \S+ units?\. ", alone)
    without = table[table["kind"] != "synthetic"]
    none = replace(unsure, tables={**unsure.tables, "explanation_kinds": without.assign(low=-0.1, high=0.1)})
    assert answers(none)["kinds"].startswith("Of three kinds none can be told from natural explanations")


@pytest.mark.parametrize(
    ("ends", "tail"), [((0.05, 0.15), "unit by unit: "), ((-0.05, 0.15), "unit by unit, which tells no change: ")]
)
def test_training_gains_what_its_interval_says(study, ends, tail):
    whole = study.tables["training_gain"].set_index(["backend", "series"]).loc[(LEAD, ALL_SERIES)]
    words = answers(changed(study, "training_gain", low=ends[0], high=ends[1]))["training"]
    assert words.startswith(
        f"+{whole['difference']:.3f} ({ends[0]:.3f} to {ends[1]:.3f}) MIS, {tail}".replace("-", "−")
    )
    assert f"mean over four networks, {whole['n_units']:,.0f} units, trained minus untrained." in words
    # a table without the mean names its networks
    alone = study.tables["training_gain"].loc[lambda rows: rows["series"] != ALL_SERIES]
    words = answers(replace(study, tables={**study.tables, "training_gain": alone}))["training"]
    assert words.startswith("Trained minus untrained, unit by unit: resnet +0.080 (0.050 to 0.150), ")
    assert "mean over" not in words


def test_training_without_an_untrained_step_has_no_gain(study):
    found = replace(study, tables={**study.tables, "training_gain": study.tables["training_gain"].head(0)})
    words = answers(found)["training"]
    steps = study.tables["training"].query("backend == @LEAD and series == 'resnet'").sort_values("step")
    first, last = (f"{row['mis_mean']:.3f} at step {row['step']:g}" for row in (steps.iloc[0], steps.iloc[-1]))
    assert f"resnet from {first} to {last}" in words
    assert words.endswith("No network has an untrained step.")


def test_controls_that_fail_are_counted(study):
    passed = pd.to_numeric(study.tables["controls"]["passed"], errors="coerce")
    n = int(passed.notna().sum())
    assert (
        answers(study)["controls"]
        == f"All {n} checks with an answer known beforehand came out as they should, over all similarities."
    )
    first = passed.index[passed.notna()][0]
    failed = changed(study, "controls", passed=passed.where(passed.index != first, 0))
    assert answers(failed)["controls"].startswith(f"1 of {n} checks with an answer known beforehand failed")


def test_similarities_are_compared_with_the_leading_one(study):
    rows = study.tables["backend_agreement"]
    own = rows[(rows["first"] == LEAD) | (rows["second"] == LEAD)]
    for row in own.itertuples():
        assert f"{row.second if row.first == LEAD else row.first} {row.spearman:.2f}" in answers(study)["robust"]
    lead = study.tables["backends"].query("backend == @LEAD").iloc[0]
    moved = f"{lead['mis_mean']:.3f} moves from {lead['mis_slope_low']:.3f} to {lead['mis_slope_high']:.3f}"
    assert moved in answers(study)["robust"]


def test_every_figure_can_be_lacking_in_words_and_reasons_stand_once():
    assert set(lacking.WHAT) == {spec.name for spec in FIGURES}
    assert set(sections.LEADS) == set(KEYS)
    assert {name for names in sections.LEADS.values() for name in names} <= set(lacking.WHAT)
    section = {spec.name: spec.section for spec in FIGURES}
    assert all(section[name] == key for key, names in sections.LEADS.items() for name in names)
    rows = lacking.lacking(
        [("his_models", "nobody", "What?"), ("mis_against_his", "nobody", "Why?"), ("confidence", "not asked", "")]
    )
    assert rows == [
        lacking.Lacking("human answers", ("nobody",), ("What?", "Why?")),
        lacking.Lacking("confidence of answers", ("not asked",), ()),
    ]


def test_methods_of_texts_are_named_in_words_beside_their_code():
    assert method_words("le_label") == "linear explanations from labels (le_label)"
    assert method_words("le_guide_1") == "linear explanations from a guide, one concept (le_guide_1)"
    assert method_words("mine_1") == "mine_1"


def test_features_in_superposition_say_which_tasks_their_scores_are_of(study):
    words = answers(study)["bases"]
    assert "In one-sided tasks of a simulated layer in superposition units that mix features score " in words


def test_simulated_observers_are_no_people_in_the_questions(study):
    asked = dict(sections.questions(study))
    assert asked["people"] == "Does the score agree with simulated observers?"
    assert asked["human"] == "What do the answers of simulated observers look like?"
    assert sections.questions(replace(study, simulated=False)) == list(SECTIONS)
