"""Whether pictures of a unit say where it is active: planted places are found, and nothing is where nothing was planted."""

import numpy as np
import pytest
import torch
from timm.models.mlp_mixer import MlpMixer

from interpretability import find_layers
from interpretability.errors import InputError
from interpretability.label_free import localizability as loc
from interpretability.networks.layers import Layer
from interpretability.randomness import generator
from tests.helpers.small_networks import SIZE, SMALL

N_IMAGES, N_UNITS, N_SHOWN, N_ASKED, CELLS = 400, 60, 45, 20, 16
RNG = np.random.default_rng(0)


def planted(noise, seed=0):
    """Cells of things (a row of a thing's own each, plus noise), places of things by image, and images of units."""
    rng = np.random.default_rng(seed)
    things = rng.standard_normal((N_UNITS, 48))
    # things crowd in the middle, as peaks do
    crowd = np.full(CELLS, 1.0)
    crowd[[5, 6, 9, 10]] = 4
    places = rng.choice(CELLS, (N_IMAGES, N_UNITS), p=crowd / crowd.sum())
    cells = noise * rng.standard_normal((N_IMAGES, CELLS, 48))
    shown = np.stack([rng.permutation(N_IMAGES)[: N_SHOWN + N_ASKED] for _ in range(N_UNITS)])
    for unit in range(N_UNITS):
        for image in shown[unit]:
            cells[image, places[image, unit]] += things[unit]
    return loc.centred_rows(cells), places, shown


def scored(cells, shown, peaks, seed=0):
    parts = shown[:, :N_SHOWN], shown[:, N_SHOWN:], peaks[:, :N_SHOWN], peaks[:, N_SHOWN:]
    return loc.localizability(cells, *parts, seed)


def error(values):
    return values.std(ddof=1) / np.sqrt(len(values))


def test_places_that_were_planted_are_found_with_true_patches():
    cells, places, shown = planted(noise=0.0)
    alone = np.zeros((N_IMAGES, CELLS, N_UNITS))
    for unit in range(N_UNITS):
        alone[shown[unit], places[shown[unit], unit], unit] = 1
    peaks = np.take_along_axis(places.T, shown, axis=1)
    found = scored(loc.centred_rows(alone), shown, peaks)
    assert found["score"].mean() >= 0.95
    assert found["chance"].mean() > 1.5 / CELLS, "peaks cluster"
    noisy = scored(cells, shown, peaks)
    assert noisy["others"].mean() < noisy["score"].mean() - 5 * error(noisy["score"])
    assert abs(noisy["deranged"].mean()) < 3 * error(noisy["deranged"])


def test_random_places_score_nothing():
    cells, places, shown = planted(noise=0.5)
    crowded = places[RNG.permutation(N_IMAGES)]
    found = scored(cells, shown, np.take_along_axis(crowded.T, shown, axis=1))
    for name in ("score", "others", "deranged"):
        assert abs(found[name].mean()) < 3 * error(found[name]), name
    assert found["hit"].mean() > 1.3 / CELLS, "which is no 1 / cells, since peaks cluster"


def test_a_random_permutation_of_peaks_would_not_do():
    """One in N peaks stays in its place under it: the null would be above 0 by the score over N."""
    cells, places, shown = planted(noise=0.0)
    peaks = np.take_along_axis(places.T, shown, axis=1)
    found = scored(cells, shown, peaks)
    rng = np.random.default_rng(1)
    kept = np.mean([(rng.permutation(N_ASKED) == np.arange(N_ASKED)).mean() for _ in range(2000)])
    assert kept == pytest.approx(1 / N_ASKED, abs=0.01)
    assert abs(found["deranged"].mean()) < 0.5 / N_ASKED + 3 * error(found["deranged"])


