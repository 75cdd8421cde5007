"""Images decoded and made smaller once, for studies that pass them many times: activations.pack.

A pack holds the central square of every image, its side resampled (bicubic) to a fixed number of pixels, as bytes in
memory-mapped files of the work store. Networks then see the pack in place of the images, which spares them decoding.

What that does to pixels: nothing for a view that makes the shorter side just as long, bicubic, and cuts off an even number
of pixels (an odd one may shift the crop by a pixel); any other view resamples what was resampled before. Views that want a
larger image, its whole width or a border get the images themselves.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from study.files.store import WorkStore
from study.images.ahead import decoders
from study.images.manifest import ImageSet, open_images
from study.log import logger
from study.workers.device import device
from study.workers.jobs import run_all_or_stop

if TYPE_CHECKING:
    from interpretability.networks.preprocessing import Preprocessing

log = logger("packing")

VERSION = 1
CHUNK = 4096  # images in one file, made by one job
_AT_ONCE = 64  # of them in memory
_SUFFIX = ".npy"


def fits(view: Preprocessing, side: int) -> bool:
    """Whether a view may be taken from a pack of squares of this side (0: there is none)."""
    return bool(side) and view.mode == "center" and view.resize <= side


@cache
def _mapped(path: Path) -> NDArray[np.uint8]:
    return np.load(path, mmap_mode="r")


@dataclass(frozen=True)
class Pack:
    """Squares (side, side, 3) by row of the manifest, from files of CHUNK images each."""

    images: ImageSet
    files: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, row: int) -> NDArray[np.uint8]:
        number, index = divmod(row, CHUNK)
        return np.asarray(_mapped(self.files[number])[index])

    def path(self, row: int) -> str:
        return self.images.path(row)


@dataclass(frozen=True)
class PackJob:
    """One file of a pack: the images from `start` to before `stop`."""

    folder: Path
    root: str
    side: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        return f"images {self.start} to {self.stop - 1}"

    @property
    def size(self) -> float:
        return self.stop - self.start

    def run(self) -> Path:
        images = _opened(self.folder, self.root)
        return WorkStore.open().fetch("packs", self._ingredients(images), _SUFFIX, partial(self._write, images))

    def _ingredients(self, images: ImageSet) -> dict[str, Any]:
        import torchvision

        from interpretability.networks import preprocessing

        return {
            "images": images.digest,
            "side": self.side,
            "start": self.start,
            "stop": self.stop,
            "versions": [VERSION, preprocessing.VERSION],
            "torchvision": torchvision.__version__,
        }

    def _write(self, images: ImageSet, path: Path) -> None:
        from interpretability.networks.preprocessing import Preprocessing

        half = (0.5, 0.5, 0.5)
        view = Preprocessing(self.side, self.side, half, half)

        def square(row: int) -> NDArray[np.uint8]:
            return view.fit(images.pixels(row)).permute(1, 2, 0).contiguous().numpy()

        shape = (self.stop - self.start, self.side, self.side, 3)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        with open(path, "wb") as file, ThreadPoolExecutor(max(1, decoders(device()))) as pool:
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(self.start, self.stop, _AT_ONCE):
                for pixels in pool.map(square, range(start, min(start + _AT_ONCE, self.stop))):
                    file.write(pixels.data)


@cache
def _opened(folder: Path, root: str) -> ImageSet:
    return open_images(folder, root, quick=True)


def _jobs(images: ImageSet, side: int) -> list[PackJob]:
    n = len(images)
    return [PackJob(images.folder, images.root, side, start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]


def pack_files(images: ImageSet, side: int) -> tuple[Path, ...]:
    """Files of the pack of a study, made now by all workers as far as the store lacks them."""
    return tuple(run_all_or_stop(_jobs(images, side), "images packed", log, on_cpu=True))


def pack_files_here(images: ImageSet, side: int) -> tuple[Path, ...]:
    """The same by this process alone, for a worker that finds itself in need of the pack."""
    return tuple(job.run() for job in _jobs(images, side))


def pack_bytes(n_images: int, side: int) -> int:
    """Size of a pack."""
    return n_images * side * side * 3
