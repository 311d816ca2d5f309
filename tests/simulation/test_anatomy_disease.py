"""Disease: grows in one tibia, from week 0 on, and nowhere else."""

import numpy as np
import pytest

from bonemet.core.errors import SettingsError
from bonemet.simulation import (
    animal,
    bone_in_own_frame,
    change_masks,
    change_truth,
    landmarks,
    points_in_bone,
)

H = 0.05


@pytest.mark.parametrize("seed", [1, 1001, 1002, 1003])
def test_week_three_has_lost_and_formed_a_sizeable_part(seed):
    mouse = animal(seed, tumour_side="right")
    change = change_truth(mouse, "right", 0, 3, H)
    before = change["unchanged_mm3"] + change["resorbed_mm3"]
    assert 0.04 < change["resorbed_mm3"] / before < 0.18
    assert 0.5 < change["resorbed_mm3"] < 2.6
    assert change["formed_mm3"] > 0.4


def test_lesions_only_grow():
    mouse = animal(2, tumour_side="left")
    lost = [change_truth(mouse, "left", 0, week, H)["resorbed_mm3"] for week in (0, 1, 2, 3, 5)]
    assert lost[0] == 0
    assert np.all(np.diff(lost) > 0)


def test_treated_lesions_grow_more_slowly():
    plain, treated = (animal(2, tumour_side="left", treated=t) for t in (False, True))
    slow, fast = (change_truth(m, "left", 0, 4, H)["resorbed_mm3"] for m in (treated, plain))
    assert 0 < slow < 0.6 * fast


def test_week_zero_carries_no_sign():
    sick, well = animal(4, tumour_side="left"), animal(4, tumour_side=None)
    for part in ("left tibia", "right tibia"):
        a, b = (bone_in_own_frame(m, 0, part, 0.1) for m in (sick, well))
        assert np.array_equal(a[1], b[1])


@pytest.mark.parametrize("bone", ["right tibia", "left femur", "right femur"])
def test_no_other_bone_ever_changes(bone):
    mouse = animal(4, tumour_side="left")
    first, last = (bone_in_own_frame(mouse, week, bone, 0.1)[1] for week in (0, 5))
    assert np.array_equal(first, last)


def test_controls_do_not_change():
    change = change_truth(animal(4, tumour_side=None), "left", 0, 5, 0.1)
    assert change["formed_mm3"] == 0
    assert change["resorbed_mm3"] == 0


def test_trabeculae_go_before_cortex():
    mouse = animal(6, tumour_side="left")
    rng = np.random.default_rng(0)
    points = rng.uniform((-1.3, -1.3, 1.5), (1.3, 1.5, 5.0), size=(150000, 3))
    base = points_in_bone(mouse, 0, "left tibia", points)
    tissue = base[:, 1] <= 0
    cortex = tissue & (base[:, 2] == mouse.sizes.cortical_tmd)
    spongy = tissue & (base[:, 2] == mouse.sizes.trabecular_tmd)

    def lost(week):
        now = points_in_bone(mouse, week, "left tibia", points)[:, 1] > 0
        return (now & cortex).sum() / cortex.sum(), (now & spongy).sum() / spongy.sum()

    early, late = lost(1), lost(4)
    assert early[1] > 0.02
    assert early[0] < 0.3 * early[1]
    assert late[0] > 0.05


def test_late_lesions_perforate_the_cortex():
    mouse = animal(6, tumour_side="left")
    rng = np.random.default_rng(0)
    points = rng.uniform((-1.3, -1.3, 2.2), (1.3, 1.5, 4.5), size=(150000, 3))
    base, late = (points_in_bone(mouse, week, "left tibia", points) for week in (0, 4))
    skin = np.abs(base[:, 0] + 0.02) < 0.02
    assert (late[skin, 1] > 0.1).any()


def test_new_bone_is_thick_enough_to_be_seen():
    mouse = animal(6, tumour_side="left")
    change, grid = change_masks(mouse, "left", 0, 3, 0.05)
    formed = np.argwhere(change == 240)
    base = points_in_bone(mouse, 0, "left tibia", grid.index_to_mm(formed))
    height = base[:, 0]
    assert height.min() > -0.05
    assert 0.15 < height.max() < 0.36


def test_composite_greys_are_complete():
    mouse = animal(6, tumour_side="left")
    change, grid = change_masks(mouse, "left", 0, 3, 0.1)
    assert set(np.unique(change)) == {0, 60, 180, 240}
    volumes = change_truth(mouse, "left", 0, 3, 0.1)
    assert volumes["formed_mm3"] == pytest.approx((change == 240).sum() * grid.voxel_mm3)


def test_junction_stays_where_it_was():
    mouse = animal(6, tumour_side="left")
    before, after = (landmarks(mouse, week, "left tibia") for week in (0, 3))
    assert after["junction"] == pytest.approx(before["junction"], abs=0.05)


def test_weeks_beyond_the_study_are_refused():
    with pytest.raises(SettingsError):
        bone_in_own_frame(animal(1, tumour_side="left"), 99, "left tibia", 0.2)
    with pytest.raises(SettingsError):
        change_truth(animal(1, tumour_side="left"), "both", 0, 1, 0.2)
