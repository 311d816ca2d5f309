"""Contexts that run stages on threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import psutil

from bonemet.core.context import SilentContext, Tick
from bonemet.core.errors import SettingsError

T = TypeVar("T")
R = TypeVar("R")


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return psutil.cpu_count() or 1


class ThreadContext(SilentContext):
    """Runs stages on threads, in bounded memory, showing nothing.

    Parameters
    ----------
    workers
        Number of threads; all usable cores by default.
    memory_gb
        Memory that a stage may take.
    """

    def __init__(self, workers: int | None = None, memory_gb: float = 4.0) -> None:
        if workers is not None and workers < 1:
            raise SettingsError(f"At least one worker is needed, not {workers}.")
        if not memory_gb > 0:
            raise SettingsError(f"The memory budget must be positive, not {memory_gb} GB.")
        self.workers = workers or usable_cores()
        self.memory_gb = memory_gb

    def map(self, function: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        """Apply a function to items on threads; results in order, at most two per worker ahead."""
        if self.workers == 1:
            yield from map(function, items)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            pending: deque[Future[R]] = deque()
            try:
                for item in items:
                    pending.append(pool.submit(function, item))
                    if len(pending) >= 2 * self.workers:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Tick]:
        """Count for nobody."""
        yield lambda n: None
