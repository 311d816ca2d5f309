"""Resampling against SimpleITK, plain formulae and itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from bonemet.core.errors import InputError, SettingsError
from bonemet.core.grid import Grid
from bonemet.core.transform import Piece, Transform
from bonemet.kernels.blocks import BLOCK, SLAB, occupancy
from bonemet.kernels.interpolate import ORDERS, TABLE_STEPS, smooth_gradients, smooth_samples, weight_table
from bonemet.kernels.pyramid import pool, pooled_grid
from bonemet.kernels.resample import resample, resampled

ITK = {"nearest": sitk.sitkNearestNeighbor, "linear": sitk.sitkLinear, "sinc": sitk.sitkLanczosWindowedSinc}


def lump(shape=(41, 52, 37), top=255, dtype=np.uint8, seed=0):
    """A smooth lump in empty space."""
    grey = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    z, y, x = (np.linspace(-1, 1, n) for n in shape)
    hull = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 < 0.7
    grey = (grey - grey.min()) / np.ptp(grey) * top * hull
    return (grey if np.dtype(dtype).kind == "f" else np.rint(grey)).astype(dtype)


def turned(degrees, fixed, moving, shift=(0.0, 0.0, 0.0)):
    """A rotation that lays the middle of one grid on the other's."""
    m = np.eye(4)
    m[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    m[:3, 3] = moving.centre_mm + shift - m[:3, :3] @ fixed.centre_mm
    return Transform(m)


def direction(degrees):
    rows = Rotation.from_euler("zyx", degrees, degrees=True).as_matrix()
    return tuple(tuple(float(v) for v in row) for row in rows)


def by_itk(data, moving, fixed, transform, order):
    image = sitk.GetImageFromArray(data)
    image.SetSpacing(moving.spacing_mm[::-1])
    image.SetOrigin(moving.origin_mm)
    image.SetDirection(np.ravel(moving.direction).tolist())
    t = sitk.AffineTransform(3)
    t.SetMatrix(transform.matrix[:3, :3].ravel().tolist())
    t.SetTranslation(transform.matrix[:3, 3].tolist())
    out = sitk.Resample(
        image,
        fixed.shape[::-1],
        t,
        ITK[order],
        fixed.origin_mm,
        fixed.spacing_mm[::-1],
        np.ravel(fixed.direction).tolist(),
        0.0,
    )
    return sitk.GetArrayFromImage(out)


@pytest.mark.parametrize(
    ("dtype", "top", "within"), [(np.uint8, 255, 1), (np.uint16, 60000, 4), (np.float32, 1, 1e-4)]
)
def test_linear_agrees_with_simpleitk_on_slanted_oblong_voxels(dtype, top, within):
    data = lump(top=top, dtype=dtype)
    moving = Grid(data.shape, (0.03, 0.02, 0.025), (1.0, 2.0, 3.0), direction((20, -10, 5)))
    fixed = Grid((44, 37, 50), (0.02, 0.03, 0.02), (1.1, 2.2, 3.1), direction((-30, 0, 12)))
    t = turned((10, 5, 40), fixed, moving)
    got = resample(data, moving, fixed, t)
    assert got.dtype == dtype
    assert got.any()
    assert np.abs(got.astype(float) - by_itk(data, moving, fixed, t, "linear")).max() <= within


def test_sinc_agrees_with_simpleitk_up_to_its_unnormalised_weights():
    data = lump()
    grid = Grid.isotropic(data.shape, 0.02)
    t = turned((4, -7, 25), grid, grid)
    gap = resample(data, grid, grid, t, order="sinc").astype(float) - by_itk(data, grid, grid, t, "sinc")
    assert np.abs(gap).max() <= 2
    assert np.mean(np.abs(gap) > 1) < 1e-3


def test_nearest_agrees_with_simpleitk_and_keeps_labels():
    labels = (lump() // 64).astype(np.uint8)
    grid = Grid.isotropic(labels.shape, 0.02)
    t = turned((4, -7, 25), grid, grid)
    got = resample(labels, grid, grid, t, order="nearest")
    assert set(np.unique(got)) <= set(np.unique(labels))
    assert np.mean(got != by_itk(labels, grid, grid, t, "nearest")) < 1e-3


def test_cubic_follows_keys_formula():
    data = lump((12, 13, 14), dtype=np.float32)
    grid = Grid.isotropic(data.shape, 1.0)
    shift = np.array([0.25, 0.5, 0.75])  # x, y, z
    m = np.eye(4)
    m[:3, 3] = shift
    got = resample(data, grid, grid, Transform(m), order="cubic")

    def weights(f):
        return (
            np.array([-f + 2 * f**2 - f**3, 2 - 5 * f**2 + 3 * f**3, f + 4 * f**2 - 3 * f**3, f**3 - f**2])
            / 2
        )

    wx, wy, wz = (weights(f) for f in shift)
    expected = np.einsum("a,b,c,cba", wx, wy, wz, data[4:8, 5:9, 6:10])
    assert got[5, 6, 7] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.float32])
