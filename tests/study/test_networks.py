"""Rosters and networks: every row checked, weights that are the named ones, and no code run from a file of weights."""

from __future__ import annotations

import json
import os
import pickle
import re

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from interpretability.errors import InputError
from interpretability.files import sha256_file
from interpretability.weights import load_state
from study.networks import building, described, files, resolving, roster
from study.networks.building import load_network
from study.networks.direction_cells import taken_apart
from study.networks.directions import load_directions, parse_directions
from study.networks.roster import read_roster
from study.params.whole import load_params
from tests.conftest import NETWORK_CODE, PREPROCESSING
from tests.helpers.rules import ROOT

EMPTY = dict.fromkeys(roster.COLUMNS, "")
ROSTERS = sorted({load_params(path).models.roster for path in (ROOT / "studies").glob("*.yaml")})


def written(tmp_path, text):
    path = tmp_path / "roster.csv"
    path.write_text(text)
    return path


def refused(path):
    with pytest.raises(InputError) as caught:
        read_roster(path)
    assert str(caught.value).startswith(f"{path}")
    return str(caught.value)


# --------------------------------------------------------------------------- rosters


@pytest.mark.parametrize("path", ROSTERS)
def test_the_roster_of_every_study_is_valid(path):
    assert len(read_roster(ROOT / path))


def test_left_out_columns_get_their_defaults(tmp_path):
    (row,) = read_roster(written(tmp_path, "name,constructor\na,resnet18\n")).to_dict("records")
    assert np.isnan(row.pop("step"))
    assert np.isnan(row.pop("top1"))
    given = {"name": "a", "constructor": "resnet18", "role": "study", "weights": "none"}
    assert row == {name: given.get(name, "") for name in roster.COLUMNS if name not in roster.NUMBERS}


def test_names_that_look_like_numbers_stay_names(tmp_path):
    digest = "1" * 64  # every cell of these columns is a number
    text = f"name,constructor,weights,sha256,series,top1,step\n0.10,a:b,7,{digest},007,71.5,\n50,a:b,7,{digest},,,3\n"
    frame = read_roster(written(tmp_path, text))
    assert frame["name"].tolist() == ["0.10", "50"]
    assert frame["sha256"].tolist() == [digest] * 2
    assert frame["series"].tolist() == ["007", ""]
    assert frame["weights"].tolist() == ["7", "7"]
    assert frame["top1"].tolist()[0] == 71.5
    assert np.isnan(frame["top1"][1])
    assert np.isnan(frame["step"][0])


def test_a_double_name_is_told_with_its_rows(tmp_path):
    text = refused(written(tmp_path, "name,constructor\na,x:y\nb,x:y\na,x:z\n"))
    assert "name 'a' stands in rows 2, 4; every network needs a name of its own" in text


def test_an_unknown_column_is_told_with_the_known_ones(tmp_path):
    text = refused(written(tmp_path, "name,constructor,weight,colour\na,x:y,none,red\n"))
    assert "unknown column weight, colour; allowed: name, constructor, kwargs, weights, sha256, preprocessing" in text


def test_a_missing_column_is_told(tmp_path):
    assert "column constructor is missing; it has name" in refused(written(tmp_path, "name\na\n"))


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("model,constructor", "column name is missing; it has model, constructor; did you mean name by model?"),
        ("Name,constructor", "did you mean name by Name?"),
        (
            "name,Architecture",
            "column constructor is missing; it has name, Architecture; did you mean constructor by Arch",
        ),
        ("name,constructor,checkpoint", "unknown column checkpoint; allowed: .*; did you mean weights by checkpoint?"),
        ("name,constructor,pre-processing", "did you mean preprocessing by pre-processing?"),
        ("name,constructor,weight", "did you mean weights by weight?"),
    ],
)
def test_columns_of_other_names_are_told_with_the_right_ones(tmp_path, header, told):
    cells = ",".join(["a"] * (header.count(",") + 1))
    assert re.search(re.escape(told).replace(r"\.\*", ".*"), refused(written(tmp_path, f"{header}\n{cells}\n")))


