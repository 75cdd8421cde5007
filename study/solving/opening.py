"""Opening a similarity of the study in any process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability import weights
from study.errors import StudyError
from study.images.ahead import Ahead, decoders
from study.images.manifest import ImageSet, open_images
from study.networks.building import load_network
from study.networks.roster import read_roster
from study.params.parts import ImageRoot
from study.params.scores import DreamSim, Encoder
from study.workers.device import device, when_moved
from study.workers.placement import workers_here

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
class SimilarityPlan:
    """Everything needed to open a similarity in any process."""

    name: str
    images: Path
    root: str
    models: Path
    code: Path
    seed: int
    scores: Similarities

    def open(self, source: Ahead, *, check: bool = True) -> Any:
        """The `Similarity` of these pictures, on the device of this process; `check` compares it with its package."""
        from interpretability.similarity import registry
        from interpretability.similarity.base import Context

        images = source.images

        def network(name: str) -> Any:
            roster = read_roster(self.models / "roster.csv")
            rows = roster[roster["name"] == name].to_dict("records")
            if not rows:
                known = ", ".join(roster["name"][~roster["constructor"].str.startswith("control:")])
                raise StudyError(
                    f"scores.encoder.model is {name!r}, which is not among the networks that could be loaded: {known} "
                    "(see data/models/failures.csv)"
                )
            return load_network(rows[0], self.models, self.code, self.seed)

        context = Context(
            seed=self.seed, pixels=source.pixels, digests=lambda: images.manifest["digest"].tolist(),
            factors=lambda: images.factors, network=network, device=device(),
            encoder_model=self.scores.encoder.model, encoder_layer=self.scores.encoder.layer,
            weights=lambda file: weights.load(file.names, file.url, file.sha256),
            aggregation=self.scores.aggregation, softmax_temperature=self.scores.softmax_temperature,
            feature_size=self.scores.feature_size, dreamsim_view=self.scores.dreamsim.view,
            cache_bytes=cache_bytes(),
        )  # fmt: skip
        return registry.create(self.name, context, check=check)

    @classmethod
    def from_params(cls, name: str, params: SimilarityParams, images: Path, models: Path, code: Path) -> SimilarityPlan:
        return cls(name, images, params.images.root, models, code, params.seed, params.scores)

    def aggregation(self) -> dict[str, Any]:
        """What of the aggregation determines margins, for the work store."""
        chosen = {"aggregation": self.scores.aggregation}
        if self.scores.aggregation == "softmax":
            chosen["softmax_temperature"] = self.scores.softmax_temperature
        return chosen


def cache_bytes() -> int:
    """Memory for kept features in each worker process, from MIS_FEATURE_CACHE_GB for all of a machine together; by default
    a share of the worker's GPU, where it has one.
    """
    text = os.environ.get("MIS_FEATURE_CACHE_GB", "")
    if not text and device().startswith("cuda"):
        import torch

        return int(_CACHE_SHARE * torch.cuda.mem_get_info(device())[1])
    text = text or str(_CACHE_GB)
    try:
        total = float(text)
    except ValueError:
        total = -1.0
    if not 0 <= total < float("inf"):
        raise StudyError(f"MIS_FEATURE_CACHE_GB is {text!r}, it must be a number of gigabytes of at least 0")
    return int(total * 2**30 / workers_here())


def opened(plan: SimilarityPlan) -> tuple[Any, ImageSet]:
    """The similarity of a plan and its pictures, once a process and device."""
    return _opened(plan, device()), images_of(plan).images


@cache
def _opened(plan: SimilarityPlan, place: str) -> Any:
    return plan.open(images_of(plan))


when_moved(_opened.cache_clear)


@cache
def judge(plan: SimilarityPlan) -> Any:
    """The similarity of a plan, to compare rows or look up pairs that are at hand: not tried out, so no network is loaded."""
    return plan.open(images_of(plan), check=False)


@cache
def images_of(plan: SimilarityPlan) -> Ahead:
    """The pictures of a plan, once a process."""
    return Ahead(open_images(plan.images, plan.root, quick=True), decoders(device()))


@cache
def duplicates(plan: SimilarityPlan) -> NDArray[np.int64]:
    """For each picture a number that exact copies share."""
    return pd.factorize(opened(plan)[1].manifest["digest"])[0]
