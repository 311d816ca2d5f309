"""What is nothing but air is left out, and nothing else."""

import numpy as np
import pytest
from recon_phantom import Ellipsoid, geometry, project, truth

from bonemet.core.grid import Grid
from bonemet.recon import air, fdk

LEGS = (
    Ellipsoid((2.3, 0.4, 0.0), (0.7, 0.9, 50.0), 0.03),
    Ellipsoid((-2.0, -1.0, 0.0), (0.5, 0.5, 1.5), 0.20),
)


@pytest.fixture(scope="module")
def scan():
    geo = geometry(columns=192, rows=96, axis_offset_px=1.3)
    return geo, project(geo, LEGS)


def reader(rays):
    return lambda view, first, stop: rays[view, first:stop]


def test_all_but_air_is_the_same_to_the_byte(scan):
    geo, rays = scan
    grid = fdk.default_grid(geo)
    blocks = air.occupied(reader(rays), geo, grid, (0, grid.shape[0]))
    assert 0.05 < blocks.mean() < 0.6
    whole, part = fdk.reconstruct(reader(rays), geo), fdk.reconstruct(reader(rays), geo, blocks=blocks)
    wanted = np.repeat(np.repeat(np.repeat(blocks, 16, 0), 16, 1), 16, 2)
    assert np.array_equal(part[wanted], whole[wanted])
    assert not part[~wanted].any()
    assert not truth(geo, grid, LEGS)[~wanted].any()


@pytest.mark.parametrize("slab", [(0, 16), (5, 37), (64, 96), (95, 96)])
def test_slabs_leave_out_the_same(scan, slab):
    geo, rays = scan
    grid = fdk.default_grid(geo)
    blocks = air.occupied(reader(rays), geo, grid, (0, grid.shape[0]))
    whole = fdk.reconstruct(reader(rays), geo, blocks=blocks)
    part = fdk.reconstruct(reader(rays), geo, slices=slab, blocks=blocks)
    assert np.array_equal(part, whole[slice(*slab)])


def test_other_voxels_and_part_of_the_field(scan):
    geo, rays = scan
    grid = fdk.resampled_grid(geo, 0.11).crop((3, 20, 7), (40, 71, 80))
    blocks = air.occupied(reader(rays), geo, grid, (0, grid.shape[0]))
    wanted = np.repeat(np.repeat(np.repeat(blocks, 16, 0), 16, 1), 16, 2)
    wanted = wanted[tuple(slice(n) for n in grid.shape)]
    assert wanted.shape == grid.shape
    assert not wanted.all()
    assert not truth(geo, grid, LEGS)[~wanted].any()


def test_a_scan_of_nothing_is_left_out_as_a_whole():
    geo = geometry()
    rays = np.zeros((260, geo.rows, geo.columns), np.float32)
    grid = Grid.isotropic((20, 33, 40), geo.pixel_mm)
    assert not air.occupied(reader(rays), geo, grid, (0, 20)).any()
