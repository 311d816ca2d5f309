"""The kernel for processors with AVX-512.

The same sums as :mod:`bonemet.recon.backends.plain`, 16 slices and two views at once. The two rows that a
voxel lies between are picked out of registers: 16 neighbouring voxels fall on fewer than 32 neighbouring
rows, which two registers hold, and one instruction (VPERMI2PS) picks 16 of 32 numbers by the lowest five
bits of as many integers. LLVM makes it from a named intrinsic, so that no compiler is needed. The place
among the 32 rows is counted in integers whose highest five bits are the row; turned by five bits, they
are both what picks a row and, as numbers, the way to the next one.

Arrays are handed to these instructions by address, so bounds are the caller's business:
:func:`bonemet.recon.fdk.filter_slab` packs more rows than are ever read (``OVERREAD``), and the arrays stay
referenced by the Python caller while a kernel runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from bonemet.kernels.jit import kernel
from bonemet.recon.backends import lanes, plain
from bonemet.recon.backends.columns import MAGIC_BITS, ONE, RUN, SUB, Filtered, aligned, place_all, trace_all
from bonemet.recon.backends.columns import store as store_sums
from bonemet.recon.backends.lanes import ahead, fused, load, spread, store, whole

STEEPEST = 1.99  # rows per slice up to which 16 slices lie within 32 rows
WIDTH = 16
STRIDE = 32  # rows blended in one go; no more than OVERREAD allows
TOGETHER = 2  # views that are added in one go
BLOCK = 8  # views whose columns stay in cache; a multiple of those together
TURN = 5  # bits that pick one of 32 rows

_FLOATS, _INTS = ir.VectorType(lanes.FLOAT, WIDTH), ir.VectorType(lanes.INT32, WIDTH)
_LANES = ir.Constant(_INTS, list(range(WIDTH)))
_ADDRESS, _NUMBER, _COUNT = types.int64, types.float32, types.int32


def backproject_tile(slab: NDArray[np.float32], filtered: Filtered, y0: int, x0: int) -> None:
    """Fill one tile; see :class:`bonemet.recon.backends.Backprojector`."""
    f = filtered
    nearest = 1 / (1 - np.sqrt(f.frame[4]) * f.frame[0])
    if f.frame[6] * nearest > STEEPEST:
        plain.backproject_tile(slab, filtered, y0, x0)
        return
    sums = aligned((16, SUB * SUB, RUN))
    blends = aligned((TOGETHER, -(-f.q.shape[2] // 16) * 16 + 64))
    blends[:] = 0
    lines = np.empty((2 * TOGETHER + 1, 80))  # of these views, of the next ones, and x and y
    work, at = (f.q, sums, blends, lines), (f.x_mm, f.y_mm)
    _tile(slab, work, (f.cos, f.sin), at, f.frame, (f.row0, f.first), y0, x0)


def _make_blend(_typing: Any, out: Any, q0: Any, q1: Any, w0: Any, w1: Any, following: Any) -> Any:
    """Write ``w0 * q0 + w1 * q1``, ``STRIDE`` numbers by their addresses, and fetch what comes next."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        out, q0, q1, w0, w1, following = arguments
        first, second = spread(builder, w0, _FLOATS), spread(builder, w1, _FLOATS)
        for n in range(0, STRIDE, WIDTH):
            lanes.prefetch(builder, ahead(builder, following, n))
            low = builder.fmul(first, load(builder, ahead(builder, q0, n), _FLOATS))
            both = fused(builder, second, load(builder, ahead(builder, q1, n), _FLOATS), low)
            store(builder, both, ahead(builder, out, n))
        return context.get_dummy_value()

    return types.void(_ADDRESS, _ADDRESS, _ADDRESS, _NUMBER, _NUMBER, _ADDRESS), generate


def _looked_up(builder: Any, total: Any, rows: Any, start: Any, slope: Any) -> Any:
    """Return a sum and what stands at ``start + slope * lane`` among 32 rows, stored times 2^-32."""
    steps = builder.mul(spread(builder, slope, _INTS), _LANES)
    place = builder.add(spread(builder, start, _INTS), steps)
    pick = lanes.call(builder, "llvm.fshl.v16i32", _INTS, [place, place, whole(TURN, WIDTH)])
    first, second = load(builder, rows, _FLOATS), load(builder, ahead(builder, rows, WIDTH), _FLOATS)
    name = "llvm.x86.avx512.vpermi2var.ps.512"
    low = lanes.call(builder, name, _FLOATS, [first, pick, second])
    high = lanes.call(builder, name, _FLOATS, [first, builder.add(pick, whole(1, WIDTH)), second])
    total = fused(builder, lanes.numbers(2.0**32, WIDTH), low, total)
    return fused(builder, builder.uitofp(pick, _FLOATS), builder.fsub(high, low), total)


