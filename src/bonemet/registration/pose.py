"""Coarse pose: every way in which one long bone may lie on another.

Both bones are unrolled into cylinders about their own long axes; the circular correlation of the
cylinders over height and axial angle proposes poses, for either end up. A few robust steps from each
proposal at the coarsest useful size decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from bonemet.registration.levels import BONE, EMPTY, Level, Pyramid

ANGLES: Final = 96  # axial directions of a cylinder
_SHIFT: Final = 0.5  # largest shift along the axis, as a share of the longer bone
_NEAR_Z, _NEAR_ANGLE = 3, 5  # steps around a proposal in which no other is looked for


@dataclass(frozen=True, eq=False)
class Axis:
    """A bone's own frame: its centre and, as columns, two directions across it and one along it.

    Attributes
    ----------
    centre
        Point in mm.
    frame
        3 x 3; the third column is the long axis, the first as near to the x axis as may be.
    length, radius
        Extent along the axis and about it in mm.
    """

    centre: NDArray[np.float64]
    frame: NDArray[np.float64]
    length: float
    radius: float

    def turned(self) -> Axis:
        """Return the frame of the bone lying the other end up."""
        return Axis(self.centre, self.frame * [1.0, -1.0, -1.0], self.length, self.radius)

    def tilted(self, degrees: float) -> list[Axis]:
        """Return eight frames around this one, leaning to all sides by so much."""
        lean = np.tan(np.radians(degrees))
        out = []
        for angle in np.arange(8) * (np.pi / 4):
            along = self.frame @ np.array([lean * np.cos(angle), lean * np.sin(angle), 1.0])
            along = along / np.linalg.norm(along)
            across = self.frame[:, 0] - (along @ self.frame[:, 0]) * along
            across = across / np.linalg.norm(across)
            hand = np.sign(np.linalg.det(self.frame))
            frame = np.stack([across, hand * np.cross(along, across), along], axis=1)
            out.append(Axis(self.centre, frame, self.length, self.radius))
        return out

    def mirrored(self) -> Axis:
        """Return the left-handed frame, in which the bone's mirror image lies as the bone does."""
        return Axis(self.centre, self.frame * [1.0, -1.0, 1.0], self.length, self.radius)


@dataclass(frozen=True)
class Proposal:
    """A pose to try: shift along the axis in mm, axial angle in radian, and its correlation."""

    shift: float
    angle: float
    value: float


