"""What reconstruct may be asked for besides: each option against what it should be equal to."""

from pathlib import Path

import numpy as np
import pytest
from recon_files import write_scan
from recon_phantom import Ellipsoid, geometry, intensities, project
from scipy import ndimage

from bonemet.core.errors import SettingsError
from bonemet.io import sidecar, skyscan, stacks
from bonemet.recon import projections
from bonemet.simulation.materials import HYDROXYAPATITE, MUSCLE
from bonemet.simulation.spectrum import tube_spectrum
from bonemet.stages.reconstruct import reconstruct
from bonemet.stages.reconstruct_density import assumed_line

OFFSET = 1.4


@pytest.fixture(scope="module")
def geo():
    return geometry(columns=96, rows=40, axis_offset_px=OFFSET, optical_axis_row=17.0)


@pytest.fixture(scope="module")
def scan(tmp_path_factory, geo):
    folder = tmp_path_factory.mktemp("raw") / "scan"
    write_scan(folder, geo, photons=2e5)
    return folder


def run(scan, out, **settings):
    outcome = reconstruct(scan, out, **{"format": "float", "axis_offset": OFFSET} | settings)
    return outcome, np.asarray(stacks.open_stack(out)[:])


@pytest.fixture(scope="module")
def whole(tmp_path_factory, scan):
    return run(scan, tmp_path_factory.mktemp("out") / "whole")[1]


def test_a_region_is_that_part_of_the_whole(scan, whole, tmp_path):
    outcome, found = run(scan, tmp_path / "part", region="20:71,30:80", slices="12:20")
    assert np.array_equal(found, whole[12:20, 30:80, 20:71])
    assert outcome.results["shape"] == [8, 50, 51]
    grid = sidecar.read(tmp_path / "part").core_grid()
    pixel = grid.spacing_mm[0]
    assert grid.origin_mm == pytest.approx((20 * pixel, 30 * pixel, 12 * pixel))
    log = skyscan.read_log(tmp_path / "part" / "mouse_rec.log")
    assert log.text("Reconstruction from ROI") == "ON"
    assert [log.number(f"ROI {k} (pixels)") for k in ("Left", "Right", "Bottom", "Top")] == [20, 70, 16, 65]


def test_air_is_left_out_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(projections, "SLAB", 16)
    thin = geometry(columns=160, rows=40, axis_offset_px=OFFSET, optical_axis_row=17.0)
    leg = [Ellipsoid((1.5, -1.0, 0.0), (0.8, 0.6, 30.0), 0.05)]
    write_scan(tmp_path / "raw", thin, images=intensities(project(thin, leg), 40000.0, 2e5))
    _, whole = run(tmp_path / "raw", tmp_path / "whole")
    outcome, found = run(tmp_path / "raw", tmp_path / "limbs", skip_air=True, median=0)
    same = found == whole
    assert not found[~same].any()
    assert same[whole > 0.03].all()
    assert (found == 0).mean() > (whole == 0).mean() + 0.2
    assert outcome.results["air_share"] > 0.5


