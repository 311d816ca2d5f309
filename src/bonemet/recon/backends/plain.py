"""The kernel for any processor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.kernels.jit import kernel
from bonemet.recon.backends.columns import BITS, MASK, RUN, SUB, UNIT, VIEWS, Filtered, locate, store, trace


def backproject_tile(slab: NDArray[np.float32], filtered: Filtered, y0: int, x0: int) -> None:
    """Fill one tile; see :class:`bonemet.recon.backends.Backprojector`."""
    f = filtered
    _tile(slab, f.q, (f.cos, f.sin), (f.x_mm, f.y_mm), f.frame, (f.row0, f.first), y0, x0)


@kernel
def _tile(slab: Any, q: Any, turn: Any, at: Any, frame: Any, origin: Any, y0: int, x0: int) -> None:
    views, columns, rows = q.shape
    depth, ny, nx = slab.shape
    row0, first = origin
    sums = np.empty((16, SUB * SUB, RUN), np.float32)
    blend = np.empty(rows, np.float32)
    for k in range(0, depth, RUN):
        sums[:] = 0
        count = min(RUN, depth - k)
        for p0 in range(0, views, VIEWS):
            for n in range(256):
                group, lane = n // 16, n % 16
                y = y0 + (group // 4) * SUB + lane // SUB
                x = x0 + (group % 4) * SUB + lane % SUB
                if y >= ny or x >= nx or at[0][x] ** 2 + at[1][y] ** 2 > frame[4]:
                    continue
                for p in range(p0, min(views, p0 + VIEWS)):
                    i, w0, w1, m = locate(frame, turn[0][p], turn[1][p], at[0][x], at[1][y], columns)
                    row, pace = trace(frame, m, row0, first + k)
                    _add(sums[group, lane], (q[p, i], q[p, i + 1], blend), (w0, w1), (row, pace), count)
        store(slab, sums, k, y0, x0)


@kernel
def _add(out: Any, rays: Any, weights: Any, line: Any, count: int) -> None:
    """Add one view to ``count`` voxels of a column; ``line`` is the row of the first, and rows per slice."""
    q0, q1, blend = rays
    w0, w1 = weights
    row, pace = line
    for j in range(row >> BITS, ((row + pace * (count - 1)) >> BITS) + 2):
        blend[np.uint64(j)] = w0 * q0[np.uint64(j)] + w1 * q1[np.uint64(j)]
    for z in range(count):
        at = np.uint64(row >> BITS)
        part = np.float32(row & MASK) * UNIT
        low = blend[at]
        out[np.uint64(z)] += low + part * (blend[at + np.uint64(1)] - low)
        row += pace
