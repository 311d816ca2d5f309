"""What disease, needle and fracture do at a point of a bone: kernels on packed shapes."""

from __future__ import annotations

import math

from bonemet.kernels.jit import fast_kernel
from bonemet.simulation.packed import (
    BREAK,
    FOCUS,
    HOLES,
    LESION,
    NEW_BONE,
    SCLEROSIS,
    TRACK,
    WARP,
    smooth_step,
)
from bonemet.simulation.shapes import Array
from bonemet.simulation.trabeculae import field, hole_distance

_FAR = 1e3
_STRETCH = 1.35
"""Foci are this much longer along the bone than across."""


@fast_kernel
def eaten(t: Array, x: float, y: float, z: float) -> tuple[float, float]:
    """Return the signed distances from where trabeculae, and where cortex, are gone (negative: gone)."""
    trabecular, cortical = _FAR, _FAR
    for i in range(int(t[LESION + 1])):
        o = int(t[LESION]) + i * FOCUS
        dx, dy, dz = x - t[o], y - t[o + 1], (z - t[o + 2]) / _STRETCH
        q = math.sqrt(dx * dx + dy * dy + dz * dz)
        if q > t[o + 3] * 1.6 + 0.2:
            continue
        rough, _ = field(t, int(t[WARP]), int(t[WARP + 1]), x, y, z)
        q += 0.12 * min(t[o + 3], 1.0) * rough
        if q > t[o + 3] + 0.3 or q < t[o + 4] - 0.3:
            trabecular, cortical = min(trabecular, q - t[o + 3]), min(cortical, q - t[o + 4])
            continue
        # the rim is moth-eaten
        fine, _ = field(t, int(t[HOLES]), int(t[HOLES + 1]), 0.8 * x + 2.0, 0.8 * y, 0.8 * z)
        q += 0.04 * fine
        trabecular = min(trabecular, q - t[o + 3])
        cortical = min(cortical, q - t[o + 4])
    return trabecular, cortical


@fast_kernel
def layer_mm(t: Array, x: float, y: float, z: float) -> float:
    """Return the thickness of periosteal new bone at a place of the surface."""
    o = int(t[NEW_BONE])
    first, last, breadth, bare = t[o + 1], t[o + 2], t[o + 4], t[o + 5]
    if t[o] <= 0.0 or z < first or z > last:
        return 0.0
    turn = math.atan2(y, x) - t[o + 3]
    turn = abs(math.atan2(math.sin(turn), math.cos(turn)))
    along = smooth_step(first, first + 1.0, z) * (1.0 - smooth_step(last - 1.6, last, z))
    around = 1.0 - smooth_step(0.45 * breadth, breadth, turn)
    if along * around <= 0.0:
        return 0.0
    rough, _ = field(t, int(t[WARP]), int(t[WARP + 1]), 0.6 * x + 7.0, 0.6 * y, 0.6 * z)
    return float(t[o]) * along * around * smooth_step(bare - 0.5, bare + 1.1, rough)


@fast_kernel
def sclerotic(t: Array, x: float, y: float, z: float) -> float:
    """Return the signed distance from woven bone within the marrow cavity."""
    out = _FAR
    for i in range(int(t[SCLEROSIS + 1])):
        o = int(t[SCLEROSIS]) + i * FOCUS
        dx, dy, dz = x - t[o], y - t[o + 1], (z - t[o + 2]) / _STRETCH
        q = math.sqrt(dx * dx + dy * dy + dz * dz) - t[o + 3]
        if q > 0.3:
            continue
        rough, _ = field(t, int(t[WARP]), int(t[WARP + 1]), x + 3.0, y, z)
        q += 0.12 * rough
        if q < out:
            # denser in the middle than at the rim
            kept = t[o + 4] * (0.55 + 0.45 * smooth_step(0.0, 0.5, -q))
            pores = hole_distance(t, int(t[HOLES]), int(t[HOLES + 1]), 1.3 * x, 1.3 * y, 1.3 * z + 5.0, kept)
            out = min(out, max(q, pores / 1.3))
    return out


@fast_kernel
def track_distance(t: Array, x: float, y: float, z: float) -> float:
    """Return the signed distance from the hole that the needle left, for points as of week 0."""
    if t[TRACK + 1] == 0.0:
        return _FAR
    o = int(t[TRACK])
    px, py, pz = x - t[o], y - t[o + 1], z - t[o + 2]
    bx, by, bz = t[o + 3] - t[o], t[o + 4] - t[o + 1], t[o + 5] - t[o + 2]
    along = min(max((px * bx + py * by + pz * bz) / (bx * bx + by * by + bz * bz), 0.0), 1.0)
    dx, dy, dz = px - along * bx, py - along * by, pz - along * bz
    return math.sqrt(dx * dx + dy * dy + dz * dz) - float(t[o + 6])


@fast_kernel
def track_callus(t: Array, x: float, y: float, z: float, hole: float) -> float:
    """Return the signed distance from the woven bone about the needle's hole; it has gaps."""
    thick = t[int(t[TRACK]) + 7]
    if hole > thick + 0.3:
        return _FAR
    rough, _ = field(t, int(t[WARP]), int(t[WARP + 1]), 2.0 * x, 2.0 * y + 11.0, 2.0 * z)
    wall: float = hole - thick * smooth_step(-0.3, 0.5, rough)
    return max(-hole, wall)


@fast_kernel
def beyond_break(t: Array, o: int, x: float, y: float, z: float) -> float:
    """Return about how far a point lies distally of a jagged break, whose numbers begin at ``t[o]``."""
    teeth, _ = field(t, int(t[HOLES]), int(t[HOLES + 1]), x, y, 0.3 * z)
    gap: float = z - t[o] - t[o + 1] * x - t[o + 2] * y - t[o + 3] * min(max(teeth, -1.5), 1.5)
    return 0.6 * gap


@fast_kernel
def back(t: Array, o: int, x: float, y: float, z: float) -> tuple[float, float, float]:
    """Return where a point of the proximal fragment was before the break whose numbers begin at ``t[o]``."""
    m = o + BREAK - 12
    return (
        t[m] * x + t[m + 1] * y + t[m + 2] * z + t[m + 3],
        t[m + 4] * x + t[m + 5] * y + t[m + 6] * z + t[m + 7],
        t[m + 8] * x + t[m + 9] * y + t[m + 10] * z + t[m + 11],
    )
