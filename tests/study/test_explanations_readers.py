"""Texts, presence, guide and gold as files bring them: what is read, and what is refused by file, row and column."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.errors import StudyError
from study.explanations.images import Probing
from study.explanations.readers import LABEL, PROBABILITY, read_said, row_of
from study.files import casts
from study.inputs.explained import read_explained

ROWS = [
    {"name": "net", "role": "study", "constructor": "resnet18", "weights": "none"},
    {"name": "taught", "role": "study", "constructor": "test_vit", "weights": "trained"},
    {"name": "seer", "role": "similarity", "constructor": "resnet18", "weights": "none"},
    {"name": "controls", "role": "control", "constructor": "control:planted", "weights": "none"},
]
HEADER = "model,layer,unit,method,kind,text,formula,source\n"
PATHS = ["x/0.png", "x/1.png", "2", "y/3.png"]


@pytest.fixture
def read(tmp_path):
    """Call with the rows of a file of texts; returns what the folder says."""

    def call(*rows, header=HEADER, concepts="", **files):
        (tmp_path / "texts.csv").write_text(header + "".join(f"{row}\n" for row in rows))
        for name, content in files.items():
            (tmp_path / f"{name}.csv").write_text(content)
        return read_explained(tmp_path, concepts, ROWS, "roster.csv")

    return call


def test_texts_are_read_in_one_spelling_and_sorted(read):
    found = read(
        "net,a/b,3,MAIA,,  a   star ,,maia",
        'net,a/b,1.0,INVERT,compositional,,"{""or"": [""a  dog"", {""not"": ""x""}]}",',
        'taught-step2,head,0,LE,linear,words,"[{""intercept"": 1}, {""weight"": -2.5, ""text"": ""e\u0301""}]",',
        'controls,factor,7,CCE,Clustered,,"[{""low"": 0, ""high"": 2, ""formula"": {""and"": [""a"", ""b""]}}]",',
    ).texts
    assert found[["model", "unit", "method", "kind", "text", "row"]].to_numpy().tolist() == [
        ["controls", 7, "CCE", "clustered", "0 to 2: a AND b", 5],
        ["net", 1, "INVERT", "compositional", "a dog OR NOT x", 3],
        ["net", 3, "MAIA", "simple", "a star", 2],
        ["taught-step2", 0, "LE", "linear", "words", 4],
    ]
    assert found["formula"].tolist()[1] == '{"or": ["a dog", {"not": "x"}]}'
    assert "\u00e9" in found["formula"].tolist()[3]
    assert set(found["file"]) == {"texts.csv"}


def test_a_folder_without_texts_says_nothing(tmp_path):
    found = read_explained(tmp_path, "", ROWS, "roster.csv")
    assert found.texts.empty
    assert found.units.empty
    assert found.superclasses.empty
    (tmp_path / "out").mkdir()
    found.write(tmp_path / "out")
    assert (tmp_path / "out" / "explained_units.csv").read_text() == "model,layer,unit\n"


def test_units_are_written_once_in_order(read, tmp_path):
    found = read("net,b,2,M,,t,,", "net,b,10,M,,t,,", "net,a,2,M,,t,,", "net,b,2,N,,u,,")
    (tmp_path / "out").mkdir()
    found.write(tmp_path / "out")
    assert (tmp_path / "out" / "explained_units.csv").read_text() == "model,layer,unit\nnet,a,2\nnet,b,2\nnet,b,10\n"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("other,a,1,M,,t,,", "row 2: model is 'other', it must be a network of roster.csv (net, taught, controls)"),
        ("seer,a,1,M,,t,,", "row 2: model is 'seer'"),
        ("net-step1,a,1,M,,t,,", "row 2: model is 'net-step1'"),
        ("net, ,1,M,,t,,", "row 2: layer is ' ', it must be filled"),
        ("net,a,x,M,,t,,", "row 2: unit is 'x', it must be a whole number from 0"),
        ("net,a,-1,M,,t,,", "row 2: unit is '-1'"),
        ("net,a,1,,,t,,", "row 2: method is '', it must be filled"),
        (
            "net,a,1,M,logic,t,,",
            "row 2: kind is 'logic', it must be one of simple, linear, compositional, clustered, or empty",
        ),
        ("net,a,1,M,,  ,,", "row 2: text is '', it must be filled where kind is simple"),
        (
            "net,a,1,M,,a\u200bb,,",
            "row 2: text is 'a\\u200bb', it must be text in words, of at most 1,000 visible signs",
        ),
        (f"net,a,1,M,,{'x' * 1001},,", "row 2: text is"),
        ('net,a,1,M,,t,"[""a""]",', "row 2: formula is '[\"a\"]', it must be empty where kind is simple"),
        ("net,a,1,M,linear,t,,", "row 2: formula is empty; it must be JSON"),
        ('net,a,1,M,linear,t,"[{""weight"": 1",', "row 2: formula is no JSON"),
        ('net,a,1,M,compositional,t,"{""and"": [""a""]}",', "row 2: formula is not balanced"),
        ('net,a,1,M,compositional,t,"{""and"": [""a"", "" ""]}",', "row 2: formula holds an empty text"),
        ('net,a,1,M,compositional,t,"{""and"": [""a"", ""\u200b""]}",', "row 2: formula holds an empty text"),
        ('net,a,1,M,clustered,t,"[{""low"": 2, ""high"": 1, ""formula"": ""a""}]",', "low must be below high"),
        ('net,a,1,M,linear,t,"[{""weight"": NaN, ""text"": ""a""}]",', "row 2: formula holds NaN"),
        (f"net,a,1,{'m' * 101},,t,,", "row 2: method is 'mmm"),
    ],
)
def test_a_wrong_text_is_refused_by_row_and_column(read, row, told):
    with pytest.raises(StudyError) as caught:
        read(row)
    assert "texts.csv: row 2: " in str(caught.value)
    assert told in str(caught.value)


def test_a_method_says_one_text_a_unit_over_all_files(read):
    with pytest.raises(
        StudyError, match=r"texts.csv: row 3: unit net/a/1 has a text of method 'M' already, in row 2 of texts.csv"
    ):
        read("net,a,1,M,,t,,", "net,a,1,M,,u,,")
    with pytest.raises(StudyError, match=r"texts.csv: row 2: .* already, in row 2 of more.csv"):
        read("net,a,1,M,,t,,", more=HEADER + "net,a,1,M,,t,,\n")


def test_columns_are_those_that_are_known(read):
    with pytest.raises(StudyError, match=r"column note is not known; a file of texts has model, layer"):
        read("net,a,1,M,t,x", header="model,layer,unit,method,text,note\n")
    with pytest.raises(StudyError, match="column method is missing"):
        read("net,a,1,t", header="model,layer,unit,text\n")
    with pytest.raises(StudyError, match="neither column text nor formula"):
        read("net,a,1,M", header="model,layer,unit,method\n")
    assert len(read("net,a,1,M,t", header="model,layer,unit,method,text\n").texts) == 1
    with pytest.raises(StudyError, match="row 2: condition is 'hard85', it must be natural or empty"):
        read("net,a,1,M,t,hard85", header="model,layer,unit,method,text,condition\n")


def test_superclasses_and_lists_are_read(read, tmp_path):
    (tmp_path / "words.txt").write_text("# concepts\na dog\n\n b  cat \na dog\n")
    found = read(concepts="words.txt", superclasses="label,superclass\nn1,dog\nn1, dog\ndog,animal\n")
    assert found.concepts["concept"].tolist() == ["a dog", "b cat"]
    assert found.superclasses.to_numpy().tolist() == [["dog", "animal"], ["n1", "dog"]]
    with pytest.raises(StudyError, match="row 2: superclass is '', it must be filled"):
        read(superclasses="label,superclass\nn1,\n")
    with pytest.raises(StudyError, match=r"explanations.concepts is 'none.txt', but .* holds no such file"):
        read(concepts="none.txt")
    with pytest.raises(StudyError, match="holds no such file"):
        read(concepts="../words.txt")
    (tmp_path / "words.txt").write_text("# nothing\n")
    with pytest.raises(StudyError, match="lists no concept"):
        read(concepts="words.txt")
    (tmp_path / "words.txt").write_text("a\n\u200b\n")
    with pytest.raises(StudyError, match="row 2: concept is"):
        read(concepts="words.txt")


def test_a_phrase_has_one_spelling():
    assert casts.phrase_of(" a\u00a0 star\t\n") == "a star"
    assert casts.phrase_of("e\u0301") == "\u00e9"
    assert casts.phrase_of("A star") != "a star"


def write(folder, name, content):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(content)


def test_presence_names_images_by_path_or_row(tmp_path):
    write(
        tmp_path, "a.csv", "text,image,probability\na star,x/1.png,0.5\na star,0,1\na  star,2,0.25\na star,3,0\nb,0,1\n"
    )
    said = read_said(tmp_path, PROBABILITY, PATHS)
    assert said.texts == ("a star", "b")
    image, value = said.of("a star")
    assert image.tolist() == [0, 1, 2, 3]
    assert value.tolist() == [1, 0.5, 0.25, 0]
    probing = Probing(np.array([1, 3], np.int32), np.array([True, False]))
    assert row_of(said, "a star", probing, "explanations.presence").tolist() == [0.5, 0.0]
    with pytest.raises(StudyError, match="text 'b' has no value for 2 of 2 images, the first is row 1"):
        row_of(said, "b", probing, "explanations.presence")
    with pytest.raises(StudyError, match=r"has no row of the text 'c', but explanations\.presence is file"):
        row_of(said, "c", probing, "explanations.presence")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (" ,0,1", "text is ' ', it must be filled"),
        (
            "a,9,1",
            "image is '9', it must be an image of the study: its path as in data/images/manifest.parquet, or its row",
        ),
        ("a,x/9.png,1", "image is 'x/9.png'"),
        ("a,01,1", "image is '01'"),
        ("a,,1", "image is ''"),
        ("a,0,1.5", "probability is '1.5', it must be a number from 0 to 1"),
        ("a,0,-0.1", "probability is '-0.1'"),
        ("a,0,nan", "probability is 'nan'"),
        ("a,0,", "probability is ''"),
    ],
)
def test_a_wrong_probability_is_refused_by_row_and_column(tmp_path, row, told):
    write(tmp_path, "a.csv", f"text,image,probability\na,1,1\n{row}\n")
    with pytest.raises(StudyError) as caught:
        read_said(tmp_path, PROBABILITY, PATHS)
    assert f"a.csv: row 3: {told}" in str(caught.value)


def test_a_pair_stands_once_over_all_files(tmp_path):
    write(tmp_path, "a.csv", "text,image,probability\na,0,1\na,1,1\n")
    write(tmp_path, "b.csv", "text,image,probability\nb,0,1\na,x/1.png,1\n")
    with pytest.raises(
        StudyError, match=r"b.csv: row 3: text 'a' and this image stand there already, in row 3 of a.csv"
    ):
        read_said(tmp_path, PROBABILITY, PATHS)


def test_gold_is_zero_or_one_and_may_have_weights(tmp_path):
    write(tmp_path, "g.csv", "text,image,label,weight\na,0,1,2.5\na,1,False,\n")
    said = read_said(tmp_path, LABEL, PATHS)
    assert said.value.tolist() == [1, 0]
    assert said.weight.tolist() == [2.5, 1]
    write(tmp_path, "g.csv", "text,image,label\na,0,2\n")
    with pytest.raises(StudyError, match="label is '2', it must be True, False, 1 or 0"):
        read_said(tmp_path, LABEL, PATHS)
    write(tmp_path, "g.csv", "text,image,label,weight\na,0,1,0\n")
    with pytest.raises(StudyError, match="weight is '0', it must be a number above 0"):
        read_said(tmp_path, LABEL, PATHS)
    write(tmp_path, "g.csv", "text,image,label,note\na,0,1,x\n")
    with pytest.raises(StudyError, match="column note is not known; it takes text, image, label, weight"):
        read_said(tmp_path, LABEL, PATHS)
    write(tmp_path, "g.csv", "text,image,label\n")
    with pytest.raises(StudyError, match="has no rows"):
        read_said(tmp_path, LABEL, PATHS)


@pytest.mark.parametrize("kind", ["numbers", "words", "mixed"])
def test_parquet_says_what_the_csv_does(tmp_path, kind):
    write(tmp_path, "a.csv", "text,image,probability\nb,0,1\na star,2,0.5\na star,0,0.25\n")
    expected = read_said(tmp_path, PROBABILITY, PATHS)
    (tmp_path / "a.csv").unlink()
    table = pd.DataFrame({"text": ["b", "a  star", "a star"], "image": [0, 2, 0], "probability": [1.0, 0.5, 0.25]})
    if kind == "words":
        table = table.astype("str")
    if kind == "mixed":
        table["image"] = ["x/0.png", "2", "x/0.png"]
    table.to_parquet(tmp_path / "a.parquet", index=False)
    found = read_said(tmp_path, PROBABILITY, PATHS)
    assert found.texts == expected.texts
    for name in ("text", "image", "value", "weight"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image": [0, 4, 0]}, r"a.parquet: row 3: image is '4'"),
        ({"image": [0, -1, 0]}, r"image is '-1'"),
        ({"probability": [1.0, 2.0, 0.0]}, r"a.parquet: row 3: probability is '2.0'"),
        ({"probability": [1.0, np.nan, 0.0]}, r"row.* 3: probability is"),
        ({"text": ["a", " ", "a"]}, r"a.parquet: row 3: text is ' '"),
        ({"image": [1, 0, 1], "text": ["a", "a", "a"]}, r"a.parquet: row 4: .* in row 2 of a.parquet"),
    ],
)
def test_numbers_of_parquet_are_checked_alike(tmp_path, change, told):
    table = {"text": ["a", "b", "c"], "image": [0, 1, 2], "probability": [1.0, 0.5, 0.25]} | change
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(StudyError, match=told):
        read_said(tmp_path, PROBABILITY, PATHS)


def test_an_empty_or_missing_folder_says_nothing(tmp_path):
    assert read_said(tmp_path, LABEL, PATHS).texts == ()
    assert read_said(tmp_path / "gone", LABEL, PATHS).of("a")[0].size == 0
    write(tmp_path, "README.md", "words")
    assert read_said(tmp_path, LABEL, PATHS).texts == ()


def test_tables_under_names_that_are_not_read_are_told(tmp_path, caplog):
    for name in ("README.md", ".gitignore", "a.csv.dvc", "superclasses.csv"):
        write(tmp_path, name, "label,superclass\n" if name.endswith("s.csv") else "")
    (tmp_path / "gold").mkdir()
    write(tmp_path / "gold", "a.csv.dvc", "")
    read_explained(tmp_path, "", ROWS, "roster.csv")
    read_said(tmp_path / "gold", LABEL, PATHS)
    assert not caplog.records
    for name in ("texts.tsv", "TEXTS.CSV"):
        write(tmp_path, name, HEADER)
    write(tmp_path / "gold", "gold.tsv", "text\timage\tlabel\n")
    assert read_explained(tmp_path, "", ROWS, "roster.csv").texts.empty
    assert read_said(tmp_path / "gold", LABEL, PATHS).texts == ()
    assert [record.message.split(" is ")[0].rsplit("/")[-1] for record in caplog.records] == [
        "TEXTS.CSV",
        "texts.tsv",
        "gold.tsv",
    ]
