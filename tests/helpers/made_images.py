"""A folder as the stage `visualisations` writes it, with pictures of keyed noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from interpretability.randomness import generator
from interpretability.schema import BEATS, MADE_SIDES, UNREACHABLE
from study.images.manifest import open_images
from study.visualisations.writing import write_made


def fabricate(
    folder, images_folder, units, n_images=4, n_sets=2, size=32, *, unreachable=(), statuses=None, layers=None, seed=0
):
    """Write noise pictures for `units` (model, layer, unit), a model's together, into a new folder; returns it.

    unreachable  (model, layer, unit, side) of which there are no images
    statuses     status of (model, layer, unit, side), where it is another one than beats_nature
    layers       table with model, layer, layer_type, layer_index, depth; else all are Conv at depth .5
    """
    folder = Path(folder)
    folder.mkdir(parents=True)
    images = open_images(images_folder)
    facts = {} if layers is None else {(row["model"], row["layer"]): row for _, row in layers.iterrows()}
    rows, of_units, pixels = [], [], {}
    for model, layer, unit in units:
        known = facts.get((model, layer), {"layer_type": "Conv", "layer_index": 1, "depth": 0.5})
        pixels.setdefault(model, [])
        for seed_set in range(n_sets):
            for side in MADE_SIDES:
                key = {"model": model, "layer": layer, "unit": unit, "seed_set": seed_set, "side": side}
                sign, there = (1.0 if side == "max" else -1.0), (model, layer, unit, side) not in set(unreachable)
                rng = generator(seed, "fabricated", *(str(part) for part in key.values()))
                values = sign * (2 + rng.random(n_images)).astype(np.float32)
                if there:
                    for position in range(n_images):
                        pixels[model].append(rng.integers(0, 256, (size, size, 3), dtype=np.uint8))
                        rows.append({**key, "position": position, "value": values[position], "diverse": False})
                reached = np.abs(values.astype(np.float64))
                best, weakest = (reached.max(), reached.min()) if there else (np.nan, np.nan)
                status = BEATS if there else UNREACHABLE
                of_units.append(
                    {
                        **key,
                        **{name: known[name] for name in ("layer_type", "layer_index", "depth")},
                        "status": (statuses or {}).get((model, layer, unit, side), status),
                        "median": 0.0,
                        "extreme": sign,
                        "best": sign * best,
                        "weakest": sign * weakest,
                        "ratio_best": best,
                        "ratio_weakest": weakest,
                        "kept_after_shift": 0.9 if there else np.nan,
                        "start": 0.01,
                        "gradient": float(there),
                        "weight": 0.0,
                        "passes": 1,
                        "stop_ratio": np.nan,
                        "alike": 0.1,
                        "position_bound": False,
                        "in_imi": 1,
                    }
                )
    write_made(
        folder,
        rows,
        pixels,
        of_units,
        manifest=images.digest,
        n_natural=len(images),
        left_out=[],
        failures=[],
        note={"settings": {"n_images": n_images, "n_sets": n_sets}, "made_on": ["drawn"]},
    )
    return folder
