"""Sizes of simulated scans, all of one scanner: a SkyScan 1276 and its smaller pictures.

The cone angle is that of the published scans, 25.888290 x 17.423092 degrees over 4032 x 2688
pixels. Presets bin pixels and keep the rows about the central ray; a window keeps the middle columns, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from bonemet.core.errors import SettingsError
from bonemet.core.scan import ConeGeometry

CONE_ANGLE_DEG = 25.888290
COLUMNS, ROWS = 4032, 2688
SOD_MM = 92.8
SDD_MM = 158.0
WIDTH_MM = 2 * SOD_MM * math.tan(math.radians(CONE_ANGLE_DEG / 2))
"""Width of the detector as scaled to the axis; 10.58 um a pixel."""
HEIGHT_MM = 23.0
"""Height of volumes of whole hind limbs: both tibiae and the knees, as in the presets."""


@dataclass(frozen=True)
class Preset:
    """The size of a scan.

    Attributes
    ----------
    name
        What it is called.
    columns, rows
        Pixels of a view.
    bone_mm, soft_mm
        Voxel of the rendered mineral and of the rendered soft tissue.
    camera_columns
        Pixels across the whole camera; views keep the middle ones.
    views, step_deg
        Number of views and the angle between them.
    aimed
        Whether the proximal tibia of one leg is put into the middle of the picture, not the animal.
    """

    name: str
    columns: int
    rows: int
    bone_mm: float
    soft_mm: float
    camera_columns: int
    views: int = 260
    step_deg: float = 0.8
    aimed: bool = False

    @property
    def pixel_mm(self) -> float:
        """Pixel as scaled to the axis."""
        return WIDTH_MM / self.camera_columns

    @property
    def camera_rows(self) -> int:
        """Pixels down the whole camera."""
        return round(ROWS * self.camera_columns / COLUMNS)

    @property
    def optical_axis_row(self) -> int:
        """Row of the central ray; cameras are never quite centred."""
        return round(_AXIS_AT * self.rows)

    @property
    def crop_origin(self) -> tuple[int, int]:
        """Column and row of the whole camera at which a view begins."""
        x = (self.camera_columns - self.columns) // 2
        below = round(_AXIS_AT * self.camera_rows) - self.optical_axis_row
        return x, max(min(below, self.camera_rows - self.rows), 0)

    def window(self, columns: int, rows: int) -> Preset:
        """Return the preset with a narrower camera: the middle columns, and rows about the central ray.

        Raises
        ------
        SettingsError
            If the camera does not hold such a window, or cannot keep it in the middle.
        """
        fits = 16 <= columns <= self.camera_columns and 16 <= rows <= self.camera_rows
        if not fits or (self.camera_columns - columns) % 2:
            raise SettingsError(
                f"A window of {columns} x {rows} pixels does not fit into the middle of the "
                f"{self.camera_columns} x {self.camera_rows} pixels of the preset {self.name!r}; "
                "give at least 16 of each, and an even number of columns."
            )
        return replace(self, columns=columns, rows=rows)

    def geometry(self, axis_offset_px: float = 0.0, axis_tilt_deg: float = 0.0) -> ConeGeometry:
        """Return the scan's geometry."""
        return ConeGeometry(
            rows=self.rows,
            columns=self.columns,
            pixel_mm=self.pixel_mm,
            sod_mm=SOD_MM,
            sdd_mm=SDD_MM,
            angles_deg=np.arange(self.views, dtype=np.float64) * np.float64(self.step_deg),
            axis_offset_px=axis_offset_px,
            optical_axis_row=float(self.optical_axis_row),
            axis_tilt_deg=axis_tilt_deg,
        )


@dataclass(frozen=True)
class VolumeSize(Preset):
    """The size of a volume made without X-rays: cubic voxels over the width of the camera.

    Attributes
    ----------
    voxel_mm
        Pixel and voxel.
    """

    voxel_mm: float = 0.04

    @property
    def pixel_mm(self) -> float:
        """Pixel as scaled to the axis."""
        return self.voxel_mm


def volume_size(voxel_mm: float) -> VolumeSize:
    """Return the size of a volume of whole hind limbs.

    Raises
    ------
    SettingsError
        If the voxels are smaller than 10 or larger than 200 um.
    """
    if not 0.01 <= voxel_mm <= 0.2:
        raise SettingsError(f"Voxels of whole hind limbs measure 10 to 200 um, not {1000 * voxel_mm:g}.")
    columns, rows = round(WIDTH_MM / voxel_mm), round(HEIGHT_MM / voxel_mm)
    return VolumeSize("volume", columns, rows, voxel_mm, 4 * voxel_mm, columns, voxel_mm=voxel_mm)


_AXIS_AT = 0.51
_PIXEL = WIDTH_MM / COLUMNS

PRESETS = {
    p.name: p
    for p in (
        Preset("tiny", 216, 120, bone_mm=0.1, soft_mm=0.4, camera_columns=216),
        Preset("small", 864, 464, bone_mm=0.05, soft_mm=0.2, camera_columns=864),
        Preset("medium", 504, 272, bone_mm=0.07, soft_mm=0.2, camera_columns=504),
        Preset("full", COLUMNS, ROWS, bone_mm=_PIXEL, soft_mm=0.1, camera_columns=COLUMNS),
        Preset("narrow", 640, 400, bone_mm=_PIXEL, soft_mm=0.1, camera_columns=COLUMNS, aimed=True),
    )
}


def preset(name: str) -> Preset:
    """Return a preset by its name.

    Raises
    ------
    SettingsError
        If there is none of that name.
    """
    if name not in PRESETS:
        raise SettingsError(f"The preset is one of {', '.join(PRESETS)}, not {name!r}.")
    return PRESETS[name]
