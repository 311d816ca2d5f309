"""Compartments of planted tubes, and of a real joint beside IPL's contour."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from bonemet.core.errors import InputError
from bonemet.segmentation.bone import compartments

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "finger-joint-hrpqct"
H = 0.02


def tube(outer=0.8, inner=0.6, size=100, depth=6, shift=(0.0, 0.0)):
    y, x = (np.arange(size) - size / 2 + 0.5) * H, (np.arange(size) - size / 2 + 0.5) * H
    r = np.hypot(y[:, None] - shift[0], x - shift[1])
    ring = (r <= outer) & (r > inner)
    return np.repeat(ring[None], depth, 0), np.repeat((r <= outer)[None], depth, 0)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_a_tube_falls_into_cortex_and_marrow():
    bone, disc = tube()
    found = compartments(bone, (H, H, H))
    assert np.array_equal(found.outline, disc)
    assert dice(found.trabecular, disc & ~bone) > 0.98
    assert dice(found.cortical, bone) > 0.97


def test_compartments_are_parts_of_the_outline():
    rng = np.random.default_rng(3)
    bone = tube()[0] & (rng.random((6, 100, 100)) > 0.02)
    found = compartments(bone, (H, H, H))
    assert not (found.cortical & found.trabecular).any()
    assert np.array_equal(found.cortical | found.trabecular, found.outline)


def test_trabeculae_belong_to_the_marrow_space_and_pores_to_the_cortex():
    bone, disc = tube()
    plain = compartments(bone, (H, H, H))
    bone[:, 48:52] |= disc[:, 48:52]  # a plate of 0.08 mm through the marrow
    bone[:, 50, 50 + 34 : 50 + 36] = False  # a pore of 0.04 mm in the wall
    found = compartments(bone, (H, H, H))
    assert dice(found.trabecular, plain.trabecular) > 0.97
    assert found.cortical[3, 50, 84]


def test_the_outer_contour_passes_over_a_perforation():
    bone, disc = tube()
    bone[:, 40:60, :30] = False  # a hole of 0.4 mm
    assert dice(compartments(bone, (H, H, H)).outline, disc) > 0.985


def test_a_slab_has_the_contours_of_the_whole():
    bone, _ = tube(depth=8)
    bone[5:, 45:55] = True
    whole, part = compartments(bone, (H, H, H)), compartments(bone[2:6], (H, H, H))
    assert np.array_equal(whole.trabecular[2:6], part.trabecular)


def test_grey_values_with_a_threshold_equal_their_mask():
    bone, _ = tube()
    grey = np.where(bone, 120, 40).astype(np.uint8)
    assert np.array_equal(
        compartments(grey, (H, H, H), threshold=76).trabecular, compartments(bone, (H, H, H)).trabecular
    )


def test_nothing_is_refused():
    with pytest.raises(InputError, match="no bone"):
        compartments(np.zeros((3, 5, 5), bool), (H, H, H))


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared finger joint is not here")
def test_the_outline_of_a_real_joint_is_near_ipls():
    import SimpleITK as sitk

    grey = sitk.ReadImage(str(DATA / "GRAY_JOINT.nii.gz"))
    contour = sitk.ReadImage(str(DATA / "AUTOCONTOUR_IPL.nii.gz"))
    placed = sitk.Resample(contour, grey, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    truth, volume = sitk.GetArrayFromImage(placed) > 0, sitk.GetArrayFromImage(grey)
    # Where both bones have a closed cortex; farther on, the second bone's is thinner than a voxel.
    for z in range(10, 107, 24):
        smooth = ndimage.gaussian_filter(volume[z - 1 : z + 2].astype(np.float32), 0.8)[1]
        pieces, _ = ndimage.label(smooth >= 600)
        bone = (np.bincount(pieces.ravel()) >= 60)[pieces] & (pieces > 0)
        found = compartments(bone[None], grey.GetSpacing()[::-1])
        assert dice(found.outline[0], truth[z]) > 0.94
