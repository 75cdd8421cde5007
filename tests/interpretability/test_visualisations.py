"""Pictures made for units of which it is known what excites them, and what is said where they cannot be made."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from interpretability.errors import InputError
from interpretability.networks.capture import Capture
from interpretability.networks.layers import Layer, find_layers
from interpretability.networks.preprocessing import Preprocessing
from interpretability.schema import BEATS, BELOW, UNREACHABLE
from interpretability.visualisations.ascent import stop_ratio
from interpretability.visualisations.canvas import Canvas, margin_of
from interpretability.visualisations.cost import most_passes, seconds_a_step, typical_passes
from interpretability.visualisations.making import STARTS, make_images
from interpretability.visualisations.settings import MAX, MIN, Natural, Settings
from interpretability.visualisations.target import Target
from tests.helpers.planted_pixels import (
    DEGREES,
    PLAIN,
    SIZE,
    Colour,
    Energy,
    Matched,
    as_network,
    layer_of,
    natural_of,
    orientation,
    scenes,
)

PLANTED = Settings(n_images=3, steps=96, diversity=0.0)
FEW = Settings(n_images=3, steps=5, rate=0.1, diversity=0.0)
SMALL = Preprocessing(32, 32, (0.48, 0.45, 0.4), (0.23, 0.22, 0.22))


@pytest.fixture(scope="module")
def pictures():
    return scenes(300)


def made(network, natural, side=MAX, settings=FEW, key=5, layer=None, unit=0, prepare=PLAIN):
    with Target(network, layer or layer_of(), unit, prepare) as target:
        return make_images(target, natural, side, settings, key)


def convolutional(seed=0):
    """A small network of random weights with strides, norms and a wide last layer."""
    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Conv2d(3, 12, 5, stride=2, padding=2), nn.BatchNorm2d(12), nn.ReLU()),
        *(nn.Conv2d(12, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 24, 3, padding=1), nn.Conv2d(24, 30, 3)),
    ).eval()


@pytest.fixture(scope="module")
def network():
    return convolutional()


LAST = Layer("6", "Conv", 0, 0.0, 24, "6", 0, "output", 0, 1)
NARROW = Natural(0.0, -0.02, 0.02)


@pytest.fixture(scope="module")
def small_pictures(pictures):
    return np.ascontiguousarray(pictures[:150, :, ::2, ::2])


@pytest.fixture(scope="module")
def natural(network, small_pictures):
    return natural_of(network[:7], small_pictures, SMALL, unit=4)


# --------------------------------------------------------------------------- known answers


def test_a_shift_free_filter_gets_stripes_of_its_angle_in_every_picture(pictures):
    unit = as_network(Energy())
    natural = natural_of(unit, pictures)
    found = made(unit, natural, settings=replace(PLANTED, n_images=9))
    assert found.status == BEATS
    assert not found.position_bound
    assert found.values.min() >= 3 * natural.high
    assert all(abs((orientation(picture) - DEGREES + 90) % 180 - 90) <= 10 for picture in found.pixels)
    assert found.kept_after_shift > 0.9


def test_its_minimum_is_nearly_nothing(pictures):
    unit = as_network(Energy())
    natural = natural_of(unit, pictures)
    found = made(unit, natural, MIN, settings=replace(PLANTED, steps=48))
    assert found.status == BEATS
    assert found.values.max() < 0.01 * natural.low


def test_a_colour_is_found_and_its_opposite(pictures):
    unit = as_network(Colour(1, 0, 0))
    natural = natural_of(unit, pictures)
    bright, dark = (made(unit, natural, side, settings=PLANTED) for side in (MAX, MIN))
    assert bright.values.min() >= 0.80
    assert dark.values.max() <= 0.20
    assert np.allclose(bright.values, bright.pixels[..., 0].mean(axis=(1, 2)) / 255, atol=1e-5)


def test_a_colour_against_the_others_beats_nature_and_nears_pure_red(pictures):
    unit = as_network(Colour(1, -0.5, -0.5))
    natural = natural_of(unit, pictures)
    assert made(unit, natural, settings=PLANTED).values.min() > natural.high
    longer = made(unit, natural, settings=Settings(n_images=2, steps=256, diversity=0.0))
    red = np.zeros((SIZE, SIZE, 3))
    red[..., 0] = 1
    for picture in longer.pixels.astype(float):
        assert (picture * red).sum() / math.sqrt((picture**2).sum() * (red**2).sum()) >= 0.75


def test_a_grating_of_one_phase_is_told_to_be_bound_to_its_place(pictures):
    unit = Matched()
    natural = natural_of(as_network(unit), pictures)
    moved = made(as_network(unit), natural, settings=PLANTED)
    still = made(as_network(unit), natural, settings=replace(PLANTED, transforms=False))
    assert moved.position_bound
    assert moved.values.max() < 0.4 * unit.optimum
    assert still.values.min() >= 0.55 * unit.optimum
    template = unit.template.numpy()
    for picture in still.pixels.astype(float).mean(axis=3):
        centred = picture - picture.mean()
        assert (centred * template).sum() / math.sqrt((centred**2).sum() * (template**2).sum()) >= 0.65
    # told as well where nature is not beaten
    below = made(as_network(unit), Natural(0.0, -0.15, 0.15), settings=PLANTED)
    assert (below.status, below.position_bound) == (BELOW, True)


def test_without_transforms_a_shift_takes_the_effect(network, pictures):
    prepare = replace(SMALL, crop=64, resize=64)
    natural = natural_of(network[:7], pictures[:100], prepare, unit=4)
    settings = Settings(n_images=3, steps=64, rate=0.1, diversity=0.0)
    moved, still = (
        made(network, natural, settings=replace(settings, transforms=each), layer=LAST, unit=4, prepare=prepare)
        for each in (True, False)
    )
    assert still.ratio_best > moved.ratio_best > 1
    assert moved.kept_after_shift >= 0.8
    assert not moved.position_bound
    assert still.kept_after_shift < 0.2
    assert still.position_bound


# --------------------------------------------------------------------------- units that do not answer


class Dead(nn.Module):
    """A convolution behind a ReLU that nothing gets through."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)
        nn.init.constant_(self.first.bias, -1e3)

    def forward(self, batch):
        return self.last(self.first(batch).relu())


