"""Names and sizes of the worlds in which scores from ratings are tried; parameters are checked by them before numpy loads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """How large a world is by itself, from which to which prevalence its concepts go, and how sharp its guides are."""

    n_images: int
    n_units: int
    prevalence: tuple[float, float]
    separation: tuple[float, float]


# RCE of the guide alone (kind `good`): base about .36, rare .16, imagenet_like .32, embedded_like .25, mixed_guides .31. The
# paper's guide alone has .32 (section 4), on concepts that are classes and superclasses of ImageNet.
SETTINGS = {
    "base": Setting(10_000, 60, (0.005, 0.2), (1.5, 3.5)),
    "rare": Setting(50_000, 24, (0.001, 0.02), (3.5, 4.5)),  # about as rare as classes of ImageNet
    "imagenet_like": Setting(50_000, 48, (0.001, 0.1), (2.2, 3.9)),  # classes and superclasses of ImageNet
    "embedded_like": Setting(4_000, 40, (0.015, 0.2), (2.0, 3.5)),
    "mixed_guides": Setting(4_000, 40, (0.015, 0.2), (1.5, 3.5)),
}
WORLDS = tuple(SETTINGS)
LEAST_IMAGES = 20
GUIDES = {
    "good": "calibrated",
    "mediocre": "calibrated, separation 1",
    "overconfident": "good, with logits doubled",
    "shifted": "good, with logits shifted by a normal number of standard deviation 1 a unit",
    "random": "good, but for another concept as frequent",
    "blind": "good, but a quarter of the positives look as if they were none",
    "leak": "good, and the unit's noise has a share of the guide's error",
    "broad": "the concept is a random quarter of what unit and guide (calibrated for that, separation 2) respond to",
}
