"""Bone surface, by counting how often lines cross it (Crofton's formula).

Lines run through the voxel centres in the 13 directions of a voxel's neighbours; each direction counts with
the share of the sphere that lies nearest to it (Legland, Kieu and Devaux 2007, doi:10.5566/ias.v26.p83-92).
A counted surface has not the surplus that triangles on binary voxels have, is the same for flipped and
turned volumes, and needs two slices at a time. Planes along the voxel faces come out 7 % too small; a
sphere within 1 %. Slanted lines are lost where they leave the region, so the surface in the outermost layer
of voxels counts somewhat less.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import SphericalVoronoi

from bonemet.core.context import Mapper

STEPS = (
    (0, 0, 1), (0, 1, 0), (1, 0, 0),
    (0, 1, 1), (0, 1, -1), (1, 0, 1), (1, 0, -1), (1, 1, 0), (1, -1, 0),
    (1, 1, 1), (1, 1, -1), (1, -1, 1), (1, -1, -1),
)  # fmt: skip


def surface_area(
    bone: NDArray[Any], spacing: Sequence[float], *, region: NDArray[Any] | None = None, mapper: Mapper = map
) -> float:
    """Return the area in mm2 of the surface between bone and space.

    Parameters
    ----------
    bone
        (z, y, x), non-zero where bone is.
    spacing
        Voxel edges (z, y, x) in mm.
    region
        (z, y, x), non-zero where to count: both sides of the surface must lie in it, so the cut faces of a
        region or of the volume are no bone surface. Everything by default.
    mapper
        An ordered map over slabs.
    """
    code = np.where(np.asarray(bone) != 0, np.uint8(2), np.uint8(1))
    if region is not None:
        code[np.asarray(region) == 0] = 0
    depth = code.shape[0]

    def crossings(z: int) -> NDArray[np.int64]:
        return np.array([_count(code, z, step) for step in STEPS], dtype=np.int64)

    total = np.zeros(len(STEPS), dtype=np.int64)
    for counts in mapper(crossings, range(depth)):
        total += counts
    edge = np.asarray(spacing, dtype=np.float64)
    length = np.sqrt(((np.asarray(STEPS) * edge) ** 2).sum(axis=1))
    # Lines of one direction stand for an area of voxel volume / step length each. A surface element shows,
    # over all directions, half of its area on average, hence the factor 2.
    return float(2 * np.sum(direction_weights(spacing) * total * edge.prod() / length))


def direction_weights(spacing: Sequence[float]) -> NDArray[np.float64]:
    """Return the share of the sphere (13,) that lies nearest to each direction or its opposite."""
    steps = np.asarray(STEPS) * np.asarray(spacing, dtype=np.float64)
    points = np.concatenate([steps, -steps])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    areas = SphericalVoronoi(points).calculate_areas()
    return np.asarray((areas[:13] + areas[13:]) / areas.sum())


def _count(code: NDArray[np.uint8], z: int, step: tuple[int, int, int]) -> int:
    """Return how many steps from a slice lead from bone to space or back."""
    dz, dy, dx = step
    if z + dz >= code.shape[0]:
        return 0
    here, there = code[z], code[z + dz]
    rows, columns = here.shape
    a = here[max(0, -dy) : rows - max(0, dy), max(0, -dx) : columns - max(0, dx)]
    b = there[max(0, dy) : rows - max(0, -dy), max(0, dx) : columns - max(0, -dx)]
    return int(np.count_nonzero(a * b == 2))  # 1 is space, 2 is bone, 0 is outside
