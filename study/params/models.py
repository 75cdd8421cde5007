"""Parameters of the networks."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.fields import filled, number, one_of


@dataclass(frozen=True, kw_only=True)
class A3:
    """What may be changed of the recipe A3; the defaults of `studies` are the published ones.

    learning_rate   peak for a batch of 2,048 images; it scales with the batch
    held_out        share of the images that are not trained on: accuracy is measured on them
    first_epoch     weights of the first epoch are kept at steps 1, r, r^2, ... with this r; 0: at none of them
    every           epochs from one checkpoint to the next
    """

    epochs: int = number(1, 10_000)
    warmup_epochs: int = number(0)
    batch_size: int = number(2)
    learning_rate: float = number(above=0)
    train_size: int = number(16, 1024)
    test_size: int = number(16, 1024)
    held_out: float = number(0, 0.5)
    first_epoch: int = number(0)
    every: int = number(1)


@dataclass(frozen=True, kw_only=True)
class Training:
    """Networks trained inside the pipeline: by one cycle on generated scenes, or by a recipe on the images and their labels."""

    epochs: int = number(1, 1000)
    batch_size: int = number(1)
    learning_rate: float = number(above=0)
    n_validation: int = number(1)
    n_encoder: int = number(1)
    recipe: str = one_of("one_cycle", "a3")
    a3: A3

    @property
    def by_recipe(self) -> bool:
        """Whether studied networks learn the images of the study by their labels."""
        return self.recipe == "a3"


@dataclass(frozen=True, kw_only=True)
class Models:
    """The roster and what may be wrong with it."""

    roster: str = filled()
    max_failed: float = number(0, 1)
    training: Training
