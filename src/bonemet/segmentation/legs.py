"""Legs: which shafts are tibiae, and which of their ends is at the knee.

A tibia has a fibula beside it near the knee, tapers away from the knee, and has far more bone beyond its knee
than beyond its ankle. The legs of one animal lie side by side and point the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.segmentation.components import Mask, Spacing
from bonemet.segmentation.shafts import Shaft

Point = NDArray[np.float64]

SHORTEST_MM = 4.0
AREA_MM2 = (0.6, 2.5)  # mean cross-section of a mouse tibia's filled shaft, fibula included; about 1.1
CLEAR = 2.2  # evidence of a tibia; tails and femora stay below 1.8
CLEAR_WITH_FIBULA = 1.3  # the same, where a fibula is seen, as beside no other bone
WEAK = 0.8  # evidence that is enough beside another tibia, where a fibula is seen
LEAST_FIBULA, SURE_FIBULA = 0.25, 0.4
PIXEL_MM = 0.08  # of cross-sections


@dataclass(frozen=True, eq=False)
class Tibia:
    """A shaft that is a tibia's.

    Attributes
    ----------
    shaft
        The shaft.
    near
        Which of its ends is at the knee.
    fibula
        Share of the cross-sections near the knee that show a fibula.
    evidence
        How clearly it is a tibia with its knee at that end; above 2 is clear.
    """

    shaft: Shaft
    near: int
    fibula: float
    evidence: float

    @property
    def clear(self) -> bool:
        """Whether it is a tibia on its own evidence."""
        return self.evidence >= (CLEAR_WITH_FIBULA if self.fibula >= SURE_FIBULA else CLEAR)

    @property
    def knee_end(self) -> Point:
        """End (z, y, x) in mm of the shaft at the knee."""
        return np.asarray(self.shaft.ends[self.near])

    @property
    def ankle_end(self) -> Point:
        """End (z, y, x) in mm of the shaft at the ankle."""
        return np.asarray(self.shaft.ends[1 - self.near])

    @property
    def axis(self) -> Point:
        """Unit vector (z, y, x) toward the knee."""
        return -self.shaft.direction(self.near)


def find_tibiae(shafts: list[Shaft], filled: Mask, spacing_mm: Spacing) -> list[Tibia]:
    """Return up to two tibiae, the one at lower x first.

    Parameters
    ----------
    shafts
        As found in ``filled``.
    filled
        (z, y, x) filled bones.
    spacing_mm
        Of the mask (z, y, x).
    """
    long = [s for s in shafts if s.length_mm >= SHORTEST_MM and AREA_MM2[0] <= s.area_mm2 <= AREA_MM2[1]]
    found = [_weigh(s, near, filled, spacing_mm) for s in long for near in (0, 1)]
    clear = [t for t in found if t.clear]
    pairs = [
        (_likeness(a, b) + a.evidence + b.evidence, a, b) for a, b in combinations(found, 2) if _pair(a, b)
    ]
    if pairs:
        _, a, b = max(pairs, key=lambda p: p[0])
        return sorted((a, b), key=lambda t: float(t.shaft.ends[:, 2].mean()))
    return [max(clear, key=lambda t: t.evidence)] if clear else []


def _pair(a: Tibia, b: Tibia) -> bool:
    """Tell whether two shafts may be the two tibiae of one animal.

    One of them is clear, or both together are as clear as one must be without its fibula.
    """
    if a.shaft is b.shaft or not (a.clear or b.clear or a.evidence + b.evidence >= CLEAR):
        return False
    if any(not t.clear and (t.fibula < LEAST_FIBULA or t.evidence < WEAK) for t in (a, b)):
        return False
    same_way = float(a.axis @ b.axis) > 0.3
    level = abs(float(a.knee_end[0] - b.knee_end[0])) < 8.0
    aside = abs(float(a.knee_end[2] - b.knee_end[2])) > 2.0
    return same_way and level and aside


def _likeness(a: Tibia, b: Tibia) -> float:
    """Return how much alike two shafts are: 0 for equals, falling."""
    thickness = abs(np.log(a.shaft.area_mm2 / b.shaft.area_mm2))
    length = abs(np.log(a.shaft.length_mm / b.shaft.length_mm))
    return -float(thickness + length)


def _weigh(shaft: Shaft, near: int, filled: Mask, spacing_mm: Spacing) -> Tibia:
    axis = -shaft.direction(near)
    start, far = shaft.ends[near], shaft.ends[1 - near]
    fibula, taper = _profile(start, -axis, shaft.length_mm, filled, spacing_mm)
    beyond = mass_around(filled, start + 3.5 * axis, 3.0, spacing_mm)
    below = mass_around(filled, far - 3.5 * axis, 3.0, spacing_mm)
    heavier = float(np.clip(np.log((beyond + 2.0) / (below + 2.0)), -1.5, 1.5))
    return Tibia(shaft, near, fibula, 2.0 * fibula + taper + 0.5 * heavier)


def mass_around(mask: Mask, point: Point, radius_mm: float, spacing_mm: Spacing) -> float:
    """Return the volume in mm3 of a mask within a ball."""
    s = np.asarray(spacing_mm)
    low = np.maximum(np.ceil((point - radius_mm) / s), 0).astype(int)
    high = np.minimum(np.floor((point + radius_mm) / s) + 1, mask.shape).astype(int)
    if (high <= low).any():
        return 0.0
    axes = np.ogrid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    inside = sum((g * h - p) ** 2 for g, h, p in zip(axes, s, point, strict=True)) <= radius_mm**2
    box = mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return float(np.count_nonzero(box & inside)) * float(np.prod(s))


def _profile(
    start: Point, away: Point, length: float, filled: Mask, spacing_mm: Spacing
) -> tuple[float, float]:
    """Return the share of cross-sections with a fibula, and how much the shaft tapers away from ``start``."""
    fibula, areas = [], []
    for s in np.arange(0.2, length, 0.4):
        main, second = _two_pieces(_cross_section(filled, start + s * away, away, spacing_mm))
        areas.append(main)
        # Only near the knee: further on, a fibula has joined its tibia.
        if s < 5.0:
            fibula.append(0.01 < second < 0.4 * main)
    third = max(1, len(areas) // 3)
    taper = np.log(max(float(np.mean(areas[:third])), 0.05) / max(float(np.mean(areas[-third:])), 0.05))
    return float(np.mean(fibula)), float(np.clip(taper, -1, 1))


def _cross_section(mask: Mask, centre: Point, axis: Point, spacing_mm: Spacing) -> Mask:
    """Return a 5 x 5 mm section of a mask across an axis."""
    u = np.cross(axis, np.eye(3)[int(np.argmin(np.abs(axis)))])
    u /= np.linalg.norm(u)
    v = np.cross(axis, u)
    t = np.arange(-31, 32) * PIXEL_MM
    points = centre + t[:, None, None] * u + t[None, :, None] * v
    index = np.rint(points / np.asarray(spacing_mm)).astype(int)
    inside = ((index >= 0) & (index < mask.shape)).all(-1)
    index[~inside] = 0
    return np.asarray(mask[tuple(np.moveaxis(index, -1, 0))] & inside)


def _two_pieces(section: Mask) -> tuple[float, float]:
    """Return the area (mm2) of the piece nearest the axis, and of the largest other 0.5 to 2.2 mm from it."""
    pieces, n = ndimage.label(section, np.ones((3, 3)))
    if n == 0:
        return 0.0, 0.0
    middle = section.shape[0] // 2
    nearest = ndimage.distance_transform_edt(pieces == 0, return_distances=False, return_indices=True)
    main = pieces[tuple(nearest[:, middle, middle])]
    sizes = np.bincount(pieces.reshape(-1))
    centres = np.asarray(ndimage.center_of_mass(pieces > 0, pieces, range(1, n + 1)))
    away = np.linalg.norm(centres - centres[main - 1], axis=1) * PIXEL_MM
    others = [sizes[k] for k in range(1, n + 1) if k != main and 0.5 < away[k - 1] < 2.2]
    return float(sizes[main]) * PIXEL_MM**2, float(max(others, default=0)) * PIXEL_MM**2
