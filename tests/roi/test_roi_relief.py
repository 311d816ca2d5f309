import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from bonemet.roi.growthplate import GrowthPlate, find_growth_plate
from bonemet.roi.landmarks import plate_of
from bonemet.roi.lesions import CoarseBone
from bonemet.roi.relief import Relief, best_surface
from bonemet.simulation import animal
from bonemet.simulation.grey import bone_grid, bone_scene
from bonemet.simulation.skeleton import long_bone, plate_surface


def by_trying_all(score, steepest):
    levels, rows, columns = score.shape
    best, total = None, -np.inf
    for heights in itertools.product(range(levels), repeat=rows * columns):
        h = np.reshape(heights, (rows, columns))
        if (
            max(np.abs(np.diff(h, axis=0)).max(initial=0), np.abs(np.diff(h, axis=1)).max(initial=0))
            <= steepest
        ):
            value = np.take_along_axis(score, h[None], axis=0).sum()
            best, total = (h, value) if value > total else (best, total)
    return best, total


@given(st.integers(0, 10**6), st.sampled_from([(4, 2, 3), (3, 3, 2), (5, 1, 4)]), st.integers(1, 2))
def test_no_other_surface_scores_more(seed, shape, steepest):
    score = np.random.default_rng(seed).integers(-50, 50, shape).astype(float)
    found = best_surface(score, steepest)
    assert np.abs(np.diff(found, axis=0)).max(initial=0) <= steepest
    assert np.abs(np.diff(found, axis=1)).max(initial=0) <= steepest
    total = np.take_along_axis(score, found[None], axis=0).sum()
    assert total == pytest.approx(by_trying_all(score, steepest)[1], abs=0.2)


def test_a_surface_is_found_where_all_scores_are_alike():
    assert best_surface(np.zeros((3, 2, 2)), 1).shape == (2, 2)


def test_heights_lie_at_the_middle_of_their_pixels():
    relief = Relief(np.array([[0.0, 3.0], [6.0, 9.0]]), (2, 4))
    rows, columns = np.array([0.5, 2.5, 0.5, 1.5]), np.array([1.5, 1.5, 5.5, 3.5])
    np.testing.assert_allclose(relief.at(rows, columns), [0, 6, 3, 4.5])
    plate = GrowthPlate(20.0, (0.5, 1.5), (1.0, 0.0), 1.0, relief)
    np.testing.assert_allclose(plate.slices_beyond(np.array([[30, 2.5, 5.5]])), [30 - 22 - 9])


@pytest.mark.parametrize("way", [1, -1])
def test_a_wavy_plate_is_followed(way):
    voxel = 0.05
    z, y, x = np.indices((80, 60, 60)) * voxel
    wave = 0.15 * np.sin(2.5 * x) * np.sin(2.5 * y)
    off = np.abs(z - 1.5 - 0.1 * (y - 1.5) - wave)
    trabeculae = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=z.shape), 1.0)
    grey = 100.0 * (trabeculae > 0.3 * trabeculae.std())
    grey[off < 0.11] = 120.0
    grey[off < 0.05] = 20.0
    r = np.hypot(y - 1.5, x - 1.5)
    grey[(r > 1.2) & (r < 1.4)] = 200.0
    grey[:6][r[:6] < 1.4] = 200.0
    grey[r >= 1.4] = 0.0
    grey = ndimage.gaussian_filter(grey, 0.7)[::way]
    plate = find_growth_plate(grey >= 60, (voxel,) * 3, way, grey)
    rows, columns = (v.ravel() for v in np.indices((60, 60)))
    planted = (1.5 + 0.1 * (rows * voxel - 1.5) + wave[0].ravel()) / voxel
    planted = planted if way > 0 else 79 - planted
    gap = voxel * plate.slices_beyond(np.stack([planted, rows, columns], axis=1))
    inside = np.hypot(rows * voxel - 1.5, columns * voxel - 1.5) < 1.0
    assert np.sqrt(np.mean(gap[inside] ** 2)) < 0.03
    plane = GrowthPlate(plate.slice, plate.middle, plate.slopes, 1.0)
    flat = voxel * plane.slices_beyond(np.stack([planted, rows, columns], axis=1))
    assert np.sqrt(np.mean(flat[inside] ** 2)) > 0.06


def test_plates_of_a_digital_mouse_are_followed():
    mouse, voxel = animal(3, tumour_side=None), 0.05
    grid = bone_grid(mouse, 0, "right tibia", np.eye(4), voxel)
    scan = bone_scene(mouse, 0, "right tibia", np.eye(4), grid, seed=1).volume().values
    bone = CoarseBone(grid.shape, grid.spacing_mm)
    for n, plane in enumerate(scan):
        bone.add(n, plane >= 0.14, plane)
    for zone, way, most in zip(
        long_bone(mouse, 0, "right tibia").shape.zones, (1, -1), (0.08, 0.03), strict=True
    ):
        plate = plate_of(bone, way)
        near = scan[round(plate.slice) - 3 : round(plate.slice) + 4] >= 0.14
        rows, columns = np.nonzero(near.any(axis=0))
        x, y = (grid.origin_mm[n] + voxel * v for n, v in ((0, columns), (1, rows)))
        planted = (plate_surface(zone, x, y) - grid.origin_mm[2]) / voxel
        gap = voxel * plate.slices_beyond(np.stack([planted, rows, columns], axis=1))
        assert np.sqrt(np.mean(gap**2)) < most
