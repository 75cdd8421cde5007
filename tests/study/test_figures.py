"""Figures: series from tables, drawings from series, the same bytes twice, no outside reference."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from study.params.whole import load_params
from study.report.figures import (
    base,
    ceiling,
    checklist,
    controls,
    layers,
    mis_and_his,
    papers,
    ranking,
    registry,
    style,
)
from study.report.figures.findings import finding
from study.report.figures.inline import inline
from study.report.figures.registry import FIGURES
from study.report.figures.series import thinned
from study.report.figures.style import spread
from study.report.figures.words import clean, signed
from study.report.page import facts, inputs, seeds, tables_of_scores
from tests.helpers.report_fixture import BACKENDS, NETWORKS, STUDY, build
from tests.helpers.rules import ROOT

BY_NAME = {spec.name: spec for spec in FIGURES}
# answer no figure of a paper
OURS = {"depth", "sensitivity", "dose_response", "control_levels", "texts_known", "texts_raters", "crowd_curves"}
OURS |= {"explanation_kinds", "choosing_gain", "made_images", "tuning", "difficulty_machine"}
OURS |= {"units_or_directions", "superposed", "scores_people", "scores_together"}


def study_in(folder: Path, **options):
    build(folder, **options)
    params = load_params(folder / "params.yaml")
    folders = ("tables", "mis", "human", "calibration", "tasks", "explanations", "crowd")
    other_seeds = seeds.read_seeds(folder / "seeds.csv", STUDY)
    return inputs.load_study(asdict(params), *(folder / name for name in folders), other_seeds)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return study_in(tmp_path_factory.mktemp("study"), made=True)


@pytest.fixture(scope="module")
def bare_study(tmp_path_factory):
    return study_in(tmp_path_factory.mktemp("bare"), human=False)


@pytest.mark.parametrize("spec", FIGURES, ids=lambda spec: spec.name)
def test_every_figure_is_one_drawing_for_light_dark_and_paper(spec, study):
    frame = spec.series(study)
    assert len(frame) > 0
    svg = base.render(spec.drawing, frame, study, "A title", narrow=True)
    on_the_page(inline(svg, spec.name, spec.drawing.alt(frame, study)), svg)


def for_papers(svg):
    """Valid, and without date, maker or address."""
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    # name spaces are names, not addresses; nothing else may point outside
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"|rdf:\w+="[^"]*"', "", svg)
    assert "<dc:date>" not in svg
    assert "Matplotlib" not in svg


MOST_ELEMENTS = 210  # of a figure of the page, which has dozens


def on_the_page(text, svg):
    """One drawing, or panels with one name, for light, dark and paper: every colour a variable, every word, no id."""
    root = ElementTree.fromstring(text)
    assert not re.search(r"#[0-9a-f]{3}|rgb|http| id=|clip|font-family", ElementTree.tostring(root, encoding="unicode"))
    assert set(re.findall(r"var\((.*?)\)", text)) <= set(style.PALETTE)
    drawings = list(root) if root.tag == "div" else [root]
    assert {each.tag for each in drawings} == {"svg"}
    assert {each.tag for drawing in drawings for each in drawing.iter()} <= {"svg", "g", "path", "text"}
    assert root.get("role") == "img"
    assert root.get("aria-label")
    # inside a group with a name the panels are silent
    assert len(root.findall(".//*[@role]")) == 0
    assert len(root.findall("svg[@aria-hidden='true']")) == len(list(root)) or root.tag == "svg"
    assert len(list(root.iter())) <= MOST_ELEMENTS
    words = sorted("".join(each.itertext()) for each in root.iter("text"))
    assert words == sorted("".join(each.itertext()) for each in ElementTree.fromstring(svg).findall(".//{*}text"))
    numbers = re.findall(r"-?\d+\.\d+", " ".join(each.get("d", "") for each in root.iter("path")))
    assert max((len(number.partition(".")[2]) for number in numbers), default=0) <= 2


def test_a_drawing_repeats_whatever_the_settings_of_a_user(study):
    spec = BY_NAME["models_ranked"]
    frame = spec.series(study)
    plain = base.render(spec.drawing, frame, study, "t", narrow=False)
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "path", "lines.linewidth": 9}):
        assert base.render(spec.drawing, frame, study, "t", narrow=False) == plain


@pytest.mark.parametrize("spec", FIGURES, ids=lambda spec: spec.name)
def test_series_of_header_only_tables_are_empty_not_errors(spec, study):
    empty = {name: table.head(0) for name, table in study.tables.items()}
    frames = {name: getattr(study, name).head(0) for name in ("units", "human", "curve", "texts", "raters")}
    nothing = replace(study, tables=empty, **frames)
    assert len(spec.series(nothing)) == 0


def test_a_study_without_people_has_no_figure_of_people(bare_study):
    # these need answers, controls, fits, checkpoints, feature maps or kept columns, which the bare study does not have
    of_people = {spec.name for spec in FIGURES if spec.section in ("people", "ceiling", "human")}
    of_texts = {spec.name for spec in FIGURES if spec.section == "texts"}
    missing = {
        *of_people,
        *of_texts,
        "likeness_to_people",
        "dose_response",
        "control_levels",
        "units_or_directions",
        "superposed",
        "scores_people",
        "scores_together",
        "calibration",
        "training",
        "layer_change",
        *("explanation_kinds", "choosing_gain", "made_images", "mis_natural_synthetic"),
    }
    assert {spec.name for spec in FIGURES if spec.series(bare_study).empty} == missing


@pytest.mark.parametrize("spec", FIGURES, ids=lambda spec: spec.name)
def test_a_figure_reads_only_the_tables_that_it_names(spec, study):
    named = {name: table for name, table in study.tables.items() if name in spec.tables}
    pd.testing.assert_frame_equal(spec.series(replace(study, tables=named)), spec.series(study))
    assert spec.section in dict(base.SECTIONS)
    assert spec.absent.startswith("No figure: ")
    assert spec.paper or spec.name in OURS


def test_figures_stand_in_the_order_of_their_sections():
    order = [key for key, _ in base.SECTIONS]
    places = [order.index(spec.section) for spec in FIGURES]
    assert places == sorted(places)
    assert len(BY_NAME) == len(FIGURES)


def test_a_network_read_at_several_sizes_is_one_line(study):
    spec, first = BY_NAME["mis_against_resolution"], NETWORKS[0]
    models = study.tables["models"]
    models = models.assign(
        input_size=[32 * (1 + NETWORKS.index(name)) if name in NETWORKS else 64 for name in models["model"]]
    )
    sizes = pd.DataFrame({"model": NETWORKS[:3], "of": first, "input_size": [32, 64, 96]})
    several = replace(study, tables={**study.tables, "models": models, "input_sizes": sizes})
    frame = spec.series(several)
    assert frame["input_size"].tolist() == [32, 64, 96, 128]
    assert frame["of"].tolist() == [first] * 3 + [NETWORKS[3]]
    figure = spec.drawing.draw(frame, several, False)
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 3]
    assert [list(line.get_xdata()) for line in lines] == [[32, 64, 96]]
    assert list(lines[0].get_ydata()) == frame["mis_mean"].tolist()[:3]
    named = {text.get_text() for text in figure.axes[0].texts}
    assert named == {clean(first, 18), clean(NETWORKS[3], 18)}, "each network is named once"
    change = frame["mis_mean"].iloc[2] - frame["mis_mean"].iloc[0]
    assert finding(spec.name, frame, several) == (
        f"From its smallest input to its largest mean MIS of {first} changes by {signed(change, 3)}."
    )
    two = frame.assign(of=[first, first, "b", "b"], mis_mean=[0.5, 0.6, 0.7, 0.68])
    assert finding(spec.name, two, several) == (
        "From the smallest input to the largest mean MIS rises in 1 of 2 networks; changes are −0.020 to 0.100."
    )
    assert f"The same network at several sizes: {first} from " in spec.drawing.alt(frame, several)


def test_likeness_has_a_panel_a_measure_and_a_look_a_score(study):
    spec = BY_NAME["likeness_to_people"]
    frame = spec.series(study)
    assert list(dict.fromkeys(frame["panel"])) == ["error_consistency", "V1"]
    first = frame[(frame["panel"] == "V1") & (frame["score"] == "mis")]
    assert first["model"].tolist() == list(study.models()["model"].loc[lambda names: names.isin(NETWORKS)])
    assert set(zip(frame["score"], frame["condition"], strict=True)) >= {("mis", "natural"), ("his", "natural")}
    figure = spec.drawing.draw(frame, study, True)
    assert [axes.get_title() for axes in figure.axes] == ["error consistency", "V1"]
    assert frame["spearman"].isna().all(), "four networks have no correlation"
    assert figure.axes[0].get_xlabel() == ""
    known = frame.assign(spearman=[0.25 if score == "mis" else -0.5 for score in frame["score"]])
    assert spec.drawing.draw(known, study, True).axes[1].get_xlabel() == "Spearman: MIS 0.25, HIS −0.50"
    assert finding(spec.name, known.assign(spearman=[0.1 if p == "V1" else -0.2 for p in known["panel"]]), study) == (
        "Rank correlation with mean MIS runs from −0.20 (error consistency) to 0.10 (V1)."
    )
    # the same measure of two sources is told apart
    rows, found = (study.tables[name] for name in spec.tables[::-1])
    rows, found = (table.assign(measure="m") for table in (rows, found))
    twice = replace(study, tables={**study.tables, "likeness": found, "likeness_networks": rows})
    assert list(dict.fromkeys(spec.series(twice)["panel"])) == ["m (raw-data)", "m (brain-score.csv)"]


def test_a_pdf_repeats_and_holds_no_date(study):
    spec = BY_NAME["his_by_mis"]
    (svg, first), (_, second) = (
        base.render_files(spec.drawing, spec.series(study), study, "A title") for _ in range(2)
    )
    assert first == second
    assert svg == base.render(spec.drawing, spec.series(study), study, "A title", narrow=False)
    assert first.startswith(b"%PDF")
    assert b"CreationDate" not in first
    assert b"atplotlib" not in first


def test_a_scatter_of_many_points_is_written_as_cells_with_counts():
    rng = np.random.default_rng(0)
    many = pd.DataFrame({"model": "m", "x": rng.random(5000), "y": rng.random(5000)})
    cells = thinned(many, ["model"], "x", "y")
    assert len(cells) <= 40 * 40
    assert cells["n"].sum() == 5000
    # the mean over cells, weighted, is that of the points
    assert np.average(cells["x"], weights=cells["n"]) == pytest.approx(many["x"].mean())
    few = thinned(many.head(10), ["model"], "x", "y")
    assert few["n"].tolist() == [1] * 10


def test_every_figure_of_the_three_papers_is_listed_with_its_state(study, bare_study):
    found = registry.of_papers(study, drawn_of(study))
    assert not found.duplicated(["paper", "figure"]).any()
    leading = found["figure"].str.extract(r"^(\d+)")[0].dropna().astype(int)
    numbers = {paper: set(of_paper) for paper, of_paper in leading.groupby(found["paper"])}
    assert numbers == {"MIS": set(range(1, 23)), "IMI": set(range(1, 24)), "Crowd": set(range(1, 17))}
    tables = found.loc[found["figure"].str.startswith("table "), ["paper", "figure"]]
    assert tables.values.tolist() == [["Crowd", f"table {number}"] for number in range(1, 8)]
    # every figure and table of the paper on texts says what is reported there, but for schemas
    reported = found[(found["paper"] == "Crowd") & (found["reported"] == "")]["figure"]
    assert reported.tolist() == ["1", "13"]
    state, how = (found.set_index(["paper", "figure"])[column] for column in ("state", "how"))
    for number in (8, *range(20, 24)):
        assert how["IMI", str(number)].startswith("a screenshot of the page that asks; `python -m experiment rehearse`")
    assert how["IMI", "13"] == "on simulated answers, with 4 networks in place of 9"
    # no test on synthetic explanations in this study, though its figure is drawn
    assert state["IMI", "11"] == "not in this study"
    assert how["IMI", "11"] == "nobody was asked about synthetic explanations"
    # similarity, networks and answers are not those of the papers
    assert state["MIS", "3"] == "built"
    assert how["MIS", "3"] == "with encoder in place of DreamSim and 4 networks in place of 835"
    assert how["MIS", "15"] == "with 4 networks in place of 835"
    assert how["MIS", "2A"] == "on simulated answers, with encoder in place of DreamSim and 4 networks in place of 9"
    assert how["MIS", "10"] == (
        "on simulated answers, with encoder, oracle, pixel and null in place of LPIPS, DISTS and DreamSim "
        "and 4 networks in place of 9"
    )
    assert how["MIS", "9"] == "with encoder in place of DreamSim"
    assert how["IMI", "15"] == "on simulated answers"
    # the encoder's correlation over all annotated units, 0.9 * 0.8 in the fabricated table
    value = found.set_index(["paper", "figure"])["ours_value"]
    assert value["MIS", "2B left"] == pytest.approx(0.72)
    bare = registry.of_papers(bare_study, drawn_of(bare_study))
    assert set(bare.loc[bare["ours"].isin(["his_models", "agreement"]), "how"]) == {"answers of people (human.source)"}


def test_every_figure_has_one_of_four_states_and_says_what_it_lacks(study, bare_study):
    drawings = {"MIS": ["1"], "IMI": ["1", "2", "8", "20", "21", "22", "23"], "Crowd": ["1", "13"]}
    of_authors = {"Crowd table 6", "Crowd table 7"}
    for of in (study, bare_study):
        for drawn in (drawn_of(of), set()):
            found = registry.of_papers(of, drawn)
            assert set(found["state"]) <= set(checklist.STATES)
            assert len(checklist.STATES) == 4
            named = found["paper"] + " " + found["figure"]
            assert set(named[found["state"] == "needs data"]) == of_authors, "in every study, and no other"
            assert found.loc[found["state"] == "a drawing"].groupby("paper")["figure"].agg(list).to_dict() == drawings
            assert (found.loc[found["state"] != "built", "how"] != "").all(), "what is missing is named"
            assert found.loc[found["state"] != "built", "ours_value"].isna().all()
            assert set(found.loc[found["state"] == "built", "ours"]) <= drawn | {item.half for item in papers.ITEMS}
    without_home = {item.name for item in papers.ITEMS if not item.ours and not item.drawing}
    assert without_home == of_authors


def drawn_of(study):
    return {papers.GALLERY, *(spec.name for spec in FIGURES if len(spec.series(study)))}


def test_a_figure_is_built_only_where_the_study_has_it(study):
    drawn = drawn_of(study)
    names, whole = sorted(drawn - {papers.GALLERY}), registry.of_papers(study, drawn)
    for first in range(7):  # every seventh figure is missing, all others are drawn: a list takes long
        missing = names[first::7]
        found = registry.of_papers(study, drawn - set(missing))
        gone = found["ours"].isin(missing)
        assert gone.any()
        assert (found.loc[gone, "state"] == "not in this study").all(), missing
        assert (found.loc[gone, "how"] != "").all()
        assert found.loc[gone, "ours_value"].isna().all()
        others = ~gone & ~whole["ours"].isin(missing)
        pd.testing.assert_frame_equal(found[others], whole[others])  # of others nothing changes
    without = registry.of_papers(study, drawn - {papers.GALLERY})
    assert set(without.loc[without["ours"] == papers.GALLERY, "how"]) == {"the page shows no units with pictures"}
    # a figure of several parts is drawn, one of its parts has no rows
    for name, (table, *_) in checklist._PARTS.items():
        empty = replace(study, tables={**study.tables, table: study.tables[table].head(0)})
        found = registry.of_papers(empty, drawn)
        state = found.loc[found["paper"] + " " + found["figure"] == name, "state"].item()
        assert state == "not in this study", name


def test_a_figure_that_this_study_lacks_says_what_would_give_it(study):
    lacking = {
        "MIS 7": "studies/training.yaml",
        "MIS 15": "studies/imagenet.yaml",
        "MIS 16": "studies/imagenet.yaml",
        "MIS 17": "studies/resolution.yaml",
        "IMI 4 right": "stats.likeness",
    }
    gone = {item.ours for item in papers.ITEMS if item.name in lacking}
    found = registry.of_papers(study, drawn_of(study) - gone)
    found.index = found["paper"] + " " + found["figure"]
    for name, place in lacking.items():
        assert found.loc[name, "state"] == "not in this study"
        assert place in found.loc[name, "how"]
        if place.endswith(".yaml"):
            assert (ROOT / place).is_file()


def test_what_differs_from_a_paper_is_read_off_the_study(study):
    def how(item, **changes):
        return checklist._built(replace(study, **changes), by_name[item])

    by_name = {item.name: item for item in papers.ITEMS}
    nine = {**study.tables, "model_points": pd.DataFrame({"model": papers.NINE})}
    assert how("MIS 2A", backends=("dreamsim", "null"), tables=nine, simulated=False) == ""
    assert how("MIS 2A", backends=("dreamsim",), tables=nine) == "on simulated answers"
    # one branch of DreamSim is another similarity
    other = how("MIS 2A", backends=("dreamsim-dino_vitb16",), tables=nine, simulated=False)
    assert other == "with dreamsim-dino_vitb16 in place of DreamSim"
    some = how("MIS 10", backends=("dreamsim", "lpips-alex"), tables=nine, simulated=False)
    assert some == "without DISTS"
    seven = {**study.tables, "model_points": pd.DataFrame({"model": papers.NINE[:7]})}
    few = how("MIS 2A", backends=("dreamsim",), tables=seven, simulated=False)
    assert few == "with 7 of the 9 networks"
    alone = {**study.tables, "training": pd.DataFrame({"series": ["vit", "vit"]})}
    assert how("MIS 8", backends=("dreamsim",), tables=alone) == "with vit in place of ResNet-50"


def test_networks_of_the_papers_are_called_as_in_the_files():
    names = pd.read_csv(ROOT / "data/external/models/imi_names.csv", dtype=str)["name"]
    assert sorted(papers.NINE) == sorted(names)


def test_correlations_over_networks_need_five_of_them():
    scores = [0.5, 0.6, 0.7, 0.8, 0.9]
    five = pd.DataFrame({"model": list("abcde"), "mis_mean": scores, "his_mean": [x + 0.1 for x in scores]})
    assert mis_and_his.agreed(five) == pytest.approx(1)
    four = pd.concat([five.head(4), five.head(4).assign(condition="hard85")])
    assert np.isnan(mis_and_his.agreed(four))


def of_few(name, study):
    """A figure's series and what stands beside it."""
    frame = BY_NAME[name].series(study)
    svg = base.render(BY_NAME[name].drawing, frame, study, "t", narrow=False)
    return frame, svg, BY_NAME[name].drawing.alt(frame, study)


