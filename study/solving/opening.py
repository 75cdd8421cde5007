"""Opening a similarity of the study in any process."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.errors import StudyError
from study.images.ahead import Ahead, decoders
from study.images.manifest import ImageSet, open_images
from study.networks.building import load_network
from study.networks.roster import read_roster
from study.params.scores import Scores
from study.params.whole import Params
from study.workers.device import device, when_moved
from study.workers.placement import workers_here

WEIGHTS = "data/external/weights"  # where files of weights lie, unless MIS_WEIGHTS names another folder
_CACHE_GB = 4.0  # memory for kept features of all workers together
_CACHE_SHARE = 0.25  # of the memory of a GPU


@dataclass(frozen=True)
class _Shown:
    """The pictures of a study as a similarity sees them."""

    source: Ahead

    def __len__(self) -> int:
        return len(self.source.images)

    def pixels(self, row: int) -> NDArray[np.uint8]:
        return self.source.pixels(row)


@dataclass(frozen=True)
class SimilarityPlan:
    """Everything needed to open a similarity in any process."""

    name: str
    images: Path
    root: str
    models: Path
    code: Path
    seed: int
    scores: Scores

    def open(self, source: Ahead, *, check: bool = True) -> Any:
        """The `Similarity` of these pictures, on the device of this process; `check` compares it with its package."""
        from interpretability.similarity import registry

        images, scores = source.images, self.scores

        def network() -> Any:
            name, roster = scores.encoder.model, read_roster(self.models / "roster.csv")
            rows = roster[roster["name"] == name].to_dict("records")
            if not rows:
                known = ", ".join(roster["name"][~roster["constructor"].str.startswith("control:")])
                raise StudyError(
                    f"scores.encoder.model is {name!r}, which is not among the networks that could be loaded: {known} "
                    "(see data/models/failures.csv)"
                )
            return load_network(rows[0], self.models, self.code, self.seed)

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
            "digests": lambda: images.manifest["digest"].tolist(),
            "factors": factors,
            "layer": lambda: scores.encoder.layer,
            "network": lambda: network,
            "seed": lambda: self.seed,
            "size": lambda: scores.feature_size,
            "softmax_temperature": lambda: scores.softmax_temperature,
            "view": lambda: scores.dreamsim.view,
            "weights": lambda: os.environ.get("MIS_WEIGHTS") or WEIGHTS,
            "whole": lambda: images.factors is not None,
        }
        taken = registry.options_of(registry.family_of(self.name))
        options = {name: known[name]() for name in taken if name in known}
        return registry.create(self.name, _Shown(source), check=check, **options)

    @classmethod
    def from_params(cls, name: str, params: Params, images: Path, models: Path, code: Path) -> SimilarityPlan:
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
