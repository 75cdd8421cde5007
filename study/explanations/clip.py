"""A guide that open_clip computes: pictures and texts embedded once each, in the work store, and compared.

Networks trained with a sigmoid (SigLIP) give probabilities: sigmoid(scale * cosine + bias), with scale and bias of the network.
Those trained with a softmax (CLIP) have no bias and give cosines, which become probabilities by a fit to known labels.
"""

from __future__ import annotations

import difflib
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpretability.files import sha256_file
from study.errors import StudyError
from study.files.chunks import rows_key
from study.files.store import WorkStore
from study.images.ahead import Ahead, decoders
from study.images.manifest import ImageSet, open_images
from study.log import logger
from study.networks.files import user_file
from study.params.explanations import Guide
from study.workers.device import device, when_moved
from study.workers.jobs import kind_of_workers

log = logger("explanations")

VERSION = 1  # raised by hand whenever embeddings change
_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
_PACKAGES = ("open_clip_torch", "torch", "torchvision", "timm", "pillow")


@dataclass(frozen=True)
class ClipPlan:
    """Everything needed to embed in any process.

    model     name in open_clip
    weights   their file; sha256 of it
    view      how pictures are prepared, as (field, value): mean, std, interpolation, resize_mode
    quick_gelu   whether the weights were trained with that approximation of GELU
    """

    model: str
    weights: Path
    sha256: str
    view: tuple[tuple[str, Any], ...]
    quick_gelu: bool
    template: str
    batch_size: int
    images: Path
    root: str

    def ingredients(self) -> dict[str, Any]:
        """What determines the embedding of a picture or text."""
        return {
            "guide": self.model,
            "weights": self.sha256,
            "view": [[name, list(value) if isinstance(value, tuple) else value] for name, value in self.view],
            "quick_gelu": self.quick_gelu,
            "batch_size": self.batch_size,
            "device": kind_of_workers(),
            "packages": {name: version(name) for name in _PACKAGES},
            "version": VERSION,
        }


def plan_of(settings: Guide, images: Path, root: str) -> ClipPlan:
    """The model and weights that parameters name; published weights are fetched once.

    Raises StudyError for an unknown model or tag, for a file that is not there, and where weights cannot be fetched.
    """
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    name = settings.model
    if open_clip.get_model_config(name) is None:
        close = difflib.get_close_matches(name, open_clip.list_models(), n=3)
        meant = f"; did you mean {', '.join(close)}?" if close else ""
        raise StudyError(f"{settings.key}.model is {name!r}, which is no model of open_clip{meant}")
    tags = list_pretrained_tags_by_model(name)
    tag, _, file = settings.pretrained.partition("=") if "=" in settings.pretrained else ("", "", settings.pretrained)
    if file in tags and not tag:
        facts = get_pretrained_cfg(name, file)
        path = _fetched(name, file, facts, settings.key)
    elif file.endswith(_SUFFIXES):
        path = user_file(file)
        facts = _facts_of_file(name, tag, tags, settings.key)
    else:
        raise StudyError(
            f"{settings.key}.pretrained is {file!r}; for {name} open_clip publishes "
            f"{', '.join(tags) or 'no weights'}, and a file of weights ends with {', '.join(_SUFFIXES)}"
        )
    view = tuple((key, facts[key]) for key in ("mean", "std", "interpolation", "resize_mode") if facts.get(key))
    view = tuple((key, tuple(value) if isinstance(value, list) else value) for key, value in view)
    return ClipPlan(
        *(name, path, sha256_file(path), view, bool(facts.get("quick_gelu")), settings.template, settings.batch_size),
        *(images, root),
    )


def _fetched(name: str, tag: str, facts: dict[str, Any], key: str) -> Path:
    from open_clip.pretrained import download_pretrained

    log.info("weights %s of %s are fetched, if they are not here", tag, name)
    try:
        return Path(download_pretrained(facts))
    except Exception as error:  # of the hub, the web or the disk, each with classes of its own
        raise StudyError(
            f"the weights {tag} of {name} could not be fetched ({type(error).__name__}: "
            f"{str(error).splitlines()[0][:200]}). Without "
            f"a way to the internet, fetch them elsewhere and name their file in {key}.pretrained, or set {key}.source to "
            "another one"
        ) from error


def _facts_of_file(name: str, tag: str, tags: Sequence[str], key: str) -> dict[str, Any]:
    """How pictures are prepared for weights in a file: as for the published ones that `tag` names, or as for all of them."""
    from open_clip.pretrained import get_pretrained_cfg

    if tag:
        if tag not in tags:
            raise StudyError(
                f"{key}.pretrained names the tag {tag!r} before its file; for {name} there are "
                f"{', '.join(tags) or 'none'}"
            )
        return get_pretrained_cfg(name, tag)
    keys = ("mean", "std", "interpolation", "resize_mode", "quick_gelu")
    known = {tag: {key: facts.get(key) for key in keys} for tag in tags if (facts := get_pretrained_cfg(name, tag))}
    kinds = list(known.values())
    if any(kind != kinds[0] for kind in kinds):
        raise StudyError(
            f"weights of {name} are published for pictures prepared in several ways, and the file of "
            f"{key}.pretrained does not say in which; put the tag that it was trained as in front, as {tags[0]}=FILE (there "
            f"are {', '.join(tags)})"
        )
    return kinds[0] if kinds else {}


@dataclass(frozen=True)
class _Opened:
    """A network ready to embed: `scale` and `bias` make cosines logits; bias is None without a sigmoid."""

    network: Any
    prepare: Callable[..., Any]
    tokenizer: Callable[..., Any]
    scale: float
    bias: float | None


