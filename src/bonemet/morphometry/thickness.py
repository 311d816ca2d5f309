"""Local thickness: the diameter of the largest sphere that fits into a structure and holds a voxel.

The definition is that of Hildebrand and Rueegsegger 1997 (doi:10.1046/j.1365-2818.1997.1340694.x), on voxel
centres: the radius of a sphere is the distance from the centre of its middle voxel to the nearest voxel
centre outside the structure, and it holds the voxels whose centres lie nearer than that. Nothing is
approximated beyond the voxels themselves; ``docs/measures.md`` gives the bias that these leave on plates
and rods.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.core.errors import InputError
from bonemet.kernels import distance

MINIMUM_VOXELS = 3.0
"""A structure whose mean thickness is below this many voxels is not resolved."""

Map = NDArray[np.float32]


def local_thickness(
    structure: NDArray[Any],
    spacing: Sequence[float],
    *,
    region: NDArray[Any] | None = None,
    mapper: Mapper = map,
) -> Map:
    """Return the local thickness of every voxel of a structure.

    Parameters
    ----------
    structure
        (z, y, x), non-zero inside. What lies outside the array is unknown: it does not limit spheres, so a
        structure that runs on beyond the border keeps its thickness.
    spacing
        Voxel edges (z, y, x) in mm.
    region
        (z, y, x), non-zero where spheres may be centred and thickness is wanted; everywhere by default. The
        structure outside the region still is the structure: the edge of a region is no wall.
    mapper
        An ordered map over slabs; the result does not depend on it.

    Returns
    -------
    ndarray
        (z, y, x) float32 in mm, 0 outside the structure and the region.

    Raises
    ------
    InputError
        If nothing lies outside the structure, so no sphere has an end.
    """
    inside = np.ascontiguousarray(np.asarray(structure) != 0)
    wanted = inside if region is None else inside & (np.asarray(region) != 0)
    if not wanted.any():
        return np.zeros(inside.shape, dtype=np.float32)
    box = _box(inside)
    painted = np.zeros(inside.shape, dtype=np.float32)
    painted[box] = _painted(inside[box], wanted[box], spacing, mapper)
    np.sqrt(painted, out=painted)
    painted *= np.float32(2 * min(spacing))
    return painted


def mean_and_sd(thickness: Map) -> tuple[float, float] | None:
    """Return mean and standard deviation over the voxels that have a thickness, or None where none has."""
    values = thickness[thickness > 0]
    if values.size == 0:
        return None
    return float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))


def mid_axes(structure: NDArray[Any], spacing: Sequence[float], *, mapper: Mapper = map) -> NDArray[np.bool_]:
    """Return the voxels in the middle of a structure.

    These are the voxels that no other voxel's sphere outgrows: the radius of their own sphere is, within half
    a voxel, half of their local thickness.
    """
    inside = np.ascontiguousarray(np.asarray(structure) != 0)
    if not inside.any():
        return inside
    squared = distance.squared_distance(inside, spacing, mapper)
    painted = _painted(inside, inside, spacing, mapper, squared)
    return np.asarray(inside & (np.sqrt(painted) - np.sqrt(squared) < 0.5))


def _box(inside: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the box of a structure with one voxel of surroundings, where the array has them."""
    found = []
    for axis, size in enumerate(inside.shape):
        others = tuple(a for a in range(3) if a != axis)
        hit = np.flatnonzero(inside.any(axis=others))
        found.append(slice(max(int(hit[0]) - 1, 0), min(int(hit[-1]) + 2, size)))
    return tuple(found)


def _painted(
    inside: NDArray[np.bool_],
    wanted: NDArray[np.bool_],
    spacing: Sequence[float],
    mapper: Mapper,
    squared: Map | None = None,
) -> Map:
    """Return the largest squared radius over each wanted voxel, in units of the smallest voxel edge."""
    if inside.all():
        raise InputError("The structure fills its whole volume, so it has no surface and no thickness.")
    squared = distance.squared_distance(inside, spacing, mapper) if squared is None else squared
    target = np.ascontiguousarray(wanted).view(np.uint8)
    centres, radii = distance.ridge(squared, target, spacing, mapper)
    return distance.paint(centres, radii, target, spacing, mapper)
