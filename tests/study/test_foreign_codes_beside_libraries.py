"""Converted codes beside the libraries that made them, where these are installed; they are not, because none is light."""

import importlib
import json

import pytest
import torch

from interpretability.directions.encoding import encode
from study.networks.foreign_codes import dictionary_learning, overcomplete, saelens
from study.networks.foreign_codes.options import Options

D, M = 16, 48
POSITIONS = torch.randn(100, D, generator=torch.Generator().manual_seed(0)) * 1.5 + 0.3


def library(name, part, reason):
    """A part of a library, or a skip. overcomplete 0.3.0 does not import beside matplotlib 3.11, nor dictionary_learning
    without nnsight: both count as not installed."""
    try:
        pytest.importorskip(name, reason=reason, exc_type=ImportError)
    except AttributeError:
        pytest.skip(reason)
    return importlib.import_module(f"{name}.{part}")


def moved(model):
    """Its parameters away from where they begin, where several formulas agree."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def agree(convert, path, options, wanted):
    values = encode(convert(path, Options(options)).code, POSITIONS).double()
    wanted = wanted.detach().double()
    assert torch.equal(values > 0, wanted > 0)
    torch.testing.assert_close(values, wanted, rtol=1e-6, atol=1e-6 * float(wanted.abs().max()))


@pytest.mark.parametrize("norm", ["none", "layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("kind", ["StandardSAE", "TopKSAE", "JumpReLUSAE", "GatedSAE"])
def test_saelens(kind, norm, tmp_path):
    saes = library("sae_lens", "saes", "the library sae_lens is not installed")
    extra = {"k": 10, "rescale_acts_by_decoder_norm": True} if kind == "TopKSAE" else {}
    config = getattr(saes, f"{kind}Config")(d_in=D, d_sae=M, normalize_activations=norm, **extra)
    model = moved(getattr(saes, kind)(config))
    model.save_model(tmp_path)
    agree(saelens.convert, tmp_path, {}, model.encode(POSITIONS.clone()))


@pytest.mark.parametrize("encoder", ["linear", "mlp_bn_1"])
@pytest.mark.parametrize("kind", ["SAE", "TopKSAE", "BatchTopKSAE", "JumpSAE"])
def test_overcomplete(kind, encoder, tmp_path):
    sae = library("overcomplete", "sae", "the library overcomplete is not installed")
    extra = {"TopKSAE": {"top_k": 7}, "BatchTopKSAE": {"top_k": 700}}.get(kind, {})
    model = moved(getattr(sae, kind)(D, M, encoder_module=encoder, **extra)).train()
    for shift in (0.0, 0.1, 0.2):
        model(POSITIONS + shift)
    model.eval()
    torch.save(model.state_dict(), tmp_path / "sae.pt")
    options = {"class": kind}
    if kind == "TopKSAE":
        options["k"] = 7
    if kind == "BatchTopKSAE":
        options["threshold"] = float(model.running_threshold)
    agree(overcomplete.convert, tmp_path, options, model.encode(POSITIONS)[1])


@pytest.mark.parametrize("kind", ["AutoEncoder", "AutoEncoderNew", "GatedAutoEncoder", "JumpReluAutoEncoder"])
def test_dictionary_learning(kind, tmp_path):
    classes = library("dictionary_learning", "dictionary", "the library dictionary_learning is not installed")
    model = moved(getattr(classes, kind)(D, M))
    torch.save(model.state_dict(), tmp_path / "ae.pt")
    (tmp_path / "config.json").write_text(json.dumps({"trainer": {"dict_class": kind}}))
    agree(
        dictionary_learning.convert,
        tmp_path,
        {},
        getattr(classes, kind).from_pretrained(tmp_path / "ae.pt").encode(POSITIONS),
    )