def across(along: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return two directions (3, 2) across a unit vector and each other, the first near x if may be."""
    first = np.array([1.0, 0.0, 0.0]) if abs(along[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    first = first - (along @ first) * along
    first = first / np.linalg.norm(first)
    return np.stack([first, np.cross(along, first)], axis=1)


def principal_axis(bone_mm: NDArray[np.float64]) -> Axis:
    """Return the frame of a long bone by the principal axis of its points (n, 3)."""
    centre = bone_mm.mean(0)
    arm = bone_mm - centre
    along = np.linalg.eigh(arm.T @ arm)[1][:, -1]
    along = along * (np.sign(along[2]) or 1.0)
    frame = np.column_stack([across(along), along])
    local = arm @ frame
    low, high = np.quantile(local[:, 2], [0.005, 0.995])
    radius = float(np.quantile(np.hypot(local[:, 0], local[:, 1]), 0.97))
    return Axis(centre, frame, float(high - low), radius)


def _unroll(
    level: Level, axis: Axis, heights: NDArray[np.float64], radii: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the image on a cylinder (height, angle, radius) about an axis: contrast, evenly weighted."""
    angles = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    z, a, r = np.meshgrid(heights, angles, radii, indexing="ij")
    local = np.stack([r * np.cos(a), r * np.sin(a), z], axis=-1).reshape(-1, 3)
    values, inside = level.sample(local @ axis.frame.T + axis.centre, np.eye(4))
    contrast = np.where(inside, np.clip(values - EMPTY, 0, BONE - EMPTY), 0.0).reshape(z.shape)
    contrast = contrast * np.sqrt(radii)
    # what all directions share says little about the angle: most of it is taken out
    return np.asarray(contrast - 0.7 * contrast.mean(1, keepdims=True), dtype=np.float64)


def _correlation_map(
    fixed: NDArray[np.float64], moving: NDArray[np.float64], most: int
) -> NDArray[np.float64]:
    """Return the correlation for shifts -most..most along the axis and all axial angles."""
    padded = fft.next_fast_len(fixed.shape[0] + most)
    f = fft.fft2(fixed, (padded, ANGLES), axes=(0, 1))
    m = fft.fft2(moving, (padded, ANGLES), axes=(0, 1))
    values = fft.ifft2((f.conj() * m).sum(2)).real
    power = float(np.sqrt((fixed**2).sum() * (moving**2).sum())) or 1.0
    return np.asarray(np.concatenate([values[-most:], values[: most + 1]]) / power)


def _peaks(values: NDArray[np.float64], count: int) -> list[tuple[int, int]]:
    """Return the highest entries, none near a higher one; angles go round."""
    left = values.copy()
    found = []
    for _ in range(count):
        i, j = np.unravel_index(int(np.argmax(left)), left.shape)
        if not np.isfinite(left[i, j]):
            break
        found.append((int(i), int(j)))
        rows = slice(max(0, i - _NEAR_Z), i + _NEAR_Z + 1)
        columns = (j + np.arange(-_NEAR_ANGLE, _NEAR_ANGLE + 1)) % ANGLES
        left[rows, columns] = -np.inf
    return found


@dataclass(frozen=True, eq=False)
class Cylinders:
    """Proposes poses of one bone on another.

    Attributes
    ----------
    fixed
        The fixed bone's frame.
    level
        The moving image at the size that is compared.
    unrolled
        The fixed image on its cylinder.
    heights, radii
        Of the cylinder in mm.
    """

    fixed: Axis
    level: Level
    unrolled: NDArray[np.float64]
    heights: NDArray[np.float64]
    radii: NDArray[np.float64]

    @classmethod
    def around(cls, fixed: Axis, moving: Axis, fixed_level: Level, moving_level: Level) -> Cylinders:
        """Return cylinders that hold both bones."""
        step = max(fixed_level.spacing, moving_level.spacing)
        half = int(np.ceil(0.55 * max(fixed.length, moving.length) / step))
        heights = np.arange(-half, half + 1, dtype=np.float64) * step
        radii = np.asarray(np.arange(0.5, max(fixed.radius, moving.radius) / step + 1) * step, np.float64)
        return cls(fixed, moving_level, _unroll(fixed_level, fixed, heights, radii), heights, radii)

    def propose(self, moving: Axis, count: int, angles: Sequence[float] | None = None) -> list[Proposal]:
        """Return the best shifts and axial angles for a frame of the moving bone.

        Parameters
        ----------
        moving
            The moving bone's frame, as it is, turned or mirrored.
        count
            Most proposals.
        angles
            Axial angles in radian to choose from; the whole circle where None.
        """
        step = float(self.heights[1] - self.heights[0])
        most = max(1, int(_SHIFT * max(self.fixed.length, moving.length) / step))
        unrolled = _unroll(self.level, moving, self.heights, self.radii)
        values = _correlation_map(self.unrolled, unrolled, most)
        if angles is None:
            turn = 2 * np.pi / ANGLES
            return [Proposal((i - most) * step, j * turn, values[i, j]) for i, j in _peaks(values, count)]
        out = []
        for angle in angles:
            column = values[:, round(angle / (2 * np.pi) * ANGLES) % ANGLES]
            i = int(np.argmax(column))
            out.append(Proposal((i - most) * step, float(angle), float(column[i])))
        return sorted(out, key=lambda p: -p.value)

    def matrix(self, moving: Axis, proposal: Proposal) -> NDArray[np.float64]:
        """Return the 4 x 4 matrix, fixed points to moving points, of a proposal."""
        c, s = np.cos(proposal.angle), np.sin(proposal.angle)
        about = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        out = np.eye(4)
        out[:3, :3] = moving.frame @ about @ self.fixed.frame.T
        out[:3, 3] = moving.centre + proposal.shift * moving.frame[:, 2] - out[:3, :3] @ self.fixed.centre
        return out


def coarse_levels(fixed: Pyramid, moving: Pyramid, bones: tuple[Axis, Axis]) -> tuple[Level, Level]:
    """Return the levels at which poses are searched: about 72 voxels along the shorter bone."""
    spacing = min(axis.length for axis in bones) / 72
    return fixed.at(spacing), moving.at(spacing)
