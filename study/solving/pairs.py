"""Similarities of all pairs of images, where that is the shorter way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.errors import StudyError
from study.files.store import WorkStore
from study.log import Progress, logger
from study.solving.embeddings import Prepared, embedding_ingredients, images_to_prepare, rows_key
from study.solving.opening import SimilarityPlan, opened
from study.workers.device import Failure
from study.workers.jobs import run_jobs

log = logger("embedding")


@dataclass(frozen=True)
class _Stripe:
    """Images whose similarities with all later ones are found by one job."""

    plan: SimilarityPlan
    store: WorkStore
    ingredients: dict[str, Any]
    rows: NDArray[np.int32]
    first: int
    last: int


def _compare(stripe: _Stripe) -> Path:
    similarity, _ = opened(stripe.plan)

    def make(path: Path) -> None:
        first, last, n = stripe.first, stripe.last, len(stripe.rows)
        what = f"{stripe.plan.name}: pairs of images {first} to {last - 1}"
        progress = Progress(log, (last - first) * (n - first), what, every=20)
        with open(path, "wb") as file:
            np.save(file, similarity.pair_stripe(stripe.rows, first, last, progress.step))

    key = {**stripe.ingredients, "first": stripe.first, "last": stripe.last}
    return stripe.store.fetch("pairs", key, ".npy", make)


def pair_table(plan: SimilarityPlan, store: WorkStore, used: NDArray[np.int32], n_tasks: int) -> Prepared | None:
    """Similarities of all pairs of images, or of the `used` ones, where the tasks are many for them; None otherwise.

    Work is kept stripe by stripe, as many images as features fit into memory: a kill costs at most one in each worker.
    """
    from interpretability.similarity import features

    similarity, images = opened(plan)
    rows, chosen = images_to_prepare(similarity.runs_network, len(images), used)
    if not (similarity.pairs and features.pairs_pay(len(rows), n_tasks)):
        return None
    added = {"pairs": features.PAIR_VERSION, **rows_key(rows)}
    ingredients = embedding_ingredients(plan) | added

    def make(path: Path) -> None:
        step, n = similarity.stripe, len(rows)
        jobs = [_Stripe(plan, store, ingredients, rows, first, min(first + step, n)) for first in range(0, n, step)]
        names = [f"images {job.first} to {job.last - 1} with those after them" for job in jobs]
        progress = Progress(log, sum((job.last - job.first) * (n - job.first) for job in jobs), f"{plan.name}: pairs")
        table = np.zeros((n, n), dtype=np.float32)
        for place, result in run_jobs(_compare, jobs, names):
            if isinstance(result, Failure):
                raise StudyError(f"backend {plan.name}: {result.reason}")
            first, last = jobs[place].first, jobs[place].last
            table[first:last, first:] = np.load(result)
            progress.step((last - first) * (n - first))
        with open(path, "wb") as file:
            np.save(file, features.mirrored(table))

    return Prepared(store.fetch("pairs", {**ingredients, "joined": 1}, ".npy", make), chosen, added)
