"""The folder of rating pages: what it takes from a study, and what it tells."""

import filecmp
import hashlib
import json
import re

import numpy as np
import pandas as pd
import pytest

from interpretability.errors import InputError
from interpretability.files import sha256_file
from study.files.tables import read_parquet, write_csv, write_json, write_parquet
from tests.helpers import tiny_study
from tests.helpers.rules import ROOT
from tools import rating_pages

QUESTIONS = [
    *((1, position, "dots", image, f"class_a/{image}.png") for position, image in enumerate([7, 3, 12])),
    *((2, position, 'stripes, "red"', image, f"class_b/{image}.png") for position, image in enumerate([3, 9])),
]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    tiny_study.write_params(folder / "params.yaml", ROOT)
    data = folder / "data"
    asked = pd.DataFrame(QUESTIONS, columns=["page", "position", "text", "image", "path"])
    write_csv(data / "explanations/questions.csv", asked.sample(frac=1, random_state=0))
    gold = pd.DataFrame({"text": ["dots"], "image": [3], "label": [1], "source": ["factors"]})
    write_csv(data / "explanations/gold.csv", gold)
    write_json(data / "explanations/run.json", {"study": "0123456789abcdef", "n_raters": 3, "simulated": True})
    write_json(data / "images/summary.json", {"n": 20, "digest": "0"})
    paths = [f"class_a/{image}.png" for image in range(20)]
    write_parquet(data / "images/manifest.parquet", pd.DataFrame({"path": paths, "digest": "0"}))
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 10, 3), dtype=np.uint8)
    np.save(data / "images/pixels.npy", pixels)
    return folder


def export(study, out, *options):
    flags = ["--out", str(out), "--params", str(study / "params.yaml"), "--data", str(study / "data")]
    rating_pages.main([*flags, *options])
    return out


@pytest.fixture(scope="module")
def folder(study, tmp_path_factory):
    return export(study, tmp_path_factory.mktemp("out") / "pages")


def test_pages_show_the_pictures_of_the_study_in_their_order(folder):
    content = json.loads((folder / "pages.json").read_text())
    assert (content["schema"], content["study"]) == (2, "0123456789abcdef")
    row = pd.read_csv(folder / "images.csv").set_index("file")["image"]
    found = [(page["page"], page["text"], [int(row[file]) for file in page["pictures"]]) for page in content["pages"]]
    assert found == [(1, "dots", [7, 3, 12]), (2, 'stripes, "red"', [3, 9])]


def test_the_folder_says_what_it_is_and_what_it_was_made_of(study, folder):
    content = json.loads((folder / "study.json").read_text())
    assert {name: content[name] for name in ("schema", "kind", "study", "raters", "page", "simulated", "n_pages")} == {
        "schema": 2,
        "kind": "ratings",
        "study": "0123456789abcdef",
        "raters": 3,
        "page": 15,
        "simulated": True,
        "n_pages": 2,
    }
    assert content["files"] == {name: sha256_file(folder / name) for name in ("gold.csv", "images.csv", "pages.json")}
    assert content["inputs"]["explanations/questions.csv"] == sha256_file(study / "data/explanations/questions.csv")
    assert pd.read_csv(folder / "gold.csv").to_dict("records") == [
        {"text": "dots", "image": 3, "label": 1, "source": "factors"}
    ]


def test_names_of_pictures_tell_neither_class_nor_row_and_the_table_does(study, folder):
    table = pd.read_csv(folder / "images.csv")
    assert table["image"].tolist() == [3, 7, 9, 12]
    paths = read_parquet(study / "data/images/manifest.parquet")["path"]
    assert table["path"].tolist() == [paths[row] for row in table["image"]]
    for row in table.itertuples():
        assert re.fullmatch(r"images/[0-9a-f]{16}\.jpg", row.file)
        content = (folder / row.file).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (row.bytes, row.sha256)
    text = (folder / "pages.json").read_text()
    assert "class" not in text
    assert sorted(path.name for path in folder.iterdir()) == [
        "gold.csv",
        "images",
        "images.csv",
        "pages.json",
        "study.json",
    ]


def test_same_study_gives_the_same_bytes(study, folder, tmp_path):
    again = export(study, tmp_path / "again")
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert filecmp.cmpfiles(folder, again, names, shallow=False)[1:] == ([], [])


def test_raters_may_be_named_and_a_study_without_questions_is_refused(study, tmp_path, capsys):
    out = export(study, tmp_path / "five", "--raters=5", "--format=webp")
    assert json.loads((out / "study.json").read_text())["raters"] == 5
    with pytest.raises(SystemExit):
        export(study, tmp_path / "none", "--raters=0")
    assert "--raters is 0; it must be at least 1" in capsys.readouterr().err
    questions = study / "data/explanations/questions.csv"
    kept = questions.read_text()
    questions.write_text(kept.splitlines()[0] + "\n")
    try:
        with pytest.raises(InputError, match=r"questions\.csv has no rows: the study asks about no text"):
            export(study, tmp_path / "empty")
    finally:
        questions.write_text(kept)
    assert not (tmp_path / "empty").exists()
