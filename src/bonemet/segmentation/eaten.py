"""Tibiae that disease has eaten, found by laying them upon the other leg's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bonemet.segmentation import mirror
from bonemet.segmentation.components import Mask, ball
from bonemet.segmentation.naming import Scene

LOST_MM3 = 0.15  # less than this is no loss
LOST_MM = 0.15  # radius: what is thinner is a difference of the two surfaces
SURE_MM = 0.25  # within the other tibia's outline all belongs to the tibia


@dataclass(frozen=True, eq=False)
class Eaten:
    """The one of two tibiae that lacks more beside its mirrored fellow, and what it lacks.

    Attributes
    ----------
    leg
        Which.
    fellow
        How it lies in the other.
    lost
        (z, y, x) what is missing from the filled bones.
    within
        (z, y, x) what surely belongs to the tibia.
    place
        (z, y, x) what lies within the fellow's outline.
    lost_mm3
        How much the tibia lacks, whether lost or named otherwise; 0 where the two are too unlike to tell.
    """

    leg: int
    fellow: mirror.Fellow
    lost: Mask
    within: Mask
    place: Mask
    lost_mm3: float

    @property
    def much(self) -> bool:
        """Whether enough is missing to be made whole."""
        return self.lost_mm3 >= LOST_MM3


def find_eaten(scene: Scene, filled: Mask) -> Eaten | None:
    """Return which tibia lacks more, eaten or cut off at a lesion, and what; None where there are no two.

    Parameters
    ----------
    scene
        Parts and tibiae.
    filled
        (z, y, x) filled bones.
    """
    if len(scene.tibiae) < 2:
        return None
    masks = [scene.parts == 2 * leg + 1 for leg in range(2)]
    if not all(m.any() for m in masks):
        return None
    lesser = int(np.argmin([np.count_nonzero(m) for m in masks]))
    found = _beside(scene, filled, masks, lesser)
    if not found.fellow.good:
        return found
    # A hole that coarse voxels have closed makes a tibia hardly lesser; what it lacks of the other shows it.
    other = _beside(scene, filled, masks, 1 - lesser)
    return other if other.lost_mm3 > found.lost_mm3 else found


def _beside(scene: Scene, filled: Mask, masks: list[Mask], leg: int) -> Eaten:
    """Return what the tibia of a leg lacks beside the other's."""
    model = mirror.pattern(masks[1 - leg], scene.spacing_mm)
    ends = [(t.ankle_end, t.axis) for t in scene.tibiae]
    surface = mirror.surface_mm(masks[leg], scene.spacing_mm)
    fellow = mirror.lay(surface, model, ends[leg], ends[1 - leg])
    fellow = mirror.with_fragment(surface, model, fellow, scene.tibiae[leg].axis)
    lost, within, place = (np.zeros_like(filled) for _ in range(3))
    if not fellow.good:
        return Eaten(leg, fellow, lost, within, place, 0.0)
    box = _box(masks[leg], scene)
    distance = mirror.inside(model, fellow, box, scene.spacing_mm)
    place[box] = distance < 0
    gone = ndimage.binary_opening(place[box] & ~masks[leg][box], ball(LOST_MM, scene.spacing_mm))
    lost[box] = gone & ~filled[box]
    within[box] = distance < -SURE_MM
    lost_mm3 = float(np.count_nonzero(gone)) * float(np.prod(scene.spacing_mm))
    return Eaten(leg, fellow, lost, within, place, lost_mm3)


def _box(mask: Mask, scene: Scene) -> tuple[slice, ...]:
    """Return a box that holds a tibia also where its upper end is missing."""
    margin = [int(8.0 / s) for s in scene.spacing_mm]
    lines = [np.flatnonzero(mask.any(axis=tuple(b for b in range(3) if b != a))) for a in range(3)]
    return tuple(
        slice(max(0, int(line[0]) - m), min(n, int(line[-1]) + 1 + m))
        for line, m, n in zip(lines, margin, mask.shape, strict=True)
    )
