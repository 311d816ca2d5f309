"""Grades of scans: each fault is planted, and must be told; a scan without faults must be called good."""

from dataclasses import replace

import numpy as np
import pytest
from recon_phantom import BODY, geometry, intensities, project

from bonemet.recon import fdk, motion, quality

GEO = geometry(columns=96, rows=33, axis_offset_px=-2.6, optical_axis_row=16.0)
PIXEL = GEO.pixel_mm


@pytest.fixture(scope="module")
def still():
    return project(GEO)


def moved(move):
    """Line integrals of the body, displaced in each view by move(view) in mm."""
    views = []
    for view in range(len(GEO.angles_deg)):
        shapes = tuple(replace(e, centre=tuple(np.add(e.centre, move(view)))) for e in BODY)
        one = replace(GEO, angles_deg=GEO.angles_deg[view : view + 1])
        views.append(project(one, shapes, oversample=1)[0])
    return np.array(views)


def noisy(rays, photons=2e4, seed=0):
    return -np.log(np.maximum(intensities(rays, 40000.0, photons, seed), 1) / 40000.0).astype(np.float32)


@pytest.mark.parametrize("photons", [2e3, 2e4, 2e5])
def test_a_still_object_is_called_still(still, photons):
    found = motion.find_motion(noisy(still, photons), GEO, 0)
    assert found.px < 0.4
    assert found.jump_px == 0


@pytest.mark.parametrize(
    ("name", "move"),
    [
        ("down", lambda v: (0, 0, PIXEL * (v > 130))),
        ("twitch", lambda v: (0, 0, PIXEL * (v in (100, 101)))),
        ("across", lambda v: (0, 1.5 * PIXEL * (v > 130), 0)),
    ],
)
def test_motion_is_told_in_pixels(name, move):
    found = motion.find_motion(noisy(moved(move)), GEO, 0)
    assert 0.4 < found.px < 2.5


def test_beam_hardening_is_no_motion(still):
    rays = 3 * still
    hardened = -np.log(0.5 * np.exp(-1.5 * rays) + 0.5 * np.exp(-0.5 * rays)).astype(np.float32)
    assert motion.find_motion(hardened, GEO, 0).px < 0.4


def test_cut_off_views_say_nothing_about_the_path(still):
    narrow = replace(GEO, columns=40, axis_offset_px=0.0)
    found = motion.find_motion(project(narrow), narrow, 0)
    assert found.path_px is None
    assert quality.truncated_share(project(narrow)) > 0.9
    assert quality.truncated_share(noisy(still)) == 0


def slab(rays):
    return fdk.reconstruct(lambda v, a, b: rays[v, a:b], GEO, None, (12, 20))


def test_noise_and_signal_are_those_of_the_slices(still):
    rays = noisy(still)
    clean, found = slab(still), quality.of_slices(slab(rays), GEO, PIXEL)
    inside = clean > 0.02
    noise = (slab(rays) - clean)[inside].std()
    assert found["noise_per_mm"] == pytest.approx(noise, rel=0.35)
    assert found["bone_per_mm"] == pytest.approx(0.17, rel=0.1)
    assert found["signal_to_noise"] == pytest.approx(found["bone_per_mm"] / found["noise_per_mm"])
    assert found["view_spacing_px"] == pytest.approx(2.6 / PIXEL * np.radians(0.8), rel=0.15)


def test_rings_are_told(still):
    stripes = np.zeros((1, 33, 96), np.float32)
    stripes[..., ::9] = 0.1
    values = [quality.of_slices(slab(rays), GEO, PIXEL)["ring_share"] for rays in (still, still + stripes)]
    assert values[0] < quality.LIMITS["ring_share"][0] < values[1]


def test_grades_go_by_their_limits():
    found = quality.judge({"motion_px": 0.1, "signal_to_noise": 5.0, "saturated_share": 0.5, "other": 3.0})
    assert found.grades == {"motion_px": "good", "signal_to_noise": "fair", "saturated_share": "poor"}
    assert found.grade == "poor"
    assert len(found.notes) == 2
    assert quality.judge({"motion_px": None}).grade == "good"
    assert found.as_dict()["other"] == 3.0


def test_an_empty_field_has_no_signal():
    assert set(quality.of_slices(np.zeros((8, 9, 9), np.float32), GEO, 1.0).values()) == {None}
    assert quality.truncated_share(np.zeros((3, 4, 50), np.float32)) == 0


def test_an_optical_axis_beyond_the_rows_leaves_the_jumps(still):
    far = replace(GEO, optical_axis_row=90.0)
    found = motion.find_motion(still, far, 0)
    assert (found.opposite_px, found.path_px, found.jump_px) == (None, None, 0.0)
