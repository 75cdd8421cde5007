"""Streaming selection against torch.topk on (state, batch) after every batch.

    python -m benchmarks.selection [--units 20000] [--images 50000] [--rounds 3] [--batch 256] [--late-batches 16] [--wide 60000]

Cases: `empty` selects the 200 most and least exciting of all images from nothing and ranks them at the end; `late`
continues from the state that 640,000 images leave behind. `_zeros` is the same with 95 % exact zeros, as rectified
units give. Both sides see the same fresh batches, one after the other, and must end with the same result. `wide` are single
steps for as many units as a ResNet-50 has and more: the factor of one batch, in two rounds, among the first 8 batches
(`wide_first`, no ranking) and from the late state.

The baseline keeps values and image numbers of both sides unit-major and unsorted, the fastest of the six forms of it
that were tried (unit-major or image-major, sorted or not, transposed once or twice). It gets as many threads as we do.

Expected on 2 cores with AVX-512: `ratio` as in results/selection.csv.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from benchmarks.harness import THREADS, Times, in_process, memory, ratios, report, take_turns, timed, use_threads
from interpretability.extremes.selection import Extremes, Ranked, pack, unmix32, unpack
from interpretability.randomness import generator

SEED = 0
K = 200  # images a side: 20 tasks of 9 explanations and a query
SEEN = 640_000  # images behind the state of the late cases, half of ImageNet
ZEROS = 0.95
CUT = np.float32(ndtri(ZEROS))  # rectifying standard normal values here leaves 95 % exact zeros
CHECKED = 64  # units whose selection is also compared with a full sort

Keys = NDArray[np.uint64]


def unit_keys(units: int) -> Keys:
    return generator(SEED, "benchmark", "units").integers(2**63, size=units).astype(np.uint64)


def values(shape: tuple[int, int], zeros: bool, *ids: str | int) -> NDArray[np.float32]:
    """Standard normal activations (images, units), rectified where `zeros`."""
    drawn = generator(SEED, "benchmark", *ids).standard_normal(shape, dtype=np.float32)
    return np.maximum(drawn - CUT, 0, out=drawn) if zeros else drawn


def batches(
    first: int, n_images: int, batch: int, units: int, zeros: bool, turn: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int32]]]:
    for start in range(first, first + n_images, batch):
        images = np.arange(start, min(start + batch, first + n_images), dtype=np.int32)
        yield values((len(images), units), zeros, turn, start), images


def late_state(keys: Keys, zeros: bool) -> tuple[Keys, Keys]:
    """Packed keys (units, k + 1) of both sides after SEEN images, drawn from their exact joint distribution.

    The smallest of n uniform numbers are partial sums of exponential ones over the sum of all n + 1; the largest are
    the mirror image of the same. Among exact zeros the mixes are uniform, and the smallest of them are kept.
    """
    draw = generator(SEED, "benchmark", "late", int(zeros))
    kept = (len(keys), K + 1)
    above, below = (draw.standard_exponential(kept).cumsum(axis=1) for _ in range(2))
    total = above[:, -1:] + below[:, -1:] + draw.standard_gamma(SEEN + 1 - 2 * (K + 1), size=(len(keys), 1))
    top, bottom = -ndtri(above / total).astype(np.float32), ndtri(below / total).astype(np.float32)
    images = draw.permuted(np.broadcast_to(np.arange(2 * (K + 1)), (len(keys), 2 * (K + 1))), axis=1)
    top_images, bottom_images = np.split(images, 2, axis=1)
    if zeros:
        top, bottom = np.maximum(top - CUT, 0), np.zeros_like(bottom)
        mixes = draw.standard_exponential(kept).cumsum(axis=1) / (ZEROS * SEEN) * 2.0**32
        bottom_images = unmix32(mixes.astype(np.uint32), keys[:, None])
    packed = [pack(side, own, keys[:, None]) for side, own in ((top, top_images), (bottom, bottom_images))]
    return np.sort(packed[0], axis=1)[:, ::-1], np.sort(packed[1], axis=1)


class Ours:
    """Extremes, from nothing or from a given state."""

    def __init__(self, keys: Keys, state: tuple[Keys, Keys] | None) -> None:
        self.extremes = Extremes(keys, K, threads=THREADS, state=state, n_images=SEEN if state else 0)

    def update(self, batch: NDArray[np.float32], images: NDArray[np.int32]) -> None:
        self.extremes.update(batch, images)

    def finish(self) -> None:
        self.ranked: Ranked = self.extremes.ranked()


class Baseline:
    """torch.topk over the k best so far and the batch, values and image numbers, for each side."""

    def __init__(self, keys: Keys, state: tuple[Keys, Keys] | None) -> None:
        import torch

        self.sides = [(torch.empty((len(keys), 0)), torch.empty((len(keys), 0), dtype=torch.int32)) for _ in range(2)]
        if state is not None:
            unpacked = [unpack(np.ascontiguousarray(packed[:, :K]), keys[:, None]) for packed in state]
            self.sides = [(torch.from_numpy(value), torch.from_numpy(image)) for value, image in unpacked]

    def update(self, batch: NDArray[np.float32], images: NDArray[np.int32]) -> None:
        import torch

        offered = torch.from_numpy(batch).T
        numbers = torch.from_numpy(images).expand(offered.shape)
        for side, (value, image) in enumerate(self.sides):
            joined = torch.cat([value, offered], dim=1)
            count = min(K, joined.shape[1])
            value, place = torch.topk(joined, count, dim=1, largest=side == 0, sorted=False)
            self.sides[side] = value, torch.cat([image, numbers], dim=1).gather(1, place)

    def finish(self) -> None:
        import torch

        for side, (value, image) in enumerate(self.sides):
            value, place = torch.sort(value, dim=1, descending=side == 0)
            self.sides[side] = value, image.gather(1, place)


def check(ours: Ours, baseline: Baseline, keys: Keys, seen: Keys) -> int:
    """Raise unless both sides selected the same; number of ties that the baseline settled otherwise.

    Values must be equal, and images wherever the value differs from the last one kept: which of several equal images
    is the last one in is for topk a matter of chance. For the first units the selection must equal a full sort of
    `seen`, the packed keys (units, images) of everything offered.
    """
    ranked, settled = ours.ranked, 0
    sides = ((ranked.top_values, ranked.top_images), (ranked.bottom_values, ranked.bottom_images))
    for side, (value, image) in enumerate(sides):
        theirs = [part.numpy() for part in baseline.sides[side]]
        mine, other = (np.sort(pack(v, i, keys[:, None]), axis=1) for v, i in ((value, image), theirs))
        open_ties = mine >> np.uint64(32) == pack(value[:, -1:], image[:, -1:], keys[:, None]) >> np.uint64(32)
        differ = mine != other
        if not np.array_equal(value, theirs[0]) or (differ & ~open_ties).any():
            raise AssertionError(f"side {side}: the two selections differ")
        settled += int(differ.sum())
        expected = np.sort(seen, axis=1)[:, -K:] if side == 0 else np.sort(seen, axis=1)[:, :K]
        if not np.array_equal(mine[: len(seen)], expected):
            raise AssertionError(f"side {side}: the selection differs from a full sort")
    return settled


def is_late(case: str) -> bool:
    return "late" in case


def compare(case: str, args: argparse.Namespace, turn: int) -> tuple[dict[str, Times], int]:
    """Times of both forms over one pass of the data, the same batch to each in changing order; ties settled otherwise."""
    late, zeros = is_late(case), case.endswith("zeros")
    keys = unit_keys(args.units)
    state = late_state(keys, zeros) if late else None
    ours, baseline = Ours(keys, state), Baseline(keys, state)
    forms: dict[str, Ours | Baseline] = {"ours": ours, "baseline": baseline}
    few = keys[:CHECKED, None]
    seen = [np.concatenate(state, axis=1)[:CHECKED]] if state else []
    times = {name: np.zeros(2) for name in forms}
    first, n_images = span(case, args)
    for number, (batch, images) in enumerate(batches(first, n_images, args.batch, args.units, zeros, turn)):
        work = {name: partial(form.update, batch, images) for name, form in forms.items()}
        for name, taken in take_turns(work, number + turn).items():
            times[name] += taken
        seen.append(pack(batch[:, :CHECKED].T, images, few))
    for name, form in forms.items():
        taken = timed(form.finish)
        # one ranking at the very end is no part of a few batches
        times[name] += taken if case.startswith("empty") else 0
    return times, check(ours, baseline, keys, np.concatenate(seen, axis=1))


def span(case: str, args: argparse.Namespace) -> tuple[int, int]:
    """Number of the first image offered and how many there are."""
    return (SEEN, args.late_batches * args.batch) if is_late(case) else (0, args.images)


def measure(case: str, args: argparse.Namespace) -> dict[str, object]:
    ours, baseline, settled = [], [], []
    for turn in range(args.rounds):
        times, ties = compare(case, args, turn)
        ours.append(times["ours"])
        baseline.append(times["baseline"])
        settled.append(ties)
        print(f"{case}, round {turn + 1} of {args.rounds}: {baseline[-1][0] / ours[-1][0]:.1f} times", flush=True)
    elements = span(case, args)[1] * args.units
    seconds = {"ours": np.median(ours, axis=0)[0], "baseline": np.median(baseline, axis=0)[0]}
    return {
        "case": case,
        "units": args.units,
        "images": span(case, args)[1],
        "elements": elements,
        **{f"{name}_s": passed for name, passed in seconds.items()},
        **ratios(baseline, ours),
        **{f"{name}_ns": 1e9 * passed / elements for name, passed in seconds.items()},
        "ties_settled_otherwise": int(np.median(settled)),
    }


def peak(units: int, n_images: int, batch: int) -> None:
    """Print the peak memory of a selection above what the process held before, the batch in hand not counted."""
    keys = unit_keys(units)
    block = np.zeros((batch, units), dtype=np.float32)
    warm = Extremes(keys[:1], 1)
    warm.update(block[:, :1], np.arange(batch))  # loads the compiled code
    warm.ranked()
    draw = generator(SEED, "benchmark", "memory")
    draw.standard_normal(out=block, dtype=np.float32)
    before = memory("VmRSS")
    extremes = Extremes(keys, K, threads=THREADS)
    for start in range(0, n_images, batch):
        draw.standard_normal(out=block, dtype=np.float32)
        count = min(batch, n_images - start)
        extremes.update(block[:count], np.arange(start, start + count))
    streaming = memory("VmHWM") - before
    extremes.keys()
    stored = memory("VmHWM") - before
    extremes.ranked()
    print(json.dumps({"streaming": streaming, "with_keys": stored, "with_ranking": memory("VmHWM") - before}))


def memory_rows(args: argparse.Namespace) -> list[dict[str, object]]:
    rows = []
    state = 2 * K * (4 + 4) * args.units  # float32 values and int32 image numbers of both sides
    for n_images in (args.images, 2 * args.images):
        call = ("--peak", n_images, "--units", args.units, "--batch", args.batch)
        peaks = in_process("benchmarks.selection", *call)
        row: dict[str, object] = {"units": args.units, "images": n_images, "state_bytes": state}
        for name, peak_bytes in peaks.items():
            row |= {f"{name}_bytes": peak_bytes, f"{name}_states": peak_bytes / state}
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    sizes = {"units": 20_000, "images": 50_000, "rounds": 3, "batch": 256, "late-batches": 16, "wide": 60_000}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--peak", type=int, metavar="IMAGES", help="only print the peak memory of one selection")
    args = parser.parse_args()
    if args.peak is not None:
        peak(args.units, args.peak, args.batch)
        return
    rows = memory_rows(args)
    report("selection_memory", "Peak memory above imports, in bytes and in final states", rows)
    use_threads()
    for case in ("empty", "late"):  # compiles and starts the thread pools outside the timed rounds
        compare(case, argparse.Namespace(**{**vars(args), "units": 512, "images": 1024}), 0)
    rows = [measure(case, args) for case in ("late", "late_zeros", "empty", "empty_zeros")]
    few = {"units": args.wide, "rounds": min(args.rounds, 2), "images": 8 * args.batch, "late_batches": 8}
    wide = argparse.Namespace(**{**vars(args), **few})
    rows += [measure(case, wide) for case in ("wide_first", "wide_late", "wide_late_zeros")]
    report("selection", f"Selection of {K} images a side, batches of {args.batch}, {THREADS} threads", rows)


if __name__ == "__main__":
    main()
