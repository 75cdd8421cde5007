"""Products of few bits on a processor, beside slow ones in double precision."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks import dealing, emulated


def test_ten_bits_of_mantissa_are_kept_and_halves_go_to_the_even_one():
    values = torch.cat([torch.randn(1000) * 10.0 ** torch.randint(-30, 30, (1000,)), torch.tensor([0.0, -0.0, 1.0])])
    found = emulated.rounded(values).double()
    mantissa, exponent = np.frexp(values.double().numpy())
    expected = np.ldexp(np.round(mantissa * 2**11), exponent - 11)  # rounds halves to even
    np.testing.assert_array_equal(found.numpy(), expected)
    halves = torch.tensor([1 + 2.0**-11, 1 + 3 * 2.0**-11])
    assert emulated.rounded(halves).tolist() == [1.0, 1 + 2 * 2.0**-10]
    assert emulated.rounded(torch.tensor([float("inf"), -float("inf")])).isinf().all()
    assert emulated.rounded(torch.tensor([float("nan")])).isnan().all()


@torch.no_grad()
def test_tf32_rounds_factors_of_every_product_but_of_depthwise_convolutions():
    torch.manual_seed(0)
    conv, depthwise, linear = nn.Conv2d(4, 6, 3), nn.Conv2d(4, 8, 3, groups=4), nn.Linear(5, 7)
    x, y = torch.randn(2, 4, 6, 6), torch.randn(3, 5)
    rounded = emulated.rounded
    with emulated.tf32():
        found = conv(x), depthwise(x), linear(y), y @ y.T
    assert torch.allclose(found[0], F.conv2d(rounded(x), rounded(conv.weight), conv.bias), atol=1e-6)
    assert not torch.allclose(found[0], conv(x), atol=1e-6)
    assert torch.equal(found[1], depthwise(x))
    assert torch.allclose(found[2], rounded(y) @ rounded(linear.weight).T + linear.bias, atol=1e-6)
    assert torch.allclose(found[3], rounded(y) @ rounded(y).T, atol=1e-6)
    q = torch.randn(1, 2, 5, 8)
    with emulated.tf32():
        attention = F.scaled_dot_product_attention(q, q, q)
    assert not torch.allclose(attention, F.scaled_dot_product_attention(q, q, q), atol=1e-6)
    assert torch.allclose(attention, F.scaled_dot_product_attention(q, q, q), atol=5e-3)


@torch.no_grad()
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_added_in_float32_and_rounded_once(kind):
    torch.manual_seed(0)
    conv, x = nn.Conv2d(16, 6, 3), torch.randn(2, 16, 9, 9)
    with torch.autocast("cpu", kind):
        own = conv(x)
        with emulated.half():
            found = conv(x)
    right = F.conv2d(x.to(kind).double(), conv.weight.to(kind).double(), conv.bias.to(kind).double())
    assert found.dtype == own.dtype == kind
    assert (found == right.to(kind)).double().mean() > 0.99
    assert torch.allclose(found.double(), own.double(), atol=torch.finfo(kind).eps * 2)


def test_rank_correlations_are_those_of_places():
    values = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    other = values.copy()
    other[:, 1] = -other[:, 1]
    other[:, 2] = np.random.default_rng(1).normal(size=50)
    found = dealing.rank_correlations(values, other)
    places = [np.argsort(np.argsort(v[:, 2])) for v in (values, other)]
    np.testing.assert_allclose(found, [1, -1, np.corrcoef(*places)[0, 1]], atol=1e-12)
