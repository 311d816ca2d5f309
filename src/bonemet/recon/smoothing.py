"""Median and Gaussian filters of reconstructed slabs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.context import Mapper
from bonemet.core.errors import SettingsError

MAX_MEDIAN = 3
MAX_SIGMA = 5.0
TRUNCATE = 3.0  # standard deviations


def check(median: int, sigma: float) -> None:
    """Refuse a radius of the median or a width of the Gaussian that makes no sense."""
    if not (0 <= median <= MAX_MEDIAN and median == int(median)):
        raise SettingsError(f"The median's radius is 0 (off) to {MAX_MEDIAN} voxels, not {median}.")
    if not 0 <= sigma <= MAX_SIGMA:
        raise SettingsError(f"Smoothing is 0 (off) to {MAX_SIGMA:g} voxels, not {sigma:g}.")


def reach(median: int, sigma: float) -> int:
    """Return how many slices to both sides a slice depends on."""
    return median + math.ceil(TRUNCATE * sigma)


def smooth(
    volume: NDArray[np.float32], median: int, sigma: float, mapper: Mapper = map
) -> NDArray[np.float32]:
    """Return a volume after a median over (2 median + 1) cubed voxels, then a Gaussian.

    Beyond the ends the outermost voxel goes on, so only slices farther than :func:`reach` from a cut are as
    in the whole.

    Parameters
    ----------
    volume
        (z, y, x).
    median
        Radius in voxels, 0 for none.
    sigma
        Standard deviation of the Gaussian in voxels, 0 for none.
    mapper
        Spreads slices over threads.
    """
    check(median, sigma)
    out = volume
    if median:
        depth, side = len(volume), 2 * median + 1

        def middle(z: int) -> NDArray[np.float32]:
            at = np.clip(np.arange(z - median, z + median + 1), 0, depth - 1)
            return np.asarray(ndimage.median_filter(volume[at], size=side, mode="nearest")[median])

        out = np.stack(list(mapper(middle, range(depth))))
    if sigma:
        across = list(mapper(lambda z: _gauss(out[z], sigma, (0, 1)), range(len(out))))
        out = _gauss(np.stack(across), sigma, (0,))
    return out


def _gauss(part: NDArray[np.float32], sigma: float, axes: tuple[int, ...]) -> NDArray[np.float32]:
    for axis in axes:
        part = ndimage.gaussian_filter1d(part, sigma, axis=axis, mode="nearest", truncate=TRUNCATE)
    return part
