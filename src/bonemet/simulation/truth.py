"""What is true of a bone: its landmarks, its place, its volume, and what changed between weeks.

All of it in the bone's own frame; see :mod:`bonemet.simulation.longbones`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.errors import SettingsError
from bonemet.core.grid import Grid
from bonemet.kernels.jit import fast_kernel
from bonemet.simulation.anatomy import SIDES, Animal, sizes_of
from bonemet.simulation.longbones import fusion_mm, head_in_femur
from bonemet.simulation.render import BLOCK, paint_parts
from bonemet.simulation.shapes import Array
from bonemet.simulation.skeleton import Part, long_bone
from bonemet.simulation.tissue import new_bone_mm, outline, sample, sample_points

_FINE_MM = 0.02


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


def _contours(part: Part, table: Array, z: float) -> int:
    """Return the number of separate outer contours at a level of the tibia's frame."""
    xs = np.arange(part.low[0], part.high[0], _FINE_MM)
    ys = np.arange(part.low[1], part.high[1], _FINE_MM)
    points = np.stack(np.meshgrid(xs, ys, [z], indexing="ij"), -1).reshape(-1, 3)
    out = np.empty((len(points), 3))
    sample_points(table, points, out)
    filled = (out[:, 0] <= 0).reshape(len(xs), len(ys))
    return int(ndimage.label(filled, np.ones((3, 3)))[1])


def _first_level(part: Part, first: float, last: float, count: int) -> float:
    """Return the first level from ``first`` on with so many contours, found in steps of 0.1, then 0.01 mm."""
    table = part.shape.pack()
    for coarse in np.arange(first, last, 0.1):
        if _contours(part, table, float(coarse)) != count:
            continue
        fine = (float(z) for z in np.arange(max(first, coarse - 0.1), coarse + 0.005, 0.01))
        return next((z for z in fine if _contours(part, table, z) == count), float(coarse))
    raise SettingsError(f"{part.name} has no level with {count} contours between {first} and {last} mm.")


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
        ``length``; of a tibia ``junction`` (going distally, the first level at which tibia and fibula are
        separate contours), ``fusion`` (the first level after it at which they are one again),
        ``proximal_growth_plate`` and ``distal_growth_plate``; of a femur ``head`` (its centre) and
        ``distal_growth_plate``.
    """
    part, wide = long_bone(animal, week, bone), _widest(animal, bone)
    s = sizes_of(animal, bone.split(maxsplit=1)[0])
    zones = part.shape.zones[:, 0]
    if bone.endswith("femur"):
        head, _ = head_in_femur(s)
        return {"length": s.femur_mm, "head": float(head[2]), "distal_growth_plate": float(zones[0])}
    part = replace(part, low=wide.low, high=wide.high)
    junction = _first_level(part, s.junction_mm - 0.5, s.junction_mm + 2.0, 2)
    end = fusion_mm(s)
    fusion = _first_level(part, end - 1.5, end + 1.5, 1)
    return {
        "length": s.tibia_mm,
        "junction": junction,
        "fusion": fusion,
        "proximal_growth_plate": float(zones[0]),
        "distal_growth_plate": float(zones[1]),
    }


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
    return replace(part, low=part.low - 0.35, high=part.high + 0.35)


@fast_kernel
def _tissue(table: Array, frame: Array, out: NDArray[np.uint8]) -> None:
    """Mark voxels (z, y, x) whose centre is mineralised tissue; ``frame``: origin (x, y, z) and spacing."""
    step = frame[3]
    reach = 1.3 * step * BLOCK * 0.5 * np.sqrt(3.0) + new_bone_mm(table)
    for k0 in range(0, out.shape[0], BLOCK):
        for j0 in range(0, out.shape[1], BLOCK):
            for i0 in range(0, out.shape[2], BLOCK):
                half = 0.5 * (BLOCK - 1) * step
                x, y, z = frame[0] + i0 * step, frame[1] + j0 * step, frame[2] + k0 * step
                if outline(table, x + half, y + half, z + half) > reach:
                    continue
                for k in range(k0, min(k0 + BLOCK, out.shape[0])):
                    for j in range(j0, min(j0 + BLOCK, out.shape[1])):
                        for i in range(i0, min(i0 + BLOCK, out.shape[2])):
                            x, y, z = frame[0] + i * step, frame[1] + j * step, frame[2] + k * step
                            _, tissue, _ = sample(table, x, y, z)
                            if tissue <= 0.0:
                                out[k, j, i] = 1


def tissue_in_own_frame(
    animal: Animal, week: int, bone: str, spacing_mm: float
) -> tuple[NDArray[np.bool_], Grid]:
    """Return which voxels (z, y, x) have their centre in mineralised tissue, and the grid (of all weeks)."""
    grid = _grid(_widest(animal, bone), spacing_mm)
    out = np.zeros(grid.shape, np.uint8)
    frame = np.array([*grid.origin_mm, spacing_mm])
    _tissue(long_bone(animal, week, bone).shape.pack(), frame, out)
    return out.astype(bool), grid


def change_masks(
    animal: Animal, side: str, week_from: int, week_to: int, spacing_mm: float = 0.02
) -> tuple[NDArray[np.uint8], Grid]:
    """Return what became of a tibia's tissue between two weeks, in its own frame.

    Returns
    -------
    tuple
        (z, y, x) uint8: 0 neither, 60 resorbed, 180 unchanged, 240 formed (the published greys of
        composites); the grid.
    """
    if side not in SIDES:
        raise SettingsError(f"The side is left or right, not {side!r}.")
    before, grid = tissue_in_own_frame(animal, week_from, f"{side} tibia", spacing_mm)
    after, _ = tissue_in_own_frame(animal, week_to, f"{side} tibia", spacing_mm)
    out = np.zeros(grid.shape, np.uint8)
    out[before & after], out[before & ~after], out[after & ~before] = 180, 60, 240
    return out, grid


def change_truth(
    animal: Animal, side: str, week_from: int, week_to: int, spacing_mm: float = 0.02
) -> dict[str, float]:
    """Return the volumes (mm3) of a tibia's tissue that stayed, came and went; fibula included.

    Returns
    -------
    dict
        ``unchanged_mm3``, ``formed_mm3`` and ``resorbed_mm3``.
    """
    masks, grid = change_masks(animal, side, week_from, week_to, spacing_mm)
    counts = np.bincount(masks.ravel(), minlength=256) * grid.voxel_mm3
    names = {"unchanged_mm3": 180, "formed_mm3": 240, "resorbed_mm3": 60}
    return {name: float(counts[grey]) for name, grey in names.items()}
