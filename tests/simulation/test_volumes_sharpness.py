"""Volumes made without X-rays are as sharp as reconstructions: small balls of mineral through both.

A ball's density is Gaussian, so the contrast that is left of every wave (the modulation transfer) is the
quotient of two transforms, in any direction, and no edge has to be found.

A reconstruction is not equally sharp everywhere: a wave is seen by the views that look along it, few of a
short scan's from both sides, and places nearer to the source are magnified by up to a tenth more. The volumes
have the mean of it; the tests hold the mean closely and single places and directions loosely.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import ndtr

from bonemet.core.grid import Grid
from bonemet.recon import fdk
from bonemet.simulation import detector, fields, fine, presets, scene, spectrum, xray
from bonemet.simulation.scanner import frequencies, scanner_of, taps

SMALL = presets.preset("small")
CAMERA = replace(detector.PERFECT, blur_px=detector.Detector().blur_px)
H = SMALL.pixel_mm
SIZE = 0.06
"""Standard deviation (mm) of a ball's density."""
FREQUENCIES = np.linspace(0.05, 0.47 / H, 40)
GEOMETRY = replace(SMALL.geometry(), columns=304, rows=48, optical_axis_row=-30.0)
LEVEL = 54 * H
PLACES = np.array([(6.31, 0.02), (0.03, 6.28), (-6.33, 0.0), (-0.01, -6.3), (4.02, 4.01), (-3.5, 3.46)])
"""Balls about where legs lie (mm from the axis), on the axes of the voxels and between them."""
CENTRES = np.column_stack([PLACES, LEVEL + np.array([0.01, 0.03, -0.02, 0.0, 0.02, -0.01])])


def axes(grid):
    """Places (x, y, z) of the voxels' centres along each axis."""
    return [
        o + grid.spacing_mm[0] * np.arange(n) for o, n in zip(grid.origin_mm, grid.shape[::-1], strict=True)
    ]


def box(grid, centre, half):
    """The part of a grid so many voxels (z, y, x) about a place."""
    middle = np.rint(grid.mm_to_index(centre)).astype(int)
    return grid.crop(tuple(middle - half), tuple(middle + half))


def voxelled(grid, centre):
    """Mean density of voxels, as bodies hold it."""
    h = grid.spacing_mm[0]
    x, y, z = (
        np.diff(ndtr((np.append(a - h / 2, a[-1] + h / 2) - c) / SIZE)) / h
        for a, c in zip(axes(grid), centre, strict=True)
    )
    return z[:, None, None] * y[:, None] * x


def sampled(grid, centre):
    """Density at places, edges as wide as samples of shapes have them."""
    spread = np.hypot(SIZE, 0.55 * grid.spacing_mm[0])
    x, y, z = (
        np.exp(-0.5 * ((a - c) / spread) ** 2) / (spread * np.sqrt(2 * np.pi))
        for a, c in zip(axes(grid), centre, strict=True)
    )
    return z[:, None, None] * y[:, None] * x


