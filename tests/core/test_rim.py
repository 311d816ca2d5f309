"""The rim that a bone keeps when it is cut out."""

import numpy as np
from scipy import ndimage

from bonemet.core.rim import RIM_VOXELS, with_rim


def test_a_rim_is_as_wide_as_said_and_holds_the_bone() -> None:
    own = np.zeros((30, 30, 30), bool)
    own[12:18, 12:18, 12:18] = True
    rim = with_rim(own)
    away = ndimage.distance_transform_edt(~own)
    assert rim[own].all()
    assert rim[away <= RIM_VOXELS].all()
    assert not rim[away > 1.5 * RIM_VOXELS].any()


def test_a_rim_ends_half_way_to_another_bone_and_never_enters_it() -> None:
    own, other = np.zeros((1, 9, 30), bool), np.zeros((1, 9, 30), bool)
    own[..., :10], other[..., 14:] = True, True
    rim = with_rim(own, other)
    assert np.flatnonzero(rim[0, 4]).tolist() == list(range(12))
    assert np.array_equal(with_rim(own, ~own), own), "all around is taken"


def test_a_cut_edge_without_a_rim_loses_bone_when_it_is_interpolated() -> None:
    # The planted truth: moving a blurred ball by half a voxel does not change its volume.
    z, y, x = np.ogrid[:40, :40, :40]
    grey = 40 + 160 / (1 + np.exp((np.sqrt((z - 19.6) ** 2 + (y - 20) ** 2 + (x - 20) ** 2) - 12) * 1.6))
    outline = grey >= 120

    def moved(kept: np.ndarray) -> int:
        there = ndimage.shift(np.where(kept, grey, 0), (0.5, 0.5, 0.5), order=3)
        return int((there >= 120).sum())

    whole = outline.sum()
    assert abs(moved(with_rim(outline)) / whole - 1) < 0.005
    assert moved(outline) / whole - 1 < -0.05
