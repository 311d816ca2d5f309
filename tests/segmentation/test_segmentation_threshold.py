"""Thresholds: planted mixtures give back the value between their classes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bonemet.core.calibration import Kind, Quantity
from bonemet.core.errors import InputError, SettingsError
from bonemet.segmentation.threshold import (
    PUBLISHED,
    bone_threshold,
    from_attenuation,
    grey_histogram,
    otsu,
    otsu_bone,
)


def slow_otsu(counts):
    """Between-class variance of every cut, spelled out; the middle of equally good cuts."""
    values = np.repeat(np.arange(len(counts)), counts).astype(float)
    score = {}
    for t in range(1, len(counts)):
        low, high = values[values < t], values[values >= t]
        if len(low) and len(high):
            score[t] = len(low) * len(high) * (low.mean() - high.mean()) ** 2
    best = max(score.values())
    return {t for t, s in score.items() if s >= best * (1 - 1e-9)}


def test_the_published_threshold_is_above_75():
    assert PUBLISHED == 76


@given(st.lists(st.integers(0, 30), min_size=4, max_size=24).filter(lambda c: np.count_nonzero(c) > 1))
@settings(max_examples=60, deadline=None)
def test_otsu_is_the_best_of_all_cuts(counts):
    assert otsu(counts) in slow_otsu(counts)


@given(st.floats(-3, 3), st.floats(0.1, 4))
@settings(max_examples=20, deadline=None)
def test_otsu_follows_shift_and_scale_of_the_values(shift, scale):
    counts = np.array([5, 9, 4, 0, 0, 2, 8, 3])
    assert otsu(counts, np.arange(8) * scale + shift) == pytest.approx(otsu(counts) * scale + shift)


def mixture(*classes, size=400_000, seed=0):
    rng = np.random.default_rng(seed)
    parts = [rng.normal(mean, sd, round(share * size)) for mean, sd, share in classes]
    return np.clip(np.rint(np.concatenate(parts)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("noise", [3, 7, 11])
@pytest.mark.parametrize("share", [0.004, 0.03])
@pytest.mark.parametrize("air", [0, 10])
def test_bone_is_parted_from_soft_tissue_however_scarce_it_is(noise, share, air):
    grey = mixture((air, noise, 0.7), (50, noise, 0.3 - share), (150, noise + 10, share))
    threshold = otsu_bone(np.bincount(grey, minlength=256))
    assert 85 < threshold < 115
    assert bone_threshold(grey.reshape(10, -1, 100)) == threshold


def test_a_dry_bone_in_air_gets_the_two_class_threshold():
    counts = np.bincount(mixture((10, 5, 0.9), (150, 12, 0.1)), minlength=256)
    assert otsu_bone(counts) == otsu(counts)
    assert 30 < otsu(counts) < 120


def test_other_types_give_the_threshold_of_8_bit_in_their_own_units():
    grey = mixture((5, 4, 0.7), (50, 6, 0.27), (150, 14, 0.03)).reshape(10, -1, 100)
    expected = bone_threshold(grey)
    assert bone_threshold(grey.astype(np.uint16) * 200) == pytest.approx(200 * expected, rel=0.03)
    assert bone_threshold(grey.astype(np.float32) * 0.001) == pytest.approx(0.001 * expected, rel=0.03)


def test_histograms_of_slabs_add_up():
    grey = mixture((40, 9, 1.0), size=3000).reshape(3, 10, 100)
    assert np.array_equal(grey_histogram([grey[:1], grey[1:]]), np.bincount(grey.ravel(), minlength=256))


def test_an_attenuation_becomes_the_first_grey_at_or_above_it():
    quantity = Quantity(Kind.GREY, (0.0, 0.3))
    grey = from_attenuation(0.09, quantity)
    assert 0.3 / 255 * grey >= 0.09 - 1e-9 > 0.3 / 255 * (grey - 1)
    assert from_attenuation(0.09, Quantity(Kind.ATTENUATION)) == 0.09
    with pytest.raises(InputError, match="window"):
        from_attenuation(0.09, Quantity(Kind.GREY))


def test_what_cannot_be_parted_is_refused():
    with pytest.raises(InputError, match="same"):
        otsu([0, 7, 0])
    with pytest.raises(SettingsError):
        otsu([3, -1, 2])
    with pytest.raises(InputError, match="same"):
        bone_threshold(np.zeros((3, 4, 5), np.float32))
    with pytest.raises(InputError, match="finite"):
        bone_threshold(np.full((3, 4, 5), np.nan, np.float32))