@pytest.mark.parametrize("diversity", [0.0, 1.0, "adaptive"])
def test_a_unit_behind_a_dead_layer_is_unreachable_and_no_error(diversity):
    found = made(as_network(Dead()), Natural(0, -1, 1), settings=replace(FEW, diversity=diversity), layer=layer_of(2))
    assert (found.status, found.gradient, found.passes, len(found.pixels)) == (UNREACHABLE, 0.0, 0, 0)
    assert found.pixels.shape == (0, SIZE, SIZE, 3)
    assert math.isnan(found.ratio_best)


def test_a_network_that_passes_no_gradient_is_unreachable():
    class Cut(nn.Module):
        def forward(self, batch):
            return batch.detach()

    assert made(as_network(Cut()), Natural(0, -1, 1), layer=layer_of(3)).status == UNREACHABLE


class Sleeping(nn.Module):
    """What a ReLU and a max-pool leave of a filter that grey is not enough for."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.filter = nn.Conv2d(3, 1, 7, bias=False)
        with torch.no_grad():
            self.filter.weight -= self.filter.weight.mean()

    def forward(self, batch):
        return nn.functional.max_pool2d((self.filter(batch) - 0.02).relu(), 3, 2)


def test_a_unit_that_sleeps_on_grey_wakes_from_larger_noise(pictures):
    unit = as_network(Sleeping())
    natural = natural_of(unit, pictures)
    found = made(unit, natural, settings=Settings(n_images=4, steps=48, diversity=0.0))
    assert found.start == STARTS[1]
    assert found.gradient > 0
    assert found.status == BEATS


def test_the_scale_of_a_unit_changes_nothing(network, natural):
    class Scaled(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.body, self.factor = network[:7], factor

        def forward(self, batch):
            return self.body(batch) * self.factor

    settings = Settings(n_images=2, steps=32, diversity=0.0)
    values = []
    for factor in (1.0, 1e-6, 1e6):
        scaled = Natural(*(factor * each for each in (natural.median, natural.low, natural.high)))
        found = made(as_network(Scaled(factor)), scaled, settings=settings, layer=layer_of(24), unit=4, prepare=SMALL)
        values.append(found.values / factor)
    assert np.allclose(values[1:], values[0], rtol=0.05)


def test_a_unit_behind_a_relu_has_a_lower_side_though_half_of_nature_lies_there(small_pictures):
    body = nn.Sequential(*convolutional()[:6]).eval()
    natural = natural_of(body, small_pictures, SMALL, unit=3)
    natural = Natural(0.0, 0.0, natural.high)
    found = made(
        body, natural, MIN, layer=Layer("5", "Other", 0, 0.0, 16, "5", 0, "output", 0, 1), unit=3, prepare=SMALL
    )
    assert found.status == BELOW
    assert math.isnan(found.ratio_best)
    assert not found.position_bound


def test_what_is_not_finite_is_an_error_that_names_the_unit():
    class Broken(nn.Module):
        def forward(self, batch):
            return batch / (batch - batch)

    with pytest.raises(InputError, match="the gradient of unit 1 of layer 0 is not finite"):
        made(as_network(Broken()), Natural(0, -1, 1), layer=layer_of(3), unit=1)


# --------------------------------------------------------------------------- diversity


def test_adaptive_diversity_pushes_apart_as_far_as_the_weakest_beats_nature(network, natural):
    plain = Settings(n_images=5, steps=24, rate=0.1, diversity=0.0)
    without = made(network, natural, settings=plain, layer=LAST, unit=4, prepare=SMALL)
    found = made(network, natural, settings=replace(plain, diversity="adaptive"), layer=LAST, unit=4, prepare=SMALL)
    assert without.ratio_weakest > 1.05
    assert without.alike >= 0.88
    assert found.alike < without.alike - 0.05
    assert found.ratio_weakest > 1
    assert found.weight > 0
    assert 8 <= found.passes <= 13
    assert found.diverse.tolist() == [True] * 4 + [False]
    # the last one is the strongest without diversity, and from the same start as it was there
    best = int(without.values.argmax())
    assert np.array_equal(found.pixels[-1], without.pixels[best])
    # a larger weight would not do: the interval that six halvings leave is narrow
    more = made(
        network, natural, settings=replace(plain, diversity=found.weight * 2), layer=LAST, unit=4, prepare=SMALL
    )
    assert more.ratio_weakest < 1
    assert more.diverse.all()


def test_where_nature_is_not_beaten_there_is_no_diversity(network):
    found = made(
        *(network, Natural(0.0, -50.0, 50.0)), settings=replace(FEW, diversity="adaptive"), layer=LAST, prepare=SMALL
    )
    assert (found.status, found.weight, found.diverse.any()) == (BELOW, 0.0, False)


def test_pictures_of_one_side_do_not_depend_on_their_number(network):
    few, more = (made(network, NARROW, settings=replace(FEW, n_images=n), layer=LAST, prepare=SMALL) for n in (2, 5))
    assert np.abs(few.pixels.astype(int) - more.pixels[:2]).max() <= 1
    assert np.isnan(made(network, NARROW, settings=replace(FEW, n_images=1), layer=LAST, prepare=SMALL).alike)


# --------------------------------------------------------------------------- what goes wrong elsewhere


def test_the_network_sees_its_own_size_whatever_is_drawn(network):
    shapes = set()
    hook = network[0].register_forward_pre_hook(lambda _, args: shapes.add(tuple(args[0].shape[1:])))
    made(network, NARROW, settings=replace(FEW, steps=30), layer=LAST, prepare=SMALL)
    hook.remove()
    assert shapes == {(3, 32, 32)}


def test_what_is_stored_was_not_transformed(network):
    """Transforms belong to the objective: with a step of no length the picture is the start itself."""
    found = made(network, NARROW, settings=replace(FEW, rate=1e-12, steps=3), layer=LAST, prepare=SMALL, key=9)
    canvas = Canvas(32, margin_of(32, Settings.margin), torch.device("cpu"))
    start = canvas.stored(canvas.colours(canvas.noise(9, range(3), STARTS[0])))
    assert np.array_equal(found.pixels, start.permute(0, 2, 3, 1).numpy())


def test_values_are_those_of_the_stored_bytes_through_the_networks_own_normalisation(network):
    found = made(network, NARROW, layer=LAST, unit=7, prepare=SMALL)
    with Capture(network, [LAST], 3, "cpu") as capture:
        read = capture(SMALL.batch([*found.pixels]))[:, 7].numpy()
    assert np.allclose(found.values, read, rtol=1e-5, atol=1e-7)


def test_normalisation_is_part_of_what_is_climbed(network):
    """The same function of pixels, normalised inside the network or before it, has the same pictures."""

    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = network
            self.register_buffer("mean", torch.tensor(SMALL.mean).view(3, 1, 1))
            self.register_buffer("std", torch.tensor(SMALL.std).view(3, 1, 1))

        def forward(self, batch):
            return self.body((batch - self.mean) / self.std)

    there = replace(LAST, name="body.6", module="body.6")
    inside = Preprocessing(32, 32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    before, within = (
        made(*each, layer=layer, prepare=prepare)
        for each, layer, prepare in (((network, NARROW), LAST, SMALL), ((Inside().eval(), NARROW), there, inside))
    )
    assert np.abs(before.pixels.astype(int) - within.pixels).max() <= 1
    left_out = made(network, NARROW, layer=LAST, prepare=inside)
    assert np.abs(before.pixels.astype(int) - left_out.pixels).max() > 5


def test_a_network_that_sees_grey_has_pictures():
    torch.manual_seed(0)

    class Grey(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3)
            nn.init.uniform_(self.conv.weight)

        def forward(self, batch):
            return self.conv(batch.mean(dim=1, keepdim=True))

    longer = replace(FEW, steps=20)
    found, start = (
        made(as_network(Grey()), NARROW, settings=each, layer=layer_of(4), prepare=SMALL) for each in (longer, FEW)
    )
    assert (found.values > start.values).all()
    assert found.pixels.shape == (3, 32, 32, 3)


# --------------------------------------------------------------------------- the same bytes, and the network as it was


@pytest.mark.parametrize("diversity", [0.0, 1.0])
def test_the_same_arguments_give_the_same_bytes(network, diversity):
    settings = replace(FEW, diversity=diversity)
    first, again, other, still_other = (
        made(network, NARROW, side, settings=settings, layer=LAST, prepare=SMALL, key=key)
        for side, key in ((MAX, 5), (MAX, 5), (MAX, 6), (MIN, 5))
    )
    assert first.pixels.tobytes() == again.pixels.tobytes()
    assert first.values.tobytes() == again.values.tobytes()
    assert first.pixels.tobytes() != other.pixels.tobytes()
    assert first.pixels.tobytes() != still_other.pixels.tobytes()


def test_the_network_is_left_as_it_was(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network[0].weight.requires_grad_(False)
    made(network, NARROW, layer=LAST, prepare=SMALL)
    assert [each.requires_grad for each in network[0].parameters()] == [False, True]
    network[0].weight.requires_grad_(True)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(each.grad is None for each in network.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_nothing_behind_the_layer_runs(network):
    ran = []
    hook = network[7].register_forward_hook(lambda *_: ran.append(1))
    made(network, NARROW, layer=LAST, prepare=SMALL)
    hook.remove()
    assert not ran


class Attentive(nn.Module):
    """Weights that act without a call of their module, a module that is called twice, and tokens."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.patches = nn.Conv2d(3, 12, 8, stride=8)
        self.attention = nn.MultiheadAttention(12, 2, batch_first=True)
        self.norm, self.last = nn.LayerNorm(12), nn.Linear(12, 5)

    def forward(self, batch):
        tokens = self.patches(batch).flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(tokens, tokens, tokens)[0]
        return self.last(self.norm(self.norm(tokens) * 2 + tokens))


