"""Growth and normal remodelling: planted amounts come back, and without them nothing changes."""

from dataclasses import replace

import numpy as np
import pytest

from bonemet.simulation import (
    LONG_BONES,
    animal,
    bone_in_own_frame,
    change_truth,
    landmarks,
    points_in_bone,
    scan_pose,
    tibia_change,
    tissue_in_own_frame,
)
from bonemet.simulation.change import beyond_plates
from bonemet.simulation.growth import growth, stature
from bonemet.simulation.truth import bone_volume

RNG = np.random.default_rng(2)


def young(**rest):
    return replace(animal(5, tumour_side=None, age_weeks=7), **rest)


GROWING = young(remodelling=0.0)
STILL = young(remodelling=0.0, growth=0.0)
RESTLESS = replace(animal(5, tumour_side=None, age_weeks=10), growth=0.0)


def test_growth_slows_and_ends():
    weekly = [growth(animal(1, tumour_side=None, age_weeks=a), 1, "left tibia") for a in (6, 8, 12, 20, 40)]
    total = np.array([g.proximal + g.distal for g in weekly])
    assert np.all(np.diff(total) < 0)
    assert 0.1 < total[1] < 0.2
    assert total[3] < 0.01
    assert stature(100, "BALB/c", "female") == pytest.approx(1, abs=1e-6)


def ends(mouse, week, bone):
    """First and last level at which lines along the bone meet it: at a condyle, and in the middle below."""
    z = np.arange(-1.5, 19.0, 0.004)
    lines = [(0.7, -0.3), (0.0, 0.0)] if bone.endswith("tibia") else [(0.0, 0.0), (0.7, -0.5)]
    found = []
    for x, y in lines:
        points = np.stack([np.full_like(z, x), np.full_like(z, y), z], 1)
        found.append(z[points_in_bone(mouse, week, bone, points)[:, 0] <= 0])
    return found[0][0], found[1][-1]


@pytest.mark.parametrize("bone", ["left tibia", "right femur"])
def test_the_bone_is_longer_by_what_was_planted(bone):
    planted = growth(GROWING, 5, bone)
    first, last = zip(*(ends(GROWING, week, bone) for week in (0, 5)), strict=True)
    gain = planted.proximal + planted.distal
    assert gain > 0.2
    assert first[0] - first[1] == pytest.approx(planted.proximal, abs=0.01)
    assert last[1] - last[0] == pytest.approx(planted.distal, abs=0.01)
    marks = [landmarks(GROWING, week, bone) for week in (0, 5)]
    assert marks[1]["length"] - marks[0]["length"] == pytest.approx(gain)
    assert marks[1]["distal_growth_plate"] - marks[0]["distal_growth_plate"] == pytest.approx(planted.distal)


def test_epiphyses_move_as_they_are():
    planted = growth(GROWING, 5, "left tibia")
    points = RNG.uniform((-1.3, -1.0, 0.0), (1.3, 1.0, 0.9), size=(20000, 3))
    before = points_in_bone(GROWING, 0, "left tibia", points)
    after = points_in_bone(GROWING, 5, "left tibia", points - [0, 0, planted.proximal])
    assert after == pytest.approx(before, abs=1e-9)
    points = RNG.uniform((-1.0, -0.8, 16.3), (1.0, 0.8, 17.2), size=(20000, 3))
    before = points_in_bone(GROWING, 0, "left tibia", points)
    after = points_in_bone(GROWING, 5, "left tibia", points + np.array([0, 0, planted.distal]))
    assert after == pytest.approx(before, abs=1e-9)


def test_the_diaphysis_does_not_move():
    points = RNG.uniform((-0.9, -0.9, 6.0), (0.9, 0.9, 12.0), size=(20000, 3))
    before, after = (points_in_bone(GROWING, week, "left tibia", points) for week in (0, 5))
    # it thickens by some hundredths of a millimetre, and no more
    planted = growth(GROWING, 5, "left tibia").thicker
    assert np.abs(after[:, 0] - before[:, 0]).max() <= 1.76 * planted
    near = np.abs(before[:, 0]) < 0.05
    assert np.mean(before[near, 0] - after[near, 0]) == pytest.approx(planted, rel=0.35)


def test_old_trabeculae_stay_and_new_ones_fill_the_gap():
    planted = growth(GROWING, 5, "left tibia")
    plate = landmarks(GROWING, 0, "left tibia")["proximal_growth_plate"]
    old = RNG.uniform((-0.5, -0.5, plate + 0.5), (0.5, 0.3, plate + 1.0), size=(20000, 3))
    before, after = (points_in_bone(GROWING, week, "left tibia", old)[:, 1] <= 0 for week in (0, 5))
    assert np.mean(before == after) > 0.96
    top = plate - planted.proximal
    new = RNG.uniform((-0.5, -0.2, top + 0.2), (0.5, 0.2, plate + 0.1), size=(20000, 3))
    found = points_in_bone(GROWING, 5, "left tibia", new)[:, 1] <= 0
    assert 0.1 < found.mean() < 0.3


