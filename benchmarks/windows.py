"""Windows of harder tasks for all units in one pass: memory, exactness, and time beside the selection of extremes.

    python -m benchmarks.windows [--units 64] [--images 1280000] [--batch 2048] [--rounds 3]

Streams: `uniform` and `zeros` (95 % exact zeros) in random order, and `sorted` by value, which windows must refuse. Every window
that is called exact is held against a full sort. `ratio` is the time of the windows of three conditions over that of
the 200 most and least exciting images, by the same batches, and `ns` nanoseconds a value and core of processor time.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Times, ratios, report, take_turns
from benchmarks.selection import K, unit_keys, values
from interpretability.extremes.selection import Extremes
from interpretability.extremes.windows import Ranks, Windows, ranks_at, whole_columns
from interpretability.schema import HARD

QUERIES = 22  # 20 and their neighbours
STREAMS = ("uniform", "zeros", "sorted")


def stream(name: str, n_images: int, units: int) -> NDArray[np.float32]:
    """Values (images, units) in the order in which they are shown."""
    drawn = values((n_images, units), name == "zeros", "windows", name)
    return np.sort(drawn, axis=0) if name == "sorted" else drawn


def ranks_of(n_images: int) -> list[Ranks]:
    """Windows of all harder conditions, on both sides."""
    return [window for share in HARD.values() for window in ranks_at(n_images, n_images * share // 100, QUERIES)]


def compare(
    shown: NDArray[np.float32], batch: int, rounds: int
) -> tuple[dict[str, list[Times]], Windows, NDArray[np.bool_]]:
    """Times of both by round, the windows of the last round, and which are exact. Ends where one that is called exact is not."""
    n, units = shown.shape
    keys, images = unit_keys(units), np.arange(n)
    times: dict[str, list[Times]] = {"windows": [], "extremes": []}
    windows = Windows(keys, ranks_of(n), n)

    def offered(to: Windows | Extremes) -> None:
        for start in range(0, n, batch):
            to.update(shown[start : start + batch], images[start : start + batch])

    for turn in range(rounds):
        windows = Windows(keys, ranks_of(n), n)
        extremes = Extremes(keys, min(K, n))
        forms = {"windows": lambda to=windows: offered(to), "extremes": lambda to=extremes: offered(to)}
        for name, spent in take_turns(forms, turn).items():
            times[name].append(spent)
    found, sought = windows.found(), whole_columns(np.ascontiguousarray(shown.T), keys, ranks_of(n))
    if (found.images != sought.images)[found.exact].any():
        raise SystemExit("windows that are called exact hold other images than a sort")
    return times, windows, found.exact


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, default in {"units": 64, "images": 1_280_000, "batch": 2048, "rounds": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    compare(stream("uniform", 2000, 4), 500, 1)  # compiles
    rows = []
    for name in STREAMS:
        times, windows, exact = compare(stream(name, args.images, args.units), args.batch, args.rounds)
        cpu = float(np.median([spent[1] for spent in times["windows"]]))
        rows.append(
            {
                "stream": name,
                "images": args.images,
                "units": args.units,
                "bytes_a_unit": windows.nbytes // args.units,
                "exact": exact.mean(),
                "ns": 1e9 * cpu / (args.images * args.units),
                **ratios(times["windows"], times["extremes"]),
            }
        )
    report("windows", "Windows of three conditions, beside the selection of extremes", rows)


if __name__ == "__main__":
    main()