def test_four_networks_are_drawn_as_points_and_five_with_what_joins_them(study, tmp_path):
    five = study_in(tmp_path, networks=(*NETWORKS, "swin"))
    for name in ("mis_against_accuracy", "mis_against_resolution", "models_mis_his"):
        (few, plain, told), (many, drawn, said) = of_few(name, study), of_few(name, five)
        assert few["model"].nunique() == 4
        assert few[["pearson", "spearman"]].isna().all().all()
        assert "Pearson" not in plain + told
        assert "fewer than 5" in told
        if name != "mis_against_resolution":  # which the fixture correlates with nothing
            assert many[["pearson", "spearman"]].notna().all().all()
            assert "Pearson" in drawn
            assert "Pearson" in said
    for name in ("relative_depth", "relative_width"):
        lines, bands = joined(name, study)
        assert not lines
        assert not bands
        assert all(joined(name, five))


def joined(name, study):
    """Whether any points are joined by a line, and whether there is a band."""
    figure = BY_NAME[name].drawing.draw(BY_NAME[name].series(study), study, False)
    lines = [line for axes in figure.axes for line in axes.lines if line.get_linestyle() not in ("None", "")]
    return [line for line in lines if len(line.get_xdata()) > 1], [c for axes in figure.axes for c in axes.collections]


