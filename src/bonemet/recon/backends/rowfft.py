"""Fast Fourier transform of 16 detector rows at once, for filtering them.

Two real rows make one complex one, and eight of those lie side by side in vectors, so column ``i`` of 16
rows is 16 neighbouring numbers: rows 0 to 7 are the real parts, 8 to 15 the imaginary ones. A filter whose
response in space is real treats both alike, so they never need to be told apart.

The forward transform (radix 4, decimation in frequency) leaves the frequencies in the order :func:`order`;
the inverse one takes them in that order, so nothing is ever sorted.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from bonemet.kernels.jit import kernel
from bonemet.recon.backends import lanes
from bonemet.recon.backends.lanes import WIDTH, ahead, fused, load, spread, store

ROWS = 2 * WIDTH
_ADDRESS, _NUMBER = types.int64, types.float32


@cache
def order(length: int) -> NDArray[np.int64]:
    """Return the frequency (length,) that stands at each place after the forward transform."""
    if length == 1:
        return np.zeros(1, np.int64)
    radix = 2 if length == 2 else 4
    part = order(length // radix)
    return np.concatenate([radix * part + k for k in range(radix)])


@cache
def twiddles(length: int) -> NDArray[np.float32]:
    """Return the factors ``w, w^2, w^3`` of all radix-4 passes, real and imaginary parts (n, 6)."""
    parts = []
    n = length
    while n >= 4:
        turn = -2j * np.pi * np.outer(np.arange(n // 4), [1, 2, 3]) / n
        parts.append(np.exp(turn).astype(np.complex64).view(np.float32))
        n //= 4
    return np.concatenate(parts) if parts else np.zeros((0, 6), np.float32)


def _complex(builder: Any, address: Any) -> tuple[Any, Any]:
    return load(builder, address), load(builder, ahead(builder, address, WIDTH))


def _put(builder: Any, number: tuple[Any, Any], address: Any) -> None:
    store(builder, number[0], address)
    store(builder, number[1], ahead(builder, address, WIDTH))


def _plus(builder: Any, a: tuple[Any, Any], b: tuple[Any, Any]) -> tuple[Any, Any]:
    return builder.fadd(a[0], b[0]), builder.fadd(a[1], b[1])


def _minus(builder: Any, a: tuple[Any, Any], b: tuple[Any, Any]) -> tuple[Any, Any]:
    return builder.fsub(a[0], b[0]), builder.fsub(a[1], b[1])


def _times(builder: Any, a: tuple[Any, Any], w: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return a complex product."""
    real = fused(builder, builder.fneg(a[1]), w[1], builder.fmul(a[0], w[0]))
    return real, fused(builder, a[1], w[0], builder.fmul(a[0], w[1]))


def _quarter(builder: Any, a: tuple[Any, Any], sign: int) -> tuple[Any, Any]:
    """Return ``i a`` or ``-i a``."""
    return (builder.fneg(a[1]), a[0]) if sign > 0 else (a[1], builder.fneg(a[0]))


def _cross(builder: Any, four: list[Any], sign: int) -> list[Any]:
    """Return the transform of four numbers."""
    a, b, c, d = four
    even, odd = _plus(builder, a, c), _minus(builder, a, c)
    more = _plus(builder, b, d)
    turned = _quarter(builder, _minus(builder, b, d), sign)
    return [
        _plus(builder, even, more),
        _plus(builder, odd, turned),
        _minus(builder, even, more),
        _minus(builder, odd, turned),
    ]


def _pass(builder: Any, arguments: Any, sign: int) -> None:
    """Make one step of the transform, on four numbers a given number of bytes apart, in place."""
    address, step, *factors = arguments
    places = [address]
    for _ in range(3):
        places.append(builder.add(places[-1], step))
    four = [_complex(builder, p) for p in places]
    turns = [spread(builder, f) for f in factors]
    pairs = list(zip(turns[::2], turns[1::2], strict=True))
    if sign < 0:
        four = _cross(builder, four, sign)
        four[1:] = [_times(builder, a, w) for a, w in zip(four[1:], pairs, strict=True)]
    else:
        back = [(real, builder.fneg(imaginary)) for real, imaginary in pairs]
        four[1:] = [_times(builder, a, w) for a, w in zip(four[1:], back, strict=True)]
        four = _cross(builder, four, sign)
    for number, place in zip(four, places, strict=True):
        _put(builder, number, place)