def test_units_are_read_like_everywhere_else():
    model = Attentive().eval()
    batch = SMALL.normalised(torch.from_numpy(scenes(4)[:, :, ::2, ::2].copy()))
    layers = find_layers(model, batch, drop_first_last=False)
    assert {"attention.in_proj", "norm", "norm#2", "last"} <= {layer.name for layer in layers}
    with Capture(model, layers, 4, "cpu") as capture:
        read = capture(batch).clone()
    start = 0
    for layer in layers:
        for unit in (0, layer.width - 1):
            with Target(model, layer, unit, SMALL) as target, torch.no_grad():
                values = target.values(target.maps(batch))
            assert torch.allclose(values, read[:, start + unit], rtol=1e-4, atol=1e-6), layer.name
        start += layer.width
    found = made(model, NARROW, layer=next(each for each in layers if each.name == "norm#2"), prepare=SMALL)
    assert found.gradient > 0


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_climbs_too(network, natural, precision):
    settings = Settings(n_images=2, steps=24, rate=0.1, diversity=0.0)
    with Target(network, LAST, 4, SMALL, precision=precision) as target:
        half = make_images(target, natural, MAX, settings, 5)
    full = made(network, natural, settings=settings, layer=LAST, unit=4, prepare=SMALL)
    assert half.values == pytest.approx(full.values, rel=0.1)


