"""Shapes of known size, as masks: a voxel belongs to a shape if its centre lies inside.

Sizes and places are in mm, points and directions (x, y, z), arrays (z, y, x).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.grid import Grid

Mask = NDArray[np.bool_]
Vector = Sequence[float] | NDArray[Any]


def centres(grid: Grid) -> NDArray[np.float64]:
    """Return the points (z, y, x, 3) in mm of all voxel centres."""
    return grid.index_to_mm(np.moveaxis(np.indices(grid.shape), 0, -1))


def from_middle(grid: Grid, offset_mm: Vector = (0.0, 0.0, 0.0)) -> NDArray[np.float64]:
    """Return the vectors (z, y, x, 3) in mm from the grid's middle, moved by an offset, to voxel centres."""
    return np.asarray(centres(grid) - grid.centre_mm - np.asarray(offset_mm))


def sphere(grid: Grid, diameter_mm: float, offset_mm: Vector = (0.0, 0.0, 0.0)) -> Mask:
    """Return a sphere in the middle of a grid, moved by an offset."""
    return np.asarray(np.linalg.norm(from_middle(grid, offset_mm), axis=-1) < diameter_mm / 2)


def rod(
    grid: Grid, diameter_mm: float, direction: Vector = (0.0, 0.0, 1.0), offset_mm: Vector = (0.0, 0.0, 0.0)
) -> Mask:
    """Return an endless round rod through the middle."""
    return np.asarray(_from_axis(grid, direction, offset_mm) < diameter_mm / 2)


def tube(
    grid: Grid,
    outer_mm: float,
    wall_mm: float,
    direction: Vector = (0.0, 0.0, 1.0),
    offset_mm: Vector = (0.0, 0.0, 0.0),
) -> Mask:
    """Return an endless round shell of an outer diameter and a wall thickness."""
    radius = _from_axis(grid, direction, offset_mm)
    return np.asarray((radius < outer_mm / 2) & (radius >= outer_mm / 2 - wall_mm))


def plates(
    grid: Grid,
    thickness_mm: float,
    period_mm: float = np.inf,
    normal: Vector = (0.0, 0.0, 1.0),
    offset_mm: float = 0.0,
) -> Mask:
    """Return parallel endless plates, one in the middle; a single one without a period."""
    height = from_middle(grid) @ _unit(normal) - offset_mm + thickness_mm / 2
    if np.isfinite(period_mm):
        height = np.mod(height, period_mm)
    return np.asarray((height >= 0) & (height < thickness_mm))


def bar(grid: Grid, size_mm: Vector, offset_mm: Vector = (0.0, 0.0, 0.0)) -> Mask:
    """Return a box with edges (x, y, z) along the axes."""
    return np.asarray((np.abs(from_middle(grid, offset_mm)) < np.asarray(size_mm) / 2).all(axis=-1))


def lattice(grid: Grid, diameter_mm: float, period_mm: float) -> Mask:
    """Return rods along all three axes that cross at the points of a cubic lattice."""
    place = from_middle(grid)
    place = np.mod(place + period_mm / 2, period_mm) - period_mm / 2
    squares = place**2
    nearest = np.stack([squares.sum(axis=-1) - squares[..., a] for a in range(3)]).min(axis=0)
    return np.asarray(nearest < diameter_mm**2 / 4)


def _unit(direction: Vector) -> NDArray[np.float64]:
    vector = np.asarray(direction, dtype=np.float64)
    return np.asarray(vector / np.linalg.norm(vector))


def _from_axis(grid: Grid, direction: Vector, offset_mm: Vector) -> NDArray[np.float64]:
    """Return the distance (z, y, x) in mm of voxel centres from an axis through the middle."""
    place, axis = from_middle(grid, offset_mm), _unit(direction)
    along = place @ axis
    return np.asarray(np.sqrt(np.maximum((place**2).sum(axis=-1) - along**2, 0)))
