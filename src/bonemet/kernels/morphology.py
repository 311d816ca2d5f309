"""Masks grown and shrunk by convex elements, in time that goes with their surface."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.kernels.jit import kernel

Mask = NDArray[np.bool_]


def grow(mask: Mask, element: Mask) -> Mask:
    """Return a mask grown by an element, as :func:`scipy.ndimage.binary_dilation` does.

    Parameters
    ----------
    mask
        (z, y, x).
    element
        (z, y, x) of odd sizes, about its middle voxel: a ball, or anything else that is convex, and the same
        mirrored along each axis. Then only voxels at the mask's surface have anything to add.
    """
    offsets = np.argwhere(element) - np.array(element.shape) // 2
    out = np.ascontiguousarray(mask, dtype=np.uint8).copy()
    _grow(np.ascontiguousarray(mask).view(np.uint8), offsets.astype(np.int64), out)
    return out.view(np.bool_)


def shrink(mask: Mask, element: Mask) -> Mask:
    """Return a mask without all within an element of its outside; the array's rim counts as inside."""
    return np.asarray(~grow(~mask, element))


@kernel
def _grow(mask: NDArray[np.uint8], offsets: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
    depth, height, width = mask.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if mask[z, y, x] and _at_surface(mask, z, y, x):
                    for n in range(len(offsets)):
                        k, j, i = z + offsets[n, 0], y + offsets[n, 1], x + offsets[n, 2]
                        if 0 <= k < depth and 0 <= j < height and 0 <= i < width:
                            out[k, j, i] = 1


@kernel
def _at_surface(mask: Any, z: int, y: int, x: int) -> bool:
    """Tell whether one of the voxels that share a face with this one is not in the mask."""
    if z > 0 and not mask[z - 1, y, x]:
        return True
    if z < mask.shape[0] - 1 and not mask[z + 1, y, x]:
        return True
    if y > 0 and not mask[z, y - 1, x]:
        return True
    if y < mask.shape[1] - 1 and not mask[z, y + 1, x]:
        return True
    if x > 0 and not mask[z, y, x - 1]:
        return True
    return bool(x < mask.shape[2] - 1 and not mask[z, y, x + 1])
