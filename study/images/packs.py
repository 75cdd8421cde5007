"""Pictures decoded and made smaller once, for studies that pass them many times: activations.pack.

A pack holds the central square of every picture, its side resampled (bicubic) to a fixed number of pixels, as bytes in
memory-mapped files of the work store. Networks then see the pack in place of the pictures, which spares them decoding.

What that does to pixels: nothing for a view that makes the shorter side just as long, bicubic, and cuts off an even number
of pixels (an odd one may shift the crop by a pixel); any other view resamples what was resampled before. Views that want a
larger picture, its whole width or a border get the pictures themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.errors import StudyError
from study.files.store import WorkStore
from study.images.ahead import decoders
from study.images.manifest import ImageSet, open_images
from study.log import Progress, logger
from study.workers.device import Failure, device
from study.workers.jobs import run_jobs

log = logger("packing")


VERSION = 1
CHUNK = 4096  # pictures in one file, made by one job
_AT_ONCE = 64  # of them in memory
_SUFFIX = ".npy"


def fits(view: Any, side: int) -> bool:
    """Whether a view may be taken from a pack of squares of this side (0: there is none)."""
    return bool(side) and view.mode == "center" and view.resize <= side


@cache
def _mapped(path: Path) -> NDArray[np.uint8]:
    return np.load(path, mmap_mode="r")


@dataclass(frozen=True)
class Pack:
    """Squares (side, side, 3) by row of the manifest, from files of CHUNK pictures each."""

    images: ImageSet
    files: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, row: int) -> NDArray[np.uint8]:
        number, place = divmod(row, CHUNK)
        return np.asarray(_mapped(self.files[number])[place])

    def path(self, row: int) -> str:
        return self.images.path(row)


@dataclass(frozen=True)
class _Chunk:
    folder: Path
    root: str
    side: int
    start: int
    stop: int


def _ingredients(images: ImageSet, chunk: _Chunk) -> Mapping[str, Any]:
    import torchvision

    from interpretability.networks import preprocessing

    return {"images": images.digest, "side": chunk.side, "start": chunk.start, "stop": chunk.stop,
            "versions": [VERSION, preprocessing.VERSION], "torchvision": torchvision.__version__}  # fmt: skip


@cache
def _opened(folder: Path, root: str) -> ImageSet:
    return open_images(folder, root, quick=True)


def _make(chunk: _Chunk) -> Path:
    from interpretability.networks.preprocessing import Preprocessing

    images = _opened(chunk.folder, chunk.root)
    view = Preprocessing(chunk.side, chunk.side, (0.5,) * 3, (0.5,) * 3)

    def square(row: int) -> NDArray[np.uint8]:
        return view.fit(images.pixels(row)).permute(1, 2, 0).contiguous().numpy()

    def write(path: Path) -> None:
        shape = (chunk.stop - chunk.start, chunk.side, chunk.side, 3)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        with open(path, "wb") as file, ThreadPoolExecutor(max(1, decoders(device()))) as pool:
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(chunk.start, chunk.stop, _AT_ONCE):
                for each in pool.map(square, range(start, min(start + _AT_ONCE, chunk.stop))):
                    file.write(each.data)

    return WorkStore.open().fetch("packs", _ingredients(images, chunk), _SUFFIX, write)


def _chunks(images: ImageSet, side: int) -> list[_Chunk]:
    n = len(images)
    return [_Chunk(images.folder, images.root, side, start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]


def pack(images: ImageSet, side: int) -> tuple[Path, ...]:
    """Files of the pack of a study, made now by all workers as far as the store lacks them."""
    chunks = _chunks(images, side)
    progress, files = Progress(log, len(images), "pictures packed"), dict[int, Path]()
    names = [f"pictures {chunk.start} to {chunk.stop - 1}" for chunk in chunks]
    for place, result in run_jobs(_make, chunks, names):
        if isinstance(result, Failure):
            raise StudyError(f"packing {names[place]} failed: {result.reason}")
        files[place] = result
        progress.step(chunks[place].stop - chunks[place].start)
    return tuple(files[place] for place in range(len(chunks)))


def pack_here(images: ImageSet, side: int) -> tuple[Path, ...]:
    """The same in this process alone, for a worker that finds itself in need of the pack."""
    return tuple(_make(chunk) for chunk in _chunks(images, side))


def pack_bytes(n_images: int, side: int) -> int:
    """Size of a pack."""
    return n_images * side * side * 3
