"""What a scan saw stays the same part of the animal, whatever frame it is told in."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry
from bonemet.core.transform import Transform
from bonemet.core.view import View, both
from bonemet.recon.view import field_of_view

BOX = View(((1.0, 0, 0, 2.0), (-1.0, 0, 0, 1.0), (0, 0, 1.0, 3.0)))


@given(st.lists(st.floats(-3, 3), min_size=6, max_size=6), st.integers(0, 2**31))
def test_a_view_moves_with_its_scan(pose, seed):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", pose[:3]).as_matrix()
    matrix[:3, 3] = pose[3:]
    transform = Transform(matrix)
    points = np.random.default_rng(seed).uniform(-5, 5, (200, 3))
    moved = BOX.seen_through(transform)
    assert np.array_equal(moved.contains(points), BOX.contains(transform.apply(points)))


@given(st.integers(0, 2**31))
def test_slices_agree_with_points(seed):
    rng = np.random.default_rng(seed)
    view = View(tuple((*rng.normal(size=3), float(rng.uniform(0, 1))) for _ in range(4)))
    grid = Grid((3, 5, 7), (0.4, 0.3, 0.2), tuple(rng.uniform(-1, 0, 3)))
    z = int(rng.integers(3))
    y, x = np.mgrid[:5, :7]
    points = grid.index_to_mm(np.stack([np.full_like(y, z), y, x], axis=-1))
    assert np.array_equal(view.slice_mask(grid, z), view.contains(points))


def test_both_is_what_lies_in_both():
    other = View(((0, 1.0, 0, 0.0),))
    points = np.random.default_rng(1).uniform(-3, 3, (500, 3))
    assert np.array_equal(both(BOX, other).contains(points), BOX.contains(points) & other.contains(points))
    assert both(None, other) is other
    assert both(None, None) is None


def test_the_field_of_view_is_what_all_rays_cross():
    """A point is in the field where its shadow falls on the camera in every view around the circle."""
    geometry = ConeGeometry(60, 100, 0.4, 90.0, 150.0, np.arange(450) * 0.8, 1.5, 25.0)
    grid = Grid.isotropic((60, 100, 100), 0.4)
    view = field_of_view(geometry, grid)
    middle = 99 / 2 * 0.4
    rng = np.random.default_rng(2)
    points = rng.uniform(0, [40, 40, 24], (3000, 3))
    x, y, z = (points - [middle, middle, 25 * 0.4]).T
    seen = np.ones(len(points), bool)
    for angle in np.radians(geometry.angles_deg):
        u = x * math.cos(angle) - y * math.sin(angle)
        near = 90.0 / (90.0 - (x * math.sin(angle) + y * math.cos(angle)))
        column = u * near / 0.4 + 99 / 2 + 1.5
        row = z * near / 0.4 + 25
        seen &= (column >= 0) & (column <= 99) & (row >= -0.5) & (row <= 59.5)
    told = view.contains(points)
    assert (seen & ~told).mean() < 0.01
    assert (told & ~seen).mean() < 0.02
    assert 0.2 < seen.mean() < 0.9
