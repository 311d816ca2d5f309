"""Connected clusters of a mask that comes slab by slab: their voxels and their sizes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

CORNERS = np.ones((3, 3, 3), dtype=bool)


class ClusterCollector:
    """Collects the voxels of every 26-connected cluster of a mask that comes in slabs, in order along z.

    Memory goes by the number of voxels in the mask: of the rest only the last slice of labels is kept.

    Parameters
    ----------
    shape
        Rows and columns of a whole slice.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._plane = np.zeros(shape, dtype=np.int64)
        self._parent: list[int] = [0]
        self._depth = 0
        self._voxels: list[NDArray[np.int64]] = []
        self._labels: list[NDArray[np.int64]] = []

    def add(self, mask: NDArray[np.bool_], corner: tuple[int, int] = (0, 0)) -> None:
        """Add the next slab.

        Parameters
        ----------
        mask
            (z, y, x) voxels of a window of the slab; there is nothing outside the window.
        corner
            First row and column of the window.
        """
        labels, count = ndimage.label(mask, structure=CORNERS)
        base = len(self._parent) - 1
        self._parent.extend(range(base + 1, base + 1 + count))
        z, y, x = np.nonzero(labels)
        rows, columns = self._plane.shape
        self._voxels.append(((z + self._depth) * rows + y + corner[0]) * columns + x + corner[1])
        self._labels.append(labels[z, y, x].astype(np.int64) + base)
        self._depth += len(mask)
        self._join(self._whole_plane(labels[0], base, corner))
        self._plane = self._whole_plane(labels[-1], base, corner)

    def clusters(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the flat indices of all voxels, rising, and the number (from 0) of the cluster of each."""
        if not self._voxels:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        root = np.array([self._root(i) for i in range(len(self._parent))], dtype=np.int64)
        _, number = np.unique(root[np.concatenate(self._labels)], return_inverse=True)
        return np.concatenate(self._voxels), number.astype(np.int64)

    def sizes(self) -> NDArray[np.int64]:
        """Return the number of voxels of every cluster."""
        return np.bincount(self.clusters()[1]).astype(np.int64)

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
