"""Where a scan holds nothing but air, so that it need not be reconstructed.

A small copy of the scan, of voxels eight pixels wide, shows where something is: cheaply, and with little
noise. Limbs fill about a fifth of their field of view.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.context import Mapper
from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry
from bonemet.recon import fdk
from bonemet.recon.backends import LANES, TILE

COARSE = 8  # pixels along each side of a voxel of the small copy
LEAST = 0.006  # 1/mm; fat has five times as much at 50 kVp
MARGIN = 2  # voxels of the small copy about what was found that count as well


def occupied(
    read_rows: fdk.ReadRows, geometry: ConeGeometry, grid: Grid, slices: tuple[int, int], mapper: Mapper = map
) -> NDArray[np.bool_]:
    """Return which blocks of a grid hold something, as :func:`bonemet.recon.fdk.reconstruct` takes them.

    Parameters
    ----------
    read_rows
        Gives the line integrals of part of a view.
    geometry
        Of the scan, with its axis offset and sense of rotation.
    grid
        Of the reconstruction, axes along the scan frame's.
    slices
        Those that are wanted.
    mapper
        Spreads views and tiles over threads.

    Returns
    -------
    NDArray[np.bool_]
        (z, y, x) of groups of 16 slices and of tiles, from the grid's first voxel on; what is said of others
        than the wanted slices means nothing.
    """
    small = fdk.resampled_grid(geometry, COARSE * geometry.pixel_mm)
    first, stop = _between(small, grid, 0, slices)
    first, stop = max(0, first - MARGIN), min(small.shape[0], stop + MARGIN)
    image = fdk.reconstruct(read_rows, geometry, small, (first, stop), mapper=mapper)
    found = ndimage.maximum_filter(image, 2 * MARGIN + 1) >= LEAST
    whole = np.zeros(small.shape, np.bool_)
    whole[first:stop] = found
    for axis, size in enumerate((LANES, TILE, TILE)):
        ends = [(n, min(n + size, grid.shape[axis])) for n in range(0, grid.shape[axis], size)]
        parts = [_between(small, grid, axis, pair) for pair in ends]
        whole = np.stack([whole.take(range(*part), axis).any(axis) for part in parts], axis)
    return whole


def _between(small: Grid, grid: Grid, axis: int, voxels: tuple[int, int]) -> tuple[int, int]:
    """Return the small copy's voxels (first, stop) in which voxels (first, stop) of a grid lie."""
    origin, step = grid.origin_mm[2 - axis], grid.spacing_mm[axis]
    ends = origin + np.array([voxels[0], voxels[1] - 1]) * step
    index = np.rint((ends - small.origin_mm[2 - axis]) / small.spacing_mm[axis]).astype(int)
    first = min(max(int(index[0]), 0), small.shape[axis] - 1)
    return first, max(first + 1, min(int(index[1]) + 1, small.shape[axis]))
