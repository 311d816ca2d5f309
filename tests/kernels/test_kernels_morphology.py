"""Growing and shrinking masks: scipy is the oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from bonemet.kernels.morphology import grow, shrink
from bonemet.segmentation.components import ball


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 14), st.integers(1, 12)),
    radius=st.floats(0.5, 3.6),
    spacing=st.sampled_from([(1.0, 1.0, 1.0), (0.5, 1.0, 0.8)]),
    share=st.floats(0, 1),
)
def test_grown_and_shrunk_as_scipy_does(seed, shape, radius, spacing, share):
    mask = np.random.default_rng(seed).random(shape) < share
    element = ball(radius, spacing)
    assert np.array_equal(grow(mask, element), ndimage.binary_dilation(mask, element))
    assert np.array_equal(shrink(mask, element), ndimage.binary_erosion(mask, element, border_value=1))


@pytest.mark.parametrize("element", [np.ones((3, 3, 3), bool), np.ones((1, 1, 1), bool)])
def test_boxes_grow_a_view_of_a_larger_mask(element):
    whole = np.random.default_rng(0).random((8, 9, 10)) < 0.2
    part = whole[1:7:2, :, ::-1]
    before = whole.copy()
    assert np.array_equal(grow(part, element), ndimage.binary_dilation(part, element))
    assert np.array_equal(whole, before)
