"""Names for parts: from which bone they are, by where they lie beside the tibiae and knees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.segmentation.components import Spacing
from bonemet.segmentation.knee import Knee
from bonemet.segmentation.legs import Point, Tibia
from bonemet.segmentation.names import Label

SESAMOID_MM3 = 1.5  # patella, fabellae and ossified menisci are smaller
KNEE_MM = 4.5  # around the knee: where such bones lie
BELOW_JOINT_MM = 1.2
BESIDE_MM = 2.5  # from the tibia's axis: where its fibula lies
HOLDER_MM = 10.0
AT_HOME = 0.6  # of a loose part within a tibia's known place: it is a piece of that tibia


@dataclass(frozen=True, eq=False)
class Scene:
    """What is known of a scan on the coarse grid.

    Attributes
    ----------
    parts
        (z, y, x): leg i's tibia is 2 i + 1 and its femur 2 i + 2; other parts bear higher numbers.
    spacing_mm
        (z, y, x).
    tibiae
        None to two, the one at lower x first.
    knees
        One for each tibia.
    left
        At which end of x the left leg lies.
    """

    parts: NDArray[np.int32]
    spacing_mm: Spacing
    tibiae: tuple[Tibia, ...]
    knees: tuple[Knee, ...]
    left: Literal["low-x", "high-x"]

    @property
    def middle_x_mm(self) -> float:
        """Column between the legs, in mm from the box's first; the middle of all bone if a leg is missing."""
        if len(self.tibiae) == 2:
            return float(np.mean([k.point[2] for k in self.knees]))
        columns = np.flatnonzero((self.parts > 0).any(axis=(0, 1)))
        return float(columns.mean()) * self.spacing_mm[2] if columns.size else 0.0

    def leg_labels(self, leg: int) -> tuple[Label, Label]:
        """Return the labels of a leg's tibia and femur: which leg is left is known from its column."""
        low = leg == 0 if len(self.tibiae) == 2 else float(self.knees[leg].point[2]) < self.middle_x_mm
        if low == (self.left == "low-x"):
            return Label.LEFT_TIBIA, Label.LEFT_FEMUR
        return Label.RIGHT_TIBIA, Label.RIGHT_FEMUR


def holder_pieces(pieces: NDArray[np.int32], count: int, spacing_mm: Spacing) -> list[int]:
    """Return the pieces that are holder, bed or table: wide, and at the field's edge all along it."""
    found = []
    for k, box in enumerate(ndimage.find_objects(pieces, count), start=1):
        if box is None:
            continue
        wide = max((box[a].stop - box[a].start) * spacing_mm[a] for a in (1, 2))
        if wide <= HOLDER_MM:
            continue
        rim = np.zeros(len(pieces), bool)
        for side in (pieces[:, 0], pieces[:, -1], pieces[:, :, 0], pieces[:, :, -1]):
            rim |= (side == k).any(axis=1)
        # A foot or a hip may leave the field sideways, but only over a few slices.
        if rim.mean() > 0.5:
            found.append(k)
    return found


def name_parts(scene: Scene, places: Mapping[int, NDArray[np.bool_]] | None = None) -> NDArray[np.uint8]:
    """Return the label of each voxel of the parts.

    Parameters
    ----------
    scene
        What is known.
    places
        (z, y, x) where a leg's tibia is known to lie by other evidence: loose parts there are its pieces.
    """
    count = int(scene.parts.max())
    table = np.zeros(count + 1, np.uint8)
    for leg in range(len(scene.tibiae)):
        table[2 * leg + 1 : 2 * leg + 3] = scene.leg_labels(leg)
    sides = _knee_sides(scene, count)
    voxel = float(np.prod(scene.spacing_mm))
    sizes = np.bincount(scene.parts.reshape(-1), minlength=count + 1)
    within = {
        leg: np.bincount(scene.parts[place], minlength=count + 1) / np.maximum(sizes, 1)
        for leg, place in (places or {}).items()
    }
    loose = range(2 * len(scene.tibiae) + 1, count + 1)
    centres = ndimage.center_of_mass(scene.parts > 0, scene.parts, list(loose)) if loose else []
    for k, centre in zip(loose, centres, strict=True):
        if sizes[k]:
            point = np.asarray(centre) * np.asarray(scene.spacing_mm)
            home = next((leg for leg, share in within.items() if share[k] > AT_HOME), None)
            table[k] = (
                _name(scene, point, sizes[k] * voxel, sides[:, k] / sizes[k])
                if home is None
                else scene.leg_labels(home)[0]
            )
    return table[scene.parts]


def _knee_sides(scene: Scene, count: int) -> NDArray[np.int64]:
    """Return how many voxels of each part lie on each side of each knee's cut."""
    sides = np.zeros((2 * len(scene.knees), count + 1), np.int64)
    for i, knee in enumerate(scene.knees):
        for k, voxels in enumerate((knee.tibia, knee.femur)):
            sides[2 * i + k] = np.bincount(scene.parts[tuple(voxels.T)], minlength=count + 1)
    return sides


def _name(scene: Scene, point: Point, volume_mm3: float, sides: NDArray[np.float64]) -> Label:
    """Name a loose part by its centre, its volume and the share of it on either side of the knees."""
    for leg, (tibia, knee) in enumerate(zip(scene.tibiae, scene.knees, strict=True)):
        tibia_label, femur_label = scene.leg_labels(leg)
        if _beside(tibia, knee, point):
            return tibia_label
        near = float(np.linalg.norm(point - knee.point)) < KNEE_MM
        if near and volume_mm3 < SESAMOID_MM3:
            return Label.OTHER
        if sides[2 * leg : 2 * leg + 2].max() > 0.5:
            return tibia_label if sides[2 * leg] > sides[2 * leg + 1] else femur_label
    return _trunk_or_foot(scene, point)


def _beside(tibia: Tibia, knee: Knee, point: Point) -> bool:
    """Tell whether a point lies in or beside the tibia, where there is nothing but its own fibula.

    Patella, fabellae and menisci lie at the joint or beyond it, at any flexion.
    """
    offset = point - tibia.knee_end
    along = float(offset @ tibia.axis)
    aside = float(np.linalg.norm(offset - along * tibia.axis))
    joint = float((knee.point - tibia.knee_end) @ tibia.axis)
    return -tibia.shaft.length_mm - 0.5 < along < max(joint - BELOW_JOINT_MM, 1.5) and aside < BESIDE_MM


def _trunk_or_foot(scene: Scene, point: Point) -> Label:
    """Part the trunk and tail, which lie in the middle or toward the hips, from the feet."""
    if not scene.tibiae:
        return Label.OTHER
    middle = scene.middle_x_mm
    for tibia in scene.tibiae:
        below = float((point - tibia.ankle_end) @ tibia.axis)
        aside = abs(float(point[2]) - middle)
        leg_aside = abs(float(tibia.ankle_end[2]) - middle)
        same_side = (point[2] - middle) * (tibia.ankle_end[2] - middle) > 0
        if below < 1.0 and same_side and aside > 0.4 * leg_aside:
            return Label.OTHER
    return Label.SPINE
