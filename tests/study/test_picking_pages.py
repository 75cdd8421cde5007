"""Folders of pages on which one thing is picked: what they ask is true of the networks, and their refusals."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file

from experiment.study_folder import Folder
from study.errors import StudyError
from study.explanations import asking_names
from study.files.tables import read_csv, read_json, read_parquet, write_parquet
from study.images.manifest import open_images
from study.label_free.asking_places import export_places
from study.networks.building import load_network
from study.networks.roster import read_roster, rows_of
from study.people.picking import PickOptions, shuffled
from tests.conftest import Study
from tools import picking_pages

TEXTS = ["stripes", "a flower", "dots", "shapes on the left", "grain", "a boat"]


@pytest.fixture
def data(finished_study, tmp_path):
    """The folder of data of a finished study, and its params.yaml beside it."""
    folder = tmp_path / "data"
    (folder / "external").mkdir(parents=True)
    for name in ("images", "models", "tasks", "activations"):
        (folder / name).symlink_to(finished_study.folder / name)
    (folder / "external/code").symlink_to(finished_study.code)
    Study(tmp_path).params(explanations__presence="factors")
    return folder


def options(data, name="pages", **changes):
    usual = {"models": ("tiny",), "units": 6, "queries": 2, "params": data.parent / "params.yaml", "data": data}
    return PickOptions(out=data.parent / name, **(usual | changes))


def test_places_are_those_where_units_peak_and_pictures_those_of_their_tasks(data):
    export_places(options(data))
    out = data.parent / "pages"
    folder = Folder.read(out, look_at_pictures=True)
    rows = {row["page"]: row for row in read_json(out / "pages.json")["pages"]}
    assert len(rows) == 12
    image_of = dict(read_csv(out / "images.csv")[["file", "image"]].itertuples(index=False))
    network = load_network(
        rows_of(read_roster(data / "models/roster.csv"))[0], data / "models", data / "external/code", 0
    )
    maps = {}
    for name in ("norm", "middle"):
        network.model.get_submodule(name).register_forward_hook(
            lambda *given, name=name: maps.update({name: given[-1]})
        )
    images, tasks = open_images(data / "images"), np.load(data / "tasks/tiny.npy")
    table = read_parquet(data / "tasks/tiny.parquet").astype({"layer": str})
    for page in folder.pages.values():
        row = rows[page.page]
        shown = [image_of[file] for file in page.pictures]
        at = table[
            (table["layer"] == row["layer"]) & (table["unit"] == row["unit"]) & (table["condition"] == "natural")
        ]
        built = tasks[at.index[0]]
        assert shown == [*built[0, :4], built[row["task"], -2]]
        with torch.no_grad():
            network.model(network.preprocessing.batch([images.pixels(int(shown[-1]))] * 3, "cpu"))
        values = maps[row["layer"]][0, row["unit"]]
        y, x = divmod(int(values.argmax()), values.shape[1])
        assert page.pick.answer == y * 4 // values.shape[0] * 4 + x * 4 // values.shape[1]
        assert (page.pick.side, page.pick.texts) == (4, ())
    study = read_json(out / "study.json")
    assert (study["kind"], study["raters"], study["queries"], study["n_pages"]) == ("localize", 10, 2, 12)


def test_the_same_options_give_the_same_bytes(data):
    for name in ("first", "second"):
        export_places(options(data, name))
    for file in ("pages.json", "images.csv", "study.json"):
        assert (data.parent / "first" / file).read_bytes() == (data.parent / "second" / file).read_bytes()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"queries": 3}, "--queries is 3; allowed are 2 to 2"),
        ({"units": 99}, r"--units is 99, but tiny has \d+ units that can be asked about"),
        ({"explanations": 5}, "--explanations is 5; allowed are 1 to 4"),
        ({"models": ("net",)}, "--models names net"),
        ({"kind": "where"}, "--kind is where; it must be one of localize, name"),
        ({"raters": 0}, "--raters is 0; it must be at least 1"),
        ({"method": "true"}, "--method is true, but --kind is localize"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_its_name(data, changes, told):
    with pytest.raises(StudyError, match=told):
        export_places(options(data, **changes))
    assert not (data.parent / "pages").exists()


@pytest.fixture
def texts(data):
    """Texts of two methods for the six units of a layer, and where they are present: two say the same in other words."""
    folder = data / "explanations"
    folder.mkdir()
    rng, n = np.random.default_rng(0), 60
    presence = (rng.random((len(TEXTS), n)) < 0.4).astype(np.float32)
    presence[5] = presence[4]
    rows = [
        ("tiny", "middle", unit, "given", "simple", text, "")
        for unit, text in zip((0, 1, 3, 4, 5), [*TEXTS[:2], TEXTS[2], *TEXTS[4:]], strict=True)
    ]
    rows += [("tiny", "norm", unit, "given", "simple", TEXTS[0], "") for unit in range(5)]
    columns = ["model", "layer", "unit", "method", "kind", "text", "formula"]
    write_parquet(folder / "texts.parquet", pd.DataFrame(rows, columns=columns))
    write_parquet(folder / "concepts.parquet", pd.DataFrame({"concept": TEXTS}))
    write_parquet(folder / "images.parquet", pd.DataFrame({"image": range(n), "holdout": np.arange(n) % 4 > 0}))
    save_file({"presence": presence}, folder / "presence.safetensors")
    return data


def test_names_are_a_units_own_text_among_different_ones_of_its_layer(texts):
    asking_names.export_names(options(texts, kind="name", method="given", texts=3, explanations=3))
    out = texts.parent / "pages"
    folder = Folder.read(out, look_at_pictures=True)
    known = read_parquet(texts / "explanations/texts.parquet").set_index(["layer", "unit"])["text"]
    image_of = dict(read_csv(out / "images.csv")[["file", "image"]].itertuples(index=False))
    state = load_file(texts / "activations/tiny.safetensors")["top_images"]
    assert folder.pages
    for page in folder.pages.values():
        _, layer, unit, kind = page.pick.unit
        assert (layer, kind, page.pick.side) == ("middle", "name", 0), "units of norm have one text"
        assert page.pick.texts[page.pick.answer] == known[layer, unit]
        assert len(set(page.pick.texts)) == 3
        assert len(set(page.pick.texts) & {"grain", "a boat"}) < 2, "which are in the same images"
        shown = [image_of[file] for file in page.pictures]
        top = state[8 + unit][:10].tolist()
        assert shown == [image for image in top if image % 4][:3]
    assert "tiny" not in json.dumps([page.pictures for page in folder.pages.values()])


def test_names_that_cannot_be_asked_are_refused(texts):
    told = {
        "methods with texts in this study are given": {"method": "other"},
        "no unit of tiny has a text of given and 4 others": {"method": "given", "texts": 5},
        "--models names vit; units with texts of given are of tiny": {"method": "given", "models": ("vit",)},
        "--method is empty": {},
    }
    for words, changes in told.items():
        with pytest.raises(StudyError, match=words):
            asking_names.export_names(options(texts, kind="name", explanations=3, **changes))
    Study(texts.parent).params(explanations__presence="none")
    with pytest.raises(StudyError, match=r"explanations\.presence is none"):
        asking_names.export_names(options(texts, kind="name", method="given"))


def test_the_place_of_the_own_text_is_random():
    draw = np.random.default_rng(0)
    places = [shuffled("own", ["a", "b", "c"], draw) for _ in range(400)]
    assert all(texts[answer] == "own" for texts, answer in places)
    assert np.bincount([answer for _, answer in places]).min() > 70


def test_the_tool_takes_what_its_options_say(data, capsys):
    words = ["--params", str(data.parent / "params.yaml"), "--data", str(data), "--models", "tiny", "--units", "2"]
    picking_pages.main(["--out", str(data.parent / "tool"), *words, "--queries", "2", "--raters", "4"])
    assert read_json(data.parent / "tool/study.json")["raters"] == 4
    with pytest.raises(SystemExit):
        picking_pages.main(["--out", str(data.parent / "other"), *words, "--queries", "1"])
    assert "--queries is 1; it must be at least 2" in capsys.readouterr().err
