"""Coarser copies of an image, as means over blocks of voxels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.core.grid import Grid
from bonemet.kernels.jit import fast_kernel

SLAB = 32  # slices of the result that one thread makes at a time


@fast_kernel
def _pool(
    image: NDArray[Any], factors: NDArray[np.int64], low: float, scale: float, out: NDArray[np.uint8]
) -> None:
    fz, fy, fx = factors[0], factors[1], factors[2]
    share = scale / (fz * fy * fx)
    for k in range(out.shape[0]):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                total = 0.0
                for c in range(fz):
                    for b in range(fy):
                        for a in range(fx):
                            total += float(image[fz * k + c, fy * j + b, fx * i + a]) - low
                out[k, j, i] = np.uint8(min(max(total * share + 0.5, 0.0), 255.0))


def pool(
    image: NDArray[Any],
    factors: Sequence[int],
    *,
    low: float = 0.0,
    scale: float = 1.0,
    mapper: Mapper = map,
) -> NDArray[np.uint8]:
    """Return the means of blocks of voxels as 8-bit numbers.

    Parameters
    ----------
    image
        (z, y, x), any numbers; voxels beyond the last whole block are left out.
    factors
        Size of a block (z, y, x).
    low, scale
        The numbers returned are ``scale * (mean - low)``, rounded and clipped to 0..255.
    mapper
        Spreads slabs over threads.
    """
    fz, fy, fx = (int(f) for f in factors)
    shape = tuple(n // f for n, f in zip(image.shape, (fz, fy, fx), strict=True))
    out = np.empty(shape, np.uint8)
    sizes = np.array([fz, fy, fx], dtype=np.int64)

    def fill(start: int) -> None:
        stop = min(start + SLAB, shape[0])
        _pool(image[fz * start : fz * stop], sizes, low, scale, out[start:stop])

    for _ in mapper(fill, range(0, shape[0], SLAB)):
        pass
    return out


def pooled_grid(grid: Grid, factors: Sequence[int]) -> Grid:
    """Return where the voxels of a pooled image are."""
    f = np.asarray(factors)
    z, y, x = (int(n) for n in np.asarray(grid.shape) // f)
    sz, sy, sx = (float(s) for s in np.asarray(grid.spacing_mm) * f)
    ox, oy, oz = (float(v) for v in grid.index_to_mm((f - 1) / 2))
    return Grid((z, y, x), (sz, sy, sx), (ox, oy, oz), grid.direction)
