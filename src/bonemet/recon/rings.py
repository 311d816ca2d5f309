"""Stripes in sinograms, which become rings in slices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.errors import SettingsError
from bonemet.kernels.jit import fast_kernel

MAX_LEVEL = 20
RANKS = 64  # that are looked at, spread over all
CALM = 0.3  # share of the ranks at which neighbours agree best
ROUNDS = 2
CLEAR = 5.0  # times its error that a difference must be
OF_MEDIAN = (
    1.2533 * 1.4826
)  # standard error of a median over the median deviation, times the root of the number


def check_level(level: int) -> int:
    """Return the level, or refuse one that is not within 0 to 20."""
    if not 0 <= level <= MAX_LEVEL:
        raise SettingsError(f"The ring level lies between 0 (off) and {MAX_LEVEL}, not at {level}.")
    return level


def remove_stripes(sinogram: NDArray[Any], level: int) -> NDArray[np.float32]:
    """Return a sinogram (views, columns) without its stripes; level 0 does nothing.

    What a column reads wrongly is the same in all views, and is judged in three ways: sorted along the views
    (as by Vo 2018, algorithm 3, doi:10.1364/OE.26.028396) against a median over columns; against its
    neighbours at those ranks at which they agree best; and view by view against its neighbours. The middle
    one of the three is taken away, in two rounds, where the last stands out of its own error; so detail that
    moves from view to view, and columns that read rightly, are left as they were. The level is about the
    number of columns that count as neighbours.
    """
    rays = np.asarray(sinogram, dtype=np.float32)
    if check_level(level) == 0:
        return rays
    reach = (level + 1) // 2
    for _ in range(ROUNDS):
        rays = rays - _wrong(rays, reach)
    return rays


def _wrong(rays: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """Return by how much each column reads wrongly, 0 where that is not clear."""
    ranked = np.sort(rays, axis=0)[:: max(1, len(rays) // RANKS)]
    sorted_ = np.median(ranked - ndimage.median_filter(ranked, (1, 2 * reach + 1), mode="nearest"), axis=0)
    middle, spread = _neighbours(ranked, max(1, reach - 1))
    calm = np.argpartition(spread, max(1, round(CALM * len(ranked))), axis=0)
    calm = calm[: max(1, round(CALM * len(ranked)))]
    at_calm = np.median(np.take_along_axis(ranked - middle, calm, axis=0), axis=0)
    apart = rays - _neighbours(rays, reach)[0]
    by_view = np.median(apart, axis=0)
    error = OF_MEDIAN * np.median(np.abs(apart - by_view), axis=0) / np.sqrt(len(rays))
    middle_one = np.median([sorted_, at_calm, by_view], axis=0)
    return np.where(np.abs(by_view) > CLEAR * error, middle_one, 0).astype(np.float32)


def _neighbours(rays: NDArray[np.float32], reach: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and range of the columns up to ``reach`` away, without the largest and the smallest."""
    padded = np.pad(rays, ((0, 0), (reach, reach)), mode="edge")
    middle, spread = np.empty_like(rays), np.empty_like(rays)
    _look_around(padded, reach, middle, spread)
    return middle, spread


@fast_kernel
def _look_around(padded: Any, reach: int, middle: Any, spread: Any) -> None:
    views, columns = middle.shape
    total, top, second, low, last = np.empty((5, columns), np.float32)
    for v in range(views):
        row = padded[v]
        for d in range(1, reach + 1):
            for i in range(columns):
                a, b = row[reach + i - d], row[reach + i + d]
                high, less = max(a, b), min(a, b)
                if d == 1:
                    total[i], top[i], second[i], low[i], last[i] = a + b, high, less, less, high
                else:
                    total[i] += a + b
                    second[i] = max(min(top[i], high), second[i], less)
                    last[i] = min(max(low[i], less), last[i], high)
                    top[i], low[i] = max(top[i], high), min(low[i], less)
        for i in range(columns):
            if reach == 1:
                middle[v, i], spread[v, i] = total[i] / 2, top[i] - low[i]
            else:
                middle[v, i] = (total[i] - top[i] - low[i]) / (2 * reach - 2)
                spread[v, i] = second[i] - last[i]
