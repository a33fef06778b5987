"""Dealing the blocks of a sweep out to those who run them."""

import threading
from collections import deque
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np

from aetheory.sweeps.plan import Region

Worker = TypeVar("Worker", bound=Hashable)


class Shares(Generic[Worker]):
    """A share of the blocks for each worker, kept together by program so that few workers compile each.

    The shares are consecutive blocks of about the same expected work. A worker goes through its own from the front;
    once that is empty, it helps from the back of the share with the most work left. So workers run, and compile,
    different programs at the same time instead of all waiting for one.

    Arguments:
        regions: the blocks, those of one program next to each other.
        works: the expected work of each, positive, in any unit.
        workers: names of those who run them.
    """

    def __init__(self, regions: Sequence[Region], works: Sequence[float], workers: Sequence[Worker]) -> None:
        self._lock = threading.Lock()
        self._shares: dict[Worker, deque[tuple[Region, float]]] = {worker: deque() for worker in workers}
        self._left = dict.fromkeys(workers, 0.0)
        ends = np.cumsum(works)
        number = np.minimum((ends / ends[-1] * len(workers) * (1 - 1e-12)).astype(int), len(workers) - 1)
        for region, work, owner in zip(regions, works, number, strict=True):
            self._shares[workers[owner]].append((region, work))
            self._left[workers[owner]] += work

    def take(self, worker: Worker) -> Region | None:
        """The next block for this worker; `None` once all are taken."""
        with self._lock:
            owner = worker if self._shares[worker] else max(self._left, key=self._left.__getitem__)
            share = self._shares[owner]
            if not share:
                return None
            region, work = share.popleft() if owner == worker else share.pop()
            self._left[owner] = self._left[owner] - work if share else 0.0
            return region
