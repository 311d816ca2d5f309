"""Where voxels are: the one place that turns voxel indices into millimetres and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import SettingsError

Triple = tuple[float, float, float]
IDENTITY: tuple[Triple, Triple, Triple] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Grid:
    """A regular grid of voxels in space.

    Shapes, spacings and voxel indices are ordered (z, y, x), as arrays are; points, origins and
    matrices are ordered (x, y, z), in millimetres.

    Attributes
    ----------
    shape
        Number of voxels (z, y, x).
    spacing_mm
        Distance between voxel centres (z, y, x).
    origin_mm
        Point (x, y, z) at which the centre of voxel (0, 0, 0) lies.
    direction
        Rows of the 3 x 3 matrix whose columns are the unit vectors along the x, y and z index.
    """

    shape: tuple[int, int, int]
    spacing_mm: Triple
    origin_mm: Triple = (0.0, 0.0, 0.0)
    direction: tuple[Triple, Triple, Triple] = IDENTITY

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise SettingsError(f"A grid needs three positive sizes (z, y, x), not {self.shape}.")
        if len(self.spacing_mm) != 3 or not all(s > 0 and np.isfinite(s) for s in self.spacing_mm):
            raise SettingsError(f"A voxel needs three positive sizes in mm, not {self.spacing_mm}.")

    @classmethod
    def isotropic(cls, shape: Sequence[int], spacing_mm: float, origin_mm: Triple = (0.0, 0.0, 0.0)) -> Self:
        """Return a grid of cubic voxels along the axes."""
        z, y, x = (int(n) for n in shape)
        h = float(spacing_mm)
        return cls((z, y, x), (h, h, h), origin_mm)

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel in mm3."""
        z, y, x = self.spacing_mm
        return z * y * x

    @property
    def matrix(self) -> NDArray[np.float64]:
        """4 x 4 matrix that takes index (x, y, z, 1) to a point (x, y, z, 1) in mm."""
        out = np.eye(4)
        out[:3, :3] = np.asarray(self.direction) * np.asarray(self.spacing_mm[::-1])
        out[:3, 3] = self.origin_mm
        return out

    def index_to_mm(self, index: NDArray[Any] | Sequence[Any]) -> NDArray[np.float64]:
        """Return the points (..., 3) as (x, y, z) in mm of voxel indices (..., 3) given as (z, y, x)."""
        xyz = np.asarray(index, dtype=np.float64)[..., ::-1]
        m = self.matrix
        return np.asarray(xyz @ m[:3, :3].T + m[:3, 3])

    def mm_to_index(self, points_mm: NDArray[Any] | Sequence[Any]) -> NDArray[np.float64]:
        """Return fractional voxel indices (..., 3) as (z, y, x) of points (..., 3) as (x, y, z) in mm."""
        m = np.linalg.inv(self.matrix)
        xyz = np.asarray(points_mm, dtype=np.float64) @ m[:3, :3].T + m[:3, 3]
        return np.asarray(xyz[..., ::-1])

    def crop(self, start: Sequence[int], stop: Sequence[int]) -> Self:
        """Return the grid of the block of voxels from ``start`` to ``stop`` (z, y, x; half-open)."""
        z, y, x = (int(b) - int(a) for a, b in zip(start, stop, strict=True))
        ox, oy, oz = (float(v) for v in self.index_to_mm(list(start)))
        return replace(self, shape=(z, y, x), origin_mm=(ox, oy, oz))

    def same_as(self, other: Grid, tolerance: float = 1e-4) -> bool:
        """Tell whether two grids agree, positions within ``tolerance`` of a voxel."""
        if self.shape != other.shape:
            return False
        bound = tolerance * min(self.spacing_mm)
        corner = np.asarray(self.shape) - 1
        corners = [[0, 0, 0], [corner[0], 0, 0], [0, corner[1], 0], [0, 0, corner[2]], corner]
        gap = self.index_to_mm(corners) - other.index_to_mm(corners)
        return bool(np.abs(gap).max() <= bound)

    @property
    def centre_mm(self) -> NDArray[np.float64]:
        """Point (x, y, z) in the middle of the grid."""
        return self.index_to_mm((np.asarray(self.shape) - 1) / 2)
