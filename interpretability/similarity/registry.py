"""Similarities that solve tasks, one file a family. A new one is a file here.

The part of a similarity's name before the first dash is the file; the file's VARIANTS lists the full names, and its SIMILARITY is
the class. What a family can be told beyond the images are the keyword arguments of its class.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import pkgutil
from functools import cache
from types import ModuleType
from typing import Any

from interpretability import arguments
from interpretability.errors import InputError
from interpretability.images import Images
from interpretability.similarity import backends
from interpretability.similarity.base import Similarity
from interpretability.weights import Weights


def families() -> list[str]:
    """Names of the files that hold similarities, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(backends.__path__))


def similarity_names() -> list[str]:
    """All names that `open_similarity` takes, sorted by family.

    Needs the packages behind all similarities.

    >>> from interpretability import similarity_names
    >>> "pixel" in similarity_names(), "lpips-alex" in similarity_names()
    (True, True)
    """
    return [name for family in families() for name in _module(family).VARIANTS]


def _module(family: str) -> ModuleType:
    return importlib.import_module(f"{backends.__name__}.{family}")


def family_of(name: str, argument: str = "name") -> type[Similarity]:
    """The class behind a name. Raises InputError, listing all names, if there is none."""
    family = arguments.text(name, argument).split("-")[0]
    if family not in families() or name not in _module(family).VARIANTS:
        known = similarity_names()
        close = difflib.get_close_matches(name, known, 3)
        near = f", did you mean {' or '.join(close)}?" if close else ""
        raise arguments.wrong(
            argument,
            "names {given!r}, which is no similarity{near}; allowed: {known}",
            given=name,
            near=near,
            known=", ".join(known),
        )
    kind: type[Similarity] = _module(family).SIMILARITY
    return kind


@cache
def options_of(kind: type[Similarity]) -> tuple[str, ...]:
    """Names of the options that a family takes."""
    names = [
        name
        for base in kind.__mro__
        if "__init__" in vars(base)
        for name, parameter in inspect.signature(base.__init__).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    return tuple(dict.fromkeys(names))


def create(name: str, images: Images, *, check: bool = True, **options: Any) -> Similarity:
    """The similarity of this name with options of its family, compared with its package unless `check` is off."""
    kind = family_of(name)
    allowed = options_of(kind)
    if unknown := [option for option in options if option not in allowed]:
        raise InputError(
            "similarity {given} has no option {unknown}; it has {allowed}",
            given=name,
            unknown=unknown[0],
            allowed=", ".join(allowed),
        )
    made = kind(name, images, **options)
    if check:
        made.check()
    return made


def open_similarity(
    name: str, images: Images, *, device: str = "cpu", weights: Weights = "weights", **options: Any
) -> Similarity:
    """A similarity of images: `embed(rows)` gives embeddings (n, E), `margins(tasks, n_explanations)` margins (U, N).

    name      one of `similarity_names()`: dreamsim and its branches, lpips-alex, lpips-vgg, lpips-squeeze, dists, encoder,
              pixel, oracle, null
    images    an `ImageFolder`, or any object with len() and pixels(row) -> (H, W, 3) uint8
    device    where a network runs: cpu, cuda, cuda:1, ...
    weights   folder in which files of weights lie; what is missing there is fetched once and kept (or a function that gives
              the content of a `interpretability.weights.WeightsFile`)
    options   of its family. All: aggregation, softmax_temperature, uncut (row -> whether it is what a crop
              leaves of a picture, to be compared whole). lpips, dists: size (side in pixels of the centre crop
              that is compared, 224), whole (no border is cut off), cache_bytes (memory for kept features, 1 GiB).
              dreamsim: view (crop: the centre square; squash: the whole image), whole. encoder: network (a torch.nn.Module in
              evaluation mode), preprocessing (as for `score_network`), layer (a module's path; its pooled features if left
              out). oracle: factors. null: seed, digests

    Higher is more alike: cosines in [-1, 1] where the similarity embeds, distances with a minus otherwise. One that stands for a
    package is compared with that package's own call on test images. Raises InputError for names and options that there are
    not, for weights that are missing or do not fit, and where the package computes something else by now.

    >>> import numpy as np
    >>> from interpretability import open_similarity
    >>> class Grey:
    ...     def __len__(self):
    ...         return 3
    ...     def pixels(self, row):
    ...         return np.full((8, 8, 3), 100 * row, dtype=np.uint8)
    >>> open_similarity("pixel", Grey()).margins(np.array([[[0, 2, 0, 2]]]), n_explanations=1).tolist()
    [[2.0]]
    """
    check_images_object(images)
    shared = {"device": device, "weights": weights}
    allowed = options_of(family_of(name))
    return create(name, images, **{key: value for key, value in shared.items() if key in allowed}, **options)


def check_images_object(images: object) -> None:
    """Refuse what does not give images by row."""
    if isinstance(images, str | os.PathLike) or not (
        hasattr(images, "__len__") and callable(getattr(images, "pixels", None))
    ):
        raise arguments.wrong(
            "images",
            "is of type {kind}; it must be an ImageFolder, or an object with len() and pixels(row) -> (H, W, 3) uint8",
            kind=type(images).__name__,
        )
