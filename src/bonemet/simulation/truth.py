"""What is true of a bone: its landmarks, its place, its volume, and what changed between weeks.

All of it in the bone's own frame; see :mod:`bonemet.simulation.longbones`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.errors import SettingsError
from bonemet.core.grid import Grid
from bonemet.kernels.jit import fast_kernel
from bonemet.simulation.anatomy import Animal, sizes_of
from bonemet.simulation.disease import fracture
from bonemet.simulation.growth import growth
from bonemet.simulation.longbones import fusion_mm, head_in_femur
from bonemet.simulation.packed import BREAK
from bonemet.simulation.render import paint_parts
from bonemet.simulation.shapes import Array
from bonemet.simulation.skeleton import Part, long_bone
from bonemet.simulation.tissue import fibula_points, new_bone_mm, outline, sample, sample_points

_FINE_MM = 0.02
_BEFORE_MM = 0.02  # how far before they are one tibia and fibula are surely apart
_CUBE = 4
"""Voxels along the edges of cubes that are passed over where no bone is near."""
_SPARE_MM = 0.6
"""By how much the grid of a bone's own frame reaches beyond the bone of week 0, to serve all weeks."""


def points_in_bone(animal: Animal, week: int, bone: str, points_mm: NDArray[Any]) -> Array:
    """Return what is at points (n, 3) given as (x, y, z) in the frame of a long bone.

    Returns
    -------
    (n, 3) array
        Signed distance (mm) from the outer contour, signed distance from mineralised tissue, and the
        mineral density (mg HA/cm3) of the nearest tissue.
    """
    points = np.ascontiguousarray(points_mm, dtype=np.float64).reshape(-1, 3)
    out = np.empty((len(points), 3))
    sample_points(long_bone(animal, week, bone).shape.pack(), points, out)
    return out


