"""Published likeness to people as files bring it, and its tables beside the scores of a study."""

import types
from collections import namedtuple

import numpy as np
import pandas as pd
import pytest

from interpretability.analysis import likeness
from study.errors import StudyError
from study.params.stats import Likeness
from study.tabulating.likeness import likeness_tables
from study.tabulating.likeness_files import read_decisions, read_table

NETWORKS = [f"net{i}" for i in range(6)]
HUMANLIKE = r"""\begin{tabular}{lrrrr}
\toprule
    model & accuracy diff. $\downarrow$ & obs. consistency $\uparrow$ & error consistency $\uparrow$ & mean rank $\downarrow$ \\
\midrule
SimCLR-x1 &              \textbf{0.080} &              \textbf{0.667} &                        0.179 &         \textbf{1.333} \\
net\_0 &                       0.087 &                       0.665 &               \textbf{0.208} &                  1.667 \\
\bottomrule
\end{tabular}
"""
BRAIN = "rank;model;average_vision;V1\n1;net0;0.42;X\n2;other;0.41;0.5\n3;net1;;0.3\n"


def file(folder, text, name):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_latex_table_of_model_vs_human(tmp_path):
    table = read_table(file(tmp_path, HUMANLIKE, "t.tex"), "model", ["error consistency", "mean rank"])
    assert table["called"].tolist() == ["SimCLR-x1", "net_0"] * 2
    assert table["value"].tolist() == [0.179, 0.208, 1.333, 1.667]
    with pytest.raises(StudyError, match=r"t\.tex: column rank is missing; it has model, accuracy diff\., obs"):
        read_table(tmp_path / "t.tex", "model", ["rank"])


def test_a_csv_of_brain_score_has_gaps(tmp_path):
    table = read_table(file(tmp_path, BRAIN, "b.csv"), "model", ["average_vision", "V1"])
    wide = table.pivot(index="called", columns="measure", values="value")
    assert wide.loc["other"].tolist() == [0.5, 0.41]
    assert wide.isna().sum().sum() == 2


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("b.csv", "0.41", "high", "row 3: average_vision is 'high', it must be a finite number or empty"),
        ("b.csv", "0.41", "0,41", "a number has a point, no comma"),
        (
            "b.csv",
            "other",
            "net0",
            "row 3: model is 'net0', it must be a name that stands once; the first stands in row 2",
        ),
        ("b.csv", "other", " ", "row 3: model is '', it must be the name of a network"),
        ("b.csv", "average_vision", "average", r"column average_vision is missing; it has rank, model, average, V1"),
        ("t.tex", r"\textbf{0.208}", "one", "row 6: error consistency is 'one', it must be a finite number"),
        ("t.tex", "0.087 &", "", "line 6 has 4 cells, the header has 5"),
        ("t.tex", "&", "and", "holds no LaTeX table with a header and rows"),
    ],
)
def test_what_is_no_number_of_a_network_is_refused_by_row_and_column(tmp_path, name, old, new, told):
    text = {"b.csv": BRAIN, "t.tex": HUMANLIKE}[name]
    assert old in text
    path = file(tmp_path, text.replace(old, new), name)
    columns = ["average_vision", "V1"] if name == "b.csv" else ["error consistency"]
    with pytest.raises(StudyError) as error:
        read_table(path, "model", columns)
    assert str(path) in str(error.value)
    assert told in str(error.value)


def test_a_table_that_is_not_there_or_empty_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"none\.csv: no such file\. stats\.likeness names files"):
        read_table(tmp_path / "none.csv", "model", ["V1"])
    with pytest.raises(StudyError, match="has no rows; it needs a row a network"):
        read_table(file(tmp_path, "model,V1\n", "e.csv"), "model", ["V1"])


HEADER = "subj,session,trial,rt,object_response,category,condition,imagename\n"
PUBLISHED = [  # data set, subject, how a trial is called: as in raw-data of model-vs-human
    ("colour", "subject-01", "000{i}_cl_s01_{c}_dog_40_n0{i}_{i}.png"),
    ("colour", "{network}", "000{i}_cl_dnn_{c}_dog_00_n0{i}_{i}.png"),
    ("cue-conflict", "subject-01", "dog{i}-cat{i}.png"),
    ("cue-conflict", "{network}", "dog{i}-cat{i}.png"),
]


