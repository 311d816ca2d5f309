"""A tilted axis is found where it shows, and turned upright."""

from dataclasses import replace

import numpy as np
import pytest
from recon_files import write_scan
from recon_phantom import Ellipsoid, geometry, intensities, project

from bonemet.core.errors import SettingsError
from bonemet.io import skyscan, stacks
from bonemet.recon import fdk, tilt
from bonemet.recon.views import TurnedViews
from bonemet.stages.reconstruct import reconstruct

GEO = geometry(columns=160, rows=80, axis_offset_px=2.3, optical_axis_row=37.0)
SHAPES = (
    Ellipsoid((0.1, -0.2, 0.3), (3.4, 2.8, 3.4), 0.05),
    *(
        Ellipsoid((2.4 * np.cos(k), 2.2 * np.sin(k), 1.6 * np.sin(5 * k)), (0.5, 0.4, 0.45), 0.12)
        for k in range(7)
    ),
)
RAYS = project(GEO, SHAPES, oversample=1)


def leaning(degrees):
    """What a camera tilted by so many degrees sees; written from core/scan.py, not from recon."""
    row0, column0 = GEO.optical_axis_row, (GEO.columns - 1) / 2 + GEO.axis_offset_px
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    j, i = np.indices((GEO.rows, GEO.columns))
    down, across = j - row0, i - column0
    # the axis, a point of which stands at (row0 + t c, column0 + t s), must come from (row0 + t, column0)
    rows = np.clip(row0 + c * down + s * across, 0, GEO.rows - 1.001)
    columns = np.clip(column0 + c * across - s * down, 0, GEO.columns - 1.001)
    a, b = rows.astype(int), columns.astype(int)
    t, u = rows - a, columns - b
    return (1 - t) * ((1 - u) * RAYS[:, a, b] + u * RAYS[:, a, b + 1]) + t * (
        (1 - u) * RAYS[:, a + 1, b] + u * RAYS[:, a + 1, b + 1]
    )


@pytest.mark.parametrize("degrees", [-0.6, 0.0, 0.45])
def test_the_tilt_is_found(degrees):
    rays = leaning(degrees).astype(np.float32)
    a, b = tilt.rows_needed(GEO)
    found = tilt.find_tilt(rays[:, a:b], GEO)
    assert found.tilt_deg == pytest.approx(degrees, abs=0.06)
    assert found.wander_px == pytest.approx(np.radians(degrees) * 79, abs=0.1)
    assert found.certain == (degrees != 0)


def test_turned_views_undo_a_tilt():
    images = intensities(leaning(2.0), 40000.0)
    column = (GEO.columns - 1) / 2 + GEO.axis_offset_px
    views = TurnedViews(images, 2.0, (GEO.optical_axis_row, column))
    upright = -np.log(np.stack([views[v] for v in (0, 100)]) / 40000.0)
    inner = np.s_[:, 15:-15, 10:-10]
    before = np.abs(-np.log(images[[0, 100]] / 40000.0) - RAYS[[0, 100]])[inner]
    assert np.abs(upright - RAYS[[0, 100]])[inner].mean() < 0.35 * before.mean()  # two linear interpolations
    assert np.array_equal(views.rows(100, 20, 41), views[100][20:41])
    images[100][40, 80] = 0
    assert (TurnedViews(images, 2.0, (37.0, column))[100] == 0).sum() in (4, 5)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw") / "scan"
    write_scan(folder, GEO, images=intensities(leaning(-0.6), 40000.0, 1e6), **{"Image Rotation": -0.6})
    return folder


def test_a_tilted_scan_is_sharp_again(scan, tmp_path):
    upright = fdk.reconstruct(lambda view, a, b: RAYS[view, a:b], GEO, None, (8, 16))
    inner = np.hypot(*(np.indices((160, 160)) - 79.5)) < 70

    def error(name, **settings):
        outcome = reconstruct(scan, tmp_path / name, format="float", slices="8:16", **settings)
        found = np.asarray(stacks.open_stack(tmp_path / name)[:])
        return outcome, float(np.sqrt(np.mean((found - upright)[:, inner] ** 2)))

    outcome, mended = error("auto")
    assert outcome.results["axis_tilt_deg"] == pytest.approx(-0.6, abs=0.06)
    assert outcome.results["tilt_source"] == "data"
    assert outcome.results["axis_offset_px"] == pytest.approx(2.3, abs=0.1)
    assert any("tilted against the camera by -0." in w for w in outcome.warnings)
    assert skyscan.read_log(tmp_path / "auto" / "mouse_rec.log").number("Image Rotation") == -0.6
    by_log, logged = error("log", tilt="log")
    assert by_log.results["axis_tilt_deg"] == -0.6
    off, tilted = error("off", tilt="off")
    assert off.results["axis_tilt_deg"] == 0
    assert mended < 0.75 * tilted  # turning smooths a little
    assert logged < 0.75 * tilted  # turning smooths a little


def test_an_upright_scan_is_left_as_it_is(tmp_path):
    write_scan(tmp_path / "scan", GEO, images=intensities(RAYS, 40000.0, 1e5))
    found = [
        reconstruct(tmp_path / "scan", tmp_path / str(how), format="float", slices="36:38", tilt=how)
        for how in ("auto", 0.0)
    ]
    assert [f.results["axis_tilt_deg"] for f in found] == [0, 0]
    a, b = (np.asarray(stacks.open_stack(tmp_path / str(how))[:]) for how in ("auto", 0.0))
    assert np.array_equal(a, b)


@pytest.mark.parametrize("value", ["much", 45, float("nan")])
def test_senseless_tilts_are_refused(scan, tmp_path, value):
    with pytest.raises(SettingsError, match="tilt"):
        reconstruct(scan, tmp_path / "out", tilt=value)
    assert replace(GEO, axis_tilt_deg=1.0).axis_tilt_deg == 1.0
