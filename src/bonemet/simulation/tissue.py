"""What is at a point of a bone: outside, cortex, trabecula, marrow or new bone."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from bonemet.kernels.jit import fast_kernel
from bonemet.simulation.shapes import Array, Sweep, pieces_distance, sweep_distance
from bonemet.simulation.trabeculae import WAVE, field, hole_distance, plate_distance

ROD, ROD_REACH_MM = 0.52, 0.35
"""Radius of rods over the plates' thickness, and how far they reach beyond the plates at most."""
_SHELL_AT_PLATE_MM = 0.06
"""Bone that bridges a growth plate at the surface, so that the plate does not part the bone."""

# Where a packed shape says at which of its numbers each table begins, and how many rows it has.
_PIECES, _ZONES, _SHEETS, _HOLES, _WARP, _LESION, _NEW_BONE, _TISSUE = 8, 10, 12, 14, 16, 18, 20, 22
_HEADER = 24
_ZONE, _FOCUS = 9, 5


class Shape(NamedTuple):
    """Everything that makes one bone of one animal in one week.

    Attributes
    ----------
    sweep, pieces
        The outer surface; see :mod:`bonemet.simulation.shapes`.
    zones
        (zones, 9), trabecular zones: level of the growth plate, its slopes along x and y, height of its
        waves, half its thickness, +1 where the metaphysis lies distally of it or -1, reach of the
        metaphyseal network, and the parts of its plates kept in metaphysis and epiphysis.
    sheets, holes, warp
        Waves of the network (2, 5, n), of its holes and of everything irregular (5, n); see
        :mod:`bonemet.simulation.trabeculae`.
    lesion
        (foci, 5): centre, radius within which trabeculae are gone, radius within which cortex is gone.
    new_bone
        (6,): thickness of periosteal new bone, its first and last level, its middle angle and half its
        breadth (radians), and how much of it is bare (in standard deviations).
    tissue
        (9,): mineral density of cortex, trabeculae and new bone in mg HA/cm3; trabecular thickness; share by
        which density rises and falls slowly, its three wavenumbers (radians/mm) and phase (radians).
    """

    sweep: Sweep
    pieces: Array
    zones: Array
    sheets: Array
    holes: Array
    warp: Array
    lesion: Array
    new_bone: Array
    tissue: Array

    def pack(self) -> Array:
        """Return all tables in one row of numbers, as the kernels take them.

        One array instead of a dozen: passing many arrays from kernel to kernel costs more than the
        arithmetic, for each is counted in and out.
        """
        head = np.zeros(_HEADER)
        head[0], head[1] = self.sweep.radius.shape
        rows = [head]
        start = _HEADER
        slots = [*enumerate(self.sweep, start=2)]
        slots += [(_PIECES + 2 * i, table) for i, table in enumerate(self[1:])]
        for slot, table in slots:
            head[slot] = start
            if slot >= _PIECES:
                waves = slot in (_SHEETS, _HOLES, _WARP)
                head[slot + 1] = table.size // WAVE if waves else len(table)
            rows.append(np.ravel(table))
            start += table.size
        return np.concatenate(rows)


@fast_kernel
def smooth_step(low: float, high: float, x: float) -> float:
    """Return 0 below ``low``, 1 above ``high``, and a smooth rise between."""
    part = min(max((x - low) / (high - low), 0.0), 1.0)
    return part * part * (3.0 - 2.0 * part)


@fast_kernel
def outline(t: Array, x: float, y: float, z: float) -> float:
    """Return the signed distance from the bone's outer surface, new bone and lesions left out."""
    d, _, tube, _ = sweep_distance(t, x, y, z)
    return min(pieces_distance(t, int(t[_PIECES]), int(t[_PIECES + 1]), d, x, y, z), tube)


@fast_kernel
def new_bone_mm(t: Array) -> float:
    """Return the greatest thickness of a packed shape's new bone."""
    return float(t[int(t[_NEW_BONE])])


@fast_kernel
def _zones(t: Array, x: float, y: float, z: float, depth: float) -> tuple[float, float]:
    """Return the part of the trabecular plates that is kept, and the signed distance from growth plates."""
    kept, gap = 0.0, 1.0
    for i in range(int(t[_ZONES + 1])):
        o = int(t[_ZONES]) + i * _ZONE
        # trabeculae reach further along the endosteum than in the middle
        reach = t[o + 6] * (1.25 - 0.45 * min(depth, 1.0))
        if abs(z - t[o]) > reach + 3.0:
            continue
        level = t[o] + t[o + 1] * x + t[o + 2] * y + t[o + 3] * (math.sin(2.6 * x) * math.sin(2.9 * y + 0.5))
        u = t[o + 5] * (z - level)
        # densest at the growth plate, fading into the empty cavity
        dense = 1.5 - 0.5 * smooth_step(0.0, 0.7, u)
        share = dense * t[o + 7] * (1.0 - smooth_step(0.3 * reach, reach, u)) if u > 0.0 else t[o + 8]
        kept = max(kept, share)
        if t[o + 4] > 0.0:
            gap = min(gap, abs(u) - t[o + 4])
    return kept, gap


