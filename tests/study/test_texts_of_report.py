"""Texts of units in the report: methods and their intervals, texts of known order, what became of the paper's figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from study.report.figures import paper_of_texts, registry
from study.report.figures.crowd_settings import at_budget
from study.report.figures.findings import finding
from study.report.figures.items import GALLERY
from study.report.figures.registry import FIGURES
from study.report.figures.texts import KNOWN, method_rows
from study.report.figures.texts_known import ESTIMATORS, texts_known, texts_truth
from study.report.page import tables_of_texts
from tests.helpers.report_fixture import LAYERS, NETWORKS
from tests.study.test_figures import drawn_of, study_in

BY_NAME = {spec.name: spec for spec in FIGURES}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return study_in(tmp_path_factory.mktemp("texts"))


def with_methods(study, **changes):
    table = study.tables["explanation_methods"]
    return replace(study, tables={**study.tables, "explanation_methods": table.assign(**changes)})


def test_methods_of_networks_stand_by_rank_and_mean_without_planted_units(study):
    rows = method_rows(study, "automatic")
    assert list(dict.fromkeys(rows["model"])) == list(study.models()["model"])
    assert set(rows["method"]) == {"best", "invert", "le_label", "other"}
    means = rows.groupby("method")["rho_mean"].mean()
    first = rows[rows["model"] == rows["model"].iloc[0]]["method"]
    assert list(first) == list(means.sort_values(ascending=False).index)
    # a method of a network that is called as those of planted units stays
    table = study.tables["explanation_methods"]
    renamed = table.assign(method=table["method"].replace({"other": "broad"}))
    both = method_rows(replace(study, tables={**study.tables, "explanation_methods": renamed}), "automatic")
    assert set(both["model"]) == set(NETWORKS)
    assert "broad" in set(both["method"])


def test_an_interval_stands_only_where_the_status_allows_it(study):
    assert method_rows(study, "latent")[["low", "high"]].notna().all(axis=None)
    marked = with_methods(study, status="not calibrated: fewer than 8 units")
    assert method_rows(marked, "latent")[["low", "high"]].isna().all(axis=None)
    # the automatic score needs no model of raters
    assert method_rows(marked, "automatic")[["low", "high"]].notna().all(axis=None)
    frame = BY_NAME["texts_crowd"].series(marked)
    figure = BY_NAME["texts_crowd"].drawing.draw(frame, marked, False)
    bars = [c for axes in figure.axes for c in axes.collections if len(c.get_segments()) > 0]
    lengths = [np.ptp(segment, axis=0).max() for bar in bars for segment in bar.get_segments()]
    assert max(lengths) == 0
    assert "interval" not in BY_NAME["texts_crowd"].drawing.alt(frame, marked)
    allowed, table = tables_of_texts._methods_table(study), tables_of_texts._methods_table(marked)
    place = table.head.index("from ratings, ours")
    assert all("±" in row[place] or row[place] == "–" for row in table.rows)
    assert any(" to " in row[place] for row in allowed.rows)
    assert all(" to " in row[table.head.index("automatic")] for row in table.rows)


def test_methods_stand_with_all_their_scores_in_one_row(study):
    table = tables_of_texts._methods_table(study)
    means = study.tables["explanation_methods"].set_index(["model", "method", "score"])["rho_mean"]
    rows = {row[:2]: row for row in table.rows}
    assert len(rows) == len(table.rows) == 4 * 4 + 5
    assert [row[0] for row in table.rows][-5:] == ["planted units"] * 5
    assert [row[1] for row in table.rows][-5:] == list(KNOWN)
    model = study.models()["model"][0]
    for name, words in (("bragg_guide", "paper: BRAgg, guide prior"), ("majority", "paper: majority")):
        shown = rows[model, "best"][table.head.index(words)]
        assert shown == f"{means[model, 'best', name]:.3f}".replace("-", "−")
        assert rows[model, "invert"][table.head.index(words)] == "–"


def test_the_guide_alone_and_the_control_stand_beside_every_score(study):
    for name, column in (("texts_crowd", "guide_only_mean"), ("texts_automatic", "control_mean")):
        frame = BY_NAME[name].series(study)
        assert frame[column].notna().all()
        marks = {line.get_label(): line for line in BY_NAME[name].drawing.draw(frame, study, False).axes[0].lines}
        label = {"guide_only_mean": "guide alone", "control_mean": "texts of other units"}[column]
        first = frame[frame["model"] == frame["model"].iloc[0]]
        np.testing.assert_allclose(marks[label].get_xdata(), first[column].astype(float))


def test_texts_of_known_order_stand_from_the_best_to_the_worst(study):
    frame = texts_known(study)
    assert list(dict.fromkeys(frame["method"])) == list(KNOWN)
    assert set(frame["score"]) == {"automatic", "latent"}
    automatic = frame[frame["score"] == "automatic"].set_index("method")
    alt = BY_NAME["texts_known"].drawing.alt(frame, study)
    for name in KNOWN:
        assert f"{name} {automatic.loc[name, 'recall_mean']:.2f}" in alt
    # correlation puts the right text first, the score of top pictures a broad one
    assert automatic["rho_mean"].idxmax() == "true"
    assert automatic["recall_mean"].idxmax() == "broad"


def test_the_relative_error_is_a_ratio_of_sums_and_counts_undefined_scores_as_zero(study):
    columns = ("model", "layer", "unit", "method", "kind", "text", "score", "rho", "rho_true")
    text = ("m", "l", 0, "best", "simple", "t")
    scored = [("latent", 0.2, 0.3), ("latent", -0.1, 0.1), ("latent", np.nan, 0.2), ("majority", 0.3, 0.4)]
    rows = pd.DataFrame([(*text, *each) for each in scored], columns=columns)
    frame = texts_truth(replace(study, texts=rows)).drop_duplicates("score").set_index("score")
    assert frame.loc["latent", "rce"] == pytest.approx((0.1 + 0.2 + 0.2) / 0.6)
    assert frame.loc["latent", "undefined"] == pytest.approx(1 / 3)
    assert frame.loc["majority", "rce"] == pytest.approx(0.25)
    assert list(texts_truth(study).drop_duplicates("score")["score"]) == [
        name for name in ESTIMATORS if name in set(study.texts["score"])
    ]


def test_ours_and_the_guide_alone_stand_in_every_panel_of_the_simulated_crowd(study):
    for name in ("crowd_curves", "crowd_pareto"):
        spec = BY_NAME[name]
        for narrow in (False, True):
            figure = spec.drawing.draw(spec.series(study), study, narrow)
            for axes in figure.axes:
                labels = axes.get_legend_handles_labels()[1]
                assert {"ours", "guide alone"} <= set(labels), axes.get_title()
    assert set(BY_NAME["crowd_curves"].series(study)["sampler"]) >= {"uniform", "ag_is", "mg_is"}


def test_settings_are_compared_one_at_a_time_near_the_budget_of_the_paper(study):
    frame = BY_NAME["crowd_settings"].series(study)
    assert frame.groupby("setting")["value"].apply(list).to_dict() == {
        "gamma": [0, 0.2, 0.5],
        "beta": [0.01, 0.05, 0.2],
        "error_model": [0, 1],
    }
    assert set(frame["images"]) == {180}
    rows = pd.DataFrame({"world": "w", "part": "p", "method": "m", "raters": [1, 3, 3], "images": [183, 100, 180]})
    assert at_budget(rows).index.tolist() == [2]


def test_many_networks_fit_into_every_figure(tmp_path):
    names = tuple(f"network-{i}" for i in range(9))
    study = study_in(tmp_path, networks=names, layers=LAYERS[:3])
    for name in ("texts_automatic", "texts_crowd", "texts_tests", "texts_kappa"):
        frame = BY_NAME[name].series(study)
        assert set(names) <= set(frame["model"])
        figure = BY_NAME[name].drawing.draw(frame, study, False)
        panels = [axes.get_title() for axes in figure.axes if axes.get_visible()]
        assert len(panels) <= 6
        if name != "texts_kappa":
            assert panels == list(study.models()["model"][:6])


MACHINES = {"guide": "ViT-L-16-SigLIP-384", "presence": "labels", "second": "ViT-gopt-16-SigLIP2-384"}


def changed_guides(study, table):
    return replace(study, tables={**study.tables, "explanation_guides": table})


def test_scores_by_either_guide_stand_side_by_side(study):
    spec = BY_NAME["texts_guides"]
    frame = spec.series(study)
    assert set(frame["model"]) == set(study.models()["model"]), "planted units have texts of known order, no methods"
    assert finding(spec.name, frame, study).startswith("Means are 0.03 higher with the second guide")
    alt = spec.drawing.alt(frame, study)
    assert "(rank correlation 0.90)" in alt
    unranked = changed_guides(study, study.tables["explanation_guides"].assign(spearman=np.nan))
    assert "rank correlation" not in spec.drawing.alt(spec.series(unranked), study)
    assert finding(spec.name, spec.series(unranked), study) == "Means are 0.03 higher with the second guide."


def test_states_of_the_paper_on_texts(study, tmp_path):
    def states(of, drawn=None):
        found = registry.of_papers(of, drawn_of(of) if drawn is None else drawn)
        return found[found["paper"] == "Crowd"].set_index("figure")

    found = states(study)
    assert found.loc["3a", ["state", "how"]].tolist() == ["built", "in simulated worlds"]
    assert found.loc["4", "how"] == (
        "on simulated ratings, with 4 networks in place of ResNet-50 and ViT-B-16 and a simulated guide in place of SigLIP"
    )
    assert found.loc["table 1", "how"].endswith("the known factors of the scenes in place of SigLIP")
    assert found.loc["table 5", "how"].endswith("paired, all methods against each other")
    assert "`python -m experiment rehearse`" in found.loc["13", "how"]
    assert found.loc["14", "ours"] == GALLERY
    assert found.loc["table 3", ["state", "ours"]].tolist() == ["built", "texts_guides"]
    assert found.loc["table 3", "how"].endswith(
        "a simulated guide in place of SigLIP and another simulated guide in place of SigLIP 2"
    )
    # one number of ours beside the paper's
    assert found.loc["table 3", "ours_value"] == pytest.approx(0.9)
    by_guide = study.texts[study.texts["score"] == "guide_only"].astype({"rho": float, "rho_true": float})
    away = (by_guide["rho"] - by_guide["rho_true"]).abs().sum() / by_guide["rho_true"].abs().sum()
    assert found.loc["section 4", "ours_value"] == pytest.approx(away)
    assert found.loc["appendix C.7", "ours_value"] == pytest.approx(0.3)
    people = states(replace(study, rated_by_program=False, shown_by=MACHINES))
    for figure in ("4", "table 3"):
        assert people.loc[figure, "how"] == "with 4 networks in place of ResNet-50 and ViT-B-16"
    without_second = changed_guides(study, study.tables["explanation_guides"].head(0))
    lacking = states(without_second).loc["table 3"]
    assert lacking["state"] == "not in this study"
    assert lacking["how"].endswith("(explanations.second_guide)")
    simple = states(replace(study, texts=study.texts[study.texts["kind"] == "simple"]))
    assert simple.loc["table 2", "how"] == "no text is a formula of several concepts"
    without = study_in(tmp_path, texts=False)
    bare = states(without)
    assert not (bare["state"] == "built").any()
    assert bare.loc["14", "how"] == "no texts of units were judged (explanations)"
    assert set(bare["reported"]) >= set(paper_of_texts.REPORTED.values())
