"""What the numbers of a label volume stand for, and what a segmentation hands back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.kernels import labelling

Box = tuple[tuple[int, int, int], tuple[int, int, int]]


class Label(IntEnum):
    """Numbers in a label volume."""

    NONE = 0
    SPINE = 1  # with tail and pelvis
    LEFT_FEMUR = 2
    LEFT_TIBIA = 3  # with fibula
    RIGHT_FEMUR = 4
    RIGHT_TIBIA = 5
    HOLDER = 6
    OTHER = 7  # patella, fabellae, menisci, foot


BONE_NAMES = {
    Label.SPINE: "spine",
    Label.LEFT_TIBIA: "left tibia",
    Label.LEFT_FEMUR: "left femur",
    Label.RIGHT_TIBIA: "right tibia",
    Label.RIGHT_FEMUR: "right femur",
}
LONG_BONES = (Label.LEFT_TIBIA, Label.LEFT_FEMUR, Label.RIGHT_TIBIA, Label.RIGHT_FEMUR)


@dataclass(frozen=True)
class BoneFound:
    """One bone of a segmentation.

    Attributes
    ----------
    name
        As in the published titles: ``left tibia``.
    label
        Its number in the label volume.
    confidence
        0 to 1; below :data:`REVIEW_BAR` a person should look.
    reasons
        What lowers the confidence, one sentence each.
    box
        First and last-plus-one voxel (z, y, x).
    voxels
        Voxels within the filled outline.
    accepted
        Whether a person has looked and accepted it.
    """

    name: str
    label: int
    confidence: float
    reasons: tuple[str, ...]
    box: Box
    voxels: int
    accepted: bool = False

    @property
    def review(self) -> bool:
        """Whether a person should look at it."""
        return self.confidence < REVIEW_BAR and not self.accepted


REVIEW_BAR = 0.7


@dataclass(frozen=True, eq=False)
class LimbSegmentation:
    """A label volume and the bones found in it.

    Attributes
    ----------
    labels
        (z, y, x) uint8, see :class:`Label`; each label fills its bone's outer contour.
    bones
        The bones found, in the order of :data:`BONE_NAMES`.
    missing
        Names of bones that were looked for and not found, each with the reason.
    notes
        What a reader should know: one sentence each.
    details
        What was found on the way, for reports: JSON types only.
    """

    labels: NDArray[np.uint8]
    bones: tuple[BoneFound, ...]
    missing: dict[str, str]
    notes: tuple[str, ...]
    details: dict[str, Any]


def sizes_and_boxes(labels: NDArray[np.uint8]) -> dict[int, tuple[int, Box]]:
    """Return the number of voxels and the box of each label that occurs in a label volume (z, y, x)."""
    table = labelling.label_boxes(labels, len(Label))
    return {
        k: (int(row[0]), ((int(row[1]), int(row[2]), int(row[3])), (int(row[4]), int(row[5]), int(row[6]))))
        for k, row in enumerate(table)
        if row[0]
    }