def test_the_volume_filters_do_not_see_slabs(scan, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(projections, "SLAB", 16)
    _, found = run(scan, tmp_path / "filtered", median=1, smooth=0.7, slices="5:38")
    expected = ndimage.gaussian_filter(
        ndimage.median_filter(whole, 3, mode="nearest"), 0.7, mode="nearest", truncate=3.0
    )
    assert found == pytest.approx(expected[5:38], abs=1e-6)


def test_undersampling_keeps_the_place_and_the_axis(scan, whole, geo, tmp_path):
    outcome, found = run(scan, tmp_path / "coarse", undersample=2, axis_offset=None)
    assert found.shape == (20, 48, 48)
    assert outcome.results["axis_offset_px"] == pytest.approx(OFFSET, abs=0.3)
    grid = sidecar.read(tmp_path / "coarse").core_grid()
    assert grid.origin_mm == pytest.approx((geo.pixel_mm / 2,) * 3)
    means = whole.reshape(20, 2, 48, 2, 48, 2).mean(axis=(1, 3, 5))
    inner = np.hypot(*(np.indices((48, 48)) - 23.5)) < 20
    assert np.sqrt(np.mean((found - means)[4:16, inner] ** 2)) < 0.008
    log = skyscan.read_log(tmp_path / "coarse" / "mouse_rec.log")
    assert log.number("Pixel Size (um)") == pytest.approx(2000 * geo.pixel_mm, abs=1e-3)
    assert log.number("Undersampling factor") == 2
    view = sidecar.read(tmp_path / "coarse").core_view()
    whole_view = sidecar.read(tmp_path / "coarse").core_grid().centre_mm
    assert view.contains(whole_view)


@pytest.mark.parametrize("degrees", [90.0, -90.0])
def test_slices_turn_clockwise_as_shown(scan, whole, tmp_path, degrees):
    _, found = run(scan, tmp_path / "turned", rotate_deg=degrees, slices="17:18")
    expected = np.rot90(whole[17], -1 if degrees > 0 else 1)
    assert found[0] == pytest.approx(expected, abs=1e-4)


def test_bmp_holds_the_same_greys_as_png(scan, tmp_path):
    _, png = run(scan, tmp_path / "png", format="png", slices="17:19")
    outcome, bmp = run(scan, tmp_path / "bmp", format="bmp", slices="17:19")
    assert np.array_equal(png, bmp)
    assert sorted(p.suffix for p in (tmp_path / "bmp").iterdir()) == [".bmp", ".bmp", ".json", ".log"]
    assert outcome.results["attenuation_at_grey_75"] == pytest.approx(75 / 255 * 0.3)
    assert outcome.results["density_at_grey_75"] is None
    assert "tells no voltage" in outcome.results["density_reason"]


def test_density_at_grey_75_by_a_calibration(scan, tmp_path):
    outcome, _ = run(scan, tmp_path / "png", format="png", slices="17:18", calibration=(4000.0, -100.0))
    assert outcome.results["density_at_grey_75"] == pytest.approx(4000 * 75 / 255 * 0.3 - 100)
    assert "density_reason" not in outcome.results


def test_the_preview_shows_the_axis_that_was_used(scan, tmp_path):
    outcome, _ = run(scan, tmp_path / "out", slices="17:18", preview=True)
    path = tmp_path / "out axis.png"
    assert outcome.outputs == [str(tmp_path / "out"), str(path)]
    strip = stacks.slicefiles.read(path)
    width = strip.shape[1] // 7
    sharp = [
        np.abs(np.diff(strip[16:, k * width + 4 : (k + 1) * width - 4].astype(int))).sum() for k in range(7)
    ]
    assert strip.shape == (96 + 16, 7 * 98)
    assert strip[:16].max() > 200  # the offsets are written above
    assert sharp[3] < min(sharp[0], sharp[6])  # a wrong axis doubles every edge


def shell_scan(folder, geo):
    """A shell of bone, seen by a beam of two energies."""
    shapes = (Ellipsoid((0, 0, 0), (2.8, 2.8, 60), 1.0), Ellipsoid((0, 0, 0), (1.2, 1.2, 60), -1.0))
    path = project(geo, shapes)
    seen = -np.log(0.5 * np.exp(-0.45 * path) + 0.5 * np.exp(-0.15 * path))
    write_scan(folder, geo, images=intensities(seen), **{"Source Voltage (kV)": 50, "Filter": "Al 0.5mm"})


def cupping(image, geo):
    """By how much the shell's outer part is brighter than its inner one, over their mean."""
    r = np.hypot(*(np.indices(image.shape) - 47.5)) * geo.pixel_mm
    inner, outer = (image[(r > a) & (r < b)].mean() for a, b in ((1.4, 1.7), (2.3, 2.6)))
    return (outer - inner) / (outer + inner) * 2


def test_a_percentage_lifts_what_lies_deep(tmp_path):
    geo = geometry(columns=96, rows=5, optical_axis_row=2.0)
    shell_scan(tmp_path / "scan", geo)
    cups = {}
    for percent in (0, 10, 20):
        _, found = run(
            tmp_path / "scan", tmp_path / f"{percent}", hardening=percent, axis_offset=0.0, slices="2:3"
        )
        cups[percent] = cupping(found[0], geo)
    assert cups[0] > 0.08
    assert cups[10] < 0.6 * cups[0]
    assert cups[20] < cups[10]


def test_bone_is_straightened_for_the_known_beam_only(tmp_path):
    geo = geometry(columns=96, rows=5, optical_axis_row=2.0)
    shell_scan(tmp_path / "scan", geo)
    outcome, _ = run(tmp_path / "scan", tmp_path / "out", hardening="bone", axis_offset=0.0, slices="2:3")
    assert "0.5 mm Al" in outcome.results["hardening"]
    write_scan(tmp_path / "other", geo, **{"Source Voltage (kV)": 80})
    with pytest.raises(ValueError, match="80 kV"):
        run(tmp_path / "other", tmp_path / "out2", hardening="bone")


def test_density_by_the_assumed_beam_says_so(geo, tmp_path):
    images = intensities(project(geo), 40000.0, 2e5)
    write_scan(tmp_path / "scan", geo, images=images, **{"Source Voltage (kV)": 50, "Filter": "Al 0.5mm"})
    plain, _ = run(tmp_path / "scan", tmp_path / "plain", format="png", slices="17:18")
    straight, _ = run(
        tmp_path / "scan", tmp_path / "straight", format="png", slices="17:18", hardening="bone"
    )
    assert "assumed: hydroxyapatite in muscle, a tungsten tube at 50 kV" in plain.results["density_source"]
    assert "hardened by 10 mm of flesh" in plain.results["density_source"]
    assert "before it hardens" in straight.results["density_source"]
    # one attenuation means more mineral where the beam is harder
    assert 0 < straight.results["density_at_grey_75"] < plain.results["density_at_grey_75"] < 1000
    write_scan(tmp_path / "hard", geo, images=images, **{"Source Voltage (kV)": 80})
    other, _ = run(tmp_path / "hard", tmp_path / "other", format="png", slices="17:18")
    assert other.results["density_at_grey_75"] is None
    assert "80 kV" in other.results["density_reason"]


def test_the_assumed_line_gives_pure_materials_their_density():
    log = skyscan.SkyScanLog(Path("x.log"), {"Acquisition": {"Filter": "Al 0.5mm"}})
    slope, intercept, aluminium = assumed_line(log, straightened=True)
    beam = tube_spectrum(aluminium)
    muscle = float(beam.weights @ MUSCLE.attenuation(beam.energies_kev)) / 10
    apatite = float(beam.weights @ HYDROXYAPATITE.attenuation(beam.energies_kev)) / 10
    assert slope * muscle + intercept == pytest.approx(0, abs=1e-6)
    assert slope * apatite + intercept == pytest.approx(1000 * HYDROXYAPATITE.density)


def test_hounsfield_units_of_water_and_air(scan, whole, tmp_path):
    water, air = 0.04, 0.001
    _, found = run(scan, tmp_path / "hu", hounsfield=(water, air))
    assert found == pytest.approx((whole - water) / (water - air) * 1000, abs=0.02)
    side = sidecar.read(tmp_path / "hu")
    assert side.quantity is not None
    assert side.quantity.kind == "HU"
    assert skyscan.read_log(tmp_path / "hu" / "mouse_rec.log").flag("HU Calibration") is True
    grey, _ = run(scan, tmp_path / "grey", hounsfield=(water, air), format="png", slices="17:18")
    assert grey.results["hu_at_grey_0"] == pytest.approx(-water / (water - air) * 1000)
    per_grey = grey.results["hu_per_grey"]
    assert grey.results["hu_at_grey_0"] + 255 * per_grey == pytest.approx(
        (0.3 - water) / (water - air) * 1000
    )
    with pytest.raises(SettingsError, match="Water attenuates more than air"):
        run(scan, tmp_path / "bad", hounsfield=(air, water))
