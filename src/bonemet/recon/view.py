"""The part of space that every projection of a scan covers."""

from __future__ import annotations

import math

import numpy as np

from bonemet.core.grid import Grid
from bonemet.core.scan import ConeGeometry
from bonemet.core.view import Plane, View
from bonemet.recon.weights import field_radius_mm

DIRECTIONS = 16  # planes that stand for a circle


def field_of_view(
    geometry: ConeGeometry, grid: Grid, lowest: ConeGeometry | None = None, down_mm: float = 0.0
) -> View:
    """Return what a scan saw whole, in the scan frame, within the slices of a reconstruction.

    A point at distance r from the axis is in every view where its height above the central plane is
    at most H (1 - r / SOD), with H the half-height of the camera scaled to the axis: a double cone.
    Cones and circle are stood for by planes.

    Parameters
    ----------
    geometry
        The scan's geometry.
    grid
        The reconstructed slices, all or a range of them.
    lowest, down_mm
        Of connected scans, the geometry of the last part, and how far below the first it lies.
    """
    lowest = lowest or geometry
    middle = (geometry.columns - 1) / 2 * geometry.pixel_mm
    level = geometry.optical_axis_row * geometry.pixel_mm
    floor = lowest.optical_axis_row * lowest.pixel_mm + down_mm
    above = (geometry.optical_axis_row + 0.5) * geometry.pixel_mm
    below = (lowest.rows - 0.5 - lowest.optical_axis_row) * lowest.pixel_mm
    radius = min(field_radius_mm(geometry), field_radius_mm(lowest))
    planes: list[Plane] = []
    for angle in np.linspace(0, 2 * math.pi, DIRECTIONS, endpoint=False):
        x, y = math.cos(angle), math.sin(angle)
        centre = middle * (x + y)
        planes.append((x, y, 0.0, centre + radius))
        for sign, height, at in ((1.0, below, floor), (-1.0, above, level)):
            slope = height / geometry.sod_mm
            planes.append((slope * x, slope * y, sign, sign * at + height + slope * centre))
    first = grid.origin_mm[2]
    last = first + (grid.shape[0] - 1) * grid.spacing_mm[0]
    half = grid.spacing_mm[0] / 2
    return View((*planes, (0.0, 0.0, -1.0, half - first), (0.0, 0.0, 1.0, last + half)))
