"""The rotation axis and the sense of rotation, planted and found."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recon_phantom import Ellipsoid, geometry, intensities, project

from bonemet.core.errors import InputError
from bonemet.core.scan import ConeGeometry
from bonemet.recon import center, correct, fdk

DATA = Path(__file__).parents[2].parent / "shared" / "data"

LEGS = (
    Ellipsoid((0, 0.5, 0), (3.6, 2.4, 6), 0.03),
    Ellipsoid((1.9, 0.4, 0.2), (0.5, 0.6, 4), 0.20),
    Ellipsoid((1.9, 0.4, 0.2), (0.35, 0.45, 4), -0.15),
    Ellipsoid((-2.1, 0.9, 0.2), (0.5, 0.6, 4), 0.20),
    Ellipsoid((-2.1, 0.9, 0.2), (0.35, 0.45, 4), -0.15),
)


def sinograms(geo, photons=None, seed=0, shapes=LEGS):
    return correct.line_integrals(intensities(project(geo, shapes), 40000.0, photons, seed), 40000.0)


@pytest.mark.parametrize("seed", range(8))
def test_axis_of_noisy_short_scans(seed):
    rng = np.random.default_rng(seed)
    columns = 256
    geo = geometry(
        columns=columns,
        rows=7,
        axis_offset_px=rng.uniform(-0.055, 0.055) * columns,
        optical_axis_row=rng.uniform(2, 4),
        turn=int(rng.choice([1, -1])),
        step=0.8 * rng.choice([1, -1]),
    )
    found = center.find_axis_offset(sinograms(geo, 2e4, seed), replace(geo, axis_offset_px=0.0))
    assert found.offset_px == pytest.approx(geo.axis_offset_px, abs=0.05)
    assert found.turn == geo.turn
    assert found.turn_ok
    assert found.reliable
    assert found.notes == ()


@pytest.mark.parametrize("changes", [{"views": 360, "step": 1.0}, {"views": 226, "fan_deg": 0.01}])
def test_axis_of_whole_turns_and_parallel_beams(changes):
    geo = geometry(columns=160, rows=3, axis_offset_px=-5.3, optical_axis_row=1.0, **changes)
    found = center.find_axis_offset(sinograms(geo, 2e4), geo)
    assert found.offset_px == pytest.approx(-5.3, abs=0.1)
    assert found.reliable


@pytest.mark.parametrize("dropped", [[17], [40, 41, 180], [1, 100, 255]])
def test_axis_without_some_views(dropped):
    geo = geometry(columns=160, rows=5, axis_offset_px=2.7, optical_axis_row=2.0)
    rays = np.delete(sinograms(geo, 2e4), dropped, axis=0)
    found = center.find_axis_offset(rays, replace(geo, angles_deg=np.delete(geo.angles_deg, dropped)))
    assert found.offset_px == pytest.approx(2.7, abs=0.05)
    assert found.reliable


def test_wrong_sense_of_rotation_is_found_out():
    geo = geometry(columns=160, rows=5, axis_offset_px=2.7, optical_axis_row=2.0)
    found = center.find_axis_offset(sinograms(geo, 2e4), replace(geo, turn=-1))
    assert found.turn == 1
    assert not found.turn_ok
    assert found.turn_ratio > 2
    assert found.offset_px == pytest.approx(2.7, abs=0.05)
    assert "turn the other way than the log says" in found.notes[0]


def test_parallel_beam_does_not_tell_the_sense():
    geo = geometry(columns=160, rows=3, views=226, fan_deg=0.01, optical_axis_row=1.0)
    found = center.find_axis_offset(sinograms(geo), replace(geo, turn=-1))
    assert found.turn == -1
    assert found.turn_ratio == 1


def test_an_empty_scan_has_no_axis():
    geo = geometry(columns=96, rows=3, optical_axis_row=1.0)
    for rays in (np.zeros((260, 3, 96), np.float32), sinograms(geo, 2e3, shapes=())):
        found = center.find_axis_offset(rays, geo)
        assert not found.reliable
        assert any("could not be found" in n for n in found.notes)


def test_sinogram_must_fit_the_geometry():
    with pytest.raises(InputError, match="do not fit"):
        center.find_axis_offset(np.zeros((10, 96), np.float32), geometry())


def test_rows_near_the_plane_of_the_source():
    assert center.rows_near_axis(geometry(rows=64, optical_axis_row=31.5), 6) == (29, 35)
    assert center.rows_near_axis(geometry(rows=64, optical_axis_row=-40)) == (0, 7)
    assert center.rows_near_axis(geometry(rows=64, optical_axis_row=99)) == (57, 64)
    assert center.rows_near_axis(geometry(rows=3, optical_axis_row=1)) == (0, 3)
    far = geometry(columns=96, rows=3, optical_axis_row=99)
    assert any("outside the images" in n for n in center.find_axis_offset(sinograms(far), far).notes)


@pytest.mark.skipif(not (DATA / "sinograms").is_dir(), reason="the shared data are not here")
def test_axis_of_a_real_tooth():
    """A synchrotron row of 181 views over half a turn: the axis found leaves the least undershoot."""
    with np.load(DATA / "sinograms" / "tooth-parallel-row0.npz") as file:
        counts, flats, darks = (file[k] for k in ("projections", "flats", "darks"))
        angles = np.asarray(file["theta_deg"], float)
    white, dark = (a.reshape(-1, 1, 640).mean(axis=0).astype(np.float32) for a in (flats, darks))
    rays = correct.line_integrals(counts.reshape(181, 1, 640), white, dark)
    geo = ConeGeometry(1, 640, 0.01, 1e5, 1.1e5, angles)
    found = center.find_axis_offset(rays, geo)
    assert found.reliable

    tooth = fdk.default_grid(geo).crop((0, 190, 200), (1, 490, 470))

    def undershoot(offset):
        image = fdk.reconstruct(lambda v, a, b: rays[v, a:b], replace(geo, axis_offset_px=offset), tooth)
        return -image[image < 0].sum()

    best, left, right = (undershoot(found.offset_px + d) for d in (0, -0.75, 0.75))
    assert best < left
    assert best < right
