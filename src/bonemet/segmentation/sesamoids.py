"""Small bones at the knee that touch a long one: patella, fabellae, menisci."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.segmentation import joints
from bonemet.segmentation.components import Mask, Spacing, box_of
from bonemet.segmentation.outline import filled
from bonemet.segmentation.walls import Levels

Box = tuple[slice, ...]
Judge = Callable[[NDArray[np.float64]], bool]

SESAMOID_MM3 = 1.5  # patella, fabellae and ossified menisci are smaller
LEAST_MM3 = 0.008
LONGEST_MM = 2.3  # a mouse's patella is not quite 2 mm long; an epiphysis is wider
BRIGHT = (0.55, 0.65, 0.75)  # of the step from soft tissue to bone: one is brighter than where bones touch
FLAKE_MM, FLAKE_MM3 = 0.14, 0.02  # radius and volume that flakes of a thin cortex do not reach
DEEP = 2.5  # voxels within the outline
ALONE = 0.65  # share of the surroundings of a small bone that is not the large one
SLIM = 0.1  # radius over length; of patellae it is 0.15 and more, of a piece of the tibia's plateau less
HOLLOW = 2.0  # volume with what is enclosed, over that of the bright bone; of patellae it is about 1.5
FABELLA_MM = (0.7, 0.07)  # longest, and least radius of its bright core; one touches nothing bright


def touching(
    grey: NDArray[Any], body: Mask, own: Mask, levels: Levels, spacing_mm: Spacing, at_knee: Judge
) -> Mask:
    """Return the places of small bones within a long bone's place.

    They are pieces of bright bone that are thicker than a flake of cortex and have no bone around them.

    Parameters
    ----------
    grey
        (z, y, x).
    body, own
        (z, y, x) first outline of the long bone, and its place.
    levels
        Of soft tissue and bone.
    spacing_mm
        (z, y, x).
    at_knee
        Tells of a voxel (z, y, x) whether a small bone may lie there.
    """
    seeds, main = np.zeros(body.shape, np.uint8), None
    deep = _large(ndimage.distance_transform_edt(body) > DEEP, spacing_mm)
    for share in BRIGHT:
        pieces, _ = ndimage.label(own & (grey >= levels.grey(share)))
        sizes = np.bincount(pieces.reshape(-1)) * float(np.prod(spacing_mm))
        inside = deep | ((pieces > 0) & (sizes[pieces] >= SESAMOID_MM3))
        for k, found in enumerate(ndimage.find_objects(pieces), start=1):
            if LEAST_MM3 <= sizes[k] < SESAMOID_MM3:
                box = _widened(found, 3, body.shape)
                piece = pieces[box] == k
                cut = _reaches_edge(found, body.shape)
                if _stands_alone(piece, inside[box], spacing_mm, cut=cut) and at_knee(_centre(piece, box)):
                    seeds[box][piece] = 2
        if main is None and seeds.any():
            main = (pieces > 0) | deep
    parted = np.zeros(body.shape, bool)
    if main is not None:
        box = _widened(box_of(seeds > 0), 8, body.shape)
        seeds[main & ~ndimage.binary_dilation(seeds > 0, iterations=3)] = 1
        parted[box] = joints.part_along_dark(grey[box], seeds[box], own[box]) == 2
    return parted


def without_loose(body: Mask, spacing_mm: Spacing, at_knee: Judge) -> Mask:
    """Return a long bone without the small pieces at its knee that do not touch it."""
    pieces, n = ndimage.label(body, np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.reshape(-1), minlength=n + 1) * float(np.prod(spacing_mm))
    out = body.copy()
    for k, box in enumerate(ndimage.find_objects(pieces), start=1):
        piece = pieces[box] == k
        if n > 1 and sizes[k] < SESAMOID_MM3 and at_knee(_centre(piece, box)):
            out[box][piece] = False
    return out


def _large(mask: Mask, spacing_mm: Spacing) -> Mask:
    """Return the pieces of a mask that are as large as a small bone: the place that one fills is none."""
    pieces, n = ndimage.label(mask)
    sizes = np.bincount(pieces.reshape(-1), minlength=n + 1) * float(np.prod(spacing_mm))
    sizes[0] = 0
    return np.asarray((sizes >= SESAMOID_MM3)[pieces])


def _stands_alone(piece: Mask, inside: Mask, spacing_mm: Spacing, *, cut: bool = False) -> bool:
    """Tell whether a piece of bright bone is thick, its inside filled, and lies outside of the long bone.

    The wall of a long bone that the field of view has ``cut`` has no bone beyond and looks alone; but it
    encloses more than it holds.
    """
    around = ndimage.binary_dilation(piece, iterations=2) & ~piece
    alone, long = float(np.mean(~inside[around])), _length_mm(piece, spacing_mm)
    if not alone > ALONE or long > LONGEST_MM:
        return False
    solid = np.pad(filled(piece, np.ones_like(piece), spacing_mm), 1)
    if cut and solid.sum() > HOLLOW * piece.sum():
        return False
    thick = float(ndimage.distance_transform_edt(solid, sampling=spacing_mm).max())
    if thick < SLIM * long:
        return False
    fabella = alone == 1 and long <= FABELLA_MM[0] and thick >= FABELLA_MM[1]
    return fabella or (thick >= FLAKE_MM and piece.sum() * float(np.prod(spacing_mm)) >= FLAKE_MM3)


def _length_mm(piece: Mask, spacing_mm: Spacing) -> float:
    """Return the extent of a piece along its longest principal axis."""
    points = np.argwhere(piece) * np.asarray(spacing_mm)
    points = points - points.mean(axis=0)
    _, axes = np.linalg.eigh(points.T @ points)
    return float(np.ptp(points @ axes[:, -1])) + min(spacing_mm)


def _reaches_edge(box: Box, shape: tuple[int, ...]) -> bool:
    """Tell whether a box reaches a face of the volume."""
    return any(b.start == 0 or b.stop == n for b, n in zip(box, shape, strict=True))


def _centre(piece: Mask, box: Box) -> NDArray[np.float64]:
    return np.asarray(np.argwhere(piece).mean(axis=0) + [b.start for b in box])


def _widened(box: Box, margin: int, shape: tuple[int, ...]) -> Box:
    return tuple(
        slice(max(0, b.start - margin), min(n, b.stop + margin)) for b, n in zip(box, shape, strict=True)
    )
