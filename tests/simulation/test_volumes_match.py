"""Volumes made without X-rays are as sharp, as noisy and as grey as reconstructions of simulated scans."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from bonemet.core.scan import ConeGeometry
from bonemet.recon import fdk
from bonemet.simulation import animal, detector, presets, scan_pose, scene, spectrum, xray
from bonemet.simulation.grey import grey_volume
from bonemet.simulation.noise import Noise
from bonemet.simulation.scanner import Scanner, pixel_variance, scanner_of, variance_factor

SMALL = presets.preset("small")
QUIET = detector.Detector(gain_error=0, drift=0, flicker=0, dead_share=0, flat_drift=0)
ROWS = 32


def band(columns: int, rows: int = ROWS) -> ConeGeometry:
    """A few rows of a narrow camera of the same scanner, far off the plane of the source."""
    full = SMALL.geometry()
    return replace(full, columns=columns, rows=rows, optical_axis_row=-40.0)


def reconstructed(rays, geometry):
    return fdk.reconstruct(lambda view, a, b: rays[view, a:b], geometry)


def radial(power, spacing, edges):
    """Mean of a plane's power by radial frequency (1/mm)."""
    f = [np.fft.fftfreq(n, spacing) for n in power.shape]
    radius = np.hypot(f[0][:, None], f[1][None])
    return np.array([power[(radius >= a) & (radius < b)].mean() for a, b in pairwise(edges)])


@pytest.fixture(scope="module")
def noises():
    """Reconstructed noise, and the noise that is made for it; both for one variance a pixel."""
    g = band(288)
    rng = np.random.default_rng(5)
    rays = rng.standard_normal((len(g.angles_deg), g.rows, g.columns), dtype=np.float32)
    volume = fdk.reconstruct(lambda view, a, b: rays[view, a:b], g)
    seen = scanner_of(SMALL, QUIET)
    made = Noise(seen, SMALL.pixel_mm, (160, 160), seed=3)
    return volume, made.slab(0, ROWS), seen


def test_noise_has_the_spectrum_of_a_reconstruction(noises):
    volume, made, seen = noises
    n, h = 64, SMALL.pixel_mm
    around = [(y, x) for y in (52, 112, 172) for x in (52, 112, 172)]  # within the round field
    theirs = [np.abs(np.fft.fft2(volume[8:24, y : y + n, x : x + n])) ** 2 for y, x in around]
    ours = [np.abs(np.fft.fft2(made[8:24, y : y + n, x : x + n])) ** 2 for y in (0, 96) for x in (0, 96)]
    edges = np.arange(0.02, 0.41, 0.04) / h
    a, b = (radial(np.mean(s, axis=(0, 1)), h, edges) for s in (theirs, ours))
    np.testing.assert_allclose(b, a, rtol=0.15)
    assert made.var() == pytest.approx(volume[8:24, 52:236, 52:236].var(), rel=0.08)
    assert variance_factor(seen, h) == pytest.approx(made.var(), rel=0.05)


def test_noise_along_z_has_the_spectrum_of_a_reconstruction(noises):
    """Away from the axis: on it slices and pixel rows keep in step and interpolation averages nothing."""
    volume, made, _ = noises
    y, x = np.indices(volume.shape[1:]) - (volume.shape[1] - 1) / 2
    radius = np.hypot(y, x) * SMALL.pixel_mm
    legs = (radius > 2) & (radius < 6.8)
    theirs, ours = volume[4:28][:, legs], made[4:28].reshape(24, -1)

    def spectrum_along(values):
        taper = np.hanning(len(values))[:, None]
        power = (np.abs(np.fft.rfft(values * taper, axis=0)) ** 2).mean(axis=1)
        return power[1:].reshape(4, 3).mean(axis=1) / (taper**2).sum()

    np.testing.assert_allclose(spectrum_along(ours), spectrum_along(theirs), rtol=0.15)
    kept = [np.corrcoef(v[:-1].ravel(), v[1:].ravel())[0, 1] for v in (ours, theirs)]
    assert 0.15 < kept[1] < 0.35
    assert kept[0] == pytest.approx(kept[1], abs=0.03)


