"""The parts of making pictures, beside torch's own: the way to colours and back, resampling, likeness, latents with gradients."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from interpretability.directions.codes import Code
from interpretability.directions.readers import CodeReader, UnitReader
from interpretability.networks.layers import Layer
from interpretability.networks.preprocessing import Preprocessing
from interpretability.schema import BEATS
from interpretability.visualisations.ascent import _adam
from interpretability.visualisations.canvas import Canvas, margin_of
from interpretability.visualisations.diversity import alike, cosines, penalty
from interpretability.visualisations.making import make_images
from interpretability.visualisations.settings import MAX, Natural, Settings
from interpretability.visualisations.target import Target
from interpretability.visualisations.transforms import PLAIN, Resampling, Transform, draw

CPU = torch.device("cpu")
SHARP = Transform((2, -1), 0.95, 5, (1, 0))


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


# --------------------------------------------------------------------------- canvas


@pytest.mark.parametrize(("crop", "margin"), [(20, 1), (21, 1), (20, 0)])
def test_gradients_by_the_spectrum_are_those_of_torch(crop, margin):
    canvas = Canvas(crop, margin, CPU)
    parameters = canvas.noise(0, range(2), 1.0).requires_grad_(True)
    colours = canvas.colours(parameters)
    weights = normal(*colours.shape)
    (expected,) = torch.autograd.grad((colours * weights).sum(), parameters)
    with torch.no_grad():
        found = canvas.gradient(colours, weights)
    # what a real picture's spectrum cannot have gets nothing from torch, and may here, because nothing follows from it
    there = expected != 0
    assert torch.allclose(found[there], expected[there], rtol=1e-4, atol=1e-6)
    assert there.float().mean() > 0.9


def test_the_start_is_nearly_grey_and_its_own_for_each_picture():
    canvas = Canvas(64, margin_of(64, Settings.margin), CPU)
    assert (canvas.side, canvas.shape) == (74, (3, 74, 38, 2))
    colours = canvas.colours(canvas.noise(3, range(3), 0.01))
    assert (colours - 0.5).abs().max() < 0.02
    assert torch.equal(canvas.noise(3, range(1, 3), 0.01), canvas.noise(3, range(3), 0.01)[1:])
    assert not torch.equal(canvas.noise(3, range(1), 0.01), canvas.noise(4, range(1), 0.01))
    assert Canvas(224, margin_of(224, Settings.margin), CPU).side == 256


def test_the_formula_of_lucent():
    """Its spectrum, its mix of colours, written out."""
    canvas = Canvas(8, 1, CPU)
    parameters = canvas.noise(1, range(1), 1.0)
    frequencies = np.sqrt(np.fft.fftfreq(10)[:, None] ** 2 + np.fft.fftfreq(10)[None, :6] ** 2)
    scaled = torch.view_as_complex(parameters) * torch.from_numpy(1 / np.maximum(frequencies, 0.1))
    places = torch.fft.irfftn(scaled, s=(10, 10), norm="ortho", dim=(-2, -1)) / 4
    mix = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
    mix = mix / np.max(np.linalg.norm(mix, axis=0))
    expected = torch.sigmoid(torch.einsum("nchw,dc->ndhw", places, torch.from_numpy(mix)))
    assert torch.allclose(canvas.colours(parameters), expected.float(), atol=1e-6)


def test_bytes_are_rounded_and_from_the_middle():
    canvas = Canvas(2, 1, CPU)
    colours = torch.zeros(1, 3, 4, 4)
    colours[:, :, 1:3, 1:3] = torch.tensor([[0.0, 1.0], [0.6 / 255, 0.4 / 255]])
    assert canvas.stored(colours)[0, 0].tolist() == [[0, 255], [1, 0]]


# --------------------------------------------------------------------------- transforms


def test_nothing_moved_is_the_middle_of_the_canvas():
    colours = normal(2, 3, 12, 12)
    assert torch.equal(Resampling(PLAIN, 8, 12, CPU).seen(colours), colours[:, :, 2:10, 2:10])


def test_a_shift_moves_the_picture_down_and_right():
    colours = normal(1, 3, 12, 12)
    seen = Resampling(Transform((1, 2), 1.0, 0, (0, -1)), 8, 12, CPU).seen(colours)
    assert torch.equal(seen, colours[:, :, 1:9, 1:9])


@pytest.mark.parametrize("transform", [SHARP, Transform((0, 0), 1.05, -4, (-1, 1)), Transform((-4, 4), 1.0, 5, (0, 0))])
def test_resampling_is_that_of_torch_with_black_beyond_the_canvas(transform):
    crop, side = 32, 36
    colours = normal(2, 3, side, side)
    # torch's grid takes places in units of half a canvas, columns first
    angle = math.radians(transform.degrees)
    cosine, sine = math.cos(angle) / transform.scale, math.sin(angle) / transform.scale
    places = torch.arange(crop, dtype=torch.float64) - (crop - 1) / 2
    down, right = torch.meshgrid(places - transform.second[0], places - transform.second[1], indexing="ij")
    rows = cosine * down + sine * right - transform.first[0]
    columns = cosine * right - sine * down - transform.first[1]
    grid = torch.stack([columns, rows], dim=-1) * 2 / side
    expected = F.grid_sample(
        colours.double(), grid[None].expand(2, -1, -1, -1), mode="bilinear", padding_mode="zeros", align_corners=False
    )
    assert torch.allclose(Resampling(transform, crop, side, CPU).seen(colours).double(), expected, atol=1e-5)


@pytest.mark.parametrize("transform", [PLAIN, SHARP])
@pytest.mark.parametrize(("crop", "side"), [(20, 24), (260, 280)])
def test_the_way_back_is_the_transpose(transform, crop, side):
    resampling = Resampling(transform, crop, side, CPU)
    colours, gradient = normal(1, 3, side, side), normal(1, 3, crop, crop, seed=1)
    there = (resampling.seen(colours).double() * gradient).sum()
    back = (colours.double() * resampling.back(gradient)).sum()
    assert float(there) == pytest.approx(float(back), rel=1e-4)


def test_transforms_are_drawn_from_the_given_ranges_and_centred():
    settings = Settings(steps=3000)
    drawn = draw(settings, 224, 1)
    assert {each.degrees for each in drawn} == set(range(-5, 6))
    assert {each.scale for each in drawn} == set(settings.scales)
    assert {each.first[0] for each in drawn} == set(range(-8, 9))
    assert {each.second[1] for each in drawn} == set(range(-4, 5))
    assert abs(np.mean([each.first for each in drawn])) < 0.3
    assert draw(settings, 224, 1) == drawn != draw(settings, 224, 2)
    assert draw(replace(settings, transforms=False), 224, 1) == [PLAIN] * 3000


# --------------------------------------------------------------------------- likeness, and steps


@pytest.mark.parametrize("shape", [(3, 40, 5), (3, 4, 50)])
def test_likeness_is_the_cosine_of_gram_matrices(shape):
    maps = normal(*shape).double()
    grams = (maps.transpose(1, 2) @ maps).flatten(1)
    expected = F.cosine_similarity(grams[:, None], grams[None], dim=-1)
    assert torch.allclose(cosines(maps.float()).double(), expected, atol=1e-5)
    off = expected[~torch.eye(3, dtype=torch.bool)].mean()
    assert alike(maps.float()) == pytest.approx(float(off), abs=1e-5)


@pytest.mark.parametrize("factor", [1e-12, 1e12])
def test_likeness_knows_no_scale_and_silence_is_like_nothing(factor):
    maps = normal(3, 10, 6)
    assert torch.allclose(cosines(maps * factor), cosines(maps), atol=1e-5)
    silent = torch.zeros(3, 10, 6, requires_grad=True)
    value = penalty(silent)
    value.backward()
    assert float(value) == 0
    assert torch.isfinite(silent.grad).all()


def test_a_step_of_adam_is_that_of_torch():
    start = normal(4, 5)
    mine, theirs = start.clone(), start.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([theirs], lr=0.05, maximize=True)
    mean, square = torch.zeros_like(start), torch.zeros_like(start)
    for step in range(1, 30):
        gradient = normal(4, 5, seed=step) * 10.0 ** -(step % 7)
        theirs.grad = gradient.clone()
        optimiser.step()
        _adam(mine, mean, square, gradient, step, 0.05)
    assert torch.allclose(mine, theirs.detach(), atol=1e-5)


# --------------------------------------------------------------------------- latents


def codes():
    """A code of each activation, and of what else changes its formula."""
    encoder, decoder = normal(9, 6), normal(9, 6, seed=1)
    bias, bound = normal(9, seed=2) * 0.1, torch.linspace(-0.2, 0.4, 9)
    yield "linear", Code(encoder=encoder, bias=bias, activation="linear")
    yield "relu", Code(encoder=encoder, bias=bias, pre_bias=normal(6), activation="relu", scaling="layer_norm")
    yield "topk", Code(encoder=encoder, bias=bias, activation="topk", k=3, scaling="constant_norm")
    yield "topk by norms", Code(encoder=encoder, decoder=decoder, activation="topk", k=3, decoder_norm="before")
    yield "jumprelu", Code(encoder=encoder, bias=bias, activation="jumprelu", threshold=bound)
    yield "jumprelu, closed", Code(encoder=encoder, activation="jumprelu", threshold=bound, comparison=">=")
    yield "gated", Code(encoder=encoder, bias=bias, activation="gated", magnitude=bound.exp(), gate_bias=bias + 0.1)
    yield "norms after", Code(encoder=encoder, decoder=decoder, bias=bias, activation="relu", decoder_norm="after")
    yield "patches", Code(encoder=encoder, bias=bias, activation="relu", tokens="patches", n_prefix=1)
    yield "class", Code(encoder=encoder, bias=bias, activation="relu", tokens="class")


@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize(("name", "code"), list(codes()), ids=[name for name, _ in codes()])
def test_one_latent_has_the_value_of_the_reader_and_its_gradient(name, code, pooling):
    reader = CodeReader(code, pooling)
    maps = normal(2, 300, 6, seed=5).requires_grad_(True)  # more positions than are encoded in one go
    read = reader(maps)
    for latent in (0, 4, 8):
        value = reader.one(maps, latent)
        assert torch.allclose(value, read[:, latent], rtol=1e-4, atol=1e-5)
        if not value.abs().sum():
            continue
        (gradient,) = torch.autograd.grad(value.sum(), maps)
        step = 1e-3 * gradient / gradient.norm()
        with torch.no_grad():
            change = (reader(maps + step)[:, latent] - reader(maps - step)[:, latent]).sum() / 2
        assert float(change) == pytest.approx(1e-3 * float(gradient.norm()), rel=0.1)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_one_unit_is_read_by_mean_or_maximum(pooling):
    maps = normal(3, 20, 4)
    assert torch.allclose(UnitReader(4, pooling).one(maps, 2), UnitReader(4, pooling)(maps)[:, 2])


def test_a_latent_has_pictures():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 5, stride=2)).eval()
    code = Code(encoder=normal(9, 6), bias=normal(9, seed=2) * 0.1, activation="topk", k=3)
    layer = Layer("0", "Conv", 0, 0.0, 6, "0", 0, "output", 0, 1)
    prepare = Preprocessing(32, 32, (0.5,) * 3, (0.25,) * 3)
    reader = CodeReader(code, "max")
    with Target(network, layer, 7, prepare, reader) as target:
        made = make_images(
            target, Natural(0.0, 0.0, 0.5), MAX, Settings(n_images=2, steps=24, rate=0.1, diversity=0.0), 1
        )
    assert made.status == BEATS
    with torch.no_grad():
        maps = network(prepare.batch([*made.pixels])).flatten(2).transpose(1, 2)
    assert np.allclose(reader(maps)[:, 7].numpy(), made.values, rtol=1e-4)
