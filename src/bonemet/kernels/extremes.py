"""The highest and the lowest value in every block of a slice, noise apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.kernels.jit import kernel


def block_extremes(
    image: NDArray[Any], factors: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the highest and the lowest mean of 3 x 3 pixels that stands in each block of a slice.

    Single pixels owe their extremes to noise. Pixels beside a 0, which is what was cut away, are left out.

    Parameters
    ----------
    image
        (y, x) values.
    factors
        Rows and columns of a block; those at the far edges may be smaller.

    Returns
    -------
    tuple
        (rows of blocks, columns of blocks) each; minus and plus infinity where a block holds nothing.
    """
    size = tuple(-(-n // f) for n, f in zip(image.shape, factors, strict=True))
    high, low = np.full(size, -np.inf, np.float32), np.full(size, np.inf, np.float32)
    _fill_extremes(np.ascontiguousarray(image), factors[0], factors[1], high, low)
    return high, low


@kernel
def _fill_extremes(
    image: NDArray[Any], ny: int, nx: int, high: NDArray[np.float32], low: NDArray[np.float32]
) -> None:
    """Fill the extremes; beyond the edges of the image its outermost pixels go on."""
    rows, columns = image.shape
    for i in range(rows):
        above, below = max(i - 1, 0), min(i + 1, rows - 1)
        for j in range(columns):
            if image[i, j] == 0:
                continue
            left, right = max(j - 1, 0), min(j + 1, columns - 1)
            total, cut = 0.0, False
            for row in (above, i, below):
                for column in (left, j, right):
                    value = image[row, column]
                    cut = cut or value == 0
                    total += value
            if cut:
                continue
            mean = np.float32(total / 9.0)
            y, x = i // ny, j // nx
            high[y, x] = max(high[y, x], mean)
            low[y, x] = min(low[y, x], mean)
