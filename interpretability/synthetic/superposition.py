"""Known truth for directions: more sparse features than units, added up in them.

A feature is a conjunction of two factors of a scene, each cut into four cells: present in a few of a hundred images, with an
amplitude that is keyed by the image. The units are sums of features along random directions, fewer than the features. So no unit
is a feature, and what finds the features again must score higher than the units. That is asked of one-sided tasks: a mixture has
an informative negative side, a feature has none.

layer       values
mixture     the units: features @ dictionary (m features, d units)
rotation    the units turned by a Haar rotation: another basis that is no better
readout     max(unit values @ a feature's direction - READ_OUT, 0): the true directions, read linearly
trained     latents of a TopK autoencoder trained on the units (`sparse_autoencoder`)
inference   sparse inference with the true directions (`sparse_inference`)
features    the features themselves
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.directions.built_in import random_directions, rotation
from interpretability.randomness import U64, combine, key64, uniforms
from interpretability.synthetic.factors import FACTORS, Factor
from interpretability.synthetic.planted_units import ControlLayer
from interpretability.synthetic.sparse_autoencoder import train_autoencoder
from interpretability.synthetic.sparse_inference import infer_features

if TYPE_CHECKING:
    from interpretability.directions.codes import Code

VERSION = 1  # raised by hand whenever values of these units change
N_FEATURES, N_UNITS = 96, 48
N_CELLS = 4  # into which a factor is cut
SHARES = (0.05375, 0.105)  # of the images that may show a feature: 215 to 420 of 4,000
AMPLITUDES = (0.5, 1.5)
READ_OUT = 0.3  # bias of the linear read-out
PREFIX = "superposed_"  # of the names of its layers
LAYERS = tuple(PREFIX + name for name in ("mixture", "rotation", "readout", "trained", "inference", "features"))
SPARSE = LAYERS[2:]  # whose zeros mean that a latent is silent


@dataclass(frozen=True)
class Superposition:
    """Features (n, m), the direction of each (m, d), and the units that they add up to (n, d)."""

    labels: tuple[str, ...]
    features: NDArray[np.float64]
    dictionary: NDArray[np.float64]

    @property
    def units(self) -> NDArray[np.float64]:
        return self.features @ self.dictionary

    @property
    def n_active(self) -> int:
        """Features that an image shows, on average, rounded."""
        return max(1, round(float((self.features > 0).sum(axis=1).mean())))


@dataclass(frozen=True)
class _Conjunction:
    """A cell of each of two columns of factors, and the images that lie in both."""

    label: str
    present: NDArray[np.bool_]


def superposition(
    factors: pd.DataFrame, seed: int, n_features: int = N_FEATURES, n_units: int = N_UNITS
) -> Superposition:
    """Features of the scenes of a factor table, and units in which they are superposed; all draws keyed by seed.

    Raises InputError where the scenes have fewer conjunctions of the wanted frequency than features.
    """
    known = list(_conjunctions(factors))
    if len(known) < n_features:
        raise arguments.wrong(
            "factors",
            "has {given} conjunctions of two factors that {low:.1%} to {high:.1%} of its {images} scenes show; {wanted} features "
            "need as many. More scenes have more of them",
            given=len(known),
            low=SHARES[0],
            high=SHARES[1],
            images=len(factors),
            wanted=n_features,
        )
    order = np.argsort([key64("superposed", seed, each.label) for each in known], kind="stable")
    chosen = [known[place] for place in sorted(order[:n_features])]
    images = np.arange(len(factors)).astype(U64)
    low, high = AMPLITUDES
    features = np.zeros((len(factors), n_features))
    for column, each in enumerate(chosen):
        amplitudes = low + (high - low) * uniforms(combine(U64(key64("amplitudes", seed, each.label)), images))
        features[:, column] = np.where(each.present, amplitudes, 0.0)
    dictionary = random_directions(seed, "superposed", n_units, n_features).T
    return Superposition(tuple(each.label for each in chosen), features, np.ascontiguousarray(dictionary))


def superposed(factors: pd.DataFrame, seed: int) -> list[ControlLayer]:
    """The layers of the control in the order of LAYERS, float32, for the images of a factor table.

    Labels: of features, read-out and inference the conjunction, as `colour:2|count:0` (cells 0 to 3 of either factor); of a
    trained latent that of the feature whose direction is nearest to its decoder's, behind their cosine, as
    `0.97/colour:2|count:0`; none of mixtures.
    """
    truth = superposition(factors, seed)
    units = truth.units
    code = train_autoencoder(units, len(truth.labels), truth.n_active, seed=seed, name="superposed")
    mixed = ("",) * units.shape[1]
    layers = {
        "mixture": (mixed, units),
        "rotation": (mixed, units @ rotation(seed, "superposed", units.shape[1])),
        "readout": (truth.labels, np.maximum(units @ truth.dictionary.T - READ_OUT, 0.0)),
        "trained": (_nearest(code, truth), latents(code, units)),
        "inference": (truth.labels, infer_features(units, truth.dictionary)),
        "features": (truth.labels, truth.features),
    }
    return [ControlLayer(PREFIX + name, labels, values.astype(np.float32)) for name, (labels, values) in layers.items()]


def latents(code: Code, values: NDArray[np.floating]) -> NDArray[np.float32]:
    """What a code makes of values (n, d) that are pooled already: (n, m)."""
    import torch

    from interpretability.directions.encoding import encode

    return encode(code, torch.from_numpy(values.astype(np.float32))).numpy()


def _nearest(code: Code, truth: Superposition) -> tuple[str, ...]:
    """For each latent the cosine of its decoder with the nearest true direction, and the label of that."""
    decoder = code.encoder if code.decoder is None else code.decoder
    cosines = decoder.double().numpy() @ truth.dictionary.T
    return tuple(f"{row.max():.2f}/{truth.labels[row.argmax()]}" for row in cosines)


def _conjunctions(factors: pd.DataFrame) -> Iterator[_Conjunction]:
    """Every pair of cells of two columns that is shown by as many scenes as SHARES allows, in the order of FACTORS."""
    cells = [(factor.name, name, values) for factor in FACTORS for name, values in _cells(factor, factors)]
    low, high = (share * len(factors) for share in SHARES)
    for (one, first, in_first), (other, second, in_second) in combinations(cells, 2):
        if one == other:
            continue  # two columns of one factor are no two things
        for a in range(N_CELLS):
            for b in range(N_CELLS):
                present = (in_first == a) & (in_second == b)
                if low <= present.sum() <= high:
                    yield _Conjunction(f"{first}:{a}|{second}:{b}", present)


def _cells(factor: Factor, factors: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """The cell, 0 to N_CELLS - 1, in which each scene lies, for every column of a factor."""
    for column in factor.columns:
        part = f":{column.rpartition('_')[2]}" if len(factor.columns) > 1 else ""
        if factor.kind == "categorical":
            cell = factor.codes(factors[column]) * N_CELLS // len(factor.levels)
        else:
            position = factor.scaled(factors[column].to_numpy())
            cell = np.minimum((position * N_CELLS).astype(np.int64), N_CELLS - 1)
        yield factor.name + part, cell