def test_effects_between_layer_types_are_tinted_from_five_networks_on(study):
    drawing = BY_NAME["layer_type_tests"].drawing
    frame = drawing.series(study)

    def tinted(n):
        cells = drawing.draw(frame.assign(n_networks=n, effect=0.9), study, False).axes[0].patches
        # the tint of a pair without effect is not seen
        return any(to_hex(cell.get_facecolor()) in style.COLOURS and cell.get_alpha() for cell in cells)

    assert tinted(5)
    assert not tinted(4)


def test_rankings_hold_only_study_networks_at_their_last_step(study):
    table = study.tables["models"].copy()
    early = table[table["model"] == NETWORKS[0]].assign(model="early", last=0, mis_mean=0.99)
    control = table[table["model"] == NETWORKS[0]].assign(model="control", role="control", mis_mean=0.99)
    tables = {**study.tables, "models": pd.concat([table, early, control], ignore_index=True)}
    ranked = ranking.models_ranked(replace(study, tables=tables))
    assert set(ranked["model"]) == set(NETWORKS)
    assert ranked["mis_mean"].is_monotonic_decreasing
    assert list(ranked["rank"]) == [1, 2, 3, 4]


def test_distribution_counts_every_unit_once(study):
    frame = ranking.unit_distribution(study)
    assert set(frame["model"]) == set(NETWORKS)
    np.testing.assert_allclose(frame.groupby("model")["share"].sum(), 1.0)
    per_model = frame.groupby("model")["n"].first()
    natural = study.units[study.units["condition"] == "natural"]
    assert (per_model == natural.groupby("model").size()).all()
    # harder tasks of the same units are no further units
    both = pd.concat([study.units, study.units.assign(condition="hard95", mis=0.5)], ignore_index=True)
    pd.testing.assert_frame_equal(ranking.unit_distribution(replace(study, units=both)), frame)
    # nor are units of layers that enter no ranking
    both = pd.concat([study.units, study.units.assign(layer_type="Other", mis=0.5)], ignore_index=True)
    pd.testing.assert_frame_equal(ranking.unit_distribution(replace(study, units=both)), frame)


