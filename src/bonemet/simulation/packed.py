"""One bone in one week as tables, and as the one row of numbers that kernels take."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bonemet.kernels.jit import fast_kernel
from bonemet.simulation.shapes import Array, Sweep
from bonemet.simulation.trabeculae import WAVE

# Where a packed shape says at which of its numbers each table begins, and (next to it) how many rows it has.
PIECES, ZONES, SHEETS, HOLES, WARP, LESION, NEW_BONE, TISSUE = 8, 10, 12, 14, 16, 18, 20, 22
GROWTH, TURNOVER, SCLEROSIS, TRACK, FRACTURE, FIBULA = 24, 26, 28, 30, 32, 34
_HEADER = 36
_WAVES = (SHEETS, HOLES, WARP, TURNOVER)
ZONE, FOCUS, BREAK = 11, 5, 16


class Shape(NamedTuple):
    """Everything that makes one bone of one animal in one week.

    Attributes
    ----------
    sweep, pieces
        The outer surface; see :mod:`bonemet.simulation.shapes`.
    zones
        (zones, 11), trabecular zones: level of the growth plate, its slopes along x and y, height of its
        waves, half its thickness, +1 where the metaphysis lies distally of it or -1, reach of the
        metaphyseal network, the parts of its plates kept in metaphysis and epiphysis, the way back
        along z to where the epiphysis was in week 0, and height of the primary spongiosa.
    sheets, holes, warp
        Waves of the network (2, 5, n), of its holes and of everything irregular (5, n); see
        :mod:`bonemet.simulation.trabeculae`.
    lesion
        (foci, 5): centre, radius within which trabeculae are gone, radius within which cortex is gone.
    new_bone
        (6,): thickness of periosteal new bone, its first and last level, its middle angle and half its
        breadth (radians), and how much of it is bare (in standard deviations).
    tissue
        (10,): mineral density of cortex, trabeculae and new bone in mg HA/cm3; trabecular thickness; share by
        which density rises and falls slowly, its three wavenumbers (radians/mm) and phase (radians); the part
        of kept plates below which they are kept in strips.
    growth
        (0 or 1, 6); see :func:`bonemet.simulation.growth.growth_table`.
    turnover
        Waves (5, n) whose sum is by how much bone surfaces have moved outwards since week 0, in mm.
    sclerosis
        (foci, 5): centre, radius, and part of the marrow cavity that woven bone fills there.
    track
        (0 or 1, 8): the ends of the needle's path, radius of the hole that is left, thickness of the woven
        bone about it.
    fracture, fibula
        (0 or 1, 16), a break of the whole bone and one of the fibula's shaft: level of the break, its slopes
        along x and y, height of its teeth, and the three rows of the 4 x 4 matrix that takes points of the
        proximal fragment back to where they were.
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
    growth: Array = np.zeros((0, 6))
    turnover: Array = np.zeros((WAVE, 0))
    sclerosis: Array = np.zeros((0, FOCUS))
    track: Array = np.zeros((0, 8))
    fracture: Array = np.zeros((0, BREAK))
    fibula: Array = np.zeros((0, BREAK))

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
        slots += [(PIECES + 2 * i, table) for i, table in enumerate(self[1:])]
        for slot, table in slots:
            head[slot] = start
            if slot >= PIECES:
                head[slot + 1] = table.size // WAVE if slot in _WAVES else len(table)
            rows.append(np.ravel(table))
            start += table.size
        return np.concatenate(rows)


@fast_kernel
def smooth_step(low: float, high: float, x: float) -> float:
    """Return 0 below ``low``, 1 above ``high``, and a smooth rise between."""
    part = min(max((x - low) / (high - low), 0.0), 1.0)
    return part * part * (3.0 - 2.0 * part)