@pytest.mark.parametrize("header", ["name,constructor,model", "name,constructor,colour"])
def test_a_column_that_the_roster_has_is_not_proposed(tmp_path, header):
    assert "did you mean" not in refused(written(tmp_path, f"{header}\na,b,c\n"))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("A a", "names 'A', 'a' of rows 2, 3 differ by capitals alone"),
        ("net b Net NET", "names 'NET', 'Net', 'net' of rows 2, 4, 5 differ by capitals alone"),
        ("a a", "name 'a' stands in rows 2, 3; every network needs a name of its own"),
    ],
)
def test_names_that_are_one_file_on_some_disks_are_refused(tmp_path, names, told):
    rows = "".join(f"{name},x:y\n" for name in names.split())
    assert told in refused(written(tmp_path, f"name,constructor\n{rows}"))


@pytest.mark.parametrize(
    ("digest", "told"),
    [
        (
            "91c1957c6a1a",
            "row 2 (net): sha256 has 12 of the 64 signs of a digest; sha256sum data/external/weights/net.pth",
        ),
        ("91C1957C6A1A", "sha256 has 12 of the 64 signs"),
        (
            "no digest",
            "row 2 (net): sha256 is 'no digest', it must be 64 signs 0-9, a-f; sha256sum data/external/weights/net.pth",
        ),
        ("0" * 65, "it must be 64 signs"),
        ("g" * 64, "it must be 64 signs"),
    ],
)
def test_a_digest_of_another_form_is_told(tmp_path, digest, told):
    text = f"name,constructor,weights,sha256\nnet,x:y,net.pth#ema,{digest}\n"
    assert told in refused(written(tmp_path, text))


def test_a_word_for_weights_in_other_letters_is_told(tmp_path):
    assert "did you mean hub?" in refused(written(tmp_path, "name,constructor,weights\nnet,x:y,Hub \n"))


def test_rows_are_numbered_as_a_spreadsheet_shows_them(tmp_path):
    frame = read_roster(written(tmp_path, "name,constructor\na,x:y\nb,x:y\n"))
    assert roster.row_numbers(frame) == {"a": 2, "b": 3}


@pytest.mark.parametrize(
    ("columns", "cells", "told"),
    [
        ("role", "studied", "row 2 (net): role is 'studied', allowed: study, similarity, control"),
        ("kwargs", "{width: 3}", "row 2 (net): kwargs '{width: 3}' is no JSON object such as {\"num_classes\": 10}"),
        ("kwargs", "[1]", "row 2 (net): kwargs '[1]' is no JSON object"),
        ("kwargs", "3", "row 2 (net): kwargs '3' is no JSON object"),
        (
            "weights",
            "net.safetensors",
            "row 2 (net): weights is 'net.safetensors', which is read as a file, so sha256 is",
        ),
        ("weights", "Hub", "otherwise allowed: hub, none, trained"),
        ("top1", "78%", "row 2 (net): top1 is '78%', it must be a number or empty"),
        ("step", "last", "row 2 (net): step is 'last', it must be a number or empty"),
    ],
)
def test_a_wrong_cell_is_told_with_its_row(tmp_path, columns, cells, told):
    assert told in refused(written(tmp_path, f"name,constructor,{columns}\nnet,x:y,{cells}\n"))


@pytest.mark.parametrize("name", ["", "a/b", "../up", "a b", ".hidden", "ü", "a\nb", "<b>", "a" * 101])
def test_a_name_that_cannot_be_a_file_is_refused(tmp_path, name):
    assert "name may hold up to 100 letters, digits and . _ + - only" in refused(
        written(tmp_path, f'name,constructor\n"{name}",x:y\n')
    )


def test_all_problems_of_a_roster_are_told_at_once(tmp_path):
    text = refused(written(tmp_path, "name,constructor,role,kwargs\na,x:y,no,\nb c,x:y,study,\na,x:y,study,{\n"))
    assert len(text.splitlines()) == 5


def test_a_roster_without_rows_is_refused(tmp_path):
    assert "has no rows; give at least one network" in refused(written(tmp_path, "name,constructor\n"))


def test_a_comma_in_unquoted_json_is_told_with_its_row(tmp_path):
    text = refused(written(tmp_path, 'name,constructor,kwargs\na,x:y,{"a": 1, "b": 2}\n'))
    assert "row 2" in text
    assert "is written in quotes" in text


# --------------------------------------------------------------------------- constructors


@pytest.fixture
def code(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "tiny.py").write_text(NETWORK_CODE)
    return tmp_path / "code"


