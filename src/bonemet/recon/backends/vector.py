"""The kernel for processors with short vectors: AVX2, and whatever else LLVM makes of eight lanes.

The same sums as :mod:`bonemet.recon.backends.plain`, eight slices at once, without gathering. Slices are
about one row apart, so slice ``l`` of eight falls ``d`` rows behind ``base + l``, with a ``d`` from 0 to 3
that grows or shrinks along the lanes. The rows ``base + l + d`` and the next ones are therefore picked lane
by lane out of plain loads from ``base``, ``base + 1`` and so on. The place among the rows is counted in
integers whose highest bits are ``d`` and whose lower bits are the way to the next row.

Where rows per slice differ more from one, numbers are looked up one by one.

Arrays are handed over by address, so bounds are the caller's business: see
:mod:`bonemet.recon.backends.avx512`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from bonemet.kernels.jit import kernel
from bonemet.recon.backends.columns import MAGIC_BITS, ONE, RUN, SUB, VIEWS, Filtered, place_all, trace_all
from bonemet.recon.backends.columns import store as store_sums
from bonemet.recon.backends.lanes import (
    FLOATS,
    INTS,
    NONE,
    WIDTH,
    ahead,
    fused,
    load,
    numbers,
    prefetch,
    spread,
    store,
    whole,
)

STRIDE = 32  # rows blended in one go; no more than OVERREAD allows
FRONT = 16  # numbers before the blended column that may be loaded, but are never picked
NEAR = ONE // 7  # rows per slice less 1, up to which d is 0 or 1 in eight lanes
FAR = 3 * ONE // 7  # up to which it is 0 to 3

_LANES = ir.Constant(INTS, list(range(WIDTH)))
_ADDRESS, _NUMBER, _COUNT = types.int64, types.float32, types.int32


def backproject_tile(slab: NDArray[np.float32], filtered: Filtered, y0: int, x0: int) -> None:
    """Fill one tile; see :class:`bonemet.recon.backends.Backprojector`."""
    f = filtered
    sums = np.empty((16, SUB * SUB, RUN), np.float32)
    blend = np.zeros(f.q.shape[2] + FRONT + 64, np.float32)
    lines = np.empty((3, 80))  # of this view, of the next one, and x and y
    work, at = (f.q, sums, blend, lines), (f.x_mm, f.y_mm)
    _tile(slab, work, (f.cos, f.sin), at, f.frame, (f.row0, f.first), y0, x0)


def _make_blend(_typing: Any, out: Any, q0: Any, q1: Any, w0: Any, w1: Any, following: Any) -> Any:
    """Write ``w0 * q0 + w1 * q1``, ``STRIDE`` numbers by their addresses, and fetch what comes next."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        out, q0, q1, w0, w1, following = arguments
        for n in range(0, STRIDE, 16):
            prefetch(builder, ahead(builder, following, n))
        first, second = spread(builder, w0), spread(builder, w1)
        for n in range(0, STRIDE, WIDTH):
            low = builder.fmul(first, load(builder, ahead(builder, q0, n)))
            both = fused(builder, second, load(builder, ahead(builder, q1, n)), low)
            store(builder, both, ahead(builder, out, n))
        return context.get_dummy_value()

    return types.void(_ADDRESS, _ADDRESS, _ADDRESS, _NUMBER, _NUMBER, _ADDRESS), generate


def _places(builder: Any, start: Any, slope: Any, bits: int) -> Any:
    """Return where eight slices fall: ``start + slope * lane`` rows, of which ``bits`` bits are whole."""
    steps = builder.mul(spread(builder, slope, INTS), _LANES)
    return builder.add(builder.lshr(spread(builder, start, INTS), whole(bits)), steps)


def _make_near(_typing: Any, out: Any, rows: Any, start: Any, slope: Any, lift: Any) -> Any:
    """Add to eight voxels what lies up to one row before or behind ``rows[1]``, ``rows[2]`` and so on.

    Where the highest bit of a place less one row is set, it lies before.
    """

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        out, rows, start, slope, lift = arguments
        more = builder.sub(spread(builder, lift, INTS), whole(-(2**31)))
        place = builder.add(_places(builder, start, slope, 1), more)
        first, middle, last = (load(builder, ahead(builder, rows, n)) for n in range(3))
        before, behind = builder.fsub(middle, first), builder.fsub(last, middle)
        rise = builder.select(builder.icmp_signed("<", place, NONE), before, behind)
        total = fused(builder, numbers(2.0**31), middle, load(builder, out))
        store(builder, fused(builder, builder.sitofp(place, FLOATS), rise, total), out)
        return context.get_dummy_value()

    return types.void(_ADDRESS, _ADDRESS, _COUNT, _COUNT, _COUNT), generate


