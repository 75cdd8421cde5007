"""Similarities of all pairs of images, where that is the shorter way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from study.files.chunks import rows_key
from study.files.store import WorkStore
from study.log import Progress, logger
from study.solving.embeddings import Prepared, SimilarityJob, embedding_ingredients, images_to_prepare
from study.solving.opening import SimilarityPlan, similarity_and_images
from study.workers.jobs import run_all_or_stop

log = logger("embedding")


@dataclass(frozen=True)
class PairJob(SimilarityJob):
    """File of the similarities of the images from `first` to before `last` with all later ones of `rows`."""

    rows: NDArray[np.int32]
    first: int
    last: int

    @property
    def name(self) -> str:
        return f"images {self.first} to {self.last - 1} with those after them"

    @property
    def size(self) -> float:
        return (self.last - self.first) * (len(self.rows) - self.first)

    def run(self) -> Path:
        key = {**self.ingredients, "first": self.first, "last": self.last}
        return self.store.fetch("pairs", key, ".npy", self._write)

    def _write(self, path: Path) -> None:
        similarity, _ = similarity_and_images(self.plan)
        what = f"{self.plan.name}: pairs of images {self.first} to {self.last - 1}"
        progress = Progress(log, self.size, what, every=20)
        with open(path, "wb") as file:
            np.save(file, similarity.pair_stripe(self.rows, self.first, self.last, progress.step))


def pair_table(plan: SimilarityPlan, store: WorkStore, used: NDArray[np.int32], n_tasks: int) -> Prepared | None:
    """Similarities of all pairs of images, or of the `used` ones, where the tasks are many for them; None otherwise.

    Work is kept stripe by stripe, as many images as features fit into memory: a kill costs at most one in each worker.
    """
    from interpretability.similarity import features

    similarity, images = similarity_and_images(plan)
    rows, chosen = images_to_prepare(similarity.runs_network, len(images), used)
    if not (similarity.pairs and features.pairs_pay(len(rows), n_tasks)):
        return None
    added = {"pairs": features.PAIR_VERSION, **rows_key(rows)}
    ingredients = embedding_ingredients(plan) | added

    def make(path: Path) -> None:
        # those that compare pairs have it
        step: int = similarity.stripe  # pyright: ignore[reportAttributeAccessIssue]
        n = len(rows)
        jobs = [PairJob(plan, store, ingredients, rows, first, min(first + step, n)) for first in range(0, n, step)]
        table = np.zeros((n, n), dtype=np.float32)

        def fill(job: PairJob, stripe: Path) -> None:
            table[job.first : job.last, job.first :] = np.load(stripe)

        run_all_or_stop(jobs, f"backend {plan.name}, pairs", log, each=fill)
        with open(path, "wb") as file:
            np.save(file, features.mirrored(table))

    return Prepared(store.fetch("pairs", {**ingredients, "joined": 1}, ".npy", make), chosen, added)