def test_joints_keep_their_spaces_when_bones_have_grown():
    for week in (0, 6):
        pose = scan_pose(young(), week, 4)
        femur, tibia = (pose.matrices[f"left {bone}"] for bone in ("femur", "tibia"))
        filled, _, grid = bone_in_own_frame(young(), week, "left tibia", 0.12, supersample=1)
        points = grid.index_to_mm(np.argwhere(filled))
        points = points[points[:, 2] < 2.0]
        inverse = np.linalg.inv(femur) @ tibia
        gap = points_in_bone(young(), week, "left femur", points @ inverse[:3, :3].T + inverse[:3, 3])[
            :, 0
        ].min()
        assert 0.08 < gap < 0.3


def test_growth_is_not_formed_bone():
    change = tibia_change(GROWING, "left", 0, 5, 0.07)
    volumes = change.volumes()
    before = tissue_in_own_frame(GROWING, 0, "left tibia", 0.07)[0]
    parts = volumes["formed_mm3"] - volumes["resorbed_mm3"] + volumes["grown_mm3"]
    assert volumes["bone_volume_mm3"] - before.sum() * 0.07**3 == pytest.approx(parts)
    beyond = beyond_plates(GROWING, "left tibia", 0, 5, change.grid)
    assert not np.isin(change.masks[beyond], (60, 180, 240)).any()
    assert not np.isin(change.masks[~beyond], (20, 110, 200)).any()
    assert volumes["grown_mm3"] > 0.2
    assert volumes["formed_by_disease_mm3"] == volumes["resorbed_by_disease_mm3"] == 0


def test_change_is_the_difference_of_the_volumes():
    mouse = replace(animal(3, tumour_side="left", age_weeks=10), kind="mixed")
    volumes = change_truth(mouse, "left", 0, 3, 0.05)
    gain = bone_volume(mouse, 3, "left tibia", 0.05) - bone_volume(mouse, 0, "left tibia", 0.05)
    parts = volumes["formed_mm3"] - volumes["resorbed_mm3"] + volumes["grown_mm3"]
    assert parts == pytest.approx(gain, abs=0.06)


def test_exact_volume_has_converged():
    coarse, fine = (bone_volume(young(), 0, "left tibia", h) for h in (0.04, 0.02))
    assert coarse == pytest.approx(fine, rel=0.0025)


@pytest.mark.parametrize("bone", LONG_BONES)
def test_without_growth_and_remodelling_nothing_changes(bone):
    first, last = (bone_in_own_frame(STILL, week, bone, 0.1)[1] for week in (0, 12))
    assert first.tobytes() == last.tobytes()


def spongy_change(mouse, week, count=80000):
    """Parts of the trabecular bone below the growth plate that were formed and resorbed until a week."""
    plate = landmarks(mouse, 0, "left tibia")["proximal_growth_plate"]
    points = RNG.uniform((-0.5, -0.5, plate + 0.35), (0.5, 0.35, plate + 1.6), size=(count, 3))
    before, after = (points_in_bone(mouse, w, "left tibia", points) for w in (0, week))
    inside = before[:, 0] < -0.3
    was, now = before[inside, 1] <= 0, after[inside, 1] <= 0
    return (now & ~was).sum() / was.sum(), (was & ~now).sum() / was.sum()


def test_remodelling_has_published_rates():
    formed, resorbed = spongy_change(RESTLESS, 1)
    # about 1 % a day, as planted
    assert 0.03 < formed < 0.11
    assert 0.03 < resorbed < 0.13
    old_formed, old_resorbed = spongy_change(replace(RESTLESS, age_weeks=60.0), 1)
    assert old_formed < 0.75 * formed
    assert old_resorbed < 0.85 * resorbed


def test_remodelling_is_continuous_and_runs_on():
    resorbed = [spongy_change(RESTLESS, week, 40000)[1] for week in (1, 2, 4)]
    assert resorbed[0] < resorbed[1] < resorbed[2] < 0.45


def test_every_long_bone_remodels_in_controls_too():
    for bone in LONG_BONES:
        a, b = (tissue_in_own_frame(RESTLESS, week, bone, 0.1)[0] for week in (0, 3))
        share = np.mean(a[a | b] != b[a | b])
        assert 0.01 < share < 0.2, bone


def test_the_same_seed_remodels_alike():
    again = replace(animal(5, tumour_side=None, age_weeks=10), growth=0.0)
    a, b = (tissue_in_own_frame(m, 2, "left tibia", 0.1)[0] for m in (RESTLESS, again))
    assert np.array_equal(a, b)
    other = replace(RESTLESS, seed=6)
    assert not np.array_equal(a, tissue_in_own_frame(other, 2, "left tibia", 0.1)[0])
