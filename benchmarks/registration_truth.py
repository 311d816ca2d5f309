"""Truth for the registration benchmark: the pairs, points to judge by, and the defined long axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cases
import numpy as np
from cases import Pair
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.errors import SettingsError
from bonemet.simulation import points_in_bone
from bonemet.simulation.change import lost_share
from bonemet.simulation.disease import fracture
from bonemet.simulation.growth import growth

SHAFT = (0.12, 0.88)  # of the length: diaphysis and metaphyses, growth plates and epiphyses left out
AXIS = (0.15, 0.85)
NEAR_MM = 0.06  # a surface that moved by less is the same one
LAST_WEEK = 5
MIRROR = np.diag([-1.0, 1.0, 1.0])


def _own(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    inverse = np.linalg.inv(matrix)
    return np.asarray(points @ inverse[:3, :3].T + inverse[:3, 3])


@dataclass(frozen=True, eq=False)
class Drawn:
    """A longitudinal pair of a diseased tibia.

    Attributes
    ----------
    pair
        The two scans.
    lost
        Share of the bone of the proximal third that disease has taken.
    growing
        Whether the animal grows between the scans, or is grown up; it remodels in either case.
    grown_mm
        By how much it grew at the knee and at the ankle.
    """

    pair: Pair
    lost: float
    growing: bool
    grown_mm: tuple[float, float]


def drawn(k: int, voxel_mm: float, first: int = cases.FIRST) -> Drawn:
    """Return pair ``k``: weeks 1 to 5, every kind of disease; every second animal still grows.

    Of three pairs one has the disease that comes, one has lost 5 to 30 % and one 30 to 45 % of its proximal
    bone; where no disease takes so much within the weeks drawn, it is given more weeks.
    """
    rng = cases.generator(first + k, 77)
    wanted = (None, float(rng.uniform(0.05, 0.3)), float(rng.uniform(0.3, 0.45)))[k % 3]
    kinds = ("osteolytic", "mixed", "osteoblastic")
    kind, week = kinds[int(rng.integers(3 if wanted is None else 2))], 1 + int(rng.integers(LAST_WEEK))
    growing = k % 2 == 0
    while True:
        changed: dict[str, Any] = {"kind": kind} | ({} if growing else {"growth": 0.0})
        changed |= {} if wanted is None else {"loss": wanted}
        try:
            pair = cases.tibia_pair(k, voxel_mm, weeks=(0, week), first=first, changed=changed)
        except SettingsError:  # not so much bone is lost until then
            kind = kind if week < LAST_WEEK else "osteolytic"
            week = min(week + 1, LAST_WEEK)
            continue
        lost = lost_share(pair.animal, week, 0.06) if wanted is None else wanted
        grown = growth(pair.animal, week, f"{pair.side} tibia")
        return Drawn(pair, lost, growing, (grown.proximal, grown.distal))


def shaft_points(pair: Pair) -> NDArray[np.float64]:
    """Return points (n, 3) of the fixed image on the bone's surface between the growth plates."""
    labels = pair.labels[0] > 0
    edge = labels & ~ndimage.binary_erosion(labels)
    points = pair.fixed.grid.index_to_mm(np.argwhere(edge))
    place = _own(points, pair.matrices[0])[:, 2] / pair.animal.sizes.tibia_mm
    return points[(place > SHAFT[0]) & (place < SHAFT[1])][::7]


def unchanged_points(pair: Pair) -> NDArray[np.float64]:
    """Return those points (n, 3) of :func:`shaft_points` whose surface is still there in the later week.

    Of a broken bone only the distal piece counts, with which its frame stays.
    """
    points = shaft_points(pair)
    own, bone, week = _own(points, pair.matrices[0]), f"{pair.side} tibia", pair.weeks[1]
    later = points_in_bone(pair.animal, week, bone, own)
    still = (np.abs(later[:, 0]) < NEAR_MM) & (np.abs(later[:, 1]) < NEAR_MM)
    broken = fracture(pair.animal, pair.side, week)
    if broken is not None:
        still &= own[:, 2] > broken.level_mm + 1.0
    return points[still]


def defined_axis(pair: Pair) -> NDArray[np.float64]:
    """Return the long axis in the bone's own frame, by its definition, from the formulae of the bone.

    The straight line nearest to the centres of the tibia's filled sections between 15 and 85 % of its length.
    """
    length = pair.animal.sizes.tibia_mm
    across = np.arange(-3.0, 3.0, 0.06)
    heights = np.linspace(AXIS[0] * length, AXIS[1] * length, 36)
    centres = []
    for z in heights:
        x, y = np.meshgrid(across, across, indexing="ij")
        points = np.stack([x.ravel(), y.ravel(), np.full(x.size, z)], axis=1)
        outer = points_in_bone(pair.animal, 0, f"{pair.side} tibia", points)[:, 0].reshape(x.shape)
        parts, count = ndimage.label(outer <= 0)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
        largest = parts == 1 + int(np.argmax(sizes))
        centres.append([x[largest].mean(), y[largest].mean()])
    slope = np.polyfit(heights, np.array(centres), 1)[0]
    axis = np.array([*slope, 1.0])
    return np.asarray(axis / np.linalg.norm(axis))


def axis_error_deg(own: NDArray[Any], axis: NDArray[np.float64]) -> float:
    """Return the angle between a frame's z axis (columns, in the bone's frame) and the defined axis."""
    return float(np.degrees(np.arccos(np.clip(own[:, 2] @ axis, -1, 1))))


def axial_error_deg(own: NDArray[Any], side: str) -> float:
    """Return by how much a frame is turned about z from the planted front, lateral turns positive.

    The bone's own frame is a right leg's, y to the front; a left leg's is its mirror image.
    """
    front = -own[:, 1]
    return float(np.degrees(np.arctan2(front[0], front[1])))
