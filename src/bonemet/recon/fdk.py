"""Cone-beam filtered backprojection after Feldkamp, Davis and Kress (doi:10.1364/JOSAA.1.000612)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from bonemet.core.context import Mapper, Tick
from bonemet.core.errors import SettingsError
from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry
from bonemet.kernels.jit import kernel
from bonemet.recon import weights
from bonemet.recon.backends import LANES, OVERREAD, TILE, Filtered, backprojector

ReadRows = Callable[[int, int, int], NDArray[np.float32]]
"""(view, first row, stop row) to the line integrals (rows, columns) of that part of a view."""


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

    Rows are always filtered in the same groups, so a slab has the same bytes whatever its size.
    """
    low, high = rows_of(geometry, grid, *aligned_slab(first, stop))
    a = min(max(low, 0), geometry.rows - 1) // LANES * LANES
    b = -(-max(min(high, geometry.rows), a + 1) // LANES) * LANES
    return a, min(b, geometry.rows)


def slab_bytes(geometry: ConeGeometry, grid: Grid, slices: int) -> int:
    """Return the memory in bytes that a slab of so many slices takes, filtered projections included."""
    depth = -(-slices // LANES) * LANES + LANES
    middle = grid.shape[0] // 2
    low, high = rows_of(geometry, grid, middle - depth // 2, middle + depth // 2)
    packed = len(geometry.angles_deg) * geometry.columns * _pitch(high - low)
    return 4 * (packed + depth * grid.shape[1] * grid.shape[2])


def _pitch(rows: int) -> int:
    """Return the length of a filtered column: an odd number of cache lines, lest columns collide."""
    lines = -(-(rows + OVERREAD) // 16)
    return 16 * (lines | 1)


@dataclass(frozen=True, eq=False)
class _Filter:
    """What turns one view's line integrals into filtered columns."""

    ray_weights: NDArray[np.float32]
    u2: NDArray[np.float32]
    v2: NDArray[np.float32]
    transfer: NDArray[np.float32]
    length: int

    @classmethod
    def of(cls, geometry: ConeGeometry, name: str, cutoff: float) -> _Filter:
        length = weights.padded_length(geometry.columns)
        u = (np.arange(geometry.columns) - weights.axis_column(geometry)) * geometry.pixel_mm
        v = (np.arange(geometry.rows) - geometry.optical_axis_row) * geometry.pixel_mm
        return cls(
            weights.redundancy_weights(geometry),
            ((u / geometry.sod_mm) ** 2).astype(np.float32),
            ((v / geometry.sod_mm) ** 2).astype(np.float32),
            weights.ramp_filter(length, geometry.pixel_mm, name, cutoff),
            length,
        )

    def apply(self, rays: NDArray[np.float32], view: int, row: int) -> NDArray[np.float32]:
        """Return weighted and filtered rows (rows, padded columns), the first of which is ``row``."""
        padded = np.zeros((rays.shape[0], self.length), np.float32)
        _weigh(rays, padded, self.u2, self.v2[row : row + rays.shape[0]], self.ray_weights[view])
        spectrum = fft.rfft(padded, axis=1, overwrite_x=True)
        spectrum *= self.transfer
        return np.asarray(fft.irfft(spectrum, self.length, axis=1, overwrite_x=True), dtype=np.float32)


@kernel
def _weigh(rays: Any, out: Any, u2: Any, v2: Any, share: Any) -> None:
    """Weight rays by their obliqueness and their share of the line."""
    for j in range(rays.shape[0]):
        for i in range(rays.shape[1]):
            out[j, i] = rays[j, i] * share[i] / np.sqrt(np.float32(1) + u2[i] + v2[j])


@kernel
def _pack(rows: Any, out: Any, shift: int) -> None:
    """Transpose filtered rows into columns (columns, rows); ``out`` row j is ``rows`` row j + shift.

    Beyond the first and last row the object is taken to go on unchanged, as a limb does.
    """
    last = rows.shape[0] - 1
    for j0 in range(0, out.shape[1], 16):
        for i in range(out.shape[0]):
            for j in range(j0, min(out.shape[1], j0 + 16)):
                out[i, j] = rows[min(max(j + shift, 0), last), i]


def _aligned(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return an empty array that begins with a cache line."""
    size = int(np.prod(shape))
    room = np.empty(size + 16, np.float32)
    skip = -room.ctypes.data % 64 // 4
    return room[skip : skip + size].reshape(shape)


def filter_slab(
    read_rows: ReadRows,
    geometry: ConeGeometry,
    grid: Grid,
    slices: tuple[int, int],
    *,
    filter: str = "hamming",
    mapper: Mapper = map,
) -> Filtered:
    """Return the filtered projections that the slices (first, stop) of the grid need."""
    first, stop = aligned_slab(*slices)
    low, high = rows_of(geometry, grid, first, stop)
    a, b = rows_to_read(geometry, grid, *slices)
    recipe = _Filter.of(geometry, filter, cutoff(geometry, grid))
    views = len(geometry.angles_deg)
    q = _aligned((views, geometry.columns, _pitch(high - low)))

    def one(view: int) -> None:
        _pack(recipe.apply(read_rows(view, a, b), view, a), q[view], low - a)

    for _ in mapper(one, range(views)):
        pass
    angles = np.radians(geometry.angles_deg)
    offset, step = _row_line(geometry, grid)
    axis_mm = (geometry.columns - 1) / 2 * geometry.pixel_mm
    _, ny, nx = grid.shape
    frame = [
        1 / geometry.sod_mm,
        1 / geometry.pixel_mm,
        weights.axis_column(geometry),
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


def reconstruct(
    read_rows: ReadRows,
    geometry: ConeGeometry,
    grid: Grid | None = None,
    slices: tuple[int, int] | None = None,
    *,
    filter: str = "hamming",
    mapper: Mapper = map,
    tick: Tick = lambda n: None,
    backend: str | None = None,
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
    filter
        Name of a window, see :func:`bonemet.recon.weights.ramp_filter`; it ends at :func:`cutoff`.
    mapper
        Spreads views and tiles over threads.
    tick
        Told the number of tiles done; :func:`tiles` is their number.
    backend
        Name of a kernel; the fastest that runs here by default.
    """
    grid = grid or default_grid(geometry)
    slices = slices or (0, grid.shape[0])
    if not 0 <= slices[0] < slices[1] <= grid.shape[0]:
        raise SettingsError(
            f"Slices {slices[0]}:{slices[1]} do not lie within the {grid.shape[0]} of this scan."
        )
    backproject = backprojector(backend)
    filtered = filter_slab(read_rows, geometry, grid, slices, filter=filter, mapper=mapper)
    slab = np.empty((filtered.stop - filtered.first, *grid.shape[1:]), np.float32)

    def one(corner: tuple[int, int]) -> None:
        backproject(slab, filtered, *corner)

    for _ in mapper(one, tiles(grid)):
        tick(1)
    return slab[slices[0] - filtered.first : slices[1] - filtered.first]


def tiles(grid: Grid) -> list[tuple[int, int]]:
    """Return the corners (y, x) of the tiles in which a slab is computed."""
    return [(y, x) for y in range(0, grid.shape[1], TILE) for x in range(0, grid.shape[2], TILE)]