def opened(code, models=None, **row):
    row = {
        **EMPTY,
        "name": "net",
        "constructor": "tiny:network",
        "weights": "none",
        "preprocessing": PREPROCESSING,
    } | row
    return load_network(row, models or code, code, seed=0)


def test_a_function_of_the_code_folder_gets_its_kwargs(code):
    model = opened(code, kwargs='{"width": 9}').model
    assert model.middle.out_channels == 9
    assert not model.training


def test_a_module_in_a_subfolder_and_an_installed_one_are_found(code):
    (code / "deep").mkdir()
    (code / "deep" / "er.py").write_text(NETWORK_CODE)
    assert opened(code, constructor="deep.er:network").model.middle.out_channels == 6
    assert isinstance(opened(code, constructor="torch.nn:Identity").model, torch.nn.Identity)


def test_the_code_folder_goes_before_the_environment(code):
    (code / "timm.py").write_text(NETWORK_CODE)
    assert opened(code, constructor="timm:network").model.middle.out_channels == 6


@pytest.mark.parametrize(
    ("constructor", "told"),
    [
        (
            "resnet_of_mine",
            "net: constructor 'resnet_of_mine' is no timm name, no torchvision name and not of the form",
        ),
        ("nowhere:network", r"module nowhere is neither at .*/code/nowhere\.py nor installed; put nowhere\.py there"),
        ("tiny:missing", "net: module tiny has no function 'missing'"),
        ("tiny:", "net: module tiny has no function ''"),
        ("tiny:netwerk", r"net: module tiny has no function 'netwerk'; did you mean network\?"),
        ("tiny.network", r"net: constructor 'tiny.network' is no timm name, .*; did you mean tiny:network\?"),
        ("resnet19", r"net: constructor 'resnet19' is no timm .*; did you mean resnet1"),
        ("shufflenet_v2_x10", r"did you mean .*shufflenet_v2_x1_0"),
        (
            "resnet18.a1_in1q",
            r"net: timm has resnet18, but not 'resnet18.a1_in1q'; its weights are .*; did you mean resnet18.a1",
        ),
        ("tiny:OrderedDict", "net: tiny:OrderedDict gives OrderedDict, it must give a torch.nn.Module"),
    ],
)
def test_an_unknown_constructor_is_told(code, constructor, told):
    with pytest.raises(InputError, match=told):
        opened(code, constructor=constructor)


def test_a_module_that_lacks_another_one_is_not_called_missing(code):
    (code / "needy.py").write_text("import not_installed_anywhere\n")
    told = r"net: importing needy .* No module named '\w+'; not_installed_anywhere is neither a file of .*/code nor installed"
    with pytest.raises(InputError, match=told):
        opened(code, constructor="needy:network")


def test_timm_and_torchvision_names_are_constructed(code):
    row = {"constructor": "test_resnet", "kwargs": '{"num_classes": 4}'}
    assert opened(code, **row).model.num_classes == 4
    row = {"constructor": "squeezenet1_1", "kwargs": '{"num_classes": 4}', "preprocessing": ""}
    network = opened(code, **row)
    assert isinstance(network.model, torchvision.models.SqueezeNet)
    assert network.model.classifier[1].out_channels == 4


@pytest.mark.parametrize(
    ("constructor", "kwargs", "told"),
    [
        (
            "tiny:network",
            '{"widht": 3}',
            r"unexpected keyword argument 'widht'; did you mean width\?; allowed are width, dead",
        ),
        ("tiny:network", '{"width": "x"}', "fails: "),
        (
            "test_vit",
            '{"num_clases": 3}',
            r"unexpected .*'num_clases'; did you mean num_classes.*\?; VisionTransformer takes",
        ),
        ("squeezenet1_1", '{"num_clases": 3}', r"did you mean num_classes\?; SqueezeNet takes version, num_classes"),
        ("resnet18", '{"block": 3}', r"constructing it by resnet18 with kwargs \{\"block\": 3\} fails: "),
    ],
)
def test_kwargs_that_a_constructor_does_not_take_are_told(code, constructor, kwargs, told):
    with pytest.raises(InputError, match=told) as caught:
        opened(code, constructor=constructor, kwargs=kwargs)
    assert str(caught.value).startswith(f"net: constructing it by {constructor} with kwargs {kwargs}")


