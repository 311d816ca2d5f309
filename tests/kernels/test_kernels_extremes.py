"""Extremes in blocks of a slice, against plain filters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from bonemet.kernels.extremes import block_extremes


def plain(image, factors):
    mean = ndimage.uniform_filter(image.astype(np.float64), 3, mode="nearest")
    cut = ndimage.minimum_filter(image, 3, mode="nearest") == 0
    size = [-(-n // f) for n, f in zip(image.shape, factors, strict=True)]
    high, low = np.full(size, -np.inf), np.full(size, np.inf)
    for (i, j), value in np.ndenumerate(mean):
        if not cut[i, j]:
            block = i // factors[0], j // factors[1]
            high[block], low[block] = max(high[block], value), min(low[block], value)
    return high, low


@settings(deadline=None)
@given(
    hnp.arrays(
        np.uint8,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.sampled_from((0, 3, 90, 255)),
    ),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
def test_extremes_equal_those_of_plain_filters(image, factors):
    for found, wanted in zip(block_extremes(image, factors), plain(image, factors), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_any_kind_of_values_and_any_layout(dtype):
    image = (np.arange(1, 121).reshape(10, 12) % 37 + 1).astype(dtype)
    for view in (image, image.T, image[::-1, ::2]):
        for found, wanted in zip(block_extremes(view, (3, 2)), plain(view, (3, 2)), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-6)
