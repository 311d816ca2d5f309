"""From coarse names to the voxels of the scan, with each bone's outer contour filled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.segmentation.components import HOLE_MM2, Mask, Spacing, fill_slices
from bonemet.segmentation.names import LONG_BONES, Label

Triple = tuple[int, int, int]

GROW = 2  # coarse voxels around a coarse bone in which its voxels are looked for


def carry(
    grey: NDArray[Any],
    threshold: float,
    labels: NDArray[np.uint8],
    filled: Mask,
    holder: Mask,
    corner: Triple,
    factors: Triple,
    spacing_mm: Spacing,
) -> NDArray[np.uint8]:
    """Return labels on the scan's grid from labels on the coarse one.

    Parameters
    ----------
    grey, threshold
        The scan; bone is grey >= threshold.
    labels, filled, holder
        (z, y, x) coarse labels, filled bone and holder, in a box.
    corner
        Coarse voxel at the box's first corner.
    factors
        Voxels of the scan along a coarse voxel's edges.
    spacing_mm
        Of the scan (z, y, x).
    """
    out = np.zeros(grey.shape, np.uint8)
    near = _grown(np.where(holder, np.uint8(Label.HOLDER), labels))
    solid = filled & (labels > 0)
    order = [*LONG_BONES, Label.SPINE, Label.OTHER, Label.HOLDER]
    for label in order:
        # Piece by piece, so that scattered small bones do not ask for memory for all between them.
        pieces, _ = ndimage.label(near == label, np.ones((3, 3, 3)))
        for k, box in enumerate(ndimage.find_objects(pieces), start=1):
            zone = pieces[box] == k
            fine, index = _fine_box(box, corner, factors, grey.shape, near.shape)
            bone = (grey[fine] >= threshold) & _enlarged(zone, index)
            inside = None if label is Label.HOLDER else _enlarger(solid[box] & (labels[box] == label), index)
            _paint(out[fine], bone, inside, label, spacing_mm)
    return out


def _grown(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return labels grown into the background by some voxels, the nearest label winning, ties by place."""
    out = labels
    for _ in range(GROW):
        # The largest neighbouring label: only voxels without a label change, so nothing is overrun.
        out = np.where(
            out > 0, out, ndimage.maximum_filter(out, footprint=ndimage.generate_binary_structure(3, 1))
        )
    return np.asarray(out)


def _enlarger(solid: Mask, index: list[NDArray[np.int64]]) -> tuple[Mask, Mask]:
    """Return on the scan's grid what is surely inside a coarse bone, and where its inside may reach."""
    padded = np.pad(solid, 1, mode="edge")
    core = ndimage.binary_erosion(padded)[1:-1, 1:-1, 1:-1]
    room = ndimage.binary_dilation(padded)[1:-1, 1:-1, 1:-1]
    return _enlarged(core, index), _enlarged(room, index)


def _paint(
    view: NDArray[np.uint8], bone: Mask, inside: tuple[Mask, Mask] | None, label: Label, spacing_mm: Spacing
) -> None:
    """Paint one piece of a bone into its box, its outer contour filled."""
    free = view == 0
    bone &= free
    if inside is None:
        view[bone] = label
        return
    core, room = inside
    body = _without_specks(bone | core, core, spacing_mm)
    for axis in range(3):
        pixel = float(np.prod(np.delete(spacing_mm, axis)))
        body |= fill_slices(body, HOLE_MM2, pixel, axis) & room
    view[body & free] = label


def _fine_box(
    box: tuple[slice, slice, slice],
    corner: Triple,
    factors: Triple,
    shape: tuple[int, ...],
    coarse: tuple[int, ...],
) -> tuple[tuple[slice, ...], list[NDArray[np.int64]]]:
    """Return the box on the scan's grid, and in which coarse slices, rows and columns of it its own lie."""
    fine, index = [], []
    for b, c, f, n, m in zip(box, corner, factors, shape, coarse, strict=True):
        last = b.stop + c >= n // f  # incomplete blocks at the far end go with the last complete one
        s = slice((b.start + c) * f, n if last else (b.stop + c) * f)
        fine.append(s)
        index.append(np.minimum(np.arange(s.start, s.stop) // f - c, m - 1) - b.start)
    return tuple(fine), index


def _enlarged(mask: Mask, index: list[NDArray[np.int64]]) -> Mask:
    return np.asarray(mask[index[0][:, None, None], index[1][:, None], index[2]])


def _without_specks(body: Mask, inner: Mask, spacing_mm: Spacing) -> Mask:
    """Drop pieces that neither hold a coarse bone's inside nor 0.02 mm3."""
    pieces, n = ndimage.label(body)
    if n < 2:
        return body
    sizes = np.bincount(pieces.reshape(-1), minlength=n + 1)
    held = np.bincount(pieces[inner], minlength=n + 1) > 0
    keep = held | (sizes * float(np.prod(spacing_mm)) >= 0.02)
    keep[0] = False
    return np.asarray(keep[pieces])
