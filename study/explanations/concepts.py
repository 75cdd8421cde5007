"""Which concepts a study knows, and what says whether an image shows one: factors, labels, a file, or a guide."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.errors import InputError
from interpretability.synthetic import predicates
from study.errors import StudyError
from study.explanations.images import Probing
from study.explanations.readers import PROBABILITY, Said, read_said, row_of
from study.files.casts import phrase_of
from study.images.manifest import ImageSet

Row = Callable[[str], NDArray[np.float32]]


class Presence(Protocol):
    """What says of a concept in which images it is."""

    @property
    def vocabulary(self) -> Sequence[str]:
        """The concepts that texts are made from, unless a list names others."""
        ...

    def row(self, concept: str) -> NDArray[np.float32]:
        """Presence (n,) of a concept in the probing images, in [0, 1]."""
        ...

    def problem(self, concept: str) -> str:
        """Why nothing is known of a concept; empty where it is known."""
        ...


@dataclass(frozen=True)
class OfFactors:
    """Exact presence in generated scenes."""

    factors: pd.DataFrame
    vocabulary: Sequence[str] = predicates.simple_texts()

    def row(self, concept: str) -> NDArray[np.float32]:
        return predicates.presence(concept, self.factors).astype(np.float32)

    def problem(self, concept: str) -> str:
        try:
            predicates.presence(concept, self.factors.iloc[:0])
        except InputError as error:
            return str(error)
        return ""


@dataclass(frozen=True)
class OfLabels:
    """Labels of pictures, and the superclasses of these: a concept is present where the label is it or belongs to it."""

    codes: NDArray[np.int64]
    labels: Sequence[str]
    members: Mapping[str, NDArray[np.bool_]]  # labels of each concept

    @classmethod
    def of(cls, labels: Sequence[str], superclasses: pd.DataFrame) -> OfLabels:
        """`labels` of the probing images; `superclasses` (label, superclass), in which a superclass may belong to others."""
        codes, found = pd.factorize(np.array([phrase_of(label) for label in labels], dtype=object), sort=True)
        names = list(map(str, found))
        above: dict[str, set[str]] = {}
        for label, superclass in superclasses.itertuples(index=False):
            above.setdefault(label, set()).add(superclass)
        members: dict[str, NDArray[np.bool_]] = {}
        for place, name in enumerate(names):
            for concept in (
                _closure(name, above) if name else ()
            ):  # a picture outside of all folders shows nothing known
                members.setdefault(concept, np.zeros(len(names), dtype=bool))[place] = True
        return cls(codes.astype(np.int64), names, members)

    @property
    def vocabulary(self) -> Sequence[str]:
        return sorted(self.members)

    def row(self, concept: str) -> NDArray[np.float32]:
        return self.members[concept][self.codes].astype(np.float32)

    def problem(self, concept: str) -> str:
        return "" if concept in self.members else f"{concept!r} is no label of the pictures and no superclass of one"


def _closure(name: str, above: Mapping[str, set[str]]) -> set[str]:
    """A label and all that it belongs to, also by way of others."""
    found, waiting = {name}, [name]
    while waiting:
        new = above.get(waiting.pop(), set()) - found
        found |= new
        waiting.extend(new)
    return found


@dataclass(frozen=True)
class OfFile:
    """Presence that another program computed."""

    said: Said
    images: Probing

    @property
    def vocabulary(self) -> Sequence[str]:
        return self.said.texts

    def row(self, concept: str) -> NDArray[np.float32]:
        return row_of(self.said, concept, self.images, "explanations.presence")

    def problem(self, concept: str) -> str:
        return "" if concept in self.said.texts else f"{self.said.folder} has no row of {concept!r}"


@dataclass(frozen=True)
class OfGuide:
    """Probabilities of the guide stand for presence; it can say something of every concept."""

    of_guide: Row
    vocabulary: Sequence[str]

    def row(self, concept: str) -> NDArray[np.float32]:
        return self.of_guide(concept)

    def problem(self, concept: str) -> str:
        return ""


def known_presence(
    source: str, images: ImageSet, probing: Probing, superclasses: pd.DataFrame, folder: Path
) -> Presence | None:
    """What says where concepts are; None where that is a guide, which is built from the concepts first, and for none."""
    if source == "factors":
        if images.factors is None:
            raise StudyError(
                "explanations.presence is factors, but the images are photographs, which have none; allowed here are "
                "none, labels, guide and file"
            )
        return OfFactors(images.factors.iloc[probing.rows].reset_index(drop=True))
    if source == "labels":
        labels = images.manifest["label"].iloc[probing.rows]
        if (labels == "").all():
            raise StudyError(
                "explanations.presence is labels, but no picture has a label (the folder that holds it); allowed here are none, "
                "guide and file"
            )
        return OfLabels.of(labels.tolist(), superclasses)
    if source == "file":
        said = read_said(folder, PROBABILITY, images.columns["path"])
        if not said.texts:
            raise StudyError(
                f"explanations.presence is file, but {folder} holds no table; its README.md says what is in one"
            )
        return OfFile(said, probing)
    return None


def vocabulary_of(presence: Presence, listed: Sequence[str], source: str) -> list[str]:
    """Concepts that texts are made from, sorted: those of a list, else all that are known."""
    for concept in listed:
        if problem := presence.problem(concept):
            raise StudyError(
                f"the list that explanations.concepts names holds {concept!r}, and explanations.presence is {source}: {problem}"
                + meant(concept, presence.vocabulary)
            )
    return sorted(listed or presence.vocabulary)


def meant(concept: str, known: Sequence[str]) -> str:
    """The known concepts that look most like another one, in words."""
    close = difflib.get_close_matches(concept, known, n=3)
    return f" (did you mean {', '.join(map(repr, close))}?)" if close else ""
