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
from study.params.explanations import Guide

EXACT, GUIDE = "factors", "guide"  # sources of presence: the truth, and a machine


@dataclass(frozen=True)
class Judges:
    """What says where concepts are: presence and guides (None where there is none), and what texts are made from."""

    presence: Presence | None
    guide: Guided | None
    second: Guided | None
    vocabulary: list[str]


def judges(inputs: Inputs, given: Texts) -> Judges:
    """Presence and guide as parameters name them, for the concepts of texts and those that texts are made from."""
    presence, vocabulary, needed = _asked(inputs, given)
    settings = inputs.params.explanations
    found, second = (_guide(inputs, each, presence, needed) for each in (settings.guide, settings.second_guide))
    if settings.presence == GUIDE:
        if found is None:
            raise StudyError("explanations.presence is guide, but explanations.guide.source is none; name a guide")
        presence = OfGuide(found.row, vocabulary)
    return Judges(presence, found, second, vocabulary)


def forecast(inputs: Inputs) -> str:
    """What guides would compute, how long and how large, in words."""
    given, texts = Texts.of(inputs.given, FOLDER), inputs.params.explanations
    _, _, needed = _asked(inputs, given)
    embedding = [each for each in (texts.guide, texts.second_guide) if each.source == "open_clip"]
    if not embedding:
        return f"explanations.guide.source is {texts.guide.source}, so nothing is embedded; the stage takes seconds"
    from study.explanations import clip_guide

    return "\n".join(
        clip_guide.forecast(each, inputs.images, inputs.probing, _with_gold(inputs, each, needed)) for each in embedding
    )


def _asked(inputs: Inputs, given: Texts) -> tuple[Presence | None, list[str], list[str]]:
    """What says where concepts are, but for a guide; the concepts that texts are made from; and those that guides must know,
    which any of the former may be, as texts are made of them."""
    settings, images, probing = inputs.params.explanations, inputs.images, inputs.probing
    source, makes = settings.presence, bool(settings.make and settings.units)
    superclasses = read_csv(inputs.args.texts / "superclasses.csv", text=["label", "superclass"])
    presence = concepts.known_presence(source, images, probing, superclasses, inputs.args.presence)
    vocabulary: list[str] = []
    if presence is not None:
        given.refuse_unknown(presence, source, FOLDER)
        vocabulary = concepts.vocabulary_of(presence, inputs.listed, source)
    elif makes and source == GUIDE:
        vocabulary = inputs.listed or _vocabulary_of_guide(inputs, superclasses)
    return presence, vocabulary, sorted({*(vocabulary if makes else []), *given.concepts()})


def _vocabulary_of_guide(inputs: Inputs, superclasses: pd.DataFrame) -> list[str]:
    """Concepts that a guide is asked about where no list names them: those of factors, else all labels."""
    if inputs.images.factors is not None:
        return sorted(predicates.simple_texts())
    labels = inputs.images.manifest["label"]
    if (labels == "").all():
        raise StudyError(
            "explanations.make makes texts from concepts, but the pictures have no labels and explanations.concepts "
            f"names no list; name one in {FOLDER}"
        )
    return list(concepts.OfLabels.of(labels.tolist(), superclasses).vocabulary)


def _with_gold(inputs: Inputs, settings: Guide, needed: Sequence[str]) -> list[str]:
    """Concepts that a guide must know, with those of labels that it is calibrated on."""
    if settings.calibration == "none":
        return list(needed)
    return sorted({*needed, *read_said(inputs.args.gold, LABEL, inputs.images.columns["path"]).texts})


def _guide(inputs: Inputs, settings: Guide, presence: Presence | None, needed: Sequence[str]) -> Guided | None:
    texts, probing = inputs.params.explanations, inputs.probing
    paths = inputs.images.columns["path"]
    if settings.source == "none":
        return None
    if settings.source == "simulated":
        if presence is None or texts.presence != EXACT:
            raise StudyError(
                f"{settings.key}.source is simulated, which needs exact presence: explanations.presence factors, of generated "
                "scenes; name another source, or none"
            )
        second = settings is texts.second_guide
        return guide.simulated_guide(presence, probing, settings.separation, inputs.params.seed, second=second)
    score = False
    if settings.source == "file":
        found = guide.guide_of_file(inputs.args.guide, probing, paths)
    else:
        from study.explanations import clip_guide

        found, score = clip_guide.guide_of_clip(settings, inputs.images, probing, _with_gold(inputs, settings, needed))
    return guide.calibrated(found, settings, inputs.args.gold, probing, paths, score=score)
