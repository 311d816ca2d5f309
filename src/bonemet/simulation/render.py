"""Volumes of an animal in a pose, on any grid: labels, mineral density and soft tissue.

Every voxel asks the implicit shapes afresh at its own place in the bone's frame, so no two poses share
an interpolation. Blocks of voxels that lie outside a bone are skipped; voxels that a surface crosses are
sampled at ``supersample`` cubed places, each of which counts by the share of it that is tissue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.core.errors import SettingsError
from bonemet.core.grid import Grid
from bonemet.kernels.jit import fast_kernel
from bonemet.simulation import body
from bonemet.simulation.anatomy import Animal
from bonemet.simulation.packed import FRACTURE
from bonemet.simulation.pose import ScanPose
from bonemet.simulation.shapes import Array
from bonemet.simulation.skeleton import LABELS, Part, skeleton
from bonemet.simulation.tissue import new_bone_mm, outline, sample

BLOCK = 8
_SLAB = 4 * BLOCK
_SLACK = 1.3
"""By how much first-order distances may be too long."""


@dataclass(frozen=True, eq=False)
class Rendered:
    """An animal on a grid.

    Attributes
    ----------
    labels
        (z, y, x) uint8: 0 none, 1 spine, tail and pelvis, 2 left femur, 3 left tibia and fibula, 4 right
        femur, 5 right tibia and fibula, 6 holder, 7 other bones; each holds what its bone encloses.
    bone
        (z, y, x) float32: mineral density in mg HA/cm3, the voxel's share of tissue counted. Memory that no
        bone touches is never taken from the system.
    soft
        (z, y, x) uint8: 0 air, 1 muscle, skin and marrow, 2 fat, 3 plastic.
    grid
        Where the voxels are in the scan frame.
    """

    labels: NDArray[np.uint8]
    bone: NDArray[np.float32]
    soft: NDArray[np.uint8]
    grid: Grid


@fast_kernel
def _density(table: Array, p: Array, inverse: Array, step: float, finer: int) -> float:
    """Return the mean mineral density of a voxel whose centre lies at ``p`` of the bone's frame."""
    small = step / finer
    total = 0.0
    for k in range(finer):
        w = (k + 0.5) * small - 0.5 * step
        for j in range(finer):
            v = (j + 0.5) * small - 0.5 * step
            for i in range(finer):
                u = (i + 0.5) * small - 0.5 * step
                x = p[0] + inverse[0, 0] * u + inverse[0, 1] * v + inverse[0, 2] * w
                y = p[1] + inverse[1, 0] * u + inverse[1, 1] * v + inverse[1, 2] * w
                z = p[2] + inverse[2, 0] * u + inverse[2, 1] * v + inverse[2, 2] * w
                _, tissue, mineral = sample(table, x, y, z)
                total += mineral * min(max(0.5 - tissue / small, 0.0), 1.0)
    return total / (finer * finer * finer)


@fast_kernel
def _within(table: Array, p: Array) -> bool:
    """Tell whether a point lies within the outer contour; quicker than all of ``sample`` for whole bones."""
    d = outline(table, p[0], p[1], p[2])
    if d <= 0.0 and table[FRACTURE + 1] == 0.0:
        return True
    return d <= new_bone_mm(table) and sample(table, p[0], p[1], p[2])[0] <= 0.0


@fast_kernel
def _voxel(table: Array, p: Array, inverse: Array, step: float, finer: int) -> tuple[bool, float]:
    """Return whether a voxel's centre ``p`` lies within the outer contour, and the mineral of the voxel."""
    if finer == 0:
        return _within(table, p), 0.0
    outer, tissue, mineral = sample(table, p[0], p[1], p[2])
    if outer > _SLACK * step:
        return False, 0.0
    if finer > 1 and abs(tissue) < step:
        return outer <= 0.0, _density(table, p, inverse, step, finer)
    return outer <= 0.0, mineral * min(max(0.5 - tissue / step, 0.0), 1.0)