def test_units_of_the_calibration_split_are_left_out_of_the_bins(study):
    rows = study.tables["unit_points"]
    lead = rows[rows["backend"] == study.lead]
    assert mis_and_his.mis_against_his(study)["in_split"].sum() > 0
    assert mis_and_his.his_by_mis(study)["n"].sum() == (lead["in_split"] == 0).sum()
    assert (mis_and_his.similarities_units(study)["backend"] == study.lead).sum() == (lead["in_split"] == 0).sum()


def test_scatter_joins_on_the_whole_key(study):
    other = study.units.assign(condition="synthetic", mis=0.0)
    both = replace(study, units=pd.concat([study.units, other], ignore_index=True))
    assert len(mis_and_his.mis_against_his(both)) == len(study.human)
    assert mis_and_his.mis_against_his(both)["mis"].min() > 0


def test_agreement_shows_only_units_outside_the_split(study):
    table = study.tables["agreement"]
    changed = table.assign(pearson=table["pearson"].where(table["units"] == "outside_split", 9.0))
    frame = ceiling.agreement(replace(study, tables={**study.tables, "agreement": changed}))
    assert frame["value"].max() < 1
    assert set(frame["backend"]) == {*BACKENDS, ""}
    assert frame.loc[frame["measure"] == "ceiling", "value"].tolist() == [0.87]


