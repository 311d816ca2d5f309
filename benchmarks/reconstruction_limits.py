"""How fast this machine can go: the inner loops of backprojection alone, on numbers in the nearest cache."""

from __future__ import annotations

import time
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from bonemet.recon.backends import lanes, vector

COUNT = 256  # slices of a column
SUMS = 12  # independent chains of multiply-adds, to fill both units


def _make_chains(_typing: Any, at: Any) -> Any:
    """Multiply and add into as many sums as hide the latency."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        places = [lanes.ahead(builder, arguments[0], 8 * n) for n in range(SUMS)]
        sums = [lanes.load(builder, place) for place in places]
        for _ in range(64):
            sums = [lanes.fused(builder, s, lanes.numbers(0.5), lanes.numbers(0.25)) for s in sums]
        for total, place in zip(sums, places, strict=True):
            lanes.store(builder, total, place)
        return context.get_dummy_value()

    return types.void(types.int64), generate


_chains: Any = intrinsic(_make_chains)


@numba.njit(nogil=True)
def _multiply_adds(at: int, times: int) -> None:
    for _ in range(times):
        _chains(at)


@numba.njit(nogil=True)
def _near(out: int, rows: int, pace: int, times: int) -> None:
    slope, lift = np.int32((pace - 2**32) >> 1), np.int32(0)
    for _ in range(times):
        start = np.int64(12345)
        for z in range(0, COUNT, 8):
            vector._add_near(out + 4 * z, rows + 4 * (start >> 32), np.int32(start), slope, lift)
            start += 8 * pace


@numba.njit(nogil=True)
def _column(where: Any, pace: int, times: int) -> None:
    for _ in range(times):
        vector._add(where, (0.5, 0.5), 12345, pace, COUNT)


def _best(function: Any, *arguments: Any, repeats: int = 9) -> float:
    """Return the least CPU time of several runs."""
    function(*arguments[:-1], 1)
    found = []
    for _ in range(repeats):
        began = time.process_time()
        function(*arguments)
        found.append(time.process_time() - began)
    return min(found)


def limits() -> dict[str, float]:
    """Return multiply-adds per second and core, and voxel updates per second and core of the inner loops."""
    rows = np.random.default_rng(0).random(4096, dtype=np.float32)
    sums, blend = np.zeros(4096, np.float32), np.zeros(1024, np.float32)
    pace, times = int(1.07 * 2**32), 50_000
    at = rows.ctypes.data
    where = (sums.ctypes.data, at, at + 4 * 1600, blend.ctypes.data + 64, at)
    return {
        "multiply-adds": times * 64 * SUMS * 8 / _best(_multiply_adds, sums.ctypes.data, times),
        "interpolation alone": times * COUNT / _best(_near, sums.ctypes.data, at + 64, pace, times),
        "blend and interpolation": times * COUNT / _best(_column, where, pace, times),
    }
