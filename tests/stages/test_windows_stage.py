"""Harder tasks of all units from windows of the extraction: those of whole columns, by whatever road they came."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from safetensors.numpy import load_file

from interpretability.errors import InputError
from interpretability.extremes import windows as of_library
from interpretability.randomness import network_keys
from interpretability.schema import KEY
from interpretability.synthetic import planted_units
from interpretability.tasks import hard
from stages import tasks
from study.extraction import passes
from study.extraction import windows as of_stage
from study.files.store import WorkStore
from study.files.tables import read_parquet, write_parquet
from study.images.manifest import open_images
from study.networks.roster import read_roster
from study.workers import device
from study.workers import jobs as workers

N, K, N_IMAGES, START = 2, 4, 60, 9  # 15 percent of 60 images
HARDER = {"tasks__conditions": ["natural", "hard85"]}
CONTROL = {"preprocessing": "", "role": "control"}


@pytest.fixture
def study(drawn_study, monkeypatch):
    """Networks whose columns are all kept, and controls of scenes and of a network."""
    monkeypatch.setenv("MIS_WORKERS", "1")
    drawn_study.roster(
        {"name": "net", "kwargs": '{"dead": [2]}'},
        {"name": "other"},
        {"name": "planted", "constructor": "control:chance", **CONTROL},
        {"name": "dealt", "constructor": "control:permuted", "kwargs": '{"of": "net"}', **CONTROL},
    )
    drawn_study.params(activations__keep=["*/*/*"], activations__windows=["*/hard85"], **HARDER)
    drawn_study.run_models()
    return drawn_study


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Call to work with an empty store from here on."""
    return lambda: monkeypatch.setenv("MIS_STORE", str(tmp_path / "another store"))


def windows_of(out, name):
    return {key: value for key, value in load_file(out / f"{name}.safetensors").items() if key.startswith("hard85")}


def same(out, usual, names=("net", "other")):
    for name in names:
        one, two = windows_of(out, name), windows_of(usual, name)
        assert set(one) == set(two) != set()
        for key in one:
            np.testing.assert_array_equal(one[key], two[key], err_msg=key)


def harder(out, name):
    table = read_parquet(out / f"{name}.parquet")
    rows = table["condition"] == "hard85"
    return table[rows].reset_index(drop=True), np.load(out / f"{name}.npy")[rows]


def test_all_units_have_the_tasks_of_their_whole_columns(study):
    study.run_activations()
    out = study.run_tasks()
    found = {name: harder(out, name) for name in ("net", "other", "planted", "dealt")}
    assert [len(built) for _, built in found.values()] == [13, 14, 393, 13], "all that vary"
    for name in ("net", "other"):
        kept = read_parquet(study.folder / "activations" / "kept" / f"{name}.parquet")
        keys = network_keys(0, name, kept.groupby("layer", sort=False)["unit"].size().items())
        built, positive, negative = hard.tasks_from_rank(np.stack(kept["values"]), keys, START, N, K)
        table, own = found[name]
        owners = list(zip(kept["layer"], kept["unit"], strict=True))
        rows = [owners.index(owner) for owner in zip(table["layer"], table["unit"], strict=True)]
        np.testing.assert_array_equal(own, built[rows])
        np.testing.assert_array_equal(table["tie_share_pos"], positive[rows])
        np.testing.assert_array_equal(table["tie_share_neg"], negative[rows])
    columns = np.concatenate([layer.values for layer in planted_units.chance(N_IMAGES, 0)], axis=1)
    keys = network_keys(0, "planted", [("hash", 200), ("hash_rectified", 200)])
    table, own = found["planted"]
    rows = (table["unit"] + 200 * (table["layer"] == "hash_rectified")).to_numpy()
    columns = np.ascontiguousarray(columns.T[rows])
    np.testing.assert_array_equal(own, hard.tasks_from_rank(columns, keys[rows], START, N, K)[0])
    ranks = {name: load_file(study.folder / "activations" / f"{name}.safetensors") for name in ("net", "dealt")}
    for side in ("top", "bottom"):  # a permuted control has the ranks of its network under the names of other images
        of_net, dealt = (ranks[name][f"hard85_{side}_values"] for name in ("net", "dealt"))
        np.testing.assert_array_equal(of_net, dealt)
        assert (ranks["net"][f"hard85_{side}_images"] != ranks["dealt"][f"hard85_{side}_images"]).mean() > 0.9

    # without windows the same units have the same tasks
    study.params(activations__keep=["*/*/*"], **HARDER)
    study.run_activations("activations")
    again = study.run_tasks("from columns")
    for name in ("net", "other"):
        for one, two in zip(harder(again, name), found[name], strict=True):
            np.testing.assert_array_equal(one, two)
    assert len(harder(again, "planted")[1]) == 0, "columns of controls are not kept"


def test_the_long_form_knows_the_activation_of_every_image(study):
    study.params(activations__windows=["net/hard85"], **HARDER)
    study.run_activations()
    study.run_tasks()
    folders = [f"--{name}={study.folder / name}" for name in ("activations", "visualisations")]
    params, long = study.folder / "params.yaml", study.folder / "long.parquet"
    asked = ["--export", str(long), "--model", "net", "--params", str(params), "--out", str(study.folder / "tasks")]
    tasks.main([*asked, *folders])
    table = read_parquet(study.folder / "long.parquet")
    assert (table["condition"] == "hard85").any()
    assert table["activation"].notna().all()


