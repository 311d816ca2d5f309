"""The tilt of the camera against the rotation axis, from rays that were measured twice.

Only in the plane of the source are opposite rays the same lines. Where the camera is tilted, that plane
crosses it along a slanted line of pixels; of all lines through the optical axis' row, it is the one on which
opposite rays agree best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemet.core.scan import ConeGeometry
from bonemet.recon.center import disagreement
from bonemet.recon.weights import axis_column

LARGEST_DEG = 1.0  # that is looked for
STEP_DEG = 0.1
NEAR = 3  # steps to each side of the best one through which a parabola is laid
SMOOTH = (0.75, 0.5)  # rows and columns; so that slanted lines are little smoother than level ones
ACROSS_PX = (-0.3, -0.15, 0.0, 0.15, 0.3)  # axis offsets that are tried with each tilt
BETTER = 0.95  # a tilt is believed where squared disagreement is below this share of that without one
WORTH_PX = 0.5  # by how much the axis must wander between first and last row to be worth a correction


@dataclass(frozen=True)
class TiltEstimate:
    """A tilt as found: see :class:`bonemet.core.scan.ConeGeometry` for its sense.

    Attributes
    ----------
    tilt_deg
        The tilt.
    ratio
        Squared disagreement of opposite rays with it, over that without a tilt.
    wander_px
        By how many columns the axis wanders from the first row to the last.
    """

    tilt_deg: float
    ratio: float
    wander_px: float

    @property
    def certain(self) -> bool:
        """Whether the tilt is clear, and worth a correction."""
        inside = abs(self.tilt_deg) < LARGEST_DEG
        return inside and self.ratio < BETTER and abs(self.wander_px) >= WORTH_PX


def rows_needed(geometry: ConeGeometry) -> tuple[int, int]:
    """Return the rows (first, stop) that slanted lines cross."""
    half = math.ceil(geometry.columns / 2 * math.tan(math.radians(LARGEST_DEG)) + 4 * SMOOTH[0])
    middle = round(min(max(geometry.optical_axis_row, 0), geometry.rows - 1))
    return max(0, middle - half), min(geometry.rows, middle + half + 1)


def find_tilt(band: NDArray[np.float32], geometry: ConeGeometry) -> TiltEstimate:
    """Find the tilt from the rows about the plane of the source.

    Parameters
    ----------
    band
        (views, rows, columns) line integrals of :func:`rows_needed`.
    geometry
        Of the scan, with its axis and views in equal steps.
    """
    first, _ = rows_needed(geometry)
    smooth = ndimage.gaussian_filter(band, (0, *SMOOTH))
    across = np.arange(geometry.columns, dtype=np.float64) - axis_column(geometry)
    steps = round(LARGEST_DEG / STEP_DEG)
    tilts: NDArray[np.float64] = np.linspace(-steps * STEP_DEG, steps * STEP_DEG, 2 * steps + 1)
    found = np.array([_best(_line(smooth, geometry, across, float(t), first), geometry) for t in tilts])
    best = int(np.argmin(found))
    near = slice(max(0, best - NEAR), best + NEAR + 1)
    a, b, c = np.polyfit(tilts[near], found[near], 2)
    tilt = float(np.clip(-b / (2 * a), tilts[near][0], tilts[near][-1])) if a > 0 else 0.0
    level = float(found[steps])
    ratio = float(a * tilt * tilt + b * tilt + c) / level if a > 0 and level > 0 else 1.0
    return TiltEstimate(tilt, ratio, math.tan(math.radians(tilt)) * (geometry.rows - 1))


def _line(
    band: NDArray[np.float32],
    geometry: ConeGeometry,
    across: NDArray[np.float64],
    tilt_deg: float,
    first: int,
) -> NDArray[np.float32]:
    """Return what stands along a slanted line (views, 1, columns)."""
    rows = geometry.optical_axis_row - first - across * math.tan(math.radians(tilt_deg))
    rows = np.clip(rows, 0, band.shape[1] - 1)
    low = np.minimum(rows.astype(int), max(band.shape[1] - 2, 0))
    high = np.minimum(low + 1, band.shape[1] - 1)
    part = (rows - low).astype(np.float32)
    columns = np.arange(geometry.columns)
    line = band[:, low, columns] * (1 - part) + band[:, high, columns] * part
    return np.asarray(line[:, None, :], np.float32)


def _best(line: NDArray[np.float32], geometry: ConeGeometry) -> float:
    """Return the squared disagreement of opposite rays at the axis that fits best, near the geometry's."""
    offsets = np.array(ACROSS_PX)
    square = disagreement(line, geometry, geometry.axis_offset_px + offsets) ** 2
    a, b, c = np.polyfit(offsets, square, 2)
    return float(c - b * b / (4 * a)) if a > 0 else float(square.min())
