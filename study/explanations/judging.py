"""What says where concepts are in a study: presence, a guide, and the concepts that texts are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from interpretability.synthetic import predicates
from study.errors import StudyError
from study.explanations import concepts, guide
from study.explanations.concepts import OfGuide, Presence
from study.explanations.guide import Guided
from study.explanations.inputs import FOLDER, Inputs
from study.explanations.readers import LABEL, read_said
from study.explanations.texts import Texts
from study.files.tables import read_csv

EXACT = "factors"  # the source of presence that is the truth


@dataclass(frozen=True)
class Judges:
    """What says where concepts are: presence and guide (None where there is none), and what texts are made from."""

    presence: Presence | None
    guide: Guided | None
    vocabulary: list[str]


def judges(inputs: Inputs, given: Texts) -> Judges:
    """Presence and guide as parameters name them, for the concepts of texts and those that texts are made from."""
    settings, images, probing = inputs.params.explanations, inputs.images, inputs.probing
    source, paths = settings.presence, images.columns["path"]
    superclasses = read_csv(inputs.args.texts / "superclasses.csv", text=["label", "superclass"])
    presence = concepts.known_presence(source, images, probing, superclasses, inputs.args.presence)
    if presence is not None:
        given.refuse_unknown(presence, source, FOLDER)
        vocabulary = concepts.vocabulary_of(presence, inputs.listed, source)
    else:
        vocabulary = inputs.listed or (
            _vocabulary_of_guide(inputs, superclasses) if settings.make and source == "guide" else []
        )
    found = _guide(inputs, presence, sorted({*vocabulary, *given.concepts()}), paths)
    if source == "guide":
        if found is None:
            raise StudyError("explanations.presence is guide, but explanations.guide.source is none; name a guide")
        presence = OfGuide(found.row, vocabulary)
    return Judges(presence, found, vocabulary)


def _vocabulary_of_guide(inputs: Inputs, superclasses: pd.DataFrame) -> list[str]:
    """Concepts that a guide is asked about where no list names them: those of factors, else all labels."""
    if inputs.images.factors is not None:
        return sorted(predicates.simple_texts())
    labels = inputs.images.manifest["label"]
    if (labels == "").all():
        raise StudyError(
            "explanations.make makes texts from concepts, but the pictures have no labels and explanations.concepts names no list; "
            f"name one in {FOLDER}"
        )
    return list(concepts.OfLabels.of(labels.tolist(), superclasses).vocabulary)


def _guide(inputs: Inputs, presence: Presence | None, needed: Sequence[str], paths: Sequence[str]) -> Guided | None:
    settings, probing = inputs.params.explanations.guide, inputs.probing
    if settings.source == "none":
        return None
    if settings.source == "simulated":
        if presence is None or inputs.params.explanations.presence != EXACT:
            raise StudyError(
                "explanations.guide.source is simulated, which needs exact presence: explanations.presence factors, of generated "
                "scenes; allowed here are none, open_clip and file"
            )
        return guide.simulated_guide(presence, probing, settings.separation, inputs.params.seed)
    score = False
    if settings.source == "file":
        found = guide.guide_of_file(inputs.args.guide, probing, paths)
    else:
        from study.explanations import clip_guide

        gold = read_said(inputs.args.gold, LABEL, paths).texts if settings.calibration != "none" else ()
        found, score = clip_guide.guide_of_clip(settings, inputs.images, probing, sorted({*needed, *gold}))
    return guide.calibrated(found, settings, inputs.args.gold, probing, paths, score=score)
