"""One image on another's grid: each output voxel interpolated once from the original grey values.

Empty space costs nothing (:mod:`bonemet.kernels.blocks`), and of an image that is not in memory only those
slices are at hand that the next output slices need.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.core.errors import InputError
from bonemet.core.grid import Grid
from bonemet.core.transform import Piece, Transform
from bonemet.core.volume import SlicedArray
from bonemet.kernels.blocks import CELL, SLAB, fill_slab, occupancy
from bonemet.kernels.interpolate import Order, weight_table

_SLABS: Final = 4  # slabs that are made at a time


def resample(
    moving: NDArray[Any],
    moving_grid: Grid,
    fixed_grid: Grid,
    transform: Transform,
    *,
    order: Order = "linear",
    pieces: Sequence[Piece] = (),
    mapper: Mapper = map,
) -> NDArray[Any]:
    """Return the moving image on the fixed grid.

    Every output voxel is interpolated once from the original grey values. Outside the moving image
    (more than half a voxel beyond its outermost centres) the result is 0. Grids of any spacing and
    direction are served. A fixed grid coarser than the moving one skips voxels: nothing is averaged.

    Parameters
    ----------
    moving
        (z, y, x); bool, 8-bit and 16-bit whole numbers or float32.
    moving_grid, fixed_grid
        Where the voxels are.
    transform
        Takes points of the fixed image to points of the moving image.
    order
        ``linear``; ``cubic`` (Keys' convolution), ``sinc`` (Lanczos, radius 5), or ``nearest`` for
        labels and masks.
    pieces
        Parts of the fixed image that have transforms of their own.
    mapper
        Spreads slabs of the output over threads; the result does not depend on it.

    Returns
    -------
    ndarray
        Of the fixed grid's shape and the moving image's type.

    Raises
    ------
    InputError
        If the image does not fit its grid, or holds numbers of another type.
    """
    job = _job(moving, moving_grid, fixed_grid, transform, order, mapper)
    if pieces:
        parts = resampled(
            moving, moving_grid, fixed_grid, transform, order=order, pieces=pieces, mapper=mapper
        )
        return np.concatenate(list(parts))
    out = np.zeros(fixed_grid.shape, job.window.dtype)
    for _ in job.slabs(out):
        pass
    return out.view(moving.dtype)


def resampled(
    moving: SlicedArray,
    moving_grid: Grid,
    fixed_grid: Grid,
    transform: Transform,
    *,
    order: Order = "linear",
    pieces: Sequence[Piece] = (),
    mapper: Mapper = map,
) -> Iterator[NDArray[Any]]:
    """Yield the moving image on the fixed grid, slab by slab, as :func:`resample` does.

    An image that is not in memory (a stack on disk) is read slice by slice as far as the next slabs need it,
    and let go behind them. A bone that lies across the fixed one needs all of its slices at once.

    Returns
    -------
    iterator of ndarray
        Slices (z, y, x) in order, some at a time.
    """
    job = _job(moving, moving_grid, fixed_grid, transform, order, mapper)
    slabs: Iterator[NDArray[Any]] = (slab.view(moving.dtype) for slab in job.slabs())
    for piece in pieces:
        own = _job(moving, moving_grid, fixed_grid, piece.transform, order, mapper).slabs()
        slabs = _put_in(slabs, own, piece, fixed_grid)
    return slabs


def _put_in(
    slabs: Iterator[NDArray[Any]], own: Iterator[NDArray[Any]], piece: Piece, grid: Grid
) -> Iterator[NDArray[Any]]:
    """Yield slabs with what lies in a piece taken from others."""
    # points are linear in the index, and so is how far they lie along the plane's normal
    x, y, z, start = piece.normal @ grid.matrix[:3]
    across = x * np.arange(grid.shape[2]) + y * np.arange(grid.shape[1])[:, None]
    first = 0
    for slab, other in zip(slabs, own, strict=True):
        depth = start + z * np.arange(first, first + len(slab))
        inside = across + depth[:, None, None] >= piece.level
        slab[inside] = other.view(slab.dtype)[inside]
        first += len(slab)
        yield slab


def _job(
    moving: SlicedArray,
    moving_grid: Grid,
    fixed_grid: Grid,
    transform: Transform,
    order: Order,
    mapper: Mapper,
) -> _Job:
    """Return what is to be done, once it is known that it can be."""
    if tuple(moving.shape) != moving_grid.shape:
        raise InputError(
            f"An image of shape {tuple(moving.shape)} does not fit a grid of {moving_grid.shape}."
        )
    if moving.dtype not in (np.bool_, np.uint8, np.int8, np.uint16, np.int16, np.float32):
        raise InputError(
            f"Images of type {moving.dtype} are not resampled; convert to 8 or 16 bits or float32."
        )
    table = weight_table(order)
    to_moving = np.linalg.inv(moving_grid.matrix) @ transform.matrix @ fixed_grid.matrix
    # entries that are whole but for rounding are whole, so that an identity copies
    nearest = np.rint(to_moving)
    matrix = np.ascontiguousarray(np.where(np.abs(to_moving - nearest) < 1e-9, nearest, to_moving))
    return _Job(_Window(moving, mapper), fixed_grid.shape, matrix, table, order == "linear")


class _Window:
    """Those slices of an image that are at hand, and which of their cells hold anything.

    The slices of an array in memory are all at hand, and are not copied.
    """

    def __init__(self, image: SlicedArray, mapper: Mapper) -> None:
        self.source = image
        self.mapper = mapper
        self.depth = int(image.shape[0])
        self.bool = image.dtype == np.bool_
        self.dtype = np.dtype(np.uint8) if self.bool else image.dtype
        self.first = 0
        self.image = np.empty((0, *image.shape[1:]), self.dtype)
        self.cells = np.zeros((1, 1, 1), np.int32)
        if isinstance(image, np.ndarray):
            self.image = np.ascontiguousarray(image.view(np.uint8) if self.bool else image)
            self.cells = occupancy(self.image, mapper)

    def show(self, first: int, stop: int) -> None:
        """Have slices from ``first`` to ``stop`` at hand."""
        first = max(0, min(first, self.depth - 1)) // CELL * CELL
        stop = min(self.depth, -(-max(stop, first + 1) // CELL) * CELL)
        if self.first <= first and stop <= self.first + len(self.image):
            return
        image = np.empty((stop - first, *self.image.shape[1:]), self.dtype)
        old = slice(max(first, self.first), min(stop, self.first + len(self.image)))
        if old.start >= old.stop:
            old = slice(first, first)
        image[old.start - first : old.stop - first] = self.image[
            old.start - self.first : old.stop - self.first
        ]
        self.image = image
        missing = [*range(first, old.start), *range(old.stop, stop)]

        def read(z: int) -> None:
            image[z - first] = self.source[z]

        for _ in self.mapper(read, missing):
            pass
        self.first = first
        self.cells = occupancy(image, self.mapper)


@dataclass(frozen=True, eq=False)
class _Job:
    """An image to be interpolated.

    Attributes
    ----------
    window
        The moving image.
    shape
        Of the output (z, y, x).
    matrix
        3 x 4 or more: index (x, y, z) of an output voxel to that of the moving image.
    table
        Weights of neighbours.
    linear
        Whether they are those of linear interpolation.
    """

    window: _Window
    shape: tuple[int, int, int]
    matrix: NDArray[np.float64]
    table: NDArray[np.float32]
    linear: bool

    def slabs(self, whole: NDArray[Any] | None = None) -> Iterator[NDArray[Any]]:
        """Yield some slabs at a time, filled by threads; ``whole``: zeros that take them all."""
        window, shape = self.window, self.shape
        bounds = _bounds(window.dtype)
        reach = self.table.shape[1] // 2
        for first in range(0, shape[0], _SLABS * SLAB):
            stop = min(first + _SLABS * SLAB, shape[0])
            out = np.zeros((stop - first, *shape[1:]), window.dtype) if whole is None else whole[first:stop]
            low, high = _depths(self.matrix, shape, first, stop)
            window.show(math.floor(low) - reach, math.ceil(high) + reach + 1)
            how = (self.linear, window.first, window.depth)

            def fill(
                start: int,
                first: int = first,
                out: NDArray[Any] = out,
                how: tuple[bool, int, int] = how,
            ) -> None:
                part = out[start : start + SLAB]
                fill_slab(
                    window.image, window.cells, self.table, self.matrix, first + start, bounds, how, part
                )

            for _ in window.mapper(fill, range(0, len(out), SLAB)):
                pass
            yield out


def _depths(
    matrix: NDArray[np.float64], shape: tuple[int, int, int], first: int, stop: int
) -> tuple[float, float]:
    """Return between which slices of the moving image some output slices lie."""
    corners = np.array(
        [(x, y, z, 1) for x in (0, shape[2] - 1) for y in (0, shape[1] - 1) for z in (first, stop - 1)]
    )
    depth = corners @ matrix[2]
    return float(depth.min()), float(depth.max())


def _bounds(dtype: np.dtype[Any]) -> tuple[float, float, float]:
    """Return rounding offset, least and largest number of a type (offset 0: nothing is rounded)."""
    if dtype.kind == "f":
        return (0.0, 0.0, 0.0)
    info = np.iinfo(dtype)
    return (0.5, float(info.min), float(info.max))
