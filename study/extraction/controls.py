"""Control units and the facts that the stage `activations` keeps of each network or control.

The units themselves are those of `interpretability.synthetic.planted_units`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from interpretability.files import atomic_path
from interpretability.schema import FACTS
from study.errors import StudyError
from study.extraction.job import Job, summarised
from study.images.manifest import open_images, rows_in_batches
from study.networks import roster


def facts(job: Job, described: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """What the stage needs of one network or control."""
    offsets = np.cumsum([0, *(layer["width"] for layer in described)])
    layers = [
        {"model": job.row["name"], **layer, "offset": int(offset)}
        for layer, offset in zip(described, offsets, strict=False)
    ]
    return {"layers": layers, "labels": [], "device": "cpu", "pieces": 1, "timing": {}, **more}


def _save(job: Job, content: dict[str, np.ndarray]) -> None:
    from safetensors.numpy import save_file

    with atomic_path(job.out / f"{job.row['name']}.safetensors") as part:
        save_file({name: np.ascontiguousarray(value) for name, value in content.items()}, part)


def make(job: Job) -> dict[str, Any]:
    """Extremes of one control, written to the out, and its facts."""
    return _permuted(job) if job.row["constructor"] == "control:permuted" else _planted(job)


def _planted(job: Job) -> dict[str, Any]:
    """Control units computed from factors (if there are any) and from keyed hashes."""
    from interpretability.extremes import selection
    from interpretability.extremes.moments import Moments
    from interpretability.randomness import unit_keys
    from interpretability.synthetic import planted_units

    images, name, seed = open_images(job.images, job.params.images.root), job.row["name"], job.params.seed
    kinds = {
        "control:planted": lambda: planted_units.planted(images.factors, seed),
        "control:chance": lambda: planted_units.chance(len(images), seed),
    }
    if job.row["constructor"] not in kinds:
        raise StudyError(
            f"{name}: constructor {job.row['constructor']!r} is no control; allowed: "
            f"{', '.join(kinds)}, control:permuted"
        )
    if job.row["constructor"] == "control:planted" and images.factors is None:
        raise StudyError(
            f"{name}: control:planted needs the factors of generated scenes; photographs allow control:chance"
        )
    found = kinds[job.row["constructor"]]()
    keys = np.concatenate([unit_keys(seed, name, layer.layer, np.arange(len(layer.labels))) for layer in found])
    values = np.concatenate([layer.values for layer in found], axis=1)
    extremes, moments = (
        selection.Extremes(keys, job.params.activations.n_extremes),
        Moments(len(keys)),
    )
    for rows in rows_in_batches(len(images), job.params.activations.batch_size):
        extremes.update(values[rows], rows)
        moments.update(values[rows])
    top, bottom = extremes.keys()
    state = {"top": top, "bottom": bottom, "bins": moments.bins, "nonpositive": moments.nonpositive}
    layers = [
        {
            "layer": layer.layer,
            "layer_type": "Other",
            "layer_index": i,
            "depth": i / max(len(found) - 1, 1),
            "width": len(layer.labels),
        }
        for i, layer in enumerate(found)
    ]
    labels = [
        {"model": name, "layer": layer.layer, "unit": unit, "label": label}
        for layer in found for unit, label in enumerate(layer.labels)
    ]  # fmt: skip
    _save(job, summarised(state, keys, job.params.activations.n_extremes, len(images)))
    return facts(job, layers, labels=labels)


def _permuted(job: Job) -> dict[str, Any]:
    """A network whose values are dealt to images at random, each unit on its own: same values, no content."""
    from safetensors.numpy import load_file

    from interpretability.randomness import unit_keys
    from interpretability.synthetic import planted_units

    name, of = job.row["name"], roster.base(job.row)
    path = job.out / f"{of}.safetensors"
    if not path.is_file():
        raise StudyError(
            f'{name}: kwargs must name a network of the roster that succeeded, as {{"of": "NAME"}}; it names {of!r}'
        )
    layers = [{fact: layer[fact] for fact in ["layer", *FACTS]} for layer in job.base_layers]
    content = load_file(path)
    keys = np.concatenate(
        [unit_keys(job.params.seed, name, layer["layer"], np.arange(layer["width"])) for layer in layers]
    )
    n = len(open_images(job.images, job.params.images.root))
    content["top_images"], content["bottom_images"] = planted_units.permuted_extremes(
        content["top_images"], content["bottom_images"], n, job.params.seed, keys
    )
    _save(job, content)
    return facts(job, layers)
