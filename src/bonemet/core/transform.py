"""Geometric transforms between physical spaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import InputError


class TransformKind(StrEnum):
    """How much freedom a transform has."""

    RIGID = "rigid"
    SIMILARITY = "similarity"
    AFFINE = "affine"


@dataclass(frozen=True, eq=False)
class Transform:
    """A linear map that takes points of the FIXED image to points of the MOVING image.

    This is the direction in which images are resampled: for every voxel of the fixed grid it says
    where in the moving image to look. Points are (x, y, z) in mm.

    Attributes
    ----------
    matrix
        4 x 4, float64.
    kind
        Rigid, similarity or affine.
    """

    matrix: NDArray[np.float64]
    kind: TransformKind = TransformKind.RIGID

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise InputError(f"A transform needs a finite 4 x 4 matrix, not one of shape {matrix.shape}.")
        if abs(float(np.linalg.det(matrix[:3, :3]))) < 1e-12:
            raise InputError("A transform's matrix must be invertible; this one flattens space.")
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def identity(cls) -> Self:
        """Return the transform that moves nothing."""
        return cls(np.eye(4))

    @property
    def mirrored(self) -> bool:
        """Whether the map turns a left hand into a right hand."""
        return bool(np.linalg.det(self.matrix[:3, :3]) < 0)

    @property
    def angle_deg(self) -> float:
        """Angle of the rotation, mirror and scale taken out."""
        u, _, vt = np.linalg.svd(self.matrix[:3, :3])
        rotation = u @ vt * np.sign(np.linalg.det(self.matrix[:3, :3]))
        return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))

    def apply(self, points_mm: NDArray[Any] | Sequence[Any]) -> NDArray[np.float64]:
        """Return points (..., 3) of the moving image for points (..., 3) of the fixed image."""
        p = np.asarray(points_mm, dtype=np.float64)
        return np.asarray(p @ self.matrix[:3, :3].T + self.matrix[:3, 3])

    def inverse(self) -> Self:
        """Return the map from the moving image's points to the fixed image's."""
        return type(self)(np.asarray(np.linalg.inv(self.matrix), dtype=np.float64), self.kind)

    def after(self, first: Self) -> Self:
        """Return the map that applies ``first`` and then this one."""
        order = list(TransformKind)
        kind = max(self.kind, first.kind, key=order.index)
        return type(self)(np.asarray(self.matrix @ first.matrix, dtype=np.float64), kind)


@dataclass(frozen=True, eq=False)
class Piece:
    """What lies on one side of a plane through the FIXED image and has a transform of its own.

    So the piece that broke off a bone is put back where it was.

    Attributes
    ----------
    transform
        Takes points of this piece to points of the moving image.
    normal
        (3,) direction (x, y, z) into the piece, across the plane.
    level
        In mm: the piece's points lie at least as far along the normal.
    """

    transform: Transform
    normal: NDArray[np.float64]
    level: float

    def holds(self, points_mm: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which points (..., 3) of the fixed image lie in the piece."""
        return np.asarray(points_mm @ self.normal >= self.level)

    def after(self, first: Transform) -> Self:
        """Return the piece as points see it that ``first`` takes to the fixed image."""
        normal = np.asarray(first.matrix[:3, :3].T @ self.normal)
        level = self.level - float(self.normal @ first.matrix[:3, 3])
        return type(self)(self.transform.after(first), normal, level)
