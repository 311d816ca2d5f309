"""A cone-beam scan: its geometry and its projections, read lazily.

The scanner's frame: the object turns about the z axis; z runs down the detector's rows, so slice k
of a reconstruction lies at detector row k. At angle 0 the columns run along +x and the source
stands at +y. (x, y, z) is right-handed, so a slice shown with x to the right and y down is seen
from above. With ``turn = +1`` an object point (x, y) stands at angle a at
(x cos a - y sin a, x sin a + y cos a), clockwise as seen from above; ``-1`` is the other way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemet.core.errors import InputError
from bonemet.core.volume import SlicedArray


@dataclass(frozen=True, eq=False)
class ConeGeometry:
    """Geometry of a circular cone-beam scan.

    Attributes
    ----------
    rows, columns
        Size of a projection in pixels.
    pixel_mm
        Pixel size scaled to the rotation axis (the log's Image Pixel Size).
    sod_mm, sdd_mm
        Source to axis, source to detector.
    angles_deg
        (projections,) angle of each view.
    axis_offset_px
        Column of the rotation axis minus (columns - 1) / 2; positive at higher columns.
    optical_axis_row
        Row, 0-based from the top, at which the central ray meets the detector.
    turn
        +1 or -1, the sense of rotation (see the module's text).
    axis_tilt_deg
        Angle between the rotation axis and the camera's columns, about the central ray; where it is
        positive, the axis lies at higher columns in higher rows. ``axis_offset_px`` holds in the optical
        axis' row.
    """

    rows: int
    columns: int
    pixel_mm: float
    sod_mm: float
    sdd_mm: float
    angles_deg: NDArray[np.float64]
    axis_offset_px: float = 0.0
    optical_axis_row: float = 0.0
    turn: int = 1
    axis_tilt_deg: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.sod_mm < self.sdd_mm):
            raise InputError(
                f"The source must be nearer to the object ({self.sod_mm} mm) "
                f"than to the camera ({self.sdd_mm} mm)."
            )
        if self.rows < 1 or self.columns < 1 or not self.pixel_mm > 0:
            raise InputError(
                f"Projections of {self.rows} x {self.columns} pixels of {self.pixel_mm} mm make no scan."
            )
        if self.turn not in (1, -1):
            raise InputError(f"The sense of rotation is +1 or -1, not {self.turn}.")

    @property
    def step_deg(self) -> float:
        """Mean angle between views."""
        a = self.angles_deg
        return float((a[-1] - a[0]) / (len(a) - 1)) if len(a) > 1 else 0.0

    @property
    def range_deg(self) -> float:
        """Angle that the views cover, each standing for one step."""
        return abs(self.step_deg) * len(self.angles_deg)

    @property
    def cone_angle_horizontal_deg(self) -> float:
        """Full cone angle across the columns, as NRecon prints it."""
        return math.degrees(2 * math.atan(self.columns * self.pixel_mm / (2 * self.sod_mm)))

    @property
    def cone_angle_vertical_deg(self) -> float:
        """Full cone angle across the rows, as NRecon prints it."""
        return math.degrees(2 * math.atan(self.rows * self.pixel_mm / (2 * self.sod_mm)))

    @property
    def magnification(self) -> float:
        """Size on the detector over size at the axis."""
        return self.sdd_mm / self.sod_mm


@dataclass(frozen=True, eq=False)
class Scan:
    """A raw acquisition.

    Attributes
    ----------
    geometry
        Where source, object and camera stand.
    projections
        (views, rows, columns), 16-bit intensities; need not be in memory.
    white
        Intensity of the open beam after flat-field correction, where it is known.
    flats, darks
        (images, rows, columns) or None where the projections are corrected already.
    log
        The log's entries as read.
    name
        The prefix of its files.
    notes
        What a reader should know: one sentence each.
    """

    geometry: ConeGeometry
    projections: SlicedArray
    white: float | None = None
    flats: NDArray[Any] | None = None
    darks: NDArray[Any] | None = None
    log: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    notes: tuple[str, ...] = ()
