"""Both hind limbs with planted labels: every bone found, named and outlined, in any pose."""

import numpy as np
import pytest
from segmentation_limbs import Pose, limbs, random_pose

from bonemet.core.errors import InputError, SettingsError
from bonemet.segmentation import limbs as limbs_module
from bonemet.segmentation import naming
from bonemet.segmentation.knee import Knee
from bonemet.segmentation.legs import Tibia
from bonemet.segmentation.limbs import segment_limbs
from bonemet.segmentation.names import LONG_BONES, REVIEW_BAR, Label
from bonemet.segmentation.shafts import Shaft

H = 0.1
SPACING = (H, H, H)
T = 95.0


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / max(1, np.count_nonzero(a) + np.count_nonzero(b))


def scores(found, truth):
    return {Label(k): dice(found.labels == k, truth == k) for k in LONG_BONES}


@pytest.fixture(scope="module")
def plain():
    return limbs(Pose(flexion_deg=(20, 35), splay_deg=(5, 9), z_range_mm=(-17, 8)), H)


@pytest.fixture(scope="module")
def plain_found(plain):
    return segment_limbs(plain[0], SPACING, T)


def test_the_four_long_bones_are_found_and_outlined(plain, plain_found):
    assert min(scores(plain_found, plain[1]).values()) > 0.93
    names = {b.name: b for b in plain_found.bones}
    assert {"left femur", "left tibia", "right femur", "right tibia", "spine"} == set(names)
    for label in LONG_BONES:
        bone = next(b for b in plain_found.bones if b.label == label)
        where = np.argwhere(plain_found.labels == label)
        assert bone.box == (tuple(where.min(0)), tuple(where.max(0) + 1))
        assert bone.voxels == len(where)
        assert bone.confidence >= REVIEW_BAR


def test_bone_voxels_bear_the_right_label(plain, plain_found):
    grey, truth = plain
    bone = (grey >= T) & np.isin(truth, LONG_BONES)
    assert np.mean(plain_found.labels[bone] == truth[bone]) > 0.985


def test_small_bones_of_the_knee_and_the_foot_are_other(plain, plain_found):
    assert dice(plain_found.labels == Label.OTHER, plain[1] == Label.OTHER) > 0.7


def test_bones_are_found_in_a_random_pose_beside_a_bright_table():
    grey, truth = limbs(random_pose(3), H)
    grey[:, -3:] = 180  # along the field's edge, brighter than bone
    result = segment_limbs(grey, SPACING, T)
    found = scores(result, truth)
    assert min(found.values()) > 0.9, found
    assert (result.labels[:, -2] == Label.HOLDER).mean() > 0.9


def test_a_mirrored_scan_with_left_at_high_x_gives_mirrored_labels(plain, plain_found):
    mirrored = segment_limbs(plain[0][:, :, ::-1].copy(), SPACING, T, left="high-x")
    for label in LONG_BONES:
        assert dice(plain_found.labels == label, mirrored.labels[:, :, ::-1] == label) > 0.97


def test_a_stack_upside_down_gives_the_same_names(plain, plain_found):
    turned = segment_limbs(plain[0][::-1].copy(), SPACING, T)
    for label in LONG_BONES:
        assert dice(turned.labels[::-1] == label, plain_found.labels == label) > 0.97


def test_finer_voxels_give_the_same_bones(plain, plain_found):
    doubled = plain[0].repeat(2, 0).repeat(2, 1).repeat(2, 2)[:, :, :-1]  # an odd size at the far end
    fine = segment_limbs(doubled, (H / 2,) * 3, T)
    again = plain_found.labels.repeat(2, 0).repeat(2, 1).repeat(2, 2)[:, :, :-1]
    assert fine.labels.shape == doubled.shape
    for label in LONG_BONES:
        assert dice(fine.labels == label, again == label) > 0.99


def test_one_leg_alone_is_never_sure_of_its_side():
    grey, truth = limbs(Pose(legs=("right",), z_range_mm=(-17, 7)), H)
    found = segment_limbs(grey, SPACING, T)
    assert {b.name for b in found.bones if b.label in LONG_BONES} == {"right tibia", "right femur"}
    assert all(b.confidence < REVIEW_BAR for b in found.bones if b.label in LONG_BONES)
    assert set(found.missing) == {"left tibia", "left femur"}
    assert dice(found.labels == Label.RIGHT_TIBIA, truth == Label.RIGHT_TIBIA) > 0.9


