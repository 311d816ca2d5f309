"""Stripes in sinograms, which become rings in slices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.errors import SettingsError

MAX_LEVEL = 20


def check_level(level: int) -> int:
    """Return the level, or refuse one that is not within 0 to 20."""
    if not 0 <= level <= MAX_LEVEL:
        raise SettingsError(f"The ring level lies between 0 (off) and {MAX_LEVEL}, not at {level}.")
    return level


def remove_stripes(sinogram: NDArray[Any], level: int) -> NDArray[np.float32]:
    """Return a sinogram (views, columns) without its narrow stripes.

    Each column is sorted along the views; a stripe then is a column that differs from its neighbours at
    every rank, and a median across 2 * level + 1 columns takes it away. The order is put back, so what
    moves from view to view stays (Vo 2018, algorithm 3, doi:10.1364/OE.26.028396). Level 0 does nothing.
    """
    rays = np.asarray(sinogram, dtype=np.float32)
    if check_level(level) == 0:
        return rays
    order = np.argsort(rays, axis=0, kind="stable")
    ranked = np.take_along_axis(rays, order, axis=0)
    smooth = ndimage.median_filter(ranked, size=(1, 2 * level + 1), mode="nearest")
    out = np.empty_like(rays)
    np.put_along_axis(out, order, smooth, axis=0)
    return out
