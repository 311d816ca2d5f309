"""Connectivity: how many struts could be cut before the bone falls in two.

Odgaard and Gundersen 1993 (doi:10.1016/8756-3282(93)90245-6): for one connected structure without closed
holes the connectivity is 1 - Euler number. The bone is therefore first reduced to its largest piece, closed
holes filled. Voxels that touch at a corner are connected.
"""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def euler_number(mask: NDArray[Any]) -> int:
    """Return the Euler number of a mask of any dimension, voxels taken as closed cubes.

    It is the alternating sum of the numbers of corners, edges, faces and cubes that the mask covers.
    """
    cells: NDArray[np.bool_] = np.pad(np.asarray(mask) != 0, 1)
    total = 0
    for count in range(cells.ndim + 1):
        for axes in combinations(range(cells.ndim), count):
            covered = cells
            for axis in axes:
                left = [slice(None)] * cells.ndim
                right = left.copy()
                left[axis], right[axis] = slice(None, -1), slice(1, None)
                covered = covered[tuple(left)] | covered[tuple(right)]
            total += (-1) ** (cells.ndim - count) * int(np.count_nonzero(covered))
    return total


def sampled_euler_number(mask: NDArray[Any]) -> float:
    """Return the Euler number that a box contributes to a structure which runs on beyond it.

    What lies on the faces of the box is shared with the next box: faces count half, edges a quarter, corners
    an eighth, by turns taken off and added, so that the numbers of boxes side by side add up.
    """
    inside = np.asarray(mask) != 0
    total = 0.0
    for sides in product((None, 0, -1), repeat=inside.ndim):
        index = tuple(slice(None) if s is None else s for s in sides)
        fixed = sum(s is not None for s in sides)
        part = inside[index]
        number = float(part) if fixed == inside.ndim else euler_number(part)
        total += (-0.5) ** fixed * number
    return total


def purify(bone: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the largest connected piece of bone, closed holes filled."""
    inside: NDArray[np.bool_] = np.asarray(bone) != 0
    labels, count = ndimage.label(inside, structure=np.ones((3, 3, 3)))
    if count == 0:
        return inside
    piece = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    outside, _ = ndimage.label(~piece)
    open_labels = np.unique(np.concatenate([np.unique(np.take(outside, (0, -1), axis=a)) for a in range(3)]))
    filled: NDArray[np.bool_] = piece | ~np.isin(outside, open_labels)
    return filled


def connectivity(bone: NDArray[Any], *, runs_on: bool = True) -> float:
    """Return the connectivity of a structure.

    Parameters
    ----------
    bone
        (z, y, x), non-zero where bone is.
    runs_on
        Whether the bone goes on beyond the array; what lies on the array's faces then counts half.
    """
    piece = purify(bone)
    return 1 - (sampled_euler_number(piece) if runs_on else float(euler_number(piece)))
