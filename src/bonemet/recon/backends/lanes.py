"""Vectors of numbers in compiled kernels, of eight unless said otherwise, which LLVM knows everywhere.

Builders of machine code for :func:`numba.extending.intrinsic`; arrays are reached by address, so bounds
are the caller's business, and arrays must stay referenced by the Python caller while a kernel runs.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]

WIDTH = 8

FLOAT, INT32, INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
FLOATS, INTS = ir.VectorType(FLOAT, WIDTH), ir.VectorType(INT32, WIDTH)
NONE = ir.Constant(INTS, [0] * WIDTH)


def numbers(value: float, width: int = WIDTH) -> Any:
    """Return a vector of one known number."""
    return ir.Constant(ir.VectorType(FLOAT, width), [float(value)] * width)


def whole(value: int, width: int = WIDTH) -> Any:
    """Return a vector of one known integer."""
    return ir.Constant(ir.VectorType(INT32, width), [value] * width)


def spread(builder: Any, number: Any, kind: Any = FLOATS) -> Any:
    """Return a vector of one number."""
    nothing = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(INT32, 0))
    return builder.shuffle_vector(first, nothing, whole(0, kind.count))


def ahead(builder: Any, address: Any, count: int) -> Any:
    """Return the address ``count`` numbers after another."""
    return builder.add(address, ir.Constant(INT64, 4 * count))


def load(builder: Any, address: Any, kind: Any = FLOATS) -> Any:
    """Return the numbers at an address."""
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = 4
    return value


def store(builder: Any, value: Any, address: Any) -> None:
    """Write a vector to an address."""
    builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = 4


def call(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """Call an instruction of LLVM by name."""
    known = builder.module.globals.get(name)
    if known is None:
        known = ir.Function(builder.module, ir.FunctionType(result, [a.type for a in arguments]), name)
    return builder.call(known, arguments)


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c``, rounded once where the processor can."""
    return call(builder, f"llvm.fmuladd.v{a.type.count}f32", a.type, [a, b, c])


def prefetch(builder: Any, address: Any) -> None:
    """Ask for the cache line at an address; an address that does not exist does no harm."""
    place = builder.inttoptr(address, ir.IntType(8).as_pointer())
    read, keep, data = (ir.Constant(INT32, n) for n in (0, 3, 1))
    call(builder, "llvm.prefetch.p0", ir.VoidType(), [place, read, keep, data])