@fast_kernel
def _paint_block(
    table: Array,
    inverse: Array,
    label: int,
    labels: NDArray[np.uint8],
    bone: NDArray[np.float32],
    frame: Array,
    box: NDArray[np.int64],
    finer: int,
) -> None:
    """Paint one block of voxels; ``frame`` holds origin (x, y, z), spacing, and first voxel (x, y, z)."""
    step = frame[3]
    p = np.empty(3)
    for k in range(box[0], box[3]):
        for j in range(box[1], box[4]):
            for i in range(box[2], box[5]):
                if labels[k, j, i] != 0:
                    continue
                x = frame[0] + (i + frame[4]) * step
                y = frame[1] + (j + frame[5]) * step
                z = frame[2] + (k + frame[6]) * step
                for a in range(3):
                    p[a] = inverse[a, 0] * x + inverse[a, 1] * y + inverse[a, 2] * z + inverse[a, 3]
                inside, density = _voxel(table, p, inverse, step, finer)
                if density > 0.0:
                    bone[k, j, i] += np.float32(density)
                if inside:
                    labels[k, j, i] = label


@fast_kernel
def _paint(
    table: Array,
    inverse: Array,
    label: int,
    labels: NDArray[np.uint8],
    bone: NDArray[np.float32],
    frame: Array,
    span: NDArray[np.int64],
    finer: int,
) -> None:
    """Paint one bone into a slab; ``span`` holds the first and last voxels (z, y, x) of its box there."""
    step = frame[3]
    reach = _SLACK * step * BLOCK * 0.5 * np.sqrt(3.0) + new_bone_mm(table)
    box = np.empty(6, np.int64)
    for k in range(span[0] // BLOCK * BLOCK, span[3], BLOCK):
        for j in range(span[1] // BLOCK * BLOCK, span[4], BLOCK):
            for i in range(span[2] // BLOCK * BLOCK, span[5], BLOCK):
                mid = 0.5 * (BLOCK - 1)
                x = frame[0] + (i + frame[4] + mid) * step
                y = frame[1] + (j + frame[5] + mid) * step
                z = frame[2] + (k + frame[6] + mid) * step
                px = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2] * z + inverse[0, 3]
                py = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2] * z + inverse[1, 3]
                pz = inverse[2, 0] * x + inverse[2, 1] * y + inverse[2, 2] * z + inverse[2, 3]
                if outline(table, px, py, pz) > reach:
                    continue
                box[0], box[1], box[2] = k, j, i
                box[3] = min(k + BLOCK, labels.shape[0])
                box[4] = min(j + BLOCK, labels.shape[1])
                box[5] = min(i + BLOCK, labels.shape[2])
                _paint_block(table, inverse, label, labels, bone, frame, box, finer)


def _box(part: Part, grid: Grid) -> NDArray[np.int64]:
    """Return first and last voxel (z, y, x; half-open) of the part's box, which may lie outside the grid."""
    corners = np.array(np.meshgrid(*zip(part.low, part.high, strict=True))).reshape(3, -1).T
    placed = corners @ part.matrix[:3, :3].T + part.matrix[:3, 3]
    index = grid.mm_to_index(placed)
    return np.concatenate([np.floor(index.min(axis=0)) - 1, np.ceil(index.max(axis=0)) + 2]).astype(np.int64)


class Painter:
    """Paints bones into any part of a grid; parts and the whole give the same bytes.

    Parts must begin at multiples of :data:`BLOCK` voxels.

    Parameters
    ----------
    parts
        The bones; the first at a place wins.
    grid
        The whole grid, of cubic voxels.
    finer
        Samples along each axis of a voxel that a surface crosses; 0 where only labels are wanted.
    """

    def __init__(self, parts: Sequence[Part], grid: Grid, finer: int) -> None:
        self._frame = np.array([*grid.origin_mm, grid.spacing_mm[0]])
        self._shape, self._finer = np.array(grid.shape), finer
        self._bones = [
            (p.shape.pack(), np.ascontiguousarray(np.linalg.inv(p.matrix)[:3]), p.label, _box(p, grid))
            for p in parts
        ]

    @property
    def box(self) -> NDArray[np.int64]:
        """First and last voxels (z, y, x; half-open) of a box that holds all bones within the grid."""
        boxes = np.array([box for *_, box in self._bones])
        low = np.clip(boxes[:, :3].min(axis=0), 0, self._shape)
        return np.concatenate([low, np.clip(boxes[:, 3:].max(axis=0), low, self._shape)])

    def paint(
        self, labels: NDArray[np.uint8], bone: NDArray[np.float32], at: tuple[int, int, int] = (0, 0, 0)
    ) -> bool:
        """Paint the part that begins at voxel ``at`` (z, y, x), in place; tell whether any bone is near."""
        frame = np.array([*self._frame, *at[::-1]], dtype=np.float64)
        near = False
        for table, inverse, label, box in self._bones:
            first = np.clip(box[:3] - at, 0, labels.shape)
            last = np.clip(box[3:] - at, 0, labels.shape)
            if np.all(first < last):
                near = True
                _paint(table, inverse, label, labels, bone, frame, np.concatenate([first, last]), self._finer)
        return near


def paint_parts(
    parts: Sequence[Part], grid: Grid, labels: NDArray[np.uint8], bone: NDArray[np.float32], finer: int
) -> None:
    """Paint bones into labels and densities (z, y, x) of a grid, in place; the first at a place wins."""
    Painter(parts, grid, finer).paint(labels, bone)


def render(
    animal: Animal,
    week: int,
    pose: ScanPose,
    shape: tuple[int, int, int],
    spacing_mm: float,
    origin_mm: tuple[float, float, float],
    *,
    supersample: int = 2,
    mapper: Mapper = map,
) -> Rendered:
    """Return an animal in a pose on a grid of cubic voxels in the scan frame.

    Parameters
    ----------
    animal, week, pose
        Who, when and how.
    shape
        Voxels (z, y, x).
    spacing_mm
        Of the voxels.
    origin_mm
        Scan-frame point (x, y, z) of the centre of voxel (0, 0, 0).
    supersample
        Samples along each axis of a voxel that a surface crosses.
    mapper
        An ordered map over slabs of 32 slices; threads give the same bytes as one.

    Returns
    -------
    Rendered
        Labels, mineral density and soft tissue.
    """
    if supersample < 1:
        raise SettingsError(f"At least one sample per voxel is needed, not {supersample}.")
    return _render(animal, week, pose, Grid.isotropic(shape, spacing_mm, origin_mm), supersample, mapper)


def soft_tissue(
    animal: Animal, week: int, pose: ScanPose, grid: Grid, *, mapper: Mapper = map
) -> NDArray[np.uint8]:
    """Return the materials (z, y, x) of :attr:`Rendered.soft` alone, on a grid of cubic voxels."""
    return _render(animal, week, pose, grid, 0, mapper).soft


def _render(animal: Animal, week: int, pose: ScanPose, grid: Grid, finer: int, mapper: Mapper) -> Rendered:
    """Return an animal on a grid, without its mineral where ``finer`` is 0."""
    labels, soft = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.uint8)
    bone = np.zeros(grid.shape, np.float32)
    painter, rows = Painter(skeleton(animal, week, pose), grid, finer), body.outline(animal, pose)

    def slab(first: int) -> None:
        last = min(first + _SLAB, grid.shape[0])
        part = grid.crop((first, 0, 0), (last, *grid.shape[1:]))
        box = slice(first, last)
        painter.paint(labels[box], bone[box], (first, 0, 0))
        bed = body.paint(soft[box], rows, animal.sizes.fat_mm, grid.spacing_mm[0], np.array(part.origin_mm))
        soft[box][labels[box] != 0] = body.MUSCLE
        for plane in labels[box]:
            plane[bed & (plane == 0)] = LABELS["holder"]

    for _ in mapper(slab, range(0, grid.shape[0], _SLAB)):
        pass
    return Rendered(labels, bone, soft, grid)
