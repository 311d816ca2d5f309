"""A registered pair, piece by piece: the pose of the whole, and how well each piece of the bone agrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bonemet.registration import rigid
from bonemet.registration.levels import Level, Pyramid
from bonemet.registration.part import Part, Share
from bonemet.registration.rigid import Fit, Points

POINTS: Final = 1500
PLATES: Final[Share] = (0.065, 0.935)  # shares of the length between which growth plates never lie
FITS: Final = 0.6  # least agreement of a piece with itself, as a share of that of the bone's best pieces
_COARSE: Final = 150  # voxels along the bone at which pieces are compared


@dataclass(frozen=True, eq=False)
class Pair:
    """Two images and the pose between them, at the size at which pieces are compared.

    Attributes
    ----------
    fixed, moving
        The images.
    pose
        Of the part that was registered.
    bone
        The whole fixed bone.
    """

    fixed: Pyramid
    moving: Pyramid
    pose: Fit
    bone: Part

    def levels(self, finer: float = 1) -> tuple[Level, Level]:
        """Return both images at the size for pieces, or at one so many times finer."""
        spacing = self.bone.length / (_COARSE * finer)
        return self.fixed.at(spacing), self.moving.at(spacing)

    def points(self, share: Share, level: Level, rng: np.random.Generator, count: int = POINTS) -> Points:
        """Return points of a piece of the fixed image."""
        return rigid.edge_points(level, level, count, rng, keep=0.5, part=self.bone.between(share))

    def judge(self, points: Points, level: Level, matrix: NDArray[np.float64]) -> Fit:
        """Return how well a piece agrees in a pose, grey values mapped as for the whole bone."""
        return rigid.judge(points, level, matrix, self.pose.grey)

    def moved(
        self, matrix: NDArray[np.float64], points: Points, since: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Return by how much (n, 3) points lie elsewhere than a pose says (that of the whole where None).

        In the fixed image's mm.
        """
        away = np.linalg.inv(self.pose.matrix if since is None else since) @ matrix
        return np.asarray(points.mm @ away[:3, :3].T + away[:3, 3] - points.mm)


def shift(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the 4 x 4 matrix of a shift."""
    out = np.eye(4)
    out[:3, 3] = vector
    return out
