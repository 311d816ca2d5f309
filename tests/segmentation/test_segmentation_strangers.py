"""Scans of something else: refused, or of low confidence, and never given a wrong name."""

from pathlib import Path

import numpy as np
import pytest
from segmentation_limbs import Pose, limbs

from bonemet.core.errors import InputError
from bonemet.io.volumes import open_volume
from bonemet.segmentation.limbs import segment_limbs
from bonemet.segmentation.names import LONG_BONES
from bonemet.segmentation.threshold import bone_threshold

SKULLS = Path(__file__).parents[2].parent / "shared" / "data" / "mouse-skulls"


@pytest.mark.skipif(not SKULLS.is_dir(), reason="the shared skulls are not here")
@pytest.mark.parametrize("number", [0, 17])
def test_a_real_skull_has_no_bone_of_a_hind_limb_that_is_not_marked(number):
    path = sorted(SKULLS.rglob("*.nii.gz"))[number]
    volume = open_volume(path)
    grey = volume.array()
    found = segment_limbs(grey, volume.grid.spacing_mm, bone_threshold(grey))
    sure = [b for b in found.bones if b.label in LONG_BONES and not b.review]
    assert not sure, sure
    assert found.notes or all(b.review for b in found.bones if b.label in LONG_BONES)


def test_a_stack_face_to_face_the_other_way_round_keeps_its_names():
    """Turned in y, as a stack read from below is mirrored: the left leg still lies at low x."""
    grey, truth = limbs(Pose(z_range_mm=(-13, 6)), 0.1)
    grey, truth = grey[:, ::-1], truth[:, ::-1]
    found = segment_limbs(grey.copy(), (0.1, 0.1, 0.1), 95.0)
    for label in LONG_BONES:
        own = found.labels == label
        assert np.count_nonzero(own & (truth == label)) > 0.9 * np.count_nonzero(truth == label)


def test_a_tube_a_plate_and_dust_get_no_name_that_is_not_marked():
    rng = np.random.default_rng(0)
    _, y, x = np.ogrid[:200, :120, :120]
    tube = np.abs(np.hypot(y - 60.0, x - 60.0) - 12) < 2
    plate = np.broadcast_to(np.abs(x - 20) < 3, (200, 120, 120))
    dust = rng.random((200, 120, 120)) > 0.999
    for shape in (np.broadcast_to(tube, plate.shape), plate, dust):
        grey = np.clip(np.where(shape, 180, 40) + rng.normal(0, 5, shape.shape), 0, 255).astype(np.uint8)
        try:
            found = segment_limbs(grey, (0.1, 0.1, 0.1), 110.0)
        except InputError as error:
            assert "as bright as bone" in str(error)  # noqa: PT017
            continue
        assert not [b for b in found.bones if b.label in LONG_BONES and not b.review]


def test_one_slice_and_a_thin_slab_are_refused_or_marked():
    grey, _ = limbs(Pose(z_range_mm=(-15, 6)), 0.1)
    for slab in (grey[100:101], grey[100:112]):
        try:
            found = segment_limbs(slab, (0.1, 0.1, 0.1), 95.0)
        except InputError:
            continue
        assert not [b for b in found.bones if b.label in LONG_BONES and not b.review]
