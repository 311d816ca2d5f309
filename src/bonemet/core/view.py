"""What a scan saw: the part of space that every projection covered.

Bone outside it is cut or blurred, so a change there is no change of the animal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bonemet.core.grid import Grid
from bonemet.core.transform import Transform

Plane = tuple[float, float, float, float]


@dataclass(frozen=True)
class View:
    """A convex part of space, bounded by planes.

    Attributes
    ----------
    planes
        (a, b, c, d) each; a point (x, y, z) in mm is inside where a x + b y + c z <= d for all.
    """

    planes: tuple[Plane, ...]

    def contains(self, points_mm: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell for points (..., 3) as (x, y, z) in mm whether they are inside."""
        table = np.asarray(self.planes, dtype=np.float64).reshape(-1, 4)
        return np.asarray((points_mm @ table[:, :3].T <= table[:, 3]).all(axis=-1))

    def slice_mask(self, grid: Grid, z: int) -> NDArray[np.bool_]:
        """Return for the voxels (y, x) of one slice of a grid whether they are inside."""
        _, rows, columns = grid.shape
        matrix = grid.matrix
        inside = np.ones((rows, columns), dtype=bool)
        y, x = np.arange(rows)[:, None], np.arange(columns)[None, :]
        for *normal, bound in self.planes:
            a, b, c = np.asarray(normal) @ matrix[:3, :3]
            at_origin = float(np.dot(normal, matrix[:3, 3]))
            left = bound - at_origin - c * z
            if max(0.0, a * (columns - 1)) + max(0.0, b * (rows - 1)) <= left:
                continue  # the plane passes the slice by
            inside &= a * x + b * y <= left
        return inside

    def seen_through(self, transform: Transform) -> Self:
        """Return this view, which is the moving image's, in the fixed image's space."""
        matrix = transform.matrix
        planes = []
        for *normal, bound in self.planes:
            a, b, c = (float(v) for v in np.asarray(normal) @ matrix[:3, :3])
            planes.append((a, b, c, float(bound - np.dot(normal, matrix[:3, 3]))))
        return type(self)(tuple(planes))

    def moved(self, by_mm: tuple[float, float, float]) -> Self:
        """Return this view moved by (x, y, z) in mm."""
        x, y, z = by_mm
        return type(self)(tuple((a, b, c, d + a * x + b * y + c * z) for a, b, c, d in self.planes))

    def within(self, other: View | None) -> Self:
        """Return what lies in this view and in the other."""
        return self if other is None else type(self)(self.planes + other.planes)


def both(first: View | None, second: View | None) -> View | None:
    """Return what lies in both views, None where neither is known."""
    if first is None or second is None:
        return first or second
    return first.within(second)