@fast_kernel
def _spongy(t: Array, x: float, y: float, z: float, kept: float) -> float:
    """Return the signed distance from the network, of which a part ``kept`` of the plates is left.

    Two families of plates cross. Rods run where they do, so the plates that are left hang together.
    """
    if kept < 0.02:
        return 1.0
    first, half, thickness = int(t[_SHEETS]), int(t[_SHEETS + 1]) // 2, t[int(t[_TISSUE]) + 3]
    a = plate_distance(t, first, half, x, y, z, 0.0)
    b = plate_distance(t, first + WAVE * half, half, x, y, z, 0.0)
    if min(a, b) > 0.3:
        return float(min(a, b) - 0.5 * thickness)
    holes = hole_distance(t, int(t[_HOLES]), int(t[_HOLES + 1]), x, y, z, min(kept, 0.98))
    # rods reach into the holes, the farther the more of the plates is kept
    rod = max(math.sqrt(a * a + b * b) - ROD * thickness, holes - ROD_REACH_MM * smooth_step(0.0, 0.4, kept))
    return float(min(rod, max(min(a, b) - 0.5 * thickness, holes)))


@fast_kernel
def _eaten(t: Array, x: float, y: float, z: float) -> tuple[float, float]:
    """Return the signed distances from where trabeculae, and where cortex, are gone (negative: gone)."""
    trabecular, cortical = 1e3, 1e3
    for i in range(int(t[_LESION + 1])):
        o = int(t[_LESION]) + i * _FOCUS
        dx, dy, dz = x - t[o], y - t[o + 1], (z - t[o + 2]) / 1.35
        q = math.sqrt(dx * dx + dy * dy + dz * dz)
        if q > t[o + 3] * 1.6 + 0.2:
            continue
        rough, _ = field(t, int(t[_WARP]), int(t[_WARP + 1]), x, y, z)
        q += 0.12 * min(t[o + 3], 1.0) * rough
        trabecular = min(trabecular, q - t[o + 3])
        cortical = min(cortical, q - t[o + 4])
    return trabecular, cortical


@fast_kernel
def _growth(t: Array, x: float, y: float, z: float) -> float:
    """Return the thickness of periosteal new bone at a place of the surface."""
    o = int(t[_NEW_BONE])
    first, last, breadth, bare = t[o + 1], t[o + 2], t[o + 4], t[o + 5]
    if t[o] <= 0.0 or z < first or z > last:
        return 0.0
    turn = math.atan2(y, x) - t[o + 3]
    turn = abs(math.atan2(math.sin(turn), math.cos(turn)))
    along = smooth_step(first, first + 0.5, z) * (1.0 - smooth_step(last - 0.8, last, z))
    around = 1.0 - smooth_step(0.75 * breadth, breadth, turn)
    if along * around <= 0.0:
        return 0.0
    rough, _ = field(t, int(t[_WARP]), int(t[_WARP + 1]), 0.6 * x + 7.0, 0.6 * y, 0.6 * z)
    return float(t[o]) * along * around * smooth_step(bare, bare + 0.7, rough)


@fast_kernel
def _bone_of_old(t: Array, x: float, y: float, z: float, body: float, wall: float) -> tuple[float, float]:
    """Return the signed distances from cortex and from trabeculae, growth plates cut out."""
    cortex, spongy = max(body, -body - wall), 1.0
    if body > -0.5 * wall:
        return cortex, spongy
    kept, gap = _zones(t, x, y, z, -body - wall)
    spongy = max(_spongy(t, x, y, z, kept), body + 0.5 * wall)
    hollow = max(gap, body + _SHELL_AT_PLATE_MM)
    return max(cortex, -hollow), max(spongy, -hollow)


@fast_kernel
def sample(t: Array, x: float, y: float, z: float) -> tuple[float, float, float]:
    """Return what is at a point of a packed shape.

    Returns
    -------
    tuple
        Signed distance from the outer contour (new bone within it, holes of lesions too); signed
        distance from mineralised tissue; mineral density of that tissue in mg HA/cm3.
    """
    swept, wall, tube, tube_wall = sweep_distance(t, x, y, z)
    body = pieces_distance(t, int(t[_PIECES]), int(t[_PIECES + 1]), swept, x, y, z)
    outer = min(body, tube)
    if outer > 0.6:
        return outer - 0.35, outer - 0.35, 0.0
    new = _growth(t, x, y, z)
    cortex, spongy = _bone_of_old(t, x, y, z, body, wall)
    if t[_LESION + 1] > 0.0:
        trabecular, cortical = _eaten(t, x, y, z)
        cortex, spongy = max(cortex, -cortical), max(spongy, -trabecular)
        new = 0.0 if cortical < 0.1 else new
    # the wall of the fibula ends where it runs into the tibia
    cortex = min(cortex, max(tube, -tube - tube_wall, -body - wall))
    kinds = int(t[_TISSUE])
    tissue, mineral = cortex, t[kinds]
    if spongy < tissue:
        tissue, mineral = spongy, t[kinds + 1]
    if new > 0.0:
        layer = max(-outer - 0.02, outer - new)
        if layer < tissue:
            tissue, mineral = layer, t[kinds + 2]
    return outer - new, tissue, mineral * _evenness(t, x, y, z)


@fast_kernel
def _evenness(t: Array, x: float, y: float, z: float) -> float:
    """Return the density at a place over the mean one of its tissue."""
    o = int(t[_TISSUE])
    return float(1.0 + t[o + 4] * math.sin(t[o + 5] * x + t[o + 6] * y + t[o + 7] * z + t[o + 8]))


@fast_kernel
def sample_points(t: Array, points: Array, out: Array) -> None:
    """Fill ``out`` (n, 3) with the samples at points (n, 3) given as (x, y, z) in the bone's frame."""
    for i in range(points.shape[0]):
        out[i, 0], out[i, 1], out[i, 2] = sample(t, points[i, 0], points[i, 1], points[i, 2])
