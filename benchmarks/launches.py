"""What the study adds to a forward pass on a GPU, counted without one: kernels launched and bytes moved by a batch.

    python -m benchmarks.launches [NETWORK ...] [--batch 256] [--precision float32 float16]

The networks run on torch's fake CUDA tensors, which know shapes, types and devices and hold no numbers, under a dispatch mode
that sees every operation of torch. One that is no view and no allocation counts as one launch; its bytes are those of its
inputs and outputs, each once. `where` names what asked for it: `network` is the network's own work, beside that of a plain pass
(`network alone`); then come pictures (made ready), capture, selection and kept columns (KEPT units, with the copy to the host).
What one batch in several does, such as a journey of columns, counts by its share. Selection stands after SEEN images, where
bounds choose, and has its kernel. `waits` are copies and numbers for which the host waits for the device.

Expected: beside the network at most LIMIT_LAUNCHES launches and the bytes of LIMIT_BYTES, as tests/benchmarks hold it.
"""

from __future__ import annotations

import argparse
import inspect
from collections import Counter, defaultdict
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.harness import report
from interpretability.extremes.held import FINITE, Held
from interpretability.extremes.on_gpu import DeviceSelection
from interpretability.networks import preprocessing
from interpretability.networks.layers import find_layers
from interpretability.networks.precision import PRECISIONS, arithmetic, prepared
from interpretability.networks.preprocessing import Preprocessing, timm_preprocessing
from interpretability.schema import SCORED_TYPES
from study.extraction.job import Seat
from study.extraction.running import Running
from study.networks.readout import Readout

GPU = torch.device("cuda:0")
K = 200  # images a side
KEPT = 64  # units whose whole column is kept
SEEN = 640_000  # images before, half of ImageNet
NETWORKS = ("resnet50", "vit_base_patch16_224")
BATCHES = 40
LIMIT_LAUNCHES = 130
LIMIT_BYTES = {"resnet50": 8.58e9, "vit_base_patch16_224": 13.14e9}
ROOT = Path(__file__).resolve().parents[1]
aten = torch.ops.aten
# operations that are no views by their schema, and start nothing on a device
_FREE = {
    aten._unsafe_view,
    aten.as_strided_,
    *(aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided),
}
_PARTLY = {aten.index_select, aten.gather, aten.index}  # read as much of their first input as they give


def launches(func: Any) -> bool:
    """Whether an operation starts a kernel or a copy."""
    return func.namespace != "prim" and not func.is_view and func.overloadpacket not in _FREE


def moved(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: object) -> int:
    """Bytes of the inputs and outputs of an operation, each once; what is written in place is both."""
    names = func._schema.arguments
    given = [*zip(names, args, strict=False), *((name, kwargs[name.name]) for name in names if name.name in kwargs)]
    read = [tensor for name, value in given if not name.is_out for tensor in _tensors(value)]
    written = list(_tensors(result))
    if not written:  # all that it gives, it writes in place
        written = [tensor for name, value in given if name.is_write for tensor in _tensors(value)]
    if func.overloadpacket in _PARTLY:
        read[0] = written[0]
    elif func.overloadpacket is aten.index_copy_:  # of itself, index and source
        read, written = read[1:], read[2:]
    elif func.overloadpacket is aten.copy_:
        read = read[1:]
    return sum(tensor.numel() * tensor.element_size() for tensor in (*read, *written))


def waits(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: object) -> bool:
    """Whether an operation copies between device and host so that the host waits for the device."""
    devices = {tensor.device.type for tensor in (*_tensors(args), *_tensors(result))}
    if func.overloadpacket not in (aten._to_copy, aten.copy_) or len(devices) < 2:
        return False
    return not (kwargs.get("non_blocking") or (func.overloadpacket is aten.copy_ and args[2:] == (True,)))


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)


