"""How well can people understand a unit of a vision network? Arrays and tables in, arrays and tables out.

    import interpretability as it

Scores      score_units (from arrays), score_network (from a torch network and images)
Texts       score_texts (from arrays: what a text says of a unit, by correlation)
No labels   whole_range, monosemanticity, interpretability_index (from arrays), MonosemanticitySums (from batches)
People      human_scores, compare_with_people, noise_ceiling, fit_slope, judged_pairs
Training    soft_mis, shares (a score with a gradient, of torch tensors), decorrelation, participation (what to watch with it)
Pictures    visualise (pictures made to excite units of a torch network, and to keep them quiet)
Directions  Code, encode (latents of sparse codes at every position of a map)
Steps       find_layers, Capture, rank_images, build_tasks, hard_tasks, task_margins, unit_scores
Images      ImageFolder, similarity_names, open_similarity
Errors      InputError: an argument that does not fit, by its name, with its value and what is allowed

Names load what they need when they are first used: arrays and tables need numpy, scipy, pandas and numba; networks and images
also torch, torchvision, timm, pillow and safetensors; similarities their packages (see pyproject.toml).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interpretability.api import compare_with_people, noise_ceiling, score_network, score_units
    from interpretability.directions.codes import Code
    from interpretability.directions.encoding import encode
    from interpretability.errors import InputError
    from interpretability.explanations.text_scores import score_texts
    from interpretability.extremes.selection import rank_images
    from interpretability.images import ImageFolder
    from interpretability.label_free.index import interpretability_index
    from interpretability.label_free.monosemanticity import MonosemanticitySums, monosemanticity
    from interpretability.label_free.whole_range import whole_range
    from interpretability.mis import unit_scores
    from interpretability.networks.capture import Capture
    from interpretability.networks.layers import find_layers
    from interpretability.people.calibration import fit_slope
    from interpretability.people.human_scores import human_scores
    from interpretability.people.judged_pairs import judged_pairs
    from interpretability.similarity.arrays import task_margins
    from interpretability.similarity.registry import open_similarity, similarity_names
    from interpretability.soft import decorrelation, participation, shares, soft_mis
    from interpretability.tasks.hard import hard_tasks
    from interpretability.tasks.natural import build_tasks
    from interpretability.visualisations.visualise import visualise

__all__ = [
    "Capture",
    "Code",
    "ImageFolder",
    "InputError",
    "MonosemanticitySums",
    "build_tasks",
    "compare_with_people",
    "decorrelation",
    "encode",
    "find_layers",
    "fit_slope",
    "hard_tasks",
    "human_scores",
    "interpretability_index",
    "judged_pairs",
    "monosemanticity",
    "noise_ceiling",
    "open_similarity",
    "participation",
    "rank_images",
    "score_network",
    "score_texts",
    "score_units",
    "shares",
    "similarity_names",
    "soft_mis",
    "task_margins",
    "unit_scores",
    "visualise",
    "whole_range",
]

# Text, not imports: whoever imports one module of the library depends on this file, and through it on no other.
_HOMES = {
    "Capture": "networks.capture",
    "Code": "directions.codes",
    "ImageFolder": "images",
    "InputError": "errors",
    "MonosemanticitySums": "label_free.monosemanticity",
    "build_tasks": "tasks.natural",
    "compare_with_people": "api",
    "decorrelation": "soft",
    "encode": "directions.encoding",
    "find_layers": "networks.layers",
    "fit_slope": "people.calibration",
    "hard_tasks": "tasks.hard",
    "human_scores": "people.human_scores",
    "interpretability_index": "label_free.index",
    "monosemanticity": "label_free.monosemanticity",
    "judged_pairs": "people.judged_pairs",
    "noise_ceiling": "api",
    "open_similarity": "similarity.registry",
    "participation": "soft",
    "rank_images": "extremes.selection",
    "score_network": "api",
    "score_texts": "explanations.text_scores",
    "score_units": "api",
    "shares": "soft",
    "similarity_names": "similarity.registry",
    "soft_mis": "soft",
    "task_margins": "similarity.arrays",
    "unit_scores": "mis",
    "visualise": "visualisations.visualise",
    "whole_range": "label_free.whole_range",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        home = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{name} needs the package {error.name}, which is not installed; the extras networks and similarities of "
            "machine-interpretability bring what it lacks",
            name=error.name,
        ) from None
    value: object = getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