def made_directly(grid, centre):
    """A ball as volumes without X-rays blur it."""
    stride = fine.oversampling(H)
    step = H / stride
    edge = fine.edge_transfer(frequencies(step), step)
    seen = scanner_of(SMALL, CAMERA)
    across, along = (taps(seen, H, step, edge, across=a).astype(np.float32) for a in (True, False))
    half = np.array([along.size // 2, across.size // 2, across.size // 2])
    shape = (np.array(grid.shape) - 1) * stride + 1 + 2 * half
    corner = np.array(grid.origin_mm) - half[::-1] * step
    samples = sampled(Grid.isotropic(shape, step, tuple(corner)), centre)
    return fine.reduce(samples.astype(np.float32), across, along, stride)


def reconstructed(body):
    """Boxes about all balls, reconstructed from noise-free views of a body."""
    table = spectrum.attenuation_table(spectrum.tube_spectrum())
    views = len(GEOMETRY.angles_deg)
    rays = np.empty((views, GEOMETRY.rows, GEOMETRY.columns), np.float32)
    for view in range(views):
        light = xray.project(body, GEOMETRY, view, table)
        rays[view] = -np.log(ndimage.gaussian_filter(light, CAMERA.blur_px, truncate=3, mode="nearest"))
    whole = scene.reconstruction_grid(GEOMETRY)
    for centre in CENTRES:
        part = box(whole, centre, (12, 16, 16))
        own = replace(part, origin_mm=tuple(np.subtract(part.origin_mm, whole.origin_mm)))
        yield part, fdk.reconstruct(lambda view, a, b: rays[view, a:b], GEOMETRY, own)


@pytest.fixture(scope="module")
def balls():
    """Per ball: its place, the grid about it, the reconstruction and the volume made without X-rays."""
    bone = SMALL.bone_mm
    reach = 8.0
    grid = Grid.isotropic(
        (30, *(2 * [round(2 * reach / bone)])), bone, (0.013 - reach, 0.027 - reach, LEVEL - 15 * bone)
    )
    density = np.zeros(grid.shape, np.float32)
    for centre in CENTRES:
        part = box(grid, centre, (13, 13, 13))
        low = np.rint(grid.mm_to_index(part.origin_mm)).astype(int)
        density[tuple(slice(a, a + 26) for a in low)] += voxelled(part, centre)
    nothing = fields.field_of(np.zeros((2, 2, 2), np.float32), Grid.isotropic((2, 2, 2), 0.2))
    # so little that the logarithm is straight
    body = xray.Body(fields.field_of(0.15 * density, grid), nothing, nothing)
    boxes = reconstructed(body)
    return [(c, g, v, made_directly(g, c)) for c, (g, v) in zip(CENTRES, boxes, strict=True)]


def waves(places, f):
    return np.exp(-2j * np.pi * np.multiply.outer(f, places))


def in_the_plane(grid, values, centre, angle_deg):
    """Contrast left of waves that run at an angle in the plane, before it is scaled."""
    x, y, _ = (a - c for a, c in zip(axes(grid), centre, strict=True))
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.abs(
        np.einsum("yx,fy,fx->f", values.sum(axis=0), waves(s * y, FREQUENCIES), waves(c * x, FREQUENCIES))
    )


def along_z(grid, values, centre):
    """Contrast left of waves along z within a narrow column about a place.

    Narrow, because a plane wave along z lies within the cone of frequencies that no view holds.
    """
    x, y, z = (a - c for a, c in zip(axes(grid), centre, strict=True))
    weight = np.exp(-(y[:, None] ** 2 + x**2) / (2 * 0.1**2))
    return np.abs(waves(z, FREQUENCIES) @ (values * weight).sum(axis=(1, 2)))


def half_contrast(power):
    """Frequency (1/mm) at which half the contrast is left."""
    left = power / np.exp(-2 * (np.pi * SIZE * FREQUENCIES) ** 2)
    left = left / left[0]
    n = int(np.argmax(left < 0.5))
    return float(np.interp(-0.5, -left[n - 1 : n + 1], FREQUENCIES[n - 1 : n + 1]))


def test_slices_are_as_sharp_as_a_reconstruction(balls):
    angles = np.arange(0, 180, 15)
    ratios = []
    for centre, grid, *both in balls:
        there, here = (
            half_contrast(np.mean([in_the_plane(grid, v, centre, a) for a in angles], axis=0)) for v in both
        )
        ratios.append(here / there)
    assert 3.5 < here < 4.5
    assert np.mean(ratios) == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(ratios, 1, atol=0.06)


def test_edges_toward_the_axis_and_about_it_are_as_sharp_as_a_reconstruction(balls):
    for turn, single in ((0.0, 0.05), (90.0, 0.10)):
        ratios = []
        for centre, grid, *both in balls:
            angle = np.degrees(np.arctan2(centre[1], centre[0])) + turn
            # some views' worth of directions: how a single view's pixels happen to lie is chance
            near = angle + np.arange(-15, 16, 5)
            there, here = (
                half_contrast(np.mean([in_the_plane(grid, v, centre, a) for a in near], axis=0)) for v in both
            )
            ratios.append(here / there)
        assert np.mean(ratios) == pytest.approx(1, abs=0.03)
        np.testing.assert_allclose(ratios, 1, atol=single)


def test_volumes_are_as_sharp_along_z_as_a_reconstruction(balls):
    ratios = []
    for centre, grid, *both in balls:
        there, here = (half_contrast(along_z(grid, v, centre)) for v in both)
        ratios.append(here / there)
    assert 4.5 < here < 6
    assert np.mean(ratios) == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(ratios, 1, atol=0.08)
