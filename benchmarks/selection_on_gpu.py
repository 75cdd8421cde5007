"""The selection of a GPU on tensors of the CPU: its plain operations against the dense form, and how often it merges.

    python -m benchmarks.selection_on_gpu [--units 1000] [--batches 24] [--rounds 3] [--stream 1281167] [--stream-units 64]

`selection_on_gpu.csv`: nanoseconds a value of both forms, on one thread, while lists fill and from the state after 640,000
images, for normal values and for 95 % exact zeros. The dense form makes a key of every value and merges every 1,024
images, however many have been seen. Both must end with the same lists. What a kernel makes of it a CPU cannot show.

`selection_merges.csv`: over one stream of as many images as ImageNet has, in batches of 256: merges after 50,000 images in 50
batches, keys that had to wait for a merge a unit, and those that bounds without any delay would have let in.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import torch

from benchmarks.harness import ratios, report, take_turns
from benchmarks.selection import SEEN, K, Keys, late_state, unit_keys, values
from interpretability.extremes.held import add_exactly
from interpretability.extremes.moments import N_BINS
from interpretability.extremes.on_gpu import CHUNK, DeviceSelection
from interpretability.extremes.scanning import MIX_1, MIX_2

BATCH = 256
LATE = 50_000  # images after which merges are counted: 1.28 million leave most of a study behind
SIGN, LOW = np.uint64(1 << 63), 0xFFFFFFFF


class Dense:
    """Keys of all values, merged into both lists whenever CHUNK of them wait; moments beside."""

    def __init__(self, keys: Keys, state: tuple[Keys, Keys] | None) -> None:
        mixed = torch.from_numpy(keys.view(np.int64))
        self._low, self._high = mixed & LOW, (mixed >> 32) & LOW
        self._waiting = torch.empty((len(keys), CHUNK), dtype=torch.int64)
        self._filled = 0
        empty = np.empty((len(keys), 0), dtype=np.uint64)
        self._best = [torch.from_numpy((side ^ SIGN).view(np.int64)) for side in state or (empty, empty)]
        self.bins = torch.zeros((2, N_BINS, len(keys)), dtype=torch.int64)
        self.nonpositive = torch.zeros(len(keys), dtype=torch.int64)

    def update(self, batch: torch.Tensor, first: int) -> None:
        if self._filled + len(batch) > CHUNK:
            self._merge()
        self._waiting[:, self._filled : self._filled + len(batch)] = self._packed(batch, first).T
        self._filled += len(batch)
        if not torch.isfinite(batch).all():
            raise AssertionError("the values of this benchmark are finite")
        exact = batch.double()
        add_exactly(self.bins, torch.stack([exact.sum(dim=0), exact.square_().sum(dim=0)]))
        self.nonpositive += (batch <= 0).sum(dim=0)

    def _packed(self, batch: torch.Tensor, first: int) -> torch.Tensor:
        """Products of 32-bit numbers wrap in 64 bits, and their low halves are right."""
        bits = (batch + 0.0).view(torch.int32).to(torch.int64)
        ordered = bits ^ ((bits >> 63) & 0x7FFFFFFF)
        h = torch.arange(first, first + len(batch))[:, None] ^ self._low
        h = ((h ^ (h >> 16)) * int(MIX_1)) & LOW
        h = ((h ^ (h >> 13)) * int(MIX_2)) & LOW
        return (ordered << 32) | (h ^ (h >> 16) ^ self._high)

    def _merge(self) -> None:
        for side, best in enumerate(self._best):
            joined = torch.cat([best, self._waiting[:, : self._filled]], dim=1)
            count = min(K + 1, joined.shape[1])
            self._best[side] = torch.topk(joined, count, dim=1, largest=side == 0, sorted=False).values
        self._filled = 0

    def keys(self) -> tuple[Keys, Keys]:
        self._merge()
        top, bottom = (np.sort(best.numpy().view(np.uint64) ^ SIGN, axis=1) for best in self._best)
        return top[:, ::-1], bottom


class Counted(DeviceSelection):
    """Counts the keys that have waited and were merged."""

    entries = 0

    def _merge(self, above: int = 0) -> None:
        waiting = int(self._held.counts.sum())
        super()._merge(above)
        self.entries += waiting - int(self._held.counts.sum())


def row(case: str, args: argparse.Namespace) -> dict[str, object]:
    """Times of one case: `filling` or `late`, `_zeros` with rectified values."""
    late, zeros = case.startswith("late"), case.endswith("zeros")
    keys = unit_keys(args.units)
    state = late_state(keys, zeros) if late else None
    slow, fast, merges, entries = [], [], 0, 0
    for turn in range(args.rounds):
        first = SEEN if late else 0
        ours = Counted(keys, K, "cpu", state=state, n_images=first)
        dense = Dense(keys, state)
        if late:  # what bounds begin with is no part of a late batch
            batch = torch.from_numpy(values((BATCH, args.units), zeros, turn, "warm"))
            ours.update(batch, first)
            dense.update(batch, first)
            first += BATCH
        times = {"dense": np.zeros(2), "ours": np.zeros(2)}
        for number in range(args.batches):
            batch, start = torch.from_numpy(values((BATCH, args.units), zeros, turn, number)), first + number * BATCH
            work = {"dense": partial(dense.update, batch, start), "ours": partial(ours.update, batch, start)}
            for name, taken in take_turns(work, number + turn).items():
                times[name] += taken
        merges = ours.merges
        for mine, theirs in zip(ours.keys(), dense.keys(), strict=True):
            if not np.array_equal(mine, theirs):
                raise AssertionError(f"{case}: the two forms differ")
        entries = ours.entries  # with those that the lists take at the end
        slow.append(times["dense"])
        fast.append(times["ours"])
    offered = args.batches * BATCH * args.units
    nanoseconds = {
        f"{name}_ns": 1e9 * np.median(times, axis=0)[1] / offered for name, times in (("dense", slow), ("ours", fast))
    }
    return {
        "case": case,
        "units": args.units,
        "batches": args.batches,
        **nanoseconds,
        **ratios(slow, fast),
        "dense_merges": -(-args.batches * BATCH // CHUNK) - 1,
        "merges": merges,
        "entries_a_unit": entries / args.units,
    }


def stream(zeros: bool, n_images: int, units: int) -> dict[str, object]:
    """How often one stream is merged, and how many keys a unit wait."""
    selection = Counted(unit_keys(units), K, "cpu")
    late = 0
    for first in range(0, n_images, BATCH):
        before = selection.merges
        selection.update(torch.from_numpy(values((min(BATCH, n_images - first), units), zeros, "stream", first)), first)
        late += (selection.merges - before) * (first >= LATE)
    selection.keys()
    filling = 40 * (K + 1)
    ideal = 2 * (K + 1) * np.log(n_images / filling) if n_images > filling else 0.0
    return {
        "values": "95 % zeros" if zeros else "normal",
        "units": units,
        "images": n_images,
        "merges": selection.merges,
        "merges_late_in_50_batches": 50 * late / max(1, (n_images - LATE) // BATCH),
        "late_entries_a_unit": selection.entries / units - min(n_images, -(-filling // BATCH) * BATCH),
        "ideal_late_entries_a_unit": ideal,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    sizes = {"units": 1000, "batches": 24, "rounds": 3, "stream": 1_281_167, "stream-units": 64}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    rows = [row(case, args) for case in ("filling", "filling_zeros", "late", "late_zeros")]
    report("selection_on_gpu", "Selection in plain operations against the dense form, on one thread of a CPU", rows)
    rows = [stream(zeros, args.stream, args.stream_units) for zeros in (False, True)]
    report("selection_merges", f"Merges over one stream of images, {K} a side, batches of {BATCH}", rows)


if __name__ == "__main__":
    main()
