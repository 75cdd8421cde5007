"""Similarities that compare feature maps: images pass the network once, and a bounded table keeps their features.

An image's features are one long row of floats; a family says how rows are made and how tasks are solved from them.
The cost of such a similarity is its forward passes: 20 a task of nine explanations where pairwise calls take 72, and
fewer where the tasks of a block of units share images. Where tasks are many and images few, all pairs of images
are compared once instead, as matrix products of blocks of rows, and tasks are looked up.
"""

from __future__ import annotations

import contextlib
import warnings
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from interpretability import arguments
from interpretability.casts import narrowed
from interpretability.errors import InputError
from interpretability.images import Images
from interpretability.margins import looked_up
from interpretability.networks.network import state_digest
from interpretability.networks.preprocessing import VERSION as PREPROCESSING_VERSION
from interpretability.networks.preprocessing import Preprocessing
from interpretability.randomness import generator
from interpretability.similarity.base import Similarity
from interpretability.similarity.table import FeatureTable, in_float32, rounds, sent
from interpretability.weights import Weights, WeightsFile, reader

VERSION = 3
# Images of a forward pass, part of the definition of the last bits: a short batch is filled up, so every image sees the same
# kernels. On a CPU fewer where their maps are large: those of a layer then stay in the cache and in memory that the
# process holds already.
BATCH, BATCH_ON_GPU = 8, 32
_BATCH_BYTES = 2**26  # of features
_CHECK_SIZE = 64  # pixels; enough for every layer of the networks in use
# Part of the definition of the last bits as well: rows of one product when all pairs are compared.
PAIR_BLOCK = 64
PAIR_VERSION = 1
# All pairs of n images are compared if n * n is at most this often the number of tasks: about where both ways take
# equally long (pairs_a_task in benchmarks/results/similarities.csv).
PAIRS_A_TASK = 200
MOST_PAIRED = 20_000  # images; their table takes 1.6 GB
TOLERANCE = 2e-5  # of self-checks; both sides are float32 sums of up to millions of terms
VGG16 = WeightsFile(
    ("vgg16-397923af.pth", "vgg16-397923af.safetensors", "vgg16_torchvision.safetensors"),
    "https://download.pytorch.org/models/vgg16-397923af.pth",
    "397923af",
)


