"""Networks read in directions and sparse codes, from their row of the roster to the tables of the stage `activations`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from interpretability import Code, encode
from interpretability.directions.built_in import rotation
from interpretability.directions.files import write_code
from interpretability.errors import InputError
from study.extraction import passes
from study.files import tables
from study.images.manifest import open_images
from study.networks.building import load_network
from study.networks.roster import read_roster, rows_of


@pytest.fixture
def coded(drawn_study):
    """A study of one network read in a sparse code of 9 latents of its layer `middle`."""
    draw = torch.Generator().manual_seed(0)
    code = Code(
        encoder=torch.randn(9, 6, generator=draw),
        decoder=torch.randn(9, 6, generator=draw),
        bias=torch.randn(9, generator=draw) / 4,
        activation="topk",
        k=2,
        layer="middle",
    )
    file = drawn_study.folder / "code.safetensors"
    write_code(code, file)
    drawn_study.roster({"name": "net", "directions": f"middle={file}"})
    drawn_study.run_models()
    return drawn_study


def maps_of(study, name, layer="middle"):
    """Maps (images, positions, channels) of a layer for all images of a study, one image at a time."""
    (row,) = [row for row in rows_of(read_roster(study.folder / "models" / "roster.csv")) if row["name"] == name]
    network = load_network(row, study.folder / "models", study.code, 0)
    images, found = open_images(study.folder / "images", ""), []
    hook = network.model.get_submodule(layer).register_forward_hook(lambda _, __, value: found.append(value))
    with torch.no_grad():
        for index in range(len(images)):
            network.model(network.preprocessing.batch([images.pixels(index)]))
    hook.remove()
    return torch.cat(found).flatten(2).transpose(1, 2)


def contents(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_latents_are_encoded_at_every_position_and_pooled_then(coded, pooling):
    from interpretability.directions.files import read_code

    name = "middle" if pooling == "mean" else "middle@max"
    coded.roster({"name": "net", "directions": f"{name}={coded.folder}/code.safetensors"})
    coded.run_models()
    out = coded.run_activations()
    values = encode(read_code(coded.folder / "code.safetensors"), maps_of(coded, "net"))
    values = values.mean(dim=1) if pooling == "mean" else values.amax(dim=1)
    found = load_file(out / "net.safetensors")
    np.testing.assert_allclose(found["max"], values.numpy().max(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["mean"], values.numpy().mean(axis=0), rtol=1e-4, atol=1e-5)
    table = tables.read_parquet(out / "layers.parquet")
    assert table[["layer", "width"]].values.tolist() == [[name, 9]]
    (facts,) = pd.read_csv(out / "directions.csv", keep_default_na=False).to_dict("records")
    digest = facts.pop("digest")
    assert facts == {
        "model": "net",
        "layer": name,
        "kind": "code",
        "activation": "topk",
        "pooling": pooling,
        "tokens": "all",
        "input_width": 6,
        "n_latents": 9,
        "k": 2,
        "sparse": 1,
    }
    assert len(digest) == 64
    nearest = tables.read_parquet(out / "nearest.parquet")
    decoder = read_code(coded.folder / "code.safetensors").decoder.numpy()
    cosines = decoder / np.linalg.norm(decoder, axis=1, keepdims=True)
    assert len(nearest) == 9 * 5
    for row in nearest.itertuples():
        assert row.cosine == pytest.approx(cosines[row.unit, row.near_unit], abs=1e-6)
        assert (np.abs(cosines[row.unit]) > abs(row.cosine) + 1e-6).sum() == row.rank - 1


def test_workers_and_interruptions_leave_the_bytes_of_a_coded_row_alone(coded, tmp_path, monkeypatch):
    whole = contents(coded.run_activations("whole"))
    monkeypatch.setenv("MIS_STORE", str(tmp_path / "other"))
    monkeypatch.setenv("MIS_WORKERS", "2")
    monkeypatch.setattr(passes, "_SAVE_EVERY", -1)
    assert contents(coded.run_activations("again")) == whole


def test_another_size_of_batches_gives_the_same_extremes(coded):
    one = load_file(coded.run_activations("one") / "net.safetensors")
    coded.params(activations__batch_size=7)
    two = load_file(coded.run_activations("two") / "net.safetensors")
    np.testing.assert_allclose(one["top_values"], two["top_values"], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(one["nonpositive"], two["nonpositive"])


def test_another_code_in_the_file_is_another_extraction(coded):
    first = load_file(coded.run_activations("first") / "net.safetensors")
    write_code(Code(encoder=torch.eye(6), activation="relu"), coded.folder / "code.safetensors")
    second = load_file(coded.run_activations("second") / "net.safetensors")
    assert len(first["max"]) == 9
    assert len(second["max"]) == 6


def test_a_pattern_rotates_every_layer_with_units(drawn_study):
    drawn_study.roster(
        {"name": "net"},
        {
            "name": "turned",
            "constructor": "of:net",
            "preprocessing": "",
            "role": "directions",
            "directions": "*=rotation:5",
        },
    )
    drawn_study.run_models()
    out = drawn_study.run_activations()
    layers = tables.read_parquet(out / "layers.parquet")
    one, two = (layers.loc[layers["model"] == name, ["layer", "width"]].values.tolist() for name in ("net", "turned"))
    assert one == two
    means = maps_of(drawn_study, "net").mean(dim=1).double().numpy()
    expected = means @ rotation(5, "middle", 6)
    start = dict(layers.loc[layers["model"] == "turned", ["layer", "offset"]].values)["middle"]
    found = load_file(out / "turned.safetensors")["max"][start : start + 6]
    np.testing.assert_allclose(found, expected.max(axis=0), rtol=1e-4, atol=1e-5)
    facts = pd.read_csv(out / "directions.csv", keep_default_na=False)
    assert set(facts["model"]) == {"turned"}
    assert set(facts["kind"]) == {"rotation"}


def test_principal_components_of_a_layer_are_uncorrelated_over_its_images(drawn_study):
    drawn_study.roster({"name": "net", "directions": "middle=pca"})
    drawn_study.params(activations__keep=["net/middle/0", "net/middle/1"])
    drawn_study.run_models()
    out = drawn_study.run_activations()
    kept = tables.read_parquet(out / "kept" / "net.parquet")
    assert abs(np.corrcoef(np.stack(kept["values"]))[0, 1]) < 1e-3
    variance = load_file(out / "net.safetensors")["variance"]
    assert (np.diff(variance) <= 0).all()


def test_the_output_of_any_module_can_be_read(drawn_study):
    drawn_study.roster({"name": "net", "directions": "act@max=units"})
    drawn_study.run_models()
    out = drawn_study.run_activations()
    (layer,) = tables.read_parquet(out / "layers.parquet")["layer"]
    assert layer == "act@max"
    expected = maps_of(drawn_study, "net", "act").amax(dim=1).numpy().max(axis=0)
    np.testing.assert_allclose(load_file(out / "net.safetensors")["max"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"encoder": torch.ones(3, 5)}, "holds a code over a width of 5; layer middle is 6 wide"),
        (
            {"encoder": torch.ones(3, 6), "tokens": "class"},
            "holds a code of class tokens, but the positions of layer middle",
        ),
    ],
)
def test_a_code_that_does_not_fit_is_told_before_the_study(coded, fields, told):
    write_code(Code(**fields), coded.folder / "code.safetensors")
    with pytest.raises(InputError, match=told):
        coded.run_models()


def test_a_cell_of_another_form_is_told_with_its_row(drawn_study):
    drawn_study.roster({"name": "net", "directions": "middle=rotation"})
    with pytest.raises(InputError, match=r"row 2 \(net\): directions is 'middle=rotation'; it must read LAYER=SOURCE"):
        drawn_study.run_models()