def points_in_fibula(animal: Animal, week: int, bone: str, points_mm: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell of points (n, 3) given as (x, y, z) in a tibia's frame whether they are its fibula's.

    The tibia's proximal piece, where it is broken, counts as if it were in its place.
    """
    points = np.ascontiguousarray(points_mm, dtype=np.float64).reshape(-1, 3)
    out = np.empty(len(points), np.bool_)
    fibula_points(long_bone(animal, week, bone).shape.pack(), points, out)
    return out


def _contours(part: Part, table: Array, z: float) -> tuple[NDArray[np.int32], int]:
    """Return the separate outer contours (x, y) at a level of the tibia's frame, numbered, and how many."""
    xs = np.arange(part.low[0], part.high[0], _FINE_MM)
    ys = np.arange(part.low[1], part.high[1], _FINE_MM)
    points = np.stack(np.meshgrid(xs, ys, [z], indexing="ij"), -1).reshape(-1, 3)
    out = np.empty((len(points), 3))
    sample_points(table, points, out)
    filled = (out[:, 0] <= 0).reshape(len(xs), len(ys))
    labels, number = ndimage.label(filled, np.ones((3, 3)))
    return labels, int(number)


def _first_level(part: Part, first: float, last: float, count: int) -> float:
    """Return the first level from ``first`` on with so many contours, found in steps of 0.1, then 0.01 mm."""
    table = part.shape.pack()
    for coarse in np.arange(first, last, 0.1):
        if _contours(part, table, float(coarse))[1] != count:
            continue
        fine = (float(z) for z in np.arange(max(first, coarse - 0.1), coarse + 0.005, 0.01))
        return next((z for z in fine if _contours(part, table, z)[1] == count), float(coarse))
    raise SettingsError(f"{part.name} has no level with {count} contours between {first} and {last} mm.")


def _between_contours(part: Part, level: float, where: float) -> Array:
    """Return the point at a level in the middle of the gap that separates two contours at ``where``."""
    labels, _ = _contours(part, part.shape.pack(), where)
    one = labels == 1
    away, nearest = ndimage.distance_transform_edt(~one, return_indices=True)
    there = np.unravel_index(int(np.where(labels > 1, away, np.inf).argmin()), labels.shape)
    here = nearest[(slice(None), *there)]
    x, y = part.low[:2] + 0.5 * _FINE_MM * (np.asarray(there) + here)
    return np.array([x, y, level])


@lru_cache(maxsize=64)
def _where_contours_part(animal: Animal, week: int, bone: str) -> tuple[Array, Array]:
    """Return where tibia and fibula part, and where they are one again: points in the gap between them."""
    part, s = long_bone(animal, week, bone), sizes_of(animal, bone.split(maxsplit=1)[0])
    wide = _widest(animal, bone)
    whole = part.shape._replace(fracture=np.zeros((0, BREAK)))
    part = replace(part, shape=whole, low=wide.low, high=wide.high)
    top, end = s.junction_mm - 0.5 - growth(animal, week, bone).proximal, fusion_mm(s)
    junction = _first_level(part, top, s.junction_mm + 2.0, 2)
    fusion = _first_level(part, end - 1.5, end + 1.5, 1)
    return (
        _between_contours(part, junction, junction),
        _between_contours(part, fusion, fusion - _BEFORE_MM),
    )


def landmark_points(animal: Animal, week: int, bone: str) -> dict[str, Array]:
    """Return the landmarks of a long bone as points (x, y, z) in mm of its frame.

    Junction and fusion lie in the gap between tibia and fibula, where slices of any tilt show them part and
    meet; the others on the bone's long axis. In a broken tibia those of its proximal piece follow it.
    """
    part, s = long_bone(animal, week, bone), sizes_of(animal, bone.split(maxsplit=1)[0])
    zones, grown = part.shape.zones[:, 0], growth(animal, week, bone)
    if bone.endswith("femur"):
        head, _ = head_in_femur(s)
        levels = {
            "length": s.femur_mm + grown.distal,
            "head": float(head[2]),
            "distal_growth_plate": float(zones[0]),
        }
        return {name: np.array([0.0, 0.0, z]) for name, z in levels.items()}
    levels = {
        "length": s.tibia_mm + grown.distal,
        "proximal_growth_plate": float(zones[0]),
        "distal_growth_plate": float(zones[1]),
    }
    out = {name: np.array([0.0, 0.0, z]) for name, z in levels.items()}
    junction, fusion = _where_contours_part(animal, week, bone)
    out |= {"junction": junction.copy(), "fusion": fusion.copy()}
    broken = fracture(animal, bone.split(maxsplit=1)[0], week)
    if broken is not None:
        for name in ("junction", "proximal_growth_plate"):
            out[name] = (broken.proximal @ [*out[name], 1.0])[:3]
    return out


def landmarks(animal: Animal, week: int, bone: str) -> dict[str, float]:
    """Return the landmarks of a long bone as levels (mm) along z of its frame.

    Parameters
    ----------
    animal, week
        Who and when.
    bone
        ``left tibia``, ``right femur``, ...

    Returns
    -------
    dict
        ``length``: of the whole bone, grown as it is; of a tibia ``junction`` (going distally, the first
        level at which tibia and fibula are separate contours), ``fusion`` (the first level after it at
        which they are one again), ``proximal_growth_plate`` and ``distal_growth_plate``; of a femur
        ``head`` (its centre) and ``distal_growth_plate``. The frame stays with the diaphysis, so the
        proximal end lies at a negative level once the bone has grown.
    """
    out = {name: float(point[2]) for name, point in landmark_points(animal, week, bone).items()}
    out["length"] += growth(animal, week, bone).proximal
    return out


def _grid(part: Part, spacing_mm: float) -> Grid:
    size = np.ceil((part.high - part.low) / spacing_mm).astype(int) + 1
    return Grid.isotropic(size[::-1].tolist(), spacing_mm, tuple(part.low.tolist()))


def bone_in_own_frame(
    animal: Animal, week: int, bone: str, spacing_mm: float, *, supersample: int = 2
) -> tuple[NDArray[np.bool_], NDArray[np.float32], Grid]:
    """Return a long bone on a grid of its own frame.

    Returns
    -------
    tuple
        Filled outer contour (z, y, x); mineral density (z, y, x) in mg HA/cm3; the grid. The grid is the
        same in all weeks.
    """
    parts = long_bone(animal, week, bone)
    grid = _grid(_widest(animal, bone), spacing_mm)
    labels, density = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.float32)
    paint_parts([parts], grid, labels, density, supersample)
    return labels > 0, density, grid


