"""From decoded pixels to the input of a network: resize and crop on bytes, normalise on the device."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from interpretability import arguments
from interpretability.networks.long_side import part_of
from interpretability.networks.preprocessing_fields import read_fields

VERSION = 4
LARGE = 2**25  # pixels of a resized picture; of a larger one no more is made than its crop shows


@functools.lru_cache(maxsize=256)
def _levels(shares: tuple[float, float, float], device: torch.device) -> Tensor:
    """Grey levels (3, 1, 1) of shares of 255; kept, because what travels to a GPU makes it wait."""
    return torch.tensor(shares, device=device).view(3, 1, 1) * 255


@dataclass(frozen=True)
class Preprocessing:
    """What a network sees of an image.

    mode "center": the shorter side becomes `resize` pixels, then the central crop of `crop` x `crop` is taken.
    mode "border": the same with a `resize` smaller than `crop`: a black border fills the crop up, as in timm where a network
    has a crop share above 1.
    mode "squash": the whole image becomes `crop` x `crop`, whatever its shape; `resize` is not used.
    mean and std are for RGB in 0..1.

    Memory is bounded by the image and by `LARGE` pixels, whatever its shape.
    """

    crop: int
    resize: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    mode: str = "center"

    @classmethod
    def parse(cls, text: str | Mapping[str, Any], where: str) -> Preprocessing:
        """From JSON text or a mapping, checked as `preprocessing_fields.read_fields` says; `where` names the row in errors."""
        return cls(**read_fields(text, where))

    def dumps(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def fit(self, pixels: NDArray[np.uint8], *, uncut: bool = False) -> Tensor:
        """Pixels (height, width, 3) as a uint8 tensor (3, crop, crop).

        uncut: the picture is what a crop leaves of one, such as an image made for a unit: it is taken whole, under any mode.
        """
        height, width = pixels.shape[:2]
        if uncut or self.mode == "squash":
            size = [self.crop, self.crop]
        else:
            short = min(height, width)
            # the longer side is cut down to whole pixels, as torchvision does
            size = [height * self.resize // short, width * self.resize // short]
        if size[0] * size[1] > LARGE and max(size) > self.crop:
            return self._cropped(self._part(pixels, size))
        return self._cropped(self._resized(_tensor(pixels), size))

    def _part(self, pixels: NDArray[np.uint8], size: list[int]) -> Tensor:
        """The picture resized to `size` and cropped along its long side; nothing else of it is made. As in torch, rows are
        resized before columns.
        """
        tall, start = size[0] > size[1], round((max(size) - self.crop) / 2)
        part = part_of(pixels.shape[0 if tall else 1], max(size), start, self.crop, self.interpolation)
        if tall:
            seen = self._resized(_tensor(pixels[part.low : part.high]), [part.high - part.low, size[1]])
            return torch.from_numpy(part.of(seen.permute(2, 1, 0).numpy())).permute(2, 1, 0)
        return self._resized(_tensor(part.of(pixels[:, part.low : part.high])), [size[0], self.crop])

    def _resized(self, image: Tensor, size: list[int]) -> Tensor:
        if [*image.shape[1:]] == size:
            return image
        # loads for more than a second, which not every process needs
        from torchvision.transforms.v2 import InterpolationMode
        from torchvision.transforms.v2 import functional as F

        return F.resize(image, size, interpolation=InterpolationMode(self.interpolation), antialias=True)

    def _cropped(self, image: Tensor) -> Tensor:
        whole = [self.crop, self.crop]
        if [*image.shape[1:]] == whole:
            return image
        from torchvision.transforms.v2 import functional as F

        return F.center_crop(image, whole)

    def normalised(self, stacked: Tensor) -> Tensor:
        """Network input, float32, of fitted images (n, 3, crop, crop) uint8 in any layout, on their device.

        On a GPU it is contiguous, on a CPU it lies channels last, with which convolutions and pooling there are faster.
        """
        mean, std = _levels(self.mean, stacked.device), _levels(self.std, stacked.device)
        # in place: a batch may be large
        layout = torch.channels_last if stacked.device.type == "cpu" else torch.contiguous_format
        return stacked.to(torch.float32, memory_format=layout).sub_(mean).div_(std)

    def batch(
        self,
        images: Sequence[NDArray[np.uint8]],
        device: str | torch.device = "cpu",
        uncut: Callable[[int], bool] | None = None,
    ) -> Tensor:
        """Normalised float32 batch (images, 3, crop, crop) on the device; bytes travel, floats do not.

        uncut: which of the images, by their places here, are taken whole, see `fit`; none if left out.
        """
        fitted = [self.fit(pixels, uncut=uncut is not None and uncut(at)) for at, pixels in enumerate(images)]
        return self.normalised(torch.stack(fitted).contiguous().to(device))


def _tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """Pixels (height, width, 3) as a tensor (3, height, width)."""
    # torch wants to be able to write; what cannot be written, as a packed image, is copied
    return torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).permute(2, 0, 1)


def timm_preprocessing(model: nn.Module, img_size: int | None = None) -> dict[str, object]:
    """Fields of the preprocessing of a network with timm's record of it, for images of the size that it was made for."""
    from timm.data.config import resolve_data_config

    record = resolve_data_config({} if img_size is None else {"img_size": img_size}, model=model)
    crop, squash = record["input_size"][1], record["crop_mode"] == "squash"
    return {
        "crop": crop,
        "resize": crop if squash else int(crop / record["crop_pct"]),
        "interpolation": record["interpolation"],
        "mean": list(record["mean"]),
        "std": list(record["std"]),
        "mode": "squash" if squash else "border" if record["crop_pct"] > 1 else "center",
    }


def preprocessing_of(model: nn.Module, given: Preprocessing | Mapping[str, Any] | None) -> Preprocessing:
    """What a network is shown: as given, or else as timm's record of the network says. Raises InputError without both."""
    if isinstance(given, Preprocessing):
        return given
    if given is None and getattr(model, "pretrained_cfg", None):
        given = timm_preprocessing(model)
    if not isinstance(given, Mapping):
        problem = "is None, and the network has no record of timm" if given is None else "is of type {kind}"
        raise arguments.wrong(
            "preprocessing",
            problem + "; pass what it was trained with, such as {example}",
            kind=type(given).__name__,
            example='{"crop": 224, "resize": 256, "interpolation": "bilinear", "mean": [0.485, 0.456, 0.406], '
            '"std": [0.229, 0.224, 0.225]}',
        )
    return Preprocessing.parse(given, "the network")
