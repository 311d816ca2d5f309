"""Parting bones that touch: regions around the thickest places, merged unless a neck lies between.

Within one bone the passage between two thick places is about as wide as the thinner of them, or the bone
has a known shaft; between two bones that touch it is a narrow neck.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from bonemet.kernels import labelling
from bonemet.segmentation.components import Mask

NECK = 0.78  # a passage narrower than this share of the thinner side parts two bones


def part(closed: Mask, seeds: Mapping[int, NDArray[Any]], inside: NDArray[np.float32]) -> NDArray[np.int32]:
    """Part a mask of filled bones into bones.

    Parameters
    ----------
    closed
        (z, y, x) mask, spacing near 0.1 mm.
    seeds
        Voxels (n, 3) that are known to belong to a bone, by its number (1, 2, ...). Bones with
        different numbers are never merged.
    inside
        (z, y, x) distance (mm) to the surface.

    Returns
    -------
    ndarray
        (z, y, x) int32: seeded bones bear their numbers, other pieces numbers above the largest
        of the seeds, 0 is background.
    """
    smooth = np.asarray(ndimage.gaussian_filter(inside, 0.8, mode="nearest"))
    peaks = (ndimage.maximum_filter(smooth, 3, mode="nearest") == smooth) & closed
    markers, count = ndimage.label(peaks, np.ones((3, 3, 3)))
    regions = np.asarray(watershed(-smooth, markers.astype(np.int32), mask=closed)).astype(np.int32)  # type: ignore[no-untyped-call]
    known = _identities(regions, count, seeds)
    height = np.zeros(count + 1)
    np.maximum.at(height, regions[closed], smooth[closed])
    root = _merge(regions, smooth, height, known)
    return _number(regions, root, known, max(seeds, default=0))


def _identities(
    regions: NDArray[np.int32], count: int, seeds: Mapping[int, NDArray[Any]]
) -> NDArray[np.int64]:
    """Return for each region the seeded bone with most voxels in it, or 0."""
    votes = np.zeros((max(seeds, default=0) + 1, count + 1), np.int64)
    for number, voxels in seeds.items():
        inside = voxels[((voxels >= 0) & (voxels < regions.shape)).all(axis=1)]
        votes[number] = np.bincount(regions[tuple(inside.T)], minlength=count + 1)
    known = votes.argmax(axis=0)
    known[0] = 0
    return np.asarray(known)


def _faces(
    regions: NDArray[np.int32], smooth: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs (n, 2) of touching regions and the highest pass between each."""
    size = int(regions.max()) + 1
    room = 3 * int(np.count_nonzero(regions))
    keys, best = np.empty(room, np.int64), np.empty(room, np.float32)
    n = labelling.saddles(regions, smooth.astype(np.float32), keys, best)
    pairs, where = np.unique(keys[:n], return_inverse=True)
    top = np.zeros(len(pairs))
    np.maximum.at(top, where, best[:n])
    return np.stack([pairs // size, pairs % size], axis=1), top


def _merge(
    regions: NDArray[np.int32],
    smooth: NDArray[np.float32],
    height: NDArray[np.float64],
    known: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Merge regions over the widest passages first; return each region's representative."""
    pairs, passes = _faces(regions, smooth)
    root = np.arange(len(height))

    def find(a: int) -> int:
        while root[a] != a:
            root[a] = root[root[a]]
            a = int(root[a])
        return a

    ratio = passes / np.minimum(height[pairs[:, 0]], height[pairs[:, 1]]) if len(pairs) else passes
    # A region's own height decides the order; the height of what it has grown into decides whether to merge.
    for k in np.argsort(-ratio, kind="stable"):
        a, b = find(int(pairs[k, 0])), find(int(pairs[k, 1]))
        if a == b or (known[a] and known[b] and known[a] != known[b]):
            continue
        if passes[k] < NECK * min(height[a], height[b]):
            continue
        root[b] = a
        height[a] = max(height[a], height[b])
        known[a] = known[a] or known[b]
    return np.array([find(k) for k in range(len(root))])


def _number(
    regions: NDArray[np.int32], root: NDArray[np.int64], known: NDArray[np.int64], seeded: int
) -> NDArray[np.int32]:
    """Give seeded bones their numbers and the other pieces new ones."""
    loose = [r for r in np.unique(root[1:]) if known[r] == 0]
    table = np.zeros(len(root), np.int32)
    table[loose] = seeded + 1 + np.arange(len(loose))
    table = np.where(known[root] > 0, known[root], table[root]).astype(np.int32)
    table[0] = 0
    return np.asarray(table[regions])
