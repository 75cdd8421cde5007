"""What it costs to read every unit beside a forward pass, and to select from what was read.

    python -m benchmarks.capture [NETWORK ...] [--batch 16] [--rounds 7] [--threads 1] [--device cpu] [--precision float32]
    python -m benchmarks.capture --device cuda --precision float16 --batch 256 --forms graph compiled --name capture_cuda

Forms take turns on the same batch, a new one every round: `plain` runs the network, `capture` also reads all units of
its convolutions, linear layers and norms, `select` also hands them to Extremes and Moments, as a worker of the stage
`activations` does: one thread, and freed memory kept; on a GPU 1,024 images in every round. Two more where they are asked for,
both with selection: `graph` replays a recording of the batch (on a GPU alone), `compiled` runs one compiled function. Weights
are cast to the precision before, for the plain form as well. Selection starts where 8,192 images have gone before, so that a
value enters a list as often as on average over a study of 50,000 images (1 in 20; in one of 1.28 million 1 in 300). Networks have
random weights and images are noise, which changes no operation. Before the clock starts, captured values are compared with
means taken from the outputs of all modules in double precision.

`forward_share` is the share of a plain pass in one with selection. Operations are those of benchmarks.flops.
--precision is that of the network, as `activations.precision`; captured means stay float32.

Expected on 1 core: `capture_ratio` and `select_ratio` as in results/capture.csv; the aims are at most 1.10 and 1.25.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.flops import operations
from benchmarks.harness import ratios, report, take_turns
from interpretability.extremes.moments import Moments
from interpretability.extremes.on_gpu import CHUNK, DeviceSelection
from interpretability.extremes.selection import Extremes
from interpretability.networks import capture
from interpretability.networks.compiled import Compiled, Compiler, inductor, largest_difference
from interpretability.networks.layers import Layer, find_layers
from interpretability.networks.network import initialised
from interpretability.networks.precision import PRECISIONS, arithmetic, laid_out, prepared
from interpretability.networks.replayed import CudaRecorder, Recorder, Replayed
from interpretability.randomness import generator, unit_keys
from study.workers import placement
from study.workers.device import exact, keep_memory

SEED = 0
NETWORKS = ("resnet50", "vit_small_patch16_224", "convnext_tiny", "mobilenetv2_100")
LAYER_TYPES = ("Conv", "Linear", "BatchNorm", "LayerNorm", "GroupNorm")
K = 200  # images a side
SEEN = 8192  # images before the first round
CHECKED = 16  # images whose captured values are compared before the clock starts
# largest error of a captured mean, relative to the largest value of its layer; in half precision the outputs of a norm,
# from which the reference is made, are rounded
TOLERANCES = {"float32": 1e-4, "tf32": 3e-3, "float16": 3e-3, "bfloat16": 3e-2}
MORE = ("graph", "compiled")


def pictures(network: str, turn: int, batch: int, size: int, device: torch.device) -> torch.Tensor:
    """Normalised noise (batch, 3, size, size), another one for every turn."""
    drawn = generator(SEED, "benchmark", network, "images", turn).standard_normal((batch, 3, size, size), np.float32)
    return torch.from_numpy(drawn).to(device)


def opened(network: str, device: torch.device) -> tuple[torch.nn.Module, int, list[Layer]]:
    """A timm network with keyed random weights, the side of its pictures, and its layers by the rules of the study."""
    import timm

    model = initialised(lambda: timm.create_model(network, pretrained=False), SEED, network).eval().to(device)
    described: Any = model.pretrained_cfg  # a dictionary that timm adds to its networks
    size = int(described["input_size"][-1])
    example = pictures(network, 0, 3, size, device)
    return model, size, find_layers(model, example, layer_types=LAYER_TYPES)


def direct_values(
    model: torch.nn.Module, layers: Sequence[Layer], batch: torch.Tensor, precision: str = "float32"
) -> NDArray[np.float64]:
    """Means (images, units) of every layer's output in double precision, from hooks of their own."""
    outputs: dict[tuple[str, str], list[torch.Tensor]] = {}
    handles = []

    def keep(place: tuple[str, str], value: torch.Tensor) -> None:
        outputs.setdefault(place, []).append(value.detach().double())

    def keep_output(place: tuple[str, str], _: torch.nn.Module, args: object, out: torch.Tensor) -> None:
        keep(place, out)

    def keep_input(place: tuple[str, str], _: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        keep(place, args[0])

    for place in {(layer.module, layer.tap) for layer in layers}:
        module = model.get_submodule(place[0])
        if place[1] == "output":
            handles.append(module.register_forward_hook(partial(keep_output, place)))
        else:
            handles.append(module.get_submodule(place[1]).register_forward_pre_hook(partial(keep_input, place)))
    with torch.no_grad(), arithmetic(model, precision, batch.device):
        model(batch)
    for handle in handles:
        handle.remove()
    columns = []
    for layer in layers:
        value = outputs[layer.module, layer.tap][layer.call]
        others = [axis for axis in range(value.ndim) if axis not in (layer.batch_axis, layer.channel_axis)]
        mean = value.mean(dim=others) if others else value
        columns.append(mean if layer.batch_axis < layer.channel_axis else mean.T)
    return torch.cat(columns, dim=1).cpu().numpy()


class Forms:
    """The forms of one network, on the batch in `self.batch`; a copy of the network carries the hooks."""

    def __init__(self, network: str, batch_size: int, device: torch.device, precision: str, seen: int) -> None:
        self.network, self.device, self.precision, self.batch_size = network, device, precision, batch_size
        self.model, self.size, self.layers = opened(network, device)
        laid_out(self.model, precision, device)  # as the stage does it
        self.gflop = operations(self.model, (3, self.size, self.size)) / 1e9
        prepared(self.model, precision)
        self.arithmetic = arithmetic(self.model, precision, device)
        self.steps = 1 if device.type == "cpu" else max(1, CHUNK // batch_size)
        self.n_units = sum(layer.width for layer in self.layers)
        self.read = copy.deepcopy(self.model)
        self.capture = capture.Capture(self.read, self.layers, batch_size, device, precision=precision)
        self.capture.__enter__()  # as long as the copy lives
        self.turn(0)
        self._fill(seen)

    def turn(self, number: int) -> None:
        if number and self.device.type != "cpu":  # drawing would take longer than the round
            self.batch = self.batch.roll(1, -1)
        else:
            self.batch = pictures(self.network, number, self.batch_size, self.size, self.device)

    def _fill(self, seen: int) -> None:
        """Lists as after `seen` images, drawn with the mean and the spread that each unit has on a first batch."""
        first = self.captured()
        if self.device.type != "cpu":
            self._fill_there(seen, first.mean(dim=0), first.std(dim=0))
            return
        values = first.numpy()
        mean, spread = values.mean(axis=0), values.std(axis=0)
        keys = unit_keys(SEED, self.network, "all", np.arange(self.n_units))
        self.extremes: Extremes | DeviceSelection = Extremes(keys, K)
        self.moments = Moments(self.n_units)
        draw = generator(SEED, "benchmark", self.network, "seen")
        for start in range(0, seen, 256):
            drawn = draw.standard_normal((min(256, seen - start), self.n_units), dtype=np.float32)
            drawn *= spread
            drawn += mean
            self.extremes.update(drawn, np.arange(start, start + len(drawn)))

    def _fill_there(self, seen: int, mean: torch.Tensor, spread: torch.Tensor) -> None:
        """The same on a device, which draws for itself."""
        keys = unit_keys(SEED, self.network, "all", np.arange(self.n_units))
        self.extremes = DeviceSelection(keys, K, self.device)
        draw = torch.Generator(self.device).manual_seed(SEED)
        for start in range(0, seen, 256):
            drawn = torch.randn((min(256, seen - start), self.n_units), device=self.device, generator=draw)
            self.extremes.update(drawn.mul_(spread).add_(mean), start)

    def plain(self) -> torch.Tensor:
        with torch.no_grad(), self.arithmetic:
            out = self.model(self.batch)
            for _ in range(self.steps - 1):
                out = self.model(self.batch)
        self.wait()
        return out

    def captured(self) -> torch.Tensor:
        values = self.capture(self.batch)
        for _ in range(self.steps - 1):
            values = self.capture(self.batch)
        self.wait()
        return values

    def selected(self) -> None:
        self._selected(self.capture)

    def record(self, recorder: Recorder | None = None) -> Callable[[], object]:
        """The form `graph`. Raises AssertionError where a replay has other bytes than a plain batch, or none is made."""
        self.replayed = Replayed(self.capture, recorder or CudaRecorder(self.device))
        for _ in range(3):
            self.turn(1)
            right = self.capture(self.batch).clone()
            if not torch.equal(self.replayed(self.batch).view(torch.int32), right.view(torch.int32)):
                raise AssertionError(f"{self.network}: a replayed batch gives other values than a plain one")
        if self.replayed.form != "graph":
            raise AssertionError(f"{self.network}: its batches cannot be recorded: {self.replayed.reason}")
        return partial(self._selected, self.replayed)

    def compile(self, compiler: Compiler = inductor) -> Callable[[], object]:
        """The form `compiled`, of a network without hooks."""
        self.compiled = Compiled(self.model, self.layers, self.batch, precision=self.precision, compiler=compiler)
        return partial(self._selected, self.compiled)

    def compiled_difference(self) -> float:
        """Largest difference of a compiled value from a plain one, relative to its layer's largest."""
        return largest_difference(self.compiled(self.batch), self.capture(self.batch), self.layers)

    def _selected(self, read: Callable[[torch.Tensor], torch.Tensor]) -> None:
        for _ in range(self.steps):
            values = read(self.batch)
            first = self.extremes.n_images
            if isinstance(self.extremes, DeviceSelection):
                self.extremes.update(values, first)
            else:
                self.extremes.update(values.numpy(), np.arange(first, first + len(values)))
                self.moments.update(values.numpy())
        self.wait()

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def check(self) -> float:
        """Largest error of a captured mean relative to its layer's largest value; raises above the precision's tolerance.

        A few images are compared, because the outputs of all layers are kept for it.
        """
        whole, steps = self.batch, self.steps
        self.batch, self.steps = whole[:CHECKED], 1
        try:
            return self._worst()
        finally:
            self.batch, self.steps = whole, steps

    def _worst(self) -> float:
        plain, seen = self.plain(), []
        handle = self.read.register_forward_hook(lambda _, args, out: seen.append(out))
        values = self.captured().cpu().numpy()
        handle.remove()
        if not torch.equal(plain, seen[-1]):
            raise AssertionError(f"{self.network}: the output of the network changes when its units are read")
        right, offset, worst = direct_values(self.model, self.layers, self.batch, self.precision), 0, 0.0
        for layer in self.layers:
            part = slice(offset, offset + layer.width)
            offset += layer.width
            error = float(np.abs(values[:, part] - right[:, part]).max() / max(1e-3, np.abs(right[:, part]).max()))
            if not error <= TOLERANCES[self.precision]:
                raise AssertionError(f"{self.network}: captured values of {layer.name} are off by {error:.1e}")
            worst = max(worst, error)
        return worst


def measure(network: str, args: argparse.Namespace) -> dict[str, object]:
    """One row of the result table."""
    device = torch.device(args.device)
    if device.type == "cuda":
        device = torch.device("cuda", device.index or 0)
        exact(str(device))
    forms = Forms(network, args.batch, device, args.precision, args.seen)
    error = forms.check()
    named: dict[str, Callable[[], object]] = {
        "plain": forms.plain,
        "capture": forms.captured,
        "select": forms.selected,
    }
    if "graph" in args.forms:
        named["graph"] = forms.record()
    if "compiled" in args.forms:
        named["compiled"] = forms.compile()
    for work in named.values():  # also compiles, and starts threads
        work()
    turns = []
    for turn in range(args.rounds):
        forms.turn(turn + 1)
        turns.append(take_turns(named, turn))
    times = {name: [turn[name] for turn in turns] for name in named}
    seconds = {name: float(np.median(times[name], axis=0)[0]) / forms.steps for name in named}
    row: dict[str, object] = {
        "network": network,
        "device": placement.device_kind(str(device)),
        "precision": args.precision,
        "threads": args.threads,
        "batch": args.batch,
        "units": forms.n_units,
        **{f"{name}_s": value for name, value in seconds.items()},
    }
    for name in list(named)[1:]:
        row |= {f"{name}_{column}": value for column, value in ratios(times[name], times["plain"]).items()}
    return row | {
        "forward_share": seconds["plain"] / seconds["select"],
        "images_per_s": args.batch / seconds["plain"],
        "gflop": forms.gflop,
        "gflop_per_s": forms.gflop * args.batch / seconds["plain"],
        "mean_error": error,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK", help="names of timm")
    for name, default in (("batch", 16), ("rounds", 7), ("threads", 1), ("seen", SEEN)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:NUMBER")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--forms", nargs="*", choices=MORE, default=(), help="besides plain, capture and select")
    parser.add_argument("--name", default="capture", help="name of the CSV in the folder of results")
    args = parser.parse_args()
    if "graph" in args.forms and not args.device.startswith("cuda"):
        parser.error("--forms graph needs --device cuda: a CPU has no graphs to record")
    torch.set_num_threads(args.threads)
    keep_memory()  # as in a worker: without it the kernel zeroes pages for as long as the arithmetic takes
    rows = []
    for network in args.networks:
        rows.append(measure(network, args))
        print(
            f"{network}: {rows[-1]['capture_ratio']:.3f} with capture, {rows[-1]['select_ratio']:.3f} with selection",
            flush=True,
        )
    report(args.name, f"Batches of {args.batch} on {args.threads} threads, {args.precision}, random weights", rows)


if __name__ == "__main__":
    main()
