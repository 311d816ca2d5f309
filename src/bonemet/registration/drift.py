"""The outer surface drifts while a bone grows: fitted along with the pose, so that it does not pull it.

A growing shaft becomes thicker from without, by some micrometres a week, and a taper that becomes thicker
looks like one that moved along its axis: a shift of a hundredth of a millimetre or more comes of it. So
the outer surface may move along its normal by a length that changes slowly along the bone, and the pose
follows from what such a drift does not explain. Surfaces within are taken to stay; they move far less.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bonemet.registration.levels import SURFACE
from bonemet.registration.part import Part
from bonemet.registration.pose import across
from bonemet.registration.rigid import Points

_KNOTS: Final = 6  # along the whole bone
_SLICES: Final = 80
_SECTORS: Final = 24
_FACING: Final = 0.3  # cosine from which on a surface faces outwards
_SKIN_VOXELS: Final = 2.5  # points this near to the outermost ones lie on the outer surface
_LEAST: Final = 50  # points that a knot needs


def drifting(points: Points, bone: Part, spacing: float) -> Points:
    """Return points of the fixed image with the directions and the ways in which they may drift.

    Parameters
    ----------
    points
        Of the fixed image.
    bone
        The whole bone.
    spacing
        Edge of a voxel in mm.
    """
    steep = np.linalg.norm(points.gradients, axis=1)
    outward = -points.gradients / np.maximum(steep, 1e-9)[:, None]
    place = np.clip(bone.heights(points.mm), 0, 1)
    dense = points.values > SURFACE
    ways = _hats(place) * _outer(points.mm, outward, dense, (bone, spacing))[:, None]
    return replace(points, outward=outward, ways=ways * ((ways > 0.2).sum(0) >= _LEAST))


def _outer(
    points_mm: NDArray[np.float64],
    outward: NDArray[np.float64],
    dense: NDArray[np.bool_],
    where: tuple[Part, float],
) -> NDArray[np.bool_]:
    """Tell which points lie on the outer surface: the outermost of their height and side, facing outwards.

    Where that is, dense points say, for a rim of soft tissue that was cut out with the bone has an edge, too.
    """
    bone, spacing = where
    sideways = across(bone.along)
    arm = (points_mm - bone.centre) @ sideways
    row = np.clip((bone.heights(points_mm) * _SLICES).astype(np.int64), 0, _SLICES - 1)
    count = np.maximum(np.bincount(row, minlength=_SLICES), 1)
    middle = np.stack([np.bincount(row, arm[:, i], _SLICES) / count for i in (0, 1)], axis=1)
    arm = arm - middle[row]
    radius = np.hypot(arm[:, 0], arm[:, 1])
    facing = np.einsum("ij,ij->i", outward @ sideways, arm) / np.maximum(radius, 1e-9)
    turn = np.arctan2(arm[:, 1], arm[:, 0]) / (2 * np.pi) % 1
    sector = (turn * _SECTORS).astype(np.int64) % _SECTORS
    reach = np.zeros((_SLICES, _SECTORS))
    np.maximum.at(reach, (row[dense], sector[dense]), radius[dense])
    return np.asarray((facing > _FACING) & (radius > reach[row, sector] - _SKIN_VOXELS * spacing))


def _hats(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return hat functions (n, knots) of places from 0 to 1."""
    knots = np.linspace(0, 1, _KNOTS)
    return np.asarray(np.clip(1 - np.abs(place[:, None] - knots) * (_KNOTS - 1), 0, None))