def _make_far(_typing: Any, out: Any, rows: Any, start: Any, slope: Any, lift: Any) -> Any:
    """Add to eight voxels what lies up to four rows behind ``rows[0]``, ``rows[1]`` and so on."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        out, rows, start, slope, lift = arguments
        place = builder.add(_places(builder, start, slope, 2), spread(builder, lift, INTS))
        part = builder.and_(place, whole(2**30 - 1))
        picked = [load(builder, ahead(builder, rows, n)) for n in range(5)]
        for bit, jump in ((0, 2), (1, 1)):
            there = builder.icmp_signed("<", builder.shl(place, whole(bit)), NONE)
            picked = [builder.select(there, b, a) for a, b in zip(picked, picked[jump:], strict=False)]
        low, high = picked
        total = fused(builder, numbers(2.0**30), low, load(builder, out))
        rise = builder.fsub(high, low)
        store(builder, fused(builder, builder.sitofp(part, FLOATS), rise, total), out)
        return context.get_dummy_value()

    return types.void(_ADDRESS, _ADDRESS, _COUNT, _COUNT, _COUNT), generate


_blend: Any = intrinsic(_make_blend)
_add_near: Any = intrinsic(_make_near)
_add_far: Any = intrinsic(_make_far)


@kernel
def _tile(slab: Any, work: Any, turn: Any, at: Any, frame: Any, origin: Any, y0: int, x0: int) -> None:
    q, sums, blend, lines = work
    views, depth, last = q.shape[0], slab.shape[0], q.shape[1] - 2.0
    row0, first = origin
    seen = np.empty(16, np.bool_)
    for k in range(0, depth, RUN):
        sums[:] = 0
        for p0 in range(0, views, VIEWS):
            for group in range(16):
                corner = (y0 + (group // 4) * SUB, x0 + (group % 4) * SUB)
                place_all(lines[2], seen, at, frame[4], corner, slab.shape)
                trace_all(lines[p0 % 2], lines[2], frame, (turn[0][p0], turn[1][p0]), row0, last)
                for p in range(p0, min(views, p0 + VIEWS)):
                    then = min(p + 1, views - 1)
                    trace_all(lines[1 - p % 2], lines[2], frame, (turn[0][then], turn[1][then]), row0, last)
                    _add_view(q, (sums[group], blend, lines, seen), (p, then), first + k, min(RUN, depth - k))
        store_sums(slab, sums, k, y0, x0)


@kernel
def _add_view(q: Any, work: Any, views: Any, k: int, count: int) -> None:
    """Add a view to 16 columns of voxels, from slice ``k`` on, while the next view's columns are fetched."""
    sums, blend, lines, seen = work
    p, then = views
    now, ahead = lines[p % 2], lines[1 - p % 2]
    whole = now.view(np.int64)
    _, columns, rows = q.shape
    for lane in range(16):
        if not seen[lane]:
            continue
        pace = whole[lane] - MAGIC_BITS
        row = whole[16 + lane] - MAGIC_BITS + pace * k
        column_at = q.ctypes.data + 4 * rows * (p * columns + np.int64(now[32 + lane]))
        next_at = q.ctypes.data + 4 * rows * (then * columns + np.int64(ahead[32 + lane]))
        where = (
            sums[lane].ctypes.data,
            column_at,
            column_at + 4 * rows,
            blend.ctypes.data + 4 * FRONT,
            next_at,
        )
        if not _add(where, (now[48 + lane], now[64 + lane]), row, pace, count):
            _look_up(sums[lane], blend[FRONT:], row, pace, count)


@kernel
def _add(where: Any, weights: Any, row: int, pace: int, count: int) -> bool:
    """Add one view to ``count`` voxels of one column, the first of which falls on ``row``.

    Where rows per slice differ too much from one, only blend two columns, and say so by False.
    """
    out, q0, q1, rows_at, next_at = where
    more = pace - ONE
    near, far = abs(more) <= NEAR, abs(more) <= FAR
    scale = 2.0**-31 if near else 2.0**-30 if far else 1.0
    w0, w1 = np.float32(weights[0] * scale), np.float32(weights[1] * scale)
    lift = 0 if more >= 0 or not far else (7 * -more + ONE - 1) >> 32
    head = max((row >> 32) - lift, 0) & ~7
    tail = ((row + pace * (count - 1)) >> 32) + 2
    for j in range(4 * head, 4 * tail, 4 * STRIDE):
        _blend(rows_at + j, q0 + j, q1 + j, w0, w1, next_at + j)
    start = row - (lift << 32)
    if near:
        slope, lifted = np.int32(more >> 1), np.int32(lift << 31)
        for z in range(0, count, WIDTH):
            _add_near(out + 4 * z, rows_at + 4 * (start >> 32), np.int32(start), slope, lifted)
            start += WIDTH * pace
    elif far:
        slope, lifted = np.int32(more >> 2), np.int32(lift << 30)
        for z in range(0, count, WIDTH):
            _add_far(out + 4 * z, rows_at + 4 * (start >> 32), np.int32(start), slope, lifted)
            start += WIDTH * pace
    return far


@kernel
def _look_up(out: Any, blend: Any, row: int, pace: int, count: int) -> None:
    """Add to the voxels of a column what lies where they fall, one by one."""
    for z in range(count):
        at = np.uint64(row >> 32)
        part = np.float32(row & (ONE - 1)) * np.float32(2.0**-32)
        low = blend[at]
        out[np.uint64(z)] += low + part * (blend[at + np.uint64(1)] - low)
        row += pace
