"""An animal in the scanner: rendered where the rays pass, and as labels on the reconstruction's grid."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.core.errors import SettingsError
from bonemet.core.grid import Grid, Triple
from bonemet.core.scan import ConeGeometry
from bonemet.kernels.jit import kernel
from bonemet.simulation.anatomy import Animal
from bonemet.simulation.body import TUBE_OUTER_MM, bed_mask
from bonemet.simulation.fields import Field, Lines, field_of, join_lines, pack_lines
from bonemet.simulation.pose import ScanPose
from bonemet.simulation.presets import Preset
from bonemet.simulation.render import BLOCK, Painter, soft_tissue
from bonemet.simulation.skeleton import LABELS, Part, skeleton
from bonemet.simulation.xray import Body

AIM_MM = 1.8
"""Level of the tibia that is put into the middle of an aimed picture."""
_FARTHEST_MM = 12.0
_SLICES, _SOFT_SLICES, _TILE, _COARSER = 64, 32, 64, 4
_THIN_MM = 0.02
"""In voxels up to this size a surface is as good as plane, and one sample tells how much of it is tissue."""
_MARGIN_MM = 0.8
_REACH = TUBE_OUTER_MM + _MARGIN_MM
_BONES_MM3 = 300.0
"""Volume of two hind limbs and of what hangs on them, marrow included."""


def reconstruction_grid(geometry: ConeGeometry) -> Grid:
    """Return the default grid of a reconstruction in the isocentric frame of poses and fields.

    Its voxel (0, 0, 0) is the origin of the reconstruction's scan frame.
    """
    p = geometry.pixel_mm
    corner = -(geometry.columns - 1) / 2 * p
    shape = (geometry.rows, geometry.columns, geometry.columns)
    return Grid.isotropic(shape, p, (corner, corner, -geometry.optical_axis_row * p))


def into_scan_frame(geometry: ConeGeometry) -> NDArray[np.float64]:
    """Return the 4 x 4 matrix from the isocentric frame to the reconstruction's scan frame."""
    out = np.eye(4)
    out[:3, 3] = -np.asarray(reconstruction_grid(geometry).origin_mm)
    return out


def memory_gb(preset: Preset, workers: int = 1) -> float:
    """Return about how much memory the simulation of a scan of this size needs, in GB.

    The mineral of all bones within the beam, the soft tissue, and a few images a worker.
    """
    low, high = seen_z_mm(preset.geometry(), _REACH)
    share = min(1.0, (high - low) / 28)
    bones = share * _BONES_MM3 / preset.bone_mm**3 * 4 + (26 / preset.bone_mm) ** 2 * 16
    soft = 3 * (2 * _REACH) ** 2 * (high - low) / preset.soft_mm**3 * 4
    images = 24 * preset.rows * preset.columns * max(1, round(preset.pixel_mm / preset.bone_mm)) ** 2
    slabs = 2 * BLOCK * preset.columns**2
    return max(1.1 * bones + soft + workers * images, workers * slabs) / 1e9 + 0.4


def aimed_pose(pose: ScanPose, side: str, off_axis_mm: float = 0.0) -> ScanPose:
    """Return the pose with the whole animal moved, so that one proximal tibia lies in the optical plane.

    Parameters
    ----------
    pose
        Where the animal lies.
    side
        ``left`` or ``right``.
    off_axis_mm
        Distance of the middle of the proximal metaphysis from the axis of rotation, away from the other leg.

    Raises
    ------
    SettingsError
        If the leg would not lie in the bed.
    """
    if not 0 <= off_axis_mm <= _FARTHEST_MM:
        raise SettingsError(f"A leg lies 0 to {_FARTHEST_MM:g} mm off the axis, not {off_axis_mm:g}.")
    aim = (pose.matrices[f"{side} tibia"] @ [0.0, 0.0, AIM_MM, 1.0])[:3]
    move = np.eye(4)
    move[:3, 3] = np.array([off_axis_mm if side == "right" else -off_axis_mm, 0.0, 0.0]) - aim
    return replace(pose, matrices={bone: move @ matrix for bone, matrix in pose.matrices.items()})


