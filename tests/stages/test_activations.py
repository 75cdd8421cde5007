"""The activations stage against a slow reference, and under shards, workers, failures and interruptions."""

from __future__ import annotations

import json
import weakref

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from interpretability.errors import InputError
from interpretability.extremes import selection
from interpretability.networks.capture import Capture
from interpretability.networks.layers import find_layers
from interpretability.randomness import unit_keys
from interpretability.synthetic import planted_units
from study.extraction import extract, forward, grouping, ordering, passes
from study.files import tables
from study.files.store import WorkStore
from study.images import manifest
from study.networks.building import load_network
from study.networks.roster import read_roster
from study.workers import device
from study.workers import jobs as workers
from study.workers.device import Failure
from tests.helpers.recordings import WrittenDown

RULES = {"layer_types": ("Conv", "Linear", "BatchNorm", "LayerNorm", "GroupNorm"), "norm_act": "before"}
BATCH, N_EXTREMES = 16, 20
NETWORKS = ["tiny", "vit", "50"]


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def layers_of(study, name):
    layers = tables.read_parquet(study.folder / "activations" / "layers.parquet")
    return layers[layers["model"] == name]


def extremes(study, name):
    return load_file(study.folder / "activations" / f"{name}.safetensors")


def network(study, name):
    roster = read_roster(study.folder / "models" / "roster.csv").set_index("name", drop=False)
    return load_network(roster.loc[name].to_dict(), study.folder / "models", study.code, 0)


def full_matrix(study, name):
    """Layers and the value of every unit for every image, in batches that are filled up with other images."""
    images, found = manifest.open_images(study.folder / "images"), network(study, name)
    every = [images.pixels(row) for row in range(len(images))]
    layers = find_layers(found.model, found.preprocessing.batch(every[:3]), **RULES)
    parts = []
    with Capture(found.model, layers, BATCH, torch.device("cpu")) as capture:
        for start in range(0, len(every), BATCH):
            batch = (every[start : start + BATCH] + every)[:BATCH]
            parts.append(capture(found.preprocessing.batch(batch)).numpy().copy())
    return layers, np.concatenate(parts)[: len(every)]


@pytest.fixture(scope="module")
def reference(finished_study):
    return {name: full_matrix(finished_study, name) for name in NETWORKS}


def order(values, keys):
    """Images of each unit from the least to the most exciting: by value, equal values by the keyed mix."""
    mixes = selection.mix32(np.arange(len(values))[:, None], keys[None])
    return np.stack([np.lexsort((mixes[:, u], values[:, u] + 0.0)) for u in range(values.shape[1])])


def keys_of(name, layers):
    return np.concatenate([unit_keys(0, name, layer.name, np.arange(layer.width)) for layer in layers])


# --------------------------------------------------------------------------- what is found


@pytest.mark.parametrize("name", NETWORKS)
def test_extremes_are_those_of_the_full_matrix(finished_study, reference, name):
    layers, values = reference[name]
    found, ranks = extremes(finished_study, name), order(values, keys_of(name, layers))
    columns = np.arange(values.shape[1])[:, None]
    assert values.shape == (60, found["top_images"].shape[0])
    np.testing.assert_array_equal(found["bottom_images"], ranks[:, :N_EXTREMES])
    np.testing.assert_array_equal(found["top_images"], ranks[:, ::-1][:, :N_EXTREMES])
    np.testing.assert_array_equal(found["top_values"], values.T[columns, found["top_images"]])
    np.testing.assert_array_equal(found["bottom_values"], values.T[columns, found["bottom_images"]])


@pytest.mark.parametrize("name", NETWORKS)
def test_statistics_are_those_of_the_full_matrix(finished_study, reference, name):
    _, values = reference[name]
    found, exact = extremes(finished_study, name), values.astype(np.float64)
    np.testing.assert_array_equal(found["min"], values.min(axis=0))
    np.testing.assert_array_equal(found["max"], values.max(axis=0))
    np.testing.assert_allclose(found["mean"], exact.mean(axis=0), rtol=1e-12, atol=1e-13)
    # the mean of squares less the square of the mean keeps about twelve digits of the larger one
    np.testing.assert_allclose(found["variance"], exact.var(axis=0), rtol=1e-9, atol=1e-11)
    np.testing.assert_array_equal(found["nonpositive"], (values <= 0).sum(axis=0) / 60)


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_in_order_and_their_offsets_add_up(finished_study, reference, name):
    layers, values = reference[name]
    table = layers_of(finished_study, name)
    assert table["layer"].tolist() == [layer.name for layer in layers]
    assert table["width"].tolist() == [layer.width for layer in layers]
    assert table["offset"].tolist() == np.cumsum([0, *table["width"]])[:-1].tolist()
    assert table["width"].sum() == values.shape[1]
    assert ((table["depth"] > 0) & (table["depth"] < 1)).all(), "the first and the last layer are left out"
    assert table["layer_index"].is_monotonic_increasing


