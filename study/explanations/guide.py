"""The guide: a machine's probability that an image shows a concept, simulated, read, or computed, and calibrated on labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from interpretability.errors import InputError
from interpretability.explanations.guide import Calibration, fit_calibration
from interpretability.randomness import U64, combine, key64, uniforms
from study.errors import StudyError
from study.explanations.concepts import Presence
from study.explanations.images import Probing
from study.explanations.readers import LABEL, PROBABILITY, Said, read_said, row_of
from study.log import logger
from study.params.explanations import Guide

log = logger("explanations")

SIMULATED, UNCALIBRATED = "simulated: calibrated by construction", "not calibrated"


@dataclass(frozen=True)
class Guided:
    """A guide of a study.

    source  simulated | open_clip | file
    status  how its probabilities came to be ones: SIMULATED, UNCALIBRATED, or "platt on 200 gold labels"
    raw     of a concept, over the probing images (n,): probabilities, or cosines where `score`
    fit     from raw values to probabilities; None leaves them
    """

    source: str
    status: str
    raw: Callable[[str], NDArray[np.float32]]
    fit: Calibration | None = field(default=None, repr=False)

    def row(self, concept: str) -> NDArray[np.float32]:
        """Probabilities (n,) of a concept."""
        values = self.raw(concept)
        return values if self.fit is None else self.fit.apply(values).astype(np.float32)


def simulated_guide(
    presence: Presence, images: Probing, separation: float, seed: int, *, second: bool = False
) -> Guided:
    """A guide whose log odds are those of the prevalence, and d z + d^2 (c - 1/2) with z normal, keyed by concept and image.

    d is `separation`. Its probabilities are exactly those of presence given what it says. The errors z of a second guide are
    independent of those of the first.
    """
    key = "second simulated guide" if second else "simulated guide"
    least = 0.5 / len(images)

    def row(concept: str) -> NDArray[np.float32]:
        present = presence.row(concept).astype(np.float64)
        keys = combine(U64(key64("explanations", key, seed, concept)), images.rows.astype(U64))
        noise = ndtri(np.maximum(uniforms(keys), 2.0**-54))
        prior = logit(np.clip(present.mean(), least, 1 - least))
        return expit(prior + separation * (separation * present + noise) - separation**2 / 2).astype(np.float32)

    return Guided("simulated", SIMULATED, row)


def guide_of_file(folder: Path, images: Probing, paths: Sequence[str]) -> Guided:
    """Probabilities that another program computed."""
    said = read_said(folder, PROBABILITY, paths)
    if not said.texts:
        raise StudyError(
            f"explanations.guide.source is file, but {folder} holds no table; its README.md says what is in one"
        )
    return Guided("file", UNCALIBRATED, lambda concept: row_of(said, concept, images, "explanations.guide.source"))


def calibrated(
    guide: Guided, params: Guide, folder: Path, images: Probing, paths: Sequence[str], *, score: bool
) -> Guided:
    """The guide with its values fitted to gold labels, where parameters say so.

    score: its values are cosines, which are no probabilities before they are fitted. Gold of images that are not looked at is
    left out, and counted in the log.
    """
    if params.calibration == "none":
        if score:
            raise StudyError(
                f"{params.key}.model is {params.model}, which gives cosines and no probabilities; set "
                f"{params.key}.calibration to platt and put labels into {folder}, or take a SigLIP model"
            )
        return guide
    gold = read_said(folder, LABEL, paths)
    if not gold.texts:
        raise StudyError(
            f"{params.key}.calibration is {params.calibration}, but {folder} holds no labels; put some there, or set it to "
            "none"
        )
    values, labels, weights = _at_gold(guide, gold, images)
    try:
        fit = fit_calibration(
            values, labels, method=params.calibration, of="score" if score else "probability", weights=weights
        )
    except InputError as error:
        raise StudyError(f"the guide cannot be calibrated on the {len(labels)} labels in {folder}: {error}") from None
    few = ", few of one kind" if fit.few else ""
    log.info(
        "guide calibrated by %s on %d labels (%d present%s): log loss %.3g, before %.3g",
        *(params.calibration, len(labels), fit.n_present, few, fit.loss_after, fit.loss_before),
    )
    status = f"{params.calibration} on {len(labels)} gold labels"
    return Guided(guide.source, status, guide.raw, fit)


def _at_gold(
    guide: Guided, gold: Said, images: Probing
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Values of the guide where labels are known, these labels and their weights."""
    values = np.full(len(gold.value), np.nan)
    place = images.places(gold.image)
    for number, text in enumerate(gold.texts):
        rows = np.flatnonzero((gold.text == number) & (place >= 0))
        if len(rows):
            values[rows] = guide.raw(text)[place[rows]]
    used = place >= 0
    if left := int((~used).sum()):
        log.warning("%s: %d labels are of images that are not looked at and do not count", gold.folder, left)
    return values[used], gold.value[used], gold.weight[used]
