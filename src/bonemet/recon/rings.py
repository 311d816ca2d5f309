"""Stripes in sinograms, which become rings in slices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.errors import SettingsError

MAX_LEVEL = 20
RANKS = 64  # that are looked at, spread over all


def check_level(level: int) -> int:
    """Return the level, or refuse one that is not within 0 to 20."""
    if not 0 <= level <= MAX_LEVEL:
        raise SettingsError(f"The ring level lies between 0 (off) and {MAX_LEVEL}, not at {level}.")
    return level


def remove_stripes(sinogram: NDArray[Any], level: int) -> NDArray[np.float32]:
    """Return a sinogram (views, columns) without its stripes; level 0 does nothing.

    Each column is sorted along the views; a column that reads wrongly then differs from its neighbours at
    every rank (the sorting of Vo 2018, algorithm 3, doi:10.1364/OE.26.028396). Unlike there, the sinogram is
    not replaced by its median across the columns: of each column's differences from that median the middle
    one is taken away as a whole. So detail that moves from view to view is left as it was, and the level (the
    median goes over about so many columns) costs little.
    """
    rays = np.asarray(sinogram, dtype=np.float32)
    if check_level(level) == 0:
        return rays
    ranked = np.sort(rays, axis=0)[:: max(1, len(rays) // RANKS)]
    width = 2 * ((level + 1) // 2) + 1
    wrong = ranked - ndimage.median_filter(ranked, size=(1, width), mode="nearest")
    return np.asarray(rays - np.median(wrong, axis=0), dtype=np.float32)