class Counting(TorchDispatchMode):
    """Counts launches and bytes by the place in this project that asked for them: (file, function)."""

    def __init__(self) -> None:
        super().__init__()
        self.launches: Counter[tuple[str, str]] = Counter()
        self.bytes: Counter[tuple[str, str]] = Counter()
        self.waits: Counter[tuple[str, str]] = Counter()
        self.operations: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)

    def __torch_dispatch__(
        self, func: Any, types: Collection[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default:  # a number that the host asks for
            self.waits[_place(inspect.currentframe())] += 1
            return 0
        result = func(*args, **kwargs)
        if launches(func):
            place = _place(inspect.currentframe())
            self.waits[place] += waits(func, args, kwargs, result)
            self.launches[place] += 1
            self.bytes[place] += moved(func, args, kwargs, result)
            self.operations[place][str(func)] += 1
        return result

    def sums(self, batches: int) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
        """Launches, bytes and waits a batch, by what they are part of."""
        found: tuple[Counter[str], ...] = Counter(), Counter(), Counter()
        for total, by_place in zip(found, (self.launches, self.bytes, self.waits), strict=True):
            for place, amount in by_place.items():
                total[where(place)] += amount
        launched, size, waited = ({name: n / batches for name, n in total.items()} for total in found)
        return launched, size, waited


def _place(frame: FrameType | None) -> tuple[str, str]:
    """The innermost function of the library or of the study that is running."""
    while frame is not None:
        if file := _file(frame.f_code.co_filename):
            return file, frame.f_code.co_name
        frame = frame.f_back
    return "", ""


@cache
def _file(path: str) -> str:
    """A file of the library or of the study as the repository names it; empty for others."""
    inside = path.removeprefix(f"{ROOT}/")
    return inside if inside != path and inside.startswith(("interpretability/", "study/")) else ""


_PLACES = {  # by the beginning of the file, the first that fits
    "interpretability/networks/preprocessing.py": "pictures",
    "interpretability/networks/layers.py": "capture",
    "interpretability/networks/capture.py": "capture",
    "interpretability/networks/following.py": "capture",
    "interpretability/networks": "network",
    "interpretability/extremes": "selection",
    "study/extraction": "kept columns",
}


def where(place: tuple[str, str]) -> str:
    """What a launch is part of. A network runs inside `Capture._run`, and so it is the network's own."""
    file, function = place
    if not file or (file == "interpretability/networks/capture.py" and function == "_run"):
        return "network"
    return next((name for start, name in _PLACES.items() if file.startswith(start)), file)


class Event:
    """Stands for an event of CUDA, which has always passed."""

    def __init__(self, **_: object) -> None: ...

    def record(self, *_: object) -> None: ...

    def query(self) -> bool:
        return True

    def synchronize(self) -> None: ...

    def elapsed_time(self, _: object) -> float:
        return 0.0


def _fused_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0, **options: Any
) -> Tensor:
    """Attention in one kernel, as torch has it on a GPU; where it finds none it takes it apart."""
    return aten._scaled_dot_product_efficient_attention(query, key, value, attn_mask, False, dropout_p, **options)[0]


@torch.library.custom_op("benchmarks::offer", mutates_args=("counts", "bins", "nonpositive", "status"))
def _offer(
    values: Tensor,
    low: Tensor,
    high: Tensor,
    bounds: Tensor,
    bound_keys: Tensor,
    counts: Tensor,
    bins: Tensor,
    nonpositive: Tensor,
    status: Tensor,
) -> None:
    """What the kernel of a selection reads and writes where bounds choose, beside the few values that it keeps."""
    raise NotImplementedError("it is counted only")


@_offer.register_fake
def _(*tensors: Tensor) -> None: ...


def _kernel(held: Held, values: Tensor, first: int) -> None:
    touched = held.bins[:, :3]  # a sum of 53 bits lies in at most three bins
    _offer(
        *(
            values,
            held.low,
            held.high,
            held.bounds,
            held.bound_keys,
            held.counts,
            touched,
            held.nonpositive,
            held.status,
        )
    )


class _NoStore:
    """A work store that holds nothing."""

    def find(self, *_: object) -> None: ...


def _laid_out(model: nn.Module, *, memory_format: torch.memory_format) -> nn.Module:
    """`Module.to` for fake parameters, which torch cannot exchange in place."""
    for part in model.modules():
        for name, value in list(part.named_parameters(recurse=False)):
            if value.dim() == 4:
                setattr(part, name, nn.Parameter(value.data.to(memory_format=memory_format), requires_grad=False))
    return model


@contextmanager
def fake_gpu() -> Generator[FakeTensorMode]:
    """Fake tensors on a fake GPU, on which this process is a worker of the study."""
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with ExitStack() as stack:
        for name, value in {
            "torch.cuda.Event": Event,
            "torch.cuda.device_of": lambda _: nullcontext(),
            "torch.Tensor.pin_memory": lambda self: self,
            "torch.nn.Module.to": _laid_out,
            "torch.nn.functional.scaled_dot_product_attention": _fused_attention,
            "torch.Tensor.numpy": lambda self: np.zeros(self.shape, np.float32),
            "torch.cuda.amp.common.amp_definitely_not_available": lambda: False,
            "interpretability.networks.capture.Capture._refusals": lambda _: 0,
            "interpretability.extremes.on_gpu._kernel": lambda *_: _kernel,
            # what a selection is told: no key waits, all values are finite
            "torch._subclasses.fake_tensor.FakeTensor.tolist": lambda _: [0, FINITE],
            "study.workers.device._device": str(GPU),
        }.items():
            stack.enter_context(mock.patch(name, value))
        stack.enter_context(fake)
        stack.callback(preprocessing._levels.cache_clear)  # of fake ones  # pyright: ignore[reportPrivateUsage]
        yield fake


def put_on_fake_gpu(model: nn.Module) -> nn.Module:
    """Give a network fake parameters and buffers on the GPU; call it inside `fake_gpu`."""
    for part in model.modules():
        for name, value in list(part.named_parameters(recurse=False)):
            made = torch.empty(value.shape, dtype=value.dtype, device=GPU)
            setattr(part, name, nn.Parameter(made, requires_grad=False))
        for name, value in list(part.named_buffers(recurse=False)):
            setattr(part, name, torch.empty(value.shape, dtype=value.dtype, device=GPU))
    return model


def seat_of(name: str, model: nn.Module, view: Preprocessing, device: torch.device = GPU) -> Seat:
    """A network of a pass in float32, all of whose units are read, KEPT of them kept."""
    layers = find_layers(model, torch.empty((3, 3, view.crop, view.crop), device=device), layer_types=SCORED_TYPES)
    owners = [(layer.name, unit) for layer in layers for unit in range(layer.width)]
    read = Readout(layers, [], {}, {layer.name: layer.width for layer in layers}, {}, [])
    shared, keys = {"n_extremes": K, "precision": "float32"}, np.arange(len(owners), dtype=np.uint64)
    return Seat(name, model, view, read, {}, keys, owners, list(range(KEPT)), [], shared, "float32")


def in_precision(seat: Seat, precision: str) -> Seat:
    """The same network in another precision; weights stay cast, so float32 comes first."""
    prepared(seat.model, precision)
    return replace(seat, precision=precision, shared={**seat.shared, "precision": precision})


def begun(seat: Seat, n_images: int, batch: int) -> Running:
    """A network at the start of its way through images that nobody opens, beside a store that holds nothing."""
    images: Any = range(n_images)
    store: Any = _NoStore()
    return Running(seat, images, store, batch)


def have_seen_half(running: Running) -> None:
    """Let a network have selected from SEEN images."""
    side = np.zeros((len(running.seat.keys), K + 1), dtype=np.uint64)
    selection = DeviceSelection(running.seat.keys, K, GPU, state=(side, side), n_images=SEEN)
    running._offer = lambda values, rows: selection.update(values, int(rows[0]))  # pyright: ignore[reportPrivateUsage]


def values_of(running: Running) -> Tensor:
    """What was read of the last batch (images, units)."""
    return running._capture.buffer  # pyright: ignore[reportPrivateUsage]


@dataclass(frozen=True)
class Counted:
    """Launches, bytes and waits of one batch by what they are part of, for a network of so many units."""

    network: str
    precision: str
    batch: int
    units: int
    plain: tuple[float, float]  # launches and bytes of a pass of the network alone, its weights cast beforehand
    launches: dict[str, float]
    bytes: dict[str, float]
    waits: dict[str, float]

    def beyond(self) -> tuple[float, float]:
        """Launches and bytes of all that the study does, beyond the network alone."""
        return sum(self.launches.values()) - self.plain[0], sum(self.bytes.values()) - self.plain[1]


def counted(network: str, batch: int, precisions: Sequence[str], batches: int = BATCHES) -> Iterator[Counted]:
    """Counts of a network in each precision, float32 before the others.

    The first batch makes what later ones find there and is left out; in the second everything is counted; after that the
    values of the network are taken as they are, for another `batches` batches of which the mean counts.
    """
    import timm

    with torch.device("meta"):
        model = timm.create_model(network).eval()
    with fake_gpu():
        put_on_fake_gpu(model)
        view = Preprocessing.parse(timm_preprocessing(model), network)
        seat = seat_of(network, model, view)
        pictures = torch.empty((batch, 3, view.crop, view.crop), dtype=torch.uint8, device=GPU)
        for precision in sorted(precisions, key=lambda name: name != "float32"):
            seat = in_precision(seat, precision)
            plain, whole, rest = Counting(), Counting(), Counting()
            with torch.no_grad(), arithmetic(model, precision, GPU):
                ready = view.normalised(pictures)
                with plain:
                    model(ready)
            running = begun(seat, batch * (batches + 2), batch)
            have_seen_half(running)
            places = [np.arange(start, start + batch) for start in range(0, batch * (batches + 2), batch)]
            running.step(places[0], view.normalised(pictures))
            with whole:
                running.step(places[1], view.normalised(pictures))
            values = values_of(running)
            running.close()
            running._forward = mock.Mock(return_value=values)  # pyright: ignore[reportPrivateUsage]
            with rest:
                for rows in places[2:]:
                    running.step(rows, ready)
            sums = [plain.sums(1), whole.sums(1), rest.sums(batches)]
            yield Counted(
                network,
                precision,
                batch,
                len(seat.keys),
                (sums[0][0]["network"], sums[0][1]["network"]),
                *(whole_batch | several for whole_batch, several in zip(*sums[1:], strict=True)),
            )


def rows_of(count: Counted) -> Iterator[dict[str, object]]:
    """Rows of the table: the network alone, each part of the study, and all beyond the network."""
    own = {"network alone": count.plain, **{name: (n, count.bytes[name]) for name, n in count.launches.items()}}
    for name, (n, size) in {**own, "beyond the network": count.beyond()}.items():
        yield {
            "network": count.network,
            "units": count.units,
            "precision": count.precision,
            "batch": count.batch,
            "where": name,
            "launches": n,
            "gigabytes": size / 1e9,
            "waits": sum(count.waits.values()) if name.startswith("beyond") else count.waits.get(name, 0.0),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK", help="names of timm")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["float32", "float16"])
    parser.add_argument("--batches", type=int, default=BATCHES, help="over which merges and journeys are spread")
    args = parser.parse_args()
    counts = (count for name in args.networks for count in counted(name, args.batch, args.precision, args.batches))
    rows = [row for count in counts for row in rows_of(count)]
    report(
        "launches", f"Launches and bytes of a batch of {args.batch}, {KEPT} columns kept, counted on no device", rows
    )


if __name__ == "__main__":
    main()
