"""Line integrals, dead pixels, the open beam, stripes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from recon_phantom import geometry, intensities, project

from bonemet.core.errors import InputError, SettingsError
from bonemet.recon import correct, rings


@settings(deadline=None)
@given(
    hnp.arrays(np.float32, (2, 3, 9), elements=st.floats(-0.0625, 4, width=32)),
    st.sampled_from([30000.0, 60000.0]),
)
def test_line_integrals_undo_the_exponential(planted, white):
    counts = np.rint(white * np.exp(-planted)).astype(np.uint16)
    found = correct.line_integrals(counts, white)
    assert found.dtype == np.float32
    assert np.abs(found - planted).max() < 1.01 / counts.min()


def test_flats_and_darks():
    rng = np.random.default_rng(2)
    dark = rng.uniform(90, 110, (5, 8)).astype(np.float32)
    white = dark + rng.uniform(2e4, 4e4, (5, 8)).astype(np.float32)
    planted = rng.uniform(0, 3, (4, 5, 8))
    counts = dark + (white - dark) * np.exp(-planted)
    assert correct.line_integrals(counts.astype(np.float32), white, dark) == pytest.approx(planted, abs=1e-3)
    assert correct.line_integrals(counts[0], white, dark).shape == (5, 8)


@given(st.sets(st.integers(0, 11), max_size=11))
def test_dead_pixels_lie_between_their_neighbours(dead):
    rising = np.linspace(0.2, 1.4, 12)
    counts = np.rint(60000 * np.exp(-rising)).astype(np.uint16)[None, None]
    counts[..., sorted(dead)] = 0
    found = correct.line_integrals(counts, 60000.0)[0, 0]
    live = sorted(set(range(12)) - dead)
    assert found == pytest.approx(np.interp(np.arange(12), live, rising[live]), abs=1e-4)


def test_stuck_pixels_are_told_from_a_beam_too_bright():
    rng = np.random.default_rng(3)
    images = rng.integers(20000, 65535, (5, 24, 40)).astype(np.uint16)
    images[:, :, 30:] = 65535  # air, exposed too long
    images[2, 5, 6] = 65535  # full once
    images[:, 9, 12] = 65535
    images[:, 3:20, 20] = 65535  # a line of the camera
    expected = np.zeros((24, 40), bool)
    expected[9, 12] = True
    expected[3:20, 20] = True
    assert np.array_equal(correct.stuck_pixels(list(images)), expected)


def test_stuck_pixels_lie_between_their_neighbours():
    rising = np.linspace(0.2, 1.4, 12)
    counts = np.rint(60000 * np.exp(-rising)).astype(np.uint16)[None, None]
    stuck = np.zeros((1, 12), bool)
    stuck[0, [0, 5, 6]] = True
    counts[..., stuck[0]] = 65535
    found = correct.line_integrals(counts, 60000.0, stuck=stuck)[0, 0]
    assert found[1:] == pytest.approx(rising[1:], abs=1e-4)
    assert found[0] == pytest.approx(rising[1], abs=1e-4)


def test_dead_rows_and_dead_beam():
    counts = np.full((1, 3, 4), 1000, np.uint16)
    counts[0, 1] = 0
    assert not correct.line_integrals(counts, 2000.0)[0, 1].any()
    white = np.full((3, 4), 2000, np.float32)
    white[2, 1:3] = 0
    found = correct.line_integrals(counts, white)
    assert np.isfinite(found).all()
    assert found[0, 2] == pytest.approx(np.log(2.0))


def scan(photons=2e4):
    geo = geometry(columns=128, rows=48, views=6, step=30)
    return intensities(project(geo), 40000.0, photons)


def test_white_is_found_in_the_air():
    white = correct.find_white(scan(), None)
    assert white.source == "air"
    assert white.value == pytest.approx(40000, rel=0.005)
    assert "air" in white.notes[0]


def test_white_of_the_log_stands_and_is_checked():
    white = correct.find_white(scan(), 40000.0)
    assert (white.value, white.source, white.notes) == (40000.0, "log", ())
    assert white.air == pytest.approx(40000, rel=0.005)
    wrong = correct.find_white(scan(), 50000.0)
    assert wrong.value == 50000.0
    assert "should read 50000" in wrong.notes[0]


def test_black_images_are_refused():
    with pytest.raises(InputError, match="black"):
        correct.find_white([np.zeros((8, 64), np.uint16)], None)


def test_stripes_go_and_the_object_stays():
    geo = geometry(columns=480, rows=1, views=130, step=1.6, optical_axis_row=0.0)
    clean = project(geo, oversample=1)[:, 0]
    stripes = np.zeros(480, np.float32)
    stripes[[110, 200, 240, 285, 360]] = [0.05, -0.03, 0.04, 0.06, -0.05]
    found = rings.remove_stripes(clean + stripes, 3)
    at = stripes != 0
    left = np.abs((found - clean).mean(axis=0))
    assert left[at].sum() < np.abs(stripes).sum() / 5
    assert np.abs(found - clean)[:, ~at].mean() < 0.001 * clean.mean()


def test_ring_level_zero_does_nothing_and_levels_are_bounded():
    rays = np.random.default_rng(0).random((20, 30), dtype=np.float32)
    assert np.array_equal(rings.remove_stripes(rays, 0), rays)
    for level in (-1, 21):
        with pytest.raises(SettingsError, match="between 0"):
            rings.remove_stripes(rays, level)
