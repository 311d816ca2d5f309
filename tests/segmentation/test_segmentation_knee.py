"""The knee's cut on drawn bones whose joint is known."""

from __future__ import annotations

import numpy as np
import pytest

from bonemet.segmentation.knee import cut_knee

STEP = 0.1
JOINT = 9.0  # mm: height of the tibia's plateau; it begins at 3, where its shaft ends


def knee(gap_mm: float, shaft_mm: float, plate: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return bones with a straight knee, the femur cut above it, and where the femur lies."""
    z, y, x = np.mgrid[0:160, 0:60, 0:60] * STEP
    y, x = y - 3.0, x - 3.0
    below = JOINT - z
    above = z - (JOINT + gap_mm)

    tibia = (below >= 0) & (np.hypot(y / 0.8, x) < 0.7 + 0.8 * np.exp(-((below / 1.8) ** 2)))
    femur = (
        (above >= 0.8) & (above < shaft_mm) & (np.hypot(y, x) < 0.55 + 0.6 * np.exp(-((above / 1.5) ** 2)))
    )
    for side in (-0.85, 0.85):
        femur |= (above >= 0) & (np.hypot(np.hypot(y, x - side), above - 0.7) < 0.75)
    if plate:  # what is left of a growth plate: a gap through all but the rim
        tibia &= ~((np.abs(below - 1.2) < 0.06) & (np.hypot(y / 0.8, x) < 1.0))
    return tibia | femur, femur


@pytest.mark.parametrize("gap_mm", [0.2, 0.3])
@pytest.mark.parametrize("shaft_mm", [3.2, 4.5])
@pytest.mark.parametrize("plate", [False, True])
def test_the_cut_runs_through_the_joint_and_not_through_a_slender_femur(gap_mm, shaft_mm, plate):
    bones, femur = knee(gap_mm, shaft_mm, plate)
    found = cut_knee(bones, np.array([3.0, 3.0, 3.0]), np.array([1.0, 0.0, 0.0]), (STEP,) * 3)
    named = np.zeros(bones.shape, bool)
    named[tuple(found.femur.T)] = True
    assert np.count_nonzero((named & bones) ^ femur) <= 0.01 * np.count_nonzero(femur)
    assert found.doubt_mm3 < 1.0
    assert abs(found.point[0] - JOINT - gap_mm / 2) < 0.15