def test_a_tibia_eaten_over_half_its_circumference_keeps_its_outline_and_its_knee():
    pose = Pose(flexion_deg=(20, 35), splay_deg=(5, 9), z_range_mm=(-17, 8), lesion_mm=2.0)
    grey, truth = limbs(pose, H)
    left = truth == Label.LEFT_TIBIA
    whole = limbs(Pose(flexion_deg=(20, 35), splay_deg=(5, 9), z_range_mm=(-17, 8)), H)[0]
    gone = np.count_nonzero(left & (whole >= T)) - np.count_nonzero(left & (grey >= T))
    assert gone > 0.1 * np.count_nonzero(left & (whole >= T))
    result = segment_limbs(grey, SPACING, T)
    assert scores(result, truth)[Label.LEFT_TIBIA] > 0.95
    assert scores(result, truth)[Label.LEFT_FEMUR] > 0.93
    bone = next(b for b in result.bones if b.name == "left tibia")
    assert any("drawn after the other leg" in reason for reason in bone.reasons)


def test_what_is_no_limb_gets_no_name():
    rng = np.random.default_rng(0)
    z, y, x = np.ogrid[:120, :120, :120]
    skull = np.abs(np.sqrt((z - 60) ** 2 + (y - 60) ** 2 + (x - 60) ** 2) - 45) < 3
    grey = np.clip(np.where(skull, 160, 20) + rng.normal(0, 5, skull.shape), 0, 255).astype(np.uint8)
    found = segment_limbs(grey, SPACING, T)
    assert not [b for b in found.bones if b.label in LONG_BONES]
    assert len(found.notes) == 4
    assert "hind limbs" in found.notes[0]


def test_nothing_as_bright_as_bone_is_refused():
    with pytest.raises(InputError, match="as bright as bone"):
        segment_limbs(np.full((20, 20, 20), 40, np.uint8), SPACING, T)
    with pytest.raises(SettingsError, match="low-x"):
        segment_limbs(np.full((20, 20, 20), 140, np.uint8), SPACING, T, left="up")  # type: ignore[arg-type]


@pytest.mark.parametrize(("known", "label"), [(False, Label.OTHER), (True, Label.LEFT_TIBIA)])
def test_a_loose_piece_at_the_knee_is_the_tibias_where_its_fellow_says_so(known, label):
    parts = np.zeros((60, 20, 40), np.int32)
    tibiae, knees = [], []
    for leg, x in enumerate((8, 30)):
        parts[20:55, 8:12, x : x + 4] = 2 * leg + 1
        parts[:14, 8:12, x : x + 4] = 2 * leg + 2
        voxels = np.argwhere(parts == 2 * leg + 1).astype(np.int32)
        ends = np.array([[3.6, 1.0, 0.1 * x + 0.2], [5.4, 1.0, 0.1 * x + 0.2]])
        tibiae.append(Tibia(Shaft(ends, 0.16, voxels), 0, 1.0, 3.0))
        femur = np.argwhere(parts == 2 * leg + 2)
        knees.append(Knee(voxels[voxels[:, 0] < 24], femur, np.array([1.7, 1.0, 0.1 * x + 0.2]), 1.0))
    flake = (slice(17, 20), slice(8, 12), slice(8, 12))
    parts[flake] = 5
    place = np.zeros(parts.shape, bool)
    place[17:55, 7:13, 7:13] = known
    scene = naming.Scene(parts, (0.1, 0.1, 0.1), tuple(tibiae), tuple(knees), "low-x")
    labels = naming.name_parts(scene, {0: place})
    assert (labels[flake] == label).all()
    assert (labels[parts == 1] == Label.LEFT_TIBIA).all()
    assert (labels[parts == 4] == Label.RIGHT_FEMUR).all()


def test_a_foot_that_the_field_cuts_beside_the_ankle_gets_a_seed_of_its_own():
    filled = np.zeros((120, 80, 80), bool)
    filled[10:95, 36:44, 36:44] = True  # a tibia along z, its knee at low z, its ankle 9.4 mm down
    foot = np.zeros_like(filled)
    foot[85:100, 36:44, 62:78] = True  # joined to it by a thin bridge
    filled |= foot
    filled[92:94, 39:41, 44:62] = True
    voxels = np.argwhere(filled & ~foot)
    ends = np.array([[1.5, 4.0, 4.0], [8.5, 4.0, 4.0]])
    tibia = Tibia(Shaft(ends, 0.64, voxels.astype(np.int32)), 0, 1.0, 3.0)
    seeds = {1: voxels[:10], 2: voxels[:0]}
    limbs_module._add_feet(seeds, filled, [tibia], SPACING)
    found = np.zeros_like(filled)
    found[tuple(seeds[3].T)] = True
    assert foot[found].mean() > 0.9
    assert found[foot].mean() > 0.9
