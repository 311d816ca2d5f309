"""Rays straightened against beam hardening: the planted beam gives the planted path back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recon_phantom import Ellipsoid, geometry, project

from bonemet.core.errors import SettingsError
from bonemet.recon import beam_hardening, fdk
from bonemet.simulation.materials import HYDROXYAPATITE, MUSCLE
from bonemet.simulation.spectrum import tube_spectrum


def bone_beam():
    """Signal weights of the simulated tube, and attenuation of bone in 1/mm."""
    spectrum = tube_spectrum()
    e = spectrum.energies_kev
    per_cm = 1.1 * HYDROXYAPATITE.mass_attenuation(e) + 0.65 * MUSCLE.attenuation(e)
    return spectrum.weights, per_cm / 10


def measured(path_mm, weights, per_mm):
    return -np.log(np.exp(-np.multiply.outer(path_mm, per_mm)) @ weights)


@settings(deadline=None, max_examples=40)
@given(
    path=st.floats(0, 30),
    soft=st.floats(0.05, 0.5),
    hard=st.floats(0.02, 0.05),
    share=st.floats(0.1, 0.9),
)
def test_a_known_beam_gives_the_path_back(path, soft, hard, share):
    weights, per_mm = np.array([share, 1 - share]), np.array([soft, hard])
    curve, mean = beam_hardening.for_material(weights, per_mm)
    assert mean == pytest.approx(weights @ per_mm)
    seen = np.array([measured(path, weights, per_mm)], np.float32)
    assert curve(seen)[0] == pytest.approx(path * mean, rel=2e-3, abs=1e-4)


def test_percent_is_the_gain_at_one_and_zero_does_nothing():
    rays = np.array([[-0.2, 0.0, 1.0, 3.0]], np.float32)
    assert beam_hardening.by_percent(0)(rays) == pytest.approx(rays, abs=1e-6)
    found = beam_hardening.by_percent(20)(rays)
    assert found.shape == rays.shape
    assert found[0] == pytest.approx([-0.2, 0.0, 1.2, 4.8], abs=1e-3)
    with pytest.raises(SettingsError, match="0 to 100"):
        beam_hardening.by_percent(-1)


def test_a_beam_and_a_material_must_fit():
    with pytest.raises(SettingsError, match="each energy"):
        beam_hardening.for_material(np.ones(3), np.ones(2))


def test_cupping_of_a_bone_shell_is_cut_fivefold():
    geo = geometry(columns=128, rows=5, optical_axis_row=2.0)
    shapes = (Ellipsoid((0, 0, 0), (2.8, 2.8, 60), 1.0), Ellipsoid((0, 0, 0), (1.2, 1.2, 60), -1.0))
    weights, per_mm = bone_beam()
    rays = measured(project(geo, shapes), weights, per_mm).astype(np.float32)
    curve, mean = beam_hardening.for_material(weights, per_mm)
    r = np.hypot(*(np.indices((128, 128)) - 63.5)) * geo.pixel_mm

    def zones(values):
        image = fdk.reconstruct(lambda v, a, b: values[v, a:b], geo, None, (2, 3))[0]
        return [image[(r > a) & (r < b)].mean() for a, b in ((1.4, 1.7), (2.3, 2.6))]

    before, after = zones(rays), zones(curve(rays))
    cups = [(outer - inner) / (outer + inner) * 2 for inner, outer in (before, after)]
    assert cups[0] > 0.1
    assert abs(cups[1]) < cups[0] / 5
    assert after == pytest.approx([mean, mean], rel=0.02)
