"""How a stage is run: workers, memory, progress, cancel. Silent and sequential by default."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Tick = Callable[[int], None]


class Mapper(Protocol):
    """An ordered map; the builtin ``map`` is one."""

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        """Apply a function to items, results in order."""
        ...


class Context(Protocol):
    """What a stage may ask of whoever runs it."""

    @property
    def workers(self) -> int:
        """Number of threads to use."""
        ...

    @property
    def memory_gb(self) -> float:
        """Memory that a stage may take."""
        ...

    def map(self, function: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        """Apply a function to items, results in order, few items ahead."""
        ...

    def progress(self, title: str, total: int) -> AbstractContextManager[Tick]:
        """Show the progress of a long step; the tick raises StopRequestedError where a stop was asked for."""
        ...


class SilentContext:
    """Sequential, in 4 GB, showing nothing."""

    workers: int = 1
    memory_gb: float = 4.0

    def map(self, function: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        """Apply a function to items one after the other."""
        return map(function, items)

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Tick]:
        """Count for nobody."""
        yield lambda n: None


SILENT: Context = SilentContext()
