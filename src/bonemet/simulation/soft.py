"""Soft tissue and bed as grey values: smooth steps across surfaces whose distance is known.

The surfaces are so even that a blurred edge is the error function of the distance; no voxel needs blurring.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from bonemet.core.grid import Grid
from bonemet.kernels.jit import fast_kernel
from bonemet.simulation.body import (
    BED_EDGE_MM,
    BED_INNER_MM,
    BED_OUTER_MM,
    LATTICE_MM,
    SKIN_MM,
    TUBE_INNER_MM,
    TUBE_OUTER_MM,
)
from bonemet.simulation.shapes import PIECE, Array, pieces_distance

_SPREAD = 4.0
_STEPS = 1024


def profile(soft: Array, fat_mm: float, blur_mm: float) -> tuple[NDArray[np.float32], float, float]:
    """Return grey values over the distance from the skin's surface, the first distance, and the step (mm).

    Parameters
    ----------
    soft
        Attenuation (1/mm) of air, muscle, fat and plastic.
    fat_mm
        Thickness of the fat under the skin.
    blur_mm
        Standard deviation of edges.
    """
    low, high = -SKIN_MM - fat_mm - _SPREAD * blur_mm, _SPREAD * blur_mm
    d = np.linspace(low, high, _STEPS)
    air, muscle, fat, _ = soft

    def inside(depth: float) -> Array:
        return np.asarray(ndtr((-d - depth) / blur_mm))

    value = (muscle - air) * inside(0.0) + (fat - muscle) * (inside(SKIN_MM) - inside(SKIN_MM + fat_mm))
    value[0], value[-1] = muscle, air
    return value.astype(np.float32), low, (high - low) / (_STEPS - 1)


def bed(grid: Grid, plastic: float, blur_mm: float) -> NDArray[np.float32]:
    """Return the grey values (y, x) of the cross-section of bed and holder tube."""
    ys = grid.origin_mm[1] + grid.spacing_mm[1] * np.arange(grid.shape[1])
    xs = grid.origin_mm[0] + grid.spacing_mm[2] * np.arange(grid.shape[2])
    radius = np.hypot(ys[:, None], xs[None])
    shell = ndtr((radius - BED_INNER_MM) / blur_mm) - ndtr((radius - BED_OUTER_MM) / blur_mm)
    trough = shell * ndtr((ys[:, None] - BED_EDGE_MM) / blur_mm)
    tube = ndtr((radius - TUBE_INNER_MM) / blur_mm) - ndtr((radius - TUBE_OUTER_MM) / blur_mm)
    return np.asarray(plastic * (trough + tube), dtype=np.float32)


@fast_kernel
def _lattice(table: Array, low: Array, out: NDArray[np.float32]) -> None:
    for k in range(out.shape[0]):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                x, y, z = (low[0] + i) * LATTICE_MM, (low[1] + j) * LATTICE_MM, (low[2] + k) * LATTICE_MM
                out[k, j, i] = pieces_distance(table, 0, len(table) // PIECE, 1e3, x, y, z)


@fast_kernel
def _fill(
    out: NDArray[np.float32],
    lattice: NDArray[np.float32],
    place: Array,
    step: float,
    values: NDArray[np.float32],
    first: float,
    pitch: float,
) -> None:
    """Put the profile's values where the lattice puts the surface; ``place``: index (x, y, z) of voxel 0."""
    last = values.size - 1
    for k in range(out.shape[0]):
        w = place[2] + k * step
        c = min(int(w), lattice.shape[0] - 2)
        w -= c
        for j in range(out.shape[1]):
            v = place[1] + j * step
            b = min(int(v), lattice.shape[1] - 2)
            v -= b
            cell, left, right = -1, 0.0, 0.0
            for i in range(out.shape[2]):
                u = place[0] + i * step
                a = min(int(u), lattice.shape[2] - 2)
                if a != cell:
                    cell = a
                    left = (lattice[c, b, a] * (1 - v) + lattice[c, b + 1, a] * v) * (1 - w)
                    left += (lattice[c + 1, b, a] * (1 - v) + lattice[c + 1, b + 1, a] * v) * w
                    right = (lattice[c, b, a + 1] * (1 - v) + lattice[c, b + 1, a + 1] * v) * (1 - w)
                    right += (lattice[c + 1, b, a + 1] * (1 - v) + lattice[c + 1, b + 1, a + 1] * v) * w
                n = int((left + (right - left) * (u - a) - first) / pitch + 0.5)
                out[k, j, i] = max(out[k, j, i], values[min(max(n, 0), last)])


def fill(
    out: NDArray[np.float32], rows: Array, grid: Grid, values: NDArray[np.float32], first: float, pitch: float
) -> None:
    """Raise grey values (z, y, x) on a grid to those of the animal's soft tissue, in place.

    Parameters
    ----------
    out
        What is there so far: the holder.
    rows
        The animal's outline (:func:`bonemet.simulation.body.outline`).
    grid
        Where ``out`` lies.
    values, first, pitch
        The :func:`profile`.
    """
    low = np.floor(np.asarray(grid.origin_mm) / LATTICE_MM)
    high = grid.index_to_mm(np.asarray(grid.shape) - 1) / LATTICE_MM
    size = (np.ceil(high) - low).astype(int) + 2
    lattice = np.empty(tuple(int(n) for n in size[::-1]), np.float32)
    _lattice(rows.ravel(), low, lattice)
    place = np.asarray(grid.origin_mm) / LATTICE_MM - low
    _fill(out, lattice, place, grid.spacing_mm[0] / LATTICE_MM, values, first, pitch)