def test_noise_of_a_slab_is_that_of_the_whole():
    noise = Noise(Scanner(0.05), 0.02, (40, 36), seed=1)
    whole = noise.slab(0, 20)
    assert noise.reach >= 2  # pixels larger than voxels reach further
    for first, stop in ((0, 7), (7, 8), (8, 20)):
        np.testing.assert_array_equal(noise.slab(first, stop), whole[first:stop])


def test_variance_follows_photons_and_voxels():
    for dose, photons in detector.DOSES.items():
        camera = replace(detector.dose(dose), electronic=0)
        assert pixel_variance(Scanner(0.02, camera), np.zeros(1))[0] == pytest.approx(1 / photons)
    # attenuation of a voxel is a line integral's share of a length: variance goes with its inverse square
    factors = [variance_factor(Scanner(h), h) * h**2 for h in (0.01, 0.02, 0.04, 0.08)]
    np.testing.assert_allclose(factors, factors[0], rtol=1e-3)
    # larger voxels from the same pixels end the filter earlier, so less noise passes
    assert variance_factor(Scanner(0.02), 0.04) < 0.35 * variance_factor(Scanner(0.02), 0.02)


@pytest.fixture(scope="module")
def twice():
    """One animal at preset tiny: reconstructed from X-rays with noise, and made without."""
    tiny = presets.preset("tiny")
    geometry = replace(tiny.geometry(), rows=48, optical_axis_row=57.0)  # knees
    mouse = animal(5, tumour_side="left")
    pose = scan_pose(mouse, 0, 5)
    beam = spectrum.tube_spectrum()
    body = scene.body_in_beam(mouse, 0, pose, tiny, geometry, spectrum.soft_materials(beam))
    table = spectrum.attenuation_table(beam)
    faults = detector.panel(QUIET, geometry.rows, geometry.columns, 7)
    rays = np.empty((tiny.views, geometry.rows, geometry.columns), np.float32)
    for view in range(tiny.views):
        light = xray.project(body, geometry, view, table)
        counts = detector.record(light, QUIET, faults, view=view, views=tiny.views, seed=7)
        rays[view] = -np.log(counts / np.float32(detector.WHITE))
    grid = scene.reconstruction_grid(geometry)
    made = grey_volume(mouse, 0, pose, grid, scanned=scanner_of(tiny, QUIET), seed=1)
    return reconstructed(rays, geometry), made


def test_materials_are_as_grey_as_in_a_reconstruction(twice):
    volume, made = twice
    mids = slice(8, 40)  # slices near the ends are less exact in a reconstruction
    away = ndimage.distance_transform_edt(made.labels == 0)
    flesh = (made.values > 0.04) & (away > 6)
    flesh = ndimage.binary_erosion(flesh, iterations=2)[mids]
    air = ((made.values < 0.01) & (away > 8))[mids]
    bone = (ndimage.uniform_filter(made.values, 3) > 0.12)[mids] & np.isin(made.labels, [1, 2, 3, 4, 5])[mids]
    a, b = volume[mids], made.values[mids]
    assert b[flesh].mean() == pytest.approx(a[flesh].mean(), rel=0.03)
    assert b[bone].mean() == pytest.approx(a[bone].mean(), rel=0.03)
    assert abs(b[air].mean() - a[air].mean()) < 0.001


def test_bones_lie_where_a_reconstruction_shows_them(twice):
    volume, made = twice
    for label in (2, 3, 4, 5):
        box = ndimage.find_objects((made.labels == label).astype(np.int8))[0]
        box = tuple(slice(max(s.start, 6), min(s.stop, 42)) if n == 0 else s for n, s in enumerate(box))
        a, b = volume[box].ravel(), made.values[box].ravel()
        assert np.corrcoef(a, b)[0, 1] > 0.97
        places = np.indices(volume[box].shape).reshape(3, -1)
        centres = [(places * v.clip(0.08)).sum(axis=1) / v.clip(0.08).sum() for v in (a, b)]
        assert np.abs(centres[0] - centres[1]).max() < 0.15