# --------------------------------------------------------------------------- numbers


def test_ratios_count_from_the_median_to_each_sides_own_extreme():
    natural = Natural(-2.0, -3.0, -1.5)
    assert natural.ratio(-1.0, MAX) == 2
    assert natural.ratio(-2.0, MAX) == 0
    assert natural.ratio(-5.0, MIN) == 3
    assert natural.beats(np.array([-1.4, -1.5]), MAX).tolist() == [True, False]
    assert natural.span(MIN) == -1
    assert Natural(0.0, 0.0, 4.0).span(MIN) == -4
    assert math.isnan(Natural(0.0, 0.0, 4.0).ratio(1.0, MIN))


def test_the_stop_ratio_is_one_for_a_steady_gradient_and_large_for_a_falling_one():
    assert stop_ratio(np.full(3000, 0.3)) == pytest.approx(1)
    assert stop_ratio(np.exp(-np.arange(3000) / 300)) > 5
    # only the last 2,000 steps count
    assert stop_ratio(np.concatenate([np.full(5000, 9.0), np.full(5000, 0.3)])) == pytest.approx(1, rel=1e-3)
    assert math.isnan(stop_ratio(np.zeros(50)))
    assert math.isnan(stop_ratio(np.ones(1)))


def test_a_step_is_tried_with_and_without_diversity(network):
    with Target(network, LAST, 0, SMALL) as target:
        cost = seconds_a_step(target, NARROW, FEW, n_steps=2)
        assert target.forwards == target.backwards == 6
    assert cost.plain > 0
    assert cost.diverse > 0
    adaptive = replace(FEW, diversity="adaptive")
    assert (most_passes(FEW), typical_passes(FEW)) == (1, 1)
    assert (most_passes(adaptive), typical_passes(adaptive)) == (13, 9)


