"""Composites: what stayed, what is new and what was lost between two aligned scans of one bone.

The four greys are those of the published composites. They are raw; see :mod:`bonemet.roi.guard` for what of
them is real.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import InputError

KEPT, FORMED, RESORBED, NEITHER = 180, 240, 60, 0


@dataclass(frozen=True)
class Change:
    """Numbers of voxels of bone that stayed, came and went."""

    unchanged: int
    formed: int
    resorbed: int

    def __add__(self, other: Change) -> Change:
        return Change(
            self.unchanged + other.unchanged, self.formed + other.formed, self.resorbed + other.resorbed
        )

    def as_mm3(self, voxel_mm3: float) -> dict[str, float]:
        """Return the volumes in mm3, with the net change (formed less resorbed)."""
        return {
            "unchanged_mm3": self.unchanged * voxel_mm3,
            "formed_mm3": self.formed * voxel_mm3,
            "resorbed_mm3": self.resorbed * voxel_mm3,
            "net_mm3": (self.formed - self.resorbed) * voxel_mm3,
        }


def composite(
    baseline: NDArray[Any],
    followup: NDArray[Any],
    threshold: float,
    followup_threshold: float | None = None,
) -> NDArray[np.uint8]:
    """Return the composite of two aligned images in the published greys.

    Parameters
    ----------
    baseline, followup
        Values of one shape, slices or volumes.
    threshold
        Bone is value >= threshold; the published "above 75" of 8-bit greys is 76.
    followup_threshold
        Threshold of the follow-up where its values have another scale.

    Returns
    -------
    NDArray[np.uint8]
        180 bone in both, 240 new bone, 60 lost bone, 0 neither.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    if baseline.shape != followup.shape:
        raise InputError(
            f"A baseline of shape {baseline.shape} and a follow-up of {followup.shape} lie on two grids; "
            "register the follow-up onto the baseline first."
        )
    before = (baseline >= threshold).view(np.uint8)
    after = (followup >= (threshold if followup_threshold is None else followup_threshold)).view(np.uint8)
    codes = after * np.uint8(FORMED)
    codes += before * np.uint8(RESORBED)
    both = before & after
    codes -= both * np.uint8(RESORBED + FORMED - KEPT)  # eight bits wrap: 60 + 240 - 120 is 180
    return codes


def count_change(codes: NDArray[np.uint8]) -> Change:
    """Return the voxel counts of a composite or of one slice of it."""
    counts = np.bincount(codes.ravel(), minlength=256)
    return Change(int(counts[KEPT]), int(counts[FORMED]), int(counts[RESORBED]))
