"""Voxel indices and millimetres turn into each other, whatever the grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bonemet.core.errors import SettingsError
from bonemet.core.grid import Grid

lengths = st.floats(0.001, 5)
places = st.floats(-100, 100)


@st.composite
def grids(draw):
    rotation = Rotation.from_euler("xyz", [draw(st.floats(-3, 3)) for _ in range(3)]).as_matrix()
    return Grid(
        tuple(draw(st.integers(1, 50)) for _ in range(3)),
        tuple(draw(lengths) for _ in range(3)),
        tuple(draw(places) for _ in range(3)),
        tuple(map(tuple, rotation.tolist())),
    )


@given(grids(), st.tuples(places, places, places))
def test_index_to_mm_and_back(grid, index):
    assert np.allclose(grid.mm_to_index(grid.index_to_mm(index)), index, atol=1e-6)


def test_axes_are_zyx_for_indices_and_xyz_for_points():
    grid = Grid((10, 20, 30), (1.0, 2.0, 3.0), (100.0, 200.0, 300.0))
    assert grid.index_to_mm((1, 2, 3)).tolist() == [109.0, 204.0, 301.0]


@given(grids(), st.data())
def test_a_crop_stays_where_it_was(grid, data):
    start = [data.draw(st.integers(0, n - 1)) for n in grid.shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, grid.shape, strict=True)]
    cropped = grid.crop(start, stop)
    assert cropped.shape == tuple(b - a for a, b in zip(start, stop, strict=True))
    assert np.allclose(cropped.index_to_mm((0, 0, 0)), grid.index_to_mm(start), atol=1e-9)
    assert np.allclose(cropped.index_to_mm((2, 1, 3)), grid.index_to_mm(np.add(start, (2, 1, 3))), atol=1e-9)


def test_same_as_sees_a_shift_of_a_tenth_of_a_voxel():
    grid = Grid.isotropic((5, 6, 7), 0.05)
    assert grid.same_as(Grid.isotropic((5, 6, 7), 0.05, (1e-7, 0.0, 0.0)))
    assert not grid.same_as(Grid.isotropic((5, 6, 7), 0.05, (0.005, 0.0, 0.0)))
    assert not grid.same_as(Grid.isotropic((5, 6, 8), 0.05))
    assert not grid.same_as(Grid.isotropic((5, 6, 7), 0.0501))


@pytest.mark.parametrize(("shape", "spacing"), [((0, 1, 1), (1.0, 1.0, 1.0)), ((1, 1, 1), (0.0, 1.0, 1.0))])
def test_senseless_grids_are_refused(shape, spacing):
    with pytest.raises(SettingsError):
        Grid(shape, spacing)


def test_voxel_volume_and_centre():
    grid = Grid((3, 3, 5), (0.1, 0.2, 0.5))
    assert grid.voxel_mm3 == pytest.approx(0.01)
    assert grid.centre_mm.tolist() == pytest.approx([1.0, 0.2, 0.1])
