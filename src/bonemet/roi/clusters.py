"""Sizes of connected clusters, counted slab by slab."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_CORNERS = np.ones((3, 3, 3), dtype=bool)


class ClusterCounter:
    """Counts the voxels of every 26-connected cluster of a mask that comes in slabs, in order along z.

    Only the last slice of the labels is kept between slabs.

    Parameters
    ----------
    shape
        Rows and columns of a whole slice.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._plane = np.zeros(shape, dtype=np.int64)
        self._parent: list[int] = [0]
        self._sizes: list[int] = [0]

    def add(self, mask: NDArray[np.bool_], corner: tuple[int, int] = (0, 0)) -> None:
        """Add the next slab.

        Parameters
        ----------
        mask
            (z, y, x) voxels of a window of the slab; there is nothing outside the window.
        corner
            First row and column of the window.
        """
        labels, count = ndimage.label(mask, structure=_CORNERS)
        base = len(self._parent) - 1
        self._parent.extend(range(base + 1, base + 1 + count))
        self._sizes.extend(np.bincount(labels.ravel(), minlength=count + 1)[1:].tolist())
        first = self._whole_plane(labels[0], base, corner)
        self._join(first)
        self._plane = self._whole_plane(labels[-1], base, corner)

    def sizes(self) -> NDArray[np.int64]:
        """Return the number of voxels of every cluster."""
        total = np.zeros(len(self._parent), dtype=np.int64)
        roots = [self._root(i) for i in range(len(self._parent))]
        np.add.at(total, roots, np.asarray(self._sizes, dtype=np.int64))
        return total[total > 0]

    def _whole_plane(
        self, labels: NDArray[np.int32], base: int, corner: tuple[int, int]
    ) -> NDArray[np.int64]:
        """Return one slice of labels at its place in a whole slice, numbered on from ``base``."""
        out = np.zeros_like(self._plane)
        rows, columns = labels.shape
        place = out[corner[0] : corner[0] + rows, corner[1] : corner[1] + columns]
        np.add(labels, base, out=place, where=labels > 0, casting="unsafe")
        return out

    def _join(self, plane: NDArray[np.int64]) -> None:
        """Join the clusters of a slice with those that touch it in the slice before."""
        if not (plane.any() and self._plane.any()):
            return
        rows, columns = plane.shape
        padded = np.pad(self._plane, 1)
        pairs: set[tuple[int, int]] = set()
        for dy in range(3):
            for dx in range(3):
                before = padded[dy : dy + rows, dx : dx + columns]
                both = (plane > 0) & (before > 0)
                pairs.update(zip(plane[both].tolist(), before[both].tolist(), strict=True))
        for a, b in sorted(pairs):
            self._union(a, b)

    def _union(self, a: int, b: int) -> None:
        a, b = self._root(a), self._root(b)
        self._parent[max(a, b)] = min(a, b)

    def _root(self, a: int) -> int:
        while self._parent[a] != a:
            self._parent[a] = self._parent[self._parent[a]]
            a = self._parent[a]
        return a
