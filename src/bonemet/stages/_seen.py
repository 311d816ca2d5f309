"""Volumes without what one of two scans did not see."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.grid import Grid
from bonemet.core.view import View
from bonemet.core.volume import SlicedArray, Volume


class Seen:
    """A volume's numbers, 0 outside a view; slices along z, reads nothing ahead.

    Parameters
    ----------
    volume
        What is read.
    view
        What was seen.
    """

    def __init__(self, volume: Volume, view: View) -> None:
        self._data: SlicedArray = volume.data
        self._grid: Grid = volume.grid
        self._view = view

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes, z first."""
        return self._grid.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return self._data.dtype

    def __getitem__(self, key: int | slice, /) -> NDArray[Any]:
        if isinstance(key, slice):
            planes = [self[z] for z in range(*key.indices(self.shape[0]))]
            return np.stack(planes) if planes else np.zeros((0, *self.shape[1:]), self.dtype)
        seen = self._view.slice_mask(self._grid, int(key))
        return np.where(seen, np.asarray(self._data[key]), np.zeros((), self.dtype))

    def hidden(self, z: int, threshold: float) -> int:
        """Return how many voxels of bone of a slice lie outside the view."""
        bone = np.asarray(self._data[z]) >= threshold
        return int(np.count_nonzero(bone & ~self._view.slice_mask(self._grid, z)))
