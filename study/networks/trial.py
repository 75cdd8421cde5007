"""A network tried out before a study spends hours on it: its numbers, one pass of noise, and its units by the study's rules."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from interpretability.errors import InputError
from interpretability.randomness import generator
from study.errors import StudyError, message_of
from study.files.store import WorkStore
from study.files.tables import write_json
from study.networks import own_code
from study.networks.building import forward_failure
from study.networks.directions import directions_digest
from study.networks.readout import check_directions
from study.networks.roster import RosterRow
from study.params.units import Units
from study.workers.device import device

if TYPE_CHECKING:
    from torch import Tensor, nn

    from interpretability.networks.layers import Layer
    from interpretability.networks.network import Network
    from interpretability.networks.preprocessing import Preprocessing

VERSION = 1  # of what is tried
_IMAGES, _SIDE = 2, 512  # of the noise, and its side at most, before it is resized


def try_out(row: RosterRow, network: Network, rules: Units, seed: int) -> None:
    """Raise StudyError for all of a network that its extraction would fail at, whatever the images.

    Numbers that are not finite in weights or in the units of an image of noise; a forward pass that fails, that wants other
    inputs, or whose units hang on chance or on the other images of a batch; no layer of the wanted types; directions
    that do not fit. Networks that passed are kept in the work store and not tried again, but for those of someone's own code,
    of which a pass may load more.
    """
    if own_code.module_of(row):
        _try(row, network, rules, seed)
        return

    def passed(path: Path) -> None:
        _try(row, network, rules, seed)
        write_json(path, {"passed": True})

    WorkStore.open().fetch("trials", _ingredients(row, network, rules, seed), ".json", passed)


def _ingredients(row: RosterRow, network: Network, rules: Units, seed: int) -> dict[str, Any]:
    """What the outcome of a trial hangs on."""
    from interpretability.networks.layers import UNITS_VERSION

    return {
        **{column: row[column] for column in ("name", "constructor", "kwargs", "taps")},
        "weights": network.digest,
        "preprocessing": network.preprocessing.dumps(),
        "directions": directions_digest(row),
        "units": asdict(rules),
        "seed": seed,
        "device": device().split(":")[0],
        "packages": {package: version(package) for package in ("torch", "torchvision", "timm")},
        "versions": [VERSION, UNITS_VERSION],
    }


def _try(row: RosterRow, network: Network, rules: Units, seed: int) -> None:
    from interpretability.networks.independence import check_independence
    from interpretability.networks.layers import find_layers
    from interpretability.networks.taps import find_taps

    name = str(row["name"])
    refuse_not_finite(network.model, name)
    model = network.model.to(device())
    batch = noise(network.preprocessing, seed, name).to(device())
    try:
        taps = find_taps([path for path, _ in model.named_modules()], row["taps"])
        layers = find_layers(model, batch, taps=taps, **asdict(rules))
        values = check_independence(model, layers, batch)
        check_directions(row, model, batch, rules, layers)
    except InputError as error:
        raise StudyError(f"{name}: {message_of(error).removeprefix(f'{name}: ')}") from None
    except Exception as error:
        raise forward_failure(error, name, tuple(batch.shape)) from error
    _refuse_values(values, layers, name)


def try_as_encoder(network: Network, layer: str, seed: int) -> None:
    """Raise InputError where the similarity `encoder` would find no features in a network, as it would only once all tasks
    are there.
    """
    from interpretability.similarity.backends.encoder import Encoder

    batch, no_images = noise(network.preprocessing, seed, network.name), cast(Any, ())
    Encoder("encoder", no_images, network=network, layer=layer, device=device()).features(batch.to(device()))


def noise(view: Preprocessing, seed: int, name: str) -> Tensor:
    """Two images as a network sees them: patches of colours under noise, keyed."""
    draw, size = generator(seed, "trial", name), min(max(view.resize, view.crop), _SIDE)
    patches = draw.integers(0, 256, (_IMAGES, 8, 8, 3), dtype=np.int16)
    rows = np.arange(size) * 8 // size
    pixels = patches[:, rows][:, :, rows] + draw.integers(-40, 41, (_IMAGES, size, size, 3), dtype=np.int16)
    return view.batch(list(pixels.clip(0, 255).astype(np.uint8)))


def refuse_not_finite(model: nn.Module, name: str) -> None:
    """Raise StudyError for weights that are no finite numbers.

    Buffers may hold infinite numbers, as the masks of attention do, but for the statistics of norms.
    """
    import torch

    wrong: list[tuple[str, Tensor]] = []
    n_tensors = 0
    for path, value in model.named_parameters():
        n_tensors += 1
        if not torch.isfinite(value).all():
            wrong.append((path, ~torch.isfinite(value)))
    for path, value in model.named_buffers():
        n_tensors += 1
        bad = ~torch.isfinite(value) if path.endswith(("running_mean", "running_var")) else torch.isnan(value)
        if bad.any():
            wrong.append((path, bad))
    if wrong:
        path, bad = wrong[0]
        raise StudyError(
            f"{name}: {len(wrong)} of its {n_tensors} tensors hold numbers that are not finite; the first is {path}, in which "
            f"{int(bad.sum())} of {bad.numel()} are nan or infinite. Use another checkpoint, one of before its training failed"
        )


def _refuse_values(values: Tensor, layers: list[Layer], name: str) -> None:
    """Raise StudyError for units that are not finite for an image of noise; values (images, units)."""
    start = 0
    for layer in layers:
        part = values[:, start : start + layer.width]
        start += layer.width
        if bad := (~part.isfinite().all(dim=0)).nonzero().flatten().tolist():
            raise StudyError(
                f"{name}: layer {layer.name}, unit {bad[0]} is {part[:, bad[0]].tolist()} for images of noise, as are "
                f"{len(bad) - 1} more of its {layer.width} units, though all weights are finite; look for a division by zero or "
                "numbers too large for float32 in front of that layer"
            )
