"""An animal in the scanner: rendered where the rays pass, and as labels on the reconstruction's grid."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bonemet.core.context import Mapper
from bonemet.core.errors import SettingsError
from bonemet.core.grid import Grid, Triple
from bonemet.core.scan import ConeGeometry
from bonemet.simulation.anatomy import Animal
from bonemet.simulation.body import BED_OUTER_MM
from bonemet.simulation.pose import ScanPose
from bonemet.simulation.presets import Preset
from bonemet.simulation.render import render
from bonemet.simulation.xray import Body, Field, empty_field

_SLICES = 64
_LOOK_MM = 0.4
_MARGIN_MM = 0.8


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


def memory_gb(preset: Preset) -> float:
    """Return about how much memory the simulation of a scan of this size needs, in GB.

    The label volume, and the mineral of all bones in a box of 20 x 18 x 28 mm.
    """
    labels = preset.columns**2 * preset.rows
    bone = 20 * 18 * 28 / preset.bone_mm**3 * 4
    return (1.2 * labels + 1.2 * bone) / 1e9 + 0.5


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
    """Render an animal for projection, slab by slab.

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
    reach = BED_OUTER_MM + _MARGIN_MM
    low, high = _seen(geometry, reach)
    everything = _grid_of((-reach, -reach, low), (reach, reach, high), preset.soft_mm)
    muscle, apatite = empty_field(everything), empty_field(everything)
    half = preset.soft_mm / 2  # two samples a voxel along each side
    for z in range(0, everything.shape[0], _SLICES // 2):
        depth = min(_SLICES // 2, everything.shape[0] - z)
        shape = (2 * depth, 2 * everything.shape[1], 2 * everything.shape[2])
        x0, y0, z0 = (float(v) - half / 2 for v in everything.index_to_mm([z, 0, 0]))
        codes = render(animal, week, pose, shape, half, (x0, y0, z0), supersample=1, mapper=mapper).soft
        amounts = soft.astype(np.float32)[codes]
        coarse = amounts.reshape(depth, 2, shape[1] // 2, 2, shape[2] // 2, 2, 2).mean(axis=(1, 3, 5))
        muscle.put(z, coarse[..., 0])
        apatite.put(z, coarse[..., 1] * np.float32(1000))
    return Body(_mineral(animal, week, pose, preset, (low, high), mapper), muscle, apatite)


def _mineral(
    animal: Animal, week: int, pose: ScanPose, preset: Preset, z_mm: tuple[float, float], mapper: Mapper
) -> Field:
    """Render the mineral within the box that the bones fill."""
    reach = BED_OUTER_MM
    look = _grid_of((-reach, -reach, z_mm[0]), (reach, reach, z_mm[1]), _LOOK_MM)
    seen = render(animal, week, pose, look.shape, _LOOK_MM, look.origin_mm, mapper=mapper).bone > 0
    if not seen.any():
        raise SettingsError(f"No bone of animal {animal.name} lies in the beam in week {week}.")
    index = np.argwhere(seen)
    corner = look.index_to_mm(index.min(axis=0)) - _MARGIN_MM
    opposite = look.index_to_mm(index.max(axis=0)) + _MARGIN_MM
    box = _grid_of((corner[0], corner[1], z_mm[0]), (opposite[0], opposite[1], z_mm[1]), preset.bone_mm)
    out = empty_field(box)
    for z in range(0, box.shape[0], _SLICES):
        part = box.crop((z, 0, 0), (min(z + _SLICES, box.shape[0]), *box.shape[1:]))
        out.put(z, render(animal, week, pose, part.shape, preset.bone_mm, part.origin_mm, mapper=mapper).bone)
    return out


def label_volume(
    animal: Animal, week: int, pose: ScanPose, geometry: ConeGeometry, *, mapper: Mapper = map
) -> NDArray[np.uint8]:
    """Return the label volume (z, y, x) on the reconstruction's grid, rendered slab by slab."""
    grid = reconstruction_grid(geometry)
    out = np.zeros(grid.shape, dtype=np.uint8)
    for z in range(0, grid.shape[0], _SLICES):
        stop = min(z + _SLICES, grid.shape[0])
        part = grid.crop((z, 0, 0), (stop, *grid.shape[1:]))
        made = render(
            animal,
            week,
            pose,
            part.shape,
            geometry.pixel_mm,
            part.origin_mm,
            supersample=1,
            mapper=mapper,
        )
        out[z:stop] = made.labels
    return out


def _seen(geometry: ConeGeometry, reach_mm: float) -> tuple[float, float]:
    """Return the range of z that any ray meets within a radius about the axis."""
    stretch = 1 + reach_mm / geometry.sod_mm
    top = -geometry.optical_axis_row * geometry.pixel_mm
    bottom = (geometry.rows - 1 - geometry.optical_axis_row) * geometry.pixel_mm
    return top * stretch - _MARGIN_MM, bottom * stretch + _MARGIN_MM


def _grid_of(low: Triple, high: Triple, spacing_mm: float) -> Grid:
    """Return the grid of cubic voxels whose centres fill a box of corners (x, y, z)."""
    shape = [math.ceil((b - a) / spacing_mm) + 1 for a, b in zip(low, high, strict=True)]
    return Grid.isotropic(shape[::-1], spacing_mm, (float(low[0]), float(low[1]), float(low[2])))
