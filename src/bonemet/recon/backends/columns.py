"""What all kernels share: their input, and where columns of voxels fall on the detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.kernels.jit import inlined, kernel

TILE = 16  # voxels along x and y of a tile
LANES = 16  # slices are handled in groups that start at multiples of this
OVERREAD = 48  # rows that a kernel may read beyond the last that it needs
RUN = 256  # slices summed in one go; their sums stay in cache
VIEWS = 16  # views taken together; their filtered columns stay in cache
SUB = 4  # voxels along x and y that are taken together

BITS = 40  # rows are counted in 1 / 2^40, in integers: exact wherever a slab begins, and fast
MASK = 2**BITS - 1
UNIT = np.float32(2.0**-BITS)

ONE = 2**32  # where many columns are traced at once, rows are counted in 1 / 2^32
MAGIC = 1.5 * 2.0**52  # a double plus this has its integer part in its lowest bits
MAGIC_BITS = int(np.float64(MAGIC).view(np.int64))


@dataclass(frozen=True, eq=False)
class Filtered:
    """Weighted and filtered projections of one slab, and the geometry that the kernels need.

    Attributes
    ----------
    q
        (views, columns, rows) filtered projections, 1/mm, each view's weight in them.
    cos, sin
        (views,) of the angle by which the object has turned.
    x_mm, y_mm
        Voxel centres from the axis.
    frame
        1 / sod, 1 / pixel (1/mm), column of the axis, row of the optical axis, squared radius of the
        field (mm2), row of slice 0 less the optical row, rows per slice; both rows at the axis.
    row0
        Detector row that stands first in ``q``.
    first, stop
        The slab's slices; ``first`` is a multiple of ``LANES``, and so is their number.
    """

    q: NDArray[np.float32]
    cos: NDArray[np.float64]
    sin: NDArray[np.float64]
    x_mm: NDArray[np.float64]
    y_mm: NDArray[np.float64]
    frame: NDArray[np.float64]
    row0: int
    first: int
    stop: int


def aligned(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return an empty array that begins with a cache line."""
    size = int(np.prod(shape))
    room = np.empty(size + 16, np.float32)
    skip = -room.ctypes.data % 64 // 4
    return room[skip : skip + size].reshape(shape)


@inlined
def locate(
    frame: Any, c: float, s: float, x: float, y: float, columns: int
) -> tuple[int, np.float32, np.float32, float]:
    """Return column, the weights of it and the next one, and magnification of a point in one view.

    The weight is the (sod / distance)^2 of FDK (doi:10.1364/JOSAA.1.000612).
    """
    m = 1.0 / (1.0 - (x * s + y * c) * frame[0])
    u = (x * c - y * s) * m * frame[1] + frame[2]
    i = min(max(int(u), 0), columns - 2)
    w = m * m
    w1 = w * (u - i)
    return i, np.float32(w - w1), np.float32(w1), m


@inlined
def trace(frame: Any, m: float, row0: int, k: int) -> tuple[Any, Any]:
    """Return the row of slice k at magnification m, from ``row0`` on, and rows per slice, both times 2^40."""
    start = np.int64((frame[3] + frame[5] * m) * 2.0**BITS)
    pace = np.int64(frame[6] * m * 2.0**BITS)
    return start + pace * k - (np.int64(row0) << BITS), pace


@kernel
def place_all(line: Any, seen: Any, at: Any, radius2: float, corner: Any, shape: Any) -> None:
    """Write x and y of 4 x 4 columns of voxels, and whether they are to be computed."""
    for lane in range(16):
        y, x = corner[0] + lane // SUB, corner[1] + lane % SUB
        inside = y < shape[1] and x < shape[2]
        x_mm, y_mm = at[0][min(x, shape[2] - 1)], at[1][min(y, shape[1] - 1)]
        line[lane], line[16 + lane] = x_mm, y_mm
        seen[lane] = inside and x_mm**2 + y_mm**2 <= radius2


@kernel
def trace_all(lines: Any, at: Any, frame: Any, turned: Any, row0: int, last: float) -> None:
    """Write where 16 columns of voxels fall in a view: rows per slice, row of slice 0, column, weights.

    Rows are written as integers, times 2^32: see ``MAGIC``.
    """
    c, s = turned
    rsod, per_mm, column, top, offset, step = (
        frame[0],
        frame[1],
        frame[2],
        frame[3] - row0,
        frame[5],
        frame[6],
    )
    for lane in range(16):
        x, y = at[lane], at[16 + lane]
        m = np.divide(1.0, 1.0 - (x * s + y * c) * rsod)
        u = (x * c - y * s) * m * per_mm + column
        i = min(max(np.floor(u), 0.0), last)
        w1 = m * m * (u - i)
        lines[lane] = step * m * 2.0**32 + MAGIC
        lines[16 + lane] = (top + offset * m) * 2.0**32 + MAGIC
        lines[32 + lane] = i
        lines[48 + lane] = m * m - w1
        lines[64 + lane] = w1


@inlined
def store(slab: Any, sums: Any, k: int, y0: int, x0: int) -> None:
    """Copy the sums (16 groups, 16 columns, slices) of a tile's run into the slab, from slice k on."""
    depth, ny, nx = slab.shape
    count = min(RUN, depth - k)
    for z0 in range(0, count, LANES):
        for y in range(min(16, ny - y0)):
            for x in range(min(16, nx - x0)):
                column = sums[(y // SUB) * 4 + x // SUB, (y % SUB) * SUB + x % SUB]
                for z in range(z0, min(z0 + LANES, count)):
                    slab[k + z, y0 + y, x0 + x] = column[z]
