"""Masks: coarse copies, filled insides, connected pieces, distances."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.errors import InputError
from bonemet.kernels import labelling, morphology

Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]

ENCLOSED = (0.7, 0.8)  # share of rays that must meet bone, within the slice and in space, to be inside
ENCLOSURE_MM = (2.2, 1.5)  # how far the rays go
REACH_MM = 2.2  # of all that looks around a bone
HOLE_MM2 = 9.0  # the largest marrow cavity of a slice, in the wide ends of the bones
PERFORATION_MM = 0.6  # half the widest hole in a cortex that a closing passes over
CORTEX_MM = 0.3
MARROW_MM = 0.2  # radius below which an enclosed space is a joint or growth plate, not a marrow cavity


def block_fraction(
    grey: NDArray[Any], threshold: float, factors: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Return the share of bone voxels (grey >= threshold) in blocks of voxels.

    Parameters
    ----------
    grey
        (z, y, x).
    threshold
        Bone is grey >= threshold.
    factors
        Edges of a block in voxels; incomplete blocks at the far ends are left out.
    """
    shape = tuple(n // f for n, f in zip(grey.shape, factors, strict=True))
    if min(shape) < 1:
        raise InputError(f"A volume of {grey.shape} voxels is too small to look for bones in.")
    counts = np.zeros(shape, np.uint16)
    labelling.block_counts(grey, float(threshold), counts)
    return np.asarray(counts, dtype=np.float32) / np.float32(np.prod(factors))


def ball(radius_mm: float, spacing_mm: Spacing) -> Mask:
    """Return a ball as a structuring element."""
    half = [int(np.floor(radius_mm / s)) for s in spacing_mm]
    axes = np.ogrid[tuple(slice(-n, n + 1) for n in half)]
    return np.asarray(sum((a * s) ** 2 for a, s in zip(axes, spacing_mm, strict=True)) <= radius_mm**2 + 1e-9)


def box_of(mask: Mask, margin: int = 0) -> tuple[slice, slice, slice]:
    """Return the box around a mask's voxels, widened by a margin within the array."""
    slices = []
    for axis in range(3):
        line = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        low, high = (int(line[0]), int(line[-1]) + 1) if line.size else (0, 0)
        slices.append(slice(max(0, low - margin), min(mask.shape[axis], high + margin)))
    return slices[0], slices[1], slices[2]


def fill_slices(mask: Mask, largest_mm2: float, pixel_mm2: float, axis: int = 0) -> Mask:
    """Fill holes of up to a given area in each slice across an axis."""
    out = mask.copy()
    source, target = np.moveaxis(mask, axis, 0), np.moveaxis(out, axis, 0)
    for k in range(len(source)):
        if not source[k].any():
            continue
        where = ndimage.find_objects(source[k].astype(np.uint8))[0]
        target[k][where] |= holes_of(source[k][where], largest_mm2 / pixel_mm2)
    return out


def holes_of(plane: NDArray[np.bool_], largest: float) -> NDArray[np.bool_]:
    """Return the holes of a two-dimensional mask that have at most so many pixels."""
    holes, n = ndimage.label(np.pad(~plane, 1, constant_values=True))
    if n < 2:
        return np.zeros_like(plane)
    keep = np.bincount(holes.reshape(-1)) <= largest
    keep[[0, holes[0, 0]]] = False
    return np.asarray(keep[holes][1:-1, 1:-1])


def patch_perforations(mask: Mask, spacing_mm: Spacing) -> Mask:
    """Return a shaft's mask with what a perforated cortex left open in its slices.

    A slice's largest piece is closed with a disc of :data:`PERFORATION_MM`; what is thereby added and is
    wide enough to hold a disc of :data:`MARROW_MM` was marrow behind a hole, and not a groove.
    """
    out = mask.copy()
    pixel = spacing_mm[1:]
    pad = [int(np.ceil(PERFORATION_MM / p)) + 2 for p in pixel]
    for k in np.flatnonzero(mask.any(axis=(1, 2))):
        where = ndimage.find_objects(mask[k].astype(np.uint8))[0]
        pieces, n = ndimage.label(np.pad(mask[k][where], [(p, p) for p in pad]), np.ones((3, 3)))
        main = pieces == 1 + int(np.argmax(np.bincount(pieces.reshape(-1))[1:])) if n > 1 else pieces > 0
        closed = ndimage.binary_fill_holes(shrunk(grown(main, PERFORATION_MM, pixel), PERFORATION_MM, pixel))
        gap = closed & ~main
        wide = grown(shrunk(gap, MARROW_MM, pixel), MARROW_MM + CORTEX_MM, pixel) & gap
        out[k][where] |= wide[pad[0] : -pad[0], pad[1] : -pad[1]]
    return out


def grown(mask: Mask, radius_mm: float, spacing_mm: tuple[float, ...]) -> Mask:
    """Return a mask with all within a distance of it."""
    if not mask.any():
        return mask.copy()
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=spacing_mm) <= radius_mm + 1e-6)


def shrunk(mask: Mask, radius_mm: float, spacing_mm: tuple[float, ...]) -> Mask:
    """Return a mask without all within a distance of its outside."""
    return np.asarray(~grown(~mask, radius_mm, spacing_mm))


