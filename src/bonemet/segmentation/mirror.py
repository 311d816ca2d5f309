"""The other leg as a pattern: where disease has eaten a tibia away, its mirrored fellow tells the outline.

The two tibiae of an animal are mirror images of each other to within some hundredths of a millimetre, so one
can be laid upon the other by a rigid motion and a reflection. It is found by least squares over the distances
of one bone's surface from the other's (iterative closest points without pairing: Fitzgibbon 2003,
doi:10.1016/j.imavis.2003.09.004), with a loss that what is lost or grown cannot drag along.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from bonemet.segmentation.components import Mask, Spacing, box_of

Points = NDArray[np.float64]

MARGIN_MM = 1.0
SOFT_MM = 0.06  # distances beyond this count less and less
FAR_MM = 0.4
ANGLES = 24  # about the axis, tried at first
SHIFTS_MM = (-1.2, -0.6, 0.0, 0.6, 1.2)
CLOSE_MM = 0.12  # of a good match: this share of the points lies as close to the pattern
CLOSE_SHARE = 0.6
FLIP = np.diag([1.0, 1.0, -1.0])


@dataclass(frozen=True, eq=False)
class Pattern:
    """A filled bone as signed distances (mm) from its surface, negative within.

    Attributes
    ----------
    distance
        (z, y, x).
    corner_mm, spacing_mm
        (z, y, x) of voxel (0, 0, 0), and of the voxels.
    """

    distance: NDArray[np.float32]
    corner_mm: Points
    spacing_mm: Points

    def at(self, points_mm: Points) -> NDArray[np.float64]:
        """Return the signed distance at points (n, 3) in mm; beyond the margin it is that of the margin."""
        index = (points_mm - self.corner_mm) / self.spacing_mm
        return np.asarray(
            ndimage.map_coordinates(self.distance, index.T, order=1, mode="nearest"), dtype=np.float64
        )


@dataclass(frozen=True, eq=False)
class Fellow:
    """How a bone's points lie in its mirrored fellow.

    Attributes
    ----------
    turn, centre_mm, place_mm
        Points p of the bone are at ``turn (p - centre) + place`` of the fellow; ``turn`` reflects.
    close
        Share of the bone's surface that lies close to the fellow's.
    """

    turn: Points
    centre_mm: Points
    place_mm: Points
    close: float

    @property
    def good(self) -> bool:
        """Whether the two are alike enough for one to stand for the other."""
        return self.close >= CLOSE_SHARE

    def apply(self, points_mm: Points) -> Points:
        """Return where points (n, 3) of the bone are in the fellow."""
        return np.asarray((points_mm - self.centre_mm) @ self.turn.T + self.place_mm)

    def shifted(self, bone_mm: Points, fellow_mm: Points) -> Fellow:
        """Return the same where both coordinates have other origins, by which points have grown."""
        return Fellow(self.turn, self.centre_mm + bone_mm, self.place_mm + fellow_mm, self.close)


def pattern(mask: Mask, spacing_mm: Spacing) -> Pattern:
    """Return a filled bone (z, y, x) as signed distances."""
    s = np.asarray(spacing_mm)
    box = box_of(mask)
    pad = int(np.ceil(MARGIN_MM / s.min()))
    own = np.pad(mask[box], pad)
    inside = ndimage.distance_transform_edt(own, sampling=spacing_mm)
    outside = ndimage.distance_transform_edt(~own, sampling=spacing_mm)
    half = 0.5 * float(s.mean())
    signed = np.where(own, half - inside, outside - half).astype(np.float32)
    return Pattern(signed, (np.array([b.start for b in box]) - pad) * s, s)


def surface_mm(mask: Mask, spacing_mm: Spacing, count: int = 2500) -> Points:
    """Return about ``count`` voxels of a mask's surface as points (n, 3) in mm."""
    box = box_of(mask, 1)
    own = mask[box]
    voxels = np.argwhere(own & ~ndimage.binary_erosion(own, border_value=1))
    voxels = voxels[:: max(1, len(voxels) // count)] + [b.start for b in box]
    return np.asarray(voxels * np.asarray(spacing_mm), dtype=np.float64)


def lay(
    points_mm: Points, model: Pattern, bone: tuple[Points, Points], fellow: tuple[Points, Points]
) -> Fellow:
    """Lay a bone upon its mirrored fellow, of which only axis and ankle are known.

    Parameters
    ----------
    points_mm
        (n, 3) on the bone's surface.
    model
        The fellow.
    bone, fellow
        Of each the end at the ankle (mm) and the unit vector from there to the knee.
    """
    to = FLIP @ fellow[1]
    upright = _between(bone[1], to)
    few = points_mm[:: max(1, len(points_mm) // 400)]
    tried: list[tuple[float, int, Fellow]] = []
    for angle in np.linspace(0, 2 * np.pi, ANGLES, endpoint=False):
        turn = FLIP @ Rotation.from_rotvec(angle * to).as_matrix() @ upright
        for shift in SHIFTS_MM:
            guess = Fellow(turn, bone[0], fellow[0] + shift * fellow[1], 0.0)
            cost = float(np.minimum(np.abs(off_surface(few, model, guess)), FAR_MM).mean())
            tried.append((cost, len(tried), guess))
    best = [settle(points_mm, model, g) for *_, g in sorted(tried, key=lambda t: t[:2])[:4]]
    return max(best, key=lambda f: f.close)


def off_surface(points_mm: Points, model: Pattern, fellow: Fellow) -> Points:
    """Return how far (mm) outside of the fellow a bone's surface lies at its outermost voxels (n, 3)."""
    return np.asarray(model.at(fellow.apply(points_mm)) + 0.5 * float(model.spacing_mm.mean()))


def settle(points_mm: Points, model: Pattern, start: Fellow) -> Fellow:
    """Return the motion near ``start`` that brings a bone's surface closest to its fellow's."""
    centre = points_mm.mean(axis=0)
    place = start.apply(centre[None])[0]

    def moved(x: Points) -> Fellow:
        turn = Rotation.from_rotvec(x[:3]).as_matrix() @ start.turn
        return Fellow(turn, centre, place + x[3:], 0.0)

    def off(x: Points) -> Points:
        return off_surface(points_mm, model, moved(x))

    scale = np.array([0.1, 0.1, 0.1, 1.0, 1.0, 1.0])
    for width in (4 * SOFT_MM, SOFT_MM):
        found = least_squares(off, np.zeros(6), loss="cauchy", f_scale=width, x_scale=scale, max_nfev=25)
        start, place = moved(found.x), moved(found.x).place_mm
    close = float(np.mean(np.abs(off_surface(points_mm, model, start)) < CLOSE_MM))
    return Fellow(start.turn, start.centre_mm, start.place_mm, close)


def inside(model: Pattern, fellow: Fellow, box: tuple[slice, ...], spacing_mm: Spacing) -> Points:
    """Return the fellow's signed distance (mm, float32) at the voxels of a box of the bone's grid."""
    s = np.asarray(spacing_mm)
    out = np.empty(tuple(b.stop - b.start for b in box), np.float32)
    rows = np.stack(np.meshgrid(*(np.arange(b.start, b.stop) for b in box[1:]), indexing="ij"), -1)
    plane = rows.reshape(-1, 2) * s[1:]
    for k in range(len(out)):
        points = np.column_stack([np.full(len(plane), (box[0].start + k) * s[0]), plane])
        out[k] = model.at(fellow.apply(points)).reshape(out.shape[1:])
    return out


def _between(a: Points, b: Points) -> Points:
    """Return the smallest rotation that takes one unit vector to another."""
    axis = np.cross(a, b)
    size = float(np.linalg.norm(axis))
    if size < 1e-9:
        other = np.eye(3)[int(np.argmin(np.abs(a)))]
        half = np.cross(a, other)
        whole = np.pi * half / np.linalg.norm(half)
        return np.asarray(np.eye(3) if a @ b > 0 else Rotation.from_rotvec(whole).as_matrix())
    angle = np.arctan2(size, float(a @ b))
    return np.asarray(Rotation.from_rotvec(axis / size * angle).as_matrix())
