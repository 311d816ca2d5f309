"""Outlines at their true place: blurred walls of any thickness, joints, and bones that disease has eaten."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bonemet.segmentation import joints, mirror, outline, sesamoids, walls
from bonemet.segmentation.eaten import find_eaten
from bonemet.segmentation.knee import Knee
from bonemet.segmentation.legs import Tibia
from bonemet.segmentation.naming import Scene
from bonemet.segmentation.shafts import Shaft

SOFT, BONE = 45.0, 270.0


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def blurred_shell(radius, wall, blur, size=44, fine=3):
    """A hollow ball, sampled finely and blurred; returns grey values and the filled truth."""
    n = size * fine
    axis = (np.arange(n) - n / 2 + 0.5) / fine
    r = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    solid = ((r < radius) & (r > radius - wall)).astype(np.float32)
    solid = ndimage.gaussian_filter(solid, blur * fine)[
        fine // 2 :: fine, fine // 2 :: fine, fine // 2 :: fine
    ]
    grey = SOFT + (BONE - SOFT) * solid
    noise = np.random.default_rng(0).normal(0, 3, grey.shape)
    truth = r[fine // 2 :: fine, fine // 2 :: fine, fine // 2 :: fine] < radius
    return np.clip(np.rint(grey + noise), 0, 255).astype(np.uint8), truth


@given(st.floats(0.3, 12.0), st.floats(0.5, 2.0))
def test_a_walls_top_tells_the_value_at_its_face(thick, blur):
    x = np.linspace(-20, 20, 8001)
    wall = ((x <= 0) & (x > -thick)).astype(float)
    seen = ndimage.gaussian_filter1d(wall, blur / (x[1] - x[0]))
    face = float(np.interp(0.0, x, seen))
    assert float(walls.edge_share(np.array([seen.max()]), np.zeros(1))[0]) == pytest.approx(face, abs=0.02)


@pytest.mark.parametrize(("radius", "inner"), [(7.0, 4.5), (10.0, 7.0), (3.0, 0.0), (1.8, 0.0)])
def test_the_face_of_a_bent_wall_and_of_a_rod_is_told_from_its_top(radius, inner):
    blur, step = 1.0, 0.05
    axis = np.arange(-radius - 6, radius + 6, step)
    r = np.hypot(axis[:, None], axis)
    seen = ndimage.gaussian_filter(((r < radius) & (r >= inner)).astype(float), blur / step)
    line = seen[len(axis) // 2]
    face = float(np.interp(radius, axis[len(axis) // 2 :], line[len(axis) // 2 :]))
    told = float(walls.edge_share(np.array([line.max()]), np.array([blur / radius]))[0])
    assert told == pytest.approx(face, abs=0.02)


@pytest.mark.parametrize("wall", [1.2, 2.0, 4.0])
def test_the_outline_stands_at_the_face_of_thick_and_thin_walls(wall):
    grey, truth = blurred_shell(15.0, wall, 1.0)
    rough = ndimage.binary_fill_holes(grey >= 95)
    found = outline.trace(grey, rough, np.ones_like(rough), walls.Levels(SOFT, BONE, 1.0))
    assert dice(found, truth) > 0.99
    assert dice(rough, truth) < 0.97  # what a threshold makes of it
    assert np.count_nonzero(found) == pytest.approx(np.count_nonzero(truth), rel=0.015)


def test_slabs_of_the_outline_are_the_whole(monkeypatch):
    grey, _ = blurred_shell(15.0, 2.0, 1.0)
    rough = ndimage.binary_fill_holes(grey >= 95)
    own, levels = np.ones_like(rough), walls.Levels(SOFT, BONE, 1.0)
    whole = outline.trace(grey, rough, own, levels)
    monkeypatch.setattr(outline, "SLAB", 13)
    assert np.array_equal(outline.trace(grey, rough, own, levels), whole)


def test_where_there_is_no_wall_the_outline_stays():
    grey, truth = blurred_shell(15.0, 3.0, 1.0)
    grey[:, :, 30:] = SOFT
    body = ndimage.binary_dilation(truth)
    found = outline.trace(grey, body, np.ones_like(body), walls.Levels(SOFT, BONE, 1.0))
    assert np.array_equal(found[:, :, 34:], body[:, :, 34:])
    assert dice(found[:, :, :26], truth[:, :, :26]) > 0.985


def test_an_outline_keeps_to_its_own_place():
    grey, truth = blurred_shell(15.0, 3.0, 1.0)
    own = np.ones_like(truth)
    own[:15] = False
    found = outline.trace(grey, truth & own, own, walls.Levels(SOFT, BONE, 1.0))
    assert not found[:15].any()
    assert dice(found, truth & own) > 0.985


@pytest.mark.parametrize("blur", [0.8, 1.2])
def test_levels_are_found_from_walls_as_thick_as_a_shafts(blur):
    grey, truth = blurred_shell(15.0, 3.5 * blur, blur)
    surface = outline.surface_points(truth, 300)
    found = walls.find_levels([(grey, surface, surface.points[:, 0])], 255.0)
    assert found.soft == pytest.approx(SOFT, abs=2)
    assert found.bone - SOFT == pytest.approx(BONE - SOFT, rel=0.06)
    assert found.blur == pytest.approx(blur, abs=0.2)


def test_two_labels_meet_in_the_dark_between_bones():
    grey = np.full((12, 14, 30), 40.0)
    grey[:, :, 4:13] = grey[:, :, 16:26] = 200.0
    grey = ndimage.gaussian_filter(grey, 1.0)
    sure = np.zeros(grey.shape, np.uint8)
    sure[:, :, 5], sure[:, :, 25] = 3, 2
    parted = joints.part_along_dark(grey, sure, np.ones(grey.shape, bool))
    assert (parted[:, :, :14] == 3).all()
    assert (parted[:, :, 15:] == 2).all()


def test_a_small_bone_that_touches_a_large_one_is_parted_from_it():
    z, y, x = np.ogrid[:60, :44, :44]
    r = np.sqrt((z - 22) ** 2 + (y - 22) ** 2 + (x - 22) ** 2)
    small = (z - 44) ** 2 + (y - 22) ** 2 + (x - 22) ** 2 < 5**2
    solid = ((r < 16) & (r > 13) | small).astype(float)
    grey = SOFT + (BONE - SOFT) * ndimage.gaussian_filter(solid, 1.0)
    body = ndimage.binary_fill_holes(grey >= 75)
    assert ndimage.label(body)[1] == 1
    own, levels, spacing = (
        ndimage.binary_dilation(body, iterations=2),
        walls.Levels(SOFT, BONE, 1.0),
        (0.08,) * 3,
    )
    found = sesamoids.touching(grey, body, own, levels, spacing, lambda _: True)
    assert found[small].mean() > 0.97
    assert not found[np.broadcast_to(r < 16, found.shape)].any()
    assert not sesamoids.touching(grey, body, own, levels, spacing, lambda _: False).any()
    apart = body.copy()
    apart[38:40] = False
    kept = sesamoids.without_loose(apart, spacing, lambda voxel: voxel[0] > 40)
    assert not kept[40:].any()
    assert np.array_equal(kept[:40], apart[:40])


def test_a_fabella_is_a_small_bone_and_a_trabecula_is_not():
    spacing = (0.08,) * 3
    z, y, x = np.ogrid[:60, :44, :44]
    r = np.sqrt((z - 22) ** 2 + (y - 22) ** 2 + (x - 22) ** 2)
    fabella = ((z - 43) / 2.4) ** 2 + ((y - 22) / 2.2) ** 2 + ((x - 22) / 3.0) ** 2 < 1  # 0.4 mm
    trabecula = ((z - 22) / 2.0) ** 2 + ((y - 22) / 2.2) ** 2 + ((x - 22) / 3.0) ** 2 < 1
    solid = ((r < 16) & (r > 13) | fabella | trabecula).astype(float)
    grey = SOFT + (BONE - SOFT) * ndimage.gaussian_filter(solid, 1.0)
    body = ndimage.binary_fill_holes(grey >= 75)
    own = ndimage.binary_dilation(body, iterations=2)
    found = sesamoids.touching(grey, body, own, walls.Levels(SOFT, BONE, 1.0), spacing, lambda _: True)
    assert found[fabella].mean() > 0.97
    assert not found[np.broadcast_to(r < 16, found.shape)].any()


def test_the_gap_between_two_bones_that_are_one_at_both_ends_is_no_hole():
    spacing = (0.08,) * 3
    z, y, x = np.ogrid[:60, :24, :40]
    tube = (np.hypot(y - 12, x - 12) < 8) & (np.hypot(y - 12, x - 12) > 5)
    rod = np.hypot(y - 12, x - 30) < 3
    bridges = ((z < 6) | (z >= 54)) & (abs(y - 12) < 3) & (x > 12) & (x < 30)
    body = np.broadcast_to(tube, (60, 24, 40)) | rod | bridges
    found = outline.filled(body, np.ones_like(body), spacing)
    inside = np.broadcast_to(np.hypot(y - 12, x - 12) < 8, found.shape)
    assert found[inside].all()
    assert not (found & ~inside & ~body).any()


def test_the_shell_of_an_epiphysis_is_no_small_bone():
    spacing = (0.08,) * 3
    z, y, x = np.ogrid[:40, :48, :48]
    solid = ((z - 20) ** 2 / 6**2 + (y - 24) ** 2 / 15**2 + (x - 24) ** 2 / 17**2) < 1  # 2.7 mm wide
    shell = solid & ~ndimage.binary_erosion(solid, iterations=2)
    small = (z - 20) ** 2 / 6**2 + (y - 24) ** 2 / 7**2 + (x - 24) ** 2 / 11**2 < 1  # 1.8 mm long
    nothing = np.zeros(shell.shape, bool)
    assert sesamoids._stands_alone(np.broadcast_to(small, shell.shape), nothing, spacing)
    assert not sesamoids._stands_alone(shell, nothing, spacing)


def bent_bone():
    """A crooked, tapering bone with a process: no turn lays it upon itself."""
    z, y, x = np.ogrid[:90, :40, :44]
    shaft = np.hypot(y - 18 - 0.05 * z, x - 20 - 3 * np.sin(z / 30)) < 9 - 0.05 * z
    process = (z - 25) ** 2 + (y - 27) ** 2 + (x - 30) ** 2 < 49
    return shaft & (z > 4) & (z < 85) | process


@settings(max_examples=5, deadline=None)
@given(st.floats(-180, 180), st.floats(-20, 20), st.floats(-0.5, 0.5))
def test_an_eaten_bone_finds_its_place_in_its_mirrored_fellow(turn, lean, shift):
    h = 0.1
    fellow = bent_bone()
    model = mirror.pattern(fellow, (h, h, h))
    ends = np.array([84, 22.2, 21.0]) * h, np.array([-1.0, 0.0, 0.0])
    points = mirror.surface_mm(fellow, (h, h, h), 1500)
    points = points[points[:, 0] > 2.6]  # its upper part is gone
    rotation = Rotation.from_euler("zyx", [0, np.radians(lean), 0]) * Rotation.from_rotvec(
        [np.radians(turn), 0, 0]
    )
    motion = rotation.as_matrix() @ mirror.FLIP
    moved = points @ motion.T + 7.0
    end = motion @ (ends[0] + [shift, 0, 0]) + 7.0, motion @ ends[1]
    found = mirror.lay(moved, model, end, ends)
    assert found.good
    assert np.linalg.norm(found.apply(moved) - points, axis=1).max() < 0.12


@settings(max_examples=5, deadline=None)
@given(st.floats(-10, 10), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_a_broken_end_is_laid_by_itself_and_whole_bones_have_none(lean, aside, along):
    h, edge, up = 0.1, 3.4, np.array([-1.0, 0.0, 0.0])
    whole = bent_bone()
    model = mirror.pattern(whole, (h, h, h))
    points = mirror.surface_mm(whole, (h, h, h), 1500)
    above = points[:, 0] < edge
    turn = Rotation.from_euler("zyx", [0, np.radians(lean), 0]).as_matrix()
    middle = points[above].mean(axis=0)
    broken = points.copy()
    broken[above] = (points[above] - middle) @ turn.T + middle + [along, aside, 0.0]
    lies = mirror.Fellow(np.eye(3), np.zeros(3), np.zeros(3), 1.0)
    assert mirror.with_fragment(points, model, lies, up).fragment is None
    start = mirror.settle(broken, model, lies)
    found = mirror.with_fragment(broken, model, start, up)
    if found.fragment is None:  # it has hardly moved
        assert start.close > 0.85
        return
    gap = np.linalg.norm(found.apply(broken) - points, axis=1)
    assert np.percentile(gap, 90) < 0.12
    here, there = np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])
    assert np.allclose(found.shifted(here, there).apply(broken + here), found.apply(broken) + there)


@pytest.mark.parametrize("first", [0, 8])
def test_walls_that_the_field_cuts_are_no_small_bones(first):
    grey = np.full((40, 60, 60), 20, np.uint8)
    z, y, x = np.ogrid[:40, :60, :60]
    radius = np.hypot(y - 30, x - 30)
    wall = np.broadcast_to((radius < 12) & (radius >= 9), grey.shape)
    grey[wall] = 90
    piece = wall & (z >= first) & (z < first + 14)
    grey[piece] = 200  # a ring, as large as a patella
    levels = walls.Levels(20.0, 200.0, 0.7)
    found = sesamoids.touching(grey, wall.copy(), wall.copy(), levels, (0.08,) * 3, lambda voxel: True)
    assert found.any() == (first > 0)


def test_the_tibia_that_lacks_more_is_found_though_it_is_the_larger_one():
    h = 0.1
    whole = bent_bone()
    z, y, x = np.ogrid[:90, :40, :44]
    hole = whole & ((z - 50) ** 2 + (y - 15) ** 2 + (x - 23) ** 2 < 30)
    thicker = ndimage.binary_dilation(whole) & (z > 55)  # by a film
    eaten = (whole | thicker) & ~hole
    assert eaten.sum() > whole.sum()
    filled = np.concatenate([eaten, whole[:, :, ::-1]], axis=2)
    parts = np.zeros(filled.shape, np.int32)
    parts[:, :, :44][eaten], parts[:, :, 44:][whole[:, :, ::-1]] = 1, 3
    tibiae = []
    for x_mm in (2.1, 8.7 - 2.1):
        ends = np.array([[0.6, 1.8, x_mm], [8.4, 2.2, x_mm]])
        tibiae.append(Tibia(Shaft(ends, 1.2, np.zeros((0, 3), np.int32)), 0, 1.0, 3.0))
    knee = Knee(np.zeros((0, 3), np.int64), np.zeros((0, 3), np.int64), np.zeros(3), 0.0)
    scene = Scene(parts, (h, h, h), tuple(tibiae), (knee, knee), "low-x")
    found = find_eaten(scene, filled)
    assert found is not None
    assert found.leg == 0
    assert found.lost_mm3 == pytest.approx(hole.sum() * h**3, rel=0.35)
    missed = np.zeros(filled.shape, bool)
    missed[:, :, :44] = hole
    assert (found.lost & missed).sum() > 0.6 * hole.sum()