def test_states_saved_at_every_batch_and_another_road_from_a_device_change_nothing(study, elsewhere, monkeypatch):
    usual = study.run_activations("usual")
    elsewhere()
    monkeypatch.setattr(passes, "_SAVE_EVERY", -1)
    same(study.run_activations("saved"), usual, ("net", "other", "planted", "dealt"))
    monkeypatch.setattr(workers, "start", lambda name: None)
    monkeypatch.setattr(device, "_device", "cpu:0")
    study.params(activations__windows=["net/hard85"], **HARDER)
    same(study.run_activations("there"), usual, ("net",))


def test_units_that_windows_refuse_are_found_in_a_second_pass(study, elsewhere, monkeypatch, caplog):
    usual = study.run_activations("usual")
    elsewhere()
    shown, narrow = [], partial(of_library.Windows, z=0.01)
    pixels = type(open_images(study.folder / "images")).pixels

    def counted(self, row):
        shown.append(row)
        return pixels(self, row)

    monkeypatch.setattr(of_library, "_SLACK", 2)
    monkeypatch.setattr(of_library, "Windows", narrow)
    monkeypatch.setattr(type(open_images(study.folder / "images")), "pixels", counted)
    monkeypatch.setattr(passes, "_SAVE_EVERY", -1)
    found = study.run_activations("again")
    assert "units have windows that are not exact; their columns are kept in a second pass" in caplog.text
    assert shown.count(59) == 4, "each of two networks saw all images twice"
    same(found, usual)
    for name in ("net", "other"):
        assert (found / "kept" / f"{name}.parquet").read_bytes() == (usual / "kept" / f"{name}.parquet").read_bytes()
    assert not list((WorkStore.open().folder / "windows").rglob("*.safetensors"))
    assert not list((WorkStore.open().folder / "states").rglob("*.safetensors"))


def test_a_second_pass_that_was_cut_short_begins_where_the_first_one_ended(study, elsewhere, monkeypatch):
    usual = study.run_activations("usual")
    elsewhere()
    images = type(open_images(study.folder / "images"))
    shown, pixels = [], images.pixels

    def cut(self, row):
        shown.append(row)
        if len(shown) == 100:  # in the third batch of the second pass; a few images are looked at before either
            raise KeyboardInterrupt
        return pixels(self, row)

    study.params(activations__windows=["net/hard85"], **HARDER)
    monkeypatch.setattr(of_library, "_SLACK", 2)
    monkeypatch.setattr(of_library, "Windows", partial(of_library.Windows, z=0.01))
    monkeypatch.setattr(passes, "_SAVE_EVERY", -1)
    monkeypatch.setattr(images, "pixels", cut)
    with pytest.raises(KeyboardInterrupt):
        study.run_activations("again")
    shown.clear()
    monkeypatch.setattr(images, "pixels", lambda self, row: (shown.append(row), pixels(self, row))[1])
    same(study.run_activations("again"), usual, ("net",))
    assert 59 in shown[:60]
    assert 15 not in shown[:60], "what was seen is not shown again, let alone to a first pass"


def test_images_that_are_not_in_random_order_are_refused_before_any_work(study):
    (study.folder / "images").unlink()
    images = study.run_images()
    manifest = read_parquet(images / "manifest.parquet")
    write_parquet(images / "manifest.parquet", manifest.iloc[[1, 0, *range(2, len(manifest))]].reset_index(drop=True))
    with pytest.raises(
        InputError, match=r"activations.windows needs images in random order.*row 1, scene_.*before the row above"
    ):
        study.run_activations()
    study.params(activations__keep=["net/*/*"], **HARDER)
    study.run_activations()


@pytest.mark.parametrize(
    ("windows", "told"),
    [
        (["nat/hard85"], r"activations.windows names network 'nat', which is not in .*roster.csv; entries are written"),
        (["dealt/hard85"], "names hard85 for dealt, but not for net, which it permutes; add net/hard85"),
    ],
)
def test_windows_that_cannot_be_are_told(study, windows, told):
    study.params(activations__windows=windows, activations__keep=["net/*/*"], **HARDER)
    with pytest.raises(InputError, match=told):
        study.run_activations()


def test_too_few_images_for_the_explanations_before_windows_are_told(study):
    images, roster = open_images(study.folder / "images"), study.folder / "models" / "roster.csv"
    check = partial(of_stage.check, roster=read_roster(roster), path=roster, images=images, n_tasks=N)
    check(["*/hard85"], n_explanations=K)
    told = "activations.windows names net/hard85, whose queries start at rank 9 of 60 images, but .* = 10 ranks explain"
    with pytest.raises(InputError, match=f"{told}; .* at least 67 images"):
        check(["net/hard85"], n_explanations=K + 1)


def test_a_second_pass_without_memory_for_its_columns_is_told(study, elsewhere, monkeypatch):
    usual = study.run_activations("usual")
    elsewhere()
    monkeypatch.setattr(of_library, "_SLACK", 2)
    monkeypatch.setattr(of_library, "Windows", partial(of_library.Windows, z=0.01))
    monkeypatch.setenv("MIS_MEMORY_GB", "0.000001")
    told = r"the windows of \d+ units are not exact, and the whole columns of these take .* kB of memory; a worker has 1.07 kB"
    with pytest.raises(InputError, match=f"{told}.*activations.windows.*activations.keep"):
        study.run_activations("again")
    monkeypatch.delenv("MIS_MEMORY_GB")
    same(study.run_activations("again"), usual)


def test_tasks_of_units_stand_once(study):
    study.run_activations()
    assert not read_parquet(study.run_tasks() / "net.parquet").duplicated(KEY).any()