def test_initial_weights_come_from_the_seed_and_the_name_alone(code):
    first = opened(code)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    assert opened(code).digest == first.digest
    assert torch.equal(torch.random.get_rng_state(), before), "the generator of the process is left alone"
    assert opened(code, name="other").digest != first.digest
    row = {**EMPTY, "name": "net", "constructor": "tiny:network", "weights": "none", "preprocessing": PREPROCESSING}
    assert load_network(row, code, code, seed=1).digest != first.digest


def test_the_digest_sees_values_names_and_buffers(code):
    model = opened(code).model
    digests = {building.state_digest(model)}
    with torch.no_grad():
        model.middle.weight[0, 0, 0, 0] += 1e-6
    digests.add(building.state_digest(model))
    model.norm.running_mean += 1
    digests.add(building.state_digest(model))
    model.norm.num_batches_tracked += 1
    digests.add(building.state_digest(model))
    assert len(digests) == 4


# --------------------------------------------------------------------------- weights


@pytest.fixture
def saved(code):
    """A network with other weights than its initial ones, and a row that names their file."""
    model = opened(code, name="elsewhere").model
    path = code.parent / "net.safetensors"
    save_file(model.state_dict(), path)
    return model, {"weights": str(path), "sha256": sha256_file(path)}


def test_weights_of_a_file_are_loaded(code, saved):
    model, row = saved
    assert opened(code, **row).digest == building.state_digest(model)
    assert opened(code, **row | {"sha256": row["sha256"].upper()}).digest == building.state_digest(model)


def test_weights_are_found_in_the_folder_of_the_variable(code, saved, monkeypatch):
    model, row = saved
    monkeypatch.setenv("MIS_WEIGHTS", str(code.parent))
    assert opened(code, **row | {"weights": "net.safetensors"}).digest == building.state_digest(model)


def test_a_missing_file_is_told_with_where_it_was_looked_for(code):
    with pytest.raises(InputError, match=r"file gone\.pt does not exist \(looked in MIS_WEIGHTS, here and in data"):
        opened(code, weights="gone.pt", sha256="0")


def test_another_file_than_the_roster_names_is_refused(code, saved):
    _, row = saved
    with pytest.raises(InputError) as caught:
        opened(code, **row | {"sha256": "0" * 64})
    assert f"net: net.safetensors has sha256 {row['sha256']}, the roster says {'0' * 64}" in str(caught.value)
    assert "Download it again, or write the new digest into the roster" in str(caught.value)


def test_a_checkpoint_of_another_shape_is_told_by_its_first_misfits(code, saved):
    _, row = saved
    with pytest.raises(InputError) as caught:
        opened(code, **row, kwargs='{"width": 7}')
    text = str(caught.value)
    assert text.startswith(
        "net: net.safetensors does not fit tiny:network: 3 have another shape (middle.weight is 6 x 8"
    )
    assert text.endswith("Correct the constructor, its kwargs or the file")
    assert len(text) < 600


def test_a_checkpoint_with_other_names_is_told(code, saved, tmp_path):
    model, _ = saved
    path = tmp_path / "part.safetensors"
    save_file(
        {name: value for name, value in model.state_dict().items() if name != "last.bias"} | {"x": torch.ones(1)}, path
    )
    with pytest.raises(
        InputError,
        match=r"1 of 11 tensors of the network are not in it \(last\.bias\); 1 of its tensors are not in the network \(x\)",
    ):
        opened(code, weights=str(path), sha256=sha256_file(path))


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": s, "epoch": 3}])
def test_torch_files_are_read_plain_wrapped_and_with_a_parallel_prefix(code, saved, tmp_path, wrap):
    model, _ = saved
    path = tmp_path / "net.pt"
    torch.save(wrap({f"module.{name}": value for name, value in model.state_dict().items()}), path)
    assert opened(code, weights=str(path), sha256=sha256_file(path)).digest == building.state_digest(model)


@pytest.fixture
def several(code, tmp_path):
    """A torch file of two networks, and its row without the choice."""
    states = {name: opened(code, name=name).model.state_dict() for name in ("model", "model_ema")}
    path = tmp_path / "net.pt"
    torch.save({**states, "epoch": 3}, path)
    digests = {name: opened(code, name=name).digest for name in states}
    return path, digests


