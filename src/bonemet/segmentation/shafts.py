"""Shafts: the long, straight, solid parts of filled bones, found without asking what they are.

A shaft is where the filled bone within a small ball is much longer than it is wide. Joints are knobs and
never pass; shafts do at any flexion, whether or not bones touch at their joints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.kernels import labelling
from bonemet.segmentation.components import Mask, Spacing, ball, large_pieces

GRID_MM = 0.2  # the grid on which shafts are looked for
BALL_MM = 2.2
SLENDER = 0.2  # largest ratio of the second to the first principal moment within the ball
SHORTEST_MM = 2.0
THINNEST_MM2 = 0.3  # metatarsals and phalanges are thinner


@dataclass(frozen=True, eq=False)
class Shaft:
    """A straight piece of bone.

    Attributes
    ----------
    ends
        (2, 3) points (z, y, x) in mm from voxel (0, 0, 0): the two ends of its axis.
    area_mm2
        Mean cross-section of the filled bone.
    voxels
        (n, 3) its voxels on the coarse mask's grid (z, y, x).
    """

    ends: NDArray[np.float64]
    area_mm2: float
    voxels: NDArray[np.int32]

    @property
    def length_mm(self) -> float:
        """Length of its axis."""
        return float(np.linalg.norm(self.ends[1] - self.ends[0]))

    def direction(self, start: int) -> NDArray[np.float64]:
        """Return the unit vector (z, y, x) from end ``start`` to the other end."""
        step = self.ends[1 - start] - self.ends[start]
        return np.asarray(step / np.linalg.norm(step))


def find_shafts(filled: Mask, spacing_mm: Spacing) -> list[Shaft]:
    """Return the shafts in a mask of filled bones (spacing near 0.1 mm), longest first."""
    step = tuple(max(1, round(GRID_MM / s)) for s in spacing_mm)
    z, y, x = (s * f for s, f in zip(spacing_mm, step, strict=True))
    grid_mm = (z, y, x)
    coarse = _thin_out(filled, step)
    pieces, _ = large_pieces(coarse, 1.0, float(np.prod(grid_mm)))
    points = np.argwhere(pieces > 0).astype(np.int32)
    if not len(points):
        return []
    offsets = (np.argwhere(ball(BALL_MM, grid_mm)) - np.asarray(ball(BALL_MM, grid_mm).shape) // 2).astype(
        np.int32
    )
    ratio = _slenderness(labelling.local_moments(pieces, points, offsets), grid_mm)
    slender = np.zeros(pieces.shape, bool)
    slender[tuple(points[ratio < SLENDER].T)] = True
    shafts = [_shaft(voxels, np.asarray(grid_mm)) for voxels in _groups(slender)]
    fine = [Shaft(s.ends, s.area_mm2, s.voxels * np.asarray(step, np.int32)) for s in shafts if _is_shaft(s)]
    return sorted(fine, key=lambda s: -s.length_mm)


def _thin_out(mask: Mask, step: tuple[int, ...]) -> Mask:
    """Return the mask on every n-th voxel, by majority of its neighbourhood."""
    share = ndimage.uniform_filter(mask.astype(np.float32), step)
    return np.asarray(share[tuple(slice(None, None, f) for f in step)] >= 0.5)


def _slenderness(sums: NDArray[np.float64], spacing_mm: Spacing) -> NDArray[np.float64]:
    """Return the ratio of the second to the first principal moment."""
    n = np.maximum(sums[:, :1], 1)
    mean = sums[:, 1:4] / n
    second = sums[:, 4:] / n
    s = np.asarray(spacing_mm)
    matrix = np.empty((len(sums), 3, 3))
    for i, j, k in ((0, 0, 0), (1, 1, 1), (2, 2, 2), (0, 1, 3), (0, 2, 4), (1, 2, 5)):
        matrix[:, i, j] = matrix[:, j, i] = (second[:, k] - mean[:, i] * mean[:, j]) * s[i] * s[j]
    moments = np.linalg.eigvalsh(matrix)
    return np.asarray(moments[:, 1] / np.maximum(moments[:, 2], 1e-9))


def _groups(mask: Mask) -> list[NDArray[np.int32]]:
    """Return the voxels of each 26-connected piece."""
    pieces, n = ndimage.label(mask, np.ones((3, 3, 3)))
    boxes = ndimage.find_objects(pieces)
    out = []
    for k in range(1, n + 1):
        corner = np.array([s.start for s in boxes[k - 1]])
        out.append((np.argwhere(pieces[boxes[k - 1]] == k) + corner).astype(np.int32))
    return out


def _shaft(voxels: NDArray[np.int32], spacing_mm: NDArray[np.float64]) -> Shaft:
    points = voxels * spacing_mm
    centre = points.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov((points - centre).T) if len(points) > 3 else np.eye(3))
    axis = axes[:, -1]
    along = (points - centre) @ axis
    low, high = np.percentile(along, [2, 98])
    ends = np.stack([centre + low * axis, centre + high * axis])
    volume = len(voxels) * float(np.prod(spacing_mm))
    return Shaft(ends, volume / max(high - low, 1e-6) * 0.96, voxels)


def _is_shaft(shaft: Shaft) -> bool:
    return shaft.length_mm >= SHORTEST_MM and shaft.area_mm2 >= THINNEST_MM2
