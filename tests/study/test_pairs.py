"""Judged pairs as files bring them, and the table of agreement with them."""

import pandas as pd
import pytest

from study.errors import StudyError
from study.files.tables import write_parquet
from study.people.pairs import read_pairs
from study.tabulating.judged_pairs import COLUMNS, judged_pairs_table

PAIRS = """k_x,k_y,R_user,MS_x_dino,MS_y_dino,MS_x_clip,MS_y_clip,note
17,3,17,0.9,0.1,0.5,0.6,clear
3,1035,1035,0.1,0.7,0.6,,
17,1035,1035,0.9,0.7,0.5,0.4,close
"""


def pairs_file(tmp_path, text=PAIRS, name="pairs.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_pairs_and_published_scores(tmp_path):
    pairs, scores = read_pairs(pairs_file(tmp_path), "sae/units")
    assert pairs["first_chosen"].tolist() == [True, False, False]
    assert pairs[["model", "layer"]].drop_duplicates().to_numpy().tolist() == [["sae", "units"]]
    assert pairs["k_y"].tolist() == [3, 1035, 1035]
    assert scores["score"].tolist() == ["MS_dino"] * 3 + ["MS_clip"] * 3
    assert scores.loc[scores["score"] == "MS_dino", "x"].tolist() == [0.9, 0.1, 0.9]
    assert scores["y"].isna().tolist() == [False] * 4 + [True, False]


def test_parquet_and_other_separators_say_the_same(tmp_path):
    pairs, scores = read_pairs(pairs_file(tmp_path), "sae")
    table = pd.read_csv(tmp_path / "pairs.csv")
    table.to_parquet(tmp_path / "pairs.parquet")
    table.to_csv(tmp_path / "semicolons.csv", sep=";", index=False)
    for name in ("pairs.parquet", "semicolons.csv"):
        again, others = read_pairs(tmp_path / name, "sae")
        pd.testing.assert_frame_equal(again, pairs)
        pd.testing.assert_frame_equal(others, scores)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("17,3,17,", "17,3,4,", "row 2: R_user is '4', it must be k_x or k_y of its row"),
        ("17,3,17,", "17,3,,", "row 2: R_user is '', it must be a whole number"),
        ("17,3,17,", "3,3,3,", "row 2: k_y is '3', it must be another unit than k_x"),
        ("17,3,17,", "-1,3,3,", "row 2: k_x is '-1'"),
        ("0.5,0.6", "0.5,many", "row 2: MS_y_clip is 'many', it must be a finite number or empty"),
        ("R_user", "R_people", "column R_user is missing"),
        ("17,1035,1035,0.9,0.7,0.5,0.4,close", "17,3,17,0.9,0.1,0.5,0.6,clear", "row 4 is the same as row 2"),
        (PAIRS[PAIRS.index("\n") + 1 :], "", "has no pairs"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, old, new, told):
    with pytest.raises(StudyError, match=r"pairs\.csv") as caught:
        read_pairs(pairs_file(tmp_path, PAIRS.replace(old, new)), "sae")
    assert told in str(caught.value)


def test_a_pair_judged_twice_counts_twice_and_is_told_of(tmp_path, caplog):
    with caplog.at_level("WARNING"):
        pairs, _ = read_pairs(pairs_file(tmp_path, PAIRS + "3,17,3,0.1,0.9,0.6,0.5,again\n"), "sae")
    assert len(pairs) == 4
    assert "1 pairs are judged more than once" in caplog.text


def test_an_absent_file_is_told_of(tmp_path):
    with pytest.raises(StudyError, match=r"no such file\. human\.source is pairs"):
        read_pairs(tmp_path / "pairs.csv", "sae")


class Units:
    """Scored units of one network under every similarity."""

    def __init__(self, layers=("units",)):
        self.layers = layers

    def units(self, backend, model, columns):
        sign = {"oracle": 1, "null": -1}[backend]
        rows = [
            (model, layer, unit, condition, 0.5 + sign * mis)
            for layer in self.layers
            for condition, gain in (("natural", 1), ("one_sided", -1))
            for unit, mis in enumerate((0.1 * gain, 0.3 * gain, 0.2 * gain))
        ]
        return pd.DataFrame(rows, columns=columns)


LABELS = pd.DataFrame(
    [("sae", "units", 0, "3"), ("sae", "units", 1, "17"), ("sae", "units", 2, "1035")],
    columns=["model", "layer", "unit", "label"],
)
OTHERS = pd.DataFrame(
    {"model": "sae", "layer": "units", "unit": [0, 1, 2], "backend": "oracle", "rho": [0.1, 0.2, 0.3], "n_ms": 9}
)


def table(tmp_path, text=PAIRS, units_of="sae", labels=LABELS, layers=("units",)):
    pairs, scores = read_pairs(pairs_file(tmp_path, text), units_of)
    write_parquet(tmp_path / "pairs.parquet", pairs)
    write_parquet(tmp_path / "pair_scores.parquet", scores)
    return judged_pairs_table(tmp_path, Units(layers), OTHERS, labels, ("oracle", "null"), 0.95)


def test_every_score_meets_the_pairs_by_the_numbers_of_the_file(tmp_path):
    found = table(tmp_path)
    assert list(found.columns) == COLUMNS
    keys = found[["score", "source", "backend"]].agg(" ".join, axis=1).tolist()
    ours = [
        "mis ours oracle",
        "mis ours null",
        "mis_one_sided ours oracle",
        "mis_one_sided ours null",
        "rho ours oracle",
    ]
    assert keys == [*ours, "MS_dino published ", "MS_clip published "]
    # MIS of 3, 17, 1035 is .6, .8, .7: right, right, wrong; turned round for the other; rho rises with the number
    assert found["share"].tolist() == pytest.approx([2 / 3, 1 / 3, 1 / 3, 2 / 3, 1, 2 / 3, 0])
    assert found["n_left_out"].tolist() == [0] * 6 + [1]


def test_units_without_scores_are_counted_and_named(tmp_path, caplog):
    with caplog.at_level("WARNING"):
        found = table(tmp_path, PAIRS + "17,99,17,0,0,0,0,\n")
    assert found["n_left_out"].tolist() == [1] * 5 + [0, 1]
    assert "1 units of judged pairs have no score in sae/units, and their pairs are left out: 99" in caplog.text


def test_units_of_a_network_are_called_by_number(tmp_path):
    text = "k_x,k_y,R_user\n0,1,1\n2,0,2\n"
    found = table(tmp_path, text, labels=LABELS.head(0))
    assert found.loc[0, ["n_pairs", "n_units", "share"]].tolist() == [2, 3, 1]


def test_a_network_of_several_layers_needs_one_named(tmp_path):
    text, labels = "k_x,k_y,R_user\n0,1,1\n2,0,2\n", LABELS.head(0)
    with pytest.raises(StudyError, match="has the layers a, b, units; name the layer"):
        table(tmp_path, text, labels=labels, layers=("a", "b"))
    assert table(tmp_path, text, "sae/b", labels, ("a", "b"))["n_pairs"].iloc[0] == 2


def test_no_pairs_leave_the_columns(tmp_path):
    pairs, scores = read_pairs(pairs_file(tmp_path), "sae")
    write_parquet(tmp_path / "pairs.parquet", pairs.head(0))
    write_parquet(tmp_path / "pair_scores.parquet", scores.head(0))
    found = judged_pairs_table(tmp_path, Units(), OTHERS, LABELS, ("oracle",), 0.95)
    assert found.empty
    assert list(found.columns) == COLUMNS
