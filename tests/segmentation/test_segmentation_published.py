"""The published method on limbs simple enough for it."""

import numpy as np
import pytest

from bonemet.core.errors import InputError
from bonemet.segmentation.names import Label
from bonemet.segmentation.published import segment_published

SPACING = (0.1, 0.1, 0.1)


def straight_legs():
    """Bars as limbs: the femur in slices 0-29, the tibia in 30-99, thin only at slice 30; a bar as spine."""
    grey = np.full((100, 20, 60), 40, np.uint8)
    grey[:, 5:10, 28:32] = 120
    for x in (8, 48):
        grey[:, 4:12, x : x + 6] = 150
        grey[30, :, x : x + 6] = 40
        grey[30, 7:9, x + 2 : x + 4] = 150
    return grey


def test_it_splits_columns_by_moments_and_limbs_at_the_smallest_slice():
    found = segment_published(straight_legs(), SPACING)
    labels = found.labels
    assert found.details["knee_slices"] == {"left tibia": 30, "right tibia": 30}
    for x, tibia, femur in (
        (8, Label.LEFT_TIBIA, Label.LEFT_FEMUR),
        (48, Label.RIGHT_TIBIA, Label.RIGHT_FEMUR),
    ):
        assert (labels[31:, 4:12, x : x + 6] == tibia).all()
        assert (labels[:30, 4:12, x : x + 6] == femur).all()
    assert (labels[:, 5:10, 28:32] == Label.SPINE).all()
    assert {b.name for b in found.bones} == {
        "spine",
        "left tibia",
        "left femur",
        "right tibia",
        "right femur",
    }


def test_its_threshold_is_above_75():
    grey = straight_legs()
    grey[50, 15, 10], grey[50, 15, 11] = 75, 76
    labels = segment_published(grey, SPACING).labels
    assert labels[50, 15, 10] == 0
    assert labels[50, 15, 11] == Label.LEFT_TIBIA


def test_upside_down_the_longer_part_is_still_the_tibia_and_high_x_may_be_left():
    labels = segment_published(straight_legs()[::-1], SPACING, left="high-x").labels
    assert (labels[:69, 4:12, 8:14] == Label.RIGHT_TIBIA).all()
    assert (labels[70:, 4:12, 48:54] == Label.LEFT_FEMUR).all()


def test_no_bone_is_refused():
    with pytest.raises(InputError, match="bright"):
        segment_published(np.zeros((9, 9, 9), np.uint8), SPACING)
