"""How sure simulated people say they are: 1 (low) to 3 (high), from the evidence behind each answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

# Strength of evidence from which people say 2 and 3. Chosen so that about a tenth of the answers to easy tasks have 1 and almost
# two thirds 3, as in the IMI experiments (ResNet-50, natural: 241, 688 and 1,591 of 2,520).
_CRITERIA = (0.25, 1.1)
_SPREAD = 0.3  # standard deviation, between people, of the logarithm of a factor on their criteria


def confidences(
    correct: NDArray[np.bool_],
    evidence: NDArray[np.float64],
    lapse: NDArray[np.float64],
    person: NDArray[np.integer],
    draw: np.random.Generator,
) -> NDArray[np.int8]:
    """Confidence in answers that were given, 1 to 3 (all arrays: (answers,), a row an answer).

    `evidence`: the person's slope times the margin of the task, positive for the right answer; `lapse`: the person's share of
    guesses; `person`: whose answer it is, from 0. What a person sees is the evidence and logistic noise; it is drawn anew
    here, given that its sign led to the answer `correct`. How far it is from zero says how sure the person is, by criteria of
    their own. Who guesses says 1. So more confident answers are right more often, and nothing is drawn that would change them.
    """
    attending = expit(evidence)
    guesses, right = lapse / 2, lapse / 2 + (1 - lapse) * attending
    guessed = draw.random(len(correct)) * np.where(correct, right, 1 - right) < guesses
    toward = np.where(correct, evidence, -np.asarray(evidence))  # evidence for the answer that was given
    strength = toward - logit(draw.random(len(correct)) * expit(toward))
    scale = np.exp(_SPREAD * draw.standard_normal(int(person.max()) + 1))[person] if len(person) else np.empty(0)
    sure = 1 + sum((strength > criterion * scale).astype(np.int8) for criterion in _CRITERIA)
    return np.where(guessed, 1, sure).astype(np.int8)