def test_layer_type_mean_counts_each_network_once(study):
    frame = layers.layer_types(study)
    conv = frame[frame["layer_type"] == "Conv"]
    mean = conv.loc[conv["model"] == "", "mis_mean"].item()
    assert mean == pytest.approx(conv.loc[conv["model"] != "", "mis_mean"].mean())


def test_control_levels_hold_only_rows_over_all_factors(study):
    frame = controls.control_levels(study)
    lead = frame[frame["backend"] == BACKENDS[0]]
    assert lead["control"].is_unique
    # 0.5 + 0.42 * 0.8; the rows of single factors are 0.86 and 0.82
    assert lead.set_index("control").loc["factor", "mis_mean"] == pytest.approx(0.836)
    names = list(lead["control"])
    assert names[:3] == ["hash", "hash_rectified", "chance_pooled"]
    assert [name for name in names if name.startswith("permuted:")] == names[3:7]
    # never scored, so not drawn
    assert "constant" not in names


def test_dose_response_keeps_families_apart_and_goes_from_zero_to_one(study):
    frame = controls.dose_response(study)
    assert list(dict.fromkeys(frame["family"])) == ["mixture", "mixture_rectified"]
    for _, part in frame.groupby("family"):
        assert list(dict.fromkeys(part["backend"])) == list(BACKENDS)
        assert part.groupby("backend")["rho"].apply(list).tolist() == [[0, 0.25, 0.5, 0.75, 1]] * 4


