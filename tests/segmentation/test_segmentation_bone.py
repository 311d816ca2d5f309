"""Compartments of planted tubes, and of a real joint beside IPL's contour."""

from pathlib import Path

import numpy as np
import pytest

from bonemet.core.errors import InputError, SettingsError
from bonemet.segmentation.bone import HUMAN, Sizes, bone_pieces, compartments
from bonemet.segmentation.threshold import half_height, scan_histogram

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


def test_contours_are_the_outermost_pixels():
    bone, disc = tube()
    found = compartments(bone, (H, H, H))
    slices = list(found.contours())
    assert [z for z, _, _ in slices] == list(range(6))
    _, periosteal, endosteal = slices[2]
    assert not (periosteal & ~disc[2]).any()
    radius = H * np.linalg.norm(np.argwhere(periosteal) - 49.5, axis=1)
    assert radius == pytest.approx(0.8, abs=1.5 * H)
    radius = H * np.linalg.norm(np.argwhere(endosteal) - 49.5, axis=1)
    assert radius == pytest.approx(0.6, abs=2.5 * H)


def test_larger_sizes_pass_over_larger_gaps():
    bone, disc = tube()
    bone[:, 30:70, :50] = False  # a gap of 0.8 mm
    assert dice(compartments(bone, (H, H, H)).outline, disc) < 0.9
    assert dice(compartments(bone, (H, H, H), sizes=HUMAN).outline, disc) > 0.95
    with pytest.raises(SettingsError, match="above 0"):
        Sizes(pore_mm=0.0)


def test_pieces_of_noise_are_no_bone():
    bone, _ = tube(depth=12)
    grey = np.where(bone, 200.0, 50.0) + np.random.default_rng(0).normal(0, 40, bone.shape)
    grey[2:4, 5:7, 5:7] = 250.0
    found = bone_pieces(grey, 125.0)
    assert dice(found, bone) > 0.97
    assert not found[:, :12, :12].any()
    with pytest.raises(InputError, match="as bright as bone"):
        bone_pieces(grey, 1000.0)


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared finger joint is not here")
def test_the_outline_of_a_real_joint_is_ipls_where_its_contour_follows_the_bone():
    import SimpleITK as sitk

    image = sitk.ReadImage(str(DATA / "GRAY_JOINT.nii.gz"))
    contour = sitk.ReadImage(str(DATA / "AUTOCONTOUR_IPL.nii.gz"))
    placed = sitk.Resample(contour, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    grey, truth = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(placed) > 0
    bone = bone_pieces(grey, half_height(*scan_histogram(grey)).halfway)
    # Further on, IPL's contour of the second bone runs through its marrow; see the benchmark.
    some = slice(4, 100, 8)
    found = compartments(bone[some], image.GetSpacing()[::-1], sizes=HUMAN)
    assert dice(found.outline, truth[some]) > 0.97
