"""The camera's noise and faults, and the scanner's geometry."""

from dataclasses import replace

import numpy as np
import pytest

from bonemet.core.errors import SettingsError
from bonemet.simulation.detector import DOSES, PERFECT, WHITE, Detector, dose, expose, panel, record
from bonemet.simulation.presets import PRESETS, preset

FLAT = Detector(
    10_000.0, blur_px=0, electronic=0, gain_error=0, drift=0, flicker=0, dead_share=0, flat_drift=0
)


def shots(light, detector, views=1, seed=5):
    faults = panel(detector, *light.shape, seed)
    return [record(light, detector, faults, view=v, views=views, seed=seed) for v in range(views)]


@pytest.mark.parametrize("transmission", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("photons", [2_000.0, 20_000.0])
def test_noise_is_poisson(transmission, photons):
    detector = Detector(
        photons, blur_px=0, electronic=0, gain_error=0, drift=0, flicker=0, dead_share=0, flat_drift=0
    )
    light = np.full((300, 300), transmission, np.float32)
    counts = shots(light, detector)[0] * (photons / WHITE)
    assert counts.mean() == pytest.approx(transmission * photons, rel=0.01)
    # the greys are rounded, which adds a twelfth of a step; 90000 pixels give the variance to 0.5 %
    rounding = (photons / WHITE) ** 2 / 12
    assert counts.var() == pytest.approx(transmission * photons + rounding, rel=0.03)


@pytest.mark.parametrize("mean", [0.4, 6.0, 38.0, 43.0, 300.0])
@pytest.mark.parametrize("electronic", [0.0, 5.0])
def test_few_photons_have_poisson_cumulants(mean, electronic):
    """Mean, variance and third cumulant of Poisson noise are all its mean; electronic noise adds variance."""
    camera = Detector(mean, 0, electronic, 0, 0, 0, 0, 0)
    faults, size = panel(camera, 400, 400, 1), 400 * 400 * 4
    light = np.full((400, 400), 1.0, np.float32)
    counts = np.empty((4, 400, 400), np.float32)
    for view in range(4):
        expose(light, mean, electronic, faults.flat, np.uint64(1000 + view), counts[view])
    away = counts.astype(float) - mean
    variance = mean + electronic**2
    assert away.mean() == pytest.approx(0, abs=4 * np.sqrt(variance / size))
    assert (away**2).mean() == pytest.approx(variance, rel=0.012)
    # the third moment scatters by sqrt(15 variance^3 / n) for what is nearly normal
    assert (away**3).mean() == pytest.approx(mean, abs=5 * np.sqrt(15 * variance**3 / size) + 0.01 * mean)
    assert abs(np.corrcoef(away[0, :, 1:].ravel(), away[0, :, :-1].ravel())[0, 1]) < 0.012
    assert abs(np.corrcoef(away[0].ravel(), away[1].ravel())[0, 1]) < 0.012


def test_open_beam_drifts_away_from_its_flat_field():
    detector = Detector(1e10, 0, 0, gain_error=0, drift=0, flicker=0, dead_share=0, flat_drift=0.02)
    light = np.full((61, 81), 0.5, np.float32)
    first, middle, last = (s / (0.5 * WHITE) - 1 for s in shots(light, detector, views=3))
    across, down, bowl = panel(detector, 61, 81, 5).flat
    y, x = np.meshgrid(np.linspace(-1, 1, 61), np.linspace(-1, 1, 81), indexing="ij")
    wanted = across * x + down * y + bowl * (x**2 + y**2)
    assert np.abs(wanted).max() > 0.005
    assert np.allclose(last, wanted, atol=2e-4)
    assert np.allclose(middle, wanted / 2, atol=2e-4)
    assert np.allclose(first, 0, atol=2e-4)


def test_electronic_noise_adds_up():
    detector = Detector(10_000.0, 0, 50.0, 0, 0, 0, 0, 0)
    counts = shots(np.full((300, 300), 0.25, np.float32), detector)[0] * (10_000 / WHITE)
    assert counts.var() == pytest.approx(2_500 + 50**2, rel=0.03)


def test_perfect_camera_and_blur():
    light = np.zeros((41, 41), np.float32)
    light[20, 20] = 1.0
    assert np.array_equal(shots(light, PERFECT)[0], np.round(light * WHITE))
    blurred = Detector(1e12, 1.5, 0, 0, 0, 0, 0)
    image = shots(light, blurred)[0].astype(float)
    assert image.sum() == pytest.approx(WHITE, rel=2e-3)
    variance = ((np.arange(41) - 20) ** 2 * image.sum(axis=0)).sum() / image.sum()
    assert variance == pytest.approx(1.5**2, rel=0.03)


def test_pixels_keep_their_errors_and_drift():
    detector = Detector(1e10, 0, 0, gain_error=0.01, drift=0.004, flicker=0, dead_share=0, flat_drift=0)
    light = np.full((120, 130), 0.8, np.float32)
    first, middle, last = (s / (0.8 * WHITE) - 1 for s in shots(light, detector, views=3))
    assert first.std() == pytest.approx(0.01, rel=0.03)
    assert (last - first).std() == pytest.approx(0.004, rel=0.03)
    assert np.allclose(middle - first, (last - first) / 2, atol=1e-4)


def test_dead_pixels_are_few_dark_and_stay():
    detector = Detector(10_000.0, dead_share=1e-3)
    one, two = shots(np.ones((100, 100), np.float32), detector, views=2)
    assert 5 <= (one == 0).sum() <= 10
    assert np.array_equal(one == 0, two == 0)


def test_views_do_not_depend_on_their_order():
    light = np.linspace(0.1, 1, 900, dtype=np.float32).reshape(30, 30)
    detector = dose("normal")
    faults = panel(detector, 30, 30, 7)
    forward = [record(light, detector, faults, view=v, views=4, seed=7) for v in range(4)]
    backward = [record(light, detector, faults, view=v, views=4, seed=7) for v in (3, 2, 1, 0)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forward, backward, strict=True))
    assert not np.array_equal(forward[0], forward[1])
    other = record(light, detector, faults, view=0, views=4, seed=8)
    assert not np.array_equal(forward[0], other)


