"""The other leg as a pattern: where disease has eaten a tibia away, its mirrored fellow tells the outline.

The two tibiae of an animal are mirror images of each other to within some hundredths of a millimetre, so one
can be laid upon the other by a rigid motion and a reflection. It is found by least squares over the distances
of one bone's surface from the other's (iterative closest points without pairing: Fitzgibbon 2003,
doi:10.1016/j.imavis.2003.09.004), with a loss that what is lost or grown cannot drag along.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product

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
SHAFT_SHARE = 0.55  # of the length, from the ankle: above it a break is looked for
END_MM = 2.0  # at the knee: what a fragment surely holds
SLICE_MM = 0.25  # between places of a break
BETTER = 0.04  # by so much more of the surface lies close once a fragment is laid by itself
TRIED_MM = (-0.6, 0.0, 0.6)  # along each axis, where a fragment is looked for
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
    fragment
        How the broken-off end at the knee lies.
    axis, break_mm
        Unit vector to the knee; the fragment's points have ``p @ axis`` above ``break_mm``.
    """

    turn: Points
    centre_mm: Points
    place_mm: Points
    close: float
    fragment: Fellow | None = None
    axis: Points = field(default_factory=lambda: np.zeros(3))
    break_mm: float = np.inf

    @property
    def good(self) -> bool:
        """Whether the two are alike enough for one to stand for the other."""
        return self.close >= CLOSE_SHARE

    def apply(self, points_mm: Points) -> Points:
        """Return where points (n, 3) of the bone are in the fellow."""
        out = np.asarray((points_mm - self.centre_mm) @ self.turn.T + self.place_mm)
        if self.fragment is not None:
            broken = points_mm @ self.axis > self.break_mm
            out[broken] = self.fragment.apply(points_mm[broken])
        return out

    def shifted(self, bone_mm: Points, fellow_mm: Points) -> Fellow:
        """Return the same where both coordinates have other origins, by which points have grown."""
        fragment = None if self.fragment is None else self.fragment.shifted(bone_mm, fellow_mm)
        return replace(
            self,
            centre_mm=self.centre_mm + bone_mm,
            place_mm=self.place_mm + fellow_mm,
            fragment=fragment,
            break_mm=self.break_mm + float(bone_mm @ self.axis),
        )


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


def with_fragment(points_mm: Points, model: Pattern, fellow: Fellow, axis: Points) -> Fellow:
    """Return a fellow in which the end at the knee lies by itself, where it has broken off and moved.

    Parameters
    ----------
    points_mm
        (n, 3) on the bone's surface.
    model
        The fellow.
    fellow
        How the bone as a whole lies in it.
    axis
        Unit vector to the knee.
    """
    along = points_mm @ axis
    top, length = float(along.max()), float(np.ptp(along))
    shaft = settle(points_mm[along < top - (1 - SHAFT_SHARE) * length], model, fellow)
    end = points_mm[along > top - END_MM]
    few = end[:: max(1, len(end) // 300)]
    starts = [
        replace(shaft, place_mm=shaft.place_mm + np.array(step)) for step in product(TRIED_MM, repeat=3)
    ]
    costs = [np.minimum(np.abs(off_surface(few, model, start)), FAR_MM).mean() for start in starts]
    found = [settle(end, model, starts[k]) for k in np.argsort(costs, kind="stable")[:3]]
    piece = max(found, key=lambda f: f.close)
    # The break is where most of the surface lies close, above it by one motion and below by the other.
    edges = np.arange(top - END_MM, top - (1 - SHAFT_SHARE) * length, -SLICE_MM)
    close = [np.abs(off_surface(points_mm, model, f)) < CLOSE_MM for f in (piece, shaft)]
    shares = [float(np.mean(np.where(along > edge, *close))) for edge in edges]
    if not shares or max(shares) < fellow.close + BETTER:
        return fellow
    edge = float(edges[int(np.argmax(shares))])
    above = along > edge
    piece, shaft = settle(points_mm[above], model, piece), settle(points_mm[~above], model, shaft)
    broken = replace(shaft, fragment=piece, axis=axis, break_mm=edge)
    close_share = float(np.mean(np.abs(off_surface(points_mm, model, broken)) < CLOSE_MM))
    return replace(broken, close=close_share)


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
