"""Closed outer contours of bone in the slices of a long bone.

A contour here is a component of the slice (8-connected, holes filled), which is what a tracing of outer
borders finds; islands inside a closed contour belong to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.volume import SlicedArray

Bone = Callable[[NDArray[Any]], NDArray[np.bool_]]

_EIGHT = np.ones((3, 3), dtype=bool)
_MOST = 13  # contours kept in a slice, the largest first; a fibula is never the fourteenth
_DIRECTIONS = 36
_ENOUGH = 2000  # pixels of the main contour looked at when directions are counted


@dataclass(frozen=True)
class Contour:
    """One contour of a slice.

    Attributes
    ----------
    z, label
        Its slice, and its label there (see :func:`label_slice`).
    area_mm2
        Area, holes filled.
    place_mm
        Centroid (y, x) in mm from the first row and column.
    enclosed
        Share of all directions in which, seen from the centroid, the largest contour lies: about half or
        less for a fibula beside its tibia, nearly 1 for a crumb inside a broken cortex; 0 for the largest.
    largest
        Whether it is the largest of its slice, as a tibia is, unless a lesion has left little of it.
    """

    z: int
    label: int
    area_mm2: float
    place_mm: tuple[float, float]
    enclosed: float
    largest: bool


@dataclass(frozen=True)
class SliceContours:
    """The contours of one slice.

    Attributes
    ----------
    z
        The slice.
    count
        Number of outer contours, specks included.
    contours
        Those that are no specks, the largest first.
    width_mm
        Radius of gyration of the bone about its centroid; 0 where there is no bone.
    """

    z: int
    count: int
    contours: tuple[Contour, ...]
    width_mm: float


def bone_mask(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where values are not zero: the bone of a mask."""
    return np.asarray(values != 0)


def fill_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a slice's mask with every hole filled that bone encloses (8-connected)."""
    outside, _ = ndimage.label(~np.pad(mask, 1))  # background is 4-connected, as the dual of bone
    return np.asarray(outside != outside[0, 0])[1:-1, 1:-1]


def label_slice(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Return the contours of a slice as labels from 1, holes filled, and their number."""
    labels = np.zeros(mask.shape, dtype=np.int32)
    box = ndimage.find_objects(mask.view(np.uint8))
    if not box:
        return labels, 0
    found, count = ndimage.label(fill_holes(mask[box[0]]), structure=_EIGHT)
    labels[box[0]] = found
    return labels, int(count)


def slice_contours(
    stack: SlicedArray, z: int, spacing_mm: tuple[float, float, float], bone: Bone, speck_mm2: float
) -> SliceContours:
    """Return the contours of slice ``z`` of a stack.

    Parameters
    ----------
    stack
        (z, y, x) values.
    z
        Which slice.
    spacing_mm
        Voxel (z, y, x).
    bone
        Tells bone from the rest.
    speck_mm2
        Contours smaller than this are counted but not kept.
    """
    labels, count = label_slice(bone(np.asarray(stack[z])))
    if count == 0:
        return SliceContours(z, 0, (), 0.0)
    pixel = spacing_mm[1] * spacing_mm[2]
    rows, columns = np.nonzero(labels)
    owner = labels[rows, columns]
    y, x = rows.astype(np.float64) * spacing_mm[1], columns.astype(np.float64) * spacing_mm[2]
    area = np.bincount(owner, minlength=count + 1) * pixel
    width = float(np.sqrt(np.var(y) + np.var(x)))
    order = [int(i) for i in np.argsort(-area, kind="stable")[:_MOST] if i > 0 and area[i] >= speck_mm2]
    kept: list[Contour] = []
    of_main = np.flatnonzero(owner == order[0]) if order else owner[:0]
    of_main = of_main[:: max(1, len(of_main) // _ENOUGH)]
    for label in order:
        mine = owner == label
        place = float(y[mine].mean()), float(x[mine].mean())
        enclosed = _enclosed(y[of_main] - place[0], x[of_main] - place[1]) if kept else 0.0
        kept.append(Contour(z, label, float(area[label]), place, enclosed, largest=not kept))
    return SliceContours(z, count, tuple(kept), width)


def _enclosed(dy: NDArray[np.float64], dx: NDArray[np.float64]) -> float:
    """Return the share of directions in which points lie, seen from the origin."""
    sector = np.floor((np.arctan2(dy, dx) / (2 * np.pi) + 0.5) * _DIRECTIONS).astype(int) % _DIRECTIONS
    return float(len(np.unique(sector)) / _DIRECTIONS)
