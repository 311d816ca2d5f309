"""A bone's outer contour at its true place: where its blurred wall ends, and not where a threshold falls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.segmentation.components import HOLE_MM2, Mask, Spacing, fill_slices
from bonemet.segmentation.walls import RISE, Levels, Surface, edge_share, tops

Below = Callable[[NDArray[Any]], NDArray[np.float64]]

BAND = 1.6  # voxels on either side of a first outline within which the contour is looked for
OPEN = 0.5  # share of a hole's faces beyond which it is a gap
NOISE = 0.01  # by how much the highest of a wall's noisy values is too high, as a share of the step
FAINT = 0.25  # of the step from soft tissue to bone: a lower wall tells nothing
NORMAL, BEND = 1.3, 2.0  # voxels: smoothing of the outline for its normals and its curvature
SLAB, HALO = 64, 10  # slices that are looked at together, and those beside them that matter


def nowhere(points: NDArray[Any]) -> NDArray[np.float64]:
    """Return that points (n, 3) lie beside no tibia."""
    return np.full(len(points), np.nan)


def trace(grey: NDArray[Any], body: Mask, own: Mask, levels: Levels, below_mm: Below = nowhere) -> Mask:
    """Return a filled bone with its surface moved to the outer faces of its wall.

    Along the normal through each voxel near the surface the outermost wall is looked for. How bright it is
    tells how thin it is and so which value its face has (:func:`bonemet.segmentation.walls.edge_share`);
    a convex face is darker by its curvature times the blur. Where there is no wall, as in a lesion, the
    outline stays.

    Parameters
    ----------
    grey
        (z, y, x).
    body
        (z, y, x) first outline, filled; right to about a voxel and a half.
    own
        (z, y, x) where the bone may be; no other bone's place.
    levels
        Of soft tissue and bone.
    below_mm
        Returns how far below the knee points (n, 3) in voxels lie; NaN for bones other than tibiae.
    """
    out = body.copy()
    for first in range(0, len(grey), SLAB):
        low, high = max(0, first - HALO), min(len(grey), first + SLAB + HALO)
        inner = slice(first - low, min(len(grey), first + SLAB) - low)
        traced = _trace_slab(grey[low:high], body[low:high], own[low:high], levels, below_mm, low)
        out[first : first + SLAB] = traced[inner]
    return out


def _trace_slab(
    grey: NDArray[Any], body: Mask, own: Mask, levels: Levels, below_mm: Below, first: int
) -> Mask:
    if not body.any() or min(grey.shape) < 4:
        return body
    near = _band(body) & own
    points = np.argwhere(near)
    if not len(points):
        return body
    place = tuple(points.T)
    bends = _curvature(body, place)
    surface = Surface(points.astype(np.float64), _normals(body, NORMAL, place), bends)
    floor, step = levels.at(below_mm(points + np.array([first, 0, 0])))
    top, at = wall_tops(grey, own, surface, levels)
    height = (top - floor) / step - NOISE
    face = edge_share(height, levels.blur * bends)
    smooth = _smoothed(face, place, body.shape)
    inside = (at > 0) | (grey[place] >= floor + step * smooth)
    out = body.copy()
    out[place] = np.where(height >= FAINT, inside, body[place])
    return out


def wall_tops(
    grey: NDArray[Any], own: Mask, surface: Surface, levels: Levels
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the highest value (n,) of the outermost wall at places, and how many voxels outwards it lies."""
    top, at = np.empty(len(surface.points)), np.empty(len(surface.points))
    rise = RISE * (levels.bone - levels.soft)
    tops(grey, own.view(np.uint8), surface.points, surface.normals, rise, top, at)
    return top, at


def _band(body: Mask) -> Mask:
    inside = ndimage.distance_transform_edt(np.pad(body, 1, mode="edge"))[1:-1, 1:-1, 1:-1]
    outside = ndimage.distance_transform_edt(~body)
    return np.asarray((inside < BAND + 0.5) & (outside < BAND + 0.5))


def _normals(body: Mask, blur: float, place: tuple[NDArray[np.int64], ...]) -> NDArray[np.float64]:
    """Return the outward unit normals (n, 3) at voxels."""
    soft = ndimage.gaussian_filter(body.astype(np.float32), blur)
    slope = -np.stack([g[place] for g in np.gradient(soft)], axis=1).astype(np.float64)
    return np.asarray(slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9))


def _curvature(body: Mask, place: tuple[NDArray[np.int64], ...]) -> NDArray[np.float64]:
    """Return the sum of the principal curvatures (1/voxel) at voxels, positive where the bone bulges."""
    soft = ndimage.gaussian_filter(body.astype(np.float32), BEND)
    slope = np.gradient(soft)
    size = np.sqrt(sum(g * g for g in slope)) + 1e-9
    bend = -sum(np.gradient(g / size, axis=a)[place] for a, g in enumerate(slope))
    return np.asarray(np.clip(bend, -0.5, 0.5), dtype=np.float64)


def _smoothed(
    values: NDArray[np.float64], place: tuple[NDArray[np.int64], ...], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return values at voxels averaged with those of their neighbours."""
    total, weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    total[place], weight[place] = values, 1.0
    total = ndimage.gaussian_filter(total, 0.7, output=total)
    weight = ndimage.gaussian_filter(weight, 0.7, output=weight)
    return np.asarray(total[place] / weight[place], dtype=np.float64)


def surface_points(body: Mask, count: int) -> Surface:
    """Return about ``count`` voxels of a filled bone's surface, evenly taken."""
    surface = body & ~ndimage.binary_erosion(body, border_value=1)
    points = np.argwhere(surface)
    points = points[:: max(1, len(points) // count)]
    place = tuple(points.T)
    return Surface(points.astype(np.float64), _normals(body, NORMAL, place), _curvature(body, place))


def filled(body: Mask, room: Mask, spacing_mm: Spacing) -> Mask:
    """Return a bone with the holes of its slices along all axes filled, within a room.

    What looks like a hole in slices along the bone may be the gap between tibia and fibula, which are one
    above and below it: a hole that lies open to half of its surroundings is none.
    """
    out = body.copy()
    for axis in range(3):
        pixel = float(np.prod(np.delete(spacing_mm, axis)))
        out |= fill_slices(out, HOLE_MM2, pixel, axis) & room
    holes, n = ndimage.label(out & ~body)
    if n:
        out &= ~(_exposure(holes, n, out) > OPEN)[holes]
    return out


def _exposure(holes: NDArray[np.int32], count: int, solid: Mask) -> NDArray[np.float64]:
    """Return which share of the faces of each hole, from 0, look at what is not solid."""
    faces, open_faces = np.zeros(count + 1), np.zeros(count + 1)
    for axis in range(3):
        low, high = (
            tuple(s if a == axis else slice(None) for a in range(3)) for s in (slice(-1), slice(1, None))
        )
        for here, there in ((low, high), (high, low)):
            edge = (holes[here] > 0) & (holes[there] == 0)
            faces += np.bincount(holes[here][edge], minlength=count + 1)
            open_faces += np.bincount(holes[here][edge & ~solid[there]], minlength=count + 1)
    return np.asarray(open_faces / np.maximum(faces, 1))