def _widest(animal: Animal, bone: str) -> Part:
    part = long_bone(animal, 0, bone)
    return replace(part, low=part.low - _SPARE_MM, high=part.high + _SPARE_MM)


@fast_kernel
def _tissue(table: Array, frame: Array, out: NDArray[np.uint8]) -> float:
    """Mark voxels (z, y, x) whose centre is mineralised tissue; ``frame``: origin (x, y, z) and spacing.

    Returns how many voxels the tissue fills, those that a surface crosses counted by their share.
    """
    step, total = frame[3], 0.0
    reach = 1.3 * step * _CUBE * 0.5 * np.sqrt(3.0) + new_bone_mm(table)
    for k0 in range(0, out.shape[0], _CUBE):
        for j0 in range(0, out.shape[1], _CUBE):
            for i0 in range(0, out.shape[2], _CUBE):
                half = 0.5 * (_CUBE - 1) * step
                x, y, z = frame[0] + i0 * step, frame[1] + j0 * step, frame[2] + k0 * step
                if outline(table, x + half, y + half, z + half) > reach:
                    continue
                for k in range(k0, min(k0 + _CUBE, out.shape[0])):
                    for j in range(j0, min(j0 + _CUBE, out.shape[1])):
                        for i in range(i0, min(i0 + _CUBE, out.shape[2])):
                            x, y, z = frame[0] + i * step, frame[1] + j * step, frame[2] + k * step
                            _, tissue, _ = sample(table, x, y, z)
                            total += min(max(0.5 - tissue / step, 0.0), 1.0)
                            if tissue <= 0.0:
                                out[k, j, i] = 1
    return total


def tissue_in_own_frame(
    animal: Animal, week: int, bone: str, spacing_mm: float, *, last_mm: float | None = None
) -> tuple[NDArray[np.bool_], Grid]:
    """Return which voxels (z, y, x) have their centre in mineralised tissue, and the grid (of all weeks).

    The pieces of a broken bone are put back where they were. Levels beyond ``last_mm`` are left out.
    """
    grid = _grid(_widest(animal, bone), spacing_mm)
    if last_mm is not None:
        stop = int((last_mm - grid.origin_mm[2]) / spacing_mm) + 1
        grid = grid.crop((0, 0, 0), (stop, *grid.shape[1:]))
    out = np.zeros(grid.shape, np.uint8)
    frame = np.array([*grid.origin_mm, spacing_mm])
    shape = long_bone(animal, week, bone).shape._replace(fracture=np.zeros((0, BREAK)))
    _tissue(shape.pack(), frame, out)
    return out.astype(bool), grid


def bone_volume(animal: Animal, week: int, bone: str, spacing_mm: float = 0.04) -> float:
    """Return the volume (mm3) of a long bone's mineralised tissue; of a tibia with its fibula.

    Voxels that a surface crosses count by their share, so the sum converges fast: at 0.04 mm it differs
    by about 0.1 % from that at 0.012 mm. The pieces of a broken bone are put back.
    """
    grid = _grid(_widest(animal, bone), spacing_mm)
    shape = long_bone(animal, week, bone).shape._replace(fracture=np.zeros((0, BREAK)))
    frame = np.array([*grid.origin_mm, spacing_mm])
    filled: float = _tissue(shape.pack(), frame, np.zeros(grid.shape, np.uint8))
    return filled * spacing_mm**3
