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
_IN_CACHE = 2**17  # values that a processor normalises at a time


@functools.lru_cache(maxsize=256)
def _levels(shares: tuple[float, float, float], device: torch.device) -> Tensor:
    """Grey levels (3, 1, 1) of shares of 255; kept, because what travels to a GPU makes it wait."""
    return torch.tensor(shares, device=device).view(3, 1, 1) * 255


@functools.lru_cache(maxsize=256)
def _levels_of_row(shares: tuple[float, float, float], width: int) -> Tensor:
    """The same for a row (3 width,) of pixels, channels last, on the CPU."""
    return _levels(shares, torch.device("cpu")).flatten().repeat(width)


RESAMPLING = {  # on bytes, with antialiasing
    "bicubic": torch.ops.aten._upsample_bicubic2d_aa.default,
    "bilinear": torch.ops.aten._upsample_bilinear2d_aa.default,
}


@functools.cache
def _on_bytes(interpolation: str) -> bool:
    """Whether torchvision has torch resize bytes as they are; it takes other ways for other kernels and processors."""
    if interpolation == "bilinear":
        return torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    return interpolation == "bicubic"


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
        return _tensor(self.seen(pixels, uncut=uncut))

    def seen(self, pixels: NDArray[np.uint8], *, uncut: bool = False) -> NDArray[np.uint8]:
        """The same as an array (crop, crop, 3), which may be a part of the picture that was given."""
        height, width = pixels.shape[:2]
        if uncut or self.mode == "squash":
            size = [self.crop, self.crop]
        else:
            short = min(height, width)
            # the longer side is cut down to whole pixels, as torchvision does
            size = [height * self.resize // short, width * self.resize // short]
        if size[0] * size[1] > LARGE and max(size) > self.crop:
            return self._cropped(self._part(pixels, size))
        return self._cropped(self._resized(pixels, size))

    def _part(self, pixels: NDArray[np.uint8], size: list[int]) -> NDArray[np.uint8]:
        """The picture resized to `size` and cropped along its long side; nothing else of it is made. As in torch, rows are
        resized before columns.
        """
        tall, start = size[0] > size[1], round((max(size) - self.crop) / 2)
        part = part_of(pixels.shape[0 if tall else 1], max(size), start, self.crop, self.interpolation)
        if tall:
            rows = self._resized(pixels[part.low : part.high], [part.high - part.low, size[1]])
            return part.of(rows.swapaxes(0, 1)).swapaxes(0, 1)
        return self._resized(part.of(pixels[:, part.low : part.high]), [size[0], self.crop])

    def _resized(self, pixels: NDArray[np.uint8], size: list[int]) -> NDArray[np.uint8]:
        if [*pixels.shape[:2]] == size:
            return pixels
        if _on_bytes(self.interpolation):
            # what torchvision calls in the end: its own steps take a tenth of the time, in which other threads must wait
            batch = _tensor(np.ascontiguousarray(pixels).reshape(1, *pixels.shape))  # one image, channels last
            return RESAMPLING[self.interpolation](batch, size, False).permute(0, 2, 3, 1)[0].numpy()
        # loads for more than a second, which not every process needs
        from torchvision.transforms.v2 import InterpolationMode
        from torchvision.transforms.v2 import functional as F

        mode = InterpolationMode(self.interpolation)
        return F.resize(_tensor(pixels), size, interpolation=mode, antialias=True).permute(1, 2, 0).numpy()

    def _cropped(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = pixels.shape[:2]
        if min(height, width) >= self.crop:
            top, left = round((height - self.crop) / 2), round((width - self.crop) / 2)
            return pixels[top : top + self.crop, left : left + self.crop]
        from torchvision.transforms.v2 import functional as F

        return F.center_crop(_tensor(pixels), [self.crop, self.crop]).permute(1, 2, 0).numpy()

    def normalised(self, stacked: Tensor) -> Tensor:
        """Network input, float32, of fitted images (n, 3, crop, crop) uint8 in any layout, on their device.

        On a GPU it is contiguous, on a CPU it lies channels last, with which convolutions and pooling there are faster.
        """
        if stacked.device.type == "cpu":
            return self._normalised_by_rows(stacked)
        seen = torch.empty(stacked.shape, dtype=torch.float32, device=stacked.device)
        torch.sub(stacked, _levels(self.mean, stacked.device), out=seen)  # reads bytes: no copy of them as floats
        return seen.div_(_levels(self.std, stacked.device))

    def _normalised_by_rows(self, stacked: Tensor) -> Tensor:
        """The same on a CPU: a few images at a time, which its cache holds, and whole rows, for three channels are too few for
        the width of its instructions.
        """
        n, channels, height, width = stacked.shape
        seen = torch.empty(stacked.shape, dtype=torch.float32, memory_format=torch.channels_last)
        rows = (n, height, width * channels)
        source = stacked.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).reshape(rows)
        out = seen.permute(0, 2, 3, 1).view(rows)
        mean, std = _levels_of_row(self.mean, width), _levels_of_row(self.std, width)
        at_once = max(1, _IN_CACHE // (height * width * channels))
        for given, made in zip(source.split(at_once), out.split(at_once), strict=True):
            made.copy_(given).sub_(mean).div_(std)
        return seen

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
    """Pixels (..., height, width, 3) as a tensor (..., 3, height, width)."""
    # torch wants to be able to write; what cannot be written, as a packed image, is copied
    return torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).movedim(-1, -3)


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
