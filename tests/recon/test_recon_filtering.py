"""Filtering of rows, and the transform under it, against plain numpy."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recon_phantom import Ellipsoid, geometry, project, truth
from scipy import ndimage

from bonemet.core.errors import SettingsError
from bonemet.recon import between, fdk, filtering, weights
from bonemet.recon.backends import rowfft

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="needs compiled kernels")


def sixteen_rows(length, seed=0):
    room = filtering.aligned((length, 16))
    room[:] = np.random.default_rng(seed).standard_normal((length, 16))
    return room


def as_complex(work):
    return work[:, :8] + 1j * work[:, 8:].astype(complex)


@pytest.mark.parametrize("length", [4, 8, 16, 32, 512])
def test_transform_of_16_rows(length):
    work = sixteen_rows(length)
    expected = np.fft.fft(as_complex(work), axis=0)[rowfft.order(length)]
    rowfft.forward(work.ctypes.data, length, rowfft.twiddles(length))
    assert np.abs(as_complex(work) - expected).max() < 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("length", [8, 64])
def test_transform_there_and_back(length):
    work = sixteen_rows(length)
    before = work.copy()
    turns = rowfft.twiddles(length)
    rowfft.forward(work.ctypes.data, length, turns)
    rowfft.multiply(work.ctypes.data, work.ctypes.data, rowfft.prepared(np.ones(length // 2 + 1), length))
    rowfft.inverse(work.ctypes.data, length, turns)
    assert np.abs(work - before).max() < 2e-6


@settings(max_examples=30, deadline=None)
@given(
    columns=st.integers(5, 70),
    rows=st.integers(1, 40),
    start=st.integers(-3, 5).map(lambda n: 16 * n),
    pitch=st.integers(1, 6).map(lambda n: 16 * n),
    accuracy=st.sampled_from(list(filtering.FINER)),
    extend=st.booleans(),
)
def test_vectors_filter_as_numpy_does(columns, rows, start, pitch, accuracy, extend):
    geo = geometry(columns=columns, rows=rows, views=230, fan_deg=20.0)
    recipe = filtering.Recipe("hann", accuracy, extend)
    row_filter = filtering.RowFilter.of(geo, recipe, 0.9, (0, rows))
    rays = np.random.default_rng(columns).random((rows, columns), dtype=np.float32)
    out = np.full((recipe.finer * columns, pitch), np.nan, np.float32)
    row_filter.apply(rays, 120, out, start)
    plain = row_filter.filtered(rays, 120)
    expected = plain.T[:, np.clip(np.arange(pitch) - start, 0, rows - 1)]
    if start >= pitch or start + rows <= 0:
        return  # the kernels ask for no row of such a slab
    assert np.abs(out - expected).max() <= 2e-6 * np.abs(plain).max()


def test_fine_columns_are_the_band_limited_ones_between():
    """A wave of 5 pixels, far from the ends, is found between the columns where it belongs."""
    geo = geometry(columns=200, rows=1)
    places = np.arange(200)
    wave = np.cos(2 * np.pi * places / 5) * np.hanning(200)
    coarse, fine = (
        filtering.RowFilter.of(geo, filtering.Recipe("ramp", a), 1.0, (0, 1)).filtered(
            wave[None].astype(np.float32), 130
        )[0]
        for a in ("standard", "fine")
    )
    assert np.allclose(fine[::2], coarse, atol=1e-6 * np.abs(coarse).max())
    middle = np.interp(places[60:140] + 0.5, places, coarse)
    true = ndimage.map_coordinates(coarse.astype(float), [places[60:140] + 0.5], order=5)
    assert np.abs(fine[1::2][60:140] - true).max() < 0.01 * np.abs(true).max()
    assert np.abs(middle - true).max() > 0.1 * np.abs(true).max()


@given(step=st.floats(0.2, 2.0), seed=st.integers(0, 99))
def test_views_between_follow_any_cubic(step, seed):
    rng = np.random.default_rng(seed)
    angles = np.cumsum(step * rng.uniform(0.8, 1.2, 12)) - step
    dense = between.denser(geometry(views=12, angles_deg=angles))
    found = dense.geometry.angles_deg
    assert len(found) == 23
    assert np.allclose(found[1::2], (angles[1:] + angles[:-1]) / 2)
    curve = np.polynomial.Polynomial(rng.standard_normal(4), domain=[0, angles[-1]])
    rays = {n: np.float32([[curve(a)]]) for n, a in enumerate(angles)}
    for view in range(3, 20):
        assert dense.made(view, rays)[0, 0] == pytest.approx(curve(found[view]), abs=2e-5)
        assert set(dense.needed(range(view, view + 1))) <= set(range(view // 2 - 1, view // 2 + 3))


def test_a_whole_turn_has_a_view_between_its_ends():
    dense = between.denser(geometry(views=180, angles_deg=np.arange(180) * 2.0))
    assert dense.geometry.angles_deg == pytest.approx(np.arange(360) * 1.0)
    assert set(dense.sources[-1]) == {178, 179, 0, 1}
    assert weights.redundancy_weights(dense.geometry) == pytest.approx(np.radians(1) / 2)


def test_fine_accuracy_lessens_the_error_of_few_views():
    geo = geometry(columns=400, rows=8, views=208, step=1.0)
    grid = fdk.default_grid(geo)
    planted = truth(geo, grid)
    rays = project(geo)
    flat = ndimage.maximum_filter(planted, 5) == ndimage.minimum_filter(planted, 5)
    y, x = np.indices(planted.shape[1:]) - (geo.columns - 1) / 2
    flat &= np.hypot(x, y) < 0.45 * geo.columns
    error = {}
    for accuracy in filtering.FINER:
        found = fdk.reconstruct(
            lambda view, a, b: rays[view, a:b], geo, grid, (2, 6), recipe=filtering.Recipe("ramp", accuracy)
        )
        error[accuracy] = np.sqrt(np.mean((found - planted[2:6])[flat[2:6]] ** 2))
    assert error["fine"] < 0.7 * error["standard"]


@pytest.mark.parametrize(("axis", "gain"), [(0, 1 + 2 / 8), (2, 1 / np.sinc(1 / 4))])
def test_sharp_accuracy_gives_plates_back_what_pixels_and_rows_took(axis, gain):
    geo = geometry(columns=96, rows=25, views=360, step=0.75)
    plates = []  # two pixels thick, two apart
    for place in np.arange(-2, 3) * 4 * geo.pixel_mm:
        centre, axes = [0.0, 0.0, 0.0], [1.5, 1.5, 1.5]
        centre[2 - axis], axes[2 - axis] = place, geo.pixel_mm
        plates.append(Ellipsoid(tuple(centre), tuple(axes), 0.1))
    rays, size = project(geo, plates, 4), (25, 96)[axis > 0]
    place = np.arange(size) - (size - 1) / 2
    wave = np.cos(np.pi / 2 * place) * (np.abs(place) < 8)  # four whole turns
    height = {}
    for accuracy in ("standard", "sharp"):
        recipe = filtering.Recipe("ramp", accuracy)
        image = fdk.reconstruct(lambda view, a, b: rays[view, a:b], geo, recipe=recipe)
        line = image[:, 47:49, 47:49].mean(axis=(1, 2)) if axis == 0 else image[12, 47:49].mean(axis=0)
        height[accuracy] = line @ wave
    assert height["sharp"] / height["standard"] == pytest.approx(gain, abs=0.07)


def test_rows_are_sharpened_by_the_second_difference():
    columns = np.random.default_rng(0).normal(size=(5, 30)).astype(np.float32)
    expected = columns.copy()
    expected[:, 1:-1] -= np.diff(columns, 2, axis=1) / 8
    filtering.sharpen_rows(columns)
    assert np.allclose(columns, expected, atol=1e-6)


def test_extension_takes_the_bright_rim_from_a_truncated_object():
    wide = [Ellipsoid((0.3, 0.2, 0), (6.0, 5.0, 50.0), 0.05)]
    geo = geometry(rows=3, optical_axis_row=1.0)
    rays = project(geo, wide)
    plain, extended = (
        fdk.reconstruct(
            lambda view, a, b: rays[view, a:b], geo, None, (1, 2), recipe=filtering.Recipe("ramp", extend=e)
        )[0]
        for e in (False, True)
    )
    y, x = np.indices(plain.shape) - (geo.columns - 1) / 2
    radius = np.hypot(x, y) / (geo.columns / 2)
    rim, core = (radius > 0.85) & (radius < 0.93), radius < 0.5
    for image, low, high in ((plain, 1.3, 9), (extended, 0.9, 1.1)):
        assert low < image[rim].mean() / image[core].mean() < high
    assert extended[core].mean() == pytest.approx(0.05, rel=0.12)
    assert plain[core].mean() > extended[core].mean()


def test_own_shares_of_rays_replace_the_usual_ones():
    geo = geometry(columns=32, rows=4)
    rays = np.random.default_rng(0).random((260, 4, 32), dtype=np.float32)

    def found(shares):
        recipe = filtering.Recipe(shares=shares)
        return fdk.reconstruct(lambda view, a, b: rays[view, a:b], geo, recipe=recipe)

    usual = weights.redundancy_weights(geo)
    assert np.array_equal(found(usual), found(None))
    assert np.allclose(found(2 * usual), 2 * found(None), atol=1e-5)


def test_senseless_accuracy_is_refused():
    with pytest.raises(SettingsError, match="no accuracy 'best'"):
        filtering.Recipe(accuracy="best")
