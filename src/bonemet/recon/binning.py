"""Pixels averaged in blocks, for voxels at least twice as large: less noise, less work, less memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry
from bonemet.kernels.jit import kernel

NEARLY = 0.99  # of two pixels count as two: voxel sizes are rounded


def factor(geometry: ConeGeometry, grid: Grid) -> int:
    """Return how many pixels along each side are averaged into one for a grid's voxels."""
    voxels = min(grid.spacing_mm) / geometry.pixel_mm
    most = min(geometry.rows, geometry.columns)
    return max(1, min(int(voxels + 2 * (1 - NEARLY)), most))


def binned_geometry(geometry: ConeGeometry, n: int) -> ConeGeometry:
    """Return the geometry of images of n x n pixels made one; what does not fill a pixel is left out."""
    if n == 1:
        return geometry
    axis = (geometry.columns - 1) / 2 + geometry.axis_offset_px
    columns = max(1, geometry.columns // n)
    return replace(
        geometry,
        rows=max(1, geometry.rows // n),
        columns=columns,
        pixel_mm=geometry.pixel_mm * n,
        axis_offset_px=(axis - (n - 1) / 2) / n - (columns - 1) / 2,
        optical_axis_row=(geometry.optical_axis_row - (n - 1) / 2) / n,
    )


def binned_grid(grid: Grid, geometry: ConeGeometry, n: int) -> Grid:
    """Return a grid at the same place, its origin counted in the scan frame of the binned images."""
    if n == 1:
        return grid
    along = (geometry.columns - 1 - (geometry.columns // n - 1) * n) / 2 * geometry.pixel_mm
    x, y, z = grid.origin_mm
    down = (n - 1) / 2 * geometry.pixel_mm
    return replace(grid, origin_mm=(x - along, y - along, z - down))


def binned(rays: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """Return the mean of each block of n x n pixels of an image (rows, columns), one of what is fewer."""
    if n == 1:
        return rays
    rows, columns = (max(1, size // n) for size in rays.shape)
    out = np.empty((rows, columns), np.float32)
    _average(np.ascontiguousarray(rays, np.float32), out, n)
    return out


@kernel
def _average(rays: Any, out: Any, n: int) -> None:
    tall, wide = min(n, rays.shape[0]), min(n, rays.shape[1])
    share = np.float32(1 / (tall * wide))
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            total = np.float32(0)
            for a in range(tall):
                for b in range(wide):
                    total += rays[j * n + a, i * n + b]
            out[j, i] = total * share
