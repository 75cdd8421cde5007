"""The check that a study can begin: parameters, roster, images, files that they name."""

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from interpretability.errors import InputError
from study.errors import message_of
from tests.helpers.copied_study import changed
from tests.helpers.rules import ROOT
from tools import check

HEADER = "name,constructor,weights,sha256,directions\n"


@pytest.fixture
def custom(tmp_path, monkeypatch):
    """Call with changes of studies/custom.yaml and rows of its roster; checks it and returns what is printed."""
    monkeypatch.delenv("MIS_IMAGES", raising=False)
    monkeypatch.chdir(ROOT)
    (tmp_path / "pictures").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "pictures" / "a.png")

    def run(rows="net,test_vit,none,,\n", text="", **changes):
        yaml = YAML()
        content = yaml.load(ROOT / "studies/custom.yaml")
        (tmp_path / "my roster.csv").write_text(HEADER + rows)
        places = {"images": {"root": str(tmp_path / "pictures")}, "models": {"roster": str(tmp_path / "my roster.csv")}}
        for each in (places, changes):
            changed(content, each)
        yaml.dump(content, tmp_path / "params.yaml")
        with (tmp_path / "params.yaml").open("a") as file:
            file.write(text)
        check.main(["--params", str(tmp_path / "params.yaml")])

    return run


def test_a_study_that_can_begin_is_described(custom, capsys):
    custom()
    lines = capsys.readouterr().out.splitlines()
    assert "keys, all known" in lines[0]
    assert lines[1].startswith("images: folder: 1 files")
    assert lines[2] == "roster: 1 rows"


def test_weights_that_will_be_fetched_are_named(custom, capsys):
    custom(scores={"backends": ["lpips-alex"]})
    assert "alexnet-owt-7be5be79.pth (from https://" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"text": "extremes: 3\n"}, ["extremes is not a known key"]),
        ({"text": "seed: 3\n"}, ["key seed stands in line", "once more"]),
        ({"scores": {"backends": ["lpips"]}}, ["scores.backends names 'lpips'", "lpips-alex"]),
        ({"scores": {"backends": ["pixel; rm x"]}}, ["scores.backends names 'pixel; rm x'"]),
        ({"images": {"root": "nowhere"}}, ["nowhere", "images.root"]),
        ({"rows": ""}, ["my roster.csv", "no rows"]),
        ({"rows": "net,made:make,w.pth,abc,\n"}, ["row 2 (net)", "3 of the 64", "sha256sum"]),
        ({"rows": f"net,made:make,w.pth,{'a' * 64},\n"}, ["my roster.csv: net", "w.pth", "data/external/weights"]),
        ({"rows": "net,test_vit,none,,norm=d.npy\n"}, ["my roster.csv: net", "d.npy"]),
        ({"rows": "net,test_vit,none,,norm\n"}, ["row 2 (net): directions is 'norm'", "LAYER=SOURCE"]),
        (
            {"human": {"source": "table", "table": {"file": "answers.csv"}}},
            ["human.table.file is 'answers.csv'", "data/external/human"],
        ),
        ({"activations": {"keep_file": "units.txt"}}, ["activations.keep_file is 'units/units.txt'"]),
    ],
)
def test_what_is_wrong_is_told_before_any_work(custom, monkeypatch, arguments, says):
    with pytest.raises(InputError) as error:
        custom(**arguments)
    assert all(part in message_of(error.value) for part in says), message_of(error.value)


def test_as_many_networks_may_lack_files_as_the_study_allows(custom, capsys):
    rows = f"net,test_vit,none,,\nother,test_vit,gone.pth,{'a' * 64},\n"
    custom(rows=rows, models={"max_failed": 0.5})
    assert "left out, as models.max_failed allows: " in capsys.readouterr().out