_STEP = types.void(_ADDRESS, _ADDRESS, *[_NUMBER] * 6)


def _make_forward(_typing: Any, at: Any, step: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        _pass(builder, arguments, -1)
        return context.get_dummy_value()

    return _STEP, generate


def _make_inverse(_typing: Any, at: Any, step: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        _pass(builder, arguments, 1)
        return context.get_dummy_value()

    return _STEP, generate


def _make_halves(_typing: Any, at: Any) -> Any:
    """Replace two neighbours by their sum and difference."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        first, second = arguments[0], ahead(builder, arguments[0], ROWS)
        a, b = _complex(builder, first), _complex(builder, second)
        _put(builder, _plus(builder, a, b), first)
        _put(builder, _minus(builder, a, b), second)
        return context.get_dummy_value()

    return types.void(_ADDRESS), generate


def _make_multiply(_typing: Any, out: Any, at: Any, real: Any, imaginary: Any) -> Any:
    """Write a complex number times a factor."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        out, at, real, imaginary = arguments
        factor = (spread(builder, real), spread(builder, imaginary))
        _put(builder, _times(builder, _complex(builder, at), factor), out)
        return context.get_dummy_value()

    return types.void(_ADDRESS, _ADDRESS, _NUMBER, _NUMBER), generate


_forward_step: Any = intrinsic(_make_forward)
_inverse_step: Any = intrinsic(_make_inverse)
_halves: Any = intrinsic(_make_halves)
_multiply: Any = intrinsic(_make_multiply)


@kernel
def forward(at: int, length: int, turns: Any) -> None:
    """Transform 16 rows of a power of two of columns, in place, by the address of (length, 16) numbers."""
    n, t = length, 0
    while n >= 4:
        m = n // 4
        for start in range(0, length, n):
            for j in range(m):
                w = turns[t + j]
                _forward_step(at + 64 * (start + j), 64 * m, w[0], w[1], w[2], w[3], w[4], w[5])
        t += m
        n = m
    if n == 2:
        for start in range(0, length, 2):
            _halves(at + 64 * start)


@kernel
def inverse(at: int, length: int, turns: Any) -> None:
    """Undo :func:`forward`, but for a factor of the length."""
    n = length
    while n >= 4:
        n //= 4
    if n == 2:
        for start in range(0, length, 2):
            _halves(at + 64 * start)
    t = len(turns)
    while n < length:
        m = n
        n *= 4
        t -= m
        for start in range(0, length, n):
            for j in range(m):
                w = turns[t + j]
                _inverse_step(at + 64 * (start + j), 64 * m, w[0], w[1], w[2], w[3], w[4], w[5])


@kernel
def multiply(out: int, at: int, factors: Any) -> None:
    """Write the spectrum times complex factors (length, 2), in the order of :func:`order`."""
    for k in range(len(factors)):
        _multiply(out + 64 * k, at + 64 * k, factors[k, 0], factors[k, 1])


def prepared(transfer: NDArray[np.generic], length: int) -> NDArray[np.float32]:
    """Return a transfer function (length // 2 + 1,) as :func:`multiply` takes it, over the length."""
    half = np.asarray(transfer, np.complex128)
    f = order(length)
    full = np.where(
        f <= length // 2, half[np.minimum(f, length - f)], np.conj(half[np.minimum(f, length - f)])
    )
    return np.ascontiguousarray((full / length).astype(np.complex64).view(np.float32).reshape(length, 2))


__all__ = ["ROWS", "forward", "inverse", "lanes", "multiply", "order", "prepared", "twiddles"]
