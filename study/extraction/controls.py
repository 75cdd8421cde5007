"""Control units and the facts that the stage `activations` keeps of each network or control.

The units themselves are those of `interpretability.synthetic.planted_units`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from interpretability.files import atomic_path
from interpretability.schema import HARD
from study.errors import StudyError
from study.extraction.job import (
    DirectionRow,
    Extraction,
    LabelRow,
    LayerFacts,
    LayerRow,
    NetworkFacts,
    extremes_and_moments,
)
from study.extraction.windows import tensors_of_columns
from study.images.manifest import ImageSet, open_images, rows_in_batches
from study.networks import roster

if TYPE_CHECKING:
    from interpretability.synthetic.planted_units import ControlLayer

SUPERPOSED = "superposed"  # kind of directions


def network_facts(extraction: Extraction, layers: Sequence[LayerFacts]) -> NetworkFacts:
    """What the stage needs of a network or control with these layers, as far as they tell."""
    offsets = np.cumsum([0, *(layer["width"] for layer in layers)])
    rows: list[LayerRow] = [
        {"model": extraction.name, **layer, "offset": int(offset)}
        for layer, offset in zip(layers, offsets, strict=False)
    ]
    empty: NetworkFacts = {
        "layers": [],
        "left_out": [],
        "labels": [],
        "directions": [],
        "device": "cpu",
        "pieces": 1,
        "ran_in": "",
        "timing": {},
    }
    return {**empty, "layers": rows}


def save_extremes(extraction: Extraction, content: dict[str, np.ndarray]) -> None:
    """Extremes and statistics of all units as the file of the network or control in the out."""
    from safetensors.numpy import save_file

    with atomic_path(extraction.out / f"{extraction.name}.safetensors") as part:
        save_file({name: np.ascontiguousarray(value) for name, value in content.items()}, part)


def control_facts(extraction: Extraction) -> NetworkFacts:
    """Facts of one control, whose extremes are written to the out."""
    return (_permuted if extraction.row["constructor"] == "control:permuted" else _planted)(extraction)


def planted_layers(row: roster.RosterRow, images: ImageSet, seed: int) -> list[ControlLayer]:
    """Control units computed from factors (if there are any) and from keyed hashes: of a control that permutes no network."""
    from interpretability.synthetic import planted_units

    name, constructor = row["name"], row["constructor"]
    if constructor == "control:planted":
        if images.factors is None:
            raise StudyError(
                f"{name}: control:planted needs the factors of generated scenes; photographs allow control:chance"
            )
        return planted_units.planted(images.factors, seed)
    if constructor == "control:superposed":
        return _superposed(images.factors, name, seed)
    if constructor == "control:chance":
        return planted_units.chance(len(images), seed)
    raise StudyError(
        f"{name}: constructor {constructor!r} is no control; allowed: control:planted, control:superposed, "
        "control:chance, control:permuted"
    )


def _planted(extraction: Extraction) -> NetworkFacts:
    """Facts of a planted control."""
    from interpretability.extremes import selection
    from interpretability.extremes.moments import Moments
    from interpretability.randomness import network_keys

    images, params, name = (
        open_images(extraction.images, extraction.params.images.root),
        extraction.params,
        extraction.name,
    )
    seed, planted = params.seed, planted_layers(extraction.row, images, params.seed)
    keys = network_keys(seed, name, ((layer.layer, len(layer.labels)) for layer in planted))
    values = np.concatenate([layer.values for layer in planted], axis=1)
    extremes, moments = selection.Extremes(keys, params.activations.n_extremes), Moments(len(keys))
    for rows in rows_in_batches(len(images), params.activations.batch_size):
        extremes.update(values[rows], rows)
        moments.update(values[rows])
    top, bottom = extremes.keys()
    state = {"top": top, "bottom": bottom, "bins": moments.bins, "nonpositive": moments.nonpositive}
    content = extremes_and_moments(state, keys, params.activations.n_extremes, len(images))
    content |= tensors_of_columns(extraction.windows, values.T, keys, params.tasks.n_tasks)
    layers: list[LayerFacts] = [
        {
            "layer": layer.layer,
            "layer_type": "Other",
            "layer_index": i,
            "depth": i / max(len(planted) - 1, 1),
            "width": len(layer.labels),
            "cluster": layer.layer,
        }
        for i, layer in enumerate(planted)
    ]
    labels: list[LabelRow] = [
        {"model": name, "layer": layer.layer, "unit": unit, "label": label}
        for layer in planted
        for unit, label in enumerate(layer.labels)
    ]
    save_extremes(extraction, content)
    return {**network_facts(extraction, layers), "labels": labels, "directions": _directions(name, planted)}


def _directions(name: str, planted: Sequence[ControlLayer]) -> list[DirectionRow]:
    """What is read in place of the units in which features are superposed; nothing for layers of other controls."""
    from interpretability.synthetic.superposition import LAYERS, SPARSE

    width = len(planted[0].labels)  # the units are the first layer
    return [
        {
            "model": name,
            "layer": layer.layer,
            "kind": SUPERPOSED,
            "activation": "relu" if layer.layer in SPARSE else "linear",
            "pooling": "mean",
            "tokens": "all",
            "input_width": width,
            "n_latents": len(layer.labels),
            "k": 0,
            "sparse": int(layer.layer in SPARSE),
            "digest": "",
        }
        for layer in planted
        if layer.layer in LAYERS
    ]


def _superposed(factors: pd.DataFrame | None, name: str, seed: int) -> list[ControlLayer]:
    """Units in which known features are superposed, and codes of them."""
    from interpretability.synthetic.superposition import superposed

    if factors is None:
        raise StudyError(
            f"{name}: control:superposed needs the factors of generated scenes; take its row out of the roster of photographs"
        )
    return superposed(factors, seed)


def _permuted(extraction: Extraction) -> NetworkFacts:
    """A network whose values are dealt to images at random, each unit on its own: same values, no content."""
    from safetensors.numpy import load_file

    from interpretability.randomness import network_keys
    from interpretability.synthetic import planted_units

    name, base, seed = extraction.name, roster.base_network(extraction.row), extraction.params.seed
    path = extraction.out / f"{base}.safetensors"
    if not path.is_file():
        raise StudyError(
            f'{name}: kwargs must name a network of the roster that succeeded, as {{"of": "NAME"}}; it names {base!r}'
        )
    layers: list[LayerFacts] = [
        {
            "layer": layer["layer"],
            "layer_type": layer["layer_type"],
            "layer_index": layer["layer_index"],
            "depth": layer["depth"],
            "width": layer["width"],
            "cluster": layer["cluster"],
        }
        for layer in extraction.base_layers
    ]
    content = load_file(path)
    keys = network_keys(seed, name, ((layer["layer"], layer["width"]) for layer in layers))
    n = len(open_images(extraction.images, extraction.params.images.root))
    for prefix in _sides(extraction, content):
        top, bottom = f"{prefix}top_images", f"{prefix}bottom_images"
        content[top], content[bottom] = planted_units.permuted_extremes(content[top], content[bottom], n, seed, keys)
    save_extremes(extraction, content)
    return network_facts(extraction, layers)


def _sides(extraction: Extraction, content: dict[str, np.ndarray]) -> list[str]:
    """What the names of images of a permuted control begin with: its extremes, and its windows. Windows of the network that the
    control has not are taken out.
    """
    for name in [name for name in content if name.partition("_")[0] in HARD]:
        if name.partition("_")[0] not in extraction.windows:
            del content[name]
    if missing := [name for name in extraction.windows if f"{name}_top_images" not in content]:
        base = roster.base_network(extraction.row)
        raise StudyError(
            f"activations.windows names {missing[0]} for {extraction.name}, but not for {base}, which it permutes; "
            f"add {base}/{missing[0]}"
        )
    return ["", *(f"{name}_" for name in extraction.windows)]
