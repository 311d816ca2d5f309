"""The digital mouse: hind limbs whose truth is known, and an X-ray simulator that scans them."""

from bonemet.simulation.anatomy import Animal, Sizes, animal, sizes_of
from bonemet.simulation.change import Change, change_masks, change_truth, tibia_change
from bonemet.simulation.pose import EASY, WHOLE_RANGE, PoseRanges, ScanPose, scan_pose
from bonemet.simulation.render import Rendered, render
from bonemet.simulation.skeleton import LABELS, LONG_BONES
from bonemet.simulation.truth import (
    bone_in_own_frame,
    landmark_points,
    landmarks,
    points_in_bone,
    points_in_fibula,
    tissue_in_own_frame,
)

__all__ = [
    "EASY",
    "LABELS",
    "LONG_BONES",
    "WHOLE_RANGE",
    "Animal",
    "Change",
    "PoseRanges",
    "Rendered",
    "ScanPose",
    "Sizes",
    "animal",
    "bone_in_own_frame",
    "change_masks",
    "change_truth",
    "landmark_points",
    "landmarks",
    "points_in_bone",
    "points_in_fibula",
    "render",
    "scan_pose",
    "sizes_of",
    "tibia_change",
    "tissue_in_own_frame",
]