@cache
def _opened(plan: ClipPlan, where: str) -> _Opened:
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    network: Any = open_clip.create_model(
        plan.model,
        pretrained=str(plan.weights),
        device=where,
        force_quick_gelu=plan.quick_gelu,
        force_preprocess_cfg=dict(plan.view),
        weights_only=True,  # weights run no code of theirs
        require_pretrained=True,
    ).eval()
    try:
        tokenizer = open_clip.get_tokenizer(plan.model)
    except Exception as error:  # of the hub, the web or the disk, each with classes of its own
        raise StudyError(
            f"the tokenizer of {plan.model} could not be fetched ({type(error).__name__}: "
            f"{str(error).splitlines()[0][:200]}); it "
            "comes from the Hugging Face hub, which keeps it for later runs without a way to the internet"
        ) from error
    prepare: Any = image_transform_v2(PreprocessCfg(**network.visual.preprocess_cfg), is_train=False)
    bias = getattr(network, "logit_bias", None)
    scale = float(network.logit_scale.exp().item())
    return _Opened(network, prepare, tokenizer, scale, None if bias is None else float(bias.item()))


when_moved(_opened.cache_clear)


def _network(plan: ClipPlan) -> _Opened:
    return _opened(plan, device())


@cache
def _shown(plan: ClipPlan) -> Ahead[ImageSet]:
    """The images of a plan, once a process."""
    return Ahead(open_images(plan.images, plan.root, quick=True), decoders(device()))


@dataclass(frozen=True)
class ImageJob:
    """File of the embeddings of some images: `rows` of the manifest."""

    plan: ClipPlan
    store: WorkStore
    ingredients: dict[str, Any]
    rows: NDArray[np.int32]

    @property
    def name(self) -> str:
        return f"images {self.rows[0]} to {self.rows[-1]}"

    @property
    def size(self) -> float:
        return len(self.rows)

    @property
    def key(self) -> dict[str, Any]:
        return {**self.ingredients, **rows_key(self.rows)}

    def run(self) -> Path:
        return self.store.fetch("embeddings", self.key, ".npy", self._write)

    def _write(self, path: Path) -> None:
        shown, size = _shown(self.plan), self.plan.batch_size
        shown.announce(self.rows)
        parts = [
            embedded_images(self.plan, self.rows[start : start + size]) for start in range(0, len(self.rows), size)
        ]
        with open(path, "wb") as file:
            np.save(file, np.concatenate(parts))


def embedded_images(plan: ClipPlan, rows: NDArray[np.int32]) -> NDArray[np.float32]:
    """Unit rows of a batch of images."""
    import torch
    from PIL import Image

    opened, shown = _network(plan), _shown(plan)
    batch = torch.stack([opened.prepare(Image.fromarray(shown.pixels(int(row)))) for row in rows])
    with torch.no_grad():
        return opened.network.encode_image(batch.to(device()), normalize=True).float().cpu().numpy()


@dataclass(frozen=True)
class TextJob:
    """File of the embeddings of some concepts, as the template puts them."""

    plan: ClipPlan
    store: WorkStore
    ingredients: dict[str, Any]
    concepts: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"texts from {self.concepts[0][:40]!r}"

    @property
    def size(self) -> float:
        return len(self.concepts)

    @property
    def key(self) -> dict[str, Any]:
        said = "\0".join([self.plan.template, *self.concepts])
        return {**self.ingredients, "texts": hashlib.sha256(said.encode()).hexdigest()}

    def run(self) -> Path:
        return self.store.fetch("embeddings", self.key, ".npy", self._write)

    def _write(self, path: Path) -> None:
        import torch

        opened, size, parts = _network(self.plan), self.plan.batch_size, []
        for start in range(0, len(self.concepts), size):
            said = [self.plan.template.replace("*", concept) for concept in self.concepts[start : start + size]]
            with torch.no_grad():
                found = opened.network.encode_text(opened.tokenizer(said).to(device()), normalize=True)
            parts.append(found.float().cpu().numpy())
        with open(path, "wb") as file:
            np.save(file, np.concatenate(parts))


@dataclass(frozen=True)
class HeadJob:
    """File of scale and bias of a network, by which cosines become logits; the bias is NaN without a sigmoid."""

    plan: ClipPlan
    store: WorkStore
    ingredients: dict[str, Any]
    name: str = "scale and bias"
    size: float = 1.0

    def run(self) -> Path:
        return self.store.fetch("embeddings", {**self.ingredients, "head": 1}, ".npy", self._write)

    def _write(self, path: Path) -> None:
        opened = _network(self.plan)
        with open(path, "wb") as file:
            np.save(file, np.array([opened.scale, np.nan if opened.bias is None else opened.bias]))


@dataclass(frozen=True)
class SpeedJob:
    """Pictures embedded a second, operations and values of one embedding, of a few pictures on one worker."""

    plan: ClipPlan
    rows: NDArray[np.int32]
    name: str = "speed"
    size: float = 1.0

    def run(self) -> tuple[float, float, int]:
        from torch.utils.flop_counter import FlopCounterMode

        found = embedded_images(self.plan, self.rows[:1])  # loads the network
        with FlopCounterMode(display=False) as counter:
            embedded_images(self.plan, self.rows[:1])
        began = time.perf_counter()
        embedded_images(self.plan, self.rows)
        seconds = time.perf_counter() - began
        return len(self.rows) / seconds, float(counter.get_total_flops()), found.shape[1]