def raw_data(folder, networks=NETWORKS):
    """Decisions of one person and of networks, each right as often as its number says."""
    for dataset, subject, called in PUBLISHED:
        for number, name in enumerate(networks if subject == "{network}" else [subject]):
            rows = []
            for condition in ("cr", "bw") if dataset == "colour" else ("NaN",):
                for i in range(8):
                    response = "dog" if i >= number else "cat"
                    image = called.format(i=i, c=condition)
                    rows.append(f"{name},1,{i},NaN,{response},dog,{condition},{image}")
            header = HEADER.replace("session", "Session") if name.startswith("subject") else HEADER
            file(folder, header + "\n".join(rows) + "\n", f"{dataset}/{dataset}_{name}_session-1.csv")
    return folder


def test_decisions_in_the_form_of_model_vs_human(tmp_path):
    table = read_decisions(raw_data(tmp_path / "raw-data"))
    assert set(table["subject"]) == {"subject-01", *NETWORKS}
    assert table["person"].sum() == 2 * 8 + 8
    colour = table[table["dataset"] == "colour"]
    assert sorted(colour["image"].unique()) == [f"n0{i}_{i}.png" for i in range(8)]
    assert set(table.loc[table["dataset"] == "cue-conflict", "condition"]) == {""}
    found = likeness.decision_measures(table)
    # a person who is always right, in the condition that counts (greyscale) and in the cue conflict
    assert found["ood_accuracy"].tolist() == [(8 - i) / 8 for i in range(6)]
    assert found["error_consistency"].tolist() == [1, 0, 0, 0, 0, 0]
    assert found["shape_bias"].tolist() == [(8 - i) / 8 for i in range(6)]


def test_conditions_are_those_of_the_benchmark_s_lists(tmp_path):
    spelled = {
        "uniform-noise": {"0.00": "0", "0.10": "0.1", "0.60": "0.6", "0.90": "0.9"},
        "false-colour": {"true": "True", "False": "False"},
        "high-pass": {"inf": "inf", "0.40": "0.4", "3.0": "3"},
        "contrast": {"c03": "c03"},
        "eidolonI": {"1-10-10": "1-10-10"},
    }
    for dataset, conditions in spelled.items():
        lines = [f"subject-01,1,1,1,dog,dog,{condition},0_a_{condition}.png\n" for condition in conditions]
        file(tmp_path, HEADER + "".join(lines), f"{dataset}/a.csv")
    table = read_decisions(tmp_path)
    for dataset, conditions in spelled.items():
        found = table.loc[table["dataset"] == dataset, "condition"].tolist()
        assert found == list(conditions.values())
    kept = table.loc[~likeness._left_out(table), "condition"].tolist()
    assert sorted(kept) == ["0.1", "3", "False"]


def test_decisions_that_are_not_in_order_are_refused(tmp_path):
    folder = raw_data(tmp_path / "raw-data")
    with pytest.raises(StudyError, match=r"nothing: no such folder\. stats\.likeness\.decisions names"):
        read_decisions(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StudyError, match="holds no folder with CSV files"):
        read_decisions(tmp_path / "empty")
    path = folder / "colour" / "colour_net1_session-1.csv"
    path.write_text(path.read_text().replace("net1,1,3", ",1,3"))
    with pytest.raises(StudyError, match=r"colour_net1_session-1\.csv: 2 rows: 5, 13: subj is '', it must be filled"):
        read_decisions(folder)
    path.write_text(HEADER.replace("category", "class"))
    with pytest.raises(StudyError, match="column category is missing"):
        read_decisions(folder)


def facts(ranked=NETWORKS, roster=(*NETWORKS, "chance")):
    nets = types.SimpleNamespace(ranked=list(ranked))
    made = namedtuple("Facts", "roster nets confidence")
    return made(pd.DataFrame({"name": list(roster)}), nets, 0.95)