def test_the_identity_copies(order, dtype):
    data = lump(top=1 if dtype == np.bool_ else 200, dtype=np.uint8).astype(dtype)
    grid = Grid(data.shape, (0.03, 0.02, 0.025), (1.0, 2.0, 3.0), direction((20, -10, 5)))
    assert np.array_equal(resample(data, grid, grid, Transform.identity(), order=order), data)


@pytest.mark.parametrize("order", ["linear", "sinc"])
def test_threads_and_slabs_change_nothing(order):
    data = lump()
    moving = Grid.isotropic(data.shape, 0.02)
    fixed = Grid.isotropic((3 * SLAB + 5, 40, 40), 0.02 * 41 / 101)
    t = turned((10, 20, 30), fixed, moving)
    whole = resample(data, moving, fixed, t, order=order)
    with ThreadPoolExecutor(3) as pool_of_three:
        assert np.array_equal(resample(data, moving, fixed, t, order=order, mapper=pool_of_three.map), whole)
    parts = [
        resample(data, moving, fixed.crop((a, 0, 0), (min(a + 20, fixed.shape[0]), 40, 40)), t, order=order)
        for a in range(0, fixed.shape[0], 20)
    ]
    assert np.abs(np.concatenate(parts).astype(int) - whole).max() <= 1


@settings(max_examples=25, deadline=None)
@given(
    degrees=st.tuples(*[st.floats(-180, 180)] * 3),
    shift=st.tuples(*[st.floats(-0.6, 0.6)] * 3),
    order=st.sampled_from(ORDERS),
    seed=st.integers(0, 99),
)
def test_skipping_empty_blocks_loses_nothing(degrees, shift, order, seed):
    """Few occupied voxels far apart: whatever one of them can reach must be there."""
    rng = np.random.default_rng(seed)
    data = np.zeros((30, 41, 35), np.float32)
    data[tuple(rng.integers(0, n, 4) for n in data.shape)] = 1
    moving = Grid(data.shape, (0.03, 0.02, 0.025))
    fixed = Grid.isotropic((40, 33, 37), 0.025)
    t = turned(degrees, fixed, moving, shift)
    sparse = resample(data, moving, fixed, t, order=order)
    # linear in the data: with a floor under it nothing is skipped
    floor = np.full_like(data, 8)
    full = resample(data + floor, moving, fixed, t, order=order) - resample(
        floor, moving, fixed, t, order=order
    )
    assert np.abs(sparse - full).max() < 1e-4


def test_outside_is_zero_and_half_a_voxel_beyond_the_face_is_still_inside():
    data = np.full((6, 6, 6), 100, np.uint8)
    moving = Grid.isotropic(data.shape, 1.0)
    fixed = Grid.isotropic((1, 1, 41), 0.25, (-2.5, 2.0, 2.0))
    x = -2.5 + 0.25 * np.arange(41)
    expected = np.where((x >= -0.5) & (x < 5.5), 100, 0)
    assert np.array_equal(resample(data, moving, fixed, Transform.identity())[0, 0], expected)


def test_a_sharp_edge_does_not_wrap_around_the_type():
    data = np.zeros((24, 24, 24), np.uint8)
    data[8:16, 8:16, 8:16] = 255
    grid = Grid.isotropic(data.shape, 1.0)
    m = np.eye(4)
    m[:3, 3] = 0.3
    for order in ("cubic", "sinc"):
        got = resample(data, grid, grid, Transform(m), order=order)
        assert got[12, 12, 12] > 240  # overshoot is clipped to 255
        assert got[2, 2, 2] < 15  # undershoot is clipped to 0


def test_wrong_input_is_refused():
    grid = Grid.isotropic((4, 4, 4), 1.0)
    with pytest.raises(InputError, match="does not fit"):
        resample(np.zeros((4, 4, 5), np.uint8), grid, grid, Transform.identity())
    with pytest.raises(InputError, match="float64"):
        resample(np.zeros((4, 4, 4)), grid, grid, Transform.identity())
    with pytest.raises(SettingsError, match="lanczos"):
        resample(np.zeros((4, 4, 4), np.uint8), grid, grid, Transform.identity(), order="lanczos")


@pytest.mark.parametrize("order", ORDERS)
def test_weights_sum_to_one_and_mirror(order):
    table = weight_table(order)
    assert np.allclose(table.sum(1), 1, atol=1e-6)
    if order != "nearest":
        assert np.allclose(table, table[::-1, ::-1], atol=1e-6)
    assert len(table) == TABLE_STEPS + 1


def test_occupancy_counts_cells():
    data = np.zeros((20, 9, 17), np.uint8)
    data[19, 8, 16] = data[0, 0, 0] = 1
    sums = occupancy(data)
    assert sums.shape == (4, 3, 4)
    assert sums[-1, -1, -1] == 2
    assert sums[1, 1, 1] == 1
    assert BLOCK < SLAB


