"""Worker processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from study.workers.device import LOST, Job, at_work, start


def on_workers(jobs: Sequence[Job[Any]], indices: Iterable[int], names: list[str]) -> Iterator[tuple[int, Any]]:
    """Index and result of the jobs at `indices`, on a new worker process for each device name; LOST if its worker died.

    A pool of one process for each device, with one job at a time: so the job of a dead worker is known and the other
    workers do not notice, and no more jobs are in memory as bytes than there are workers.
    """
    context = multiprocessing.get_context("spawn")
    ended, end = context.Pipe(duplex=False)  # workers wait for the other end to close: by us, or by our death

    def new_pool(worker: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, context, start, (names[worker], ended, os.getpid()))

    pools = [new_pool(worker) for worker in range(len(names))]
    waiting = iter(indices)
    running: dict[Future[Any], tuple[int, int]] = {}

    def hand_out(worker: int) -> None:
        index = next(waiting, None)
        if index is None:
            return
        try:
            future = pools[worker].submit(at_work, jobs[index])
        except BrokenProcessPool:  # the worker died between two jobs
            pools[worker].shutdown()
            pools[worker] = new_pool(worker)
            future = pools[worker].submit(at_work, jobs[index])
        running[future] = worker, index

    try:
        for worker in range(len(names)):
            hand_out(worker)
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                worker, index = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    result = LOST
                    pools[worker].shutdown()
                    pools[worker] = new_pool(worker)
                hand_out(worker)
                yield index, result
    except BaseException:
        end.close()  # an error or interruption does not wait for hours of work that has begun
        raise
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)
        end.close()
        ended.close()