def test_many_networks_are_drawn_as_a_curve_and_in_bins(tmp_path):
    networks = tuple(f"net{i:02d}" for i in range(45))
    study = study_in(tmp_path, networks=networks, layers=(("a.conv", "Conv"), ("b.fc", "Linear")))
    ranked, deep = ranking.models_ranked(study), layers.relative_depth(study)
    assert len(ranked) == 45
    # single layers are drawn for few networks alone; of 45 layers a type the first 15 of 30 bins have two
    assert layers.depth(study).empty
    assert deep.groupby("layer_type")["n_layers"].sum().to_dict() == {"Conv": 45, "Linear": 45}
    assert deep.loc[deep["layer_type"] == "Conv", "n_layers"].tolist() == [2] * 15 + [1] * 15
    for name in (
        "models_ranked",
        "models_by_p5",
        "layer_types",
        "constant_share",
        "mis_against_accuracy",
        "convergence",
    ):
        frame = BY_NAME[name].series(study)
        svg = base.render(BY_NAME[name].drawing, frame, study, "t", narrow=False)
        assert svg.count("<text") < 45, name
        assert BY_NAME[name].drawing.alt(frame, study)
    assert len(ranking.ridge_models(study)) == ranking.MOST_RIDGES
    assert set(study.units["model"]) >= set(ranking.ridge_models(study))


def test_labels_are_moved_apart_without_changing_order():
    moved = spread(np.array([0.5, 0.5, 0.9, 0.51]), 0.1)
    assert np.diff(np.sort(moved)).min() >= 0.1 - 1e-9
    assert np.argsort(moved, kind="stable").tolist() == [0, 1, 3, 2]
    # far enough apart already: nothing moves
    np.testing.assert_allclose(spread(np.array([3.0, 1.0, 2.0]), 0.5), [3.0, 1.0, 2.0])


def test_names_are_short_and_printable():
    assert clean("a\x00b\nc") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
    assert len(clean("x" * 300)) <= 26
    assert clean("short") == "short"


def test_every_file_for_papers_is_valid_and_markup_and_dollar_signs_in_names_stay_text(tmp_path):
    name = "<script>alert(1)</script>$\\frac$"
    study = study_in(tmp_path, networks=("plain", "a$b$", "<i>x"), layers=(("a", "Conv"), ("b", "Linear")), made=True)
    for spec in FIGURES:
        svg = base.render(spec.drawing, spec.series(study), study, name, narrow=False)
        for_papers(svg)
        assert "<script" not in svg
        assert "<i>" not in svg
    svg = base.render(BY_NAME["models_ranked"].drawing, ranking.models_ranked(study), study, "t", narrow=False)
    assert ">a$b$<" in svg


SEVERAL = (
    *("calibration", "sensitivity", "control_levels", "dose_response"),
    *("models_mis_his", "similarities_units", "his_by_mis_similarities"),
)


