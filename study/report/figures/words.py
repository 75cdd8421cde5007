"""Words that several figures share."""

from __future__ import annotations

# easy, medium, hard, very hard in the words of the IMI paper
LEVELS = (
    "natural",
    "hard99",
    "hard95",
    "hard85",
    "synthetic",
    "hard99_synthetic",
    "hard95_synthetic",
    "hard85_synthetic",
)
_WORDS = {"natural": "natural", "hard99": "hard99 (medium)", "hard95": "hard95 (hard)", "hard85": "hard85 (very hard)"}


def task_words(condition: str) -> str:
    return _WORDS.get(condition, condition_words(condition))


def condition_order(condition: str) -> tuple[int, str]:
    return (LEVELS.index(condition) if condition in LEVELS else len(LEVELS), condition)


HIS = ("his_mean", "his_low", "his_high")
SYNTHETIC = "synthetic"


def condition_words(condition: str) -> str:
    """`hard95_synthetic` -> `hard95, synthetic`."""
    return condition.replace("_", ", ")


NO_HUMAN = "No figure: this study has no human answers."
NO_SYNTHETIC = "No figure: nobody was asked about synthetic explanations."
