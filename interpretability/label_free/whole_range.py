"""How well a unit's explanations say what it does over its whole range, not only at the ends: the call from arrays."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.casts import narrowed
from interpretability.extremes.selection import rank_images
from interpretability.label_free.predictions import predictions
from interpretability.label_free.range_scores import heavy_rows, range_scores
from interpretability.randomness import combine, key64, unit_keys
from interpretability.similarity.arrays import length_one
from interpretability.tasks import rules

# Random images that predictions are held against, common to all units: scores at 400 order units as all images do (.95 and more).
N_RANGE = 400
_SCORES = ["rho", "se", "low", "high", "spearman", "spearman_se"]


def whole_range(
    activations: NDArray[np.floating],
    embeddings: NDArray[np.floating],
    *,
    n_images: int = N_RANGE,
    n_tasks: int = 20,
    n_explanations: int = 9,
    confidence: float = 0.95,
    seed: int = 0,
    model: str = "network",
    layer: str = "layer",
    threads: int | None = None,
) -> pd.DataFrame:
    """Correlation over random images of what a unit's explanations predict with what the unit does, from arrays.

    activations     (D, U): values of D images and U units, finite; taken as float32
    embeddings      (D, E): of the same images, whose cosines say how alike they are; lengths of rows do not matter
    n_images        random images, 3 to D, the same for every unit; `probe_rows` draws them
    n_tasks         N; n_explanations: K. As in tasks, the N K most and the N K least exciting images explain; D >= 2 N (K + 1)
    confidence      of the intervals
    seed            of the random images; with model and layer it also orders images of equal value, as for `score_units`
    threads         all cores by default; no result depends on it

    An image q is predicted to excite by s(q, E+) - s(q, E-), its mean cosine with the most exciting images less that with the
    least exciting ones; a random image that explains leaves itself out. Returns a row a unit, in order: model, layer, unit,
    rho (Pearson correlation of predictions and values, -1 to 1; 0 is chance), se, low, high, spearman, spearman_se, n_range,
    heavy_tails, constant. Errors are for the images as a sample of a population. Scores are NaN for a constant unit
    (`score_units`) and for one that is constant over the random images. A unit whose values have heavy tails over all images
    (`range_scores.heavy_tails`) has no se, low and high, which no sample would hold; its spearman_se is right. Pictures are the
    explanation here; of texts `score_texts` says the same. In a trained network it orders units nearly as MIS does; it is there
    for units whose middle does not follow their ends. Raises InputError for other shapes, values that are not finite and too few
    images.
    Departure: the papers score the ends alone; this score is ours.

    >>> import numpy as np
    >>> from interpretability import whole_range
    >>> draw = np.random.default_rng(0)
    >>> embeddings = draw.standard_normal((2000, 4))
    >>> activations = np.stack([embeddings[:, 0], draw.standard_normal(2000), np.zeros(2000)], axis=1)
    >>> whole_range(activations, embeddings, model="mine", layer="layer4")["rho"].round(2).tolist()
    [0.94, -0.06, nan]
    """
    values = arguments.array(activations, "activations", ("images", "units"))
    rows = arguments.array(embeddings, "embeddings", ("images", "dimensions"))
    arguments.same_images(len(values), len(rows), ("activations", "embeddings"))
    size = arguments.count(n_tasks, "n_tasks"), arguments.count(n_explanations, "n_explanations")
    explained = arguments.count(size[0] * size[1], "n_tasks times n_explanations", 2)
    rules.check_images(len(values), *size)
    seed = arguments.count(seed, "seed", 0)
    probes = probe_rows(np.arange(len(values)), arguments.count(n_images, "n_images", 3, len(values)), seed)
    workers = arguments.threads(threads)
    units = np.arange(values.shape[1])
    keys = unit_keys(seed, arguments.text(model, "model"), arguments.text(layer, "layer"), units)
    rows = length_one(rows, workers)
    ranked = rank_images(values, rules.needed(*size), keys, threads=workers)
    constant, _ = rules.constant(ranked.bottom_values[:, 0], ranked.top_values[:, 0])
    predicted = predictions(
        rows, probes, ranked.top_images[:, :explained], ranked.bottom_images[:, :explained], threads=workers
    )
    heavy = heavy_rows(values.T)
    found = range_scores(predicted, narrowed(values[probes].T, np.float32, "activations"), confidence, heavy)
    table = pd.DataFrame({"model": model, "layer": layer, "unit": units})
    for name in _SCORES:
        table[name] = np.where(constant, np.nan, getattr(found, name))
    return table.assign(n_range=len(probes), heavy_tails=heavy & ~constant, constant=constant)


def probe_rows(images: NDArray[np.integer], n_images: int, seed: int) -> NDArray[np.int64]:
    """Places, in rising order, of the n_images of these image ids (D,) that a keyed draw takes: an id is as likely as any other.

    Which of two ids comes first depends on the seed and the two alone, so that a larger draw holds a smaller one.
    """
    keys = combine(np.uint64(key64("whole range", seed)), np.asarray(images).astype(np.uint64))
    return np.sort(np.argsort(keys, kind="stable")[:n_images])