@pytest.mark.parametrize("name", SEVERAL)
def test_levels_that_compare_with_no_others_are_marked(name, study):
    assert study.unidentified == ("null",)
    spec = BY_NAME[name]
    frame = spec.series(study)
    words = re.findall(r">([^<>]*)</text>", base.render(spec.drawing, frame, study, "t", narrow=False))
    assert "* slope not identified" in words
    assert any(word.startswith("null*") for word in words)
    assert not any(word.startswith(f"{other}*") for word in words for other in BACKENDS[:-1])
    alt = spec.drawing.alt(frame, study)
    # names no similarity, or no correlation of one
    assert name in ("sensitivity", "control_levels", "models_mis_his") or "null*" in alt
    assert name in ("sensitivity", "control_levels") or alt.endswith(" (*: slope not identified.)")
    # without such a similarity there is no star
    fits = study.tables["calibration"].assign(status="calibrated")
    identified = replace(study, tables={**study.tables, "calibration": fits})
    assert "*" not in "".join(
        re.findall(r">([^<>]*)</text>", base.render(spec.drawing, frame, identified, "t", narrow=True))
    )


def test_one_network_has_no_ranking(tmp_path):
    study = study_in(tmp_path, networks=("resnet",))
    for name in ("models_ranked", "models_by_p5"):
        assert BY_NAME[name].series(study).empty
        assert "one alone has no rank" in BY_NAME[name].absent
    assert len(BY_NAME["unit_distribution"].series(study)) > 0
    rows = registry.of_papers(study, {spec.name for spec in FIGURES if not spec.series(study).empty})
    lacking = rows[rows["ours"].isin(["models_ranked", "models_by_p5"])]["how"]
    assert len(lacking) == 2
    assert lacking.str.contains("one alone has no rank").all()
    head = tables_of_scores.SPECS[0].make(study).head
    assert "mean MIS" in head
    assert not {"rank", "its rank"} & set(head)


def test_a_slope_that_is_not_identified_is_no_number_beside_the_papers(study):
    numbers = [
        registry.of_papers(each, {"calibration"}).set_index("what") for each in (study, unidentified_lead(study))
    ]
    values = [table.loc["alpha, read as 1 / slope", "ours_value"] for table in numbers]
    assert values[0] == pytest.approx(0.16)
    assert np.isnan(values[1])


def unidentified_lead(study):
    fits = study.tables["calibration"].assign(status="not identified")
    return replace(study, tables={**study.tables, "calibration": fits})


def test_caveats_stand_where_a_level_is_that_of_a_small_study(study):
    assert facts.level_caveats(study, 0.05) == []
    (small,) = facts.level_caveats(study, 0.0501)
    assert "the level of MIS is that of a small study" in small
    (loose,) = facts.level_caveats(unidentified_lead(study), 0.01)
    assert loose.startswith("The slope of encoder is not identified (why encoder), so the level of MIS means little")


def test_seeds_by_hand(study):
    table = seeds.seeds_table(study)
    assert table.head == ("of", "seed 0", "seed 1", "seed 2", "sd over seeds")
    means = study.models().set_index("model")["mis_mean"]
    first, second = NETWORKS[:2]
    rows = {row[0]: row[1:] for row in table.rows}
    shown = [means[first], means[second] + 0.001, means[second] + 0.002]
    assert rows[f"mean MIS of {first}"] == tuple(f"{value:.3f}" for value in [*shown, np.std(shown, ddof=1)])
    assert rows["slope of encoder"] == ("6.25", "7.25", "8.25", "1.00")
    of_mis, of_his, levels = seeds.seeds_words(study)
    # the fixture: the first two networks change places, and a test marks them under one seed; it marks first and third under all
    marked, other, never = of_mis.split(". ")
    assert marked.endswith(f"under all 3: {first} – {NETWORKS[2]} (marked under 3)")
    assert other == f"Marked, but with another sign under some: {first} – {second} (marked under 1)"
    assert never == "Never marked, and with another sign under some: none."
    assert of_his.count("none") == 3
    spans = [abs(means[first] - means[second]) - 0.002, 0.002]
    assert f"moves by {min(map(abs, spans)):.3f} to" in levels


def test_seeds_of_another_study_or_a_single_one_say_nothing(study, tmp_path):
    assert (
        seeds.seeds_words(replace(study, tables={**study.tables, "seeds": study.tables["seeds"].query("seed == 0")}))
        == []
    )
    build(tmp_path, human=False)
    assert len(seeds.read_seeds(tmp_path / "seeds.csv", STUDY)) == 0
    rows = pd.DataFrame(study.tables["seeds"])
    rows.to_csv(tmp_path / "seeds.csv", index=False)
    assert len(seeds.read_seeds(tmp_path / "seeds.csv", STUDY)) == len(rows)
    assert len(seeds.read_seeds(tmp_path / "seeds.csv", "another")) == 0


