"""Forward passes with capture and selection beside plain ones: recorded as graphs, and compiled (acceptance value 8)."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.fx import GraphModule

from benchmarks.capture import Forms
from benchmarks.gpu import Found, alone
from benchmarks.harness import ratios, take_turns
from interpretability.networks.compiled import TOLERANCES
from study.workers.device import exact, keep_memory

SECONDS = 55
LIMITS = {
    "resnet50": 1.15,
    "vit_base_patch16_224": 1.15,
    "convnext_base": 1.15,
    "efficientnet_b0": 1.25,
    "mobilenetv2_100": 1.25,
}
COMPILED = "vit_base_patch16_224"  # its blocks are alike, so that it compiles in the time that there is
PRECISION = "float16"
# in the dry run, in place of each network: CPUs are slow in half precision
TINY, EXACT = "test_resnet", "float32"


class Again:
    """A recording for the dry run: on a CPU, a batch that was recorded is simply run again."""

    def warm(self, function: Callable[[], object]) -> None:
        function()

    def record(self, function: Callable[[], object]) -> Callable[[], object]:
        return function

    def input_like(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(batch)


def as_it_is(graph: GraphModule, arguments: list[torch.Tensor]) -> Callable[..., object]:
    """No compiler, for the dry run, which has no time for one."""
    return graph


def opened(network: str, device: str, quick: bool) -> Forms:
    if quick:
        return Forms(TINY, 2, torch.device(device), EXACT, seen=8)
    return Forms(network, 256, torch.device(device), PRECISION, seen=51_200)


def timed(forms: Forms, named: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median time of each form over that of the plain one in the same round, and `ms`: of a plain batch."""
    for work in named.values():
        work()
    turns = []
    for turn in range(rounds):
        forms.turn(turn + 1)
        turns.append(take_turns(named, turn))
    times = {name: [turn[name] for turn in turns] for name in named}
    found = {name: ratios(times[name], times["plain"])["ratio"] for name in named if name != "plain"}
    return {"ms": 1000 * float(np.median(times["plain"], axis=0)[0]) / forms.steps, **found}


def checks(device: str, quick: bool) -> Iterator[Found]:
    """Ratios of five networks, bytes of their graphs; then one network compiled."""
    if device.startswith("cuda"):
        exact(device)
    keep_memory()
    rounds, kept = 1 if quick else 5, dict[str, Forms]()
    for network in LIMITS:
        forms = opened(network, device, quick)
        if network == COMPILED:
            kept[network] = forms
        yield from alone(f"8 forward, {network}", recorded(network, forms, rounds, quick))
        del forms
        gc.collect()
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
    yield from alone(f"8 forward, {COMPILED}: compiled", compiled(kept[COMPILED], rounds, quick))


def recorded(network: str, forms: Forms, rounds: int, quick: bool) -> Iterator[Found]:
    """Whether a graph gives the bytes of plain passes, and how long capture and selection take beside them."""
    limit = LIMITS[network]
    named: dict[str, Callable[[], object]] = {"plain": forms.plain, "select": forms.selected}
    reason = ""
    try:
        named["graph"] = forms.record(Again() if quick else None)
    except AssertionError as error:
        reason = str(error)
        print(reason, flush=True)
    yield f"8 forward, {network}: graph has the bytes of plain", "equal", float(not reason), 1.0, not reason
    found = timed(forms, named, rounds)
    yield f"8 forward, {network}: plain batch of {forms.batch_size}", "ms", found["ms"], None, None
    said, run = "capture and selection over plain", "graph" if "graph" in found else "select"
    if run == "graph":
        yield f"8 forward, {network}: {said}, not recorded", "ratio", found["select"], None, None
    # what a study runs: the recorded form where there is one
    yield f"8 forward, {network}: {said}", "ratio", found[run], limit, bool(found[run] <= limit)


def compiled(forms: Forms, rounds: int, quick: bool) -> Iterator[Found]:
    """Seconds that compiling takes, how far its values are off, and how fast it is."""
    began = time.monotonic()
    work = forms.compile(as_it_is) if quick else forms.compile()
    difference, limit = forms.compiled_difference(), TOLERANCES[forms.precision]
    yield f"8 forward, {COMPILED}: compiling", "s", time.monotonic() - began, None, None
    yield f"8 forward, {COMPILED}: compiled off by", "of the layer", difference, limit, bool(difference <= limit)
    found = timed(forms, {"plain": forms.plain, "compiled": work}, rounds)
    yield f"8 forward, {COMPILED}: compiled with selection over plain", "ratio", found["compiled"], None, None
