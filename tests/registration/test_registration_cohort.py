"""A reference made from a cohort, and bones set upright by it."""

from __future__ import annotations

import numpy as np
import pytest
from test_registration_shapes import LENGTH, Pose, image, shaft_points
from test_registration_stage import put

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.errors import InputError, SettingsError
from bonemet.io.volumes import open_volume
from bonemet.registration import Model, anatomical_frame, frame_by_model, mean_shape
from bonemet.stages.orient import orient
from bonemet.stages.reference import reference

VOXEL = 0.2
MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])
SIZES = (0.96, 1.0, 1.04)
SIDES = ("left", "right", "left")


def bone(n):
    """One bone in three sizes, poses and forms: its pose, and an image of it."""
    turn = Pose.make((20, -130, 100)[n], ((5, 8), (-12, 3), (9, -9))[n], flip=n == 1)
    pose = Pose(turn.matrix @ np.diag([SIZES[n]] * 3 + [1.0]))
    return pose, image(
        pose, voxel=VOXEL, side=SIDES[n], noise=4, seed=n, name=f"87{n} week 0 {SIDES[n]} tibia"
    )


@pytest.fixture(scope="module")
def cohort():
    return [bone(n) for n in range(3)]


@pytest.fixture(scope="module")
def made(cohort):
    return mean_shape([volume for _, volume in cohort], SIDES)


def places(member, pose):
    """Where points of a bone's own frame (a left one's) lie in the reference."""
    own = MIRROR if member.side == "right" else np.eye(4)
    through = np.linalg.inv(member.transform.matrix) @ pose.matrix @ own
    points = shaft_points()
    return points @ through[:3, :3].T + through[:3, 3]


def test_the_same_places_of_all_bones_come_to_lie_on_each_other(cohort, made):
    seen = [places(member, pose) for member, (pose, _) in zip(made.members, cohort, strict=True)]
    gaps = np.linalg.norm(np.array(seen) - np.mean(seen, axis=0), axis=2)
    assert gaps.mean() < 0.2 * VOXEL
    assert [m.transform.mirrored for m in made.members] == [False, True, False]
    assert made.moved_voxels < 0.1
    assert not any(m.reasons for m in made.members)


def test_no_bone_is_favoured(made):
    scales = np.array([m.scale for m in made.members])
    assert np.exp(np.log(scales).mean()) == pytest.approx(1, abs=0.002)
    assert scales / scales[1] == pytest.approx(SIZES, abs=0.004)


def test_the_mean_stands_upright_by_its_anatomy(made):
    frame = anatomical_frame(made.volume, "left")
    turn = np.degrees(np.arccos(np.diag(frame.transform.matrix[:3, :3])))
    assert turn[2] < 0.4  # a quarter of a voxel over the length
    assert turn[1] < 2.5  # voxels as large as these round the crest off
    assert not frame.review
    filled = np.flatnonzero((made.volume.array() > 75).any((1, 2)))
    assert len(filled) * VOXEL == pytest.approx(LENGTH, abs=0.6)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_bone_cut_short_is_set_upright_as_the_reference_is(made, side):
    pose = Pose.make(75, (12, -10))
    cut = image(pose, voxel=VOXEL, side=side, noise=4, seed=9, keep=(0, 0.9))
    whole = image(pose, voxel=VOXEL, side=side, noise=4, seed=9)
    model = Model(made.volume, "left")
    frames = [frame_by_model(volume, side, model) for volume in (whole, cut)]
    assert not any(f.review for f in frames), [f.reasons for f in frames]
    axes = [f.transform.matrix[:3, :3] for f in frames]
    angles = np.degrees(np.arccos(np.clip(np.sum(axes[0] * axes[1], axis=0), -1, 1)))
    assert angles.max() < 0.5
    assert not frames[0].transform.mirrored
    crest = anatomical_frame(whole, side).transform.matrix[:3, 1]
    assert np.degrees(np.arccos(crest @ axes[0][:, 1])) < 3


def test_a_whole_bones_own_ends_count_where_the_references_are_worn(made):
    worn = made.volume.array().copy()
    worn[: round(1.6 / VOXEL)] = 0  # a mean of unlike bones fades at its ends
    whole = image(Pose.make(75, (12, -10)), voxel=VOXEL, side="left", noise=4, seed=9)
    axis = frame_by_model(whole, "left", Model(made.volume.with_data(worn), "left")).transform.matrix[:3, 2]
    own = anatomical_frame(whole, "left").transform.matrix[:3, 2]
    assert np.degrees(np.arccos(axis @ own)) < 0.1


def test_the_other_leg_does_not_fit_the_reference(cohort, made):
    frame = frame_by_model(cohort[1][1], "left", Model(made.volume, "left"))
    assert frame.review
    assert any("other leg" in reason for reason in frame.reasons)


def test_what_makes_no_mean_is_refused(cohort):
    volumes = [volume for _, volume in cohort]
    with pytest.raises(InputError, match="two"):
        mean_shape(volumes[:1], ["left"])
    with pytest.raises(SettingsError, match="middle"):
        mean_shape(volumes, ["left", "right", "middle"])
    with pytest.raises(SettingsError, match="3 bones"):
        mean_shape(volumes, ["left", "right"])
    other = volumes[1].with_data(volumes[1].data, Quantity(Kind.GREY, (0.0, 0.3), 255))
    with pytest.raises(InputError, match="mean something else"):
        mean_shape([volumes[0], other], ["left", "right"])


def test_a_reference_is_written_and_others_are_set_upright_by_it(cohort, tmp_path):
    stacks = [put(tmp_path / volume.name, volume, volume.name) for _, volume in cohort[:2]]
    done = reference(tmp_path / "ref", stacks, side="right")
    assert [m["mirrored"] for m in done.results["members"]] == [True, False]
    assert open_volume(tmp_path / "ref").name == "reference right tibia"
    up = orient(stacks[0], tmp_path / "up", side="left", model=tmp_path / "ref")
    assert not up.results["review"], up.results["reasons"]
    assert not up.results["mirrored"]
    nameless = put(tmp_path / "bone", cohort[0][1], "bone")
    with pytest.raises(InputError, match="side"):
        reference(tmp_path / "other", [nameless, nameless])
    assert not (tmp_path / "other").exists()