def refused(message, **changes):
    given = {"network": convolutional(), "layer": LAST, "unit": 0, "natural": NARROW, "side": MAX, "key": 0} | changes

    def tried():
        with Target(given["network"], given["layer"], given["unit"], SMALL, changes.get("reader")) as target:
            make_images(target, given["natural"], given["side"], FEW, given["key"])

    with pytest.raises(InputError, match=message):
        tried()


def test_what_does_not_fit_is_refused():
    refused("unit is 24; it must be at most 23", unit=24)
    refused("side is 'most', allowed: max, min", side="most")
    refused("seed_key is -1; it must be a whole number of at least 0", key=-1)
    refused("model is in training mode", network=convolutional().train())
    refused("reader is of type Mean, which gives no gradients", reader=type("Mean", (), {"width": 30})())
    refused(
        "layer 6 was not reached",
        network=type("Short", (nn.Sequential,), {"forward": lambda s, x: x})(*convolutional()).eval(),
    )
    with pytest.raises(InputError, match="the unit is not open"):
        Target(convolutional(), LAST, 0, SMALL).maps(torch.zeros(1, 3, 32, 32))
    with pytest.raises(InputError, match="median is 3, outside of the lowest and the highest value, 0 and 1"):
        Natural(3, 0, 1)
    with pytest.raises(InputError, match="the unit is constant"):
        Natural(1, 1, 1)
    with pytest.raises(InputError, match="diversity is 'some'; it must be adaptive or a number of at least 0"):
        Settings(diversity="some")
