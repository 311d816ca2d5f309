"""Volumes without X-rays: grey values straight from the anatomy, as sharp and noisy as reconstructions.

Values are attenuations in 1/mm as a reconstruction gives them: each material one value, and what hardening
of the beam changes down to a few tenths of a millimetre (:mod:`bonemet.simulation.hardening`); no
view-sampling streaks, no cone-beam errors. How they are made: :mod:`bonemet.simulation.grey_slabs`.

Everything is made slab by slab (32 slices), so memory is bounded; slabs and threads do not change a byte.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from bonemet.core.context import Mapper
from bonemet.core.errors import SettingsError
from bonemet.core.grid import Grid, Triple
from bonemet.simulation import body
from bonemet.simulation.anatomy import Animal
from bonemet.simulation.grey_slabs import SLAB, GreyScene, GreyVolume, Matrix
from bonemet.simulation.paths import around_bone, surroundings
from bonemet.simulation.pose import ScanPose
from bonemet.simulation.scanner import Scanner, scanner
from bonemet.simulation.skeleton import LONG_BONES, long_bone, skeleton


def grey_scene(
    animal: Animal,
    week: int,
    pose: ScanPose,
    grid: Grid,
    *,
    scanned: Scanner | None = None,
    seed: int = 0,
    field_mm: float = math.inf,
    mapper: Mapper = map,
) -> GreyScene:
    """Return an animal ready to be made grey slab by slab; see :func:`grey_volume`."""
    _check(grid, seed)
    scanned = scanned or scanner(grid.spacing_mm[0])
    low = grid.origin_mm[2]
    high = low + grid.shape[0] * grid.spacing_mm[0]
    around = surroundings(animal, week, pose, (low, high), scanned, mapper=mapper)
    parts = skeleton(animal, week, pose)
    outline, fat = body.outline(animal, pose), animal.sizes.fat_mm
    return GreyScene(parts, grid, scanned, around, seed, outline, fat, field_mm, matrices=dict(pose.matrices))


def grey_volume(
    animal: Animal,
    week: int,
    pose: ScanPose,
    grid: Grid,
    *,
    scanned: Scanner | None = None,
    seed: int = 0,
    mapper: Mapper = map,
) -> GreyVolume:
    """Return an animal in a pose as a reconstruction would show it.

    Parameters
    ----------
    animal, week, pose
        Who, when and how.
    grid
        Cubic voxels in the scan frame of poses.
    scanned
        What decides sharpness and noise; by default a scanner of pixels as large as the voxels, at the normal
        dose (:func:`bonemet.simulation.scanner.scanner`).
    seed
        Of noise and rings.
    mapper
        An ordered map, for threads; they do not change a byte.

    Raises
    ------
    SettingsError
        If the voxels are no cubes along the axes, or the seed is negative.
    """
    return grey_scene(animal, week, pose, grid, scanned=scanned, seed=seed, mapper=mapper).volume(mapper)


def bone_grid(
    animal: Animal,
    week: int,
    bone: str,
    matrix: Matrix,
    spacing_mm: float,
    *,
    margin_mm: float = 0.3,
) -> Grid:
    """Return a grid that holds a long bone, placed by a matrix, with a margin about it."""
    part = replace(long_bone(animal, week, bone), matrix=np.asarray(matrix, dtype=np.float64))
    corners = np.array(np.meshgrid(*zip(part.low, part.high, strict=True))).reshape(3, -1).T
    placed = corners @ part.matrix[:3, :3].T + part.matrix[:3, 3]
    low, high = placed.min(axis=0) - margin_mm, placed.max(axis=0) + margin_mm
    shape = np.ceil((high - low) / spacing_mm).astype(int) + 1
    origin: Triple = (float(low[0]), float(low[1]), float(low[2]))
    return Grid.isotropic(shape[::-1].tolist(), spacing_mm, origin)


def bone_scene(
    animal: Animal,
    week: int,
    bone: str,
    matrix: Matrix,
    grid: Grid,
    *,
    scanned: Scanner | None = None,
    seed: int = 0,
    bare: bool = True,
) -> GreyScene:
    """Return one long bone, in any place and cut as one likes, ready to be made grey slab by slab.

    Parameters
    ----------
    animal, week
        Who and when.
    bone
        ``left tibia`` (its fibula with it), ``right femur``, ...
    matrix
        4 x 4 from the bone's frame to the grid's; left bones' frames are mirrored, see
        :mod:`bonemet.simulation.pose`.
    grid
        Cubic voxels; :func:`bone_grid` gives one that holds the bone. Ends may be cropped.
    scanned, seed
        As in :func:`grey_volume`.
    bare
        Whether values beyond the rim of the bone's outer contour are 0, as in the stack of a single bone
        (:mod:`bonemet.core.rim`); else muscle surrounds it.

    Raises
    ------
    SettingsError
        If there is no such bone, or the grid's voxels are no cubes along the axes.
    """
    _check(grid, seed)
    placed = np.asarray(matrix, dtype=np.float64)
    part = replace(long_bone(animal, week, bone), matrix=placed)
    scanned = scanned or scanner(grid.spacing_mm[0])
    around = around_bone(part, grid, scanned)
    return GreyScene([part], grid, scanned, around, seed, bare=bare, matrices={bone: placed})


def _check(grid: Grid, seed: int) -> None:
    if max(grid.spacing_mm) - min(grid.spacing_mm) > 1e-9 or not np.array_equal(grid.direction, np.eye(3)):
        raise SettingsError("Grey volumes are made of cubic voxels along the axes; give such a grid.")
    if seed < 0:
        raise SettingsError(f"The seed is a number from 0 up, not {seed}.")


__all__ = [
    "LONG_BONES",
    "SLAB",
    "GreyScene",
    "GreyVolume",
    "bone_grid",
    "bone_scene",
    "grey_scene",
    "grey_volume",
]
