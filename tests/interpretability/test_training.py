"""Training small networks: the same weights every time, and failures that say where they happened."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from interpretability.networks import network
from interpretability.synthetic import training

SETTINGS = {"epochs": 3, "batch_size": 8, "learning_rate": 0.02, "seed": 0, "name": "small"}


def small_network(outputs: int = 5, dropout: float = 0.1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(8, outputs),
    )


def coloured_pictures(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy pictures with two labels: which channel is bright (3) and whether the picture is dim or bright (2)."""
    rng = np.random.default_rng(seed)
    targets = np.stack([rng.integers(0, 3, n), rng.integers(0, 2, n)], axis=1)
    pixels = rng.integers(0, 60, (n, 16, 16, 3)) + 60 * targets[:, 1, None, None, None]
    pixels[np.arange(n), :, :, targets[:, 0]] += 100
    return pixels.astype(np.uint8), targets


def trained(**changes) -> list[tuple[int, dict[str, torch.Tensor]]]:
    pixels, targets = coloured_pictures(84)
    choices = {**SETTINGS, **changes}
    model = network.initialised(small_network, choices["seed"], choices["name"])
    return list(training.train(model, pixels, targets, (3, 2), **choices))


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_steps_run_from_the_untrained_network_to_the_last_epoch():
    states = trained()
    assert [step for step, _ in states] == [0, 1, 2, 3]
    assert same(states[0][1], network.initialised(small_network, 0, "small").state_dict())
    # every epoch moves the weights, and later epochs do not reach back into earlier states
    for (_, earlier), (_, later) in pairwise(states):
        assert not torch.equal(earlier["0.weight"], later["0.weight"])
    # 84 pictures make 10 whole batches of 8 an epoch
    assert states[3][1]["1.num_batches_tracked"] == 30
    assert all(tensor.is_contiguous() for tensor in states[3][1].values())


def test_two_heads_are_learned():
    pixels, targets = coloured_pictures(200)
    fresh_pixels, fresh_targets = coloured_pictures(200, seed=1)
    model = network.initialised(small_network, 0, "small")
    scores = [
        training.accuracy(model, fresh_pixels, fresh_targets, (3, 2))
        for _ in training.train(model, pixels, targets, (3, 2), **{**SETTINGS, "epochs": 4})
    ]
    assert scores[0].shape == (2,)
    assert (scores[0] < 0.8).any()
    assert (scores[-1] > 0.95).all()


def test_same_seed_and_name_give_the_same_weights_whatever_the_surroundings():
    reference = trained()
    torch.manual_seed(99)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = trained()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert all(same(first, second) for (_, first), (_, second) in zip(reference, again, strict=True))


@pytest.mark.parametrize("changes", [{"seed": 1}, {"name": "other"}])
def test_seed_and_name_change_weights_and_order(changes):
    reference, other = trained(), trained(**changes)
    assert not same(reference[0][1], other[0][1])
    assert not same(reference[3][1], other[3][1])


def test_the_global_generator_and_settings_stay_untouched():
    before = torch.get_rng_state()
    pixels, targets = coloured_pictures(84)
    model = network.initialised(small_network, 0, "small")
    for _ in training.train(model, pixels, targets, (3, 2), **SETTINGS):
        assert torch.equal(torch.get_rng_state(), before)
        assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(ValueError):
        network.initialised(lambda: int("no network"), 0, "small")
    assert torch.equal(torch.get_rng_state(), before)


def test_looking_at_accuracy_between_epochs_does_not_change_training():
    pixels, targets = coloured_pictures(84)
    model = network.initialised(small_network, 0, "small")
    states = []
    for _, state in training.train(model, pixels, targets, (3, 2), **SETTINGS):
        training.accuracy(model, pixels, targets, (3, 2))
        states.append(state)
    assert same(states[3], trained()[3][1])


