"""Opening a similarity of the study in any process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from operator import le
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.environment import Environment
from study.errors import StudyError
from study.images.ahead import Ahead, decoders
from study.images.made import Pictures
from study.images.manifest import ImageSet, open_images
from study.networks.building import load_network
from study.networks.roster import read_roster, rows_of
from study.networks.similarity import encoder_model
from study.params.parts import ImageRoot
from study.params.scores import DreamSim, Encoder
from study.workers.device import device, free_device, when_moved
from study.workers.placement import workers_here

if TYPE_CHECKING:
    from interpretability.networks.network import Network
    from interpretability.similarity.base import Similarity

_CACHE_GB = 4.0  # memory for kept features of all workers together
_CACHE_SHARE = 0.25  # of the memory of a GPU


@dataclass(frozen=True, kw_only=True)
class Similarities:
    """What similarities depend on, of `scores`."""

    aggregation: str
    softmax_temperature: float
    precision: str
    feature_size: int
    dreamsim: DreamSim
    encoder: Encoder


class SimilarityParams(Protocol):
    """What a similarity is opened by."""

    @property
    def seed(self) -> int: ...
    @property
    def images(self) -> ImageRoot: ...
    @property
    def scores(self) -> Similarities: ...


@dataclass(frozen=True)
class _Shown:
    """The pictures of a study as a similarity sees them."""

    source: Ahead[Pictures]

    def __len__(self) -> int:
        return len(self.source.images)

    def pixels(self, row: int) -> NDArray[np.uint8]:
        return self.source.pixels(row)


@dataclass(frozen=True)
class SimilarityPlan:
    """Everything needed to open a similarity in any process; `made`: folder of images made for units, where it knows these."""

    name: str
    images: Path
    root: str
    models: Path
    code: Path
    seed: int
    scores: Similarities
    made: Path | None = None

    def open(self, source: Ahead[Pictures], *, check: bool = True) -> Similarity:
        """The similarity of these images, on the device of this process; `check` compares it with its package."""
        from interpretability.similarity import registry

        pictures, scores = source.images, self.scores
        images = pictures.images

        def network() -> Network:
            path = self.models / "roster.csv"
            rows = rows_of(read_roster(path))
            name = encoder_model(
                scores.encoder.model, rows, str(path), "those that could be loaded; failures.csv has the others"
            )
            return load_network(next(row for row in rows if row["name"] == name), self.models, self.code, self.seed)

        def factors() -> pd.DataFrame:
            if images.factors is None:
                raise StudyError(
                    f"backend {self.name} needs the factors of generated scenes; photographs have none. "
                    "Take it out of scores.backends"
                )
            return images.factors

        known: dict[str, Callable[[], Any]] = {
            "aggregation": lambda: scores.aggregation,
            "cache_bytes": cache_bytes,
            "device": device,
            "digests": lambda: pictures.digests,
            "factors": factors,
            "layer": lambda: scores.encoder.layer,
            "network": lambda: network,
            "seed": lambda: self.seed,
            "size": lambda: scores.feature_size,
            "softmax_temperature": lambda: scores.softmax_temperature,
            # an image is made in the size that networks see
            "uncut": lambda: partial(le, pictures.n_natural) if pictures.made else None,
            "view": lambda: scores.dreamsim.view,
            "weights": lambda: Environment.read().weights,
            "whole": lambda: images.factors is not None,
        }
        taken = registry.options_of(registry.family_of(self.name))
        options = {name: known[name]() for name in taken if name in known}
        return registry.create(self.name, _Shown(source), check=check, **options)

    @classmethod
    def from_params(
        cls, name: str, params: SimilarityParams, images: Path, models: Path, code: Path, made: Path | None = None
    ) -> SimilarityPlan:
        return cls(name, images, params.images.root, models, code, params.seed, params.scores, made)

    def aggregation(self) -> dict[str, Any]:
        """What of the aggregation determines margins, for the work store."""
        temperature = {"softmax_temperature": self.scores.softmax_temperature}
        return {"aggregation": self.scores.aggregation, **(temperature if self.scores.aggregation == "softmax" else {})}


def cache_bytes() -> int:
    """Memory for kept features in each worker process, from MIS_FEATURE_CACHE_GB for all of a machine together; by default
    a share of the worker's GPU, where it has one.
    """
    total = Environment.read().feature_cache_gb
    if total is None and device().startswith("cuda"):
        import torch

        return int(_CACHE_SHARE * torch.cuda.mem_get_info(device())[1])
    return int((_CACHE_GB if total is None else total) * 2**30 / workers_here())


def similarity_and_images(plan: SimilarityPlan) -> tuple[Similarity, ImageSet]:
    """The similarity of a plan and the images of its study, once a process and device; on a GPU the last one alone is kept."""
    here = device()
    if here.startswith("cuda") and _last and _last[0] != plan:
        # a process may stay for jobs of all similarities, whose tables and networks would fill the GPU together
        _similarity.cache_clear()
        free_device()
    _last[:] = [plan]
    return _similarity(plan, here), images_ahead(plan).images.images


_last: list[SimilarityPlan] = []  # whose similarity was asked for last


@cache
def _similarity(plan: SimilarityPlan, device: str) -> Similarity:
    return plan.open(images_ahead(plan))


when_moved(_similarity.cache_clear)


@cache
def unchecked_similarity(plan: SimilarityPlan) -> Similarity:
    """The similarity of a plan, to compare rows or look up pairs that are at hand: not tried out, so no network is loaded."""
    return plan.open(images_ahead(plan), check=False)


when_moved(unchecked_similarity.cache_clear)  # which reckons on the device that it was opened for


@cache
def images_ahead(plan: SimilarityPlan) -> Ahead[Pictures]:
    """The images of a plan, once a process."""
    return Ahead(Pictures.open(open_images(plan.images, plan.root, quick=True), plan.made), decoders(device()))


@cache
def copy_numbers(plan: SimilarityPlan) -> NDArray[np.int64]:
    """For each image, and each made one, a number that exact copies share."""
    return pd.factorize(np.array(images_ahead(plan).images.digests, dtype=object))[0]