def fill_bones(mask: Mask, spacing_mm: Spacing) -> Mask:
    """Fill the insides of bones, also where a cortex is perforated or cut by the field of view.

    Filled are holes of an axial slice, and spaces from which most rays, within the slice or in space, meet
    bone (:data:`ENCLOSED` within :data:`ENCLOSURE_MM`): a tube with a hole in its wall. Such spaces that
    are thinner than twice :data:`MARROW_MM` stay open: they are joints and growth plates. Reach: 2.2 mm.
    """
    pixel = spacing_mm[1] * spacing_mm[2]
    filled = fill_slices(mask, HOLE_MM2, pixel) | _leaky_holes(mask, pixel)
    near = _near(filled, spacing_mm)
    points = np.argwhere(near & ~filled).astype(np.int32)
    inside = ~not_inside(filled, points, spacing_mm)
    cavities = np.zeros_like(filled)
    cavities[tuple(points[inside].T)] = True
    pieces, _ = ndimage.label(cavities)
    for k, box in enumerate(ndimage.find_objects(pieces), start=1):
        if min(b.stop - b.start for b in box) * min(spacing_mm) > MARROW_MM:
            filled[box] |= ndimage.binary_opening(np.pad(pieces[box] == k, 1), ball(MARROW_MM, spacing_mm))[
                1:-1, 1:-1, 1:-1
            ]
    return np.asarray(filled)


def not_inside(bone: Mask, points: NDArray[np.int32], spacing_mm: Spacing) -> NDArray[np.bool_]:
    """Tell which voxels (n, 3) are not inside a bone by the measure of :func:`fill_bones`."""
    inside = np.zeros(len(points), bool)
    for flat, share, reach_mm in zip((True, False), ENCLOSED, ENCLOSURE_MM, strict=True):
        directions = _directions(flat)
        lengths = np.linalg.norm(directions * np.asarray(spacing_mm), axis=1)
        reach = np.maximum(1, np.rint(reach_mm / lengths)).astype(np.int32)
        inside |= labelling.enclosure(bone.view(np.uint8), points, directions, reach) >= share
    return ~inside


def _leaky_holes(mask: Mask, pixel_mm2: float) -> Mask:
    """Return holes of slices whose walls have gaps of a voxel or two, as thin cortex has in noise."""
    cross = ndimage.generate_binary_structure(2, 1)
    out = np.zeros_like(mask)
    for k in range(len(mask)):
        if mask[k].any():
            where = ndimage.find_objects(mask[k].astype(np.uint8))[0]
            closed = ndimage.binary_closing(np.pad(mask[k][where], 2), cross)[2:-2, 2:-2]
            holes = holes_of(closed, HOLE_MM2 / pixel_mm2)
            out[k][where] = holes | (closed & ndimage.binary_dilation(holes, cross))
    return out


def _near(mask: Mask, spacing_mm: Spacing) -> Mask:
    """Return where there is enough bone around for a voxel to be inside one."""
    size = [max(1, round(3.0 / s)) for s in spacing_mm]
    return np.asarray(ndimage.uniform_filter(mask.astype(np.float32), size, mode="constant") > 0.05)


def _directions(flat: bool) -> NDArray[np.int32]:
    """Return steps of rays: 16 within the slice, or 26 in space."""
    if not flat:
        return np.array([d for d in product((-1, 0, 1), repeat=3) if any(d)], np.int32)
    steps = [(0, y, x) for y, x in product((-2, -1, 0, 1, 2), repeat=2) if abs(y) + abs(x) in (1, 3)]
    return np.array(steps + [(0, y, x) for y, x in product((-1, 1), repeat=2)], np.int32)


def bridged(filled: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """Return a mask after a closing with a ball; the array's rim counts as more of the same."""
    reach = max(1, int(np.ceil(radius_mm / min(spacing_mm))))
    element = ball(radius_mm, spacing_mm)
    closed = morphology.shrink(morphology.grow(np.pad(filled, reach, mode="edge"), element), element)
    inner = slice(reach, -reach)
    return np.asarray(closed[inner, inner, inner])


def distance_inside(mask: Mask, spacing_mm: Spacing) -> NDArray[np.float32]:
    """Return the distance (mm) of a mask's voxels to the nearest voxel outside; the array's rim is inside."""
    out = np.zeros(mask.shape, np.float32)
    pieces, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    # Piece by piece: most of a scan is empty, and the transform's time goes with the volume of its box.
    for k, box in enumerate(ndimage.find_objects(pieces), start=1):
        own = pieces[box] == k
        wide = tuple((int(b.start > 0), int(b.stop < n)) for b, n in zip(box, mask.shape, strict=True))
        rim = tuple((1 - a, 1 - b) for a, b in wide)
        padded = np.pad(np.pad(own, wide), rim, mode="edge")
        inner = ndimage.distance_transform_edt(padded, sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
        out[box][own] = inner[own]
    return out


def large_pieces(mask: Mask, smallest_mm3: float, voxel_mm3: float) -> tuple[NDArray[np.int32], int]:
    """Return 26-connected pieces of at least a volume, labelled from 1 by falling size."""
    pieces, n = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.reshape(-1), minlength=n + 1)
    sizes[0] = 0
    order = [i for i in np.argsort(-sizes, kind="stable") if sizes[i] * voxel_mm3 >= smallest_mm3 and i]
    table = np.zeros(n + 1, np.int32)
    table[order] = np.arange(1, len(order) + 1)
    return table[pieces], len(order)
