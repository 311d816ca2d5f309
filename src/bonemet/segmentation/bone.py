"""Compartments of one bone: its outline, cortex and the space inside, by two closings (Buie 2007).

The outer contour is what remains of a closing of the bone across its slices, filled; the inner one bounds the
marrow space once thin trabeculae are closed into it and thin pores are opened out of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.context import Mapper
from bonemet.core.errors import InputError
from bonemet.segmentation.components import Mask, Spacing

PERIOSTEAL_MM = 0.3  # half the widest gap in a cortex that the outer contour passes over
TRABECULA_MM = 0.1  # half the thickest trabecula that belongs to the marrow space
PORE_MM = 0.05  # radius of the widest pore that belongs to the cortex
CORTEX_MM = 0.05  # the least thickness of cortex


@dataclass(frozen=True, eq=False)
class Compartments:
    """Masks of one bone, each (z, y, x) bool.

    Attributes
    ----------
    outline
        All that the periosteal contour encloses.
    cortical
        Between the periosteal and the endosteal contour, pores included.
    trabecular
        Within the endosteal contour: marrow and trabeculae.
    """

    outline: Mask
    cortical: Mask
    trabecular: Mask


def compartments(
    bone: NDArray[Any], spacing_mm: Spacing, *, threshold: float | None = None, mapper: Mapper = map
) -> Compartments:
    """Return the compartments of one long bone that runs roughly along z.

    Slices are treated one by one, so a slab of a bone has the contours of the whole.

    Parameters
    ----------
    bone
        (z, y, x) mask of bone, or grey values with ``threshold``.
    spacing_mm
        (z, y, x).
    threshold
        Bone is grey >= threshold; not for masks.
    mapper
        An ordered map over slices.

    Returns
    -------
    Compartments
        Three masks of the shape of ``bone``.

    Raises
    ------
    InputError
        If there is no bone at all.

    References
    ----------
    Buie et al. 2007, Bone 41(4), doi:10.1016/j.bone.2007.07.007.
    """
    mask = np.asarray(bone >= threshold) if threshold is not None else np.asarray(bone, dtype=bool)
    if mask.ndim != 3 or not mask.any():
        raise InputError("There is no bone in this volume to find a cortex and a marrow space in.")
    pixel = (float(spacing_mm[1]), float(spacing_mm[2]))
    outline, marrow = np.zeros_like(mask), np.zeros_like(mask)

    def one(z: int) -> None:
        outline[z], marrow[z] = _slice(mask[z], pixel)

    for _ in mapper(one, range(len(mask))):
        pass
    return Compartments(outline, outline & ~marrow, marrow)


def _slice(
    mask: NDArray[np.bool_], pixel: tuple[float, float]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return what the outer and the inner contour enclose in one slice."""
    outline, marrow = np.zeros_like(mask), np.zeros_like(mask)
    if not mask.any():
        return outline, marrow
    reach = [int(np.ceil(PERIOSTEAL_MM / p)) + 2 for p in pixel]
    rows, columns = (np.flatnonzero(mask.any(axis=a)) for a in (1, 0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    padded = np.pad(mask[box], [(r, r) for r in reach])
    closed = _eroded(_dilated(padded, PERIOSTEAL_MM, pixel), PERIOSTEAL_MM, pixel)
    outer = ndimage.binary_fill_holes(closed | padded)
    space = outer & ~padded & _eroded(outer, CORTEX_MM, pixel)
    opened = _dilated(_eroded(space, PORE_MM, pixel), PORE_MM, pixel) & space
    inner = _eroded(_dilated(opened, TRABECULA_MM, pixel), TRABECULA_MM, pixel)
    inner &= _eroded(outer, CORTEX_MM, pixel)
    cut = tuple(slice(r, -r) for r in reach)
    outline[box], marrow[box] = outer[cut], inner[cut]
    return outline, marrow


def _dilated(mask: NDArray[np.bool_], radius_mm: float, pixel: tuple[float, float]) -> NDArray[np.bool_]:
    """Return a mask widened by a disc: at least by the pixels beside it."""
    radius = max(radius_mm, 1.01 * max(pixel))
    if not mask.any():
        return mask.copy()
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=pixel) <= radius)


def _eroded(mask: NDArray[np.bool_], radius_mm: float, pixel: tuple[float, float]) -> NDArray[np.bool_]:
    return ~_dilated(~mask, radius_mm, pixel)
