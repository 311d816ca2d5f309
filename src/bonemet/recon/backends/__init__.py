"""Backprojection kernels for different processors, behind one protocol.

A kernel adds up, for a tile of the slab, what every view says about it. All kernels walk in the same
order: runs of slices, blocks of views (whose filtered columns then stay in cache), 4 x 4 columns of
voxels, views. Along z a ray's detector row is a straight line, so for each view and (x, y) two columns of
the filtered projection are blended once, and the voxels of the run are read from the blend.
"""

from __future__ import annotations

import platform
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import SettingsError
from bonemet.recon.backends.columns import LANES, OVERREAD, TILE, Filtered

__all__ = ["LANES", "OVERREAD", "TILE", "Backprojector", "Filtered", "available", "backprojector", "compiled"]


class Backprojector(Protocol):
    """A kernel that fills one tile of a slab (z, y, x), starting at voxel (y0, x0)."""

    def __call__(self, slab: NDArray[np.float32], filtered: Filtered, y0: int, x0: int) -> None:
        """Write the sums over all views into the tile; voxels outside the field become 0."""
        ...


def compiled() -> bool:
    """Tell whether numba compiles, so that machine code can be given addresses."""
    import numba

    return not getattr(numba.config, "DISABLE_JIT", False)


@cache
def _has_avx512() -> bool:
    """Tell whether numba will compile for a processor that has AVX-512."""
    import llvmlite.binding as llvm  # type: ignore[import-untyped]
    import numba

    if any(getattr(numba.config, s, None) for s in ("DISABLE_JIT", "CPU_NAME", "CPU_FEATURES")):
        return False  # someone chose what numba compiles for
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return False
    try:
        return bool(llvm.get_host_cpu_features().get("avx512f", False))
    except RuntimeError:  # LLVM does not know this processor
        return False


def available() -> tuple[str, ...]:
    """Return the names of the kernels that run here, the fastest first."""
    if not compiled():
        return ("plain",)
    return ("avx512", "vector", "plain") if _has_avx512() else ("vector", "plain")


def backprojector(name: str | None = None) -> Backprojector:
    """Return a kernel by name, or the fastest that runs here.

    Raises
    ------
    SettingsError
        If this processor cannot run it.
    """
    chosen = name or available()[0]
    if chosen not in available():
        raise SettingsError(
            f"There is no backprojection {chosen!r} on this machine; choose one of {', '.join(available())}."
        )
    module: ModuleType = import_module(f"bonemet.recon.backends.{chosen}")
    return cast("Backprojector", module.backproject_tile)