def _make_one(_typing: Any, out: Any, rows: Any, start: Any, slope: Any) -> Any:
    """Add to 16 voxels what one view says."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        out, *view = arguments
        store(builder, _looked_up(builder, load(builder, out, _FLOATS), *view), out)
        return context.get_dummy_value()

    return types.void(_ADDRESS, _ADDRESS, _COUNT, _COUNT), generate


def _make_two(
    _typing: Any, out: Any, rows: Any, start: Any, slope: Any, rows2: Any, start2: Any, slope2: Any
) -> Any:
    """Add to 16 voxels what two views say."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        out, *views = arguments
        total = _looked_up(builder, load(builder, out, _FLOATS), *views[:3])
        store(builder, _looked_up(builder, total, *views[3:]), out)
        return context.get_dummy_value()

    kinds = (_ADDRESS, _COUNT, _COUNT)
    return types.void(_ADDRESS, *kinds, *kinds), generate


_blend: Any = intrinsic(_make_blend)
_add_one: Any = intrinsic(_make_one)
_add_two: Any = intrinsic(_make_two)


@kernel
def _tile(slab: Any, work: Any, turn: Any, at: Any, frame: Any, origin: Any, y0: int, x0: int) -> None:
    q, sums, blends, lines = work
    views, depth, last = q.shape[0], slab.shape[0], q.shape[1] - 2.0
    row0, first = origin
    seen = np.empty(16, np.bool_)
    steps = np.empty(TOGETHER, np.int64), np.empty(TOGETHER, np.int64)
    place = lines[2 * TOGETHER]
    for k in range(0, depth, RUN):
        sums[:] = 0
        for p0 in range(0, views, BLOCK):
            stop = min(views, p0 + BLOCK)
            for group in range(16):
                corner = (y0 + (group // 4) * SUB, x0 + (group % 4) * SUB)
                place_all(place, seen, at, frame[4], corner, slab.shape)
                for n in range(TOGETHER):
                    p = min(p0 + n, stop - 1)
                    trace_all(lines[n], place, frame, (turn[0][p], turn[1][p]), row0, last)
                half = 0
                for p in range(p0, stop, TOGETHER):
                    half = TOGETHER - half
                    for n in range(TOGETHER):
                        then = min(p + TOGETHER + n, stop - 1)
                        trace_all(lines[half + n], place, frame, (turn[0][then], turn[1][then]), row0, last)
                    rooms = (sums[group], blends, lines, seen, steps)
                    _add_views(q, rooms, (p, stop, TOGETHER - half), first + k, min(RUN, depth - k))
        store_sums(slab, sums, k, y0, x0)


@kernel
def _add_views(q: Any, work: Any, views: Any, k: int, count: int) -> None:
    """Add two views, or the last one, to 16 columns of voxels, while the next views' columns are fetched."""
    sums, blends, lines, seen, (rows, pace) = work
    p, stop, half = views
    whole = lines.view(np.int64)
    number = min(TOGETHER, stop - p)
    for lane in range(16):
        if not seen[lane]:
            continue
        for n in range(number):
            now, then = lines[half + n], lines[TOGETHER - half + n]
            pace[n] = whole[half + n, lane] - MAGIC_BITS
            rows[n] = whole[half + n, 16 + lane] - MAGIC_BITS + pace[n] * k
            column_at = _column(q, p + n, now[32 + lane])
            next_at = _column(q, min(p + TOGETHER + n, stop - 1), then[32 + lane])
            where = (column_at, column_at + 4 * q.shape[2], blends[n].ctypes.data, next_at)
            _lay(where, (now[48 + lane], now[64 + lane]), rows[n], pace[n], count)
        out, second = sums[lane].ctypes.data, number - 1
        lines_at = (blends[0].ctypes.data, blends[second].ctypes.data)
        _add(out, lines_at, (rows[0], rows[second]), (pace[0], pace[second]), (number, count))


@kernel
def _column(q: Any, view: int, column: float) -> Any:
    """Return the address of a filtered column."""
    return q.ctypes.data + 4 * q.shape[2] * (view * q.shape[1] + np.int64(column))


@kernel
def _lay(where: Any, weights: Any, row: int, pace: int, count: int) -> None:
    """Blend two columns as far as ``count`` voxels reach, the first of which falls on ``row``."""
    q0, q1, out, following = where
    w0, w1 = np.float32(weights[0] / ONE), np.float32(weights[1] / ONE)
    head = max(row >> 32, 0) & ~15  # whole cache lines
    tail = ((row + pace * (count - 1)) >> 32) + 2
    for j in range(4 * head, 4 * tail, 4 * STRIDE):
        _blend(out + j, q0 + j, q1 + j, w0, w1, following + j)


@kernel
def _add(out: int, blends: Any, rows: Any, paces: Any, counts: Any) -> None:
    """Add one or two views to ``count`` voxels of one column."""
    views, count = counts
    row, row2 = rows
    slope, slope2 = np.int32(paces[0] >> TURN), np.int32(paces[1] >> TURN)
    for z in range(0, count, WIDTH):
        at, start = blends[0] + 4 * (row >> 32), np.int32((row & (ONE - 1)) >> TURN)
        if views == TOGETHER:
            at2, start2 = blends[1] + 4 * (row2 >> 32), np.int32((row2 & (ONE - 1)) >> TURN)
            _add_two(out + 4 * z, at, start, slope, at2, start2, slope2)
        else:
            _add_one(out + 4 * z, at, start, slope)
        row += WIDTH * paces[0]
        row2 += WIDTH * paces[1]
