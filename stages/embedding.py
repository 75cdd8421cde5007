"""Opening a similarity of the study, with every image embedded once for all networks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.errors import StudyError
from stages.loading import load_network
from stages.pipeline import networks
from stages.pipeline.log import Progress, logger
from stages.pipeline.params import Params
from stages.pipeline.pictures import ImageSet, open_images
from stages.pipeline.store import WorkStore
from stages.pipeline.workers import Failure, device, run_jobs

log = logger("embedding")
_EMBED_CHUNK = 500  # images embedded by one job: a kill costs at most these


@dataclass(frozen=True)
class SimilarityPlan:
    """Everything needed to open a similarity in any process."""

    name: str
    images: Path
    root: str
    models: Path
    code: Path
    seed: int
    encoder_model: str
    encoder_layer: str

    def open(self, images: ImageSet | None = None) -> Any:
        """The `Similarity`, on the device of this process."""
        from stages.science import similarity
        from stages.science.similarity.base import Context

        images = images or open_images(self.images, self.root)

        def network(name: str) -> Any:
            roster = networks.read_roster(self.models / "roster.csv")
            rows = roster[roster["name"] == name].to_dict("records")
            if not rows:
                known = ", ".join(roster["name"][~roster["constructor"].str.startswith("control:")])
                raise StudyError(
                    f"scores.encoder.model is {name!r}, which is not among the networks that could be loaded: {known} "
                    "(see data/models/failures.csv)"
                )
            return load_network(rows[0], self.models, self.code, self.seed)

        context = Context(
            seed=self.seed, pixels=images.pixels, digests=lambda: images.manifest["digest"].tolist(),
            factors=lambda: images.factors, network=network, device=device(),
            encoder_model=self.encoder_model, encoder_layer=self.encoder_layer,
        )  # fmt: skip
        return similarity.create(self.name, context)

    @classmethod
    def from_params(cls, name: str, params: Params, images: Path, models: Path, code: Path) -> SimilarityPlan:
        encoder = params.scores.encoder
        return cls(name, images, params.images.root, models, code, params.seed, encoder.model, encoder.layer)


@cache
def opened(plan: SimilarityPlan) -> tuple[Any, ImageSet]:
    """The similarity of a plan and its pictures, once a process."""
    images = open_images(plan.images, plan.root)
    return plan.open(images), images


def embedding_ingredients(plan: SimilarityPlan) -> dict[str, Any]:
    """What determines the embeddings of all images."""
    similarity, images = opened(plan)
    return {"backend": plan.name, "images": images.digest, **similarity.ingredients()}


def _embed(job: tuple[SimilarityPlan, WorkStore, dict[str, Any], int, int]) -> Path:
    plan, store, ingredients, start, stop = job
    similarity, _ = opened(plan)

    def make(path: Path) -> None:
        from stages.science.scoring import unit_rows

        size = similarity.batch_size
        parts = [
            unit_rows(similarity.embed(np.arange(first, min(first + size, stop), dtype=np.int32)))
            for first in range(start, stop, size)
        ]
        with open(path, "wb") as file:
            np.save(file, np.concatenate(parts))

    return store.fetch("embeddings", {**ingredients, "start": start, "stop": stop}, ".npy", make)


def embeddings(plan: SimilarityPlan, store: WorkStore) -> tuple[NDArray[np.float32] | None, dict[str, Any]]:
    """Unit rows (images, D) of all images, memory-mapped from the store, and what determines them.

    Each image is embedded once; chunks found in the store are not computed again. None for a similarity that does
    not embed.
    """
    similarity, images = opened(plan)
    ingredients = embedding_ingredients(plan)
    if not similarity.embeds:
        return None, ingredients
    n = len(images)

    def make(path: Path) -> None:
        jobs = [(plan, store, ingredients, start, min(start + _EMBED_CHUNK, n)) for start in range(0, n, _EMBED_CHUNK)]
        progress = Progress(log, n, f"{plan.name}: images embedded")
        chunks: dict[int, Path] = {}
        for place, result in run_jobs(_embed, jobs, [f"images {job[3]} to {job[4]}" for job in jobs], probe=True):
            if isinstance(result, Failure):
                raise StudyError(f"backend {plan.name}: {result.reason}")
            chunks[place] = result
            progress.step(jobs[place][4] - jobs[place][3])
        _join([chunks[place] for place in range(len(jobs))], path, n)

    path = store.fetch("embeddings", {**ingredients, "start": 0, "stop": n, "joined": 1}, ".npy", make)
    return np.load(path, mmap_mode="r"), ingredients


def _join(chunks: list[Path], path: Path, n: int) -> None:
    """Write chunk files one after the other into one table, never holding more than one."""
    width = np.load(chunks[0], mmap_mode="r").shape[1]
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": (n, width)}
    # plain writes: a full disk kills a process that writes through a memory map
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in chunks:
            file.write(np.ascontiguousarray(np.load(chunk), dtype=np.float32).data)


def group_duplicates(digests: list[str]) -> NDArray[np.int64]:
    """For each picture a number that exact copies share."""
    return pd.factorize(pd.Series(digests))[0]
