"""A person's contours, drawn in some slices and interpolated in those between."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import InputError
from bonemet.roi.fibula import interpolate_contour


class DrawnContours:
    """Masks drawn in some slices; between two of them the outline is interpolated by its distances.

    Shape-based interpolation (Raya and Udupa 1990, doi:10.1109/42.52980).

    Parameters
    ----------
    drawn
        Mask (y, x) by slice number; empty ones are left out.

    Raises
    ------
    InputError
        If nothing is drawn, or in slices of different sizes.
    """

    def __init__(self, drawn: Mapping[int, NDArray[np.bool_]]) -> None:
        self._drawn = {int(z): np.asarray(m, dtype=bool) for z, m in sorted(drawn.items()) if np.any(m)}
        if not self._drawn:
            raise InputError("No contour is drawn in any slice; draw in at least one.")
        shapes = {m.shape for m in self._drawn.values()}
        if len(shapes) > 1:
            raise InputError(f"Contours are drawn in slices of different sizes: {sorted(shapes)}.")
        self._at = np.array(list(self._drawn))

    @property
    def first(self) -> int:
        """Lowest slice with a contour."""
        return int(self._at[0])

    @property
    def last(self) -> int:
        """Highest slice with a contour."""
        return int(self._at[-1])

    def mask(self, z: int) -> NDArray[np.bool_]:
        """Return the mask (y, x) in slice ``z``: as drawn, interpolated, or empty beyond the contours."""
        if z in self._drawn:
            return self._drawn[z]
        if not self.first < z < self.last:
            return np.zeros_like(self._drawn[self.first])
        k = int(np.searchsorted(self._at, z))
        below, above = int(self._at[k - 1]), int(self._at[k])
        share = (z - below) / (above - below)
        return interpolate_contour(self._drawn[below], self._drawn[above], share)
