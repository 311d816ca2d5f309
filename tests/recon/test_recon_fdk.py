"""Reconstruction against exact line integrals of ellipsoids."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from recon_phantom import BODY, Ellipsoid, geometry, project, truth
from scipy import ndimage

from bonemet.core.errors import SettingsError
from bonemet.core.scan import ConeGeometry
from bonemet.engine.context import ThreadContext
from bonemet.recon import binning, fdk, filtering, weights
from bonemet.recon.backends import available, backprojector

CASES = {
    "short scan": {},
    "other sense": {"turn": -1},
    "falling angles": {"step": -0.8},
    "axis to the right": {"axis_offset_px": 3.3},
    "axis to the left, other sense": {"axis_offset_px": -4.75, "turn": -1},
    "optical axis at any row": {"optical_axis_row": 20.27},
    "optical axis on a row": {"optical_axis_row": 30.0},
    "whole turn": {"views": 360, "step": 1.0, "fan_deg": 20.0},
    "more than a whole turn": {"views": 400, "step": 1.0},
    "short scan with views to spare": {"views": 300},
    "parallel beam": {"views": 225, "fan_deg": 0.01},
}


def reader(rays):
    return lambda view, first, stop: rays[view, first:stop]


def noise_scan(**changes):
    geo = geometry(columns=48, rows=70, views=60, step=3.5, **changes)
    rays = np.random.default_rng(5).random((60, 70, 48), dtype=np.float32)
    return geo, rays


@pytest.mark.parametrize("case", CASES)
def test_flat_regions_have_their_attenuation(case):
    geo = geometry(**CASES[case])
    grid = fdk.default_grid(geo)
    planted = truth(geo, grid)
    middle = round(geo.optical_axis_row)
    first = middle - 4
    found = fdk.reconstruct(reader(project(geo)), geo, grid, (first, middle + 12))
    flat = ndimage.maximum_filter(planted, 7) == ndimage.minimum_filter(planted, 7)
    for slice_index, tolerance in ((middle, 0.005), (middle + 10, 0.02)):  # FDK is exact in the middle only
        true, at, got = planted[slice_index], flat[slice_index], found[slice_index - first]
        for value in (0.02, 0.05, 0.17):
            where = at & np.isclose(true, value)
            if where.sum() >= 20:
                assert got[where].mean() == pytest.approx(value, rel=tolerance), (value, slice_index)
        assert (at & np.isclose(true, 0.05)).sum() >= 20


@pytest.mark.parametrize("backend", available())
@pytest.mark.parametrize("turn", [1, -1])
def test_detail_off_centre_and_off_the_middle_plane_is_in_its_place(backend, turn):
    bead = Ellipsoid((2.6, -1.3, 0.9), (0.3, 0.3, 0.3), 1.0)
    geo = geometry(turn=turn, axis_offset_px=1.4, optical_axis_row=28.6)
    grid = fdk.default_grid(geo)
    found = fdk.reconstruct(reader(project(geo, [bead])), geo, backend=backend)
    clear = np.where(found > 0.3, found, 0)
    planted = np.where(truth(geo, grid, [bead]) > 0, 1.0, 0)
    gap = np.subtract(ndimage.center_of_mass(clear), ndimage.center_of_mass(planted))
    assert np.abs(gap).max() < 0.15


def slow_backprojection(rays, geo: ConeGeometry, points_mm):
    """FDK at points (n, 3) from the axis, straight from the formula, in double precision."""
    length = weights.padded_length(geo.columns)
    transfer = weights.ramp_filter(length, geo.pixel_mm, "hamming")
    share = weights.redundancy_weights(geo)
    column, row = weights.axis_column(geo), geo.optical_axis_row
    u = (np.arange(geo.columns) - column) * geo.pixel_mm
    v = (np.arange(geo.rows) - row) * geo.pixel_mm
    slant = geo.sod_mm / np.sqrt(geo.sod_mm**2 + u**2 + v[:, None] ** 2)
    total = np.zeros(len(points_mm))
    for k, angle in enumerate(np.radians(geo.angles_deg)):
        c, s = np.cos(angle), geo.turn * np.sin(angle)
        padded = np.fft.rfft(rays[k] * slant * share[k], length, axis=1)
        q = np.fft.irfft(padded * transfer, length, axis=1)[:, : geo.columns]
        x, y, z = points_mm.T
        m = geo.sod_mm / (geo.sod_mm - (x * s + y * c))
        at = [row + z * m / geo.pixel_mm, column + (x * c - y * s) * m / geo.pixel_mm]
        total += m**2 * ndimage.map_coordinates(q, at, order=1, mode="nearest")
    return total


@pytest.mark.parametrize("backend", available())
def test_kernels_equal_the_formula(backend):
    geo, rays = noise_scan(turn=-1, axis_offset_px=0.8, optical_axis_row=41.3)
    grid = fdk.default_grid(geo)
    found = fdk.reconstruct(reader(rays), geo, grid, backend=backend)
    index = np.random.default_rng(1).integers(0, grid.shape, (300, 3))
    axis = (geo.columns - 1) / 2 * geo.pixel_mm
    points = grid.index_to_mm(index) - [axis, axis, geo.optical_axis_row * geo.pixel_mm]
    seen = np.hypot(points[:, 0], points[:, 1]) <= weights.field_radius_mm(geo)
    assert 150 < seen.sum() < 300
    expected = np.where(seen, slow_backprojection(rays, geo, points), 0)
    assert np.abs(found[tuple(index.T)] - expected).max() < 2e-5 * np.abs(expected).max()


@pytest.mark.parametrize("backend", ["avx512", "vector"])
@pytest.mark.parametrize("fan", [5.0, 25.888290, 45.0])
@pytest.mark.parametrize("voxel", [None, 0.1, 0.15, 0.4])
def test_vector_kernels_equal_the_plain_one(backend, voxel, fan):
    if backend not in available():
        pytest.skip(f"this processor has no {backend}")
    geo, rays = noise_scan(axis_offset_px=-2.2, fan_deg=fan)
    grid = fdk.default_grid(geo) if voxel is None else fdk.resampled_grid(geo, voxel)
    plain, fast = (fdk.reconstruct(reader(rays), geo, grid, backend=b) for b in ("plain", backend))
    assert np.abs(fast - plain).max() <= 4e-6 * np.abs(plain).max()


@pytest.mark.parametrize("accuracy", filtering.FINER)
@pytest.mark.parametrize("backend", available())
def test_slabs_and_threads_change_no_byte(backend, accuracy):
    geo, rays = noise_scan(axis_offset_px=1.7, optical_axis_row=22.9)
    how = {"backend": backend, "recipe": filtering.Recipe(accuracy=accuracy)}
    whole = fdk.reconstruct(reader(rays), geo, **how)
    ends = [0, 1, 7, 16, 33, 69, 70]
    parts = [
        fdk.reconstruct(reader(rays), geo, None, pair, mapper=ThreadContext(3).map, **how)
        for pair in pairwise(ends)
    ]
    assert np.array_equal(np.concatenate(parts), whole)


def test_a_slab_asks_for_no_more_rows_than_it_needs():
    geo, rays = noise_scan()
    grid = fdk.default_grid(geo)
    asked = []

    def read(view, first, stop):
        asked.append((first, stop))
        return rays[view, first:stop]

    fdk.reconstruct(read, geo, grid, (32, 40))
    assert set(asked) == {fdk.rows_to_read(geo, grid, 32, 40)}
    assert len(asked) == len(rays)
    first, stop = asked[0]
    assert 0 < first <= 32
    assert 48 <= stop < 70


def test_rows_beyond_the_detector_repeat_its_edge():
    long_limb = [Ellipsoid((0.4, 0.2, 0), (2.5, 2.0, 1000.0), 0.05)]
    geo = geometry()
    found = fdk.reconstruct(reader(project(geo, long_limb)), geo)
    middle = (geo.columns - 1) // 2
    block = found[:, middle - 8 : middle + 8, middle - 8 : middle + 8]
    assert np.abs(block.mean(axis=(1, 2)) / 0.05 - 1).max() < 0.02


def test_resampled_grid_covers_the_same_field():
    geo = geometry(optical_axis_row=27.3)
    grid = fdk.resampled_grid(geo, geo.pixel_mm * 1.6)
    full = fdk.default_grid(geo)
    assert np.allclose(grid.centre_mm, full.centre_mm)
    extent = np.multiply(grid.shape, grid.spacing_mm) / np.multiply(full.shape, full.spacing_mm)
    assert np.abs(extent - 1).max() < 0.02
    planted = truth(geo, grid)
    found = fdk.reconstruct(reader(project(geo)), geo, grid)
    flat = ndimage.maximum_filter(planted, 5) == ndimage.minimum_filter(planted, 5)
    z = round((27.3 * geo.pixel_mm - grid.origin_mm[2]) / grid.spacing_mm[0])
    for value in (0.05, 0.17):
        where = flat[z] & np.isclose(planted[z], value)
        assert where.sum() >= 10
        assert found[z][where].mean() == pytest.approx(value, rel=0.01)


@pytest.mark.parametrize("offset", [0.0, 2.7])
def test_large_voxels_average_pixels(offset):
    """Voxels of 2.1 pixels: in their place, and less noisy than if pixels were left out."""
    geo = geometry(columns=97, rows=51, axis_offset_px=offset, optical_axis_row=24.3)
    grid = fdk.resampled_grid(geo, 2.1 * geo.pixel_mm)
    assert binning.factor(geo, grid) == 2
    bead = [Ellipsoid((1.6, -1.3, 0.6), (0.5, 0.5, 0.5), 1.0)]
    found = fdk.reconstruct(reader(project(geo, bead)), geo, grid)
    clear = np.where(found > 0.2, found, 0)
    expected = geo.optical_axis_row * geo.pixel_mm
    axis = (geo.columns - 1) / 2 * geo.pixel_mm
    place = grid.index_to_mm(np.array([ndimage.center_of_mass(clear)]))[0] - [axis, axis, expected]
    assert np.abs(place - bead[0].centre).max() < 0.2 * geo.pixel_mm
    rays = np.random.default_rng(0).standard_normal((260, 51, 97), dtype=np.float32)
    noise = fdk.reconstruct(reader(rays), geo, grid)
    left_out = fdk.filter_slab(reader(rays), geo, grid, (0, 16))
    assert left_out.q.shape[1] == 48
    sampled = fdk.reconstruct(reader(rays), geo, fdk.resampled_grid(geo, 1.9 * geo.pixel_mm))
    assert noise[noise != 0].std() < 0.6 * sampled[sampled != 0].std()


def test_dropped_views_leave_the_attenuation_right():
    geo = geometry()
    kept = np.delete(np.arange(260), [3, 70, 71, 72, 150, 258])
    rays = project(geo)[kept]
    fewer = replace(geo, angles_deg=geo.angles_deg[kept])
    found = fdk.reconstruct(reader(rays), fewer, None, (30, 34))
    planted = truth(geo, fdk.default_grid(geo))
    where = (ndimage.maximum_filter(planted, 7) == ndimage.minimum_filter(planted, 7))[31] & (
        np.abs(planted[31] - 0.05) < 1e-9
    )
    assert found[1][where].mean() == pytest.approx(0.05, rel=0.005)


def test_nothing_is_said_outside_the_field():
    geo, rays = noise_scan(axis_offset_px=5.0)
    found = fdk.reconstruct(reader(rays), geo, None, (30, 31))[0]
    y, x = np.indices(found.shape) - (geo.columns - 1) / 2
    outside = np.hypot(x, y) * geo.pixel_mm > weights.field_radius_mm(geo)
    assert outside.mean() > 0.2
    assert not found[outside].any()
    assert found[~outside].all()


def test_impossible_requests_are_refused():
    geo, rays = noise_scan()
    with pytest.raises(SettingsError, match="do not lie within"):
        fdk.reconstruct(reader(rays), geo, None, (60, 71))
    with pytest.raises(SettingsError, match="no filter 'hat'"):
        fdk.reconstruct(reader(rays), geo, recipe=filtering.Recipe("hat"))
    with pytest.raises(SettingsError, match="no backprojection 'abacus'"):
        backprojector("abacus")
    with pytest.raises(SettingsError, match="positive size"):
        fdk.resampled_grid(geo, 0.0)


def test_ticks_count_the_tiles():
    geo, rays = noise_scan()
    ticks = []
    fdk.reconstruct(reader(rays), geo, None, (0, 16), tick=ticks.append)
    assert sum(ticks) == len(fdk.tiles(fdk.default_grid(geo)))


def test_phantom_is_what_it_says():
    """The oracle itself: the line through the middle of a ball is its diameter long."""
    geo = geometry(columns=9, rows=9, views=4)
    rays = project(geo, [Ellipsoid((0, 0, 0), (2.0, 2.0, 2.0), 0.5)], oversample=1)
    assert rays[:, 4, 4] == pytest.approx(2.0, rel=1e-5)
    assert truth(geo, fdk.default_grid(geo), BODY)[4, 4, 4] == pytest.approx(0.05)
