"""Redundancy weights and ramp filters."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recon_phantom import geometry

from bonemet.core.errors import InputError, SettingsError
from bonemet.recon import weights


@given(
    half_fan=st.floats(0.05, 1.5),
    gamma=st.floats(-1.0, 1.0),
    part=st.floats(0.0, 1.0),
)
def test_opposite_rays_share_one_line(half_fan, gamma, part):
    g = gamma * half_fan * 0.999
    beta = part * 2 * (half_fan - g)  # so that the opposite ray is in the scan, too
    one = weights.parker(np.array([beta]), np.array([g]), half_fan)
    other = weights.parker(np.array([beta + math.pi + 2 * g]), np.array([-g]), half_fan)
    assert one[0, 0] + other[0, 0] == pytest.approx(1, abs=1e-9)


@given(
    views=st.integers(200, 420),
    fan=st.floats(0.01, 24.0),
    offset=st.floats(-4.0, 4.0),
    turn=st.sampled_from([1, -1]),
    sign=st.sampled_from([1, -1]),
)
def test_every_line_counts_once(views, fan, offset, turn, sign):
    """Each column sees half a turn of lines, counted once, when opposite columns are added."""
    geo = geometry(
        columns=41, rows=1, views=views, step=sign * 1.0, fan_deg=fan, axis_offset_px=offset, turn=turn
    )
    if geo.range_deg < weights.needed_range_deg(geo) + 2:
        return
    total = weights.redundancy_weights(geo).astype(float).sum(axis=0)
    mirrored = np.interp(2 * weights.axis_column(geo) - np.arange(41), np.arange(41), total)
    inside = slice(9, 32)
    assert (total + mirrored)[inside] == pytest.approx(2 * math.pi, rel=0.002)


def test_wrong_sense_would_count_lines_wrongly():
    right, wrong = (
        weights.redundancy_weights(geometry(columns=41, rows=1, turn=t)).astype(float) for t in (1, -1)
    )
    assert np.allclose(right, wrong[:, ::-1], atol=1e-6)
    assert np.abs(right - wrong).max() > 0.3 * right.max()


def test_half_fan_of_a_208_degree_scan():
    geo = geometry()
    assert geo.range_deg == pytest.approx(208)
    assert weights.needed_range_deg(geo) == pytest.approx(
        180 + 2 * math.degrees(math.atan(47.5 / 96 * 9 / geo.sod_mm))
    )
    assert weights.range_note(geo) is None
    assert "far from the axis" in weights.range_note(geometry(axis_offset_px=12))
    assert "need" in weights.range_note(geometry(views=240))
    with pytest.raises(InputError, match="at least 180"):
        weights.range_note(geometry(views=200))


def test_views_stand_for_the_angle_around_them():
    assert weights.view_widths(np.arange(5) * 0.8) == pytest.approx(np.radians(0.8))
    assert weights.view_widths(-np.array([0.0, 1, 3, 4])) == pytest.approx(np.radians([1, 1.5, 1.5, 1]))
    assert weights.view_widths(np.array([0.0, 90, 180]), whole_turn=True) == pytest.approx(
        np.radians([135, 90, 135])
    )
    with pytest.raises(InputError):
        weights.view_widths(np.array([0.0]))


@given(dropped=st.sets(st.integers(0, 359), min_size=1, max_size=12), sign=st.sampled_from([1, -1]))
def test_views_beside_a_dropped_one_stand_for_it(dropped, sign):
    angles = sign * np.array([float(a) for a in range(360) if a not in dropped])
    geo = geometry(columns=5, rows=1, views=len(angles), angles_deg=angles)
    if not weights.follows_on(geo):
        return
    widths = weights.view_widths(angles, whole_turn=True)
    assert widths.sum() == pytest.approx(2 * math.pi)
    assert widths.max() > np.radians(1.4)
    assert weights.redundancy_weights(geo) == pytest.approx(np.tile(widths[:, None] / 2, 5), abs=1e-6)


@pytest.mark.parametrize("name", weights.FILTERS)
def test_filters_are_the_ramp_at_low_frequencies(name):
    n, pixel = 512, 0.02
    h = weights.ramp_filter(n, pixel, name)
    f = np.arange(h.size) / (n * pixel)
    assert h[4:12] == pytest.approx(f[4:12], rel=0.01)
    assert 0 <= h[0] < f[1]  # almost no mean: exactly none only for an endless row
    ends = {"ramp": 1.0, "shepp-logan": 2 / math.pi, "cosine": 0.0, "hamming": 0.08, "hann": 0.0}
    assert h[-1] * 2 * pixel == pytest.approx(ends[name], abs=1e-3)
    half = weights.ramp_filter(n, pixel, name, cutoff=0.5)
    assert not half[n // 4 + 1 :].any()
    assert half[1 : n // 4 - 4].all()


def test_ramp_kernel_in_space():
    """Kak and Slaney's band-limited kernel: 1/4, 0 at even places, -1/(pi k)^2 at odd ones."""
    kernel = np.fft.irfft(weights.ramp_filter(64, 0.5, "ramp").astype(float)) * 0.5
    assert kernel[:4] == pytest.approx([0.25, -1 / math.pi**2, 0, -1 / (3 * math.pi) ** 2], abs=1e-7)


def test_senseless_filters_are_refused():
    with pytest.raises(SettingsError, match="choose one of"):
        weights.ramp_filter(64, 0.1, "hat")
    for cutoff in (0.0, 1.5):
        with pytest.raises(SettingsError, match="cutoff"):
            weights.ramp_filter(64, 0.1, "hann", cutoff)


def test_axis_outside_the_columns_is_refused():
    with pytest.raises(InputError, match="outside"):
        weights.field_radius_mm(geometry(axis_offset_px=60))