def test_numbers_are_those_of_plain_loops():
    rng = np.random.default_rng(3)
    cells = loc.centred_rows(rng.standard_normal((30, 9, 7)).astype(np.float32))
    shown, asked = rng.integers(30, size=(4, 6)), rng.integers(30, size=(4, 5))
    peaks, truth = rng.integers(9, size=(4, 6)), rng.integers(9, size=(4, 5))
    peaks[2, 1] = -1
    found = loc.localizability(cells, shown, asked, peaks, truth, seed=5)
    assert found.loc[2].isna().all(), "a constant map on one of its images"

    def prototype(unit):
        at = np.mean([cells[image, peak] for image, peak in zip(shown[unit], peaks[unit], strict=True)], axis=0)
        return at - np.mean([cells[image].mean(axis=0) for image in shown[unit]], axis=0)

    def score(unit, by, places):
        guesses = [int(np.argmax(cells[image].astype(np.float64) @ prototype(by))) for image in asked[unit]]
        pairs = [guesses[i] == truth[unit][j] for i in range(5) for j in range(5) if i != j]
        hit, chance = np.mean([guess == place for guess, place in zip(guesses, places, strict=True)]), np.mean(pairs)
        return hit, chance, (hit - chance) / (1 - chance)

    for unit in (0, 1, 3):
        np.testing.assert_allclose(found.loc[unit, ["hit", "chance", "score"]], score(unit, unit, truth[unit]))
        rest = [other for other in (0, 1, 3) if other != unit]
        np.testing.assert_allclose(
            found.loc[unit, "others"], np.mean([score(unit, other, truth[unit])[2] for other in rest])
        )
        rng = generator(5, "localizability", unit)
        rng.permutation(np.array(rest))
        order = rng.permutation(5)
        moved = np.empty(5, dtype=int)
        moved[order] = truth[unit][np.roll(order, 1)]
        assert (np.sort(moved) == np.sort(truth[unit])).all()
        np.testing.assert_allclose(found.loc[unit, "deranged"], score(unit, unit, moved)[2])


@pytest.mark.parametrize(("height", "width"), [(8, 8), (4, 4), (3, 3), (5, 7), (14, 14)])
def test_peaks_are_where_the_largest_value_is(height, width):
    maps = RNG.standard_normal((5, height * width, 3)).astype(np.float32)
    maps[1, :, 2] = 0.5
    maps[2, [4, 7], 1] = 9.0  # the first of equal ones counts
    side = min(4, height, width)
    expected = np.full((5, 3), -1)
    for image in range(5):
        for unit in range(3):
            values = maps[image, :, unit].tolist()
            if len(set(values)) > 1:
                row, column = divmod(values.index(max(values)), width)
                expected[image, unit] = row * side // height * side + column * side // width
    assert (loc.peak_cells(maps, height, width) == expected).all()
    assert (loc.peak_cells(torch.from_numpy(maps), height, width).numpy() == expected).all()


@pytest.mark.parametrize("name", ["resnet", "vit", "swin"])
def test_places_of_layers_and_why_there_are_none(name):
    torch.manual_seed(0)
    network = SMALL[name]().eval()
    images = torch.rand(4, 3, SIZE, SIZE)
    layers = find_layers(network, images[:3], drop_first_last=False)
    with loc.PeakCapture(network, layers, 4, "cpu") as capture:
        capture(images)
    found = {layer.name: capture.places[layer.name] for layer in layers}
    start = 0
    for layer in layers:
        cells = capture.cells[:, start : start + layer.width]
        side = found[layer.name].side
        assert bool(found[layer.name].reason) == (side == 0)
        assert cells.max() < side**2
        assert side or (cells == -1).all()
        start += layer.width
    if name == "resnet":
        assert (found["conv1"].kind, found["conv1"].side) == (loc.MAPS, 4)
        assert found["layer2.0.conv1"].side == 4
        assert found["layer3.0.conv1"].reason == "maps of 2 x 2, fewer than 3 x 3"
        assert (capture.cells[:, : layers[0].width] >= 0).all()
        assert found["fc"].reason == loc.VECTOR
    elif name == "vit":
        place = found["blocks.0.mlp.fc1"]
        assert (place.kind, place.height, place.skipped, place.side) == (loc.TOKENS, 4, 1, 4)
        assert found["head"].reason == loc.VECTOR
    else:
        windows = [place for place in found.values() if "windows" in place.reason]
        assert windows
        assert any(place.kind == loc.MAPS and not place.reason for place in found.values())


