"""Cone-beam filtered backprojection after Feldkamp, Davis and Kress (doi:10.1364/JOSAA.1.000612)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper, Tick
from bonemet.core.errors import SettingsError
from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry
from bonemet.recon import binning, weights
from bonemet.recon.backends import LANES, OVERREAD, TILE, Filtered, backprojector
from bonemet.recon.backends.columns import aligned
from bonemet.recon.filtering import Recipe, RowFilter, sharpen_rows

ReadRows = Callable[[int, int, int], NDArray[np.float32]]
"""(view, first row, stop row) to the line integrals (rows, columns) of that part of a view."""

STANDARD = Recipe()
TOGETHER = 16  # views that are filtered in one go where some are made from others


def default_grid(geometry: ConeGeometry) -> Grid:
    """Return columns x columns x rows voxels of the pixel size, slice k at row k, axis in the middle."""
    shape = (geometry.rows, geometry.columns, geometry.columns)
    return Grid.isotropic(shape, geometry.pixel_mm)


def resampled_grid(geometry: ConeGeometry, voxel_mm: float) -> Grid:
    """Return a grid of other voxels over the same field, its middle in the same place."""
    if not (voxel_mm > 0 and math.isfinite(voxel_mm)):
        raise SettingsError(f"A voxel must have a positive size, not {voxel_mm} mm.")
    full = default_grid(geometry)
    shape = [max(1, round(n * geometry.pixel_mm / voxel_mm)) for n in full.shape]
    middle = full.centre_mm
    x, y, z = (float(c) - (n - 1) / 2 * voxel_mm for c, n in zip(middle, shape[::-1], strict=True))
    return Grid.isotropic(shape, voxel_mm, (x, y, z))


def cutoff(geometry: ConeGeometry, grid: Grid) -> float:
    """Return where the filter ends: voxels larger than pixels hold no finer detail than themselves."""
    return min(1.0, geometry.pixel_mm / grid.spacing_mm[2])


def rows_of(geometry: ConeGeometry, grid: Grid, first: int, stop: int) -> tuple[int, int]:
    """Return the rows (first, stop) on which the slices of a slab fall, on or beyond the detector."""
    reach = weights.field_radius_mm(geometry) / geometry.sod_mm
    offset, step = _row_line(geometry, grid)
    ends = np.array([offset + step * first, offset + step * (stop - 1)])
    rows = geometry.optical_axis_row + np.outer(ends, [1 / (1 + reach), 1 / (1 - reach)])
    return math.floor(rows.min()) - 1, math.ceil(rows.max()) + 3


def _row_line(geometry: ConeGeometry, grid: Grid) -> tuple[float, float]:
    """Return row of slice 0 less the optical row, and rows per slice, both at the axis."""
    offset = grid.origin_mm[2] / geometry.pixel_mm - geometry.optical_axis_row
    return offset, grid.spacing_mm[0] / geometry.pixel_mm


def aligned_slab(first: int, stop: int) -> tuple[int, int]:
    """Return the slab (first, stop) grown to whole groups of slices, as the kernels take it."""
    return first // LANES * LANES, -(-stop // LANES) * LANES


def rows_to_read(geometry: ConeGeometry, grid: Grid, first: int, stop: int) -> tuple[int, int]:
    """Return the detector rows (first, stop) that a slab needs, whole groups of 16 rows.

    Rows are always filtered in the same groups, so a slab has the same bytes whatever its size. Where pixels
    are binned for large voxels, rows of the detector are meant all the same.
    """
    n, geometry, grid = _binned(geometry, grid)
    a, b = _rows_to_filter(geometry, grid, first, stop)
    return a * n, b * n


def _rows_to_filter(geometry: ConeGeometry, grid: Grid, first: int, stop: int) -> tuple[int, int]:
    low, high = rows_of(geometry, grid, *aligned_slab(first, stop))
    a = min(max(low, 0), geometry.rows - 1) // LANES * LANES
    b = -(-max(min(high, geometry.rows), a + 1) // LANES) * LANES
    return a, min(b, geometry.rows)


def _binned(geometry: ConeGeometry, grid: Grid) -> tuple[int, ConeGeometry, Grid]:
    """Return by how many pixels a scan is binned for a grid's voxels, and scan and grid as they are then."""
    n = binning.factor(geometry, grid)
    return n, binning.binned_geometry(geometry, n), binning.binned_grid(grid, geometry, n)


def slab_bytes(geometry: ConeGeometry, grid: Grid, slab: tuple[int, int], recipe: Recipe = STANDARD) -> int:
    """Return the memory in bytes that the slices (first, stop) take, filtered projections included."""
    _, geometry, grid = _binned(geometry, grid)
    first, stop = aligned_slab(*slab)
    depth = stop - first
    low, high = rows_of(geometry, grid, first, stop)
    views = len(geometry.angles_deg) * (2 if recipe.accuracy == "fine" else 1)
    packed = views * geometry.columns * recipe.finer * _pitch(high - low + LANES)
    return 4 * (packed + depth * grid.shape[1] * grid.shape[2])


