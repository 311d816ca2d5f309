"""Compartments of one bone: its outline, cortex and the space inside, by two closings (Buie 2007).

The outer contour is what remains of a closing of the bone across its slices, filled; the inner one bounds the
marrow space once thin trabeculae are closed into it and thin pores are opened out of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.context import Mapper
from bonemet.core.errors import InputError, SettingsError
from bonemet.segmentation.components import Mask, Spacing

SMOOTHING = 1.0  # voxels: of grey values, before the threshold; its reach is four times as much
LEAST_SHARE = 0.05  # of the largest piece: smaller ones are no bones of their own


@dataclass(frozen=True)
class Sizes:
    """How large the parts of a bone are, in mm.

    Attributes
    ----------
    periosteal_mm
        Half the widest gap in a cortex that the outer contour passes over.
    trabecula_mm
        Half the thickest trabecula that belongs to the marrow space.
    pore_mm
        Radius of the widest pore that belongs to the cortex.
    cortex_mm
        The least thickness of cortex.
    """

    periosteal_mm: float = 0.3
    trabecula_mm: float = 0.1
    pore_mm: float = 0.05
    cortex_mm: float = 0.05

    def __post_init__(self) -> None:
        values = (self.periosteal_mm, self.trabecula_mm, self.pore_mm, self.cortex_mm)
        if not all(np.isfinite(v) and v > 0 for v in values):
            raise SettingsError(f"The sizes of a bone's parts are lengths above 0 mm, not {values}.")


MOUSE = Sizes()
HUMAN = Sizes(periosteal_mm=0.9, trabecula_mm=0.3, pore_mm=0.12, cortex_mm=0.12)
"""For HR-pQCT of peripheral joints: about three times the mouse's."""


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

    def contours(self) -> Iterator[tuple[int, Mask, Mask]]:
        """Yield of each slice with bone its number, and the pixels of the periosteal and endosteal contour.

        A contour is the outermost pixels of what it encloses.
        """
        for z in np.flatnonzero(self.outline.any(axis=(1, 2))):
            yield int(z), _rim(self.outline[z]), _rim(self.trabecular[z])


def _rim(plane: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(plane & ~ndimage.binary_erosion(plane))


def bone_pieces(grey: NDArray[Any], threshold: float, *, smoothing: float = SMOOTHING) -> Mask:
    """Return bone in noisy grey values: smoothed, >= threshold, and of a size to be a bone.

    Parameters
    ----------
    grey
        (z, y, x).
    threshold
        Bone is grey >= threshold, after smoothing.
    smoothing
        Sigma of a Gaussian in voxels.

    Raises
    ------
    InputError
        If nothing is as bright as bone.
    """
    smooth = ndimage.gaussian_filter(grey.astype(np.float32), smoothing, mode="nearest")
    pieces, n = ndimage.label(smooth >= threshold, np.ones((3, 3, 3)))
    if n == 0:
        raise InputError(f"Nothing in this volume is as bright as bone (grey >= {threshold:g}).")
    sizes = np.bincount(pieces.reshape(-1))
    sizes[0] = 0
    return np.asarray((sizes >= LEAST_SHARE * sizes.max())[pieces] & (pieces > 0))


def compartments(
    bone: NDArray[Any],
    spacing_mm: Spacing,
    *,
    threshold: float | None = None,
    sizes: Sizes = MOUSE,
    mapper: Mapper = map,
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
        Bone is grey >= threshold; not for masks. For noisy values see :func:`bone_pieces`.
    sizes
        How large cortex, pores and trabeculae are: :data:`MOUSE` or :data:`HUMAN`.
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
        outline[z], marrow[z] = _slice(mask[z], pixel, sizes)

    for _ in mapper(one, range(len(mask))):
        pass
    return Compartments(outline, outline & ~marrow, marrow)


def _slice(
    mask: NDArray[np.bool_], pixel: tuple[float, float], sizes: Sizes
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return what the outer and the inner contour enclose in one slice."""
    outline, marrow = np.zeros_like(mask), np.zeros_like(mask)
    if not mask.any():
        return outline, marrow
    reach = [int(np.ceil(sizes.periosteal_mm / p)) + 2 for p in pixel]
    rows, columns = (np.flatnonzero(mask.any(axis=a)) for a in (1, 0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    padded = np.pad(mask[box], [(r, r) for r in reach])
    # What the widened bone encloses is filled before it is narrowed: a gap then cannot open a contour again.
    wide = ndimage.binary_fill_holes(_dilated(padded, sizes.periosteal_mm, pixel))
    outer = ndimage.binary_fill_holes(_eroded(wide, sizes.periosteal_mm, pixel) | padded)
    space = outer & ~padded & _eroded(outer, sizes.cortex_mm, pixel)
    opened = _dilated(_eroded(space, sizes.pore_mm, pixel), sizes.pore_mm, pixel) & space
    inner = _eroded(_dilated(opened, sizes.trabecula_mm, pixel), sizes.trabecula_mm, pixel)
    inner &= _eroded(outer, sizes.cortex_mm, pixel)
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