def test_bright_light_does_not_wrap_round():
    assert shots(np.full((4, 4), 3.0, np.float32), FLAT)[0].min() == 65535


def test_doses_rise():
    assert DOSES["low"] < DOSES["normal"] < DOSES["high"]
    with pytest.raises(SettingsError, match="low, normal, high"):
        dose("lethal")
    with pytest.raises(SettingsError, match="photons"):
        Detector(0)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_keep_the_scanners_width(name):
    chosen = preset(name)
    geometry = chosen.geometry(1.5)
    whole = replace(geometry, columns=chosen.camera_columns)
    assert whole.cone_angle_horizontal_deg == pytest.approx(25.888290, abs=1e-9)
    assert geometry.range_deg == pytest.approx(208)
    assert geometry.axis_offset_px == 1.5
    assert chosen.camera_columns * chosen.pixel_mm == pytest.approx(42.6586, abs=1e-3)
    x, y = chosen.crop_origin
    assert 2 * x + chosen.columns == chosen.camera_columns
    assert 0 <= y <= chosen.camera_rows - chosen.rows


def test_windows_keep_the_pixel_and_the_middle():
    window = preset("full").window(640, 300)
    assert window.pixel_mm == preset("full").pixel_mm
    assert window.crop_origin == (1696, 1371 - 153)
    assert window.geometry().optical_axis_row == 153
    for columns, rows in ((641, 300), (4034, 300), (640, 3000), (8, 300)):
        with pytest.raises(SettingsError, match="window"):
            preset("full").window(columns, rows)


def test_full_preset_has_the_published_cone_angles():
    geometry = preset("full").geometry()
    assert geometry.cone_angle_vertical_deg == pytest.approx(17.423092, abs=1e-6)
    assert geometry.pixel_mm == pytest.approx(0.01058, abs=1e-6)
    with pytest.raises(SettingsError, match="tiny"):
        preset("huge")