def body_in_beam(
    animal: Animal,
    week: int,
    pose: ScanPose,
    preset: Preset,
    geometry: ConeGeometry,
    soft: NDArray[np.float64],
    *,
    mapper: Mapper = map,
) -> Body:
    """Render an animal for projection, piece by piece.

    Parameters
    ----------
    animal, week, pose
        Who, when and how.
    preset
        Sizes of the voxels.
    geometry
        The scan; what no ray meets is left out.
    soft
        (4, 2) muscle and hydroxyapatite per material
        (:func:`bonemet.simulation.spectrum.soft_materials`).
    mapper
        An ordered map, for threads.
    """
    low, high = seen_z_mm(geometry, _REACH)
    everything = _grid_of((-_REACH, -_REACH, low), (_REACH, _REACH, high), preset.soft_mm)
    amounts = np.zeros((2, *everything.shape), dtype=np.float32)
    kinds = soft.astype(np.float32) * np.array([1, 1000], dtype=np.float32)
    half = preset.soft_mm / 2  # two samples a voxel along each side
    for z in range(0, everything.shape[0], _SOFT_SLICES):
        depth = min(_SOFT_SLICES, everything.shape[0] - z)
        shape = (2 * depth, 2 * everything.shape[1], 2 * everything.shape[2])
        x0, y0, z0 = (float(v) - half / 2 for v in everything.index_to_mm([z, 0, 0]))
        fine = Grid.isotropic(shape, half, (x0, y0, z0))
        _average(soft_tissue(animal, week, pose, fine, mapper=mapper), kinds, amounts[:, z : z + depth])
    muscle, apatite = (field_of(part, everything) for part in amounts)
    near, far = _mineral(animal, week, pose, preset, (low, high), mapper)
    return Body(near, muscle, apatite, far)