def test_smooth_samples_and_gradients_agree_with_each_other():
    data = lump((14, 15, 16), dtype=np.float32)
    index = np.array([[5, 6, 7], [8, 7, 6], [4, 9, 10]])
    out = np.empty((3, 4))
    smooth_gradients(data, index, 3.0, 2.0, out)
    points = index[:, ::-1].astype(float)

    def sample(p):
        values, inside = np.empty(len(p), np.float32), np.empty(len(p), np.bool_)
        smooth_samples(data, p, np.eye(4), 3.0, 2.0, values, inside)
        assert inside.all()
        return values

    assert np.allclose(sample(points), out[:, 0], atol=1e-3)
    for axis in range(3):
        step = np.eye(3)[axis] * 0.01
        slope = (sample(points + step) - sample(points - step)) / 0.02
        assert np.allclose(slope, out[:, 1 + axis], atol=0.5, rtol=0.02)


def test_pooled_voxels_are_means_where_the_grid_says():
    data = np.random.default_rng(0).integers(0, 200, (9, 8, 7)).astype(np.uint16)
    grid = Grid(data.shape, (0.03, 0.02, 0.025), (1.0, 2.0, 3.0), direction((20, -10, 5)))
    got = pool(data, (2, 1, 2), low=10, scale=0.5)
    plain = data[:8, :, :6].reshape(4, 2, 8, 1, 3, 2).mean((1, 3, 5))
    assert np.array_equal(got, np.floor(np.clip((plain - 10) * 0.5 + 0.5, 0, 255)))
    coarse = pooled_grid(grid, (2, 1, 2))
    assert coarse.shape == got.shape
    middle = grid.index_to_mm([[2, 3, 4], [3, 3, 5]]).mean(0)
    assert np.allclose(coarse.index_to_mm([1, 3, 2]), middle)


class OnDisk:
    """Slices that are read one by one, as from a folder; counts how often each is."""

    def __init__(self, data):
        self.data, self.shape, self.dtype = data, data.shape, data.dtype
        self.reads = np.zeros(len(data), int)

    def __getitem__(self, key):
        self.reads[key] += 1
        return self.data[key]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, bool])
def test_slices_read_as_they_are_needed_give_the_same_bytes(order, dtype):
    rng = np.random.default_rng(3)
    image = (rng.uniform(0, 250, (140, 30, 34)) * (rng.random((140, 30, 34)) > 0.5)).astype(dtype)
    image[60:90, :12] = 0
    grid = Grid.isotropic(image.shape, 0.1)
    fixed = Grid.isotropic((170, 26, 40), 0.09, (-0.2, 0.1, -0.5))
    for seed in range(3):
        angles = np.random.default_rng(seed).uniform(-0.3, 0.3, 3)
        angles[2] += 2 * seed
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_rotvec(angles).as_matrix() @ np.diag([1, 1, (1, 1, -1)[seed]])
        matrix[:3, 3] = grid.centre_mm - matrix[:3, :3] @ fixed.centre_mm
        disk = OnDisk(image)
        slabs = list(resampled(disk, grid, fixed, Transform(matrix), order=order))
        whole = resample(image, grid, fixed, Transform(matrix), order=order)
        assert whole.any()
        assert np.concatenate(slabs).dtype == image.dtype
        assert np.array_equal(np.concatenate(slabs), whole)
        assert disk.reads.max() <= 1
        assert len(slabs) > 1


@settings(max_examples=15, deadline=None)
@given(
    st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda n: np.linalg.norm(n) > 0.2),
    st.floats(-0.5, 0.5),
    st.sampled_from([np.uint8, np.float32, np.bool_]),
)
def test_a_piece_has_its_own_transform(normal, level, dtype):
    image = lump().astype(bool) if dtype == np.bool_ else lump(dtype=dtype)
    grid, onto = Grid(image.shape, (0.05,) * 3), Grid((33, 40, 45), (0.06,) * 3, (-0.3, -0.1, -0.2))
    one, other = turned((5, -8, 20), onto, grid), turned((-20, 3, 10), onto, grid, (0.2, 0.1, -0.1))
    piece = Piece(other, np.array(normal), float(np.array(normal) @ onto.centre_mm) + level)
    found = resample(image, grid, onto, one, order="cubic", pieces=[piece])
    index = np.indices(onto.shape).reshape(3, -1).T
    distance = onto.index_to_mm(index) @ piece.normal - piece.level
    inside = piece.holds(onto.index_to_mm(index))
    clear = np.abs(distance) > 1e-9  # on the plane itself rounding decides
    assert (inside == (distance >= 0))[clear].all()
    parts = [resample(image, grid, onto, t, order="cubic").ravel() for t in (one, other)]
    assert np.array_equal(found.ravel()[clear], np.where(inside, parts[1], parts[0])[clear])
    assert found.dtype == image.dtype
    slabs = resampled(image, grid, onto, one, order="cubic", pieces=[piece])
    assert np.array_equal(np.concatenate([slab.copy() for slab in slabs]), found)
