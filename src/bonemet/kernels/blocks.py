"""Blocks of resampled voxels, interpolated one by one or passed by where there is nothing.

Blocks of output voxels whose neighbourhood in the moving image holds only zeros stay zeros unseen.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.kernels.interpolate import TABLE_STEPS
from bonemet.kernels.jit import fast_kernel, inlined, kernel

BLOCK: Final = 16  # output voxels along the edge of a block that is skipped or filled as one
CELL: Final = 8  # moving voxels along the edge of a cell that is known to be empty or not
SLAB: Final = 2 * BLOCK  # output slices that one thread fills at a time


@kernel
def _mark_cells(image: NDArray[Any], out: NDArray[np.int32]) -> None:
    """Mark the cells of one layer that hold anything but zeros; ``image`` is that layer."""
    held = np.empty(image.shape[2], np.bool_)
    for cell in range(out.shape[0]):
        held[:] = False
        for k in range(image.shape[0]):
            for j in range(cell * CELL, min((cell + 1) * CELL, image.shape[1])):
                row = image[k, j]
                for i in range(row.size):  # without a branch, so that the compiler takes many at once
                    held[i] |= row[i] != 0
        for i in range(held.size):
            if held[i]:
                out[cell, i // CELL] = 1


def occupancy(image: NDArray[Any], mapper: Mapper = map) -> NDArray[np.int32]:
    """Return the running sums (one longer along each axis) of the cells that hold anything.

    The number of occupied cells in any box of cells is then a sum of eight of these numbers.
    """
    layers, rows, columns = (-(-n // CELL) for n in image.shape)
    out = np.zeros((layers + 1, rows + 1, columns + 1), np.int32)

    def mark(layer: int) -> None:
        _mark_cells(image[layer * CELL : (layer + 1) * CELL], out[layer + 1, 1:, 1:])

    for _ in mapper(mark, range(layers)):
        pass
    for axis in range(3):
        np.cumsum(out, axis=axis, out=out)
    return out


@inlined
def _corner_range(
    m: NDArray[np.float64], d: int, start: NDArray[np.int64], stop: NDArray[np.int64]
) -> tuple[float, float]:  # pragma: no cover
    """Return the least and largest index along axis ``d`` (x, y, z) over a block of output voxels."""
    low = high = m[d, 3]
    for a in range(3):
        first, last = m[d, a] * start[a], m[d, a] * (stop[a] - 1)
        low += min(first, last)
        high += max(first, last)
    return low, high


@kernel
def _is_empty(
    cells: NDArray[np.int32],
    shape: tuple[int, int, int],
    base: int,
    reach: int,
    box: NDArray[np.float64],
) -> bool:
    """Tell whether all voxels within reach of a box of positions (rows x, y, z; low, high) are zero.

    ``cells`` begin at slice ``base``.
    """
    first = np.empty(3, np.int64)
    last = np.empty(3, np.int64)
    for d in range(3):
        n = shape[2 - d]
        if box[d, 1] < -0.5 or box[d, 0] >= n - 0.5:
            return True
        first[d] = min(max(math.floor(box[d, 0]) - reach + 1, 0), n - 1) // CELL
        last[d] = min(max(math.floor(box[d, 1]) + reach, 0), n - 1) // CELL + 1
    x0, y0, x1, y1 = first[0], first[1], last[0], last[1]
    z0, z1 = first[2] - base // CELL, last[2] - base // CELL
    upper = cells[z1, y1, x1] - cells[z1, y0, x1] - cells[z1, y1, x0] + cells[z1, y0, x0]
    lower = cells[z0, y1, x1] - cells[z0, y0, x1] - cells[z0, y1, x0] + cells[z0, y0, x0]
    return bool(upper == lower)


@inlined
def _linear(image: Any, x: float, y: float, z: float, base: Any) -> Any:  # pragma: no cover
    """Interpolate between the eight neighbours of a point at least one voxel from every face."""
    # indices without a sign spare the compiler the question whether they count from the end
    i, j, k, one = np.uint64(x), np.uint64(y), np.uint64(z), np.uint64(1)
    fx, fy, fz = np.float32(x - i), np.float32(y - j), np.float32(z - k)
    k -= np.uint64(base)
    p = np.float32(image[k, j, i])
    c00 = p + fx * (np.float32(image[k, j, i + one]) - p)
    p = np.float32(image[k, j + one, i])
    c01 = p + fx * (np.float32(image[k, j + one, i + one]) - p)
    p = np.float32(image[k + one, j, i])
    c10 = p + fx * (np.float32(image[k + one, j, i + one]) - p)
    p = np.float32(image[k + one, j + one, i])
    c11 = p + fx * (np.float32(image[k + one, j + one, i + one]) - p)
    c0 = c00 + fy * (c01 - c00)
    c1 = c10 + fy * (c11 - c10)
    return c0 + fz * (c1 - c0)


def _summed(taps: int) -> Any:
    """Return the sum over ``taps`` neighbours along each axis, all of them within the image.

    With a number that the compiler knows it unrolls the loops: twice as fast.
    """

    @fast_kernel
    def sum_of(image: Any, table: Any, x: float, y: float, z: float, base: int) -> np.float32:
        i, j, k = math.floor(x), math.floor(y), math.floor(z)
        wx = table[int((x - i) * TABLE_STEPS + 0.5)]
        wy = table[int((y - j) * TABLE_STEPS + 0.5)]
        wz = table[int((z - k) * TABLE_STEPS + 0.5)]
        back = taps // 2 - 1
        # indices without a sign spare the compiler the question whether they count from the end
        i0, j0, k0 = np.uint64(i - back), np.uint64(j - back), np.uint64(k - back - base)
        total = np.float32(0)
        for c in range(taps):
            plane = np.float32(0)
            for b in range(taps):
                line = np.float32(0)
                for a in range(taps):
                    value = image[k0 + np.uint64(c), j0 + np.uint64(b), i0 + np.uint64(a)]
                    line += wx[a] * np.float32(value)
                plane += wy[b] * line
            total += wz[c] * plane
        return total

    return sum_of


_CUBIC, _SINC = 4, 10  # neighbours along an axis
_cubic, _sinc = _summed(_CUBIC), _summed(_SINC)


@fast_kernel
def _weighted(
    image: NDArray[Any],
    table: NDArray[np.float32],
    x: float,
    y: float,
    z: float,
    base: int,
    depth: int,
) -> np.float32:
    """Interpolate with tabled weights; beyond a face its voxels go on."""
    ny, nx = image.shape[1:]
    taps = table.shape[1]
    i, j, k = math.floor(x), math.floor(y), math.floor(z)
    wx = table[int((x - i) * TABLE_STEPS + 0.5)]
    wy = table[int((y - j) * TABLE_STEPS + 0.5)]
    wz = table[int((z - k) * TABLE_STEPS + 0.5)]
    back = taps // 2 - 1
    total = np.float32(0)
    for c in range(taps):
        kk = min(max(k - back + c, 0), depth - 1) - base
        plane = np.float32(0)
        for b in range(taps):
            row = image[kk, min(max(j - back + b, 0), ny - 1)]
            line = np.float32(0)
            for a in range(taps):
                line += wx[a] * np.float32(row[min(max(i - back + a, 0), nx - 1)])
            plane += wy[b] * line
        total += wz[c] * plane
    return total


@fast_kernel
def _fill_block(
    image: NDArray[Any],
    table: NDArray[np.float32],
    m: NDArray[np.float64],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    bounds: tuple[float, float, float],
    how: tuple[bool, int, int],
    out: NDArray[Any],
) -> None:
    """Fill output voxels from ``start`` to ``stop`` (x, y, z); ``out`` begins at slice ``start[2]``.

    ``bounds`` holds what is added before the fraction is cut off (1/2 for whole numbers, 0 for
    floats), and the least and largest number that the type holds; ``how``: whether to interpolate
    linearly, the first slice that is at hand, and how many slices there are.
    """
    ny, nx = image.shape[1:]
    linear, base, nz = how
    half, least, largest = bounds
    taps = table.shape[1]
    reach, back = taps // 2, taps // 2 - 1
    for k in range(start[2], stop[2]):
        for j in range(start[1], stop[1]):
            x0 = m[0, 1] * j + m[0, 2] * k + m[0, 3]
            y0 = m[1, 1] * j + m[1, 2] * k + m[1, 3]
            z0 = m[2, 1] * j + m[2, 2] * k + m[2, 3]
            for i in range(start[0], stop[0]):
                x, y, z = x0 + m[0, 0] * i, y0 + m[1, 0] * i, z0 + m[2, 0] * i
                if linear and 0 <= x < nx - 1 and 0 <= y < ny - 1 and 0 <= z < nz - 1:
                    value = _linear(image, x, y, z, base)
                elif -0.5 <= x < nx - 0.5 and -0.5 <= y < ny - 0.5 and -0.5 <= z < nz - 0.5:
                    within = back <= x < nx - reach and back <= y < ny - reach and back <= z < nz - reach
                    if within and taps == _CUBIC:
                        value = _cubic(image, table, x, y, z, base)
                    elif within and taps == _SINC:
                        value = _sinc(image, table, x, y, z, base)
                    else:
                        value = _weighted(image, table, x, y, z, base, nz)
                    if half > 0:  # the wider kernels overshoot at edges
                        value = min(max(value, least), largest)
                else:
                    out[k - start[2], j, i] = 0
                    continue
                out[k - start[2], j, i] = math.floor(value + half) if half > 0 else value


@kernel
def fill_slab(
    image: NDArray[Any],
    cells: NDArray[np.int32],
    table: NDArray[np.float32],
    m: NDArray[np.float64],
    first: int,
    bounds: tuple[float, float, float],
    how: tuple[bool, int, int],
    out: NDArray[Any],
) -> None:
    """Fill output slices, which hold zeros, from ``first`` on, a multiple of the block's edge.

    Where nothing is seen they are not touched: memory fresh from the system then costs nothing.
    """
    depth, rows, columns = out.shape
    reach = table.shape[1] // 2
    box = np.empty((3, 2))
    start = np.empty(3, np.int64)
    stop = np.empty(3, np.int64)
    for k in range(0, depth, BLOCK):
        for j in range(0, rows, BLOCK):
            for i in range(0, columns, BLOCK):
                start[0], start[1], start[2] = i, j, first + k
                stop[0], stop[1] = min(i + BLOCK, columns), min(j + BLOCK, rows)
                stop[2] = first + min(k + BLOCK, depth)
                for d in range(3):
                    box[d, 0], box[d, 1] = _corner_range(m, d, start, stop)
                if not _is_empty(cells, (how[2], image.shape[1], image.shape[2]), how[1], reach, box):
                    _fill_block(image, table, m, start, stop, bounds, how, out[k : k + BLOCK])