class FeatureSimilarity(Similarity):
    """A distance between feature maps, with a minus, so that higher means more alike; 0 for an image and itself.

    size          side in pixels of what is compared, at least 32
    whole         images are compared whole; else their centre, 224 of 256 pixels of the shorter side, as people saw them
    cache_bytes   memory for features that are kept; changes no result
    """

    embeds = False
    pairs = True
    runs_network = True
    package: ClassVar[str]
    input_range: ClassVar[tuple[float, float]]  # lowest and highest pixel value that the package's own call expects

    def __init__(
        self,
        name: str,
        images: Images,
        *,
        device: str = "cpu",
        weights: Weights = "weights",
        size: int = 224,
        whole: bool = False,
        cache_bytes: int = 2**30,
        **options: Any,
    ) -> None:
        super().__init__(name, images, **options)
        self._device, self._weights_of = device, reader(weights)
        self._size, self._whole = arguments.count(size, "size", 32), whole
        self._cache_bytes = arguments.count(cache_bytes, "cache_bytes", 0)
        self._table: FeatureTable | None = None

    # ---- what a family gives

    @cached_property
    @abstractmethod
    def model(self) -> Any:
        """The package's own object, with its weights, in evaluation mode on the device."""

    @abstractmethod
    def parts(self, batch: Tensor) -> Iterator[Tensor]:
        """Features of images (n, 3, size, size) within `input_range`: pieces (n, p) that follow one another in a row."""

    @abstractmethod
    def values(self, rows: Tensor, tasks: NDArray[np.int32], n_explanations: int, size: int) -> NDArray[np.float32]:
        """Similarities (units, N, 2, 2K) of tasks that name rows of features of images of this size."""

    @abstractmethod
    def compare_rows(self, first: Tensor, second: Tensor, size: int) -> Tensor:
        """Similarities (first, second) of every row of features with every other, of images of this size."""

    @abstractmethod
    def original(self, first: Tensor, second: Tensor) -> Tensor:
        """Similarities (pairs,) of two batches of images by the package's own call."""

    def mean_margins(self, rows: Tensor, tasks: NDArray[np.int32], n_explanations: int) -> NDArray[np.float32]:
        """Margins (units, N) under the mean; overridden where there is a shorter way than all similarities."""
        return self._aggregated(self.values(rows, tasks, n_explanations, self._size))

    # ---- what all share

    def features(self, batch: Tensor) -> Tensor:
        """Features (n, P) of images (n, 3, size, size) within `input_range`."""
        with in_float32(self._device):
            return torch.cat(list(self.parts(batch)), dim=1)

    def ingredients(self) -> Mapping[str, object]:
        return {
            "version": VERSION,
            "weights": state_digest(self.model.state_dict()),
            "package": package_version(self.package),
            "view": self._view.dumps(),
            "preprocessing_version": PREPROCESSING_VERSION,
            "batch_size": self._batch,
            "torch": torch.__version__,
            "device": torch.device(self._device).type,
        }

    @cached_property
    def _view(self) -> Preprocessing:
        """The centre crop that people saw (shorter side to 256, then 224), scaled to the side wanted.

        Images that have no border to cut, such as generated scenes, are compared whole.
        """
        size = self._size
        resize = size if self._whole else size * 256 // 224
        low, high = self.input_range
        mean, std = -low / (high - low), 1 / (high - low)
        return Preprocessing(size, resize, (mean, mean, mean), (std, std, std))

    def _fill_trunk(
        self, model: nn.Module, sources: Mapping[str, str], state: Mapping[str, Tensor], file: WeightsFile, what: str
    ) -> None:
        """Fill a network with the tensors of a torchvision file, which `sources` names for each of its own."""
        if missing := sorted(set(sources.values()) - set(state)):
            raise InputError(
                f"the file {file.names[0]} of backend {self.name} lacks {missing[0]}; it is no torchvision {what}"
            )
        fill(model, {name: state[source] for name, source in sources.items()}, file.names[0])

    def tensors(self, images: NDArray[np.int32]) -> Tensor:
        """Images (n, 3, size, size) as the network sees them."""
        fitted = [self._view.fit(self.images.pixels(row), uncut=self.is_uncut(row)) for row in images.tolist()]
        return self._view.normalised(sent(torch.stack(fitted).numpy(), torch.device(self._device)))

    @torch.no_grad()
    def _write(self, images: NDArray[np.int32], rows: Tensor, slots: Tensor) -> None:
        """Features of a batch of images to these rows of a table."""
        self.forwards += len(images)
        first = 0
        with in_float32(self._device):
            for part in self.parts(self.tensors(np.resize(images, self._batch))):
                rows[:, first : first + part.shape[1]].index_copy_(0, slots, part[: len(images)])
                first += part.shape[1]

    @cached_property
    def _batch(self) -> int:
        if torch.device(self._device).type != "cpu":
            return BATCH_ON_GPU
        fitting = max(1, _BATCH_BYTES // (4 * self._width))
        return min(BATCH, 1 << (fitting.bit_length() - 1))

    @cached_property
    def _width(self) -> int:
        size = self._size
        with torch.no_grad():
            return self.features(torch.zeros((1, 3, size, size), device=self._device)).shape[1]

    def _table_for(self, images_of_a_task: int) -> FeatureTable:
        wanted = min(self._cache_bytes // (4 * self._width), len(self.images))
        wanted = max(wanted, images_of_a_task)
        table = self._table
        if table is None or table.capacity < wanted:
            table = FeatureTable(wanted, self._width, self._device)
            self._table = table
        return table

    def margins(
        self, tasks: NDArray[np.integer], n_explanations: int, prepared: NDArray[np.floating] | None = None
    ) -> NDArray[np.float32]:
        if prepared is not None:
            return looked_up(prepared, narrowed(np.asarray(tasks), np.int32, "tasks"), n_explanations, self._aggregated)
        if self.aggregation == "mean":
            return self._in_rounds(tasks, n_explanations, (), self.mean_margins)

        def solve(rows: Tensor, slots: NDArray[np.int32], n_explanations: int) -> NDArray[np.float32]:
            return self._aggregated(self.values(rows, slots, n_explanations, self._size))

        return self._in_rounds(tasks, n_explanations, (), solve)

    def similarities(
        self, tasks: NDArray[np.integer], n_explanations: int, prepared: NDArray[np.floating] | None = None
    ) -> NDArray[np.float32]:
        if prepared is not None:
            rows = narrowed(np.asarray(tasks), np.int32, "tasks")
            return prepared[rows[..., 2 * n_explanations :, None], rows[..., None, : 2 * n_explanations]]
        every = partial(self.values, size=self._size)
        return self._in_rounds(tasks, n_explanations, (2, 2 * n_explanations), every)

    def _in_rounds(
        self,
        tasks: NDArray[np.integer],
        n_explanations: int,
        shape: tuple[int, ...],
        solve: Callable[[Tensor, NDArray[np.int32], int], NDArray[np.float32]],
    ) -> NDArray[np.float32]:
        """What `solve` says of tasks, (U, N, *shape), as many at a time as have their images in the table of features."""
        tasks = self._checked(tasks, n_explanations)
        table = self._table_for(tasks.shape[2])
        flat = np.ascontiguousarray(tasks.reshape(-1, tasks.shape[2]))
        out = np.empty((len(flat), *shape), dtype=np.float32)
        for start, stop in rounds(flat, table.capacity):
            images, rows = np.unique(flat[start:stop], return_inverse=True)
            slots = table.slots(images, self._batch, self._write)[rows].reshape(1, stop - start, -1)
            with in_float32(self._device):
                out[start:stop] = solve(table.rows, slots, n_explanations)
        return out.reshape(*tasks.shape[:2], *shape)

    def nearest(
        self, tasks: NDArray[np.integer], n_explanations: int, prepared: NDArray[np.floating] | None = None
    ) -> None:
        return None  # distances of feature maps have no scale on which "nearly a copy" could be said

    @property
    def stripe(self) -> int:
        """Images of one call of `pair_stripe` whose features fit into memory, beside those of a block."""
        blocks = self._cache_bytes // (4 * self._width * PAIR_BLOCK)
        return PAIR_BLOCK * max(1, blocks - 1)

    @torch.no_grad()
    def pair_stripe(
        self, images: NDArray[np.int32], first: int, last: int, step: Callable[[int], None] = lambda _: None
    ) -> NDArray[np.float32]:
        """Similarities (last - first, images - first) of images[first:last] with images[first:]; `first` starts a block.

        `step` hears of every block of later images how many pairs it added.

        Blocks are filled up with images of their own, so a similarity does not depend on where a stripe ends. Only
        the blocks on and right of the diagonal are computed; the others hold zeros.
        """
        starts = range(first, len(images), PAIR_BLOCK)
        out = np.zeros((last - first, len(images) - first), dtype=np.float32)
        shape, device = (PAIR_BLOCK, self._width), self._device
        own = [
            self._block(images[start : start + PAIR_BLOCK], torch.empty(shape, device=device))
            for start in range(first, last, PAIR_BLOCK)
        ]
        room = torch.empty(shape, device=device)
        for index, start in enumerate(starts):
            block = images[start : start + PAIR_BLOCK]
            others = own[index] if index < len(own) else self._block(block, room)
            for above, mine in enumerate(own[: index + 1]):
                with in_float32(self._device):
                    values = self.compare_rows(mine, others, self._size).float().cpu().numpy()
                rows = slice(above * PAIR_BLOCK, min((above + 1) * PAIR_BLOCK, last - first))
                columns = slice(index * PAIR_BLOCK, index * PAIR_BLOCK + len(block))
                out[rows, columns] = values[: rows.stop - rows.start, : len(block)]
            step(len(block) * (last - first))
        return out

    def _block(self, images: NDArray[np.int32], room: Tensor) -> Tensor:
        """Features of a block of images, written to `room`."""
        places = torch.arange(len(room), device=room.device)
        for start in range(0, len(images), self._batch):
            batch = images[start : start + self._batch]
            self._write(batch, room, places[start : start + len(batch)])
        room[len(images) :] = room[0]
        return room

    @torch.no_grad()
    def check(self) -> None:
        """Compare a few pairs with the package's own call. Raises InputError if the two no longer agree."""
        shown = check_images(_CHECK_SIZE, *self.input_range).to(self._device)
        task = np.array([[[0, 1, 2, 0]]], dtype=np.int32)  # queries 2 and 0, explanations 0 and 1
        with in_float32(self._device):
            rows = self.features(shown)
            ours = self.values(rows, task, 1, _CHECK_SIZE).reshape(-1)
            theirs = self.original(shown[[2, 2, 0, 0]], shown[[0, 1, 0, 1]]).float().cpu().numpy()
            paired = self.compare_rows(rows[[2, 0]], rows[[0, 1]], _CHECK_SIZE).reshape(-1).float().cpu().numpy()
        compare(self.name, self.package, ours, theirs)
        compare(self.name, self.package, paired, theirs)


def pairs_pay(n_images: int, n_tasks: int) -> bool:
    """Whether comparing all pairs of images once is shorter than solving the tasks block by block."""
    return n_images <= MOST_PAIRED and n_images**2 <= PAIRS_A_TASK * n_tasks


def mirrored(upper: NDArray[np.float32]) -> NDArray[np.float32]:
    """The symmetric table of distances with a minus whose upper triangle is given: 0 on the diagonal."""
    table = np.triu(upper, 1)
    table += table.T
    return table


def check_images(size: int, low: float, high: float) -> Tensor:
    """Four smooth random images (4, 3, size, size) for self-checks, the same ones everywhere."""
    noise = generator(0, "self-check").random((4, 3, 9, 9)).astype(np.float32)
    return low + (high - low) * nn.functional.interpolate(torch.from_numpy(noise), size=(size, size), mode="bilinear")


def compare(backend: str, package: str, ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> None:
    """Raise InputError unless similarities of the same pairs agree."""
    wrong = ~(np.abs(ours - theirs) <= TOLERANCE * (1 + np.abs(theirs)))
    if wrong.any():
        raise InputError(
            f"backend {backend}: {package} {package_version(package)} gives {theirs[wrong][0]:.8g} for a test pair where "
            f"its fast form here gives {ours[wrong][0]:.8g}. The installed version computes something else than the form "
            "was derived from; install the versions of requirements.lock"
        )


def sharing_order(tasks: NDArray[np.int32], window: int = 1024) -> NDArray[np.int64]:
    """Order of units (rows of tasks) in which neighbours share many images.

    From the first unit of every `window` units in turn: next comes the one that shares most images with the unit
    before it, the first of equals. Windows keep the cost linear in the number of units.
    """
    from scipy import sparse

    order: list[int] = []
    for start in range(0, len(tasks), window):
        part = tasks[start : start + window].reshape(len(tasks[start : start + window]), -1)
        rows = np.repeat(np.arange(len(part)), part.shape[1])
        seen = sparse.csr_array((np.ones(part.size, np.int32), (rows, part.reshape(-1))))
        seen.data[:] = 1
        current, left = 0, np.ones(len(part), dtype=bool)
        columns = seen.tocsc()
        for _ in range(len(part)):
            order.append(start + current)
            left[current] = False
            shared = columns[:, seen.indices[seen.indptr[current] : seen.indptr[current + 1]]].sum(axis=1)
            current = int(np.argmax(np.where(left, shared, -1)))
    return np.array(order, dtype=np.int64)


def package_version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


@contextlib.contextmanager
def package_loading(replaced: Mapping[str, object] = MappingProxyType({})) -> Generator[None, None, None]:
    """Inside, torch reads tensors and nothing else, and names such as "torch.hub.load" are what is given here.

    For package constructors that fetch files by themselves or load them without `weights_only`. Everything is as before
    afterwards, and what a constructor draws for weights that are filled later leaves the global generator alone.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # packages call torchvision in its older form
        stack.enter_context(torch.random.fork_rng(devices=[]))
        for name, value in {"torch.load": partial(torch.load, weights_only=True), **replaced}.items():
            stack.enter_context(mock.patch(name, value))
        yield


def fill(model: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Strictly load named tensors. Raises InputError that names the file if they do not fit."""
    try:
        model.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        lines = " ".join(line.strip() for line in str(error).splitlines()[1:4])[:300]
        raise InputError(f"{where} does not fit its network: {lines} Put the file of that network there") from None