@kernel
def _average(codes: NDArray[np.uint8], kinds: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Average the amounts that materials stand for over 2 x 2 x 2 samples a voxel."""
    for k in range(codes.shape[0]):
        for j in range(codes.shape[1]):
            for i in range(codes.shape[2]):
                for c in range(2):
                    out[c, k // 2, j // 2, i // 2] += kinds[codes[k, j, i], c] * np.float32(0.125)


def _mineral(
    animal: Animal, week: int, pose: ScanPose, preset: Preset, z_mm: tuple[float, float], mapper: Mapper
) -> tuple[Field, Field | None]:
    """Render the mineral within the box that the bones fill; coarsely what a narrow picture does not show."""
    parts = skeleton(animal, week, pose)
    whole = _grid_of((-_REACH, -_REACH, z_mm[0]), (_REACH, _REACH, z_mm[1]), preset.bone_mm)
    box = Painter(parts, whole, 0).box
    if np.any(box[:3] >= box[3:]):
        raise SettingsError(f"No bone of animal {animal.name} lies in the beam in week {week}.")
    grid = whole.crop(box[:3].tolist(), box[3:].tolist())
    if preset.columns == preset.camera_columns:
        return mineral_field(parts, grid, mapper=mapper), None
    radius = preset.columns / 2 * preset.pixel_mm + _MARGIN_MM
    near = mineral_field(parts, grid, radius_mm=(0, radius), mapper=mapper)
    shape = [math.ceil(n / _COARSER) for n in grid.shape]
    x, y, z = (float(v) for v in grid.index_to_mm([(_COARSER - 1) / 2] * 3))
    coarse = Grid.isotropic(shape, _COARSER * preset.bone_mm, (x, y, z))
    beyond = (radius, math.inf)
    return near, mineral_field(parts, coarse, tile=_TILE // _COARSER, radius_mm=beyond, mapper=mapper)


def mineral_field(
    parts: Sequence[Part],
    grid: Grid,
    *,
    tile: int = _TILE,
    radius_mm: tuple[float, float] = (0.0, math.inf),
    mapper: Mapper = map,
) -> Field:
    """Return the mineral (mg HA/cm3) of bones on a grid, rendered tile by tile.

    Parameters
    ----------
    parts
        The bones; the first at a place wins.
    grid
        Of cubic voxels.
    tile
        Lines along each side of a tile, a multiple of 8; the bytes do not depend on it.
    radius_mm
        Range of the distance from the axis in which the middles of the tiles to be rendered lie.
    mapper
        An ordered map, for threads.
    """
    step = grid.spacing_mm[0]
    painter = Painter(parts, grid, finer=1 if step <= _THIN_MM else 2)
    depth, rows, columns = grid.shape

    def lines(corner: tuple[int, int]) -> tuple[int, int, Lines] | None:
        y, x = corner
        shape = depth, min(tile, rows - y), min(tile, columns - x)
        labels, bone = np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
        return (y, x, pack_lines(bone)) if painter.paint(labels, bone, (0, y, x)) else None

    def wanted(y: int, x: int) -> bool:
        mid_x, mid_y, _ = grid.index_to_mm([0, y + (tile - 1) / 2, x + (tile - 1) / 2])
        return bool(radius_mm[0] <= math.hypot(mid_x, mid_y) < radius_mm[1])

    corners = [(y, x) for y in range(0, rows, tile) for x in range(0, columns, tile) if wanted(y, x)]
    return join_lines(grid, (made for made in mapper(lines, corners) if made is not None))


def label_slabs(
    animal: Animal, week: int, pose: ScanPose, geometry: ConeGeometry, *, depth: int = 0, mapper: Mapper = map
) -> Iterator[NDArray[np.uint8]]:
    """Yield the label volume (z, y, x) on the reconstruction's grid, slab by slab.

    Parameters
    ----------
    animal, week, pose, geometry
        Who, when, how and where.
    depth
        Slices in a slab, a multiple of 8; by default as many as make about 64 MB. The bytes do not
        depend on it.
    mapper
        An ordered map, for threads.
    """
    grid = reconstruction_grid(geometry)
    slices, rows, columns = grid.shape
    depth = depth or max(BLOCK, min(_SLICES, 64_000_000 // (rows * columns)) // BLOCK * BLOCK)
    painter = Painter(skeleton(animal, week, pose), grid, 0)
    ys, xs = (
        grid.origin_mm[a] + geometry.pixel_mm * np.arange(n, dtype=np.float64)
        for a, n in ((1, rows), (0, columns))
    )
    bed = np.flatnonzero(bed_mask(xs, ys))

    def slab(first: int) -> NDArray[np.uint8]:
        labels = np.zeros((min(depth, slices - first), rows, columns), np.uint8)
        painter.paint(labels, np.empty(labels.shape, np.float32), (first, 0, 0))
        for plane in labels.reshape(len(labels), -1):
            plane[bed[plane[bed] == 0]] = LABELS["holder"]
        return labels

    yield from mapper(slab, range(0, slices, depth))


def seen_z_mm(geometry: ConeGeometry, reach_mm: float) -> tuple[float, float]:
    """Return the range of z that any ray meets within a radius about the axis."""
    stretch = 1 + reach_mm / geometry.sod_mm
    top = -geometry.optical_axis_row * geometry.pixel_mm
    bottom = (geometry.rows - 1 - geometry.optical_axis_row) * geometry.pixel_mm
    return top * stretch - _MARGIN_MM, bottom * stretch + _MARGIN_MM


def _grid_of(low: Triple, high: Triple, spacing_mm: float) -> Grid:
    """Return the grid of cubic voxels whose centres fill a box of corners (x, y, z)."""
    shape = [math.ceil((b - a) / spacing_mm) + 1 for a, b in zip(low, high, strict=True)]
    return Grid.isotropic(shape[::-1], spacing_mm, (float(low[0]), float(low[1]), float(low[2])))