def test_peaks_of_tokens_skip_the_class_token():
    torch.manual_seed(0)
    network = SMALL["vit"]().eval()
    images = torch.rand(2, 3, SIZE, SIZE)
    layers = [layer for layer in find_layers(network, images.repeat(2, 1, 1, 1)) if layer.name == "blocks.0.mlp.fc1"]
    maps = []
    network.blocks[0].mlp.fc1.register_forward_hook(lambda *given: maps.append(given[-1]))
    with loc.PeakCapture(network, layers, 2, "cpu") as capture:
        capture(images)
    assert (capture.cells == maps[0][:, 1:].argmax(1)).all(), "a grid of 4 x 4 of 4 x 4 tokens"


TOKENS = Layer("fc", "Linear", 0, 0.0, 8, "fc", 0, "output", 0, -1)


@pytest.mark.parametrize(
    ("tokens", "prefix", "n_patches", "found"),
    [
        (17, 1, 16, (4, 1)),
        (16, 1, 16, (4, 0)),  # before the class token is added
        (16, 1, None, (4, 0)),
        (21, 5, None, (4, 5)),
        (17, None, 16, (4, 1)),
        (1024, None, 196, "1024 values a channel are not the 196 patches of the network"),
        (1024, 0, 196, "1024 values a channel are not the 196 patches of the network"),
        (1024, None, None, (32, 0)),
        (18, 1, None, "18 tokens are no square of places"),
    ],
)
def test_tokens_have_places_where_they_are_patches(tokens, prefix, n_patches, found):
    place = loc.places_of((2, tokens, 8), 2, TOKENS, prefix, n_patches)
    assert (place.reason or (place.height, place.skipped)) == found


def test_token_mixing_has_no_places():
    torch.manual_seed(0)
    network = MlpMixer(img_size=SIZE, patch_size=8, embed_dim=64, num_blocks=1, num_classes=5).eval()
    images = torch.rand(2, 3, SIZE, SIZE)
    layers = find_layers(network, images.repeat(2, 1, 1, 1), drop_first_last=False)
    with loc.PeakCapture(network, layers, 2, "cpu") as capture:
        capture(images)
    assert "not the 16 patches" in capture.places["blocks.0.mlp_tokens.fc1"].reason
    assert capture.places["blocks.0.mlp_channels.fc1"].side == 4


def test_patches_are_means_of_the_last_map_of_four_cells_or_more():
    torch.manual_seed(0)
    network = SMALL["resnet"]().eval()
    images = torch.rand(2, 3, 64, 64)
    maps = network.forward_intermediates(images, intermediates_only=True)
    wide = [each for each in maps if each.shape[2] >= 4][-1]
    assert wide.shape[2] == 4, "the one after has two rows"
    found = loc.patches(network, images, [3, 4])
    assert torch.equal(found[4], wide.flatten(2).transpose(1, 2))
    assert found[3].shape == (2, 9, wide.shape[1])
    with pytest.raises(InputError, match="forward_intermediates"):
        loc.patches(torch.nn.Identity(), images, [4])
    with pytest.raises(InputError, match="no map of 4 x 4"):
        loc.patches(network, images[:, :, :4, :4], [4])


def test_arguments_that_do_not_fit_are_named():
    cells, rows = np.ones((6, 9, 2)), np.arange(6).reshape(1, 6)
    peaks = np.zeros((1, 6), dtype=int)
    for given, told in (
        ((cells, rows + 1, rows, peaks, peaks), "explanations must hold rows of cells, 0 to 5"),
        ((cells, rows, rows, peaks[:, 1:], peaks), r"peaks_explaining has shape \(1, 5\)"),
        ((cells, rows, rows, peaks, peaks + 9), "peaks_asked has shape"),
        ((cells, rows, rows[:, :1], peaks, peaks[:, :1]), "queries must be 2 or more"),
        ((cells[0], rows, rows, peaks, peaks), "cells has shape"),
    ):
        with pytest.raises(InputError, match=told):
            loc.localizability(*given)
    with pytest.raises(InputError, match="with 3 or more rows and columns"):
        loc.peak_cells(np.ones((1, 4, 2)), 2, 2)
