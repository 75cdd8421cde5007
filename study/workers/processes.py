"""Worker processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from study.workers.device import LOST, at_work, start


def on_workers(
    function: Callable[[Any], Any], jobs: Sequence[Any], places: Iterable[int], used: list[str]
) -> Iterator[tuple[int, Any]]:
    """Results of the jobs at `places` on new worker processes, one a device name; _LOST for one whose worker died.

    A pool of one process for each device, with one job at a time: so the job of a dead worker is known and the other
    workers do not notice, and no more jobs are in memory as bytes than there are workers.
    """
    context = multiprocessing.get_context("spawn")
    ended, end = context.Pipe(duplex=False)  # workers wait for the other end to close: by us, or by our death

    def pool(seat: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, context, start, (used[seat], ended, os.getpid()))

    pools = [pool(seat) for seat in range(len(used))]
    waiting = iter(places)
    running: dict[Future[Any], tuple[int, int]] = {}

    def hand_out(seat: int) -> None:
        for place in waiting:
            try:
                future = pools[seat].submit(at_work, function, jobs[place])
            except BrokenProcessPool:  # the worker died between two jobs
                pools[seat].shutdown()
                pools[seat] = pool(seat)
                future = pools[seat].submit(at_work, function, jobs[place])
            running[future] = seat, place
            break

    try:
        for seat in range(len(used)):
            hand_out(seat)
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                seat, place = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    result = LOST
                    pools[seat].shutdown()
                    pools[seat] = pool(seat)
                hand_out(seat)
                yield place, result
    except BaseException:
        end.close()  # an error or interruption does not wait for hours of work that has begun
        raise
    finally:
        for each in pools:
            each.shutdown(cancel_futures=True)
        end.close()
        ended.close()
