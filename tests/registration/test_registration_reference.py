"""A tibia set upright by its own anatomy: knee first, crest to -y, repeatably."""

from __future__ import annotations

import numpy as np
import pytest
from test_registration_shapes import LENGTH, Pose, image

from bonemet.core.errors import InputError, SettingsError
from bonemet.core.volume import Volume
from bonemet.kernels.resample import resample
from bonemet.registration import anatomical_frame, register

MIRROR = np.diag([-1.0, 1.0, 1.0])


def axes(pose, frame, side="left"):
    """The frame's axes in a left bone's own frame, as columns."""
    own = np.linalg.inv(pose.matrix[:3, :3]) @ frame.transform.matrix[:3, :3]
    return MIRROR @ own @ MIRROR if side == "right" else own


def spread_deg(a, b):
    return np.degrees(np.arccos(np.clip(a @ b, -1, 1)))


@pytest.fixture(scope="module")
def straight():
    pose = Pose.make(0)
    return axes(pose, anatomical_frame(image(pose, noise=6), "left"))


def test_definitions_hold_on_a_bone_that_stands_upright(straight):
    assert spread_deg(straight[:, 2], [0, 0, 1]) < 1.5
    assert spread_deg(straight[:, 1], [0, 1, 0]) < 20  # the planted crest leans a little
    assert np.linalg.det(straight) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(6))
def test_any_pose_and_either_leg_comes_to_the_same_frame(straight, seed):
    rng = np.random.default_rng(seed)
    side = ("left", "right")[seed % 2]
    pose = Pose.make(
        rng.uniform(-180, 180), rng.uniform(-30, 30, 2), rng.uniform(-5, 5, 3), flip=seed in (1, 2, 5)
    )
    frame = anatomical_frame(image(pose, side=side, noise=6, seed=seed), side)
    own = axes(pose, frame, side)
    assert spread_deg(own[:, 2], straight[:, 2]) < 0.3
    assert spread_deg(own[:, 1], straight[:, 1]) < 2.0
    assert not frame.review, frame.reasons
    assert not frame.transform.mirrored


def test_the_upright_stack_holds_the_whole_bone_knee_first():
    volume = image(Pose.make(70, (20, -10), flip=True), noise=0)
    frame = anatomical_frame(volume, "left")
    upright = resample(volume.array(), volume.grid, frame.grid, frame.transform)
    assert frame.grid.spacing_mm == pytest.approx((0.1, 0.1, 0.1))
    assert frame.grid.origin_mm == (0, 0, 0)
    bone = upright > 75
    grey = [np.maximum(data.astype(float) - 10, 0).sum() for data in (upright, volume.array())]
    assert grey[0] == pytest.approx(grey[1], rel=0.01)
    areas = bone.sum((1, 2))
    filled = np.flatnonzero(areas)
    assert (len(filled) * 0.1) == pytest.approx(LENGTH, abs=0.6)
    assert filled[0] > 1
    assert filled[-1] < len(areas) - 2
    width = bone.any(1).sum(1)
    assert width[filled[5]] > 1.2 * width[filled[-6]]


def test_a_follow_up_registers_to_the_upright_week_0():
    first, second = Pose.make(50, (10, 5)), Pose.make(-120, (-8, 12), flip=True)
    week_0 = image(first, noise=6)
    frame = anatomical_frame(week_0, "left")
    data = resample(week_0.array(), week_0.grid, frame.grid, frame.transform)
    upright = Volume(data, frame.grid, week_0.quantity)
    week_3 = image(second, noise=6, seed=9, lesions=[(0.5, -0.5, 2.0, 0.8)])
    found = register(upright, week_3)
    through = Pose(frame.transform.inverse().matrix @ first.matrix)
    p = np.array([[0.5, 0.5, z] for z in np.linspace(2, 12, 9)])
    gap = np.linalg.norm(found.transform.apply(through(p)) - second(p), axis=1)
    assert gap.max() < 0.02


def test_a_bone_named_for_the_other_leg_is_marked():
    frame = anatomical_frame(image(Pose.make(15), side="right"), "left")
    assert frame.review
    assert any("right leg" in r for r in frame.reasons)


def test_a_rod_has_neither_knee_nor_crest():
    def rod(p, h, side, animal):
        return np.clip(0.5 - (np.hypot(p[:, 0], p[:, 1]) - 0.8) / h, 0, 1) * (abs(p[:, 2] - 7) < 7)

    frame = anatomical_frame(image(Pose.make(0, (5, 5)), shape=rod, voxel=0.15), "left")
    assert frame.review
    assert len(frame.reasons) >= 2
    assert frame.confidence == 0


def test_nonsense_is_refused():
    volume = image(Pose.make(0), voxel=0.3)
    with pytest.raises(SettingsError, match="middle"):
        anatomical_frame(volume, "middle")
    with pytest.raises(InputError, match="empty"):
        anatomical_frame(volume.with_data(np.zeros(volume.data.shape, np.uint8)), "left")
