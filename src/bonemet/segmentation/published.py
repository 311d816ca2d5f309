"""The published segmentation, kept as it was described (BoneMet supplement, section A).

Bone is "above 75 of 255"; the limbs are told apart by intensity moments of their positions; tibia and femur
are split at the slice of the limb where the cross-section is smallest. It breaks on bent knees, touching
bones and legs at different heights: :func:`bonemet.segmentation.limbs.segment_limbs` is the default for
that reason.

What the description leaves open is decided here: moments are those of the columns (x), the spine lies
within half a standard deviation of the mean column, the outer tenth of a limb's slices does not count for
the smallest cross-section (there a limb leaves the field or tapers off), and the tibia is the longer of the
two parts.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import InputError, SettingsError
from bonemet.segmentation.components import Spacing
from bonemet.segmentation.names import BONE_NAMES, BoneFound, Label, LimbSegmentation, sizes_and_boxes
from bonemet.segmentation.threshold import PUBLISHED

OUTER = 0.1
CONFIDENCE = 0.5  # the method does not look at what it has cut


def segment_published(
    grey: NDArray[Any],
    spacing_mm: Spacing,
    threshold: float = PUBLISHED,
    *,
    left: Literal["low-x", "high-x"] = "low-x",
) -> LimbSegmentation:
    """Split a scan into spine, tibiae and femora as published.

    Parameters
    ----------
    grey
        (z, y, x); bone is grey >= threshold.
    spacing_mm
        (z, y, x).
    threshold
        The published one by default.
    left
        At which end of the columns (x) the left leg lies.

    Returns
    -------
    LimbSegmentation
        Labels mark bone only, no marrow: the published method fills nothing.

    Raises
    ------
    InputError
        If nothing is as bright as bone.
    """
    if left not in ("low-x", "high-x"):
        raise SettingsError(f"The left leg lies at low-x or high-x, not at {left!r}.")
    bone = grey >= threshold
    low, high = _limits(grey, bone)
    labels = np.where(bone, np.uint8(Label.SPINE), np.uint8(0))
    sides = [(slice(0, low), left == "low-x"), (slice(high, None), left != "low-x")]
    knees = {}
    for columns, is_left in sides:
        tibia, femur = (
            (Label.LEFT_TIBIA, Label.LEFT_FEMUR) if is_left else (Label.RIGHT_TIBIA, Label.RIGHT_FEMUR)
        )
        area = np.count_nonzero(bone[:, :, columns], axis=(1, 2))
        knee, tibia_first = _knee(area)
        halves = (tibia, femur) if tibia_first else (femur, tibia)
        for z, label in ((slice(0, knee), halves[0]), (slice(knee, None), halves[1])):
            part = labels[z, :, columns]
            part[part > 0] = label
        knees[BONE_NAMES[tibia]] = int(knee)
    return _found(labels, knees, spacing_mm)


def _limits(grey: NDArray[Any], bone: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the columns at which the spine begins and ends, from the moments of the grey values of bone."""
    weight = np.zeros(grey.shape[2])
    for z in range(len(grey)):  # slice by slice: no second volume in memory
        weight += np.where(bone[z], grey[z], 0).sum(axis=0, dtype=np.float64)
    if weight.sum() <= 0:
        raise InputError("Nothing in this volume is as bright as bone; check the threshold.")
    x = np.arange(len(weight))
    mean = float((weight * x).sum() / weight.sum())
    deviation = float(np.sqrt((weight * (x - mean) ** 2).sum() / weight.sum()))
    return max(0, round(mean - deviation / 2)), min(len(weight), round(mean + deviation / 2))


def _knee(area: NDArray[np.int64]) -> tuple[int, bool]:
    """Return the slice of the smallest cross-section, and whether the tibia lies before it."""
    filled = np.flatnonzero(area)
    if len(filled) < 3:
        return 0, False
    first, last = int(filled[0]), int(filled[-1]) + 1
    margin = max(1, round(OUTER * (last - first)))
    inner = area[first + margin : last - margin]
    knee = first + margin + int(np.argmin(inner)) if len(inner) else (first + last) // 2
    return knee, knee - first >= last - knee


def _found(labels: NDArray[np.uint8], knees: dict[str, int], spacing_mm: Spacing) -> LimbSegmentation:
    found = sizes_and_boxes(labels)
    reason = "The published method does not check what it has cut."
    bones, missing = [], {}
    for label, name in BONE_NAMES.items():
        if label not in found:
            missing[name] = "no bone lies in its part of the volume."
            continue
        size, box = found[label]
        bones.append(BoneFound(name, int(label), CONFIDENCE, (reason,), box, size))
    notes = tuple(f"No {name}: {why}" for name, why in missing.items())
    details = {"knee_slices": knees, "spacing_mm": list(spacing_mm)}
    return LimbSegmentation(labels, tuple(bones), missing, notes, details)