def test_seeds_that_differ_from_this_study_are_named(study):
    models = study.tables["models"].assign(mis_mean=study.tables["models"]["mis_mean"] + 0.01)
    changed = replace(study, tables={**study.tables, "models": models})
    assert seeds.seeds_words(changed)[-1].startswith("The column of seed 0 differs from this study")


# figures whose series say no finding in a sentence
WITHOUT_FINDING = {"relative_depth", "relative_width", "models_mis_his", "models_mis_his_synthetic", "scores_together"}
WITHOUT_FINDING |= {"crowd_curves", "crowd_sampling", "crowd_aggregation", "crowd_raters", "crowd_settings"}
WITHOUT_FINDING |= {"his_against_accuracy", "exclusion_checks"}


def test_every_other_figure_says_what_it_shows(study):
    said = {spec.name: finding(spec.name, spec.series(study), study) for spec in FIGURES}
    # four networks have no correlation
    few = {"mis_against_accuracy", "mis_against_resolution", "likeness_to_people"}
    assert {name for name, sentence in said.items() if not sentence} == WITHOUT_FINDING | few
    for sentence in filter(None, said.values()):
        assert re.fullmatch(r"[A-Z\d].*[^.]\.", sentence)
        assert "nan" not in sentence
        assert len(sentence.split()) <= 25


def test_findings_by_hand(study):
    def said(name, frame):
        return finding(name, frame, study)

    ranked = pd.DataFrame({"mis_mean": [0.8, 0.75, 0.6], "p25": [0.7, 0.6, 0.5], "p75": [0.8, 0.8, 0.65]})
    assert said("models_ranked", ranked) == (
        "Means of 3 networks span 0.200, while the middle half of the units of one network spans 0.150 on average."
    )
    depths = pd.DataFrame({"model": list("aabc"), "spearman": [0.5, 0.5, -0.25, np.nan]})
    assert said("his_depth", depths) == "Rank correlation runs from −0.25 (b) to 0.50 (a)."
    assert said("his_depth", depths.head(2)) == "Rank correlation 0.50 (a)."
    assert said("his_depth", depths.tail(1)) == ""
    errors = pd.DataFrame({"world": ["w", "w", "v"], "method": ["latent", "mg_is+majority", "mg_is+majority"]})
    assert said("crowd_guides", errors.assign(rce=[0.1, 0.2, 0.3])) == "Ours errs least in 1 of 2 worlds."
    known = pd.DataFrame({"score": ["a"] * 3, "method": ["true", "broad", "wrong"], "true_mean": [0.9, 0.5, 0.0]})
    right = known.assign(rho_mean=[0.8, 0.4, 0.1], recall_mean=[0.7, 0.9, 0.1])
    assert said("texts_known", right) == "Mean scores keep the known order, top pictures put “broad” first."
    wrong = right.assign(rho_mean=[0.8, 0.1, 0.4])
    assert said("texts_known", wrong).startswith("Mean scores do not all keep the known order")
    halves = pd.DataFrame({"panel": "first", "model": list("abab"), "n_tasks": [5, 5, 10, 10]})
    n = study.n_tasks
    near = halves.assign(n_tasks=[1, 1, n // 2, n // 2], mean_abs_diff=[0.3, 0.4, 0.01, 0.02])
    assert said("convergence", near) == f"The first {n // 2} tasks are 0.010 to 0.020 away from all {n}."
    split = pd.DataFrame({"his": [0.5, 0.6, 0.7, 0.0], "mis": [0.6, 0.6, 0.5, 1.0], "in_split": [0, 0, 0, 1], "n": 1})
    assert said("mis_against_his", split) == "For half of 3 units HIS lies within 0.10 of MIS."
    # cells of many units have no median of units
    assert said("mis_against_his", split.assign(n=3)) == ""


def test_networks_have_one_colour_all_over_the_page(study):
    ranked = list(study.models()["model"])
    colours = style.network_colours(study)
    assert [colours[name] for name in ranked] == list(style.NETWORKS[: len(ranked)])
    table = study.tables["models"]
    own = table[(table["model"] == ranked[0]) & (table["backend"] == study.lead)]
    many = pd.concat([own.assign(model=f"net{i}", mis_mean=0.9 - 0.01 * i) for i in range(9)])
    colours = style.network_colours(replace(study, tables={**study.tables, "models": many}))
    assert colours.pop("net0") == style.NETWORKS[0]
    assert colours.pop("net8") == style.NETWORKS[3]
    assert set(colours.values()) == {style.COLOURS[6]}
