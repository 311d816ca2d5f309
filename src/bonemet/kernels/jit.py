"""The one decorator for compiled kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a function to machine code: without the GIL, cached on disk, exact arithmetic.

    Threads are the caller's business: several threads may run a kernel at once.
    """
    return cast("F", numba.njit(nogil=True, cache=True)(function))


def fast_kernel(function: F) -> F:
    """Compile as :func:`kernel` does, letting the compiler reorder floating-point sums."""
    return cast("F", numba.njit(nogil=True, cache=True, fastmath=True, error_model="numpy")(function))


def inlined(function: F) -> F:
    """Compile a small helper that its callers inline."""
    return cast("F", numba.njit(nogil=True, inline="always")(function))
