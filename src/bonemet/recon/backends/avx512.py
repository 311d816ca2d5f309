"""The kernel for processors with AVX-512.

The same sums as :mod:`bonemet.recon.backends.plain`, 16 slices at once. The two rows that a voxel lies
between are picked out of registers: 16 neighbouring voxels fall on fewer than 32 neighbouring rows, which
two registers hold, and one instruction (VPERMI2PS) picks 16 of 32 numbers. LLVM makes it from a named
intrinsic, so that no compiler is needed.

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
from bonemet.recon.backends import plain
from bonemet.recon.backends.columns import BITS, MASK, RUN, SUB, UNIT, VIEWS, Filtered, locate, store, trace

STEEPEST = 1.99  # rows per slice up to which 16 slices lie within 32 rows

_FLOAT, _INT32 = ir.FloatType(), ir.IntType(32)
_FLOATS, _INTS = ir.VectorType(_FLOAT, 16), ir.VectorType(_INT32, 16)
_LANES = ir.Constant(_FLOATS, [float(i) for i in range(16)])
_ONES = ir.Constant(_INTS, [1] * 16)
_ADDRESS, _NUMBER = types.int64, types.float32


def backproject_tile(slab: NDArray[np.float32], filtered: Filtered, y0: int, x0: int) -> None:
    """Fill one tile; see :class:`bonemet.recon.backends.Backprojector`."""
    f = filtered
    nearest = 1 / (1 - np.sqrt(f.frame[4]) * f.frame[0])
    if f.frame[6] * nearest > STEEPEST:
        plain.backproject_tile(slab, filtered, y0, x0)
        return
    sums = np.empty((16, SUB * SUB, RUN), np.float32)
    blend = np.zeros(f.q.shape[2] + 64, np.float32)
    _tile(slab, (f.q, sums, blend), (f.cos, f.sin), (f.x_mm, f.y_mm), f.frame, (f.row0, f.first), y0, x0)


def _load(builder: Any, address: Any) -> Any:
    value = builder.load(builder.inttoptr(address, _FLOATS.as_pointer()))
    value.align = 4
    return value


def _store(builder: Any, value: Any, address: Any) -> None:
    builder.store(value, builder.inttoptr(address, _FLOATS.as_pointer())).align = 4


def _spread(builder: Any, number: Any) -> Any:
    """Return a vector of one number."""
    nothing = ir.Constant(_FLOATS, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(_INT32, 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(_INTS, [0] * 16))


def _call(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """Call an instruction of LLVM by name."""
    known = builder.module.globals.get(name)
    if known is None:
        known = ir.Function(builder.module, ir.FunctionType(result, [a.type for a in arguments]), name)
    return builder.call(known, arguments)


def _make_blend(_typing: Any, out: Any, q0: Any, q1: Any, w0: Any, w1: Any) -> Any:
    """Write ``w0 * q0 + w1 * q1``, 16 numbers by their addresses."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        out, q0, q1, w0, w1 = arguments
        low = builder.fmul(_spread(builder, w0), _load(builder, q0))
        both = [_spread(builder, w1), _load(builder, q1), low]
        _store(builder, _call(builder, "llvm.fma.v16f32", _FLOATS, both), out)
        return context.get_dummy_value()

    return types.void(_ADDRESS, _ADDRESS, _ADDRESS, _NUMBER, _NUMBER), generate


def _make_interpolate(_typing: Any, out: Any, rows: Any, fraction: Any, slope: Any) -> Any:
    """Add to 16 voxels what stands at ``fraction + slope * lane`` among 32 rows, both by address."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        out, rows, fraction, slope = arguments
        place = [_spread(builder, slope), _LANES, _spread(builder, fraction)]
        where = _call(builder, "llvm.fma.v16f32", _FLOATS, place)
        whole = builder.fptosi(where, _INTS)
        part = builder.fsub(where, builder.sitofp(whole, _FLOATS))
        first = _load(builder, rows)
        second = _load(builder, builder.add(rows, ir.Constant(ir.IntType(64), 64)))
        pick = "llvm.x86.avx512.vpermi2var.ps.512"
        low = _call(builder, pick, _FLOATS, [first, whole, second])
        high = _call(builder, pick, _FLOATS, [first, builder.add(whole, _ONES), second])
        total = builder.fadd(_load(builder, out), low)
        rise = [part, builder.fsub(high, low), total]
        _store(builder, _call(builder, "llvm.fma.v16f32", _FLOATS, rise), out)
        return context.get_dummy_value()

    return types.void(_ADDRESS, _ADDRESS, _NUMBER, _NUMBER), generate


_blend: Any = intrinsic(_make_blend)
_interpolate: Any = intrinsic(_make_interpolate)


@kernel
def _tile(slab: Any, work: Any, turn: Any, at: Any, frame: Any, origin: Any, y0: int, x0: int) -> None:
    q, sums, blend = work
    views, columns, rows = q.shape
    depth, ny, nx = slab.shape
    row0, first = origin
    q_at, sums_at, blend_at = q.ctypes.data, sums.ctypes.data, blend.ctypes.data
    for k in range(0, depth, RUN):
        sums[:] = 0
        count = min(RUN, depth - k)
        for p0 in range(0, views, VIEWS):
            for n in range(256):
                y = y0 + (n // 64) * SUB + n % 16 // SUB
                x = x0 + (n // 16 % 4) * SUB + n % SUB
                if y >= ny or x >= nx or at[0][x] ** 2 + at[1][y] ** 2 > frame[4]:
                    continue
                for p in range(p0, min(views, p0 + VIEWS)):
                    i, w0, w1, m = locate(frame, turn[0][p], turn[1][p], at[0][x], at[1][y], columns)
                    row, pace = trace(frame, m, row0, first + k)
                    column_at = q_at + 4 * rows * (p * columns + i)
                    where = (sums_at + 4 * RUN * n, column_at, column_at + 4 * rows, blend_at)
                    _add(where, (w0, w1), row, pace, count)
        store(slab, sums, k, y0, x0)


@kernel
def _add(where: Any, weights: Any, row: int, pace: int, count: int) -> None:
    """Add one view to ``count`` voxels of one column, the first of which falls on ``row``."""
    out, q0, q1, blend = where
    head = (row >> BITS) & ~15  # whole cache lines
    tail = ((row + pace * (count - 1)) >> BITS) + 2
    for j in range(4 * head, 4 * tail, 64):
        _blend(blend + j, q0 + j, q1 + j, weights[0], weights[1])
    slope = np.float32(pace) * UNIT
    for z in range(0, count, 16):
        start = row + pace * z
        fraction = np.float32(start & MASK) * UNIT
        _interpolate(out + 4 * z, blend + 4 * (start >> BITS), fraction, slope)