class Spy(nn.Module):
    """Linear network on the mean picture that remembers the brightness of the pictures it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.seen: list[list[int]] = []

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        means = pictures.mean(dim=(2, 3))
        self.seen.append(((means[:, 0] + 1) * 127.5).round().int().tolist())
        return self.linear(means)


def test_every_epoch_shows_each_picture_at_most_once_in_a_new_order():
    # picture i has brightness i everywhere
    pixels = np.arange(50, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), dtype=np.uint8)
    targets = np.arange(50)[:, None] % 2
    spy = Spy()
    list(training.train(spy, pixels, targets, (2,), **{**SETTINGS, "batch_size": 12}))
    assert [len(batch) for batch in spy.seen] == [12] * 12
    epochs = [[picture for batch in spy.seen[start : start + 4] for picture in batch] for start in (0, 4, 8)]
    for order in epochs:
        assert len(set(order)) == 48
    assert epochs[0] != epochs[1] != epochs[2]
    # the two left out are not the same every time
    assert len({frozenset(order) for order in epochs}) > 1


class FirstPixel(nn.Module):
    """Answers the red value of the first pixel as a class number, once a head."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        classes = ((pictures[:, 0, 0, 0] + 1) * 127.5).round().long()
        return torch.cat([nn.functional.one_hot(classes, 4), nn.functional.one_hot(classes, 6)], dim=1).float()


def test_accuracy_counts_right_answers_a_head():
    pixels = np.zeros((600, 2, 2, 3), dtype=np.uint8)
    pixels[:, 0, 0, 0] = np.tile([0, 1, 2, 3], 150)
    targets = np.stack([np.tile([0, 1, 2, 0], 150), np.tile([0, 5, 5, 5], 150)], axis=1)
    # head 0 is right on 3 of 4, head 1 on 1 of 4
    assert training.accuracy(FirstPixel(), pixels, targets, (4, 6)).tolist() == [0.75, 0.25]


def test_normalised_pictures():
    pixels = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    pixels[0, 1, 2] = (255, 0, 51)
    planes = training.normalised(pixels)
    assert planes.shape == (2, 3, 4, 4)
    assert planes.dtype == torch.float32
    assert planes[0, :, 1, 2].tolist() == pytest.approx([1.0, -1.0, -0.6])
    assert pixels[0, 1, 2].tolist() == [255, 0, 51]


def test_a_loss_that_is_not_a_number_names_network_epoch_and_step():
    pixels, targets = coloured_pictures(84)
    model = network.initialised(small_network, 0, "small")
    steps = training.train(model, pixels, targets, (3, 2), **SETTINGS)
    next(steps)
    next(steps)
    with torch.no_grad():
        model[0].weight.fill_(float("nan"))
    with pytest.raises(training.TrainingError, match="small: the loss is nan in epoch 2, step 0"):
        next(steps)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 100}, "batch_size"),
    ],
)
def test_settings_without_a_single_step_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        trained(**changes)


def test_wrong_pictures_targets_and_outputs_are_refused():
    pixels, targets = coloured_pictures(16)
    model = small_network()
    with pytest.raises(ValueError, match="head 0 reach from 0 to 2; allowed: 0 to 1"):
        next(training.train(model, pixels, targets, (2, 2), **SETTINGS))
    with pytest.raises(ValueError, match="targets have shape"):
        training.accuracy(model, pixels, targets, (3,))
    with pytest.raises(ValueError, match="uint8"):
        training.accuracy(model, pixels / 255, targets, (3, 2))
    with pytest.raises(ValueError, match="5 outputs; its heads need 6"):
        list(training.train(model, pixels, targets, (3, 3), **SETTINGS))


@pytest.mark.parametrize("shape", [(4, 6), (20, 5, 6), (18, 2, 3, 6)])
def test_linear_layers_that_compute_as_convolutions_agree_with_plain_ones(shape):
    torch.manual_seed(0)
    layer, values, toward = nn.Linear(6, 7), torch.randn(shape), torch.randn((*shape[:-1], 7))
    plain = nn.Linear(6, 7).double()
    plain.load_state_dict(layer.state_dict())
    exact, given = values.double().requires_grad_(), values.requires_grad_()
    training._convolve_linears(nn.Sequential(layer))
    made, expected = layer(given), plain(exact)
    assert made.shape == expected.shape
    (made * toward).sum().backward()
    (expected * toward).sum().backward()
    pairs = [
        (made, expected),
        (given.grad, exact.grad),
        *((a.grad, b.grad) for a, b in zip(layer.parameters(), plain.parameters(), strict=True)),
    ]
    for mine, true in pairs:
        np.testing.assert_allclose(mine.detach(), true.detach(), rtol=1e-5, atol=1e-5)


def test_settings_of_torch_are_as_before_a_training():
    settings = torch.utils.deterministic
    before = settings.fill_uninitialized_memory, torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    trained(epochs=1)
    after = settings.fill_uninitialized_memory, torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    assert after == before