def test_a_roster_chooses_among_the_tables_of_a_file(code, several):
    path, digests = several
    row = {"sha256": sha256_file(path)}
    with pytest.raises(
        InputError, match=r"net: net\.pt holds 2 tables that fit the network: model, model_ema\. Choose one"
    ):
        opened(code, weights=str(path), **row)
    for name, digest in digests.items():
        assert opened(code, weights=f"{path}#{name}", **row).digest == digest
    with pytest.raises(InputError, match=r"net: net\.pt has no table 'ema'; it has model, model_ema"):
        opened(code, weights=f"{path}#ema", **row)
    with pytest.raises(InputError, match=r"file .*/gone\.pt does not exist"):
        opened(code, weights=f"{path.parent}/gone.pt#model", **row)


def test_a_file_whose_name_holds_the_sign_goes_before_a_choice(code, several):
    path, digests = several
    odd = path.rename(path.parent / "net.pt#model")
    row = {"sha256": sha256_file(odd)}
    with pytest.raises(InputError, match=r"net\.pt#model holds 2 tables"):
        opened(code, weights=str(odd), **row)
    assert opened(code, weights=f"{odd}#model_ema", **row).digest == digests["model_ema"]


@pytest.mark.parametrize(
    ("rows", "alike"),
    [
        ([("w.pt", "1"), ("w.pt", "1")], True),
        ([("w.pt", "1"), ("v.pt", "1")], True),
        ([("w.pt#a", "1"), ("w.pt#b", "1")], False),
        ([("w.pt", "1"), ("w.pt#a", "1")], False),
        ([("w.pt", "1"), ("w.pt", "2")], False),
    ],
)
def test_weights_of_other_tables_are_other_weights_for_the_store(rows, alike):
    one, other = (files.identity({"weights": weights, "sha256": digest}) for weights, digest in rows)
    assert (one == other) == alike


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS, not the file itself"),
        (b"<!DOCTYPE html>", "is a web page or XML, not the file itself"),
        (b"\x89HDF\r\n", "is HDF5 of another library"),
        (b"\x1f\x8b\x08", "is packed by gzip"),
        (b"garbage", "cannot be read as a plain table of tensors"),
        (b"", "cannot be read as a plain table of tensors"),
    ],
)
def test_files_of_other_kinds_are_told(tmp_path, content, told):
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(InputError, match=told) as caught:
        load_state(tmp_path / "net.pth")
    assert str(caught.value).startswith("net.pth ")


def test_safetensors_are_told_by_their_bytes(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "net.bin")
    assert torch.equal(load_state(tmp_path / "net.bin")["a"], torch.ones(2))


@pytest.mark.parametrize(
    "content", [torch.nn.Linear(2, 2), {"state_dict": {"a": torch.ones(1)}, "args": resolving.ResolveJob}]
)
def test_advice_of_torch_to_run_code_reaches_nobody(tmp_path, content):
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(
        InputError, match=r"it holds an object of (torch\.nn\.modules\.linear\.Linear|study\.networks\.resolving)"
    ) as caught:
        load_state(tmp_path / "net.pt")
    assert not any(word in str(caught.value) for word in ("\x1b", "trust", "weights_only", "can still be loaded"))