def _pitch(rows: int) -> int:
    """Return the length of a filtered column: an odd number of cache lines, lest columns collide."""
    lines = -(-(rows + OVERREAD) // 16)
    return 16 * (lines | 1)


def filter_slab(
    read_rows: ReadRows,
    geometry: ConeGeometry,
    grid: Grid,
    slices: tuple[int, int],
    *,
    recipe: Recipe = STANDARD,
    mapper: Mapper = map,
) -> Filtered:
    """Return the filtered projections that the slices (first, stop) of the grid need.

    For voxels at least twice as large as pixels, pixels are binned: see :mod:`bonemet.recon.binning`.
    """
    n, small, moved = _binned(geometry, grid)
    if n > 1:

        def read(view: int, a: int, b: int) -> NDArray[np.float32]:
            return binning.binned(read_rows(view, a * n, b * n), n)

        shares = recipe.shares
        if shares is not None:
            shares = shares[:, : small.columns * n].reshape(len(shares), -1, n).mean(axis=2)
        return filter_slab(read, small, moved, slices, recipe=replace(recipe, shares=shares), mapper=mapper)
    first, stop = aligned_slab(*slices)
    low, high = rows_of(geometry, grid, first, stop)
    a, b = _rows_to_filter(geometry, grid, *slices)
    low = min(low, a) // LANES * LANES  # the first row read is one of a group of 16
    dense = recipe.views(geometry)
    views = len(dense.geometry.angles_deg)
    rows = RowFilter.of(dense.geometry, recipe, cutoff(geometry, grid), (a, b))
    q = aligned((views, recipe.finer * geometry.columns, _pitch(high - low)))
    together = 1 if views == len(geometry.angles_deg) else TOGETHER

    def some(start: int) -> None:
        these = range(start, min(start + together, views))
        rays = {v: read_rows(v, a, b) for v in dense.needed(these)}
        for view in these:
            rows.apply(dense.made(view, rays), view, q[view], a - low)
            if recipe.accuracy == "sharp":
                sharpen_rows(q[view])

    for _ in mapper(some, range(0, views, together)):
        pass
    angles = np.radians(dense.geometry.angles_deg)
    offset, step = _row_line(geometry, grid)
    axis_mm = (geometry.columns - 1) / 2 * geometry.pixel_mm
    _, ny, nx = grid.shape
    frame = [
        1 / geometry.sod_mm,
        recipe.finer / geometry.pixel_mm,
        recipe.finer * weights.axis_column(geometry),
        geometry.optical_axis_row,
        weights.field_radius_mm(geometry) ** 2,
        offset,
        step,
    ]
    return Filtered(
        q,
        np.cos(angles),
        geometry.turn * np.sin(angles),
        grid.origin_mm[0] - axis_mm + np.arange(nx, dtype=np.float64) * grid.spacing_mm[2],
        grid.origin_mm[1] - axis_mm + np.arange(ny, dtype=np.float64) * grid.spacing_mm[1],
        np.array(frame),
        low,
        first,
        stop,
    )


def reconstruct(  # noqa: PLR0913
    read_rows: ReadRows,
    geometry: ConeGeometry,
    grid: Grid | None = None,
    slices: tuple[int, int] | None = None,
    *,
    recipe: Recipe = STANDARD,
    mapper: Mapper = map,
    tick: Tick = lambda n: None,
    backend: str | None = None,
    blocks: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Return the slices (first, stop) of a grid in 1/mm, as an array (z, y, x).

    Any slab equals the same slices of a larger one, byte for byte, whatever the mapper's threads.
    Voxels outside the circle that every view sees whole are 0.

    Parameters
    ----------
    read_rows
        Gives the line integrals of part of a view; called once per view.
    geometry
        Of the scan, the axis offset included.
    grid
        Where the voxels are, in the scan frame; :func:`default_grid` by default. Axes along the frame's.
    slices
        Half-open range of the grid's slices; all by default.
    recipe
        Filter and accuracy; the filter ends at :func:`cutoff` unless the recipe says otherwise.
    mapper
        Spreads views and tiles over threads.
    tick
        Told the number of tiles done; :func:`tiles` is their number.
    backend
        Name of a kernel; the fastest that runs here by default.
    blocks
        (z, y, x) of groups of ``LANES`` slices and of tiles, from the grid's first voxel on: whether they are
        computed; the others become 0. All by default; see :mod:`bonemet.recon.air`.
    """
    grid = grid or default_grid(geometry)
    slices = slices or (0, grid.shape[0])
    if not 0 <= slices[0] < slices[1] <= grid.shape[0]:
        raise SettingsError(
            f"Slices {slices[0]}:{slices[1]} do not lie within the {grid.shape[0]} of this scan."
        )
    backproject = backprojector(backend)
    filtered = filter_slab(read_rows, geometry, grid, slices, recipe=recipe, mapper=mapper)
    slab = np.empty((filtered.stop - filtered.first, *grid.shape[1:]), np.float32)

    def one(corner: tuple[int, int]) -> None:
        if blocks is None:
            backproject(slab, filtered, *corner)
            return
        y, x = corner
        part = slab[:, y : y + TILE, x : x + TILE]
        groups = blocks[filtered.first // LANES : filtered.stop // LANES, y // TILE, x // TILE]
        if groups.any():
            backproject(slab, filtered, y, x)
        part[~np.repeat(groups, LANES)] = 0

    for _ in mapper(one, tiles(grid)):
        tick(1)
    return slab[slices[0] - filtered.first : slices[1] - filtered.first]


def tiles(grid: Grid) -> list[tuple[int, int]]:
    """Return the corners (y, x) of the tiles in which a slab is computed."""
    return [(y, x) for y in range(0, grid.shape[1], TILE) for x in range(0, grid.shape[2], TILE)]
