"""Bones that grew or broke between two scans, parts of bones, and how far a pose may be off."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from test_registration_shapes import LENGTH, Pose, error_voxels, image, outline, tibia

from bonemet.core.errors import InputError
from bonemet.core.transform import Piece, Transform
from bonemet.kernels.resample import resample
from bonemet.registration import Fragment, Growth, Options, half, halfway, register
from bonemet.registration.broken import unbroken
from bonemet.registration.rigid import Fit, rotation

UPRIGHT = Pose.make(12, (3, -2), (0.3, -0.2, 0.4))
LATER = Pose.make(-100, (10, 8), (1, 1, 2))
PLATE = 1.2
FOCI = [(0.4, -0.6, 2.5, 1.2), (-0.3, 0.2, 3.4, 0.9)]


def grown(proximal, distal):
    """The tibia with its ends pushed out at growth plates ``PLATE`` from either end."""

    def shape(p, h, side, animal):
        q, z, far = p.copy(), p[:, 2], LENGTH - PLATE
        q[:, 2] = np.where(z < PLATE, np.minimum(z + proximal, PLATE), z)
        q[:, 2] = np.where(z > far, np.maximum(z - distal, far), q[:, 2])
        return tibia(q, h, side, animal)

    return shape


def broken(at, degrees, shift):
    """The tibia whose distal part, from ``at`` on, is turned and shifted."""

    def shape(p, h, side, animal):
        pivot = np.array([0, 0, at])
        moved = (p - pivot - shift) @ rotation(np.radians(degrees)) + pivot
        near = tibia(p, h, side, animal) * (p[:, 2] < at)
        return np.maximum(near, tibia(moved, h, side, animal) * (moved[:, 2] > at))

    return shape


def thicker(more):
    """The tibia with new bone all around its shaft, between the ends grown apart."""

    def shape(p, h, side, animal):
        d = outline(p, side, animal)
        shell = np.clip(0.5 - (d - more) / h, 0, 1) * (d > -0.1)
        return np.maximum(grown(0.2, 0.1)(p, h, side, animal), shell * (abs(p[:, 2] - LENGTH / 2) < 5))

    return shape


@pytest.fixture(scope="module")
def week_0():
    return image(UPRIGHT, noise=8, seed=1)


@pytest.mark.parametrize("planted", [(0.2, 0.05), (0.8, 0.3)])
def test_growth_is_found_and_does_not_pull_the_shaft_along(week_0, planted):
    later = image(LATER, shape=grown(*planted), noise=8, seed=5)
    found = register(week_0, later)
    assert error_voxels(found.transform, UPRIGHT, LATER) < 0.06
    assert (found.growth.proximal_mm, found.growth.distal_mm) == pytest.approx(planted, abs=0.006)
    assert found.growth.total_mm == pytest.approx(sum(planted), abs=0.008)
    assert found.part == (0.25, 0.88)
    assert any("grown" in note and "not new" in note for note in found.notes)
    assert not found.review, found.reasons


def rimmed(volume):
    """The volume cut out: a rim of soft tissue stays about the bone, and nothing beyond it."""
    bone = volume.array() > 75
    near = ndimage.binary_dilation(bone, iterations=3)
    return volume.with_data(np.where(near, np.maximum(volume.array(), 35), 0).astype(np.uint8))


@pytest.mark.parametrize("cut", [rimmed, lambda volume: volume])
def test_a_shaft_that_became_thicker_is_not_taken_for_a_shift(week_0, cut):
    later = image(LATER, shape=thicker(0.04), noise=8, seed=5)
    found = register(cut(week_0), cut(later))
    assert error_voxels(found.transform, UPRIGHT, LATER) < 0.06


def test_a_bone_that_did_not_grow_is_aligned_as_a_whole(week_0):
    found = register(week_0, image(LATER, noise=8, seed=5))
    assert found.part == (0, 1)
    assert (found.growth.proximal_mm, found.growth.distal_mm) == pytest.approx((0, 0), abs=0.006)
    assert not any("grown" in note for note in found.notes)
    assert found.fragments == ()


def test_growth_at_an_end_that_is_not_shown_is_not_known(week_0):
    found = register(week_0, image(LATER, keep=(0.15, 1), noise=8, seed=5))
    cut = [found.growth.proximal_mm, found.growth.distal_mm]
    assert cut.count(None) == 1
    assert found.growth.total_mm is None
    assert len(found.growth.reasons) == 1


@pytest.mark.parametrize(
    ("at", "degrees", "shift"),
    [(6, (0, 0, 0), (0.5, 0, 0)), (9, (0, 15, 0), (0, 0, 0.4)), (6, (8, 0, 0), (0, 0.4, 0))],
)
def test_a_broken_bone_is_marked(week_0, at, degrees, shift):
    found = register(week_0, image(LATER, shape=broken(at, degrees, np.array(shift)), noise=8, seed=5))
    assert found.fragments
    assert found.review
    assert found.confidence == 0
    assert any("broken" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("at", "degrees", "shift"),
    [(2.4, (6, 0, 5), (0.2, 0, 0)), (2.4, (-5, 4, -6), (-0.1, 0.2, 0)), (9, (0, 9, 0), (0, 0.2, 0))],
)
def test_a_piece_that_broke_off_is_put_back(week_0, at, degrees, shift):
    later = image(LATER, shape=broken(at, degrees, np.array(shift)), noise=8, seed=5)
    found = register(week_0, later)
    (fragment,) = found.fragments
    edge = fragment.last if fragment.first == 0 else fragment.first
    assert edge == pytest.approx(at / LENGTH, abs=0.03)
    bone = week_0.array() > 75

    def differ(scan, pieces):
        back = resample(scan.array(), scan.grid, week_0.grid, found.transform, pieces=pieces) > 75
        return (bone ^ back).sum() / bone.sum()

    assert differ(later, ()) > 0.1
    assert differ(later, found.pieces) < differ(image(LATER, noise=8, seed=6), ()) + 0.02


def test_a_stated_part_of_a_broken_bone_stays_the_part(week_0):
    later = image(LATER, shape=broken(2.4, (6, 0, 5), np.array((0.2, 0, 0))), noise=8, seed=5)
    found = register(week_0, later, Options(part=(0.2, 0.7)))
    assert found.part == (0.2, 0.7)
    assert found.fragments


@pytest.mark.parametrize(
    ("ends", "share", "whose"),
    [
        ([(0, 0.17)], (0.25, 0.88), None),
        ([(0, 0.3)], (0.3, 0.88), None),
        ([(0, 0.15), (0.86, 1)], (0.25, 0.86), None),  # both ends broke off a shaft that stayed
        ([(0, 0.31), (0.64, 1)], (0.64, 0.935), 1),  # a pose between two halves
        ([(0.3, 1)], (0.3, 0.935), 0),  # a pose of the smaller piece
    ],
)
def test_the_bone_is_what_did_not_move_or_the_longest_piece(ends, share, whose):
    pose = Fit(np.eye(4), 0.9, 0.9, (1.0, 0.0), 1)
    moved = [Transform(Pose.make(5, (0, 0), (n, 0, 0)).matrix) for n in range(len(ends))]
    pieces = [Piece(t, np.array((0.0, 0, 1)), 0.0) for t in moved]
    fragments = [Fragment(*end, 0.3, piece) for end, piece in zip(ends, pieces, strict=True)]
    fit, rest = unbroken(pose, (0.25, 0.88), fragments)
    assert rest == share
    assert fit.matrix is (pose.matrix if whose is None else moved[whose].matrix)


def test_a_moved_end_of_a_growing_bone_is_no_fragment(week_0):
    found = register(week_0, image(LATER, shape=grown(0.6, 0.2), lesions=FOCI, noise=8, seed=5))
    assert found.fragments == ()


def test_lost_bone_is_no_fragment(week_0):
    found = register(week_0, image(LATER, lesions=FOCI, noise=8, seed=5))
    assert found.fragments == ()
    assert not found.review, found.reasons


def test_a_part_may_be_stated(week_0):
    later = image(LATER, shape=grown(0.5, 0.2), noise=8, seed=6)
    for part in ("diaphysis", "metaphysis", (0.2, 0.7), "0.2:0.7"):
        found = register(week_0, later, Options(part=part))
        assert error_voxels(found.transform, UPRIGHT, LATER) < 0.25
    assert found.part == (0.2, 0.7)
    with pytest.raises(InputError, match="part"):
        register(week_0, later, Options(part=(0.5, 0.501)))


def test_the_expected_error_is_about_the_error():
    ratios, misses = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        pose = Pose.make(rng.uniform(-180, 180), rng.uniform(-20, 20, 2), rng.uniform(-1, 1, 3))
        foci = [(*rng.uniform((-1, -1, 1), (1, 1, 4)), 0.7) for _ in range(seed)]
        first = image(UPRIGHT, voxel=0.14, noise=8 + 4 * seed, seed=seed)
        later = image(pose, voxel=0.14, noise=8 + 4 * seed, seed=50 + seed, lesions=foci)
        found = register(first, later)
        error = 140 * error_voxels(found.transform, UPRIGHT, pose, 0.14)
        ratios.append(error / found.expected_error_um)
        misses.append(error / max(found.expected_error_um, found.inverse_error_um))
    assert 0.3 < np.median(ratios) < 3
    assert max(misses) < 4


def test_a_rough_pose_by_hand_is_refined_without_a_search(week_0):
    later = image(LATER, noise=8, seed=5)
    truth = LATER.matrix @ np.linalg.inv(UPRIGHT.matrix)
    rough = truth.copy()
    rough[:3, :3] = rotation(np.radians([3, -2, 4])) @ rough[:3, :3]
    rough[:3, 3] = (
        truth[:3, 3] + (truth[:3, :3] - rough[:3, :3]) @ UPRIGHT([[0, 0, 7.0]])[0] + [0.2, -0.2, 0.1]
    )
    found = register(week_0, later, Options(start=Transform(rough)))
    assert error_voxels(found.transform, UPRIGHT, LATER) < 0.1
    assert any("given" in note for note in found.notes)


def test_correlation_is_a_metric_too(week_0):
    found = register(week_0, image(LATER, noise=8, seed=5, gain=90), Options(metric="correlation"))
    assert error_voxels(found.transform, UPRIGHT, LATER) < 0.1


def test_halfway_both_are_turned_alike(week_0):
    whole = Transform(LATER.matrix @ np.linalg.inv(UPRIGHT.matrix))
    one = half(whole)
    assert np.allclose(one.after(one).matrix, whole.matrix)
    assert one.angle_deg == pytest.approx(whole.angle_deg / 2)
    grid, to_fixed = halfway(week_0, whole)
    to_moving = whole.after(to_fixed)
    assert to_fixed.angle_deg == pytest.approx(to_moving.angle_deg)
    assert np.allclose(to_fixed.inverse().matrix, to_moving.matrix)
    knee = to_fixed.inverse().apply(UPRIGHT([[0, 0, 0.2], [0, 0, LENGTH - 0.2]]))
    index = grid.mm_to_index(knee)
    assert (index > 0).all()
    assert (index < np.array(grid.shape) - 1).all()


@pytest.mark.parametrize(
    ("ends", "standing"),
    [
        ((0.0, 0.0), (True, True)),
        ((-0.0044, 0.0025), (True, True)),  # none becomes shorter: the shaft was laid too far along its axis
        ((0.006, 0.004), (False, True)),
        ((-0.05, 0.08), (False, False)),  # so far in that something else is amiss
        ((None, -0.001), (False, True)),
    ],
)
def test_ends_that_have_not_grown_are_known(ends, standing):
    assert Growth(*ends).standing(0.005) == standing
