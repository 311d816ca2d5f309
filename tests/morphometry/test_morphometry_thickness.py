"""Distances and local thickness against plain oracles and planted shapes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from bonemet.core.errors import InputError
from bonemet.core.grid import Grid
from bonemet.engine.context import ThreadContext
from bonemet.io.volumes import open_volume
from bonemet.kernels import distance
from bonemet.morphometry.thickness import local_thickness, mean_and_sd, mid_axes
from bonemet.testing import truths

DATA = Path(__file__).parents[2].parent / "shared" / "data"
CUBE = (1.0, 1.0, 1.0)
masks = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9))
spacings = st.tuples(*[st.sampled_from([0.01, 0.013, 0.02])] * 3)


def plain_squared(mask, edges):
    """Squared distance to the nearest voxel outside, one voxel at a time."""
    outside = np.argwhere(~mask) * edges
    out = np.full(mask.shape, np.inf)
    for index in np.ndindex(mask.shape):
        if outside.size:
            out[index] = ((outside - np.array(index) * edges) ** 2).sum(axis=1).min()
    return out


def plain_thickness(mask, spacing, region=None):
    """Every sphere of every voxel, painted one after the other."""
    edges = np.asarray(spacing) / min(spacing)
    squared = plain_squared(mask, edges)
    wanted = mask if region is None else mask & region
    places = np.indices(mask.shape).transpose(1, 2, 3, 0) * edges
    out = np.zeros(mask.shape)
    for index in np.argwhere(wanted):
        r2 = squared[tuple(index)]
        reached = ((places - index * edges) ** 2).sum(axis=-1) < r2 - 1e-9
        out[reached] = np.maximum(out[reached], r2)
    return np.where(wanted, 2 * np.sqrt(out) * min(spacing), 0)


@given(masks, spacings)
@settings(max_examples=60, deadline=None)
def test_distance_equals_the_plain_search(mask, spacing):
    found = distance.squared_distance(mask, spacing)
    expected = plain_squared(mask, np.asarray(spacing) / min(spacing))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_distance_is_exact_on_cubes_of_any_size():
    mask = np.random.default_rng(5).random((40, 61, 33)) < 0.995
    expected = ndimage.distance_transform_edt(mask) ** 2
    assert np.array_equal(distance.squared_distance(mask), np.rint(expected).astype(np.float32))


@given(masks, spacings)
@settings(max_examples=60, deadline=None)
def test_thickness_equals_the_plain_painting(mask, spacing):
    if mask.all():
        return
    np.testing.assert_allclose(local_thickness(mask, spacing), plain_thickness(mask, spacing), rtol=1e-5)


@given(masks, hnp.arrays(bool, (9, 9, 9)))
@settings(max_examples=40, deadline=None)
def test_thickness_in_a_region_equals_the_plain_painting(mask, region):
    if mask.all():
        return
    region = region[tuple(slice(n) for n in mask.shape)]
    found = local_thickness(mask, CUBE, region=region)
    np.testing.assert_allclose(found, plain_thickness(mask, CUBE, region), rtol=1e-6)


def test_no_sphere_that_matters_is_left_out():
    # Larger structures than the plain oracle can afford: all spheres against the ridge's.
    mask = ndimage.gaussian_filter(np.random.default_rng(2).random((40, 40, 40)), 3) > 0.497
    squared = distance.squared_distance(mask)
    target = mask.view(np.uint8)
    centres, radii = distance.ridge(squared, target, CUBE)
    every = np.argwhere(mask).astype(np.int32)
    order = np.argsort(-squared[mask], kind="stable")
    all_painted = distance.paint(every[order], squared[mask][order], target, CUBE)
    assert len(centres) < len(every) / 2
    assert np.array_equal(distance.paint(centres, radii, target, CUBE), all_painted)


@pytest.mark.parametrize("spacing", [CUBE, (0.02, 0.01, 0.01)])
def test_threads_change_nothing(spacing):
    mask = ndimage.gaussian_filter(np.random.default_rng(7).random((150, 30, 30)), 2) > 0.5
    one = local_thickness(mask, spacing)
    assert np.array_equal(one, local_thickness(mask, spacing, mapper=ThreadContext(3).map))


@given(st.permutations([0, 1, 2]), st.lists(st.sampled_from([0, 1, 2]), unique=True), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_turns_and_flips_change_nothing(order, flips, seed):
    mask = ndimage.gaussian_filter(np.random.default_rng(seed).random((18, 15, 12)), 1.5) > 0.5
    moved = np.flip(mask.transpose(order), flips)
    expected = np.flip(local_thickness(mask, CUBE).transpose(order), flips)
    assert np.array_equal(local_thickness(moved, CUBE), expected)


def test_rounded_headers_make_no_difference():
    mask = ndimage.gaussian_filter(np.random.default_rng(3).random((20, 20, 20)), 1.5) > 0.5
    rounded = local_thickness(mask, (0.0041, 0.00410000001722, 0.00410000001722))
    assert np.array_equal(rounded, local_thickness(mask, (0.0041,) * 3))


def in_the_middle(mask, margin):
    core = np.zeros_like(mask)
    core[(slice(margin, -margin),) * 3] = True
    return core & mask


@pytest.mark.parametrize("kind", ["plate", "gap", "rod"])
@pytest.mark.parametrize("voxels", [4, 7, 12, 20])
def test_planted_thickness_comes_back(kind, voxels):
    """In any direction, within one voxel each time, and within 0.7 voxel on average."""
    h = 0.02
    grid = Grid.isotropic((60, 60, 60), h)
    rng = np.random.default_rng(voxels)
    errors = []
    for _ in range(4):
        direction, shift = rng.normal(size=3), rng.uniform(-0.5, 0.5, 3) * h
        if kind == "rod":
            mask = truths.rod(grid, voxels * h, direction, shift)
        elif kind == "plate":
            mask = truths.plates(grid, voxels * h, normal=direction, offset_mm=shift[0])
        else:
            mask = ~truths.plates(grid, 6 * h, (voxels + 6) * h, direction, shift[0])
        thickness = local_thickness(mask, (h, h, h))
        errors.append(thickness[in_the_middle(mask, 18)].mean() / h - voxels)
    assert np.abs(errors).max() < 1.01
    assert abs(np.mean(errors)) < 0.7


@pytest.mark.parametrize(("voxels", "expected"), [(4, 4), (5, 6), (10, 10), (11, 12)])
def test_a_plate_along_the_voxels_is_even(voxels, expected):
    mask = np.zeros((30, 20, 20), dtype=bool)
    mask[8 : 8 + voxels] = True
    assert set(np.unique(local_thickness(mask, CUBE)[mask])) == {expected}


def test_a_sphere_has_its_diameter_and_a_structure_runs_on_beyond_the_border():
    ball = truths.sphere(Grid.isotropic((31, 31, 31), 0.01), 0.2)
    assert local_thickness(ball, (0.01,) * 3).max() == pytest.approx(0.2, abs=0.01)
    half = np.ones((10, 12, 12), dtype=bool)
    half[8:] = False  # cut open at z = 0: the sphere in slice 0 ends at slice 8 only
    assert local_thickness(half, CUBE).max() == 16


def test_the_edge_of_a_region_is_no_wall():
    mask = np.zeros((21, 30, 30), dtype=bool)
    mask[5:14] = True
    region = np.zeros_like(mask)
    region[:, 14:17, 14:17] = True
    found = local_thickness(mask, CUBE, region=region)
    assert set(np.unique(found)) == {0, 10}
    assert np.array_equal(found > 0, mask & region)


def test_nothing_and_everything():
    nothing = np.zeros((4, 4, 4), dtype=bool)
    assert mean_and_sd(local_thickness(nothing, CUBE)) is None
    with pytest.raises(InputError, match="no surface"):
        local_thickness(~nothing, CUBE)


@given(st.floats(0.001, 10))
@settings(max_examples=10, deadline=None)
def test_thickness_scales_with_the_voxel(h):
    mask = ndimage.gaussian_filter(np.random.default_rng(1).random((16, 16, 16)), 1.5) > 0.5
    np.testing.assert_allclose(local_thickness(mask, (h, h, h)), h * local_thickness(mask, CUBE), rtol=1e-5)


def test_mid_axes_lie_in_the_middle():
    mask = np.zeros((25, 20, 20), dtype=bool)
    mask[4:9] = True
    mask[14:20] = True
    found = mid_axes(mask, CUBE)
    assert set(np.flatnonzero(found.any(axis=(1, 2)))) == {6, 16, 17}
    assert found[[6, 16, 17]].all()


def test_real_trabeculae_equal_an_independent_granulometry():
    path = DATA / "shrew-trabecular" / "Shrew.nrrd"
    if not path.is_file():
        pytest.skip("the shrew volume of ../shared/data is not here")
    bone = open_volume(path).array()[:48, :48, :48] > 0
    own = ndimage.distance_transform_edt(bone)
    expected = np.zeros(bone.shape)
    for radius in np.unique(own[bone]):
        # A voxel is held by a sphere of at least this radius if such a sphere's middle is nearer than it.
        near = ndimage.distance_transform_edt(own < radius - 1e-9)
        expected[near < radius - 1e-9] = 2 * radius
    np.testing.assert_allclose(local_thickness(bone, CUBE), np.where(bone, expected, 0), rtol=1e-6)
