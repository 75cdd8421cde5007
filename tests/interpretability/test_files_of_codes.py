"""Files of codes: everything there and back, the same bytes each time, and what is wrong named."""

import json
import re
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from interpretability.directions.checks import AXES, WORDS, check_code
from interpretability.directions.codes import Code
from interpretability.directions.files import KEYS, read_code, write_code
from interpretability.errors import InputError

M, D = 6, 4
ENCODER = torch.arange(M * D, dtype=torch.float32).reshape(M, D) / 7 - 1
VECTOR = torch.linspace(-1, 2, M)
CODES = {
    "linear": Code(encoder=ENCODER),
    "relu": Code(
        encoder=ENCODER,
        bias=VECTOR,
        pre_bias=torch.ones(D),
        decoder=ENCODER * 2,
        activation="relu",
        scaling="factor",
        factor=0.1,
        decoder_norm="after",
        tokens="patches",
        n_prefix=5,
        layer="blocks.7",
        source="a “test” of Ωs",
    ),
    "topk": Code(
        encoder=ENCODER,
        decoder=ENCODER,
        activation="topk",
        k=3,
        order="topk_relu",
        decoder_norm="before",
        scaling="layer_norm",
        tokens="class",
    ),
    "jumprelu": Code(
        encoder=ENCODER, threshold=VECTOR, activation="jumprelu", comparison=">=", scaling="constant_norm"
    ),
    "gated": Code(encoder=ENCODER, bias=VECTOR, magnitude=VECTOR.exp(), gate_bias=-VECTOR, activation="gated"),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "code.safetensors"


def raw(path, tensors=None, settings=None, metadata=None):
    """A file of any tensors and settings."""
    tensors = {"encoder": ENCODER} if tensors is None else tensors
    entry = {"code": json.dumps({"format": 1, "activation": "relu"} | (settings or {}))}
    save_file(
        {name: value.clone() for name, value in tensors.items()}, path, metadata=entry if metadata is None else metadata
    )
    return path


def refused(path):
    with pytest.raises(InputError) as error:
        read_code(path)
    text = str(error.value)
    assert text.startswith(f"{path.name}: ")
    assert text.isprintable()
    return text


@pytest.mark.parametrize("name", CODES)
def test_everything_comes_back(name, path):
    code = CODES[name]
    write_code(code, path)
    back = read_code(path)
    for field in fields(Code):
        value, kept = getattr(code, field.name), getattr(back, field.name)
        if isinstance(value, torch.Tensor):
            assert kept.dtype == torch.float32
            assert torch.equal(value, kept)
        else:
            assert value == kept, field.name
            assert type(value) is type(kept)


def test_fields_of_a_code_are_those_of_a_file():
    assert {field.name for field in fields(Code)} == {*AXES, *KEYS}
    assert set(WORDS) <= set(KEYS)


def test_equal_codes_give_equal_bytes(tmp_path):
    contents = set()
    for number in range(3):
        # the same numbers, once as a view of others and once with the axes the other way round in memory
        encoder = [ENCODER, torch.cat([ENCODER, ENCODER])[:M], ENCODER.T.contiguous().T][number]
        write_code(replace(CODES["topk"], encoder=encoder, decoder=encoder), tmp_path / "a.safetensors")
        contents.add((tmp_path / "a.safetensors").read_bytes())
    assert len(contents) == 1


def test_the_file_is_as_documented(path):
    write_code(CODES["relu"], path)
    with safe_open(path, framework="np") as file:
        assert sorted(file.keys()) == ["bias", "decoder", "encoder", "pre_bias"]
        assert list(file.metadata()) == ["code"]
        settings = json.loads(file.metadata()["code"])
    assert settings.pop("format") == 1
    assert set(settings) == set(KEYS)


def test_a_file_written_by_hand_needs_two_keys_and_one_tensor(path):
    code = read_code(raw(path, settings={"activation": "linear"}))
    assert (code.activation, code.scaling, code.tokens, code.n_prefix, code.bias) == ("linear", "none", "all", 1, None)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(kind, path):
    code = read_code(raw(path, {"encoder": ENCODER.to(kind)}))
    assert code.encoder.dtype == torch.float32
    assert torch.equal(code.encoder, ENCODER.to(kind).float())


def test_a_file_is_there_whole_or_not_at_all(path, monkeypatch):
    write_code(CODES["linear"], path)
    before = path.read_bytes()

    def fails(tensors, file, metadata):
        file.write_bytes(b"half")
        raise RuntimeError("stopped")

    monkeypatch.setattr("safetensors.torch.save_file", fails)
    with pytest.raises(RuntimeError, match="stopped"):
        write_code(CODES["relu"], path)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_code_that_is_wrong_is_not_written(path):
    with pytest.raises(InputError, match="threshold is missing; activation jumprelu needs it"):
        write_code(Code(encoder=ENCODER, activation="jumprelu"), path)
    with pytest.raises(InputError, match=r"code\.npy: .*\.safetensors"):
        write_code(CODES["linear"], path.with_name("code.npy"))
    assert not list(path.parent.iterdir())


VECTORS = {"encoder": ENCODER, "bias": VECTOR}
WRONG = {
    "a key that is not known": ({}, {"scalling": "none"}, ["the key scalling is not known; scaling may be meant"]),
    "a word": ({}, {"activation": "reluu"}, ["activation is 'reluu', allowed: linear, relu, topk, jumprelu, gated"]),
    "a number as a word": ({}, {"scaling": 3}, ["scaling is 3"]),
    "a number as text": ({}, {"factor": "2", "scaling": "factor"}, ["factor is '2'"]),
    "truth as a number": ({}, {"n_prefix": True}, ["n_prefix is True", "whole number"]),
    "infinity": ({}, {"factor": float("inf"), "scaling": "factor"}, ["factor is inf"]),
    "a factor of nothing": ({}, {"factor": 0.5}, ["factor is 0.5, but scaling is none"]),
    "a class without its place": ({}, {"tokens": "class", "n_prefix": 0}, ["n_prefix is 0"]),
    "topk without k": ({}, {"activation": "topk"}, ["k is 0; topk needs one from 1 to 6"]),
    "topk with too many": ({}, {"activation": "topk", "k": 7}, ["k is 7; topk needs one from 1 to 6"]),
    "k of another activation": ({}, {"k": 2}, ["k is 2, but activation is relu; only topk takes one"]),
    "no threshold": ({}, {"activation": "jumprelu"}, ["threshold is missing; activation jumprelu needs it"]),
    "a threshold of nothing": ({"encoder": ENCODER, "threshold": VECTOR}, {}, ["only jumprelu looks at it"]),
    "no gates": ({}, {"activation": "gated"}, ["magnitude is missing; activation gated needs it"]),
    "no decoder": ({}, {"decoder_norm": "after"}, ["decoder is missing; decoder_norm after needs it"]),
    "before nothing": (
        {"encoder": ENCODER, "decoder": ENCODER},
        {"decoder_norm": "before"},
        ["decoder_norm is before, but activation is relu"],
    ),
    "a tensor that is not known": (
        {"encoder": ENCODER, "decoders": ENCODER},
        {},
        ["decoders is not known; decoder may"],
    ),
    "no encoder": ({"bias": VECTOR}, {}, ["the tensor encoder (latents, width) is missing"]),
    "another size": ({"encoder": ENCODER, "bias": VECTOR[:5]}, {}, ["bias has shape (5,); it must be (6,)"]),
    "the other way round": ({"encoder": ENCODER, "decoder": ENCODER.T.contiguous()}, {}, ["decoder has shape (4, 6)"]),
    "another number of axes": ({"encoder": VECTOR}, {}, ["encoder has shape (6,); it must be (latents, width)"]),
    "no latents": ({"encoder": ENCODER[:0]}, {}, ["encoder has shape (0, 4)"]),
    "whole numbers": (
        {"encoder": ENCODER.long()},
        {},
        ["encoder is of type I64; it must be one of F32, F16, BF16, F64"],
    ),
    "two lines": ({}, {"layer": "a\nb"}, ["layer is 'a\\nb'; it must be one line"]),
    "a long text": ({}, {"source": "a" * 2000}, ["at most 1000 letters"]),
    "half of a letter": ({}, {"layer": "\ud800"}, ["layer is"]),
    "another format": ({}, {"format": 2}, ["its format is 2; this version reads format 1"]),
    "truth as a format": ({}, {"format": True}, ["its format is True"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name, path):
    tensors, settings, parts = WRONG[name]
    text = refused(raw(path, tensors or None, settings))
    for part in parts:
        assert part in text, text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_not_finite_is_named_with_its_place(value, path):
    for kind in (torch.float32, torch.float64):
        encoder = torch.zeros(3000, D, dtype=kind)
        encoder[2345, 2] = value
        assert f"encoder holds {value} at [2345, 2]; all values must be finite" in refused(
            raw(path, {"encoder": encoder})
        )


def test_a_value_that_float32_does_not_hold_is_named_with_its_place(path):
    encoder = ENCODER.double()
    encoder[4, 1] = 1e39
    assert "encoder holds 1e+39 at [4, 1], which float32 does not hold" in refused(raw(path, {"encoder": encoder}))


def test_metadata_that_is_none_or_more(path):
    assert "lacks the entry code" in refused(raw(path, metadata={"format": "pt"}))
    assert "tools.convert_code" in refused(raw(path, metadata={"format": "pt"}))
    entry = json.dumps({"format": 1, "activation": "relu"})
    assert "entry of metadata note is not known" in refused(raw(path, metadata={"code": entry, "note": "x"}))
    for entry, words in (
        ("{", "no JSON"),
        ("[1]", "must be an object"),
        ("[" * 100_000, "no JSON"),
        ('{"format": ' + "9" * 5000 + "}", "no JSON"),
        ('{"format": 1}', "the key activation is missing"),
        ('{"activation": "relu"}', "the key format is missing"),
        ('{"format": 1, "activation": "relu", "activation": "linear"}', "the key activation stands twice"),
    ):
        assert words in refused(raw(path, metadata={"code": entry}))


def test_what_is_no_safetensors(path, tmp_path):
    assert "no such file" in refused(path)
    for content, words in (
        (b"", "no whole safetensors"),
        (b"\x80\x02}q\x00.", "convert_code"),
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
        (b"<html>", "web page"),
    ):
        path.write_bytes(content)
        assert words in refused(path)
    np.save(tmp_path / "matrix.npy", np.ones((2, 2)))
    assert "convert_code" in refused(tmp_path / "matrix.npy")
    torch.save({"encoder": ENCODER}, path)
    assert "no whole safetensors" in refused(path)
    raw(path)
    path.write_bytes(path.read_bytes()[:-3])
    assert "no whole safetensors" in refused(path)


def test_names_out_of_a_file_cannot_write_over_a_message(path):
    text = refused(raw(path, {"encoder": ENCODER, "a\x1b[2J{factor}" + "b" * 500: ENCODER}))
    assert len(text) < 400


def test_a_tensor_that_is_none(path):
    for wrong, words in (
        ({"encoder": ENCODER.double()}, "encoder is of kind torch.float64"),
        ({"encoder": ENCODER.numpy()}, "encoder is of type ndarray"),
        ({"encoder": None}, "encoder is of type NoneType"),
        ({"encoder": ENCODER.to_sparse()}, "torch.sparse_coo"),
        ({"encoder": ENCODER.to("meta")}, "on meta"),
    ):
        with pytest.raises(InputError, match=re.escape(words)):
            check_code(Code(**wrong))