class Harmful:
    """Unpickled, it would run a command."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_inside_a_file_of_weights_is_refused_and_not_run(tmp_path, save):
    save({"state_dict": {"weight": torch.ones(2)}, "extra": Harmful(tmp_path / "ran")}, tmp_path / "net.pt")
    with pytest.raises(
        InputError, match=r"net\.pt cannot be read as a plain table of tensors .* need code to load are"
    ):
        load_state(tmp_path / "net.pt")
    assert not (tmp_path / "ran").exists()


def test_a_whole_pickled_network_is_refused(tmp_path, code):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pt")
    with pytest.raises(InputError, match=r"safetensors\.torch\.save_file\(model\.state_dict\(\), \.\.\.\)"):
        load_state(tmp_path / "net.pt")


@pytest.mark.parametrize("content", [torch.ones(3), [torch.ones(3)], {0: torch.ones(3)}])
def test_a_file_without_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(
        InputError, match=r"net\.pt holds no table of named tensors; save model\.state_dict\(\) instead"
    ):
        load_state(tmp_path / "net.pt")


@pytest.mark.parametrize("content", [b"", b"not tensors", b"\x10\x00\x00\x00\x00\x00\x00\x00{"])
def test_a_damaged_safetensors_file_is_told_by_name(tmp_path, content):
    (tmp_path / "net.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"net\.safetensors is no whole safetensors file \(.*\); download it again"):
        load_state(tmp_path / "net.safetensors")


def test_trained_weights_lie_beside_the_roster(code, saved, tmp_path):
    model, _ = saved
    (tmp_path / "models" / "weights").mkdir(parents=True)
    save_file(model.state_dict(), tmp_path / "models" / "weights" / "net.safetensors")
    assert opened(code, tmp_path / "models", weights="trained").digest == building.state_digest(model)


# --------------------------------------------------------------------------- preprocessing


def test_preprocessing_is_resolved_from_timm(code):
    found = opened(code, constructor="test_resnet", preprocessing="").preprocessing
    config = timm.data.resolve_data_config({}, model=timm.create_model("test_resnet"))
    assert found.crop == config["input_size"][1] == 160
    assert found.resize == int(160 / config["crop_pct"])
    assert found.mean == tuple(config["mean"])
    assert found.interpolation == config["interpolation"]


def test_preprocessing_is_resolved_from_torchvision(code):
    found = opened(code, constructor="squeezenet1_1", preprocessing="").preprocessing
    # torchvision's documented transforms of SqueezeNet1_1_Weights.IMAGENET1K_V1
    assert (found.crop, found.resize, found.interpolation) == (224, 256, "bilinear")
    assert found.mean == (0.485, 0.456, 0.406)
    assert found.std == (0.229, 0.224, 0.225)


def test_a_network_of_one_s_own_needs_preprocessing(code):
    with pytest.raises(
        InputError,
        match=r"net: preprocessing is empty, and neither timm nor torchvision knows it; write it as JSON such",
    ):
        opened(code, preprocessing="")


@pytest.mark.parametrize("text", ["{", "crop=32", '{"crop": 32}', '{"crop": 32, "size": 3}'])
def test_preprocessing_that_is_not_understood_shows_an_example(code, text):
    with pytest.raises(InputError) as caught:
        opened(code, preprocessing=text)
    assert f"net: preprocessing {text!r} is not understood" in str(caught.value)
    assert 'Write JSON such as {"resize": 256, "crop": 224' in str(caught.value)


def test_preprocessing_out_of_range_is_told(code):
    text = json.dumps(json.loads(PREPROCESSING) | {"crop": 40, "interpolation": "cubic", "std": [0, 1, 1]})
    with pytest.raises(InputError) as caught:
        opened(code, preprocessing=text)
    for part in ("interpolation is 'cubic', allowed:", "resize 32 is smaller than crop 40", "std is [0, 1, 1]"):
        assert part in str(caught.value)


# --------------------------------------------------------------------------- families


@pytest.mark.parametrize(
    ("constructor", "given", "expected"),
    [
        ("resnet50.tv_in1k", "", "resnet"),
        ("test_vit", "", "vision_transformer"),
        ("resnet50_clip.openai", "", "byobnet"),
        ("inception_v3", "", "inception_v3"),
        ("shufflenet_v2_x1_0", "", "shufflenetv2"),  # torchvision alone has it
        ("mine:build", "", "mine:build"),
        ("resnet50", "robust", "robust"),
        ("control:planted", "", ""),
    ],
)
def test_family_is_the_given_one_or_the_module_that_builds_the_network(constructor, given, expected):
    assert described.family({"constructor": constructor, "family": given}) == expected


# --------------------------------------------------------------------------- directions


def test_directions_are_a_layer_and_a_file(tmp_path):
    np.save(tmp_path / "a=b.npy", np.eye(2, dtype=np.float32))
    cell, path = parse_directions(f"blocks.0.norm={tmp_path}/a=b.npy")
    assert (cell.layer, cell.pooling, cell.kind, path) == ("blocks.0.norm", "mean", "matrix", tmp_path / "a=b.npy")
    with pytest.raises(InputError, match=r"file lost\.npy does not exist"):
        parse_directions("norm=lost.npy")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("norm=a.safetensors", ("norm", "mean", "code", "a.safetensors", 0, 0)),
        ("a.b#2@max=x=y.npy", ("a.b#2", "max", "matrix", "x=y.npy", 0, 0)),
        ("*=rotation:7", ("*", "mean", "rotation", "", 7, 0)),
        ("layer*.conv1@max=random:0:64", ("layer*.conv1", "max", "random", "", 0, 64)),
        ("norm=random:12", ("norm", "mean", "random", "", 12, 0)),
        ("norm=pca", ("norm", "mean", "pca", "", 0, 0)),
        ("*@max=units", ("*", "max", "units", "", 0, 0)),
    ],
)
def test_directions_are_taken_apart(text, expected):
    cell = taken_apart(text)
    assert (cell.layer, cell.pooling, cell.kind, cell.file, cell.seed, cell.n) == expected
    assert cell.called("norm") == ("norm@max" if cell.pooling == "max" else "norm")


def test_a_pattern_of_layers_takes_only_the_star_as_a_sign():
    cell = taken_apart("layer*[0]?.a=pca")
    assert cell.names("layer12[0]?.a")
    assert not any(map(cell.names, ["layer120x.a", "layer[0]xxa", "xlayer[0]?.a"]))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        *(
            (text, "it must read LAYER=SOURCE")
            for text in ["norm", "=a.npy", "norm=", "norm=a.npz", "a.npy", "@max=pca"]
        ),
        *(
            (f"norm={text}", "it must read LAYER=SOURCE")
            for text in ["rotation", "rotation:-1", "rotation:1:2", "pca:3"]
        ),
        ("norm=random:1:0", "needs at least one direction"),
        ("norm@sum=pca", "behind @ only max is allowed"),
        ("layer*=codes.safetensors", "A file fits one layer"),
    ],
)
def test_directions_of_another_form_are_told(text, told):
    with pytest.raises(InputError, match=f"directions is {re.escape(repr(text))}; .*{told}"):
        taken_apart(text)


def test_directions_become_float32(tmp_path):
    np.save(tmp_path / "d.npy", np.arange(6.0).reshape(3, 2))
    found = load_directions(tmp_path / "d.npy", "norm", 3)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.arange(6.0).reshape(3, 2))


@pytest.mark.parametrize(
    ("matrix", "told"),
    [
        (
            np.zeros((2, 3)),
            r"of shape \(2, 3\); layer norm needs .* of shape \(3, number .*\)\. Its transpose would fit",
        ),
        (np.zeros((3, 0)), r"d\.npy holds float64 of shape \(3, 0\)"),
        (np.full((3, 1), 1e60), r"d\.npy holds 1e\+60 at row 0, column 0, more than float32 holds"),
        (np.zeros(3), r"d\.npy holds float64 of shape \(3,\)"),
        (np.zeros((3, 2), dtype=np.int64), r"d\.npy holds int64 of shape"),
        (
            np.array([[0.0, 1.0], [0.0, np.nan], [0.0, 0.0]]),
            r"d\.npy holds nan at row 1, column 1; all numbers must be fin",
        ),
        (np.array([[0.0, 1.0], [0.0, 1.0], [-np.inf, 0.0]]), r"d\.npy holds -inf at row 2, column 0"),
        (np.array([[Harmful(".")]], dtype=object), r"d\.npy is no array of plain numbers \(Object arrays cannot"),
    ],
)
def test_a_matrix_that_does_not_fit_is_told(tmp_path, matrix, told):
    np.save(tmp_path / "d.npy", matrix, allow_pickle=True)
    with pytest.raises(InputError, match=told):
        load_directions(tmp_path / "d.npy", "norm", 3)


@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps([1])])
def test_a_file_that_is_no_matrix_is_told(tmp_path, content):
    (tmp_path / "d.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"d\.npy is no array of plain numbers \(.*\); save it with numpy\.save"):
        load_directions(tmp_path / "d.npy", "norm", 3)


def test_an_archive_of_matrices_is_told(tmp_path):
    np.savez(tmp_path / "d.npz", a=np.eye(3))
    (tmp_path / "d.npz").rename(tmp_path / "d.npy")
    with pytest.raises(InputError, match=r"d\.npy is an archive of several arrays"):
        load_directions(tmp_path / "d.npy", "norm", 3)
