"""Values of latents against a slow reference in float64, and readers that pool them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import interpretability as it
from interpretability.directions import encoding
from interpretability.directions.codes import Code
from interpretability.directions.readers import CodeReader, UnitReader
from interpretability.errors import InputError
from interpretability.randomness import generator

M, D = 23, 7


def drawn(name, *shape):
    return torch.from_numpy(generator(0, "codes", name).standard_normal(shape, np.float32))


def code(**fields):
    tensors = {"encoder": drawn("encoder", M, D), "bias": drawn("bias", M), "pre_bias": drawn("pre", D)}
    if fields.get("decoder_norm", "none") != "none":
        tensors["decoder"] = drawn("decoder", M, D)
    if fields.get("activation") == "jumprelu":
        tensors["threshold"] = drawn("threshold", M)
    if fields.get("activation") == "gated":
        tensors |= {"magnitude": drawn("magnitude", M).exp(), "gate_bias": drawn("gate", M)}
    return Code(**(tensors | fields))


def reference(given, x):
    """One position, number by number."""
    x = np.asarray(x, dtype=np.float64)
    if given.scaling == "layer_norm":
        x = (x - x.mean()) / (x.std(ddof=1) + 1e-5)
    elif given.scaling == "constant_norm":
        norm = np.sqrt(sum(value**2 for value in x))
        x = x * np.sqrt(len(x)) / norm if norm else x
    elif given.scaling == "factor":
        x = x * given.factor
    x = x - (0 if given.pre_bias is None else given.pre_bias.double().numpy())
    g = np.array([sum(w * v for w, v in zip(row, x, strict=True)) for row in given.encoder.double().numpy()])
    bias = np.zeros(len(g)) if given.bias is None else given.bias.double().numpy()
    norms = None if given.decoder is None else np.sqrt((given.decoder.double().numpy() ** 2).sum(1))
    h = g + bias
    if given.activation == "relu":
        h = np.maximum(h, 0)
    elif given.activation == "jumprelu":
        bound = given.threshold.double().numpy()
        h = np.where(h > bound if given.comparison == ">" else h >= bound, np.maximum(h, 0), 0)
    elif given.activation == "gated":
        opened = g + given.gate_bias.double().numpy() > 0
        h = np.where(opened, np.maximum(given.magnitude.double().numpy() * g + bias, 0), 0)
    elif given.activation == "topk":
        h = h * norms if given.decoder_norm == "before" else h
        h = np.maximum(h, 0) if given.order == "relu_topk" else h
        taken = sorted(range(len(h)), key=lambda latent: (-h[latent], latent))[: given.k]
        h = np.maximum([value if latent in taken else 0 for latent, value in enumerate(h)], 0)
    return h * norms if given.decoder_norm == "after" else h


SETTINGS = [
    *({"activation": kind} for kind in ("linear", "relu", "gated")),
    *({"activation": "jumprelu", "comparison": sign} for sign in (">", ">=")),
    *(
        {"activation": "topk", "k": k, "order": order, "decoder_norm": norm}
        for k, order, norm in itertools.product((1, 5, M), ("relu_topk", "topk_relu"), ("none", "before", "after"))
    ),
    *({"activation": kind, "decoder_norm": "after"} for kind in ("linear", "relu", "jumprelu", "gated")),
    *({"activation": "relu", "scaling": kind} for kind in ("layer_norm", "constant_norm")),
    {"activation": "topk", "k": 4, "scaling": "layer_norm"},
    {"scaling": "factor", "factor": 0.25},
    {"activation": "relu", "bias": None, "pre_bias": None},
]


@pytest.mark.parametrize("fields", SETTINGS, ids=str)
def test_values_are_those_of_the_formulas(fields):
    given, maps = code(**fields), 2 * drawn("maps", 3, 5, D)
    found = it.encode(given, maps)
    expected = np.stack([[reference(given, x) for x in image] for image in maps.numpy()])
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fields", SETTINGS, ids=str)
def test_blocks_of_positions_and_of_latents_change_nothing(fields, monkeypatch):
    given, maps = code(**fields), drawn("maps", 3, 5, D)
    whole = it.encode(given, maps)
    monkeypatch.setattr(encoding, "LATENTS", 5)
    for block in (1, 4, 1000):
        torch.testing.assert_close(it.encode(given, maps, block=block), whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(it.encode(given, maps[1]), whole[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(it.encode(given, maps[1, 2]), whole[1, 2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", ["relu_topk", "topk_relu"])
def test_of_equal_latents_the_lower_ones_are_taken(order):
    # whole numbers are exact in any order of sums, so equal products are equal
    rows = torch.tensor([[1.0], [2.0], [1.0], [1.0], [0.0], [1.0]]).repeat(50, 1)
    given = Code(encoder=rows, activation="topk", k=52, order=order)
    found = it.encode(given, torch.tensor([[3.0], [0.0], [-1.0]]))
    twos, ones = range(1, 300, 6), [0, 2]
    assert found[0].nonzero().flatten().tolist() == sorted([*twos, *ones])
    assert not found[1:].any(), "what is not above 0 is not active"


def test_a_value_on_the_threshold_passes_only_where_it_says_so():
    fields = {"encoder": torch.eye(2), "threshold": torch.tensor([1.0, 0.5]), "activation": "jumprelu"}
    at = torch.tensor([1.0, 0.5])
    assert it.encode(Code(**fields, comparison=">"), at).tolist() == [0, 0]
    assert it.encode(Code(**fields, comparison=">="), at).tolist() == [1, 0.5]


def test_a_position_of_zeros_stays_zero_under_a_constant_norm():
    given = Code(encoder=torch.eye(3), activation="relu", scaling="constant_norm")
    assert it.encode(given, torch.zeros(2, 3)).tolist() == [[0, 0, 0]] * 2


@pytest.mark.parametrize("activation", ["linear", "relu", "topk", "jumprelu", "gated"])
def test_what_is_not_a_number_shows(activation):
    given = code(activation=activation, **({"k": 3} if activation == "topk" else {}))
    assert it.encode(given, torch.full((2, D), torch.nan)).isnan().any(dim=1).all()


@pytest.mark.parametrize(
    ("maps", "told"),
    [
        (torch.zeros(2, D + 1), rf"maps has shape \(2, 8\); its last of at most three axes must be {D}"),
        (torch.zeros(1, 1, 1, D), "maps has shape"),
        (torch.zeros(2, D, dtype=torch.int64), r"maps holds values of type torch\.int64"),
        (np.zeros((2, D)), "maps is of type ndarray"),
    ],
)
def test_maps_that_do_not_fit_are_told(maps, told):
    with pytest.raises(InputError, match=told):
        it.encode(code(), maps)


def test_a_code_that_does_not_fit_is_told():
    with pytest.raises(InputError, match=r"bias has shape \(3,\)"):
        it.encode(code(bias=torch.zeros(3)), torch.zeros(D))


def test_half_precision_around_it_does_not_reach_a_code():
    given, maps = code(activation="relu"), drawn("maps", 4, D)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(it.encode(given, maps), it.encode(given, maps))
        found = it.encode(given, maps)
    assert torch.equal(found, it.encode(given, maps))


# --------------------------------------------------------------------------- readers


@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize(("tokens", "part"), [("all", slice(None)), ("class", slice(1)), ("patches", slice(2, None))])
@pytest.mark.parametrize("activation", ["linear", "relu", "topk"])
def test_readers_pool_the_latents_of_their_tokens(pooling, tokens, part, activation, monkeypatch):
    given = code(activation=activation, tokens=tokens, n_prefix=2, **({"k": 3} if activation == "topk" else {}))
    maps = drawn("maps", 4, 11, D)
    values = it.encode(given, maps[:, part])
    expected = values.mean(dim=1) if pooling == "mean" else values.amax(dim=1)
    for positions in (256, 23, 4):  # several images at once, and parts of an image
        monkeypatch.setattr("interpretability.directions.readers.POSITIONS", positions)
        found = CodeReader(given, pooling)(maps)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_only_affine_readers_of_means_over_all_positions_take_means():
    linear = {"activation": "linear"}
    assert CodeReader(code(**linear), "mean").of_means
    assert CodeReader(code(**linear, scaling="factor", factor=2.0), "mean").of_means
    others = [code(**linear, tokens="class"), code(**linear, scaling="layer_norm"), code(activation="relu")]
    assert not any(CodeReader(each, "mean").of_means for each in others)
    assert not CodeReader(code(**linear), "max").of_means
    assert UnitReader(3, "mean").of_means
    assert not UnitReader(3, "max").of_means


def test_a_layer_without_patches_is_told():
    with pytest.raises(InputError, match="n_prefix is 3, but the layer has only 3 positions"):
        CodeReader(code(tokens="patches", n_prefix=3))(torch.zeros(2, 3, D))
