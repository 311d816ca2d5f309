"""Animals in scans: poses, labels, soft tissue, and rendering that does not hang on how it is cut up."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bonemet.core.errors import SettingsError
from bonemet.simulation import (
    EASY,
    LABELS,
    LONG_BONES,
    PoseRanges,
    animal,
    bone_in_own_frame,
    landmarks,
    points_in_bone,
    render,
    scan_pose,
    sizes_of,
)

H = 0.2
SHAPE = (120, 180, 180)
ORIGIN = (-17.9, -17.9, -11.9)


@pytest.fixture(scope="module")
def mouse():
    return animal(11, tumour_side="left")


@pytest.fixture(scope="module")
def pose(mouse):
    return scan_pose(mouse, 3, 1)


@pytest.fixture(scope="module")
def scan(mouse, pose):
    return render(mouse, 3, pose, SHAPE, H, ORIGIN)


def in_bone(pose, bone, points):
    inverse = np.linalg.inv(pose.matrices[bone])
    return points @ inverse[:3, :3].T + inverse[:3, 3]


def test_same_seed_gives_same_bytes(mouse, pose, scan):
    again = render(animal(11, tumour_side="left"), 3, scan_pose(mouse, 3, 1), SHAPE, H, ORIGIN)
    for name in ("labels", "bone", "soft"):
        assert getattr(again, name).tobytes() == getattr(scan, name).tobytes()


def test_threads_give_the_same_bytes(mouse, pose, scan):
    with ThreadPoolExecutor(2) as pool:
        again = render(mouse, 3, pose, SHAPE, H, ORIGIN, mapper=pool.map)
    for name in ("labels", "bone", "soft"):
        assert getattr(again, name).tobytes() == getattr(scan, name).tobytes()


def test_a_part_equals_the_part_of_the_whole(mouse, pose, scan):
    start, stop = (37, 41, 43), (90, 131, 160)
    grid = scan.grid.crop(start, stop)
    part = render(mouse, 3, pose, grid.shape, H, grid.origin_mm)
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    assert np.mean(part.labels != scan.labels[box]) < 1e-5
    assert np.mean(part.soft != scan.soft[box]) < 1e-4
    # rounding of coordinates may move a sample over an edge here and there
    assert np.mean(np.abs(part.bone - scan.bone[box]) > 1.0) < 1e-4


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), week=st.integers(0, 5), bone=st.sampled_from(LONG_BONES))
def test_labels_and_density_are_the_truth_moved_by_the_pose(seed, week, bone):
    mouse = animal(seed % 7, tumour_side="right")
    pose = scan_pose(mouse, week, seed)
    centre = (pose.matrices[bone] @ [0, 0, 13.5 if bone.endswith("femur") else 3.0, 1])[:3]
    origin = tuple(float(v) for v in centre - 1.6)
    got = render(mouse, week, pose, (17, 17, 17), H, origin, supersample=1)
    points = got.grid.index_to_mm(np.argwhere(np.ones((17, 17, 17))))
    truth = points_in_bone(mouse, week, bone, in_bone(pose, bone, points))
    mine = (got.labels == LABELS[bone]).ravel()
    sure = np.abs(truth[:, 0]) > 1e-6
    assert np.array_equal(mine[sure], truth[sure, 0] <= 0)
    share = np.clip(0.5 - truth[:, 1] / H, 0, 1) * truth[:, 2]
    assert got.bone.ravel()[mine] == pytest.approx(share[mine], abs=1.0)


@pytest.mark.parametrize("flexion", [0.0, 30.0, 60.0])
def test_bones_keep_their_volume_in_every_pose_and_never_run_into_each_other(mouse, flexion):
    pose = scan_pose(mouse, 0, 5, ranges=PoseRanges(flexion_deg=(flexion, flexion)))
    got = render(mouse, 0, pose, (320, 180, 180), H, (-17.9, -17.9, -31.9))
    for bone in LONG_BONES:
        mask, _, grid = bone_in_own_frame(mouse, 0, bone, 0.1)
        volume = (got.labels == LABELS[bone]).sum() * got.grid.voxel_mm3
        assert volume == pytest.approx(mask.sum() * grid.voxel_mm3, rel=0.02)
        # joint spaces: no point of a bone lies in another one
        points = got.grid.index_to_mm(np.argwhere(got.labels == LABELS[bone]))
        for other in set(LONG_BONES) - {bone}:
            there = points_in_bone(mouse, 0, other, in_bone(pose, other, points))
            assert there[:, 0].min() > 0


def test_mineral_mass_in_the_scan_is_that_in_the_bones_own_frames(mouse):
    pose = scan_pose(mouse, 3, 9)
    side = "left"
    box = np.array([(pose.matrices[f"{side} tibia"] @ [0, 0, z, 1])[:3] for z in (-0.5, 18.5)])
    low, high = box.min(axis=0) - 2.8, box.max(axis=0) + 2.8
    shape = tuple(int(n) for n in np.ceil((high - low) / 0.15)[::-1])
    got = render(mouse, 3, pose, shape, 0.15, tuple(low.tolist()), supersample=2)
    mine = got.labels == LABELS[f"{side} tibia"]
    _, density, grid = bone_in_own_frame(mouse, 3, f"{side} tibia", 0.08)
    inside = bone_in_own_frame(mouse, 3, f"{side} tibia", 0.08)[0]
    mass = got.bone[mine].sum(dtype=np.float64) * got.grid.voxel_mm3
    # surface voxels whose centre lies outside hold some of the mass on either grid
    assert mass == pytest.approx(density[inside].sum(dtype=np.float64) * grid.voxel_mm3, rel=0.06)


def test_left_is_low_x_hips_up_feet_down_belly_at_low_y(mouse, pose):
    m = pose.matrices
    assert m["left tibia"][0, 3] < m["right tibia"][0, 3]
    for side in ("left", "right"):
        assert (m[f"{side} femur"] @ [0, 0, 0, 1])[2] < m[f"{side} tibia"][2, 3]
        assert (m[f"{side} tibia"] @ [0, 0, 17, 1])[2] > m[f"{side} tibia"][2, 3] + 10
        front = m[f"{side} tibia"][:3, 1]
        assert front[1] < -0.5
    assert np.linalg.det(m["right tibia"][:3, :3]) == pytest.approx(1)
    assert np.linalg.det(m["left tibia"][:3, :3]) == pytest.approx(-1)
    # x of a bone's frame is medial
    assert m["left tibia"][0, 0] > 0.5
    assert m["right tibia"][0, 0] < -0.5


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), week=st.integers(0, 5))
def test_every_pose_is_rigid_within_its_ranges_and_holds_the_tibiae_in_view(seed, week):
    mouse = animal(seed % 13, tumour_side=None)
    pose = scan_pose(mouse, week, seed)
    for matrix in pose.matrices.values():
        assert matrix[:3, :3] @ matrix[:3, :3].T == pytest.approx(np.eye(3), abs=1e-12)
    for side in ("left", "right"):
        femur, tibia = (pose.matrices[f"{side} {bone}"] for bone in ("femur", "tibia"))
        bend = np.degrees(np.arccos(np.clip(femur[:3, 2] @ tibia[:3, 2], -1, 1)))
        assert bend == pytest.approx(pose.flexion_deg[side], abs=1e-3)
        assert 0 <= bend <= 60
        ends = np.array([(tibia @ [0, 0, z, 1])[:3] for z in (0, sizes_of(mouse, side).tibia_mm)])
        assert np.hypot(ends[:, 0], ends[:, 1]).max() < 16
        assert np.abs(ends[:, 2]).max() < 11.4
    tops = [pose.matrices[f"{side} tibia"][2, 3] for side in ("left", "right")]
    assert pose.height_mm == pytest.approx(tops[0] - tops[1])


def test_scans_differ_in_pose(mouse):
    a, b, c = scan_pose(mouse, 0, 1), scan_pose(mouse, 1, 1), scan_pose(mouse, 0, 2)
    assert not np.allclose(a.matrices["left tibia"], b.matrices["left tibia"])
    assert not np.allclose(a.matrices["left tibia"], c.matrices["left tibia"])


def test_the_whole_range_is_used_and_the_easy_one_is_a_part_of_it():
    whole = [scan_pose(animal(s, tumour_side=None), 0, s) for s in range(40)]
    heights = np.array([p.height_mm for p in whole])
    bends = np.array([list(p.flexion_deg.values()) for p in whole])
    assert heights.min() < -2.0
    assert heights.max() > 2.0
    assert np.abs(heights).max() < 0.17 * 18
    assert bends.min() < 5
    assert bends.max() > 55
    easy = [scan_pose(animal(s, tumour_side=None), 0, s, ranges=EASY) for s in range(20)]
    assert max(abs(p.height_mm) for p in easy) < 0.9
    assert all(10 <= f <= 30 for p in easy for f in p.flexion_deg.values())


def test_ranges_that_fit_no_bed_are_refused(mouse):
    with pytest.raises(SettingsError, match="bed"):
        scan_pose(mouse, 0, 1, ranges=PoseRanges(splay_deg=(70.0, 80.0)))


def test_bones_lie_in_flesh_and_flesh_in_the_bed(scan):
    bone = np.isin(scan.labels, [1, 2, 3, 4, 5, 7])
    assert (scan.soft[bone] == 1).all()
    assert {0, 1, 2, 3} == set(np.unique(scan.soft))
    y, x = np.meshgrid(ORIGIN[1] + H * np.arange(180), ORIGIN[0] + H * np.arange(180), indexing="ij")
    radius = np.hypot(x, y)
    assert not scan.soft[:, radius > 18.2].any()
    assert not scan.soft[:, (radius > 17.3) & (radius < 17.6)].any()
    # the holder tube runs all around, the bed below the animal only
    assert (scan.soft[:, (radius > 17.75) & (radius < 18.05)] == 3).all()
    assert (scan.soft[:, (radius > 16.3) & (radius < 17.1) & (y > 3.2)] == 3).all()
    assert not scan.soft[:, (radius > 16.3) & (radius < 17.1) & (y < 2.8)].any()
    assert ((scan.soft == 3) == (scan.labels == 6)).all()
    # flesh around the tibia: air does not touch bone
    assert (scan.bone[scan.soft == 0] == 0).mean() > 0.9999


def test_every_long_bone_and_the_tail_are_in_the_default_view(scan):
    counts = np.bincount(scan.labels.ravel(), minlength=8)
    assert (counts[[1, 2, 3, 4, 5, 6, 7]] > 50).all()


def test_landmarks_lie_within_the_bone_in_the_scan(mouse, pose, scan):
    for side in ("left", "right"):
        truth = landmarks(mouse, 3, f"{side} tibia")
        for name in ("junction", "fusion"):
            point = (pose.matrices[f"{side} tibia"] @ [0.1, 0.1, truth[name], 1])[:3]
            k, j, i = np.round(scan.grid.mm_to_index(point)).astype(int)
            assert scan.labels[k, j, i] == LABELS[f"{side} tibia"]


def test_supersampling_of_nothing_is_refused(mouse, pose):
    with pytest.raises(SettingsError, match="sample"):
        render(mouse, 0, pose, (4, 4, 4), H, (0, 0, 0), supersample=0)
