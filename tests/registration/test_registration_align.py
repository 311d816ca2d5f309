"""Planted poses demanded back; what must not be trusted must be marked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from test_registration_shapes import Pose, error_voxels, femur, image

from bonemet.core.errors import InputError, SettingsError
from bonemet.core.transform import Transform
from bonemet.registration import Options, judge, register, register_published

UPRIGHT = Pose.make(12, (3, -2), (0.3, -0.2, 0.4))


@pytest.fixture(scope="module")
def week_0():
    return image(UPRIGHT, noise=8, seed=1, name="871 week 0 left tibia")


def random_case(seed):
    """A follow-up: any pose, either end up, other gain and type; two of three with lesions, half cropped."""
    rng = np.random.default_rng(seed)
    pose = Pose.make(
        rng.uniform(-180, 180), rng.uniform(-25, 25, 2), rng.uniform(-3, 3, 3), flip=bool(seed % 2)
    )
    foci = [(*rng.uniform((-1, -1.5, 0), (1, 1, 3.5)), rng.uniform(0.4, 1.0)) for _ in range(2 * (seed % 3))]
    keep = (rng.uniform(0, 0.2), rng.uniform(0.8, 1)) if seed % 4 < 2 else (0.0, 1.0)
    dtype = (np.uint8, np.uint16, np.float32)[seed % 3]
    gain = {np.uint8: 130.0, np.uint16: 21000.0, np.float32: 0.7}[dtype] * rng.uniform(0.8, 1.2)
    volume = image(
        pose,
        lesions=foci,
        keep=keep,
        gain=gain,
        offset=0.2 * gain,
        noise=0.06 * gain,
        seed=seed + 1000,
        dtype=dtype,
    )
    return pose, volume


def test_any_pose_is_found(week_0):
    errors = []
    for seed in range(6):
        pose, moving = random_case(seed)
        found = register(week_0, moving)
        errors.append(error_voxels(found.transform, UPRIGHT, pose))
        assert not found.review, (seed, found.reasons)
        assert found.confidence > 0.5
        assert not found.transform.mirrored
        assert found.steps[-1]["spacing_mm"] == pytest.approx(0.1)
    assert max(errors) < 0.2
    assert np.median(errors) < 0.05


def test_both_ways_and_both_starts_agree(week_0):
    pose, moving = random_case(4)
    there = register(week_0, moving).transform
    back = register(moving, week_0, Options(seed=5)).transform
    assert error_voxels(back.after(there), UPRIGHT, UPRIGHT) < 0.2
    assert error_voxels(there, UPRIGHT, pose) < 0.2


def test_voxels_of_any_size_and_shape_and_any_origin():
    pose = Pose.make(-100, (8, 5), (40, -30, 100))
    fixed = image(UPRIGHT, voxel=0.13, noise=6)
    moving = image(pose, voxel=(0.2, 0.09, 0.11), noise=6, seed=2)
    found = register(fixed, moving)
    assert error_voxels(found.transform, UPRIGHT, pose, voxel=0.13) < 0.3
    assert not found.review


def test_the_same_bytes_with_threads_and_again(week_0):
    _, moving = random_case(2)
    first = register(week_0, moving)
    with ThreadPoolExecutor(3) as pool:
        second = register(week_0, moving, mapper=pool.map)
    assert np.array_equal(first.transform.matrix, second.transform.matrix)
    assert (first.correlation, first.confidence) == (second.correlation, second.confidence)


def test_given_angles_are_where_the_search_begins(week_0):
    pose = Pose.make(100)
    moving = image(pose, noise=6)
    near = register(week_0, moving, Options(initial_angles=[np.radians(80)]))
    assert error_voxels(near.transform, UPRIGHT, pose) < 0.2
    far = register(week_0, moving, Options(initial_angles=[np.radians(-60)]))
    assert far.review or error_voxels(far.transform, UPRIGHT, pose) < 0.2


def test_a_larger_bone_is_found_with_a_similarity(week_0):
    grown = np.diag([1.05, 1.05, 1.05, 1.0]) @ Pose.make(70, (5, 5)).matrix
    moving = image(Pose(grown), noise=6)
    found = register(week_0, moving, Options(kind="similarity"))
    scale = np.cbrt(np.linalg.det(found.transform.matrix[:3, :3]))
    assert scale == pytest.approx(1.05, abs=1e-3)
    assert error_voxels(found.transform, UPRIGHT, Pose(grown)) < 0.2
    affine = register(week_0, moving, Options(kind="affine")).transform
    assert error_voxels(affine, UPRIGHT, Pose(grown)) < 0.2


def test_the_other_leg_is_marked_and_mirrored_only_on_request(week_0):
    pose = Pose.make(-130, (10, 4))
    moving = image(pose, side="right", noise=8, seed=3)
    found = register(week_0, moving)
    assert found.review
    assert found.confidence == 0
    assert any("other leg" in r for r in found.reasons)
    assert not found.transform.mirrored
    mirrored = register(week_0, moving, Options(allow_mirror=True))
    assert mirrored.transform.mirrored
    assert any("mirrored" in n for n in mirrored.notes)
    mirror = Pose(pose.matrix @ np.diag([-1.0, 1, 1, 1]))
    assert error_voxels(mirrored.transform, UPRIGHT, mirror) < 0.2


def test_the_same_leg_is_not_mirrored_even_on_request(week_0):
    _, moving = random_case(5)
    assert not register(week_0, moving, Options(allow_mirror=True)).transform.mirrored


def test_another_bone_is_marked(week_0):
    moving = image(Pose.make(30, (5, 5)), shape=femur, noise=8)
    found = register(week_0, moving)
    assert found.review
    assert found.confidence < 0.2


def test_two_ends_of_a_bone_that_share_nothing_are_marked():
    knee = image(Pose.make(0), keep=(0, 0.45), noise=8)
    ankle = image(Pose.make(50), keep=(0.55, 1), noise=8, seed=2)
    assert register(knee, ankle).review


def test_mere_noise_is_marked(week_0):
    noise = np.random.default_rng(0).normal(100, 10, week_0.data.shape).astype(np.uint8)
    assert register(week_0, week_0.with_data(noise)).review


def test_empty_and_broken_stacks_are_refused(week_0):
    for value in (0, 7):
        empty = week_0.with_data(np.full(week_0.data.shape, value, np.uint8))
        with pytest.raises(InputError, match="empty"):
            register(week_0, empty)
        with pytest.raises(InputError, match="empty"):
            register(empty, week_0)
    broken = np.asarray(week_0.data, np.float32).copy()
    broken[:] = np.nan
    with pytest.raises(InputError, match="finite"):
        register(week_0, week_0.with_data(broken))
    speck = np.zeros(week_0.data.shape, np.uint8)
    speck[50, 20, 20] = 255
    with pytest.raises(InputError, match=r"bone|empty"):
        register(week_0, week_0.with_data(speck))


def test_wrong_settings_are_refused(week_0):
    for wrong in ({"kind": "elastic"}, {"metric": "magic"}, {"part": "elbow"}, {"initial_angles": []}):
        with pytest.raises(SettingsError, match=r"elastic|magic|elbow|empty"):
            Options(**wrong)
    for part in ((0.5, 0.2), (-0.1, 0.5), (0.5, 1.5)):
        with pytest.raises(SettingsError, match="rising"):
            Options(part=part)
    with pytest.raises(SettingsError, match="empty"):
        register_published(week_0, week_0, initial_angles=[])


def test_a_pose_from_elsewhere_is_judged(week_0):
    pose, moving = random_case(8)
    truth = Transform(pose.matrix @ np.linalg.inv(UPRIGHT.matrix))
    good = judge(week_0, moving, truth)
    assert not good.review
    off = np.eye(4)
    off[:3, 3] = (0.6, 0.0, 0.0)
    bad = judge(week_0, moving, Transform(off).after(truth))
    assert bad.confidence < good.confidence
    assert bad.correlation < good.correlation
    assert bad.mutual_information < good.mutual_information


def test_the_published_method_lands_and_repeats():
    pose = Pose.make(35, (4, -3), (0.5, 0.2, -0.4))
    fixed = image(Pose.make(0), voxel=0.2, noise=6)
    moving = image(pose, voxel=0.2, noise=6, seed=1)
    found = register_published(fixed, moving, initial_angles=[0.2, 0.5])
    assert error_voxels(found.transform, Pose.make(0), pose, voxel=0.2) < 0.3
    assert not found.review
    again = register_published(fixed, moving, initial_angles=[0.2, 0.5])
    assert np.array_equal(found.transform.matrix, again.transform.matrix)
    with pytest.raises(SettingsError, match="seed"):
        register_published(fixed, moving, seed=0)