def test_layers_and_their_clusters_stand_beside_the_extremes(finished_study):
    found = pd.read_csv(finished_study.folder / "activations" / "clusters.csv", dtype=str, keep_default_na=False)
    layers = tables.read_parquet(finished_study.folder / "activations" / "layers.parquet")
    assert found.to_numpy().tolist() == layers[["model", "layer", "cluster"]].to_numpy().tolist()
    of = found.set_index(["model", "layer"])["cluster"]
    # norm, its activation and a plain convolution, which begins anew
    assert of["tiny"].to_dict() == {"norm": "norm", "middle": "middle"}
    assert of["chance"].to_dict() == {layer: layer for layer in of["chance"].index}
    (base,) = {name for name in ("tiny", "vit") if set(of[name].index) == set(of["shuffled"].index)}
    assert of["shuffled"].to_dict() == of[base].to_dict(), "a permuted network has the clusters of its own"


def test_values_are_those_of_the_network_image_by_image(finished_study):
    # without hooks: the two layers between the first and the last one, by hand
    found, images = network(finished_study, "tiny"), manifest.open_images(finished_study.folder / "images")
    model, state = found.model, extremes(finished_study, "tiny")
    for unit, rank in ((0, 0), (5, 19), (9, 0), (13, 3)):
        with torch.no_grad():
            norm = model.norm(model.first(found.preprocessing.batch([images.pixels(state["top_images"][unit, rank])])))
            middle = model.middle(model.act(norm))
        by_hand = torch.cat([norm.mean(dim=(0, 2, 3)), middle.mean(dim=(0, 2, 3))])
        assert by_hand[unit].item() == pytest.approx(state["top_values"][unit, rank], abs=1e-5)


def test_rows_are_in_roster_order_without_similarity_networks(finished_study):
    table = tables.read_parquet(finished_study.folder / "activations" / "layers.parquet")
    assert list(dict.fromkeys(table["model"])) == ["tiny", "vit", "50", "probed", "chance", "shuffled"]
    note = tables.read_json(finished_study.folder / "activations" / "run.json")
    assert note["device_kinds"] == ["cpu"]
    assert note["n_images"] == 60


def test_kept_columns_are_whole(finished_study, reference):
    layers, values = reference["tiny"]
    kept = tables.read_parquet(finished_study.folder / "activations" / "kept" / "tiny.parquet")
    assert list(zip(kept["layer"], kept["unit"], strict=True)) == [("norm", 0), ("middle", 3)]
    np.testing.assert_array_equal(np.stack(kept["values"]), values[:, [0, layers[0].width + 3]].T)
    assert [path.name for path in (finished_study.folder / "activations" / "kept").iterdir()] == ["tiny.parquet"]


