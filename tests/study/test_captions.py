"""What captions say: findings that intervals bear out, what was tested, and no word about what is not drawn."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from study.params.whole import load_params
from study.report.figures import style, words
from study.report.figures.crowd_settings import guides_of
from study.report.figures.findings import finding
from study.report.figures.registry import FIGURES
from study.report.figures.texts import AUTOMATIC, OURS
from study.report.page import inputs, seeds
from study.report.page.template import make_environment
from study.report.page.views import read_caption
from tests.helpers.report_fixture import STUDY, build
from tests.helpers.rules import ROOT

BY_NAME = {spec.name: spec for spec in FIGURES}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    build(folder, made=True)
    params = asdict(load_params(folder / "params.yaml"))
    folders = ("tables", "mis", "human", "calibration", "tasks", "explanations", "crowd")
    other_seeds = seeds.read_seeds(folder / "seeds.csv", STUDY)
    return inputs.load_study(params, *(folder / name for name in folders), other_seeds)


def test_a_finding_tells_a_difference_only_where_its_interval_does(study):
    kinds = pd.DataFrame({"model": "", "kind": ["synthetic", "natural_3"], "difference": [-0.07, -0.02]})

    def said(low, high):
        return finding("explanation_kinds", kinds.assign(low=low, high=high), study)

    assert said([-0.1, -0.03], [-0.04, -0.01]) == (
        "Over all networks MIS changes most with made images, −0.070 (interval −0.100 to −0.040)."
    )
    furthest = "Over all networks MIS lies furthest from natural with made images, −0.070"
    assert said([-0.2, -0.1], [0.06, 0.06]) == f"{furthest} (interval −0.200 to 0.060): no difference is told."
    assert said([-0.2, -0.03], [0.06, -0.01]).endswith("no difference is told; one is with natural, 3 a side.")
    assert said([np.nan] * 2, [np.nan] * 2) == f"{furthest}: no difference is told."


def test_a_finding_counts_layers_in_one_sided_tasks_alone(study):
    layers = pd.DataFrame(
        {
            "layer": ["a", "b", "", "a"],
            "condition": ["one_sided"] * 3 + ["natural"],
            "sign": ["below", "", "below", "above"],
        }
    )
    assert finding("units_or_directions", layers, study) == (
        "Of 2 comparisons of single layers in one-sided tasks 0 lie above and 1 below the units."
    )
    assert finding("units_or_directions", layers.tail(2), study) == ""


def test_a_finding_says_where_a_training_is_higher_than_at_its_end(study):
    steps = pd.DataFrame({"series": list("aaabbb"), "step": [0, 1, 2] * 2, "mis_mean": [0.5, 0.8, 0.7, 0.5, 0.6, 0.7]})

    def said(reach, frame=steps):
        return finding("training", frame.assign(mis_low=frame.mis_mean - reach, mis_high=frame.mis_mean + reach), study)

    rises = "Mean MIS rises in 2 of 2 trainings, by 0.200 to 0.200"
    assert said(0.01) == f"{rises}; a falls from 0.800 at step 1 to 0.700."
    assert said(0.06) == f"{rises}.", "intervals that meet do not tell a fall"
    many = pd.concat([steps.head(3).assign(series=name) for name in "abc"])
    assert said(0.01, many).endswith("; 3 are highest before the end and fall from there.")


def test_a_finding_of_tests_names_the_scores_that_were_tested(study):
    frame = BY_NAME["texts_tests"].series(study)
    assert set(frame["score"]) == {OURS}
    pairs = study.tables["explanation_tests"]
    both = pd.concat([pairs[pairs["score"] != AUTOMATIC], frame.assign(score=AUTOMATIC, p_holm=0.01)])
    known = replace(study, tables={**study.tables, "explanation_tests": both})
    own = frame["p_holm"].dropna()
    n_own, n_found = len(own), int((own < 0.05).sum())
    assert finding("texts_tests", frame, known) == (
        f"By ratings {n_found} of {n_own} tested pairs differ; by the automatic score, not drawn, {len(frame)} of {len(frame)}."
    )
    alone = frame.assign(score=AUTOMATIC, p_holm=[0.01] + [0.5] * (len(frame) - 1))
    assert finding("texts_tests", alone, known) == f"By the automatic score 1 of {len(frame)} tested pairs differ."
    assert finding("texts_tests", frame.assign(p_holm=np.nan), known) == ""


def test_a_pair_that_is_not_tested_has_no_tint(study):
    drawing = BY_NAME["texts_tests"].drawing
    frame = drawing.series(study).assign(effect=1.0, p_holm=0.5, stars="NS")

    def colours(frame):
        cells = [cell for axes in drawing.draw(frame, study, True).axes for cell in axes.patches]
        return {to_hex(cell.get_facecolor()) for cell in cells if cell.get_alpha()}

    assert colours(frame) == {style.RULE, style.COLOURS[0], style.COLOURS[1]}
    assert colours(frame.assign(p_holm=np.nan, stars=None)) == {style.RULE}
    axes = style.canvas(True, 1.0)[1][0, 0]
    style.tests_matrix(axes, frame.assign(stars="").head(1), list(frame.loc[frame.index[0], ["first", "second"]]), True)
    assert [cell.get_alpha() for cell in axes.patches if to_hex(cell.get_facecolor()) != style.RULE] == [0, 0]
    assert [text.get_text() for text in axes.texts] == ["–", "–"]


def test_made_images_of_several_sets_are_said_to_be_those_of_the_first(study):
    frame = BY_NAME["mis_natural_synthetic"].series(study)
    kinds = study.tables["explanation_kinds"]

    def said(n_sets):
        return finding(
            "mis_natural_synthetic",
            frame,
            replace(study, tables={**study.tables, "explanation_kinds": kinds.assign(n_sets=n_sets)}),
        )

    assert " made (first of 3 sets), over" in said(3)
    assert " made, over" in said(1)


def test_numbers_in_words_have_no_negative_zero():
    assert [words.signed(value) for value in (-0.001, -0.006, np.nan)] == ["0.00", "−0.01", "–"]


def test_the_caption_of_guides_explains_those_drawn_alone():
    environment = make_environment(ROOT / "reports/template")
    caption = ROOT / "reports/captions/crowd_guides.md"

    def said(*worlds):
        guides = guides_of(pd.DataFrame({"world": worlds}))
        return " ".join(read_caption(caption, environment, {"finding": "", "guides": guides})[1])

    assert "“broad”" in said("rare-broad", "rare-good")
    assert "“leak”" not in said("rare-broad", "rare-good")
    assert "“leak”" in said("rare-leak")
    assert "“" not in said("rare-good")
    assert guides_of(pd.DataFrame({"model": ["a"]})) == []