def scores(his=("net0", "net1")):
    mis = np.linspace(0.9, 0.6, len(NETWORKS))
    models = pd.DataFrame({"model": [*NETWORKS, "chance"], "backend": "lead", "mis_mean": [*mis, 0.5]})
    people = pd.DataFrame({"model": list(his), "condition": "natural", "n_units": 5, "his_mean": 0.8})
    return {
        "models": models.assign(mis_low=0.4, mis_high=1.0),
        "his_models": people.assign(low=0.7, high=0.9, these_low=0.7, these_high=0.9),
    }


def tables_of(folder, tables=(), decisions="", names=()):
    return likeness_tables(folder, Likeness(tables=tables, decisions=decisions, names=names), scores(), facts())


def test_likeness_beside_both_scores(tmp_path):
    raw_data(tmp_path / "raw")
    file(tmp_path, HUMANLIKE.replace("SimCLR-x1", "net1"), "t.tex")
    found = tables_of(tmp_path, ("t.tex|model|mean rank",), "raw", ("net\N{LOW LINE}0=net0",))
    points, table = found["likeness_networks"], found["likeness"]
    assert list(points.columns) == likeness.NETWORK_COLUMNS
    assert list(table.columns) == likeness.COLUMNS
    ranks = points[(points["source"] == "t.tex") & (points["score"] == "mis")]
    assert ranks[["model", "called", "value", "mean"]].values.tolist() == [
        ["net0", "net_0", 1.667, 0.9],
        ["net1", "net1", 1.333, pytest.approx(0.84)],
    ]
    whole = table[(table["measure"] == "ood_accuracy")].set_index("score")
    assert whole.loc["mis", "n_networks"] == 6
    assert whole.loc["mis", "spearman"] == pytest.approx(1)
    assert whole.loc["his", "n_networks"] == 2
    assert np.isnan(whole.loc["his", "spearman"]), "two networks have no correlation"
    assert "chance" not in set(points["model"])
    pd.testing.assert_frame_equal(
        points, tables_of(tmp_path, ("t.tex|model|mean rank",), "raw", ("net_0=net0",))["likeness_networks"]
    )


def test_a_study_that_names_none_has_the_header_alone(tmp_path):
    found = tables_of(tmp_path)
    assert {name: (list(table.columns), len(table)) for name, table in found.items()} == {
        "likeness": (likeness.COLUMNS, 0),
        "likeness_networks": (likeness.NETWORK_COLUMNS, 0),
    }


def test_names_that_do_not_fit_are_told(tmp_path, caplog):
    file(tmp_path, BRAIN, "b.csv")
    entry = ("b.csv|model|V1",)
    with pytest.raises(
        StudyError, match=r"names holds 'other=net9', but neither the roster .* names 'net9'; did you mean net"
    ):
        tables_of(tmp_path, entry, names=("other=net9",))
    with pytest.raises(
        StudyError, match=r"b\.csv: 'net1' and 'other' are both 'net1' here|'other' and 'net1' are both 'net1'"
    ):
        tables_of(tmp_path, entry, names=("other=net1",))
    with pytest.raises(StudyError, match=r"calls 'other' both 'net2' and 'net3'"):
        tables_of(tmp_path, entry, names=("other=net2", "other=net3"))
    file(tmp_path, BRAIN.replace("net", "resnet"), "b.csv")
    assert tables_of(tmp_path, entry)["likeness_networks"].empty
    assert (
        "none of its 3 networks is one of this study by its name ('resnet0', 'other', 'resnet1'); say which"
        in caplog.text
    )


def test_decisions_on_other_pictures_are_refused_by_folder(tmp_path):
    folder = raw_data(tmp_path / "raw")
    path = folder / "colour" / "colour_net1_session-1.csv"
    path.write_text(path.read_text().replace("n03_3.png", "n09_9.png"))
    with pytest.raises(
        StudyError, match=r"raw: colour, condition bw: net1 and subject-01 did not see the same pictures; n03_3\.png"
    ):
        tables_of(tmp_path, decisions="raw")


def test_decisions_without_a_network_of_this_study_are_told(tmp_path, caplog):
    raw_data(tmp_path / "raw", ["alexnet"])
    assert tables_of(tmp_path, decisions="raw")["likeness"].empty
    assert "none of its 1 networks is one of this study" in caplog.text
