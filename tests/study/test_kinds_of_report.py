"""What the report says of kinds of explanation and made images, and marks of answers through the encoder."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from interpretability.analysis.explanation_kinds import CHOSEN
from interpretability.schema import BEATS, BELOW, NATURAL, SYNTHETIC, UNIT, UNREACHABLE
from study.params.whole import load_params
from study.report.figures import base, conditions, his, kinds, made_images, mis_and_his, registry
from study.report.figures.items import GALLERY, MADE_GALLERY
from study.report.figures.registry import FIGURES
from study.report.page import facts, inputs, seeds, tables_of_answers, tables_of_kinds
from study.report.page.template import make_environment
from study.report.page.views import read_caption
from tests.helpers.kind_tables import KINDS, N_UNITS
from tests.helpers.report_fixture import BACKENDS, NETWORKS, STUDY, build

FIRST, SECOND = NETWORKS[:2]
REPORTS = Path(__file__).parents[2] / "reports"
THROUGH = frozenset({SYNTHETIC})


def study_in(folder, **options):
    build(folder, networks=NETWORKS[:2], units_a_layer=N_UNITS, texts=False, **options)
    folders = ("tables", "mis", "human", "calibration", "tasks", "explanations", "crowd")
    other_seeds = seeds.read_seeds(folder / "seeds.csv", STUDY)
    params = asdict(load_params(folder / "params.yaml"))
    return inputs.load_study(params, *(folder / name for name in folders), other_seeds)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return study_in(tmp_path_factory.mktemp("study"), made=True)


@pytest.fixture(scope="module")
def without_people(tmp_path_factory):
    return study_in(tmp_path_factory.mktemp("machine"), made=True, human=False)


def changed(study, **tables):
    return replace(study, tables={**study.tables, **tables})


def states(study, *more):
    drawn = {GALLERY, *more, *(spec.name for spec in FIGURES if len(spec.series(study)))}
    found = registry.of_papers(study, drawn).set_index(["paper", "figure"])
    return found["state"] + ": " + found["how"], found["ours"]


def test_every_kind_is_set_against_natural_explanations_of_the_same_units(study):
    frame = kinds.explanation_kinds(study)
    assert list(dict.fromkeys(frame["model"])) == ["", *(m for m in study.models()["model"] if m in (FIRST, SECOND))]
    whole = frame[frame["model"] == ""].set_index("kind")
    assert list(whole.index) == list(KINDS)
    assert whole.loc[SYNTHETIC, "difference"] == pytest.approx(KINDS[SYNTHETIC][0])
    words = kinds.alt_explanation_kinds(frame, study)
    assert (
        "all networks, 11 units: natural, 3 a side −0.030 (interval −0.040 to −0.018), chosen for 10 % of the 11 that have it"
        in words
    )
    assert "made images −0.022" in words
    # a study whose units have natural explanations alone has nothing to compare
    table = study.tables["explanation_kinds"]
    alone = changed(study, explanation_kinds=table[table["kind"].isin([NATURAL, CHOSEN])])
    assert kinds.explanation_kinds(alone).empty


def test_the_gain_of_choosing_stands_beside_the_naive_one(study):
    frame = kinds.choosing_gain(study)
    assert frame["backend"].tolist() == [*[BACKENDS[0]] * 3, *BACKENDS[1:]]
    assert (frame["naive"] > frame["difference"]).all()
    words = kinds.alt_choosing_gain(frame, study)
    assert "all, encoder 0.010 (interval 0.002 to 0.018), naive 0.030" in words
    # the slope of the last similarity is not identified
    assert "all, null* " in words
    assert "slope not identified" in words


@pytest.mark.parametrize(
    ("ends", "claim"),
    [
        ((0.01, 0.002, 0.018), "gains 0.010 (interval 0.002 to 0.018)"),
        ((0.01, -0.002, 0.022), "gains nothing that can be told apart from 0: 0.010 (interval −0.002 to 0.022)"),
        ((-0.01, -0.02, -0.001), "loses 0.010 (interval −0.020 to −0.001)"),
        ((0.01, np.nan, np.nan), "gives 0.010, of which there is no interval"),
    ],
)
def test_what_choosing_gains_is_claimed_as_far_as_its_interval_goes(study, ends, claim):
    table = study.tables["explanation_kinds"].copy()
    table.loc[table["kind"] == CHOSEN, ["difference", "low", "high"]] = ends
    first = kinds.choosing_words(changed(study, explanation_kinds=table))[0]
    assert first.startswith(
        f"Choosing a kind for each of 11 units {claim}; the highest of the same scores would promise 0.030"
    )


def test_one_set_of_made_images_is_called_too_good_and_none_is_named(study):
    table = study.tables["explanation_kinds"]
    one, none = (kinds.choosing_words(changed(study, explanation_kinds=table.assign(n_sets=n))) for n in (1, 0))
    assert "the gain is too high" in one[1]
    assert none[1] == "No kind with made images takes part"
    two = kinds.choosing_words(study)
    assert two[1:] == [
        "Chosen, each for a share of the units that have it: natural 40 %; natural and made 25 %; made images 20 %; "
        "natural, 3 a side 10 %; grouped by topic 5 %"
    ]
    assert kinds.choosing_words(changed(study, explanation_kinds=table.head(0))) == []


@pytest.mark.parametrize(
    ("n_sets", "said"), [(2, "and the other set"), (1, "is the same in both"), (0, "reported on the other half, 95")]
)
def test_how_kinds_are_chosen_is_told_of_the_sets_there_are(study, n_sets, said):
    table = study.tables["explanation_kinds"]
    sets = kinds.sets_of_choice(changed(study, explanation_kinds=table.assign(n_sets=n_sets)))
    told = {
        "choosing_sets": sets,
        "choosing_words": ["words"],
        "backends": [],
        "confidence": "95 %",
        "star": "",
        "finding": "",
    }
    environment = make_environment(REPORTS / "template")
    caption = " ".join(read_caption(REPORTS / "captions/choosing_gain.md", environment, told)[1])
    assert said in caption
    assert ("other set" in caption) == (n_sets == 2)
    assert ("seed set" in caption) == (n_sets > 0)
    prose = str(environment.get_template("notes.html.j2").make_module(told).of_kinds())
    assert ("other set" in prose) == (n_sets == 2)
    assert ("seed set" in prose) == (n_sets > 0)


def test_queries_are_said_to_be_counted_otherwise_where_topics_are_shown():
    for path in ("captions/explanation_kinds.md", "template/notes.html.j2"):
        assert "counts by its most similar topic" in (REPORTS / path).read_text(encoding="utf-8")


def test_made_images_are_counted_by_status(study):
    frame = made_images.made_images(study)
    assert len(frame) == 2 * N_UNITS * 2 * 2
    counts = frame["status"].value_counts()
    assert (counts[BELOW], counts[UNREACHABLE]) == (2, 2)
    words = made_images.made_words(study)
    assert words[0].startswith(
        "Images were made for 12 units, 2 seed sets of either side. Of 48 sides 44 beat nature, 2 lie below nature"
    )
    assert "every picture of the study; of those below, 2 have a best image that does)" in words[0]
    assert words[1] == (
        "Shifted by 3 pixels the best images of 46 sides keep 90 % of their ratio (median over sides): as a rule little of it "
        "hangs on their exact place"
    )
    assert words[-1] == f"{SECOND}: not in IMI, which leaves networks with attention out"
    alt = made_images.alt_made_images(frame, study)
    assert f"{SECOND}, not in IMI, made to excite: 10 beat nature, 2 are unreachable; median ratio" in alt
    table = study.tables["made_images"]
    fragile = changed(study, made_images=table.assign(kept_after_shift=0.11, position_bound=1))
    words = made_images.made_words(fragile)
    assert "keep 11 % of their ratio (median over sides): the rest hangs on their place" in words[1]
    bound = (
        "of the sides are bound to their place: some shift by 3 pixels takes more than half of their best image’s ratio"
    )
    assert words[2] == f"48 {bound}, and takes 46 of them, which go beyond nature, back within it"
    # a side can be bound to its place below nature
    below = table[table["status"] == BELOW].assign(position_bound=1, ratio_best=0.9)
    assert made_images.made_words(changed(study, made_images=below))[2] == f"2 {bound}"
    one = made_images.made_words(changed(study, made_images=below.assign(ratio_best=[1.5, 0.5])))
    assert "of those below, 1 have a best image that does" in one[0]
    assert one[2] == f"2 {bound}, and takes 1 of them, which go beyond nature, back within it"
    assert made_images.made_words(changed(study, made_images=table.head(0))) == []


def test_ratios_and_counts_of_the_table_are_those_of_the_units(study):
    table = tables_of_kinds._made_table(study)
    cells = {(row[0], row[1]): row for row in table.rows}
    own = study.tables["made_images"].query("model == @FIRST and side == 'min'")
    row = cells[FIRST, "made not to excite"]
    assert row[2:8] == (str(N_UNITS), "2", str((own["status"] == BEATS).sum()), "2", "0", "0")
    assert row[8] == f"{own['ratio_best'].median():.2f}"
    assert cells[f"{SECOND} (not in IMI)", "made to excite"][6] == "2"


def test_scores_with_made_images_are_joined_by_unit(study):
    frame = made_images.mis_natural_synthetic(study)
    units = study.units.set_index([*UNIT, "condition"])["mis"]
    owners = [(FIRST, "a.conv", unit) for unit in range(N_UNITS)]
    own = frame[frame["model"] == FIRST].sort_values("mis_base")
    wanted = sorted((units[(*owner, NATURAL)], units[(*owner, SYNTHETIC)]) for owner in owners)
    np.testing.assert_allclose(own[["mis_base", "mis"]], wanted)
    assert own["mean"].iloc[0] == pytest.approx(np.mean([made for _, made in wanted]))
    natural, made = zip(*wanted, strict=True)
    assert own["spearman"].iloc[0] == pytest.approx(pd.Series(natural).corr(pd.Series(made), method="spearman"))
    alt = made_images.alt_mis_natural_synthetic(frame, study)
    assert f"{SECOND} {frame.loc[frame['model'] == SECOND, 'spearman'].iloc[0]:.2f} over 5 units" in alt
    assert alt.count("not in IMI") == 1


def test_figures_of_the_papers_are_built_as_far_as_the_study_has_them(study, without_people):
    state, ours = states(study, MADE_GALLERY)
    assert state["IMI", "9"] == "built: "
    assert ours["IMI", "9"] == MADE_GALLERY
    assert state["IMI", "12"].startswith("built: on simulated answers, with 1 network")
    assert state["MIS", "14"].startswith(
        "built: on simulated answers, with encoder in place of DreamSim and 1 network in"
    )
    through, _ = states(replace(study, human_through=THROUGH), MADE_GALLERY)
    assert through["IMI", "12"].startswith("built: on simulated answers through the encoder")
    assert through["MIS", "14"].startswith("built: on simulated answers through the encoder")
    assert through["IMI", "13"].startswith("built: on simulated answers, ")
    machine, ours = states(without_people, MADE_GALLERY)
    assert machine["MIS", "14"] == (
        "built: for the machine alone, as there are no answers of people, with encoder in place of DreamSim and 2 networks "
        "in place of 9"
    )
    assert ours["MIS", "14"] == "mis_natural_synthetic"
    assert machine["IMI", "12"] == "not in this study: answers of people (human.source)"
    unseen, _ = states(study)
    assert unseen["IMI", "9"] == "not in this study: the page shows no units with pictures"
    none = changed(without_people, made_images=study.tables["made_images"].head(0))
    none = replace(none, units=none.units[none.units["condition"] == NATURAL])
    lacking, _ = states(none)
    assert lacking["IMI", "9"] == "not in this study: no images were made (visualisations.units)"
    assert lacking["MIS", "14"] == "not in this study: answers of people (human.source)"


def test_answers_through_the_encoder_are_marked_wherever_they_are_shown(study):
    marked = replace(study, human_through=THROUGH)
    words = "through the encoder"
    for drawing, frame in (
        (his.HIS_MODELS, his.his_models(study)),
        (conditions.NATURAL_SYNTHETIC, conditions.natural_synthetic(study)),
        (mis_and_his.MODELS_MIS_HIS_SYNTHETIC, mis_and_his.models_mis_his(study, synthetic=True)),
    ):
        assert words in drawing.alt(frame, marked)
        assert words not in drawing.alt(frame, study)
        for narrow in (False, True):
            assert words in base.render(drawing, frame, marked, "title", narrow=narrow)
            assert words not in base.render(drawing, frame, study, "title", narrow=narrow)
    table = tables_of_answers._synthetic_table(marked)
    assert {row[3] for row in table.rows if row[1] == SYNTHETIC} == {"simulated observers, through the encoder"}
    assert any(words in row[1] for row in tables_of_answers._his_table(marked).rows)
    # natural answers are the observers' own
    assert words not in mis_and_his.alt_models_mis_his(mis_and_his.models_mis_his(study, synthetic=False), marked)


def test_captions_say_how_units_with_synthetic_explanations_came_about(study):
    made = study.tables["made_images"][UNIT].drop_duplicates().assign(condition=SYNTHETIC)
    assert not facts.synthetic_units(study)
    asked = replace(study, human=pd.concat([study.human, made], ignore_index=True))
    assert "were named (visualisations.units), not drawn" in facts.synthetic_units(asked)
    first = study.tables["made_images"].query(f"model == '{FIRST}'")
    told = facts.synthetic_units(changed(asked, made_images=first))
    assert f"were in part, {N_UNITS} of {2 * N_UNITS}, named" in told
    # answers of IMI, whose images are not those of this study
    assert "chose (IMI drew its own)" in facts.synthetic_units(changed(asked, made_images=first.head(0)))


def test_tasks_that_show_both_are_in_no_figure_of_a_paper(study):
    points = study.tables["model_points"]
    mixed = pd.concat([points, points[points["condition"] == NATURAL].assign(condition="mixed")], ignore_index=True)
    found = changed(study, model_points=mixed)
    for synthetic in (False, True):
        pd.testing.assert_frame_equal(
            mis_and_his.models_mis_his(found, synthetic=synthetic),
            mis_and_his.models_mis_his(study, synthetic=synthetic),
        )