def test_directions_are_combinations_of_their_layer(finished_study, reference):
    # the same constructor and seed, but another name and so other initial weights
    _, values = full_matrix(finished_study, "probed")
    matrix = np.load(finished_study.folder / "directions.npy")
    probed = torch.from_numpy(values[:, 8:14]) @ torch.from_numpy(matrix)
    found, table = extremes(finished_study, "probed"), layers_of(finished_study, "probed")
    assert table[["layer", "width", "offset"]].to_numpy().tolist() == [["middle", 4, 0]]
    assert found["top_images"].shape == (4, N_EXTREMES)
    columns = np.arange(4)[:, None]
    np.testing.assert_allclose(
        found["top_values"], probed.numpy().T[columns, found["top_images"]], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(found["max"], probed.numpy().max(axis=0), rtol=1e-5, atol=1e-6)


def test_chance_controls_are_the_keyed_hashes(finished_study):
    found, table = extremes(finished_study, "chance"), layers_of(finished_study, "chance")
    values = np.concatenate([layer.values for layer in planted_units.chance(60, 0)], axis=1)
    assert table["layer"].tolist() == ["hash", "hash_rectified"]
    assert set(table["layer_type"]) == {"Other"}
    np.testing.assert_array_equal(found["max"], values.max(axis=0))
    np.testing.assert_array_equal(found["top_images"][:200, 0], values[:, :200].argmax(axis=0))
    labels = pd.read_csv(finished_study.folder / "activations" / "control_labels.csv", dtype=str, keep_default_na=False)
    assert set(labels["model"]) == {"chance"}
    assert len(labels) == 400


def test_a_permuted_control_has_the_values_of_its_network_on_other_images(finished_study):
    base, found = extremes(finished_study, "tiny"), extremes(finished_study, "shuffled")
    for name in base:
        if not name.endswith("_images"):
            np.testing.assert_array_equal(found[name], base[name])
    one, two = (layers_of(finished_study, name).drop(columns="model") for name in ("tiny", "shuffled"))
    pd.testing.assert_frame_equal(one.reset_index(drop=True), two.reset_index(drop=True))
    ends = [np.concatenate([each["top_images"], each["bottom_images"]], axis=1) for each in (base, found)]
    pairs = [dict(zip(*rows, strict=True)) for rows in zip(*ends, strict=True)]
    for u, pair in enumerate(pairs):
        assert len(set(pair.values())) == len(pair), "different images stay different"
        assert [pair[old] for old in ends[0][u]] == ends[1][u].tolist(), "an image on both sides gets one new name"
    assert pairs[0] != pairs[1], "each unit is dealt on its own"
    assert sum(old == new for pair in pairs for old, new in pair.items()) < 0.1 * sum(map(len, pairs))


# --------------------------------------------------------------------------- the same bytes by other roads


@pytest.fixture
def small(drawn_study):
    """A study of one network with a kept column."""
    drawn_study.params(activations__keep=["net/middle/3"])
    drawn_study.roster({"name": "net"}, {"name": "other", "kwargs": '{"dead": [1]}'})
    drawn_study.run_models()
    return drawn_study


@pytest.fixture
def fresh_store(tmp_path, monkeypatch):
    """Call to work with an empty store from here on."""
    count = iter(range(100))
    return lambda: monkeypatch.setenv("MIS_STORE", str(tmp_path / f"store{next(count)}"))


def test_two_workers_give_the_bytes_of_one(small, fresh_store, monkeypatch):
    one = contents(small.run_activations("one"))
    fresh_store()
    monkeypatch.setenv("MIS_WORKERS", "2")
    assert contents(small.run_activations("two")) == one


def test_saving_the_state_at_every_batch_leaves_the_bytes_alone_and_no_states_behind(small, fresh_store, monkeypatch):
    whole = contents(small.run_activations("whole"))
    fresh_store()
    monkeypatch.setattr(passes, "_SAVE_EVERY", -1)
    assert contents(small.run_activations("saved")) == whole
    phases = {path.parent.parent.name for path in WorkStore.open().folder.rglob("*") if path.is_file()}
    assert phases == {"extremes", "kept"}


def test_an_out_shares_its_bytes_with_the_store(small):
    out = small.run_activations()
    linked = {path.stat().st_ino for path in WorkStore.open().folder.rglob("*.safetensors")}
    assert {path.stat().st_ino for path in out.glob("*.safetensors")} == linked
    assert (out / "kept" / "net.parquet").stat().st_nlink == 2


@pytest.fixture
def forwards(monkeypatch):
    """Counts the batches of the sweep; those of the checks before it are smaller."""
    calls = []
    usual = Capture.__call__

    def counted(self, batch):
        if len(batch) > 4:
            calls.append(batch)
        return usual(self, batch)

    monkeypatch.setattr(Capture, "__call__", counted)
    return calls


@pytest.mark.parametrize("damaged", [0, 1, 2], ids=["whole", "the last state is cut", "both states are cut"])
def test_an_interrupted_run_goes_on_where_its_state_was_saved(small, fresh_store, monkeypatch, forwards, damaged):
    monkeypatch.setattr(passes, "_SAVE_EVERY", -1)
    whole = contents(small.run_activations("whole"))
    assert len(forwards) == 2 * 4, "four batches of each network"
    fresh_store()
    forwards.clear()
    usual = manifest.ImageSet.pixels

    def interrupted(self, row):
        if row >= 3 * BATCH:
            raise KeyboardInterrupt
        return usual(self, row)

    monkeypatch.setattr(manifest.ImageSet, "pixels", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small.run_activations("resumed")
    assert len(forwards) == 3
    states = sorted(
        (WorkStore.open().folder / "states").rglob("*.safetensors"), key=lambda path: path.stat().st_mtime_ns
    )
    assert [int(load_file(path)["seen"][0]) for path in states] == [2 * BATCH, 3 * BATCH]
    for path in states[2 - damaged :]:
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[: len(content) // 2])
    forwards.clear()
    monkeypatch.setattr(manifest.ImageSet, "pixels", usual)
    assert contents(small.run_activations("resumed")) == whole
    again = {0: 1, 1: 2, 2: 4}[damaged]
    assert len(forwards) == again + 4, "what the first network lacks, and all of the second"


def test_a_second_run_computes_nothing(small, forwards):
    first = contents(small.run_activations("first"))
    forwards.clear()
    assert contents(small.run_activations("second")) == first
    assert not forwards


def as_if_on_a_device(monkeypatch):
    """This process as a worker on the processor by a name that is treated as a device of its own."""
    monkeypatch.setattr(workers, "start", lambda name: None)
    monkeypatch.setattr(device, "_device", "cpu:0")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_selection_on_a_device_finds_what_the_cpu_finds(small, fresh_store, monkeypatch, precision):
    given = {"activations__keep": ["net/middle/3"], "activations__precision": precision}
    small.params(**given)
    usual = small.run_activations("usual")
    if precision != "float32":
        small.params(activations__keep=["net/middle/3"])
        fresh_store()
        assert contents(small.run_activations("whole"))["net.safetensors"] != contents(usual)["net.safetensors"]
        small.params(**given)
    as_if_on_a_device(monkeypatch)
    monkeypatch.setattr(passes, "_SAVE_EVERY", -1)
    fresh_store()
    there = small.run_activations("there")
    for name in ("net", "other"):
        one, two = (load_file(out / f"{name}.safetensors") for out in (usual, there))
        if precision != "float32":  # maps lie in memory in another order on a device, and half precision shows it
            np.testing.assert_allclose(one["max"], two["max"], atol=0.02)
            continue
        for key in one:
            if key in ("mean", "variance"):  # batches are summed in another order
                np.testing.assert_allclose(two[key], one[key], rtol=1e-9, atol=1e-12)
            else:
                np.testing.assert_array_equal(two[key], one[key], err_msg=key)
    if precision == "float32":
        assert contents(usual / "kept") == contents(there / "kept")


def test_a_value_that_is_not_finite_is_told_late_by_a_device_and_named_all_the_same(drawn_study, monkeypatch):
    as_if_on_a_device(monkeypatch)
    drawn_study.params(activations__max_failed=0.5)
    drawn_study.roster({"name": "net"}, {"name": "broken", "kwargs": '{"broken": [4]}'})
    drawn_study.run_models()
    for every in (300, -1):
        monkeypatch.setattr(passes, "_SAVE_EVERY", every)
        (row,) = pd.read_csv(drawn_study.run_activations() / "failures.csv", dtype=str).to_dict("records")
        first = tables.read_parquet(drawn_study.folder / "images" / "manifest.parquet")["path"][0]
        assert row["reason"] == f"layer middle, unit 4 is nan for image {first}"


def test_batches_that_ran_in_parts_are_recorded(small, monkeypatch):
    usual = torch.nn.Sequential.forward

    def greedy(self, batch):
        if len(batch) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return usual(self, batch)

    monkeypatch.setattr(torch.nn.Sequential, "forward", greedy)
    out = small.run_activations()
    assert tables.read_json(out / "run.json")["batches_in_parts"] == {"net": 4, "other": 4}
    assert tables.read_json(small.run_activations("again") / "run.json")["batches_in_parts"] == {"net": 4, "other": 4}


def test_recorded_batches_give_the_same_numbers_and_are_named(small, monkeypatch, tmp_path):
    plain = small.run_activations("plain")
    assert "forms" not in tables.read_json(plain / "run.json")
    monkeypatch.setenv("MIS_STORE", str(tmp_path / "another"))
    monkeypatch.setattr(forward, "_FEWEST", 1)
    monkeypatch.setattr(passes, "recorder", WrittenDown)
    recorded = small.run_activations("recorded")
    note = tables.read_json(recorded / "run.json")
    assert (note["forms"], note["n_networks"]) == ({"net": "graph", "other": "graph"}, 2)
    for name in ("net", "other"):
        mine, theirs = (load_file(out / f"{name}.safetensors") for out in (recorded, plain))
        assert mine.keys() == theirs.keys()
        for key, values in theirs.items():
            np.testing.assert_array_equal(mine[key], values)
    assert tables.read_json(small.run_activations("again") / "run.json")["forms"] == {"net": "graph", "other": "graph"}


# --------------------------------------------------------------------------- several networks in a pass


@pytest.fixture
def decoded(monkeypatch):
    """Counts the pictures that are read."""
    rows = []
    usual = manifest.ImageSet.pixels

    def counted(self, row):
        rows.append(row)
        return usual(self, row)

    monkeypatch.setattr(manifest.ImageSet, "pixels", counted)
    return rows


def three(study, **third):
    """A study of two networks that see pictures alike and a third that sees them larger."""
    other_view = json.dumps({"crop": 40, "resize": 40, "mean": [0.5] * 3, "std": [0.25] * 3})
    study.params(activations__max_failed=0.5)
    study.roster({"name": "net"}, {"name": "large", "preprocessing": other_view, **third}, {"name": "other"})
    study.run_models()


def test_networks_of_a_pass_read_each_picture_once_and_give_the_bytes_of_single_ones(
    drawn_study, fresh_store, decoded, monkeypatch
):
    three(drawn_study)
    decoded.clear()
    alone = contents(drawn_study.run_activations("alone"))
    assert len(decoded) == 3 * (4 + 60), "each network looks at four pictures first"
    for count, wanted in ((3, 3 * 4 + 60), (2, 3 * 4 + 2 * 60)):
        fresh_store()
        decoded.clear()
        monkeypatch.setenv("MIS_NETWORKS_PER_PASS", str(count))
        monkeypatch.setattr(passes, "_SAVE_EVERY", -1)
        assert contents(drawn_study.run_activations(f"by {count}")) == alone
        assert len(decoded) == wanted
    monkeypatch.setenv("MIS_WORKERS", "2")
    fresh_store()
    assert contents(drawn_study.run_activations("two workers")) == alone


def test_what_a_pass_finds_in_the_store_is_not_computed_again(drawn_study, forwards, monkeypatch):
    three(drawn_study)
    alone = contents(drawn_study.run_activations("alone"))
    assert not [path for path in WorkStore.open().folder.rglob("*") if path.parent.parent.name == "states"]
    for path in drawn_study.folder.joinpath("alone").glob("o*.safetensors"):  # the store's file of one of three
        same = [each for each in WorkStore.open().folder.rglob("*.safetensors") if each.samefile(path)]
        same[0].unlink()
    forwards.clear()
    monkeypatch.setenv("MIS_NETWORKS_PER_PASS", "3")
    assert contents(drawn_study.run_activations("again")) == alone
    assert len(forwards) == 4


def test_networks_of_a_pass_go_on_each_from_its_own_state(drawn_study, fresh_store, forwards, monkeypatch):
    monkeypatch.setattr(passes, "_SAVE_EVERY", -1)
    three(drawn_study)
    alone = contents(drawn_study.run_activations("alone"))
    fresh_store()
    usual = Capture.__call__

    def interrupted(self, batch):
        if len(forwards) == 2 * 3 + 1:  # in the third batch, after one of three networks
            raise KeyboardInterrupt
        return usual(self, batch)

    monkeypatch.setattr(Capture, "__call__", interrupted)
    monkeypatch.setenv("MIS_NETWORKS_PER_PASS", "3")
    forwards.clear()
    with pytest.raises(KeyboardInterrupt):
        drawn_study.run_activations("resumed")
    monkeypatch.setattr(Capture, "__call__", usual)
    states = sorted((WorkStore.open().folder / "states").rglob("*.safetensors"))
    assert sorted(int(load_file(path)["seen"][0]) for path in states) == [BATCH] * 3 + [2 * BATCH] * 3
    seen = [path for path in states if int(load_file(path)["seen"][0]) == 2 * BATCH]
    seen[0].unlink()  # one network goes on further back than the others
    forwards.clear()
    assert contents(drawn_study.run_activations("resumed")) == alone
    assert len(forwards) == 3 + 2 + 2


def test_a_network_that_fails_in_a_pass_leaves_the_others_alone(drawn_study, fresh_store, monkeypatch):
    three(drawn_study, kwargs=json.dumps({"broken": [2]}))
    alone = contents(drawn_study.run_activations("alone"))
    assert "net.safetensors" in alone
    assert "large.safetensors" not in alone
    fresh_store()
    monkeypatch.setenv("MIS_NETWORKS_PER_PASS", "3")
    monkeypatch.setattr(passes, "_SAVE_EVERY", -1)
    assert contents(drawn_study.run_activations("together")) == alone
    failures = tables.read_csv(drawn_study.folder / "together" / "failures.csv", ["model", "reason"])
    assert failures["model"].tolist() == ["large"]
    assert "layer middle, unit 2 is nan" in failures["reason"].iloc[0]


def test_a_pass_whose_worker_dies_runs_again_network_by_network(drawn_study, monkeypatch):
    three(drawn_study)
    jobs = []

    def ran(passes, what, log, each):
        jobs.append([[one.name for one in job.extractions] for job in passes])
        for job in passes:
            dies = any(one.name == "large" for one in job.extractions)
            each(job, Failure("its worker process died") if dies else job.run())

    monkeypatch.setattr(extract, "run_all", ran)
    monkeypatch.setenv("MIS_NETWORKS_PER_PASS", "3")
    out = drawn_study.run_activations()
    assert jobs[:2] == [[["large", "net", "other"]], [["large"], ["net"], ["other"]]], "the longest first"
    assert tables.read_csv(out / "failures.csv", ["model", "reason"])["model"].tolist() == ["large"]
    assert {path.stem for path in out.glob("*.safetensors")} == {"net", "other"}


def test_a_network_that_lacks_memory_beside_others_runs_again_alone(drawn_study, fresh_store, monkeypatch):
    three(drawn_study)
    alone = contents(drawn_study.run_activations("alone"))
    alive, begun, usual = weakref.WeakSet(), selection.Extremes.__init__, selection.Extremes.update

    def counted(self, *args, **kwargs):
        begun(self, *args, **kwargs)
        alive.add(self)

    def crowded(self, values, images):
        if len(alive) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        usual(self, values, images)

    fresh_store()
    monkeypatch.setenv("MIS_NETWORKS_PER_PASS", "3")
    monkeypatch.setattr(selection.Extremes, "__init__", counted)
    monkeypatch.setattr(selection.Extremes, "update", crowded)
    assert contents(drawn_study.run_activations("crowded")) == alone


def test_passes_keep_views_together_and_workers_busy(monkeypatch):
    assert ordering.grouped_by_view(list("abacb"), 2) == [[0, 2], [1, 4], [3]]
    assert ordering.grouped_by_view([], 2) == []
    monkeypatch.setenv("MIS_WORKERS", "3")
    assert grouping.networks_per_pass(10) == 1
    monkeypatch.setenv("MIS_NETWORKS_PER_PASS", "8")
    assert [grouping.networks_per_pass(n) for n in (1, 3, 10, 100)] == [1, 1, 4, 8]
    monkeypatch.setenv("MIS_NETWORKS_PER_PASS", "0")
    with pytest.raises(InputError, match="MIS_NETWORKS_PER_PASS is '0'"):
        grouping.networks_per_pass(3)


# --------------------------------------------------------------------------- what is computed again


@pytest.mark.parametrize(
    "change",
    [{"activations__n_extremes": 21}, {"activations__batch_size": 15}, {"activations__keep": []}, {"seed": 1}],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_parameter_computes_again(small, forwards, change):
    small.run_activations("first")
    forwards.clear()
    small.params(**{"activations__keep": ["net/middle/3"], **change})
    if "seed" in change:
        small.run_models()
    small.run_activations("second")
    assert forwards


def test_equal_values_are_ordered_by_the_keyed_mix_also_across_shards(small, monkeypatch):
    # unit 1 of `middle` is dead: 0.5 for every image
    monkeypatch.setattr(passes, "_SAVE_EVERY", -1)
    out = small.run_activations()
    found = load_file(out / "other.safetensors")
    column = 8 + 1
    assert found["min"][column] == found["max"][column]
    ranks = order(np.zeros((60, 1)), unit_keys(0, "other", "middle", np.array([1])))[0]
    assert found["bottom_images"][column].tolist() == ranks[:N_EXTREMES].tolist()
    assert found["top_images"][column].tolist() == ranks[::-1][:N_EXTREMES].tolist()
    assert found["tied_beyond_top"][column]
    assert found["tied_beyond_bottom"][column]


def test_fewer_images_than_extremes_are_all_kept(small):
    small.params(activations__n_extremes=100)
    found = load_file(small.run_activations() / "net.safetensors")
    assert found["top_images"].shape == (14, 60)
    assert (np.sort(found["top_images"], axis=1) == np.arange(60)).all()
    np.testing.assert_array_equal(found["top_images"], found["bottom_images"][:, ::-1])
    assert not found["tied_beyond_top"].any()


# --------------------------------------------------------------------------- failures


def test_a_network_with_nan_is_recorded_with_layer_unit_and_image(drawn_study):
    drawn_study.params(activations__max_failed=0.5)
    drawn_study.roster({"name": "net"}, {"name": "broken", "kwargs": '{"broken": [4]}'})
    drawn_study.run_models()
    out = drawn_study.run_activations()
    (row,) = pd.read_csv(out / "failures.csv", dtype=str).to_dict("records")
    first = tables.read_parquet(drawn_study.folder / "images" / "manifest.parquet")["path"][0]
    assert row["model"] == "broken"
    assert row["stage"] == "activations"
    assert row["reason"] == f"layer middle, unit 4 is nan for image {first}"
    assert set(tables.read_parquet(out / "layers.parquet")["model"]) == {"net"}
    assert not (out / "broken.safetensors").exists()


def test_failures_above_the_limit_stop_the_stage(drawn_study):
    drawn_study.params(activations__max_failed=0.49)
    drawn_study.roster({"name": "net"}, {"name": "broken", "kwargs": '{"broken": [4]}'})
    drawn_study.run_models()
    with pytest.raises(InputError) as caught:
        drawn_study.run_activations()
    text = str(caught.value)
    assert "1 of 2 networks failed; activations.max_failed allows a share of 0.49:\n" in text
    assert "\n  broken: layer middle, unit 4 is nan for image scene_" in text


def test_a_permuted_control_of_a_failed_or_unknown_network_fails(drawn_study):
    shuffled = {"constructor": "control:permuted", "preprocessing": "", "role": "control"}
    drawn_study.params(activations__max_failed=1.0)
    drawn_study.roster(
        {"name": "broken", "kwargs": '{"broken": [4]}'},
        {"name": "shuffled", **shuffled, "kwargs": '{"of": "broken"}'},
        {"name": "lost", **shuffled},
        {"name": "odd", **shuffled, "constructor": "control:odd"},
    )
    drawn_study.run_models()
    reasons = pd.read_csv(drawn_study.run_activations() / "failures.csv", dtype=str).set_index("model")["reason"]
    assert list(reasons.index) == ["broken", "lost", "odd", "shuffled"]
    for name, base in (("shuffled", "'broken'"), ("lost", "''")):
        assert 'kwargs must name a network of the roster that succeeded, as {"of": "NAME"}' in reasons[name]
        assert reasons[name].endswith(base)
    assert (
        "constructor 'control:odd' is no control; allowed: control:planted, control:superposed, control:chance"
        in reasons["odd"]
    )


def test_planted_controls_need_factors(study, photographs):
    study.params(images__source="folder", images__root=str(photographs(20)), human__source="none")
    study.run_images()
    study.roster({"name": "controls", "constructor": "control:planted", "preprocessing": "", "role": "control"})
    study.run_models()
    with pytest.raises(InputError, match="control:planted needs the factors of generated scenes; photographs allow"):
        study.run_activations()


def kept_units(study):
    table = tables.read_parquet(study.folder / "activations" / "kept" / "net.parquet")
    return list(zip(table["layer"], table["unit"], strict=True))


def test_patterns_and_a_list_name_units_to_keep(small, caplog):
    units = small.folder / "units"
    units.mkdir()
    # the record joins a module path by "_"; nobody and last have no units here
    (units / "imi.txt").write_text("# annotated\n\nnet/norm/2\nvisual/x/1\nnet/last/0\n")
    small.params(activations__keep=["net/mid*/[13]", "*/norm/7", "*/nobody/*"], activations__keep_file="imi.txt")
    small.run_activations(units=units)
    assert kept_units(small) == [("norm", 2), ("norm", 7), ("middle", 1), ("middle", 3)]
    assert "net: 1 of 2 listed units are none of this study, first last/0" in caplog.text
    assert "imi.txt lists units of networks that are not studied: ['visual']" in caplog.text


def test_every_unit_of_a_network_may_be_kept(small):
    small.params(activations__keep=["net/*/*"])
    small.run_activations()
    assert len(kept_units(small)) == 8 + 6


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, r"imi\.txt: no such file; activations\.keep_file names it.*--list-units"),
        ("net/middle\n", r"imi\.txt: line 1 is 'net/middle', it must read model/layer/unit"),
        ("net/middle/3\nnet/middle/x\n", "line 2 is 'net/middle/x'"),
    ],
)
def test_a_list_that_cannot_be_read_is_told(small, text, told):
    if text is not None:
        (small.folder / "imi.txt").write_text(text)
    small.params(activations__keep_file="imi.txt")
    with pytest.raises(InputError, match=told):
        small.run_activations(units=small.folder)


@pytest.mark.parametrize(
    ("keep", "told"),
    [
        ("netz/middle/3", r"activations\.keep names network 'netz', which is not in .*roster\.csv"),
        ("net/middle/6", r"activations\.keep names net/middle/6, which is no unit of net \(written model/layer/unit\)"),
        ("net/first/0", "names net/first/0, which is no unit of net"),
        ("net", "names net, which is no unit of net"),
    ],
)
def test_units_to_keep_that_do_not_exist_are_told(small, keep, told):
    small.params(activations__keep=[keep])
    with pytest.raises(InputError, match=told):
        small.run_activations()


def test_directions_may_be_of_the_last_layer(drawn_study):
    np.save(drawn_study.folder / "d.npy", np.eye(3)[:, :1])
    drawn_study.roster({"name": "net", "directions": f"last={drawn_study.folder / 'd.npy'}"})
    drawn_study.run_models()
    table = tables.read_parquet(drawn_study.run_activations() / "layers.parquet")
    assert table[["layer", "width"]].values.tolist() == [["last", 1]]


def test_changed_directions_compute_again(drawn_study):
    path = drawn_study.folder / "d.npy"
    drawn_study.roster({"name": "net", "directions": f"middle={path}"})
    np.save(path, np.eye(6)[:, :2])
    drawn_study.run_models()
    first = load_file(drawn_study.run_activations("first") / "net.safetensors")
    np.save(path, np.eye(6)[:, 2:4])
    second = load_file(drawn_study.run_activations("second") / "net.safetensors")
    assert not np.array_equal(first["max"], second["max"])


def test_no_wanted_layer_is_told(small):
    small.params(units__layer_types=["GroupNorm"], activations__keep=[])
    with pytest.raises(InputError, match=r"no layer is left of 0 with units\.layer_types = GroupNorm"):
        small.run_activations()


def test_a_folder_that_lost_a_picture_is_refused_before_any_work(study, photographs, forwards):
    root = photographs(20)
    study.params(images__source="folder", images__root=str(root), human__source="none")
    study.run_images()
    study.roster({"name": "net"})
    study.run_models()
    (root / "cat" / "000.jpg").unlink()
    with pytest.raises(
        InputError,
        match=r"cat/000\.jpg is gone .* \(1 of 20 pictures are\)\. Put it back, or take the pictures as they are now: dvc repro",
    ):
        study.run_activations()
    assert not forwards


def test_photographs_of_any_size_are_read_from_their_folder(study, photographs, monkeypatch):
    root = photographs(20)
    study.params(images__source="folder", images__root=str(root), human__source="none")
    study.run_images()
    study.roster({"name": "net"})
    study.run_models()
    first = contents(study.run_activations("first"))
    moved = root.rename(root.with_name("moved"))
    monkeypatch.setenv("MIS_IMAGES", str(moved))
    assert contents(study.run_activations("second")) == first


def test_a_roster_row_may_ask_for_taps(drawn_study):
    vit = {"constructor": "test_vit", "kwargs": '{"img_size": 32, "num_classes": 4}'}
    drawn_study.roster({"name": "plain", **vit, "taps": ""}, {"name": "asked", **vit, "taps": "imi"})
    drawn_study.run_models()
    drawn_study.run_activations()
    plain, asked = (layers_of(drawn_study, name) for name in ("plain", "asked"))
    more = asked[~asked["layer"].isin(plain["layer"])]
    assert more["layer"].tolist() == [f"blocks.{i}.ls{j}" for i in range(6) for j in (1, 2)]
    assert set(more["layer_type"]) == {"Other"}
    # an identity: the values of the linear layer before it, in the order in which the network reaches them
    assert asked["layer"].tolist().index("blocks.0.ls1") == asked["layer"].tolist().index("blocks.0.attn.proj") + 1
    found = extremes(drawn_study, "asked")
    places = asked.set_index("layer")[["offset", "width"]]
    (linear, width), (scaled, _) = places.loc["blocks.0.attn.proj"], places.loc["blocks.0.ls1"]
    np.testing.assert_array_equal(found["max"][linear : linear + width], found["max"][scaled : scaled + width])
